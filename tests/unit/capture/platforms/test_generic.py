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


@pytest.mark.costly
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


NESTED: dict[str, Any] = {
    "pages": ["https://x.test/*"],
    "messages": "events[].trades[]",
    "symbol": "product_id",
    "time": "time",
    "time_unit": "iso",
    "price": "price",
    "id": "trade_id",
    "filter": {"../type": "update", "../../channel": "market_trades"},
}


def test_trades_in_lists_in_lists_are_read_where_the_lists_around_them_say_what_they_are():
    def trade(price: str) -> dict[str, str]:
        return {"product_id": "ETH-USD", "trade_id": price, "price": price, "time": "2023-07-22T04:26:40.123456Z"}

    events = [
        {"type": "snapshot", "trades": [trade("1.0")]},
        {"type": "update", "trades": [trade("2.0"), trade("3.0")]},
        {"type": "update", "trades": [trade("4.0")]},
    ]
    decoder = GenericPlatform((), **NESTED).decoder()

    found = decoder.received(1, json.dumps({"channel": "market_trades", "events": events}))
    others = decoder.received(1, json.dumps({"channel": "candles", "events": events}))

    assert [(tick.trade_id, tick.raw_ts_ms, tick.price) for tick in found] == [  # type: ignore[union-attr]
        (text, 1_690_000_000_123, float(text)) for text in ("2.0", "3.0", "4.0")
    ]
    assert others == []


def test_a_symbol_may_stand_outside_of_the_message():
    frame = json.dumps([0, [["5541.2", "0.1", "1690000000.123597"]], "trade", "XBT/USD"])

    found = ticks(frame, messages="1[]", symbol="../3", time="2", time_unit="s", price="0", filter={"../2": "trade"})

    assert found == [RawTick("XBT~2FUSD", 1_690_000_000_123, 5_541.2)]


def test_numbers_are_symbols_where_there_is_a_table_of_names():
    named = {"names": {"76": "EURUSD-OTC", "XBTUSD": "BTCUSD"}}

    found = [tick.symbol for symbol in (76, "76", 1, "XBTUSD", "ETH") for tick in ticks(message(s=symbol), **named)]

    assert found == ["EURUSD-OTC", "EURUSD-OTC", "1", "BTCUSD", "ETH"]
    assert ticks(message(s=76)) == []


@pytest.mark.parametrize("symbol", [True, 1.5, 10**18, [1], {}])
def test_what_is_no_number_of_an_asset_is_no_symbol(symbol: object):
    assert ticks(message(s=symbol), names={}) == []


CHANNELS: dict[str, Any] = {
    "pages": ["https://x.test/*"],
    "messages": "2",
    "symbol": "../0",
    "time": "1",
    "price": "3",
    "id": "0",
    "filter": {"../1": "te"},
    "channels": {"key": "chanId", "symbol": "pair", "filter": {"event": "subscribed", "channel": "trades"}},
}
TOLD = '{"event":"subscribed","channel":"trades","chanId":17470,"symbol":"tBTCUSD","pair":"BTCUSD","userId":5}'
EXECUTED = '[17470,"te",[401597395,1690000000123,0.005,7245.3]]'
EXECUTION = RawTick("BTCUSD", 1_690_000_000_123, 7_245.3, "401597395")


def test_a_trade_is_of_the_symbol_that_its_socket_told_for_its_channel():
    described = GenericPlatform((), **CHANNELS)
    decoder, other = described.decoder(), described.decoder()

    assert list(decoder.received(1, TOLD)) == []
    assert list(decoder.received(1, EXECUTED)) == [EXECUTION]
    assert list(decoder.received(1, EXECUTED.replace("te", "tu"))) == []
    assert list(other.received(1, EXECUTED)) == []
    assert (decoder.malformed, other.malformed) == ({}, {"channel": 1})


def test_channels_that_are_told_again_or_in_thousands_are_those_told_last():
    decoder = GenericPlatform((), **CHANNELS).decoder()
    decoder.received(1, TOLD)
    for number in range(4_096):
        decoder.received(1, TOLD.replace("17470", str(number)).replace("BTCUSD", "ETHUSD"))

    assert list(decoder.received(1, EXECUTED)) == []
    assert [tick.symbol for tick in decoder.received(1, EXECUTED.replace("17470", "0"))] == ["ETHUSD"]  # type: ignore[union-attr]


@pytest.mark.parametrize("number", ["true", "1.5", "null", "[1]"])
def test_what_is_no_number_of_a_channel_is_counted(number: str):
    decoder = GenericPlatform((), **CHANNELS).decoder()
    decoder.received(1, TOLD.replace("17470", number))

    assert list(decoder.received(1, EXECUTED.replace("17470", number))) == []
    assert decoder.malformed["tick"] == 1


def test_a_recording_keeps_of_channels_what_their_trades_need():
    described = GenericPlatform((), **CHANNELS)
    redaction, decoder = described.redaction(), described.decoder()

    told, trade = redaction.received(1, TOLD), redaction.received(1, EXECUTED)

    assert json.loads(told.payload) == {"event": "subscribed", "channel": "trades", "chanId": 17_470, "pair": "BTCUSD"}
    assert json.loads(trade.payload) == [17_470, "te", [401_597_395, 1_690_000_000_123, None, 7_245.3]]
    assert [*decoder.received(1, told.payload), *decoder.received(1, trade.payload)] == [EXECUTION]
    assert described.redaction().received(1, EXECUTED) == (Keep.TALK, "")


SECOND = {"messages": "", "symbol": "sym", "time": "at", "time_unit": "s", "price": "last", "filter": {"k": "x"}}


def test_a_frame_is_read_as_the_first_kind_that_it_holds_messages_of():
    described = platform(also=[SECOND, {**SECOND, "filter": {}, "symbol": "never"}])
    decoder = described.decoder()
    other = '{"k":"x","sym":"ETH","at":1690000000,"last":2,"never":"WRONG"}'

    found = [*decoder.received(1, TRADE), *decoder.received(1, other), *decoder.received(1, other.replace("x", "y"))]

    assert found == [TICK, RawTick("ETH", 1_690_000_000_000, 2.0), RawTick("WRONG", 1_690_000_000_000, 2.0)]


def test_a_recording_keeps_the_fields_of_the_kind_that_is_read():
    described = platform(also=[SECOND])
    other = '{"k":"x","sym":"ETH","at":1690000000,"last":2,"s":"secret","p":3}'

    kept = described.redaction().received(1, other)

    assert json.loads(kept.payload) == {"k": "x", "sym": "ETH", "at": 1_690_000_000, "last": 2}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"symbol": "../s", "messages": ""}, r"'\.\./s' leads out of the frame"),
        ({"filter": {"../data.e": "trade"}}, "leads back into the messages"),
        ({"messages": "[]" * 9}, "more than 8 lists"),
        ({"messages": "a[]b"}, "is no path"),
        ({"names": {"1": "../../etc"}}, r"names calls '1' '\.\./\.\./etc', which can be no asset's name"),
        ({"names": {"1": "A", "2": "A"}}, "names calls both '1' and '2' 'A'"),
        ({"names": {"1": 5}}, r"expected `str`, got `int` - at `\$.names"),
        ({"also": [{"symbol": "s", "time": "t"}]}, r"missing required field `price` - at `\$.also\[0\]`"),
        ({"also": [{**SECOND, "pages": []}]}, r"unknown field `pages` - at `\$.also\[0\]`"),
        ({"also": [{**SECOND, "price": "x[]"}]}, "must each name one field"),
        ({"channels": {"key": "chanId"}}, r"missing required field `symbol` - at `\$.channels`"),
        ({"channels": {"key": "", "symbol": "s"}}, "must each name one field"),
        ({"channels": {"key": "../a", "symbol": "s"}}, "leads out of the frame"),
    ],
)
def test_a_description_that_says_more_than_can_be_is_refused_with_the_reason(changes: dict[str, Any], sentence: str):
    with pytest.raises(ConfigError, match=sentence) as refused:
        platform(**changes)
    assert str(refused.value).endswith(".")
    assert "\n" not in str(refused.value)


KEYS = st.sampled_from(["data", "events", "trades", "0"])
SCALARS = st.none() | st.integers() | st.text()


@given(st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner)))
def test_no_frame_raises_whatever_the_shape(frame: Any):
    for table in (NESTED, CHANNELS, {**BINANCE, "names": {}, "also": [SECOND]}):
        described = GenericPlatform((), **table)
        described.decoder().received(1, json.dumps(frame))
        described.redaction().received(1, json.dumps(frame))
