"""PocketOption: its addresses and its events. Pure.

Shapes as recorded in September and October 2025. Note the column orders: history candles are
``[ts, open, close, high, low]``, and ``loadHistoryPeriodFast`` rows are objects. Only market events are on the
allow-list; balances, deals, chat and sessions are dropped by name, undecoded.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any
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
from fluxcap.capture.platforms.rows import (
    MAX_PRICE,
    MAX_TS_S,
    candles_of,
    exact_json,
    history_ticks,
    is_number,
    is_symbol,
    is_tick,
    period_ms_of,
    rows_of,
    sound_symbols,
    spacing_ms,
)
from fluxcap.capture.platforms.socketio import NOT_READABLE, EventHandler, SocketIoMarketDecoder
from fluxcap.capture.platforms.stamps import SECONDS, as_written, floor_ms

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
MAX_PAYOUT_PERCENT = 10_000
_COMMA, _POINT = b",."


_REQUESTS_MAX = 64
"""Requests for earlier candles that may be unanswered; older ones are forgotten."""


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
        if not is_symbol(asked.asset):
            return ()
        period_ms = period_ms_of(asked.period)
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
        if symbol is None or not is_symbol(symbol):
            malformed["loadHistoryPeriodFast"] += 1
            return ()
        rows = rows_of(message.data)
        candles = candles_of(
            (row["time"], row["open"], row["high"], row["low"], row["close"])
            for row in rows
            if isinstance(row, dict) and row.keys() >= _CANDLE_COLUMNS
        )
        listed = (row for row in rows if isinstance(row, dict) and row.keys().isdisjoint(_OHLC))
        ticks, breaks_ms = history_ticks((row.get("time"), row.get("price")) for row in listed)
        malformed["history row"] += len(rows) - len(candles) - len(ticks)
        period_ms = period_ms_of(message.period)
        if not period_ms and asked is not None and asked.symbol == symbol:
            period_ms = asked.period_ms
        found = [History(symbol, period_ms or spacing_ms(candles), (), candles)] if candles or not ticks else []
        return (*found, History(symbol, 0, ticks, (), breaks_ms)) if ticks else found


def _parts_of(url: str) -> SplitResult:
    """Return the parts of an address; all are empty for what is none."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


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
            and symbol in sound_symbols
        ):
            return (RawTick(symbol, round(ts_s * 1_000), price),)
    except (ValueError, IndexError):  # msgspec's errors are ValueErrors
        pass
    if isinstance(payload, str):
        return _read_ticks(payload.encode(), malformed)
    return _read_any_ticks(payload, malformed)


def _read_any_ticks(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    """One bad row must not cost the others of its frame. Further columns are the platform's own business."""
    rows = exact_json.decode(payload)
    found: list[MarketEvent] = []
    for row in rows if isinstance(rows, list) else [None]:
        match row:
            case [str(symbol), ts_s, price, *_] if is_tick(ts_s, price) and is_symbol(symbol):
                found.append(RawTick(symbol, floor_ms(ts_s, SECONDS), float(price)))
            case _:
                malformed["tick"] += 1
    return found


def _read_history(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    message = _history.decode(payload)
    if not is_symbol(message.asset):
        malformed["updateHistoryNewFast"] += 1
        return ()
    # Columns are never dropped to make a row fit: the rest would move to wrong positions.
    told, rows = rows_of(message.history), rows_of(message.candles)
    ticks, breaks_ms = history_ticks(
        (row[0], row[1]) if isinstance(row, list) and len(row) >= 2 else (None, None) for row in told
    )
    listed = (row for row in rows if isinstance(row, list) and len(row) >= 5)
    candles = candles_of((ts, open_, high, low, close) for ts, open_, close, high, low, *_ in listed)
    malformed["history row"] += len(told) - len(ticks) + len(rows) - len(candles)
    period_ms = period_ms_of(message.period) or spacing_ms(candles)
    return (ActiveAsset(message.asset, period_ms), History(message.asset, period_ms, ticks, candles, breaks_ms))


def _index(value: Any) -> str | None:
    """The key that ties an answer to a request."""
    return str(value) if isinstance(value, str) or is_number(value) else None


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
            settings = exact_json.decode(settings)
        for one in settings if isinstance(settings, list) else [settings]:
            symbol = one.get("symbol") if isinstance(one, dict) else None
            if isinstance(symbol, str) and is_symbol(symbol):
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
    rows = exact_json.decode(payload)
    assets: list[Asset] = []
    for row in rows if isinstance(rows, list) else [None]:
        match row:
            case [_, str(symbol), str(name), str(kind), _, payout, _, _, _, otc, *rest] if is_symbol(symbol):
                active = bool(rest[4]) if len(rest) > 4 else True
                percent = int(payout) if is_number(payout) and 0 <= payout <= MAX_PAYOUT_PERCENT else 0
                assets.append(Asset(symbol, name, kind, percent, bool(otc), active))
            case _:
                malformed["asset row"] += 1
    return (Assets(tuple(assets)),) if assets else ()


def _read_favourites(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    return (Favourites(tuple(symbol for symbol in _symbols.decode(payload) if is_symbol(symbol))),)


def _read_change(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    message = _change.decode(payload)
    return (ActiveAsset(message.asset, period_ms_of(message.period)),) if is_symbol(message.asset) else ()


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
