"""The descriptions that ship, each with the samples of its platform's public documents."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest

from fluxcap.capture.platforms.base import Keep, RawTick
from fluxcap.capture.platforms.presets import MARK, presets
from fluxcap.capture.platforms.registry import choices, platform_named

AGGREGATE = {
    **{"e": "aggTrade", "E": 1672515782136, "s": "BNBBTC", "a": 12345, "p": "0.001", "q": "100", "f": 100, "l": 105},
    **{"T": 1672515782136, "m": True, "M": True},
}
TRADE = {"e": "trade", "E": 1672515782136, "s": "BNBBTC", "t": 6789, "p": "0.001", "q": "100", "T": 1672515782136}
KRAKEN_2 = {
    "channel": "trade",
    "type": "update",
    "data": [
        {
            **{"symbol": "MATIC/USD", "side": "sell", "price": 0.5117, "qty": 40.0, "ord_type": "market"},
            **{"trade_id": 4665906, "timestamp": "2023-09-25T07:49:37.708706Z"},
        }
    ],
}
KRAKEN_1 = [
    0,
    [
        ["5541.20000", "0.15850568", "1534614057.321597", "s", "l", ""],
        ["6060.00000", "0.02455000", "1534614057.324998", "b", "l", ""],
    ],
    "trade",
    "XBT/USD",
]
ADVANCED = {
    "channel": "market_trades",
    "client_id": "",
    "timestamp": "2023-02-09T20:19:35.39625135Z",
    "sequence_num": 0,
    "events": [
        {
            "type": "update",
            "trades": [
                {
                    **{"trade_id": "000000000", "product_id": "ETH-USD", "price": "1260.01", "size": "0.3"},
                    **{"side": "BUY", "time": "2019-08-14T20:42:27.265123456Z"},
                }
            ],
        }
    ],
}
MATCH = {
    **{"type": "match", "trade_id": 10, "sequence": 50, "maker_order_id": "ac928c66", "taker_order_id": "132fb6ae"},
    **{"time": "2014-11-07T08:19:27.028459Z", "product_id": "BTC-USD", "size": "5.23512", "price": "400.23"},
}
DERIV = {
    "echo_req": {"ticks": "R_50", "subscribe": 1},
    "msg_type": "tick",
    "subscription": {"id": "7f5af17d"},
    "tick": {
        **{"ask": 215.5143, "bid": 215.4943, "epoch": 1563957405, "id": "7f5af17d", "pip_size": 4},
        **{"quote": 215.5043, "symbol": "R_50"},
    },
}
BYBIT = {
    "topic": "publicTrade.BTCUSDT",
    "type": "snapshot",
    "ts": 1672304486868,
    "data": [
        {
            **{"T": 1672304486865, "s": "BTCUSDT", "S": "Buy", "v": "0.001", "p": "16578.50", "L": "PlusTick"},
            **{"i": "20f43950-d8dd-5b31-9112-a178eb6023af", "BT": False},
        }
    ],
}
BYBIT_ID = "20f43950-d8dd-5b31-9112-a178eb6023af"
BITFINEX_TOLD = {"event": "subscribed", "channel": "trades", "chanId": 17470, "symbol": "tBTCUSD", "pair": "BTCUSD"}
BITFINEX = [17470, "te", [401597395, 1574694478808, 0.005, 7245.3]]
BINOMO = {
    "data": [
        {
            "assets": [
                {
                    **{"sent_at": "2026-09-17T05:17:05.298935Z", "rate": 641.867391475, "precision": 10, "repeat": 0},
                    **{"ask": 641.86739149, "bid": 641.86739146, "ric": "Z-CRY/IDX"},
                    **{"created_at": "2026-09-17T05:17:06Z", "created_at_with_millis": "2026-09-17T05:17:05.250Z"},
                }
            ],
            "action": "assets",
        }
    ],
    "success": True,
    "errors": [],
}
BNB = [RawTick("BNBBTC", 1_672_515_782_136, 0.001, trade_id) for trade_id in ("12345", "6789")]
SAMPLES: list[tuple[str, str, list[Any], list[RawTick]]] = [
    ("binance", "aggTrade of combined streams", [{"stream": "bnbbtc@aggTrade", "data": AGGREGATE}], BNB[:1]),
    ("binance", "aggTrade of a raw stream", [AGGREGATE], BNB[:1]),
    ("binance", "trade of combined streams", [{"stream": "bnbbtc@trade", "data": TRADE}], BNB[1:]),
    ("binance", "trade of a raw stream", [TRADE], BNB[1:]),
    ("binance-futures", "aggTrade", [{"stream": "bnbbtc@aggTrade", "data": AGGREGATE}], BNB[:1]),
    ("kraken", "version 2", [KRAKEN_2], [RawTick("MATIC~2FUSD", 1_695_628_177_708, 0.5117, "4665906")]),
    (
        "kraken",
        "version 1",
        [KRAKEN_1],
        [RawTick("XBT~2FUSD", 1_534_614_057_321, 5_541.2), RawTick("XBT~2FUSD", 1_534_614_057_324, 6_060.0)],
    ),
    ("coinbase", "Advanced Trade", [ADVANCED], [RawTick("ETH-USD", 1_565_815_347_265, 1_260.01, "000000000")]),
    ("coinbase", "Exchange", [MATCH], [RawTick("BTC-USD", 1_415_348_367_028, 400.23, "10")]),
    ("deriv", "tick", [DERIV], [RawTick("R_50", 1_563_957_405_000, 215.5043)]),
    ("bybit", "publicTrade", [BYBIT], [RawTick("BTCUSDT", 1_672_304_486_865, 16_578.5, BYBIT_ID)]),
    ("bybit-linear", "publicTrade", [BYBIT], [RawTick("BTCUSDT", 1_672_304_486_865, 16_578.5, BYBIT_ID)]),
    ("bitfinex", "te", [BITFINEX_TOLD, BITFINEX], [RawTick("BTCUSD", 1_574_694_478_808, 7_245.3, "401597395")]),
    ("binomo", "assets", [BINOMO], [RawTick("Z-CRY~2FIDX", 1_789_622_225_250, 641.867391475)]),
]
NO_TRADES: list[tuple[str, Any]] = [
    ("binance", {"stream": "btcusdt@kline_1m", "data": {"e": "kline", "s": "BTCUSDT", "k": {"T": 1, "p": "1"}}}),
    ("binance", {"e": "executionReport", "s": "BTCUSDT", "T": 1672515782136, "p": "1", "t": 5}),
    ("binance", {"result": None, "id": 1}),
    ("kraken", {**KRAKEN_2, "type": "snapshot"}),
    ("kraken", {**KRAKEN_2, "channel": "ticker"}),
    ("kraken", {"channel": "heartbeat"}),
    ("kraken", [0, {"b": [["5541.3", "2.5", "1534614248.765567"]]}, "book-10", "XBT/USD"]),
    ("kraken", [*KRAKEN_1[:2], "spread", "XBT/USD"]),
    ("coinbase", {**ADVANCED, "events": [{**ADVANCED["events"][0], "type": "snapshot"}]}),  # type: ignore[index]
    ("coinbase", {**ADVANCED, "channel": "candles"}),
    ("coinbase", {**MATCH, "type": "last_match"}),
    ("coinbase", {**MATCH, "type": "ticker"}),
    ("deriv", {**DERIV, "msg_type": "proposal"}),
    ("deriv", {"msg_type": "balance", "balance": {"balance": 5}}),
    ("bybit", {"topic": "allLiquidation.BTCUSDT", "data": [{"T": 1672304486865, "s": "BTCUSDT", "v": "2", "p": "1"}]}),
    ("bybit", {**BYBIT, "data": [{**BYBIT["data"][0], "BT": True}]}),  # type: ignore[index]
    ("bitfinex", [17470, "hb"]),
    ("bitfinex", [17470, "tu", BITFINEX[2]]),
    ("bitfinex", [17470, [BITFINEX[2]]]),
    ("binomo", {"data": [{"field": "Z-CRY/IDX", "action": "subscribe"}], "success": True, "errors": []}),
]
ADDRESSES = [
    ("binance", "https://www.binance.com/en/trade/BTC_USDT", "wss://stream.binance.com:9443/stream"),
    ("binance-futures", "https://www.binance.com/en/futures/BTCUSDT", "wss://fstream.binance.com/stream"),
    ("kraken", "https://pro.kraken.com/app/trade/btc-usd", "wss://ws.kraken.com/v2"),
    ("kraken", "https://pro.kraken.com/app/trade/btc-usd", "wss://ws.kraken.com"),
    ("coinbase", "https://www.coinbase.com/advanced-trade/spot/BTC-USD", "wss://advanced-trade-ws.coinbase.com/"),
    ("coinbase", "https://exchange.coinbase.com/trade/BTC-USD", "wss://ws-feed.exchange.coinbase.com"),
    ("deriv", "https://app.deriv.com/dtrader", "wss://ws.derivws.com/websockets/v3?app_id=1089"),
    ("bybit", "https://www.bybit.com/en/trade/spot/BTC/USDT", "wss://stream.bybit.com/v5/public/spot"),
    ("bybit-linear", "https://www.bybit.com/trade/usdt/BTCUSDT", "wss://stream.bybit.com/v5/public/linear"),
    ("bitfinex", "https://trading.bitfinex.com/t/BTC:USD", "wss://api-pub.bitfinex.com/ws/2"),
    ("binomo", "https://binomo.com/trading", "wss://as.binomo.com/"),
]
FOREIGN = ("https://www.binance.com/en/my/wallet", "https://www.coinbase.com/settings", "https://evil.test/en/trade/x")


@pytest.mark.parametrize(
    ("name", "frames", "ticks"),
    [pytest.param(name, frames, ticks, id=f"{name}, {what}") for name, what, frames, ticks in SAMPLES],
)
def test_the_documented_messages_are_ticks_live_and_from_a_recording(name: str, frames: list[Any], ticks: list[Any]):
    platform = platform_named(name)
    decoder, redaction, replayed = platform.decoder(), platform.redaction(), platform.decoder()
    payloads = [json.dumps(frame) for frame in frames]

    live = [tick for payload in payloads for tick in decoder.received(1, payload)]
    kept = [redaction.received(1, payload) for payload in payloads]

    assert live == ticks
    assert [tick for one in kept for tick in replayed.received(1, one.payload)] == ticks
    assert (decoder.malformed, {one.keep for one in kept}) == ({}, {Keep.CONTENT})


def test_every_description_has_a_documented_message_and_an_address():
    assert {name for name, *_ in SAMPLES} == {name for name, *_ in ADDRESSES} == set(presets())


@pytest.mark.parametrize(("name", "frame"), NO_TRADES, ids=str)
def test_what_is_no_live_trade_is_no_tick_and_stands_in_no_recording(name: str, frame: Any):
    platform = platform_named(name)
    decoder, redaction = platform.decoder(), platform.redaction()
    for opening in [BITFINEX_TOLD] if name == "bitfinex" else []:
        decoder.received(1, json.dumps(opening))
        redaction.received(1, json.dumps(opening))

    assert list(decoder.received(1, json.dumps(frame))) == []
    assert decoder.malformed == {}
    assert redaction.received(1, json.dumps(frame)) == (Keep.TALK, "")


@pytest.mark.parametrize(("name", "page", "socket"), ADDRESSES)
def test_the_documented_addresses_are_the_platforms_and_no_others(name: str, page: str, socket: str):
    platform = platform_named(name)
    others = [address for other, *addresses in ADDRESSES if other != name for address in addresses]

    assert platform.is_page(page)
    assert platform.is_socket(socket)
    assert not any(platform.is_page(url) or platform.is_socket(url) for url in (*others, *FOREIGN))
    assert not platform.is_socket(socket.replace(".com", ".com.evil.test"))


def test_spot_and_futures_of_one_name_are_never_read_together():
    for spot, other in (("binance", "binance-futures"), ("bybit", "bybit-linear")):
        assert set(presets()[spot].table["sockets"]).isdisjoint(presets()[other].table["sockets"])


@pytest.mark.parametrize("name", presets())
def test_a_printed_description_is_a_table_of_the_settings_that_makes_the_same_platform(name: str):
    tables = tomllib.loads(presets()[name].text)["platforms"]
    copied = {"mine": {"kind": name, **tables[name]} if "kind" not in tables[name] else tables[name]}

    sample = next(frames for owner, _, frames, _ in SAMPLES if owner == name)
    decoders = [platform_named(name).decoder(), platform_named(name, (), tables).decoder()]
    decoders.append(platform_named("mine", (), copied).decoder())
    found = [[tick for frame in sample for tick in decoder.received(1, json.dumps(frame))] for decoder in decoders]

    assert found[0]
    assert found == [found[0]] * 3
    assert "about" not in presets()[name].text


def test_each_is_marked_as_nobody_has_compared_it_yet():
    listed = {one.name: one for one in choices({})}

    assert MARK == "from public documents, not from a recording"
    assert {name for name, one in listed.items() if one.origin == MARK} >= set(presets())
    assert all(listed[name].about and listed[name].documents for name in presets())
