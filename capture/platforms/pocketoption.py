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
from itertools import pairwise
from typing import Any, TypeAlias, TypeGuard
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


_REQUESTS_MAX = 64
"""Requests for earlier candles that may be unanswered; older ones are forgotten."""
_OFF_GRID_SHARE = 0.1
"""So many of the steps between rows may be no multiple of the usual one: their times are wrong."""


class _HistoryPayload(msgspec.Struct):
    asset: str
    period: Any = None
    history: Any = None
    candles: Any = None


class _EarlierPayload(msgspec.Struct):
    asset: str | None = None
    period: Any = None
    index: Any = None
    data: Any = None


class _EarlierRequest(msgspec.Struct):
    asset: str
    period: Any = None
    index: Any = None


class _Chart(msgspec.Struct):
    settings: Any


class _ChangeSymbol(msgspec.Struct):
    asset: str
    period: Any = None


_ticks = msgspec.json.Decoder(list[tuple[str, float, float]])
_any = msgspec.json.Decoder(float_hook=as_written)
_history = msgspec.json.Decoder(_HistoryPayload, float_hook=as_written)
_earlier = msgspec.json.Decoder(_EarlierPayload, float_hook=as_written)
_request = msgspec.json.Decoder(_EarlierRequest, float_hook=as_written)
_charts = msgspec.json.Decoder(list[Any] | _Chart, float_hook=as_written)
_symbols = msgspec.json.Decoder(list[str])
_change = msgspec.json.Decoder(_ChangeSymbol, float_hook=as_written)

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
        return SocketIoRedaction({*_INBOUND, *_EARLIER}, {*_OUTBOUND, _REQUEST}, _REDUCED)


class PocketOptionDecoder(SocketIoMarketDecoder):
    """Frames of one socket into market events."""

    def __init__(self) -> None:
        self._requests: dict[str, History] = {}
        """By their index: what the page asked earlier candles of, as a history without any."""
        inbound = _INBOUND | dict.fromkeys(_EARLIER, self._read_earlier)
        super().__init__(inbound, _OUTBOUND | {_REQUEST: self._read_request})

    def _read_request(self, payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
        """The page asks for earlier candles of what it shows. The answer need not say of what it is."""
        asked = _request.decode(payload)
        if not _is_symbol(asked.asset):
            return ()
        period_ms = _period_ms(asked.period)
        if (index := _index(asked.index)) is not None:
            self._requests[index] = History(asked.asset, period_ms)
            if len(self._requests) > _REQUESTS_MAX:
                del self._requests[next(iter(self._requests))]
        return (ActiveAsset(asked.asset, period_ms, turned=False),)

    def _read_earlier(self, payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
        """Candles further back, or ticks, of which nobody says how many they leave out: their period is unknown."""
        message = _earlier.decode(payload)
        asked = self._requests.pop(_index(message.index) or "", None)
        symbol = message.asset if message.asset is not None or asked is None else asked.symbol
        if symbol is None or not _is_symbol(symbol):
            malformed["loadHistoryPeriodFast"] += 1
            return ()
        rows = _rows(message.data)
        candles = _candles(
            (row["time"], row["open"], row["high"], row["low"], row["close"])
            for row in rows
            if isinstance(row, dict) and row.keys() >= _CANDLE_COLUMNS
        )
        listed = (row for row in rows if isinstance(row, dict) and row.keys().isdisjoint(_OHLC))
        ticks, breaks_ms = _history_ticks((row.get("time"), row.get("price")) for row in listed)
        malformed["history row"] += len(rows) - len(candles) - len(ticks)
        period_ms = _period_ms(message.period)
        if not period_ms and asked is not None and asked.symbol == symbol:
            period_ms = asked.period_ms
        found = [History(symbol, period_ms or _spacing_ms(candles), (), candles)] if candles or not ticks else []
        return (*found, History(symbol, 0, ticks, (), breaks_ms)) if ticks else found


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
    told, rows = _rows(message.history), _rows(message.candles)
    ticks, breaks_ms = _history_ticks(
        (row[0], row[1]) if isinstance(row, list) and len(row) >= 2 else (None, None) for row in told
    )
    listed = (row for row in rows if isinstance(row, list) and len(row) >= 5)
    candles = _candles((ts, open_, high, low, close) for ts, open_, close, high, low, *_ in listed)
    malformed["history row"] += len(told) - len(ticks) + len(rows) - len(candles)
    period_ms = _period_ms(message.period) or _spacing_ms(candles)
    return (ActiveAsset(message.asset, period_ms), History(message.asset, period_ms, ticks, candles, breaks_ms))


def _time_of(tick: tuple[int, float]) -> int:
    return tick[0]


def _rows(value: Any) -> list[Any]:
    """The rows of a list; anything else has none."""
    return value if isinstance(value, list) else []


def _period_ms(period_s: Any) -> int:
    """A period in milliseconds; 0 where it is none that can be."""
    return int(period_s) * 1_000 if _is_number(period_s) and 1 <= period_s <= MAX_PERIOD_S and period_s % 1 == 0 else 0


def _spacing_ms(candles: Sequence[Candle]) -> int:
    """The period of candles, ascending, that nobody tells: the usual step from one to the next; 0 where none is.

    Minutes without a trade make multiples of it. Where steps are no multiples, one row more would tell another period.
    """
    steps = Counter(after.ts_ms - before.ts_ms for before, after in pairwise(candles))
    if not steps:
        return 0
    usual_ms, count = steps.most_common(1)[0]
    off_grid = sum(n for step_ms, n in steps.items() if step_ms % usual_ms)
    return usual_ms if count >= 2 and off_grid <= _OFF_GRID_SHARE * steps.total() and usual_ms % 1_000 == 0 else 0


def _index(value: Any) -> str | None:
    """The key that ties an answer to a request."""
    return str(value) if isinstance(value, str) or _is_number(value) else None


_Ticks: TypeAlias = tuple[tuple[int, float], ...]


def _history_ticks(rows: Iterable[tuple[Any, Any]]) -> tuple[_Ticks, tuple[int, ...]]:
    """Rows ``(ts_s, price)`` → sound ticks, ascending, and the breaks that the other rows leave.

    Ticks of one millisecond stay in their order. A row that is not sound lies between those beside it, whichever way
    the rows run.
    """
    stamps = [(floor_ms(ts_s, SECONDS), price) if _is_tick(ts_s, price) else None for ts_s, price in rows]
    ticks = sorted(((found[0], float(found[1])) for found in stamps if found is not None), key=_time_of)
    breaks: set[int] = set()
    before: int | None = None
    is_lost = False
    for found in stamps:
        if found is not None:
            if is_lost:
                breaks.add(max(before, found[0]) if before is not None else _beyond(found[0], ticks))
            before = found[0]
        is_lost = found is None
    if before is not None and stamps[-1] is None:
        breaks.add(_beyond(before, ticks))
    return tuple(ticks), tuple(sorted(breaks))


def _beyond(ts_ms: int, ticks: Sequence[tuple[int, float]]) -> int:
    """The break of a row outside all ticks, beside the one at ``ts_ms``: before the first, or after the last."""
    return ts_ms + 1 if ts_ms == ticks[-1][0] else ticks[0][0]


def _candles(rows: Iterable[tuple[Any, Any, Any, Any, Any]]) -> tuple[Candle, ...]:
    """Rows ``(ts_s, open, high, low, close)`` in any order → sound candles, ascending, each start once."""
    found: dict[int, Candle] = {}
    for ts_s, *prices in rows:
        if not _is_number(ts_s) or not 0 < ts_s < MAX_TS_S or not all(map(_is_number, prices)):
            continue
        open_, high, low, close = map(float, prices)
        if 0.0 < low <= min(open_, close) and max(open_, close) <= high < MAX_PRICE:
            ts_ms = floor_ms(ts_s, SECONDS)
            found[ts_ms] = Candle(ts_ms, open_, high, low, close)
    return tuple(found[ts_ms] for ts_ms in sorted(found))


def _charts_symbols(payload: bytes | str) -> list[str]:
    """The assets of a page's charts, in order, each once. Raises ``NOT_READABLE``.

    Charts come as a list or alone, their settings as an object, a list, or as JSON that is text in JSON. Only the
    symbol is read: ``chartPeriod`` is a code (4 means 60 s), not a length of time.
    """
    charts = _charts.decode(payload)
    symbols: dict[str, None] = {}
    listed = charts if isinstance(charts, list) else [{"settings": charts.settings}]
    for chart in listed:
        settings = chart.get("settings") if isinstance(chart, dict) else None
        if isinstance(settings, str):
            settings = _any.decode(settings)
        for one in settings if isinstance(settings, list) else [settings]:
            symbol = one.get("symbol") if isinstance(one, dict) else None
            if isinstance(symbol, str) and _is_symbol(symbol):
                symbols[symbol] = None
    return list(symbols)


def _read_charts(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    """The server tells a new page the charts that it had; the first one is shown."""
    return tuple(ActiveAsset(symbol) for symbol in _charts_symbols(payload)[:1])


def _read_saved_charts(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    """The page saves its charts. Of several assets nobody says which one is looked at."""
    symbols = _charts_symbols(payload)
    return (ActiveAsset(symbols[0], turned=False),) if len(symbols) == 1 else ()


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


_OHLC = frozenset(("open", "high", "low", "close"))
_CANDLE_COLUMNS = _OHLC | {"time"}
_EARLIER = ("loadHistoryPeriodFast", "loadHistoryPeriod")
_REQUEST = "loadHistoryPeriod"
_INBOUND: dict[str, EventHandler] = {
    "updateStream": _read_ticks,
    "updateHistoryNewFast": _read_history,
    "updateHistoryNew": _read_history,
    "updateCharts": _read_charts,
    "updateAssets": _read_assets,
    "successfavorite/change": _read_favourites,
    "NotAuthorized": _read_logged_out,
    "notAuthorized": _read_logged_out,
    "auth_error": _read_logged_out,
}
_OUTBOUND: dict[str, EventHandler] = {"changeSymbol": _read_change, "saveCharts": _read_saved_charts}


def _reduce_charts(payload: bytes | str) -> bytes | None:
    """Charts hold what the trader stakes, among much else: only the symbol is kept."""
    try:
        symbols = _charts_symbols(payload)
    except NOT_READABLE:
        return None
    return msgspec.json.encode([{"settings": {"symbol": symbol}} for symbol in symbols])


def _reduce_all(payload: bytes | str) -> bytes | None:
    """Only the event's name is kept."""
    return b"null"


_REDUCED = {
    "updateCharts": _reduce_charts,
    "saveCharts": _reduce_charts,
    "NotAuthorized": _reduce_all,
    "notAuthorized": _reduce_all,
    "auth_error": _reduce_all,
}
