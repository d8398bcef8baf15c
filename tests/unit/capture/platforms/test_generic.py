"""A platform described in the settings file: its frames into ticks, and nothing but ticks."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxcap.capture.platforms.base import Keep, RawTick
from fluxcap.capture.platforms.generic import GenericPlatform
from fluxcap.schemas.errors import ConfigError

BINANCE: dict[str, Any] = {
    "pages": ["https://www.binance.com/*/trade/*"],
    "sockets": ["wss://stream.binance.com*"],
    "messages": "data",
    "symbol": "s",
    "time": "T",
    "price": "p",
    "filter": {"e": "trade"},
}
TRADE = (
    '{"stream":"btcusdt@trade","data":{"e":"trade","s":"BTCUSDT","p":"27123.45","T":1690000000123,"m":true,"uid":"me"}}'
)
TICK = RawTick("BTCUSDT", 1_690_000_000_123, 27_123.45)


def platform(**changes: Any) -> GenericPlatform:
    return GenericPlatform((), **{**BINANCE, **changes})


def ticks(frame: str, opcode: int = 1, **changes: Any) -> list[Any]:
    return list(platform(**changes).decoder().received(opcode, frame))


def message(**fields: Any) -> str:
    return json.dumps({"data": {"e": "trade", "s": "BTCUSDT", "p": "1.5", "T": 1_690_000_000_123, **fields}})


def test_a_binance_trade_is_a_tick_though_its_price_is_a_string():
    assert ticks(TRADE) == [TICK]


@pytest.mark.parametrize("price", ["1_000", "1٣", " 1.5", "1.5 ", "nan", "inf", "0x10", "1,5", "", "1" * 400])
def test_a_price_is_a_decimal_number_and_not_what_else_python_reads_as_one(price: str):
    assert ticks(message(p=price)) == []


@pytest.mark.parametrize(("price", "number"), [("1", 1.0), ("+1.", 1.0), (".5", 0.5), ("1e-3", 0.001), (2, 2.0)])
def test_every_usual_way_to_write_a_price_is_understood(price: object, number: float):
    assert [tick.price for tick in ticks(message(p=price))] == [number]


def test_pages_and_sockets_are_those_of_the_patterns():
    binance = GenericPlatform(["mirror.example"], **BINANCE)

    assert binance.is_page("https://www.binance.com/en/trade/BTC_USDT")
    assert not binance.is_page("https://www.binance.com/en/my/wallet")
    assert binance.is_socket("wss://stream.binance.com:9443/stream")
    assert not binance.is_socket("wss://chat.binance.com/")
    assert binance.is_page("https://mirror.example/x")
    assert binance.is_socket("wss://mirror.example/x")


def test_without_socket_patterns_every_socket_of_the_pages_counts():
    described = {key: value for key, value in BINANCE.items() if key != "sockets"}

    assert GenericPlatform((), **described).is_socket("wss://anything.test/")


@pytest.mark.parametrize(
    ("unit", "written"),
    [
        ("ms", 1_690_000_000_123),
        ("ms", "1690000000123"),
        ("s", 1_690_000_000.123),
        ("us", 1_690_000_000_123_400),
        ("ns", 1_690_000_000_123_400_000),
        ("iso", "2023-07-22T04:26:40.123Z"),
        ("iso", "2023-07-22T06:26:40.123+02:00"),
        ("iso", "2023-07-22 04:26:40.123"),
    ],
)
def test_times_are_read_in_their_unit(unit: str, written: Any):
    assert [tick.raw_ts_ms for tick in ticks(message(T=written), time_unit=unit)] == [1_690_000_000_123]


def test_a_list_of_messages_gives_a_tick_each_in_order():
    frame = json.dumps({"data": [[1_690_000_000_000, "1.5", "ETH"], [1_690_000_000_100, 1.6, "ETH"]]})

    found = ticks(frame, messages="data[]", symbol="2", time="0", price="1", filter={})

    assert found == [RawTick("ETH", 1_690_000_000_000, 1.5), RawTick("ETH", 1_690_000_000_100, 1.6)]


def test_binary_frames_hold_the_same_json():
    packed = base64.b64encode(TRADE.encode()).decode()

    assert ticks(packed, opcode=2, frames="binary") == [TICK]
    assert ticks(TRADE, opcode=1, frames="binary") == []


@pytest.mark.parametrize(
    ("written", "read"), [(7, "7"), ("a-1", "a-1"), (None, ""), (True, ""), (1.5, ""), ("x" * 65, "")]
)
def test_a_trade_has_the_id_that_the_path_names(written: object, read: str):
    assert [tick.trade_id for tick in ticks(message(t=written), id="t")] == [read]


def test_without_a_path_a_trade_has_no_id():
    assert [tick.trade_id for tick in ticks(message(t=7))] == [""]


def test_a_recording_keeps_the_id_of_a_trade():
    described = platform(id="t")
    kept = described.redaction().received(1, message(t=7, m=True))

    assert "m" not in json.loads(kept.payload)["data"]
    assert [tick.trade_id for tick in described.decoder().received(1, kept.payload)] == ["7"]


def test_repeats_count_unless_the_table_says_that_they_do_not():
    assert platform().repeats
    assert not platform(repeats=False).repeats


def test_symbols_that_differ_are_streams_that_differ():
    decoder = platform().decoder()
    symbols = ["XBT/USD", "XBT-USD", "XBT.USD", "XBT:USD", "XBT USD"]

    names = [tick.symbol for symbol in symbols for tick in decoder.received(1, message(s=symbol))]

    assert names == ["XBT~2FUSD", "XBT-USD", "XBT~2EUSD", "XBT~3AUSD", "XBT~20USD"]


def test_a_stream_of_the_store_keeps_its_name_while_one_symbol_belongs_to_it():
    described = platform()
    described.keep_names(["XBT-USD"])
    decoder, other = described.decoder(), described.decoder()

    names = [
        tick.symbol
        for decoder, symbol in ((decoder, "XBT/USD"), (other, "XBT/USD"), (other, "XBT-USD"), (decoder, "XBT/USD"))
        for tick in decoder.received(1, message(s=symbol))
    ]

    assert names == ["XBT-USD", "XBT-USD", "XBT-USD", "XBT~2FUSD"]


def test_messages_that_the_filter_holds_back_are_dropped_and_are_no_fault():
    decoder = platform().decoder()

    found = [*decoder.received(1, message(e="kline")), *decoder.received(1, '{"result":null,"id":1}')]

    assert found == []
    assert decoder.dropped["frame"] == 2
    assert not decoder.malformed


@pytest.mark.parametrize(
    "fields",
    [
        {"p": "much"},
        {"p": "NaN"},
        {"p": "-1"},
        {"p": 0},
        {"p": 1e13},
        {"p": True},
        {"p": None},
        {"T": "soon"},
        {"T": -1},
        {"T": 1e300},
        {"T": [1]},
        {"s": ""},
        {"s": 5},
        {"s": "../../etc"},
        {"s": "x" * 40},
    ],
    ids=str,
)
def test_a_trade_that_cannot_be_is_counted_and_makes_no_tick(fields: dict[str, Any]):
    decoder = platform().decoder()

    assert decoder.received(1, message(**fields)) == []
    assert decoder.malformed["tick"] == 1


def test_a_bad_row_does_not_cost_the_others_of_its_frame():
    rows = [{"s": "A", "T": 1_690_000_000_000, "p": bad} for bad in (1, "x", 2)]

    found = ticks(json.dumps(rows), messages="[]", filter={})

    assert [tick.price for tick in found] == [1.0, 2.0]


@given(st.text() | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(json.dumps))
def test_no_frame_raises(frame: str):
    shape = platform()

    shape.decoder().received(1, frame)
    shape.decoder().received(2, frame)
    shape.redaction().received(1, frame)


def test_a_recording_keeps_what_makes_ticks_and_nothing_else():
    redaction = platform().redaction()

    kept = redaction.received(1, TRADE)

    assert kept.keep is Keep.CONTENT
    assert json.loads(kept.payload) == {"data": {"e": "trade", "s": "BTCUSDT", "p": "27123.45", "T": 1_690_000_000_123}}
    assert ticks(kept.payload) == [TICK]
    assert redaction.received(1, '{"data":{"e":"account","balance":5}}') == (Keep.TALK, "")
    assert redaction.received(1, message(p="bad")) == (Keep.TALK, "")
    assert redaction.sent(1, '{"auth":"secret"}') == (Keep.TALK, "")
    assert redaction.received(1, "2") == (Keep.PULSE, "")


def test_the_shown_asset_is_asked_for_by_its_selector_and_not_at_all_without_one():
    asked = platform(shown_asset=".pair 'x'").shown_asset_js

    assert asked == """document.querySelector(".pair 'x'")?.textContent ?? ''"""
    assert platform().shown_asset_js == ""


def test_what_the_page_sends_is_never_read():
    assert platform().decoder().sent(1, TRADE) == ()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"pages": []}, "names no pages"),
        ({"pages": ["*"]}, "'\\*' names no host"),
        ({"time_unit": "minutes"}, "invalid enum value 'minutes'"),
        ({"frames": "gzip"}, "invalid enum value 'gzip'"),
        ({"symbl": "s"}, "unknown field `symbl`"),
        ({"price": "a..b"}, "is no path"),
        ({"price": ""}, "must each name one field"),
        ({"time": "x[]"}, "must each name one field"),
    ],
)
def test_a_table_that_is_not_right_is_refused_with_the_reason(changes: dict[str, Any], sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        platform(**changes)


def test_without_a_table_it_says_where_to_describe_it():
    with pytest.raises(ConfigError, match=r"add \[platforms.NAME\] to the settings file"):
        GenericPlatform()
