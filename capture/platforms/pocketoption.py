"""PocketOption: its addresses and its events. Pure.

Shapes as recorded in September and October 2025. Note the column orders: history candles are
``[ts, open, close, high, low]``, and ``loadHistoryPeriodFast`` rows are objects. Only market events are on the
allow-list; balances, deals, chat and sessions are dropped by name, undecoded.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from fluxcap.capture.platforms.addresses import PAGES, SOCKETS, AddressPatterns, hosts_of
from fluxcap.capture.platforms.base import (
    ActiveAsset,
    Asset,
    Assets,
    Favourites,
    History,
    MarketEvent,
    RawTick,
)
from fluxcap.capture.platforms.redaction import SocketIoRedaction
from fluxcap.capture.platforms.socketio import NOT_READABLE, EventHandler, SocketIoMarketDecoder
from fluxcap.schemas.types import Candle

DEFAULT_HOSTS = ("pocketoption.com", "*.pocketoption.com", "po.market", "*.po.market", "po.trade", "*.po.trade")
MAX_PRICE = 1e12
_SYMBOL = re.compile(r"[#A-Za-z0-9][A-Za-z0-9_#&-]{0,31}")
"""All 183 symbols of the recorded table, and nothing that could do harm in a topic or a file name."""
_SYMBOLS_MAX = 4_096
MAX_TS_S = 32_503_680_000.0
"""The year 3000: a time stamp beyond it is not seconds."""
MAX_PERIOD_S = 86_400 * 31
MAX_PAYOUT_PERCENT = 10_000
_HUGE = 1e300


class _HistoryPayload(msgspec.Struct):
    asset: str
    period: int
    history: list[tuple[float, float]] = []
    candles: list[tuple[float, float, float, float, float]] = []


class _LooseHistoryPayload(msgspec.Struct):
    asset: str
    period: int
    history: list[Any] = []
    candles: list[Any] = []


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
_loose_history = msgspec.json.Decoder(_LooseHistoryPayload)
_period = msgspec.json.Decoder(_PeriodPayload)
_charts = msgspec.json.Decoder(list[_Chart])
_settings = msgspec.json.Decoder(_ChartSettings)
_symbols = msgspec.json.Decoder(list[str])
_change = msgspec.json.Decoder(_ChangeSymbol)

SHOWN_ASSET_JS = """
(document.querySelector(".current-symbol")
  ?? document.querySelector(".assets-favorites-item--active .assets-favorites-item__label")
  ?? document.querySelector(".assets-favorites-item.active .assets-favorites-item__label"))?.textContent ?? ""
"""
"""The selectors of the page as capture/collect/page.py has them; of the active item they are from public code only."""


class PocketOption:
    """The platform. ``extra_hosts``: further host patterns (``*`` allowed) of mirrors, for pages and sockets alike."""

    name = "pocketoption"
    shown_asset_js = SHOWN_ASSET_JS

    def __init__(self, extra_hosts: Sequence[str] = ()) -> None:
        hosts = (*DEFAULT_HOSTS, *hosts_of(extra_hosts))
        self._pages = AddressPatterns(hosts, PAGES)
        self._sockets = AddressPatterns(hosts, SOCKETS)

    def is_page(self, url: str) -> bool:
        return self._pages.match(url)

    def is_socket(self, url: str) -> bool:
        return self._sockets.match(url)

    def decoder(self) -> PocketOptionDecoder:
        return PocketOptionDecoder()

    def redaction(self) -> SocketIoRedaction:
        return SocketIoRedaction(_INBOUND, _OUTBOUND, _REDUCED)


class PocketOptionDecoder(SocketIoMarketDecoder):
    """Frames of one socket into market events."""

    def __init__(self) -> None:
        super().__init__(_INBOUND, _OUTBOUND)


_sound_symbols: set[str] = set()


def _is_symbol(text: str) -> bool:
    """Return whether a text can be an asset's symbol. Results are cached: ticks are many, symbols few."""
    if text in _sound_symbols:
        return True
    if _SYMBOL.fullmatch(text) is None:
        return False
    if len(_sound_symbols) < _SYMBOLS_MAX:
        _sound_symbols.add(text)
    return True


def _read_ticks(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    try:
        rows = _ticks.decode(payload)
    except msgspec.ValidationError:
        rows = _any_ticks(payload, malformed)
    found: list[MarketEvent] = []
    for symbol, ts_s, price in rows:
        if 0.0 < price < MAX_PRICE and 0.0 < ts_s < MAX_TS_S and (symbol in _sound_symbols or _is_symbol(symbol)):
            found.append(RawTick(symbol, round(ts_s * 1_000), price))
        else:
            malformed["tick"] += 1
    return found


def _any_ticks(payload: bytes | str, malformed: Counter[str]) -> list[tuple[str, float, float]]:
    """One bad row must not cost the others of its frame. Further columns are the platform's own business."""
    rows = _any.decode(payload)
    found: list[tuple[str, float, float]] = []
    for row in rows if isinstance(rows, list) else [None]:
        match row:
            case [str(symbol), ts_s, price, *_] if _is_number(ts_s) and _is_number(price):
                found.append((symbol, float(ts_s), float(price)))
            case _:
                malformed["tick"] += 1
    return found


def _is_number(value: Any) -> bool:
    """Return whether it is a JSON number that a double holds: an integer may have any number of digits."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -_HUGE < value < _HUGE


def _read_history(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    try:
        message = _history.decode(payload)
    except msgspec.ValidationError:
        message = _any_history(payload, malformed)
    if not _is_symbol(message.asset):
        malformed["updateHistoryNewFast"] += 1
        return ()
    ticks = [(round(ts * 1_000), price) for ts, price in message.history if _is_sane(ts, price)]
    ticks.sort(key=_time_of)  # stable: ticks of one millisecond stay in their order
    candles = _candles((ts, o, h, low, c) for ts, o, c, h, low in message.candles)
    malformed["history row"] += len(message.history) - len(ticks) + len(message.candles) - len(candles)
    period_ms = _period_ms(message.period)
    return (ActiveAsset(message.asset, period_ms), History(message.asset, period_ms, tuple(ticks), candles))


def _any_history(payload: bytes | str, malformed: Counter[str]) -> _HistoryPayload:
    """A history of which some row is not as recorded: the others still count."""
    message = _loose_history.decode(payload)
    ticks = [tuple(map(float, row[:2])) for row in message.history if _begins_with_numbers(row, 2)]
    candles = [tuple(map(float, row[:5])) for row in message.candles if _begins_with_numbers(row, 5)]
    malformed["history row"] += len(message.history) - len(ticks) + len(message.candles) - len(candles)
    return _HistoryPayload(message.asset, message.period, ticks, candles)  # type: ignore[arg-type]


def _begins_with_numbers(row: Any, count: int) -> bool:
    """Return whether the first ``count`` columns are all numbers.

    Columns are never dropped to make a row fit: the rest would move to wrong positions.
    """
    return isinstance(row, list) and len(row) >= count and all(map(_is_number, row[:count]))


def _time_of(tick: tuple[int, float]) -> int:
    return tick[0]


def _period_ms(period_s: int) -> int:
    return period_s * 1_000 if 0 < period_s <= MAX_PERIOD_S else 0


def _read_period(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    message = _period.decode(payload)
    candles = _candles((row.time, row.open, row.high, row.low, row.close) for row in message.data)
    malformed["history row"] += len(message.data) - len(candles)
    if not _is_symbol(message.asset):
        malformed["loadHistoryPeriodFast"] += 1
        return ()
    return (History(message.asset, _period_ms(message.period), (), candles),)


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
        if isinstance(symbol, str) and _is_symbol(symbol):
            return (ActiveAsset(symbol),)
    return ()


def _read_assets(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    rows = _any.decode(payload)
    assets: list[Asset] = []
    for row in rows if isinstance(rows, list) else [None]:
        match row:
            case [_, str(symbol), str(name), str(kind), _, payout, _, _, _, otc, *rest] if _is_symbol(symbol):
                active = bool(rest[4]) if len(rest) > 4 else True
                percent = int(payout) if _is_number(payout) and 0 <= payout <= MAX_PAYOUT_PERCENT else 0
                assets.append(Asset(symbol, name, kind, percent, bool(otc), active))
            case _:
                malformed["asset row"] += 1
    return (Assets(tuple(assets)),) if assets else ()


def _read_favourites(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    return (Favourites(tuple(symbol for symbol in _symbols.decode(payload) if _is_symbol(symbol))),)


def _read_change(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    message = _change.decode(payload)
    return (ActiveAsset(message.asset, _period_ms(message.period)),) if _is_symbol(message.asset) else ()


_INBOUND: dict[str, EventHandler] = {
    "updateStream": _read_ticks,
    "updateHistoryNewFast": _read_history,
    "updateHistoryNew": _read_history,
    "loadHistoryPeriodFast": _read_period,
    "loadHistoryPeriod": _read_period,
    "updateCharts": _read_charts,
    "updateAssets": _read_assets,
    "successfavorite/change": _read_favourites,
}
_OUTBOUND: dict[str, EventHandler] = {"changeSymbol": _read_change}


def _reduce_charts(payload: bytes | str) -> bytes | None:
    """Charts hold what the trader stakes, among much else: only the symbol is kept."""
    try:
        shown = _read_charts(payload, Counter())
    except NOT_READABLE:
        return None
    symbols = [event.symbol for event in shown if isinstance(event, ActiveAsset)]
    return msgspec.json.encode([{"settings": {"symbol": symbol}} for symbol in symbols])


_REDUCED = {"updateCharts": _reduce_charts}
