"""Immutable snapshots of the market, for ``status``. Pure values."""

from __future__ import annotations

import msgspec

from capture.focus import FocusMode
from schemas.types import FeedState


class AssetView(msgspec.Struct, frozen=True):
    """One asset."""

    symbol: str
    focused: bool
    feed_state: FeedState
    last_tick_ts_ms: int
    last_price: float
    ticks: int
    blind_reason: str


class MarketView(msgspec.Struct, frozen=True):
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
    assets: tuple[AssetView, ...]
    counters: dict[str, int]
    now_ms: int
    focus_unchecked: tuple[str, ...] = ()
