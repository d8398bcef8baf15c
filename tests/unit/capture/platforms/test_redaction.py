"""What a recording keeps of a frame: market data by name, nothing of the trader's."""

from __future__ import annotations

import base64
import json

import pytest

from fluxcap.capture.platforms.base import ActiveAsset, Keep, Kept
from fluxcap.capture.platforms.pocketoption import PocketOption
from fluxcap.capture.platforms.redaction import SocketIoRedaction
from tests.support.market.simulated_market import announcement, attachment

TICK = [["EURUSD_otc", 1_760_000_000.5, 1.1]]


def received(*frames: tuple[int, str]) -> list[Kept]:
    redaction = PocketOption().redaction()
    return [redaction.received(opcode, payload) for opcode, payload in frames]


def event(name: str, payload: object) -> list[tuple[int, str]]:
    return [(1, announcement(name)), (2, attachment(payload))]


@pytest.mark.parametrize("name", ["updateStream", "updateHistoryNewFast", "loadHistoryPeriodFast", "updateAssets"])
def test_market_events_are_kept_as_they_came(name: str) -> None:
    frames = event(name, TICK)

    assert [kept.payload for kept in received(*frames)] == [payload for _, payload in frames]


@pytest.mark.parametrize(
    "name", ["successauth", "successupdateBalance", "updateOpenedDeals", "chat_room_list", "never heard of"]
)
def test_other_events_are_kept_only_as_talk_announcement_and_attachment_alike(name: str) -> None:
    assert received(*event(name, {"x": 1})) == [Kept(Keep.TALK), Kept(Keep.TALK)]


def test_an_attachment_that_nobody_announced_is_talk() -> None:
    assert received((2, attachment(TICK))) == [Kept(Keep.TALK)]


def test_an_attachment_belongs_to_the_last_announcement() -> None:
    kept = received((1, announcement("updateStream")), (1, announcement("successauth")), (2, attachment({"id": 7})))

    assert kept[2] == Kept(Keep.TALK)


@pytest.mark.parametrize("payload", ["2", "3", "", '0{"sid":"abc","pingInterval":25000}'])
def test_pings_and_greetings_are_a_pulse_that_proves_nothing(payload: str) -> None:
    assert received((1, payload)) == [Kept(Keep.PULSE)]


@pytest.mark.parametrize("payload", ['40{"sid":"abc"}', "41", '42["auth",{"session":"x"}]', "garbage", '42["'])
def test_text_that_is_no_market_event_is_talk(payload: str) -> None:
    assert received((1, payload)) == [Kept(Keep.TALK)]


@pytest.mark.parametrize("key", ["session", "sid", "uid", "auth", "balance", "userId", "sessionToken", "Token"])
def test_a_market_event_that_names_something_of_the_traders_is_not_kept(key: str) -> None:
    assert received(*event("updateStream", [TICK, {key: "x"}]))[1] == Kept(Keep.TALK)
    assert received((1, "42" + json.dumps(["updateStream", TICK, {key: "x"}]))) == [Kept(Keep.TALK)]
    assert received(*event("updateStream", [json.dumps({key: "x"})]))[1] == Kept(Keep.TALK)


def test_an_attachment_that_is_no_base64_is_not_kept() -> None:
    assert received((1, announcement("updateStream")), (2, "abcde"))[1] == Kept(Keep.TALK)


@pytest.mark.parametrize("as_text", [True, False])
def test_of_charts_only_the_symbol_is_kept(as_text: bool) -> None:
    charts = [{"chart_id": "c-17", "settings": json.dumps({"symbol": "EURGBP_otc", "liveDealAmount": 250})}]
    frames = [(1, "42" + json.dumps(["updateCharts", charts]))] if as_text else event("updateCharts", charts)

    kept = received(*frames)[-1]

    assert kept.keep is Keep.CONTENT
    content = kept.payload.encode() if as_text else base64.b64decode(kept.payload)
    assert b"250" not in content
    assert b"c-17" not in content
    decoder = PocketOption().decoder()
    replayed = [*frames[:-1], (frames[-1][0], kept.payload)]
    assert [list(decoder.received(*frame)) for frame in replayed][-1] == [ActiveAsset("EURGBP_otc")]


def test_charts_that_cannot_be_read_are_talk() -> None:
    assert received(*event("updateCharts", {"liveDealAmount": 250}))[1] == Kept(Keep.TALK)


def test_of_what_the_page_sends_only_the_choice_of_an_asset_is_kept() -> None:
    redaction = PocketOption().redaction()
    choice = '42["changeSymbol",{"asset":"EURUSD_otc","period":60}]'

    assert redaction.sent(1, choice) == Kept(Keep.CONTENT, choice)
    assert redaction.sent(1, '42["auth",{"session":"secret"}]') == Kept(Keep.TALK)
    assert redaction.sent(1, '42["changeSymbol",{"asset":"EURUSD_otc","uid":5}]') == Kept(Keep.TALK)


def test_charts_that_the_page_saves_are_reduced_to_the_symbol() -> None:
    settings = json.dumps({"symbol": "EURUSD_otc", "demoDealAmount": 250, "chartPeriod": 4})
    saved = "42" + json.dumps(["saveCharts", [{"chart_id": "c", "settings": settings}]])
    platform = PocketOption()

    kept = platform.redaction().sent(1, saved)

    assert kept == Kept(Keep.CONTENT, '42["saveCharts",[{"settings":{"symbol":"EURUSD_otc"}}]]')
    assert platform.decoder().sent(1, kept.payload) == platform.decoder().sent(1, saved)
    assert platform.redaction().sent(1, '42["saveCharts",250]') == Kept(Keep.TALK)


def test_requests_for_earlier_candles_are_kept_as_they_went_out() -> None:
    request = '42["loadHistoryPeriod",{"asset":"EURUSD_otc","period":60,"time":7,"index":1,"offset":9000}]'

    assert PocketOption().redaction().sent(1, request) == Kept(Keep.CONTENT, request)


def test_without_reducing_an_allowed_event_is_kept_whole() -> None:
    redaction = SocketIoRedaction({"updateCharts"}, ())

    assert redaction.received(1, '42["updateCharts",[]]') == Kept(Keep.CONTENT, '42["updateCharts",[]]')


@pytest.mark.parametrize("name", ["NotAuthorized", "notAuthorized", "auth_error"])
def test_of_a_refused_session_only_the_events_name_is_kept(name: str) -> None:
    for frames in ([(1, f'42["{name}"]')], [(1, f'42["{name}",{{"session":"SECRET","uid":7}}]')]):
        assert received(*frames) == [Kept(Keep.CONTENT, f'42["{name}",null]')]

    assert "SECRET" not in "".join(kept.payload for kept in received(*event(name, {"session": "SECRET"})))
