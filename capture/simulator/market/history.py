"""The platform's answers to history requests: raw ticks and candle rows of one asset. Pure.

Times in payloads are the platform's own: UTC plus its offset, in seconds. Buckets are cut in platform time, as the
platform does. Column orders are the platform's: open, **close, high, low**.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from fluxcap.capture.simulator.market.prices import SimulatedMarket

CandleRow: TypeAlias = tuple[int, float, float, float, float]
"""Start (platform seconds), open, close, high, low."""

PERIODS_S = (1, 5, 10, 15, 30, 60, 120, 180, 300, 600, 900, 1800, 3600, 14400, 86400)
EARLIER_ROWS = 150
NEWEST_BEHIND_S = 245
NEWEST_BEHIND_MORE_S = 100
_EXACT_TICKS = 100_000
"""Candles reach back exactly, tick by tick, over this many ticks; what is older is sampled from the same price path."""
_SAMPLES_A_CANDLE = 24


def raw_ticks(
    market: SimulatedMarket, *, until_ms: int, depth_ms: int, max_ticks: int, offset_ms: int
) -> list[list[int | float]]:
    """The ticks of the last ``depth_ms`` up to and with ``until_ms`` (true UTC), as ``[seconds, price]``, ascending."""
    ts, points = market.ticks(until_ms - depth_ms, until_ms + 1)
    times = (ts[-max_ticks:] + offset_ms).tolist()
    return [[seconds(at), market.price(p)] for at, p in zip(times, points[-max_ticks:].tolist(), strict=True)]


def seconds(ms: int) -> int | float:
    """Milliseconds as the platform writes seconds: at most 3 decimals, an integer where there is no fraction."""
    return ms // 1000 if ms % 1000 == 0 else ms / 1000


def candle_rows(
    market: SimulatedMarket, *, period_s: int, last_start_s: int, count: int, offset_ms: int
) -> list[CandleRow]:
    """``count`` buckets up to that which starts at ``last_start_s`` (platform time), ascending, without empty ones."""
    period_ms = period_s * 1000
    end_ms = last_start_s * 1000 + period_ms - offset_ms
    exact = min(count, max(1, int(_EXACT_TICKS * market.slot_ms / period_ms)))
    begin_ms = end_ms - exact * period_ms
    rows = _exact_rows(market, begin_ms, end_ms, period_ms, offset_ms)
    if exact < count:
        rows = _sampled_rows(market, begin_ms - (count - exact) * period_ms, begin_ms, period_ms, offset_ms) + rows
    return rows


def _exact_rows(market: SimulatedMarket, begin_ms: int, end_ms: int, period_ms: int, offset_ms: int) -> list[CandleRow]:
    ts, points = market.ticks(begin_ms, end_ms)
    if not len(ts):
        return []
    buckets = (ts + offset_ms) // period_ms
    first = np.flatnonzero(np.diff(buckets, prepend=buckets[0] - 1))
    last = np.append(first[1:], len(ts)) - 1
    columns = (
        buckets[first] * (period_ms // 1000),
        points[first],
        points[last],
        np.maximum.reduceat(points, first),
        np.minimum.reduceat(points, first),
    )
    price = market.price
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [(start, price(opened), price(closed), price(high), price(low)) for start, opened, closed, high, low in rows]


def _sampled_rows(
    market: SimulatedMarket, begin_ms: int, end_ms: int, period_ms: int, offset_ms: int
) -> list[CandleRow]:
    starts = np.arange(begin_ms, end_ms, period_ms, dtype=np.int64)
    grid = starts[:, None] + np.linspace(0, period_ms - 1, _SAMPLES_A_CANDLE)
    points = market.points_at(grid.ravel()).reshape(grid.shape)
    columns = (
        (starts + offset_ms) // 1000,
        points[:, 0],
        points[:, -1],
        points.max(axis=1),
        points.min(axis=1),
    )
    price = market.price
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [(start, price(opened), price(closed), price(high), price(low)) for start, opened, closed, high, low in rows]


def newest_start_s(last_tick_ms: int, period_s: int, salt: int) -> int:
    """Start of the newest candle the platform gives: 245 to 404 s behind the last tick, and never one under way.

    ``last_tick_ms`` is platform time; ``salt`` varies the distance.
    """
    behind_s = max(period_s, NEWEST_BEHIND_S + salt % NEWEST_BEHIND_MORE_S)
    return (last_tick_ms // 1000 - behind_s) // period_s * period_s


def row_count(salt: int) -> int:
    """94 to 97 candle rows."""
    return 94 + salt % 4


def recent_history(
    market: SimulatedMarket, *, period_s: int, until_ms: int, depth_ms: int, max_ticks: int, offset_ms: int
) -> dict[str, object]:
    """The payload of updateHistoryNewFast: raw ticks ascending, candle rows descending."""
    history = raw_ticks(market, until_ms=until_ms, depth_ms=depth_ms, max_ticks=max_ticks, offset_ms=offset_ms)
    last_tick_ms = until_ms + offset_ms
    salt = last_tick_ms // 1000
    rows = candle_rows(
        market,
        period_s=period_s,
        last_start_s=newest_start_s(last_tick_ms, period_s, salt),
        count=row_count(salt),
        offset_ms=offset_ms,
    )
    return {"asset": market.asset.symbol, "period": period_s, "history": history, "candles": rows[::-1]}


def earlier_history(
    market: SimulatedMarket, *, period_s: int, last_start_s: int, index: int, offset_ms: int
) -> dict[str, object]:
    """The payload of loadHistoryPeriodFast: 150 rows ascending, the last one starting at ``last_start_s``."""
    rows = candle_rows(
        market,
        period_s=period_s,
        last_start_s=last_start_s // period_s * period_s,
        count=EARLIER_ROWS,
        offset_ms=offset_ms,
    )
    data = [
        {"symbol_id": market.asset.id, "time": start, "open": opened, "close": closed, "high": high, "low": low}
        for start, opened, closed, high, low in rows
    ]
    return {"asset": market.asset.symbol, "index": index, "data": data, "period": period_s}
