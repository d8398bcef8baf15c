"""Quotex: its addresses and its events. Pure.

Shapes from public clients, not from a recording. The page speaks Engine.IO 3: a binary frame begins with a byte 4, and
behind it lies the JSON that Engine.IO 4 sends bare. Ticks are ``[symbol, seconds, price, direction]``, history candles
``[ts, open, close, high, low, ticks]``. Nobody has seen whether a history holds every tick, so that its period counts
as unknown: it fills a gap only where it proves itself by the live ticks that it overlaps. Balances, orders, deals and
the session are dropped by name, undecoded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from fluxcap.capture.platforms.addresses import PAGES, SOCKETS, AddressPatterns, hosts_of
from fluxcap.capture.platforms.base import ActiveAsset, Asset, Assets, History, LoggedOut, MarketEvent, RawTick
from fluxcap.capture.platforms.redaction import SocketIoRedaction
from fluxcap.capture.platforms.rows import (
    candles_of,
    exact_json,
    history_ticks,
    is_number,
    is_symbol,
    is_tick,
    period_ms_of,
    rows_of,
    spacing_ms,
)
from fluxcap.capture.platforms.socketio import EventHandler, SocketIoMarketDecoder
from fluxcap.capture.platforms.stamps import SECONDS, as_written, floor_ms

NAMES = ("quotex.com", "quotex.io", "qxbroker.com", "market-qx.trade")
_MESSAGE = b"\x04"
"""Engine.IO 3 writes a packet's type before its bytes; this one means a message."""
_OTC = "_otc"
_IS_OPEN, _PAYOUT = 14, 5
"""Columns of the asset table."""
_MAX_PAYOUT_PERCENT = 10_000


class _HistoryPayload(msgspec.Struct):
    asset: str
    period: Any = None
    history: Any = None
    candles: Any = None


class _Turned(msgspec.Struct):
    asset: str
    period: Any = None


_history = msgspec.json.Decoder(_HistoryPayload, float_hook=as_written)
_turned = msgspec.json.Decoder(_Turned, float_hook=as_written)


class Quotex:
    """The platform. ``extra_hosts``: further host patterns (``*`` allowed), for pages and sockets alike."""

    name = "quotex"
    shown_asset_js = ""

    def __init__(self, extra_hosts: Sequence[str] = ()) -> None:
        hosts = (*NAMES, *(f"*.{name}" for name in NAMES), *hosts_of(extra_hosts))
        self._pages, self._sockets = AddressPatterns(hosts, PAGES), AddressPatterns(hosts, SOCKETS)

    def is_page(self, url: str) -> bool:
        return self._pages.match(url)

    def is_socket(self, url: str) -> bool:
        return self._sockets.match(url)

    def decoder(self) -> SocketIoMarketDecoder:
        return SocketIoMarketDecoder(_INBOUND, _OUTBOUND)

    def redaction(self) -> SocketIoRedaction:
        return SocketIoRedaction(_INBOUND, _OUTBOUND, {"authorization/reject": lambda _: b"null"})


def _bare(payload: bytes | str) -> bytes | str:
    """The JSON of an event, without the byte that Engine.IO 3 writes before what is binary."""
    return payload.removeprefix(_MESSAGE) if isinstance(payload, bytes) else payload


def _read_ticks(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    """One bad row must not cost the others of its frame."""
    rows = exact_json.decode(_bare(payload))
    found: list[MarketEvent] = []
    for row in rows if isinstance(rows, list) else [None]:
        match row:
            case [str(symbol), ts_s, price, *_] if is_tick(ts_s, price) and is_symbol(symbol):
                found.append(RawTick(symbol, floor_ms(ts_s, SECONDS), float(price)))
            case _:
                malformed["tick"] += 1
    return found


def _read_history(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    message = _history.decode(_bare(payload))
    if not is_symbol(message.asset):
        malformed["history/list/v2"] += 1
        return ()
    told, rows = rows_of(message.history), rows_of(message.candles)
    ticks, breaks_ms = history_ticks(
        (row[0], row[1]) if isinstance(row, list) and len(row) >= 2 else (None, None) for row in told
    )
    listed = (row for row in rows if isinstance(row, list) and len(row) >= 5)
    candles = candles_of((ts, open_, high, low, close) for ts, open_, close, high, low, *_ in listed)
    malformed["history row"] += len(told) - len(ticks) + len(rows) - len(candles)
    period_ms = period_ms_of(message.period) or spacing_ms(candles)
    events: list[MarketEvent] = [ActiveAsset(message.asset, period_ms)]
    if candles:
        events.append(History(message.asset, period_ms, (), candles))
    if ticks:
        events.append(History(message.asset, 0, ticks, (), breaks_ms))
    return events


def _read_assets(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    rows = exact_json.decode(_bare(payload))
    assets: list[Asset] = []
    for row in rows if isinstance(rows, list) else [None]:
        match row:
            case [_, str(symbol), str(name), str(kind), *_] if is_symbol(symbol):
                payout = row[_PAYOUT] if len(row) > _PAYOUT else 0
                percent = int(payout) if is_number(payout) and 0 <= payout <= _MAX_PAYOUT_PERCENT else 0
                is_open = bool(row[_IS_OPEN]) if len(row) > _IS_OPEN else True
                is_otc = symbol.lower().endswith(_OTC)
                assets.append(Asset(symbol, " ".join(name.split()), kind, percent, is_otc, is_open))
            case _:
                malformed["asset row"] += 1
    return (Assets(tuple(assets)),) if assets else ()


def _read_turned(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    """The page turns to an asset."""
    message = _turned.decode(_bare(payload))
    return (ActiveAsset(message.asset, period_ms_of(message.period)),) if is_symbol(message.asset) else ()


def _read_logged_out(payload: bytes | str, malformed: Counter[str]) -> Sequence[MarketEvent]:
    """The name says it; what came with it is the trader's own business."""
    return (LoggedOut(),)


_INBOUND: dict[str, EventHandler] = {
    "quotes/stream": _read_ticks,
    "history/list/v2": _read_history,
    "instruments/list": _read_assets,
    "authorization/reject": _read_logged_out,
}
_OUTBOUND: dict[str, EventHandler] = {"instruments/update": _read_turned}
