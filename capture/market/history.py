"""Decides what of the page's history may be believed, and converts it to UTC. Pure.

Whether a row is whole, and whether ticks are raw, is decided here and nowhere else:

- A row is whole once the platform has told something later than the end of its bucket, before it or with it: a tick or
  a row of that history itself, or an earlier tick of its socket. The time of arrival proves nothing: a history may have
  waited for hours in a Chrome that was stopped, or in a machine that slept, with its last row still under way.
- Ticks are raw up to a period of 60 s. Of an unknown period they are raw only if they hold nearly all the live ticks of
  the time that they span: else they are a sample of the market.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from fluxcap.capture.market.clock import MAX_AHEAD_MS
from fluxcap.capture.market.tape import NEVER_MS
from fluxcap.capture.platforms.base import History
from fluxcap.schemas.types import Candle

CURRENT_MS = 1_800_000
"""The newest tick of a page's history is not older; half an hour is less than any step of a platform's clock."""
HELD_LIVE_SHARE = 0.95
"""A history of unknown period is raw if it holds this share of the live ticks that it overlaps."""
OVERLAP_MIN = 20
"""Of fewer live ticks a share of 95 % says nothing: a sample holds its own last tick, too."""


def is_current(history: History, raw_now_ms: int) -> bool:
    """Return whether the history's newest tick is recent, so that the clock's offset applies to it.

    ``raw_now_ms``: now by the platform's clock. True without ticks: nothing contradicts.
    """
    return not history.ticks or -MAX_AHEAD_MS <= raw_now_ms - history.ticks[-1][0] <= CURRENT_MS


def raw_ticks(
    history: History,
    offset_ms: int,
    live_ticks: Callable[[int, int], Sequence[tuple[int, float]]] = lambda from_ms, to_ms: (),
    *,
    repeats: bool = False,
) -> list[tuple[int, float]]:
    """Return its ticks in UTC, where they are raw.

    Parameters
    ----------
    history
        As the platform sent it.
    offset_ms
        Of the platform's clock.
    live_ticks
        The live ticks ``(ts_ms, price)`` of its asset within ``[from_ms, to_ms)``, UTC.
    repeats
        Whether exact repeats are ticks of their own, see ``TickTape``. They are left out otherwise.
    """
    if not history.ticks or (history.period_ms and not history.has_raw_ticks):
        return []
    ticks = [(raw_ts_ms - offset_ms, price) for raw_ts_ms, price in history.ticks]
    if not repeats:
        ticks = [tick for at, tick in enumerate(ticks) if not at or tick != ticks[at - 1]]
    return ticks if history.has_raw_ticks or _holds(ticks, live_ticks(ticks[0][0], ticks[-1][0] + 1)) else []


def _holds(ticks: Sequence[tuple[int, float]], live: Sequence[tuple[int, float]]) -> bool:
    """Return whether the ticks of a history hold the live ones that they overlap."""
    held = (Counter(live) & Counter(ticks)).total()
    return len(live) >= OVERLAP_MIN and held >= HELD_LIVE_SHARE * len(live)


def covered(times: Sequence[int], breaks_ms: Sequence[int]) -> list[tuple[int, int]]:
    """Return the stretches, first tick to last, over which a history lacks none of its ticks.

    Parameters
    ----------
    times
        Of its ticks in ms, ascending.
    breaks_ms
        See ``History``, by the same clock.
    """
    found, low = [], 0
    for break_ms in (*breaks_ms, NEVER_MS):
        high = bisect_left(times, break_ms, low)
        if low < high:
            found.append((times[low], times[high - 1]))
        low = high
    return found


def whole_rows(history: History, heard_raw_ms: int, raw_now_ms: int = 0) -> tuple[Candle, ...]:
    """Return the rows of the history's own period that are whole, ascending, on the platform's clock.

    Parameters
    ----------
    history
        As the platform sent it. Of one whose period is unknown no row is whole.
    heard_raw_ms
        Newest stamp of the ticks that its socket told before it; 0: none.
    raw_now_ms
        Now by the platform's clock, 0 while that is unknown: a row that begins later proves nothing, and is none.
    """
    if not history.period_ms:
        return ()
    rows = [row for row in history.candles if not raw_now_ms or row.ts_ms <= raw_now_ms]
    told = [heard_raw_ms, *(row.ts_ms for row in rows[-1:]), *(raw_ms for raw_ms, _ in history.ticks[-1:])]
    return tuple(row for row in rows if row.ts_ms + history.period_ms <= max(told))


def server_candles(history: History, interval_ms: int, offset_ms: int, now_ms: int, heard_ms: int = 0) -> list[Candle]:
    """Return the platform's own candles in UTC, where they are of this interval and whole.

    ``heard_ms``: newest stamp (UTC ms) of the ticks that its socket told before it; 0: none. ``now_ms``: UTC.
    """
    if history.period_ms != interval_ms:
        return []
    rows = whole_rows(history, heard_ms and heard_ms + offset_ms, now_ms + offset_ms)
    return [msgspec.structs.replace(row, ts_ms=row.ts_ms - offset_ms) for row in rows]
