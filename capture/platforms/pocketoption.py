"""PocketOption: its addresses and its events. Pure.

Shapes as recorded in September and October 2025. Note the column orders: history candles are
``[ts, open, close, high, low]``, and ``loadHistoryPeriodFast`` rows are objects. Only market events are on the
allow-list; balances, deals, chat and sessions are dropped by name, undecoded.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

import msgspec

from capture.platforms.base import ActiveAsset, Asset, Assets, Favourites, Greeting, History, MarketEvent, RawTick
from capture.platforms.socketio import NamedEvent, OpenPacket, SocketIoDecoder
from schemas.types import Candle

DEFAULT_HOSTS = ("pocketoption.com", "*.pocketoption.com", "po.market", "*.po.market", "po.trade", "*.po.trade")
CHAT_HOSTS = ("chat-po.site", "*.chat-po.site")
MAX_PRICE = 1e12
MAX_TS_S = 32_503_680_000.0
"""The year 3000: a time stamp beyond it is not seconds."""


class _HistoryPayload(msgspec.Struct):
    asset: str
    period: int
    history: list[tuple[float, float]] = []
    candles: list[tuple[float, float, float, float, float]] = []


class _PeriodRow(msgspec.Struct):
    time: float
    open: float
    close: float
    high: float
    low: float


class _PeriodPayload(msgspec.Struct):
    asset: str
    period: int
    data: list[_PeriodRow] = []


class _Chart(msgspec.Struct):
    settings: str | dict[str, Any] = ""


class _ChartSettings(msgspec.Struct):
    symbol: str = ""


class _ChangeSymbol(msgspec.Struct):
    asset: str
    period: int = 0


_ticks = msgspec.json.Decoder(list[tuple[str, float, float]])
_any = msgspec.json.Decoder()
_history = msgspec.json.Decoder(_HistoryPayload)
_period = msgspec.json.Decoder(_PeriodPayload)
_charts = msgspec.json.Decoder(list[_Chart])
_settings = msgspec.json.Decoder(_ChartSettings)
_symbols = msgspec.json.Decoder(list[str])
_change = msgspec.json.Decoder(_ChangeSymbol)
_symbol = msgspec.json.Decoder(str)


class PocketOption:
    """The platform. ``extra_hosts``: further host patterns (``*`` allowed) of mirrors, for pages and sockets alike."""

    name = "pocketoption"

    def __init__(self, extra_hosts: Sequence[str] = ()) -> None:
        self._hosts = (*DEFAULT_HOSTS, *(host.lower() for host in extra_hosts))

    def is_page(self, url: str) -> bool:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and self._is_ours(parts.hostname, _port_of(url))

    def is_socket(self, url: str) -> bool:
        parts = urlsplit(url)
        return parts.scheme in ("ws", "wss") and self._is_ours(parts.hostname, _port_of(url))

    def decoder(self) -> PocketOptionDecoder:
        return PocketOptionDecoder()

    def _is_ours(self, host: str | None, port: int | None) -> bool:
        if host is None:
            return False
        names = (host, f"{host}:{port}") if port else (host,)
        return any(fnmatchcase(name, pattern) for pattern in self._hosts for name in names)


def _port_of(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        return None


class PocketOptionDecoder:
    """Frames of one socket into market events."""

    def __init__(self) -> None:
        self._inbound = SocketIoDecoder(_INBOUND)
        self._outbound = SocketIoDecoder(_OUTBOUND)
        self.malformed: Counter[str] = self._inbound.malformed
        self.dropped: Counter[str] = self._inbound.dropped

    def received(self, opcode: int, payload: str) -> Sequence[MarketEvent]:
        event = self._inbound.frame(opcode, payload)
        if event is None:
            return ()
        if isinstance(event, NamedEvent):
            return self._decode(_INBOUND[event.name], event)
        if isinstance(event, OpenPacket):
            return (Greeting(event.ping_interval_ms),)
        return ()

    def sent(self, opcode: int, payload: str) -> Sequence[MarketEvent]:
        event = self._outbound.frame(opcode, payload)
        if isinstance(event, NamedEvent):
            return self._decode(_OUTBOUND[event.name], event)
        return ()

    def _decode(self, read: _Reader, event: NamedEvent) -> Sequence[MarketEvent]:
        try:
            return read(event.payload, self.malformed)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.malformed[event.name] += 1
            return ()


_Reader = Callable[[bytes | str, "Counter[str]"], Sequence[MarketEvent]]


def _read_ticks(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    try:
        rows = _ticks.decode(payload)
    except msgspec.ValidationError:
        return _read_ticks_singly(payload, malformed)
    found: list[MarketEvent] = []
    for symbol, ts_s, price in rows:
        if 0.0 < price < MAX_PRICE and 0.0 < ts_s < MAX_TS_S and symbol:
            found.append(RawTick(symbol, round(ts_s * 1_000), price))
        else:
            malformed["tick"] += 1
    return found


def _read_ticks_singly(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    """One bad row must not cost the others of its frame. Further columns are the platform's own business."""
    rows = _any.decode(payload)
    found: list[MarketEvent] = []
    for row in rows if isinstance(rows, list) else [None]:
        match row:
            case [str(symbol), int() | float() as ts_s, int() | float() as price, *_] if (
                symbol
                and not isinstance(ts_s, bool)
                and not isinstance(price, bool)
                and 0 < price < MAX_PRICE
                and 0 < ts_s < MAX_TS_S
            ):
                found.append(RawTick(symbol, round(ts_s * 1_000), float(price)))
            case _:
                malformed["tick"] += 1
    return found


def _read_history(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    told = _history.decode(payload)
    ticks = sorted({round(ts * 1_000): price for ts, price in told.history if _is_sane(ts, price)}.items())
    malformed["history row"] += len(told.history) - len(ticks)
    candles = _candles((ts, o, h, low, c) for ts, o, c, h, low in told.candles)
    malformed["history row"] += len(told.candles) - len(candles)
    period_ms = max(0, told.period) * 1_000
    return (ActiveAsset(told.asset, period_ms), History(told.asset, period_ms, tuple(ticks), candles))


def _read_period(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    told = _period.decode(payload)
    candles = _candles((row.time, row.open, row.high, row.low, row.close) for row in told.data)
    malformed["history row"] += len(told.data) - len(candles)
    return (History(told.asset, max(0, told.period) * 1_000, (), candles),)


def _is_sane(ts_s: float, price: float) -> bool:
    return 0.0 < ts_s < MAX_TS_S and 0.0 < price < MAX_PRICE and math.isfinite(ts_s)


def _candles(rows: Any) -> tuple[Candle, ...]:
    """Rows ``(ts_s, open, high, low, close)`` in any order → sane candles, ascending, each start once."""
    found: dict[int, Candle] = {}
    for ts_s, open_, high, low, close in rows:
        if _is_sane(ts_s, low) and 0.0 < low <= min(open_, close) and max(open_, close) <= high < MAX_PRICE:
            ts_ms = round(ts_s * 1_000)
            found[ts_ms] = Candle(ts_ms, open_, high, low, close)
    return tuple(found[ts_ms] for ts_ms in sorted(found))


def _read_charts(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    """Only the symbol: ``chartPeriod`` is a code (4 means 60 s), not a length of time."""
    for chart in _charts.decode(payload)[:1]:
        settings = chart.settings
        symbol = settings.get("symbol") if isinstance(settings, dict) else _settings.decode(settings).symbol
        if isinstance(symbol, str) and symbol:
            return (ActiveAsset(symbol),)
    return ()


def _read_assets(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    rows = _any.decode(payload)
    assets: list[Asset] = []
    for row in rows if isinstance(rows, list) else [None]:
        match row:
            case [_, str(symbol), str(name), str(kind), _, int() | float() as payout, _, _, _, otc, *rest] if symbol:
                active = bool(rest[4]) if len(rest) > 4 else True
                assets.append(Asset(symbol, name, kind, int(payout), bool(otc), active))
            case _:
                malformed["asset row"] += 1
    return (Assets(tuple(assets)),) if assets else ()


def _read_favourites(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    return (Favourites(tuple(_symbols.decode(payload))),)


def _read_change(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    told = _change.decode(payload)
    return (ActiveAsset(told.asset, max(0, told.period) * 1_000),) if told.asset else ()


_INBOUND: dict[str, _Reader] = {
    "updateStream": _read_ticks,
    "updateHistoryNewFast": _read_history,
    "updateHistoryNew": _read_history,
    "loadHistoryPeriodFast": _read_period,
    "loadHistoryPeriod": _read_period,
    "updateCharts": _read_charts,
    "updateAssets": _read_assets,
    "successfavorite/change": _read_favourites,
}
_OUTBOUND: dict[str, _Reader] = {"changeSymbol": _read_change}
