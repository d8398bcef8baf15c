"""Decisions of the market, on their way to the store and the wire. Pure."""

from __future__ import annotations

import msgspec

from fluxcap.capture.market.candles import Revision
from fluxcap.capture.market.feeds import GapUpdate
from fluxcap.capture.market.focus import FocusMode
from fluxcap.schemas.types import Candle, FeedState, Tick


class MarketUpdate(msgspec.Struct):
    """The decisions since the last ``drain``, in order of time."""

    sealed: dict[str, list[Candle]] = msgspec.field(default_factory=dict)
    revised: dict[str, list[Revision]] = msgspec.field(default_factory=dict)
    gaps: list[GapUpdate] = msgspec.field(default_factory=list)
    ticks: list[Tick] = msgspec.field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.sealed or self.revised or self.gaps or self.ticks)

    def append(self, newer: MarketUpdate) -> None:
        """Add what was decided after this. Ticks are not kept twice: what could not be stored waits without them."""
        for symbol, candles in newer.sealed.items():
            self.sealed.setdefault(symbol, []).extend(candles)
        for symbol, revisions in newer.revised.items():
            self.revised.setdefault(symbol, []).extend(revisions)
        self.gaps += newer.gaps
        self.ticks = newer.ticks


class AssetSnapshot(msgspec.Struct, frozen=True):
    """One asset."""

    symbol: str
    focused: bool
    feed_state: FeedState
    last_tick_ts_ms: int
    last_price: float
    ticks: int
    gap_reason: str


class MarketSnapshot(msgspec.Struct, frozen=True):
    """All of the market."""

    clock: str
    clock_reason: str
    platform_offset_ms: int | None
    focus_mode: FocusMode
    focus_symbols: tuple[str, ...]
    focus_unknown: tuple[str, ...]
    active_symbol: str | None
    active_period_ms: int
    favourites: tuple[str, ...]
    asset_count: int
    assets: tuple[AssetSnapshot, ...]
    counters: dict[str, int]
    now_ms: int
    focus_unchecked: tuple[str, ...] = ()
