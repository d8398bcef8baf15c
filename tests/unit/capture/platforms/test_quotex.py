"""Quotex: Engine.IO 3 frames, of the shapes that public clients know, into market events, and nothing personal kept."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxcap.capture.platforms.base import ActiveAsset, Asset, Assets, Greeting, History, Keep, LoggedOut, RawTick
from fluxcap.capture.platforms.quotex import Quotex
from fluxcap.capture.platforms.registry import check_source, choices, platform_named
from fluxcap.schemas.errors import ConfigError
from fluxcap.schemas.types import Candle

TICK = RawTick("EURCHF", 1_790_265_979_214, 0.94222)
HISTORY = {
    "asset": "EURUSD_otc",
    "period": 60,
    "history": [[1_790_265_900.5, 1.1, 1], [1_790_265_901, 1.2, 0]],
    "candles": [[1_790_265_840, 1.1, 1.15, 1.3, 1.0, 120], [1_790_265_780, 1.0, 1.1, 1.2, 0.9, 118]],
}
ROW = [1, "EURUSD_otc", "EUR/USD\n(OTC)", "currency", 0, 85, 0, 0, 0, 0, 0, 0, [[60]], 0, True]


def announced(name: str) -> str:
    return f'451-["{name}",{{"_placeholder":true,"num":0}}]'


def attached(value: Any, prefix: bytes = b"\x04") -> str:
    return base64.b64encode(prefix + json.dumps(value).encode()).decode()


def told(name: str, value: Any, prefix: bytes = b"\x04") -> list[Any]:
    decoder = Quotex().decoder()
    return [*decoder.received(1, announced(name)), *decoder.received(2, attached(value, prefix))]


def test_a_binary_frame_of_engine_io_3_gives_the_ticks_behind_its_first_byte():
    assert base64.b64decode(attached([["EURCHF", 1790265979.214, 0.94222, 1]])).hex(" ", 1).startswith("04 5b 5b 22")
    assert told("quotes/stream", [["EURCHF", 1790265979.214, 0.94222, 1]]) == [TICK]


def test_a_page_that_speaks_engine_io_4_is_read_as_well():
    assert told("quotes/stream", [["EURCHF", 1790265979.214, 0.94222, 1]], prefix=b"") == [TICK]
    assert list(Quotex().decoder().received(1, '42["quotes/stream",[["EURCHF",1790265979.214,0.94222,1]]]')) == [TICK]


def test_a_bad_row_costs_no_other_one():
    decoder = Quotex().decoder()
    decoder.received(1, announced("quotes/stream"))
    rows = [["EURCHF", 1790265979.214, -1, 1], ["../x", 1790265979, 1, 1], 5, ["EURCHF", 1790265979.214, 0.94222, 1]]

    assert list(decoder.received(2, attached(rows))) == [TICK]
    assert decoder.malformed["tick"] == 3


def test_a_history_has_ticks_of_unknown_period_and_candles_with_close_before_high():
    shown, candles, ticks = told("history/list/v2", HISTORY)

    assert shown == ActiveAsset("EURUSD_otc", 60_000)
    assert candles == History(
        "EURUSD_otc",
        60_000,
        (),
        (Candle(1_790_265_780_000, 1.0, 1.2, 0.9, 1.1), Candle(1_790_265_840_000, 1.1, 1.3, 1.0, 1.15)),
    )
    assert ticks == History("EURUSD_otc", 0, ((1_790_265_900_500, 1.1), (1_790_265_901_000, 1.2)))
    assert not ticks.has_raw_ticks


def test_a_history_of_no_asset_is_counted_and_damaged_rows_leave_a_break():
    decoder = Quotex().decoder()
    damaged = {**HISTORY, "history": [[1_790_265_900, 1.1, 1], ["x"], [1_790_265_902, 1.2, 0]], "candles": [[1, 2]]}
    frames = [{**HISTORY, "asset": "../x"}, damaged]
    found = []
    for frame in frames:
        decoder.received(1, announced("history/list/v2"))
        found += decoder.received(2, attached(frame))

    assert found[1].breaks_ms == (1_790_265_902_000,)
    assert (decoder.malformed["history/list/v2"], decoder.malformed["history row"]) == (1, 2)


def test_the_asset_table_tells_names_payouts_and_what_is_open():
    rows = [ROW, [*ROW[:14], False], ROW[:4], ["bad"]]

    (assets,) = told("instruments/list", rows)

    assert assets == Assets(
        (
            Asset("EURUSD_otc", "EUR/USD (OTC)", "currency", 85, True, True),
            Asset("EURUSD_otc", "EUR/USD (OTC)", "currency", 85, True, False),
            Asset("EURUSD_otc", "EUR/USD (OTC)", "currency", 0, True, True),
        )
    )


def test_the_page_turns_to_the_asset_that_it_subscribes_to():
    decoder = Quotex().decoder()

    assert list(decoder.sent(1, '42["instruments/update",{"asset":"EURUSD_otc","period":60}]')) == [
        ActiveAsset("EURUSD_otc", 60_000)
    ]
    assert list(decoder.sent(1, '42["authorization",{"session":"SECRET","isDemo":1}]')) == []


@pytest.mark.parametrize(
    "frame", ["41", '42["authorization/reject"]', '42["authorization/reject",{"reason":"SECRET"}]']
)
def test_a_refused_session_is_told(frame: str):
    assert list(Quotex().decoder().received(1, frame)) == [LoggedOut()]


def test_the_greeting_and_pings_of_engine_io_3_are_no_fault():
    decoder = Quotex().decoder()
    frames = ['0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":5000}', "40", "3", '42["s_authorization"]']

    found = [event for frame in frames for event in decoder.received(1, frame)]

    assert found == [Greeting(25_000)]
    assert decoder.malformed == {}
    assert list(decoder.sent(1, "2")) == []


PERSONAL = [
    ("s_balance/list", {"liveBalance": 5, "demoBalance": 7, "uid": "SECRET"}),
    ("s_orders/open", {"deals": [{"id": "SECRET"}]}),
    ("history/list/v2", {**HISTORY, "session": "SECRET"}),
    ("depth/change", [["EURCHF", 5]]),
]


@pytest.mark.parametrize(("name", "value"), PERSONAL)
def test_nothing_personal_is_kept(name: str, value: Any):
    redaction = Quotex().redaction()
    kept = [redaction.received(1, announced(name)), redaction.received(2, attached(value))]

    assert kept[1] == (Keep.TALK, "")
    assert "SECRET" not in "".join(one.payload for one in kept)
    assert redaction.sent(1, '42["authorization",{"session":"SECRET","isDemo":1}]') == (Keep.TALK, "")


def test_a_recording_gives_the_same_events():
    redaction, decoder = Quotex().redaction(), Quotex().decoder()
    frames = [
        (1, announced("quotes/stream")),
        (2, attached([["EURCHF", 1790265979.214, 0.94222, 1]])),
        (1, announced("history/list/v2")),
        (2, attached(HISTORY)),
        (1, '42["authorization/reject",{"reason":"SECRET"}]'),
    ]

    kept = [(opcode, redaction.received(opcode, frame).payload) for opcode, frame in frames]
    replayed = [event for opcode, frame in kept for event in decoder.received(opcode, frame)]

    assert replayed == [TICK, *told("history/list/v2", HISTORY), LoggedOut()]
    assert kept[-1] == (1, '42["authorization/reject",null]')


def test_its_pages_and_sockets_are_those_that_public_clients_know():
    quotex = platform_named("quotex", ["mirror.example"])

    assert quotex.is_page("https://qxbroker.com/en/trade")
    assert quotex.is_page("https://market-qx.trade/en/demo-trade")
    assert quotex.is_socket("wss://ws2.qxbroker.com/socket.io/?EIO=3&transport=websocket")
    assert quotex.is_page("https://mirror.example/trade")
    assert not quotex.is_page("https://qxbroker.com.evil.test/")
    assert not quotex.is_socket("wss://evil-qxbroker.com/socket.io/")


def test_it_is_listed_with_its_mark_and_wants_a_source_of_its_own():
    (listed,) = [one for one in choices({}) if one.name == "quotex"]

    assert listed.origin == "from public clients, not from a recording"
    with pytest.raises(ConfigError, match="--source QUOTEX"):
        check_source("quotex", "POCKETOPTION", {})


@given(st.binary(max_size=40), st.sampled_from(["quotes/stream", "history/list/v2", "instruments/list", "x"]))
def test_no_frame_raises(payload: bytes, name: str):
    decoder, redaction = Quotex().decoder(), Quotex().redaction()
    for opcode, frame in (
        (1, announced(name)),
        (2, base64.b64encode(b"\x04" + payload).decode()),
        (1, f'42["{name}",'),
    ):
        decoder.received(opcode, frame)
        redaction.received(opcode, frame)
