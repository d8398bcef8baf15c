"""A history as the page received it → the candles of its own period, in true UTC. Pure.

Only rows of that period, ascending, none under way. The platform's rows end some minutes before now: at 60 s, where the
history's ticks are known to be raw, the minutes after them are made from the ticks. At other periods the ticks make
nothing: one-minute candles at the end of an hourly file were a fault of the program before this one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec
import numpy as np

from fluxcap.capture.market.history import covered
from fluxcap.capture.platforms.base import History
from fluxcap.schemas.candles import fold_ticks
from fluxcap.schemas.types import Candle, CandleFlags, candles_from


def history_to_candles(history: History, offset_ms: int, now_ms: int) -> tuple[Candle, ...]:
    """Whole candles of ``history.period_ms`` by start, UTC, all FILLED.

    ``offset_ms``: the platform's clock less UTC; ``now_ms``: UTC. Where the offset is no multiple of the period, starts
    are none in UTC either: they stay what they were.
    """
    period_ms = history.period_ms
    if period_ms <= 0:
        return ()
    found = {candle.ts_ms: candle for candle in _from_ticks(history)} if history.has_raw_ticks else {}
    found |= {row.ts_ms: row for row in _of_the_period(history)}
    until_ms = now_ms + offset_ms - period_ms
    return tuple(
        msgspec.structs.replace(found[ts_ms], ts_ms=ts_ms - offset_ms, flags=int(CandleFlags.FILLED))
        for ts_ms in sorted(found)
        if ts_ms <= until_ms
    )


def _of_the_period(history: History) -> Iterator[Candle]:
    """The rows that lie on the grid most of them lie on."""
    phases = Counter(row.ts_ms % history.period_ms for row in history.candles)
    if phases:
        phase = phases.most_common(1)[0][0]
        yield from (row for row in history.candles if row.ts_ms % history.period_ms == phase)


def _from_ticks(history: History) -> Iterator[Candle]:
    """The buckets between first and last tick that the ticks cover from end to end."""
    period_ms, ticks = history.period_ms, history.ticks
    if not ticks:
        return
    times, prices = zip(*ticks, strict=True)
    stretches = covered(times, history.breaks_ms)
    for candle in candles_from(fold_ticks(np.array(times, np.int64), np.array(prices, np.float64), period_ms)):
        if any(first_ms <= candle.ts_ms and candle.ts_ms + period_ms <= last_ms for first_ms, last_ms in stretches):
            yield candle
