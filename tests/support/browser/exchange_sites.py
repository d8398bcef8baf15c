"""Pages and sockets of the platforms that ship, under their own names, with the messages of their public documents.

One TLS server stands for all of them; a Chromium started with ``flags`` finds it behind every name. Each socket sends
live trades of one symbol, and between them what must not be read: snapshots, candles, liquidations, all at absurd
prices. ``trades`` is the truth: all live trades that were sent.
"""

from __future__ import annotations

import itertools
import json
import random
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeAlias
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from fluxcap.schemas.types import Candle

PERIOD_S = 0.15
WRONG = 999_999.0
"""The price of what is no live trade."""
Frame: TypeAlias = str | bytes
Writer: TypeAlias = "Callable[[Sequence[Trade]], list[Frame]]"


class Trade(NamedTuple):
    """One trade: number, time in UTC nanoseconds, price."""

    number: int
    ns: int
    price: float

    @property
    def ms(self) -> int:
        return self.ns // 1_000_000

    def iso(self, digits: int) -> str:
        seconds = datetime.fromtimestamp(self.ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{seconds}.{self.ns % 1_000_000_000:09d}"[: 20 + digits] + "Z"


class Feed(NamedTuple):
    """One socket of a platform. ``stream``: the name of its asset's stream. ``says``: what the page sends first."""

    platform: str
    page: str
    socket: str
    stream: str
    write: Writer
    opening: tuple[Frame, ...] = ()
    noise: tuple[Any, ...] = ()
    says: tuple[str, ...] = ('{"method":"SUBSCRIBE"}',)
    is_whole_seconds: bool = False
    most: int = 3
    """Trades at once, all of one millisecond."""


def each(frame: Callable[[Trade], Any]) -> Writer:
    """A frame for each trade."""
    return lambda trades: [json.dumps(frame(trade)) for trade in trades]


def together(
    frame: Callable[[list[Any]], Any], row: Callable[[Trade], Any]
) -> Callable[[Sequence[Trade]], list[Frame]]:
    """One frame for all trades."""
    return lambda trades: [json.dumps(frame([row(trade) for trade in trades]))]


def aggregate(trade: Trade) -> dict[str, Any]:
    return {"e": "aggTrade", "E": trade.ms, "s": "BTCUSDT", "a": trade.number, "p": f"{trade.price:.8f}", "T": trade.ms}


def execution(trade: Trade) -> dict[str, Any]:
    return {"e": "trade", "E": trade.ms, "s": "ETHUSDT", "t": trade.number, "p": f"{trade.price:.8f}", "T": trade.ms}


def kraken_2(kind: str) -> Callable[[list[Any]], Any]:
    return lambda rows: {"channel": "trade", "type": kind, "data": rows}


def kraken_row(trade: Trade) -> dict[str, Any]:
    return {"symbol": "BTC/USD", "price": trade.price, "qty": 1, "trade_id": trade.number, "timestamp": trade.iso(6)}


def advanced(kind: str) -> Callable[[list[Any]], Any]:
    return lambda rows: {
        "channel": "market_trades",
        "events": [{"type": kind, "trades": rows[:1]}, {"type": kind, "trades": rows[1:]}],
    }


def advanced_row(trade: Trade) -> dict[str, Any]:
    told = {"trade_id": str(trade.number), "product_id": "ETH-USD", "price": f"{trade.price}", "time": trade.iso(9)}
    return {**told, "size": "0.3", "side": "BUY"}


def match(trade: Trade, kind: str = "match") -> dict[str, Any]:
    told = {"type": kind, "trade_id": trade.number, "product_id": "BTC-USD", "price": f"{trade.price}"}
    return {**told, "time": trade.iso(6), "size": "5.2"}


def deriv(trade: Trade) -> dict[str, Any]:
    return {
        "echo_req": {"ticks": "R_50"},
        "msg_type": "tick",
        "tick": {"epoch": trade.ms // 1_000, "quote": trade.price, "symbol": "R_50", "id": "7f5af17d"},
    }


def bybit_row(trade: Trade, *, is_block: bool = False) -> dict[str, Any]:
    return {"T": trade.ms, "s": "BTCUSDT", "p": f"{trade.price}", "v": "1", "i": f"x-{trade.number}", "BT": is_block}


def bybit(rows: list[Any]) -> dict[str, Any]:
    return {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": 1, "data": rows}


def bitfinex(trade: Trade, kind: str = "te") -> list[Any]:
    return [17470, kind, [trade.number, trade.ms, 0.005, trade.price]]


def binomo_row(trade: Trade) -> dict[str, Any]:
    told = {"ric": "Z-CRY/IDX", "rate": trade.price, "ask": WRONG, "bid": WRONG, "created_at_with_millis": trade.iso(3)}
    return {**told, "created_at": trade.iso(0).replace(".", "")}


def quotex(trades: Sequence[Trade]) -> list[Frame]:
    rows = [["EURUSD_otc", trade.ms / 1_000, trade.price, 1] for trade in trades]
    return ['451-["quotes/stream",{"_placeholder":true,"num":0}]', b"\x04" + json.dumps(rows).encode()]


def _feeds() -> tuple[Feed, ...]:
    old = Trade(1, time.time_ns() - 60_000_000_000, WRONG)
    liquidation = {
        "topic": "allLiquidation.BTCUSDT",
        "data": [{"T": old.ms, "s": "BTCUSDT", "v": "1", "p": f"{WRONG}"}],
    }
    binance_page, kraken_page = "https://www.binance.com/en/trade/BTC_USDT", "https://pro.kraken.com/app/trade/btc-usd"
    coinbase_page = "https://www.coinbase.com/advanced-trade/spot/ETH-USD"
    return (
        Feed(
            *("binance", binance_page, "wss://stream.binance.com:9443/stream", "BTCUSDT"),
            each(lambda trade: {"stream": "btcusdt@aggTrade", "data": aggregate(trade)}),
            noise=({"stream": "x", "data": {"e": "kline", "s": "BTCUSDT", "p": WRONG, "T": old.ms}}, {"result": None}),
        ),
        Feed("binance", binance_page, "wss://stream.binance.com/ws/ethusdt@trade", "ETHUSDT", each(execution)),
        Feed(
            *("kraken", kraken_page, "wss://ws.kraken.com/v2", "BTC~2FUSD"),
            together(kraken_2("update"), kraken_row),
            noise=(kraken_2("snapshot")([kraken_row(old)]), {"channel": "heartbeat"}),
        ),
        Feed(
            *("kraken", kraken_page, "wss://ws.kraken.com/", "XBT~2FUSD"),
            together(
                lambda rows: [0, rows, "trade", "XBT/USD"],
                lambda trade: [f"{trade.price}", "0.1", f"{trade.ns // 1_000 / 1e6:.6f}", "s", "l", ""],
            ),
            noise=([0, {"b": [[f"{WRONG}", "1", "1.5"]]}, "book-10", "XBT/USD"], {"event": "heartbeat"}),
        ),
        Feed(
            *("coinbase", coinbase_page, "wss://advanced-trade-ws.coinbase.com/", "ETH-USD"),
            together(advanced("update"), advanced_row),
            noise=(advanced("snapshot")([advanced_row(old)]),),
        ),
        Feed(
            *("coinbase", coinbase_page, "wss://ws-feed.exchange.coinbase.com/", "BTC-USD"),
            each(match),
            noise=(match(old, "last_match"), match(old, "ticker")),
        ),
        Feed(
            *("deriv", "https://app.deriv.com/dtrader", "wss://ws.derivws.com/websockets/v3", "R_50"),
            each(deriv),
            noise=({"msg_type": "balance", "balance": {"balance": 5, "loginid": "SECRET"}},),
            is_whole_seconds=True,
        ),
        Feed(
            "bybit",
            "https://www.bybit.com/en/trade/spot/BTC/USDT",
            *("wss://stream.bybit.com/v5/public/spot", "BTCUSDT"),
            together(bybit, bybit_row),
            noise=(liquidation, bybit([bybit_row(old, is_block=True)])),
        ),
        Feed(
            *("bitfinex", "https://trading.bitfinex.com/t/BTC:USD", "wss://api-pub.bitfinex.com/ws/2", "BTCUSD"),
            each(bitfinex),
            opening=(
                '{"event":"info","version":2}',
                '{"event":"subscribed","channel":"trades","chanId":17470,"symbol":"tBTCUSD","pair":"BTCUSD"}',
                '{"event":"subscribed","channel":"ticker","chanId":17471,"symbol":"tETHUSD","pair":"ETHUSD"}',
            ),
            noise=(bitfinex(old, "tu"), [17470, "hb"], [17471, [1, 2, 3]]),
        ),
        Feed(
            *("binomo", "https://binomo.com/trading", "wss://as.binomo.com/", "Z-CRY~2FIDX"),
            together(lambda rows: {"data": [{"assets": rows, "action": "assets"}], "success": True}, binomo_row),
            noise=({"data": [{"field": "Z-CRY/IDX", "action": "subscribe"}], "success": True},),
        ),
        Feed(
            *("quotex", "https://qxbroker.com/en/trade", "wss://ws2.qxbroker.com/socket.io/", "EURUSD_otc"),
            quotex,
            opening=('0{"sid":"SECRET","upgrades":[],"pingInterval":25000,"pingTimeout":5000}', "40"),
            says=(
                '42["authorization",{"session":"SECRET","isDemo":1,"tournamentId":0}]',
                '42["instruments/update",{"asset":"EURUSD_otc","period":60}]',
            ),
            most=1,
        ),
    )


class ExchangeSites:
    """Serves from construction until ``close``. ``folder``: for the certificate, which openssl makes."""

    def __init__(self, folder: Path) -> None:
        self.feeds = _feeds()
        self.trades: dict[tuple[str, str], list[Trade]] = {(feed.platform, feed.stream): [] for feed in self.feeds}
        self._stopping = threading.Event()
        self._server: Server = serve(
            *(self._talk, "127.0.0.1", 0),
            ssl=_certified(folder),
            process_request=self._page,
            compression=None,
        )
        self.port: int = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def flags(self) -> tuple[str, ...]:
        """What a Chromium is started with to find all of them here."""
        return (f"--host-resolver-rules=MAP * 127.0.0.1:{self.port}", "--ignore-certificate-errors")

    @property
    def pages(self) -> list[str]:
        return list(dict.fromkeys(feed.page for feed in self.feeds))

    def candles(self, platform: str, stream: str, interval_ms: int) -> dict[int, Candle]:
        """Return what the candles must be, by the plainest means."""
        buckets: dict[int, list[float]] = {}
        for trade in list(self.trades[platform, stream]):
            buckets.setdefault(trade.ms // interval_ms * interval_ms, []).append(trade.price)
        return {
            start: Candle(start, p[0], max(p), min(p), p[-1], volume=float(len(p)), tick_count=len(p))
            for start, p in buckets.items()
        }

    def close(self) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._thread.join()

    def _page(self, connection: ServerConnection, request: Request) -> Response | None:
        if "Upgrade" in request.headers:
            return None
        address = f"https://{request.headers['Host']}{request.path}"
        sockets = {feed.socket: feed.says for feed in self.feeds if feed.page == address}
        response = connection.respond(
            200, f"<!doctype html><title>trade</title><script>{_SCRIPT % json.dumps(sockets)}</script>"
        )
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = "text/html"
        return response

    def _talk(self, connection: ServerConnection) -> None:
        request = connection.request
        assert request is not None
        host = request.headers["Host"]
        feed = next(
            feed
            for feed in self.feeds
            if (parts := urlsplit(feed.socket)).path == request.path and host in (parts.netloc, parts.hostname)
        )
        told = self.trades[feed.platform, feed.stream]
        numbers, rng, price = itertools.count(1_000), random.Random(feed.socket), 100.0
        noise = itertools.cycle([*map(json.dumps, feed.noise), None])
        try:
            for frame in feed.opening:
                connection.send(frame)
            connection.recv()
            while not self._stopping.wait(PERIOD_S):
                now_ns = time.time_ns()
                batch = []
                for _ in range(rng.randint(1, feed.most)):
                    price = round(price + rng.choice((0.0, 0.25, -0.25, 0.5, -0.5)), 2)
                    batch.append(Trade(next(numbers), now_ns, price))
                if feed.is_whole_seconds:
                    batch = [trade._replace(ns=trade.ns // 1_000_000_000 * 1_000_000_000) for trade in batch]
                told.extend(batch)
                for frame in feed.write(batch):
                    connection.send(frame)
                if (other := next(noise)) is not None:
                    connection.send(other)
        except ConnectionClosed:
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_SCRIPT = """
  self.sockets = Object.entries(%s).map(([address, says]) => {
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => says.forEach((text) => socket.send(text));
    return socket;
  });
"""


def _certified(folder: Path) -> ssl.SSLContext:
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subject = ("-subj", "/CN=exchanges.test", "-days", "2")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    made = ("-keyout", str(key), "-out", str(certificate))
    subprocess.run(["openssl", "req", "-x509", *curve, *subject, *made], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
