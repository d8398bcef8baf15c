"""PocketOption: its addresses and its events. Pure.

Shapes as recorded in September and October 2025. Note the column orders: history candles are
``[ts, open, close, high, low]``, and ``loadHistoryPeriodFast`` rows are objects. Only market events are on the
allow-list; balances, deals, chat and sessions are dropped by name, undecoded.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, TypeGuard
from urllib.parse import SplitResult, urlsplit

import msgspec

from fluxcap.capture.platforms.addresses import PAGES, SOCKETS, AddressPatterns, hosts_of
from fluxcap.capture.platforms.base import (
    ActiveAsset,
    Asset,
    Assets,
    Favourites,
    History,
    LoggedOut,
    MarketEvent,
    RawTick,
)
from fluxcap.capture.platforms.redaction import SocketIoRedaction
from fluxcap.capture.platforms.socketio import NOT_READABLE, EventHandler, SocketIoMarketDecoder
from fluxcap.capture.platforms.stamps import SECONDS, as_written, floor_ms
from fluxcap.schemas.types import Candle

DEFAULT_HOSTS = ("pocketoption.com", "*.pocketoption.com", "po.market", "*.po.market", "po.trade", "*.po.trade")
MIRROR_HOSTS = (
    "po.cash",
    "po2.cash",
    "po.site",
    "po.zone",
    "po-ru.co",
    "p.finance",
    "pocket-option.com",
    "pocketoption.net",
    "pocketoption.co",
)
"""Where the page is served, too, from public reports. Such names lapse and change hands, so that of these pages only
sockets to the platform's own hosts count."""
_LOOKS_ALIKE = re.compile(r"pocket[-_]?option", re.IGNORECASE)
DEMO, REAL = "demo", "real"
_ACCOUNT_HOSTS = (".po.market", ".po.trade")
_TRADING_PATH = re.compile(r"/cabinet/(?:[a-z]+-)*high-low(?:/|$)")
"""The trading page's path on every mirror, as ``/en/cabinet/demo-quick-high-low/``."""
MAX_PRICE = 1e12
_SYMBOL = re.compile(r"[#A-Za-z0-9][A-Za-z0-9_#&-]{0,31}")
"""All 183 symbols of the recorded table, and nothing that could do harm in a topic or a file name."""
_SYMBOLS_MAX = 4_096
MAX_TS_S = 32_503_680_000.0
"""The year 3000: a time stamp beyond it is not seconds."""
MAX_PERIOD_S = 86_400 * 31
MAX_PAYOUT_PERCENT = 10_000
_HUGE = 1e300
_COMMA, _POINT = b",."


class _HistoryPayload(msgspec.Struct):
    asset: str
    period: int
    history: list[Any] = []
    candles: list[Any] = []


class _PeriodRow(msgspec.Struct):
    time: msgspec.Raw
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
_any = msgspec.json.Decoder(float_hook=as_written)
_history = msgspec.json.Decoder(_HistoryPayload, float_hook=as_written)
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
    """The platform. ``extra_hosts``: further host patterns (``*`` allowed) of mirrors, for pages and sockets alike.

    Known mirrors are pages of it, but no hosts of its sockets.
    """

    name = "pocketoption"
    shown_asset_js = SHOWN_ASSET_JS

    def __init__(self, extra_hosts: Sequence[str] = ()) -> None:
        hosts = (*DEFAULT_HOSTS, *hosts_of(extra_hosts))
        self._pages = AddressPatterns(hosts, PAGES)
        self._mirrors = AddressPatterns([*MIRROR_HOSTS, *(f"*.{host}" for host in MIRROR_HOSTS)], PAGES)
        self._sockets = AddressPatterns(hosts, SOCKETS)

    def is_page(self, url: str) -> bool:
        return self._pages.match(url) or self._mirrors.match(url)

    def is_mirror(self, url: str) -> bool:
        return self._mirrors.match(url) and not self._pages.match(url)

    def resembles_page(self, url: str) -> bool:
        parts = _parts_of(url)
        named = _LOOKS_ALIKE.search(parts.hostname or "") or _TRADING_PATH.search(parts.path)
        return parts.scheme in PAGES and named is not None and not self.is_page(url)

    def account(self, socket_url: str, page_url: str) -> str:
        """Demo and real accounts have sockets of their own, ``demo-api-…`` and ``try-demo-…`` beside ``api-…``.

        Of a socket that was open before the attach only its page is known, ``/cabinet/demo-quick-high-low/``.
        """
        host = _parts_of(socket_url).hostname or ""
        if host.endswith(_ACCOUNT_HOSTS):
            return DEMO if "demo" in host.partition(".")[0].split("-") else REAL
        path = _parts_of(page_url).path
        if _TRADING_PATH.search(path):
            return DEMO if "/demo-" in path else REAL
        return ""

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


def _parts_of(url: str) -> SplitResult:
    """Return the parts of an address; all are empty for what is none."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


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
    """The ticks of a frame; nearly always it is one, its time written like ``1756866774.962``.

    Of three decimals or fewer the double tells the millisecond exactly. Where the point and the comma behind them stand
    is known, since no symbol has either. Anything else takes the longer way.
    """
    try:
        ((symbol, ts_s, price),) = _ticks.decode(payload)
        at = len(symbol)
        if (
            payload[at + 15] == _POINT
            and (payload[at + 19] == _COMMA or payload[at + 18] == _COMMA or payload[at + 17] == _COMMA)
            and 0.0 < price < MAX_PRICE
            and 0.0 < ts_s < MAX_TS_S
            and symbol in _sound_symbols
        ):
            return (RawTick(symbol, round(ts_s * 1_000), price),)
    except (ValueError, IndexError):  # msgspec's errors are ValueErrors
        pass
    if isinstance(payload, str):
        return _read_ticks(payload.encode(), malformed)
    return _read_any_ticks(payload, malformed)


def _read_any_ticks(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    """One bad row must not cost the others of its frame. Further columns are the platform's own business."""
    rows = _any.decode(payload)
    found: list[MarketEvent] = []
    for row in rows if isinstance(rows, list) else [None]:
        match row:
            case [str(symbol), ts_s, price, *_] if _is_tick(ts_s, price) and _is_symbol(symbol):
                found.append(RawTick(symbol, floor_ms(ts_s, SECONDS), float(price)))
            case _:
                malformed["tick"] += 1
    return found


def _is_number(value: Any) -> TypeGuard[int | Decimal]:
    """Return whether it is a JSON number that a double holds: an integer may have any number of digits."""
    return isinstance(value, int | Decimal) and not isinstance(value, bool) and -_HUGE < value < _HUGE


def _is_tick(ts_s: Any, price: Any) -> bool:
    return _is_number(ts_s) and 0 < ts_s < MAX_TS_S and _is_number(price) and 0.0 < float(price) < MAX_PRICE


def _read_history(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    message = _history.decode(payload)
    if not _is_symbol(message.asset):
        malformed["updateHistoryNewFast"] += 1
        return ()
    # Columns are never dropped to make a row fit: the rest would move to wrong positions.
    ticks = [
        (floor_ms(row[0], SECONDS), float(row[1]))
        for row in message.history
        if isinstance(row, list) and len(row) >= 2 and _is_tick(row[0], row[1])
    ]
    ticks.sort(key=_time_of)  # stable: ticks of one millisecond stay in their order
    rows = [row for row in message.candles if isinstance(row, list) and len(row) >= 5 and all(map(_is_number, row[:5]))]
    candles = _candles((ts, float(o), float(h), float(low), float(c)) for ts, o, c, h, low, *_ in rows)
    malformed["history row"] += len(message.history) - len(ticks) + len(message.candles) - len(candles)
    period_ms = _period_ms(message.period)
    return (ActiveAsset(message.asset, period_ms), History(message.asset, period_ms, tuple(ticks), candles))


def _time_of(tick: tuple[int, float]) -> int:
    return tick[0]


def _period_ms(period_s: int) -> int:
    return period_s * 1_000 if 0 < period_s <= MAX_PERIOD_S else 0


def _read_period(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    message = _period.decode(payload)
    candles = _candles((_any.decode(row.time), row.open, row.high, row.low, row.close) for row in message.data)
    malformed["history row"] += len(message.data) - len(candles)
    if not _is_symbol(message.asset):
        malformed["loadHistoryPeriodFast"] += 1
        return ()
    return (History(message.asset, _period_ms(message.period), (), candles),)


def _candles(rows: Iterable[tuple[Any, float, float, float, float]]) -> tuple[Candle, ...]:
    """Rows ``(ts_s, open, high, low, close)`` in any order → sane candles, ascending, each start once."""
    found: dict[int, Candle] = {}
    for ts_s, open_, high, low, close in rows:
        if _is_tick(ts_s, Decimal(low)) and low <= min(open_, close) and max(open_, close) <= high < MAX_PRICE:
            ts_ms = floor_ms(ts_s, SECONDS)
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


def _read_logged_out(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    """The name says it; what came with it is the trader's own business."""
    return (LoggedOut(),)


_INBOUND: dict[str, EventHandler] = {
    "updateStream": _read_ticks,
    "updateHistoryNewFast": _read_history,
    "updateHistoryNew": _read_history,
    "loadHistoryPeriodFast": _read_period,
    "loadHistoryPeriod": _read_period,
    "updateCharts": _read_charts,
    "updateAssets": _read_assets,
    "successfavorite/change": _read_favourites,
    "NotAuthorized": _read_logged_out,
    "notAuthorized": _read_logged_out,
    "auth_error": _read_logged_out,
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


def _reduce_all(payload: bytes | str) -> bytes | None:
    """Only the event's name is kept."""
    return b"null"


_REDUCED = {
    "updateCharts": _reduce_charts,
    "NotAuthorized": _reduce_all,
    "notAuthorized": _reduce_all,
    "auth_error": _reduce_all,
}
