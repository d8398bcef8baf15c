"""Checks the page's history and converts it to UTC. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from fluxcap.capture.market.clock import MAX_AHEAD_MS
from fluxcap.capture.platforms.base import History
from fluxcap.schemas.types import Candle

CURRENT_MS = 1_800_000
"""The newest tick of a page's history is not older; half an hour is less than any step of a platform's clock."""


def is_current(history: History, raw_now_ms: int) -> bool:
    """Return whether the history's newest tick is recent, so that the clock's offset applies to it.

    ``raw_now_ms``: now by the platform's clock. True without ticks: nothing contradicts.
    """
    return not history.ticks or -MAX_AHEAD_MS <= raw_now_ms - history.ticks[-1][0] <= CURRENT_MS


def raw_ticks(history: History, offset_ms: int, *, repeats: bool = False) -> Iterator[tuple[int, float]]:
    """Its ticks in UTC, where they are raw; without exact repeats unless ``repeats``, see ``TickTape``."""
    if not history.has_raw_ticks:
        return
    before = None
    for raw_ts_ms, price in history.ticks:
        if repeats or (raw_ts_ms, price) != before:
            yield raw_ts_ms - offset_ms, price
        before = raw_ts_ms, price


def server_candles(history: History, interval_ms: int, offset_ms: int, now_ms: int) -> list[Candle]:
    """The platform's own candles in UTC, where they are of this interval; not the one under way."""
    if history.period_ms != interval_ms:
        return []
    rows = (msgspec.structs.replace(row, ts_ms=row.ts_ms - offset_ms) for row in history.candles)
    return [row for row in rows if row.ts_ms + interval_ms <= now_ms]
