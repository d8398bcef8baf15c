"""Candles of a longer timeframe from those of a shorter one. Pure."""

from __future__ import annotations

import numpy as np

from schemas.errors import ConfigError
from schemas.types import CANDLE_DTYPE, CandleArray, interval_ms

TIMEFRAMES = ("1m", "5m", "15m", "1h", "4h")


def resample(candles: CandleArray, from_timeframe: str, to_timeframe: str) -> CandleArray:
    """Fold candles into buckets of UTC time: first open, highest high, lowest low, last close, sum of volumes.

    candles: shape ``(n,)``, ``ts_ms`` strictly ascending, at ``from_timeframe`` or longer apart. A bucket exists where
    at least one candle begins in it; flags of its candles are joined. The same timeframe is folded too: some files of
    hours end with rows of minutes.

    Raises ConfigError when ``to_timeframe`` is shorter than, or no multiple of, ``from_timeframe``.
    """
    step_ms, from_ms = interval_ms(to_timeframe), interval_ms(from_timeframe)
    if step_ms < from_ms or step_ms % from_ms:
        raise ConfigError(f"{from_timeframe} candles cannot become {to_timeframe} candles.")
    if not len(candles):
        return candles
    buckets = candles["ts_ms"] // step_ms * step_ms
    firsts = np.flatnonzero(np.r_[True, buckets[1:] != buckets[:-1]])
    lasts = np.r_[firsts[1:], len(candles)] - 1
    folded = np.empty(len(firsts), CANDLE_DTYPE)
    folded["ts_ms"] = buckets[firsts]
    folded["open"] = candles["open"][firsts]
    folded["close"] = candles["close"][lasts]
    folded["high"] = np.maximum.reduceat(candles["high"], firsts)
    folded["low"] = np.minimum.reduceat(candles["low"], firsts)
    folded["volume"] = np.add.reduceat(candles["volume"], firsts)
    folded["tick_count"] = np.add.reduceat(candles["tick_count"], firsts)
    folded["flags"] = np.bitwise_or.reduceat(candles["flags"], firsts)
    return folded


def reachable_timeframes(timeframe: str) -> tuple[str, ...]:
    """Those of ``TIMEFRAMES`` that candles of a timeframe can be shown in; ticks become any."""
    if timeframe == "tick":
        return TIMEFRAMES
    try:
        own_ms = interval_ms(timeframe)
    except ConfigError:
        return TIMEFRAMES
    return tuple(t for t in TIMEFRAMES if interval_ms(t) >= own_ms and interval_ms(t) % own_ms == 0)
