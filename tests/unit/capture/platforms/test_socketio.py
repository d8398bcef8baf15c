"""Engine.IO and Socket.IO framing as recorded: events by name, payloads by placeholder, nothing else kept."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest

from fluxcap.capture.platforms.base import ActiveAsset, Favourites, Greeting, LoggedOut, MarketEvent
from fluxcap.capture.platforms.socketio import (
    NamedEvent,
    OpenPacket,
    Refused,
    SocketIoDecoder,
    SocketIoMarketDecoder,
)
from tests.support.market.simulated_market import announcement

ALLOWED = ("updateStream", "updateAssets")


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture
def decoder() -> SocketIoDecoder:
    return SocketIoDecoder(ALLOWED)


def test_the_next_binary_frame_is_the_payload_of_its_announcement(decoder: SocketIoDecoder) -> None:
    assert decoder.frame(1, announcement("updateStream")) is None
    assert decoder.frame(2, b64(b"[[1]]")) == NamedEvent("updateStream", b"[[1]]")


def test_each_announcement_takes_one_payload(decoder: SocketIoDecoder) -> None:
    for at in range(3):
        decoder.frame(1, announcement("updateStream"))
        assert decoder.frame(2, b64(b"%d" % at)) == NamedEvent("updateStream", b"%d" % at)


def test_a_ping_between_announcement_and_payload_does_no_harm(decoder: SocketIoDecoder) -> None:
    decoder.frame(1, announcement("updateStream"))
    assert decoder.frame(1, "2") is None

    assert decoder.frame(2, b64(b"[]")) == NamedEvent("updateStream", b"[]")


def test_a_payload_nobody_announced_is_counted_and_dropped(decoder: SocketIoDecoder) -> None:
    assert decoder.frame(2, b64(b"[]")) is None
    assert decoder.malformed["orphan binary"] == 1


def test_a_missing_payload_never_shifts_the_following_ones(decoder: SocketIoDecoder) -> None:
    decoder.frame(1, announcement("updateStream"))
    decoder.frame(1, announcement("updateAssets"))

    assert decoder.frame(2, b64(b"[]")) == NamedEvent("updateAssets", b"[]")
    assert decoder.malformed["attachment missing"] == 1


def test_of_several_attachments_the_first_is_the_payload(decoder: SocketIoDecoder) -> None:
    decoder.frame(1, '452-["updateStream",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')

    assert decoder.frame(2, b64(b"first")) is None
    assert decoder.frame(2, b64(b"second")) == NamedEvent("updateStream", b"first")


def test_text_events_carry_their_payload_as_it_is(decoder: SocketIoDecoder) -> None:
    assert decoder.frame(1, '42["updateStream",[["A",1,2]]]') == NamedEvent("updateStream", '[["A",1,2]]')
    assert decoder.frame(1, '42["updateStream"]') == NamedEvent("updateStream", b"")
    assert decoder.frame(1, '4212["updateStream",1]') == NamedEvent("updateStream", "1")
    assert decoder.frame(1, '42/demo,7["updateStream",1]') == NamedEvent("updateStream", "1")


def test_events_not_on_the_list_are_dropped_undecoded_with_their_payload(decoder: SocketIoDecoder) -> None:
    decoder.frame(1, announcement("successupdateBalance"))

    assert decoder.frame(2, "not even base64") is None
    assert decoder.frame(1, '42["auth",{"session":"secret"}]') is None
    assert decoder.dropped == {"successupdateBalance": 1, "auth": 1}
    assert not +decoder.malformed


def test_the_greeting_tells_the_ping_interval_and_not_the_session(decoder: SocketIoDecoder) -> None:
    told = decoder.frame(1, '0{"sid":"secret","upgrades":[],"pingInterval":45000,"pingTimeout":5000}')

    assert told == OpenPacket(45_000, 5_000)
    assert "secret" not in repr(told)


@pytest.mark.parametrize("frame", ["41", '44{"message":"not allowed"}'])
def test_a_refused_namespace_is_told(decoder: SocketIoDecoder, frame: str) -> None:
    assert decoder.frame(1, frame) == Refused()


@pytest.mark.parametrize("frame", ["2", "3", "40", '40{"sid":"x"}', "6", "1", "5", "4"])
def test_packets_of_the_layer_below_say_nothing(decoder: SocketIoDecoder, frame: str) -> None:
    assert decoder.frame(1, frame) is None
    assert not decoder.malformed


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        ("42", "event"),
        ("42nonsense", "event"),
        ('42["unfinished', "event"),
        ("42/only", "event"),
        ("45", "announcement"),
        ('450-["updateStream"]', "announcement"),
        ('4599-["updateStream"]', "announcement"),
        ('45²-["updateStream",{}]', "announcement"),
        ("451-{}", "announcement"),
        ("0{", "open"),
        ('0{"pingInterval":"soon"}', "open"),
        ('0{"sid":"\ud800"}', "open"),
        ("0" + "[" * 100_000, "open"),
        ("hello", "packet"),
        ("", "packet"),
        ('42["updateStream",1', "event"),
        ('42["updateStream]', "event"),
        ('4517-["updateStream"]', "announcement"),
        ('45001-["updateStream"', "announcement"),
        ('450016-["updateStream",{}]', "announcement"),
        ('4500016-["updateStream",{}]', "announcement"),
    ],
)
def test_what_cannot_be_understood_is_counted_by_kind(decoder: SocketIoDecoder, frame: str, kind: str) -> None:
    assert decoder.frame(1, frame) is None
    assert decoder.malformed == {kind: 1}
    decoder.frame(1, frame)
    assert decoder.malformed == {kind: 2}


def test_what_goes_wrong_with_payloads_is_counted_each_time(decoder: SocketIoDecoder) -> None:
    for _ in range(2):
        decoder.frame(2, b64(b"[]"))
        decoder.frame(1, announcement("updateStream"))
        decoder.frame(1, announcement("updateStream"))
        decoder.frame(2, "A")

    assert decoder.malformed == {"orphan binary": 2, "attachment missing": 2, "base64": 2}


@pytest.mark.parametrize(
    "before",
    [
        [(1, announcement("updateStream")), (1, "451-{}")],
        [(1, announcement("updateStream")), (2, b64(b"[]"))],
        [(1, announcement("updateStream")), (2, "A")],
    ],
    ids=["announcement broken", "payload taken", "payload broken"],
)
def test_then_nothing_is_awaited_any_more(decoder: SocketIoDecoder, before: list[tuple[int, str]]) -> None:
    for opcode, payload in before:
        decoder.frame(opcode, payload)

    assert decoder.awaited is None
    assert decoder.frame(2, b64(b"[]")) is None
    assert decoder.malformed["orphan binary"] == 1
    assert not decoder.dropped


def test_as_many_attachments_as_the_bound_says_are_awaited(decoder: SocketIoDecoder) -> None:
    decoder.frame(1, '4516-["updateStream"]')

    told = [decoder.frame(2, b64(b"%d" % at)) for at in range(16)]

    assert told == [None] * 15 + [NamedEvent("updateStream", b"0")]


def test_a_namespace_is_passed_over(decoder: SocketIoDecoder) -> None:
    assert decoder.frame(1, '42/demo,["updateStream",1]') == NamedEvent("updateStream", "1")
    decoder.frame(1, '451-/demo,["updateStream",{"_placeholder":true,"num":0}]')
    assert decoder.awaited == "updateStream"


def test_an_event_without_a_name_is_one_nobody_allowed(decoder: SocketIoDecoder) -> None:
    assert decoder.frame(1, '42["",1]') is None
    assert decoder.dropped == {"": 1}


def test_the_usual_announcement_is_read_once_and_known_from_then_on(decoder: SocketIoDecoder) -> None:
    usual, unusual = announcement("updateStream"), '451-["updateStream", {"_placeholder":true,"num":0}]'
    decoder.frame(1, usual)
    decoder.frame(1, unusual)
    assert decoder._announced == {usual: ("updateStream", 1)}

    decoder._announced[usual] = ("updateAssets", 2)
    decoder.frame(1, usual)

    assert decoder.awaited == "updateAssets"


def test_only_announcements_of_usual_length_are_remembered(decoder: SocketIoDecoder) -> None:
    room = 128 - len(announcement(""))
    decoder.frame(1, announcement("x" * (room - 1)))
    decoder.frame(1, announcement("x" * room))

    assert [len(text) for text in decoder._announced] == [127]


def test_of_names_some_hundred_are_counted_apart_and_the_long_ones_never(decoder: SocketIoDecoder) -> None:
    decoder.frame(1, f'42["{"x" * 40}",1]')
    decoder.frame(1, f'42["{"x" * 41}",1]')
    assert decoder.dropped == {"x" * 40: 1, "other": 1}

    for at in range(300):
        decoder.frame(1, f'42["{at}",1]')

    assert len(decoder.dropped) == 200
    assert decoder.dropped["other"] == 303 - 200


@pytest.mark.parametrize("payload", ["A", "\ud800", "äöü"])
def test_a_payload_that_is_not_base64_is_counted(decoder: SocketIoDecoder, payload: str) -> None:
    decoder.frame(1, announcement("updateStream"))

    assert decoder.frame(2, payload) is None
    assert decoder.malformed["base64"] == 1


def test_control_frames_are_none_of_our_business(decoder: SocketIoDecoder) -> None:
    assert decoder.frame(8, "") is None
    assert not decoder.malformed


def test_names_without_end_cannot_fill_the_memory(decoder: SocketIoDecoder) -> None:
    for at in range(5_000):
        decoder.frame(1, f'42["event {at}",1]')
        decoder.frame(1, announcement(f"event {at}" + "x" * 1_000 * (at % 2)))

    assert len(decoder.dropped) <= 202
    assert sum(decoder.dropped.values()) == 5_000
    assert len(decoder._announced) <= 256
    assert all(len(text) <= 128 for text in decoder._announced)


# --- market events ---


def read_list(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    symbols = msgspec.json.decode(payload, type=list[str])
    malformed["empty symbol"] += symbols.count("")
    return (Favourites(tuple(filter(None, symbols))),)


def read_asset(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    symbol = msgspec.json.decode(payload, type=str)
    malformed["empty symbol"] += not symbol
    return (ActiveAsset(symbol),)


@pytest.fixture
def market() -> SocketIoMarketDecoder:
    return SocketIoMarketDecoder({"list": read_list, "both": read_list}, {"turn": read_asset, "both": read_asset})


def test_each_event_goes_to_the_handler_of_its_direction(market: SocketIoMarketDecoder) -> None:
    assert market.received(1, '42["list",["A","B"]]') == (Favourites(("A", "B")),)
    assert market.received(1, '42["both",["C"]]') == (Favourites(("C",)),)
    assert market.sent(1, '42["turn","D"]') == (ActiveAsset("D"),)
    assert market.sent(1, '42["both","E"]') == (ActiveAsset("E"),)
    assert not +market.malformed


def test_a_handler_takes_the_payload_of_a_binary_frame_too(market: SocketIoMarketDecoder) -> None:
    assert market.received(1, announcement("list")) == ()
    assert market.received(2, b64(b'["A"]')) == (Favourites(("A",)),)
    assert market.sent(1, announcement("turn")) == ()
    assert market.sent(2, b64(b'"B"')) == (ActiveAsset("B"),)


def test_announcements_of_one_direction_wait_for_no_frame_of_the_other(market: SocketIoMarketDecoder) -> None:
    market.received(1, announcement("both"))

    assert market.sent(2, b64(b'"A"')) == ()
    assert market.received(2, b64(b'["A"]')) == (Favourites(("A",)),)


def test_an_event_without_a_handler_in_its_direction_is_dropped(market: SocketIoMarketDecoder) -> None:
    assert market.received(1, '42["turn","D"]') == ()
    assert market.sent(1, '42["list",["A"]]') == ()
    assert market.dropped == {"turn": 1}, "what the page sends is nobody's to count"
    assert not market.malformed


def test_what_a_handler_counts_is_counted_with_the_framing(market: SocketIoMarketDecoder) -> None:
    market.received(1, '42["list",["","A",""]]')
    market.sent(1, '42["turn",""]')
    market.received(1, "42")

    assert market.malformed == {"empty symbol": 3, "event": 1}


@pytest.mark.parametrize("payload", ["{", "7", '"\ud800"', "[" * 100_000], ids=["cut", "number", "surrogate", "deep"])
def test_a_payload_that_its_handler_cannot_decode_is_counted_each_time(
    market: SocketIoMarketDecoder, payload: str
) -> None:
    for times in (1, 2):
        assert market.received(1, f'42["list",{payload}]') == ()
        assert market.sent(1, f'42["turn",{payload}]') == ()
        assert +market.malformed == {"list": times, "turn": times}


def test_the_greeting_of_the_server_becomes_one_of_the_market(market: SocketIoMarketDecoder) -> None:
    assert market.received(1, '0{"pingInterval":45000,"pingTimeout":5000}') == (Greeting(45_000),)


@pytest.mark.parametrize("frame", ["41", '44{"message":"no"}', "41/chat,"])
def test_a_namespace_that_the_server_refuses_or_ends_is_a_log_out_and_one_that_the_page_ends_is_none(
    market: SocketIoMarketDecoder, frame: str
) -> None:
    assert market.received(1, frame) == (LoggedOut(),)
    assert market.sent(1, frame) == ()


@pytest.mark.parametrize("frame", ["40", "2"])
def test_frames_that_are_no_event_and_no_greeting_are_no_market_event(
    market: SocketIoMarketDecoder, frame: str
) -> None:
    assert market.received(1, frame) == ()
    assert market.sent(1, frame) == ()


def test_a_greeting_that_goes_out_is_none(market: SocketIoMarketDecoder) -> None:
    assert market.sent(1, '0{"pingInterval":45000}') == ()
