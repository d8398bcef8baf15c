"""Candles out of nothing, or out of a file: the same ones for the same seed. Pure but for reading the file."""

from __future__ import annotations

import csv
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import numpy as np

from fluxcap.schemas.candles import first_invalid_candle
from fluxcap.schemas.errors import ConfigError
from fluxcap.schemas.types import CANDLE_DTYPE, Candle, CandleArray, StreamKey

TICKS_A_CANDLE = 12
_DECIMALS = 5


class CandleSource(Protocol):
    """A source of a stream's candles."""

    def next(self, count: int) -> CandleArray:
        """The next candles in time order, shape ``(n,)`` with ``n <= count``; empty when there are no more."""


class GeneratedCandles:
    """A random walk, tick by tick, folded into candles: open = first tick, close = last, high and low over all.

    key: gives the walk its own seed beside ``seed``, and the interval. after_ts_ms: start of the last candle there is;
    the walk goes on in the interval after it, from ``price`` (0: from a price of its own).
    """

    def __init__(self, key: StreamKey, seed: int, after_ts_ms: int, price: float = 0.0) -> None:
        self._interval_ms = key.interval_ms
        self._ts_ms = after_ts_ms
        self._random = np.random.default_rng([seed, zlib.crc32(str(key).encode()), after_ts_ms])
        self._price = price or float(self._random.uniform(0.5, 150.0))

    def next(self, count: int) -> CandleArray:
        steps = self._random.normal(0.0, 2e-4, (count, TICKS_A_CANDLE))
        prices = np.round(self._price * np.exp(np.cumsum(steps).reshape(steps.shape)), _DECIMALS)
        candles = np.empty(count, CANDLE_DTYPE)
        candles["ts_ms"] = self._ts_ms + self._interval_ms * np.arange(1, count + 1)
        candles["open"], candles["close"] = prices[:, 0], prices[:, -1]
        candles["high"], candles["low"] = prices.max(axis=1), prices.min(axis=1)
        candles["volume"] = candles["tick_count"] = TICKS_A_CANDLE
        candles["flags"] = 0
        if count:
            self._ts_ms = int(candles["ts_ms"][-1])
            self._price = float(prices[-1, -1])
        return candles


class ReplayedCandles:
    """Rows of a file, those after ``after_ts_ms``, then nothing."""

    def __init__(self, rows: CandleArray, after_ts_ms: int) -> None:
        self._rows = rows
        self._next = int(np.searchsorted(rows["ts_ms"], after_ts_ms, side="right"))

    def next(self, count: int) -> CandleArray:
        rows = self._rows[self._next : self._next + count]
        self._next += len(rows)
        return rows


def read_candles(path: Path) -> CandleArray:
    """Candles of a CSV file in time order, as ``export_candles`` writes them.

    Needs the columns timestamp (ISO 8601; without a zone it is UTC), open, high, low and close, in any order; volume,
    tick_count and flags if there. Raises ConfigError.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            candles = np.array([_row(row) for row in csv.DictReader(file)], dtype=CANDLE_DTYPE)
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"{path} cannot be replayed ({type(error).__name__}: {error}); it needs the columns timestamp, open, high, "
            "low, close."
        ) from None
    if (bad := first_invalid_candle(candles)) is not None:
        raise ConfigError(f"{path} cannot be replayed: not a valid candle: {Candle(*candles[bad].tolist())}.")
    _, newest = np.unique(candles["ts_ms"][::-1], return_index=True)
    return candles[::-1][newest]


def _row(row: dict[str, str]) -> tuple[float, ...]:
    time = datetime.fromisoformat(str(row["timestamp"]).replace("Z", "+00:00"))
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    volume = float(row.get("volume") or 0)
    return (
        round(time.timestamp() * 1000),
        float(row["open"]),
        float(row["high"]),
        float(row["low"]),
        float(row["close"]),
        volume,
        int(float(row.get("tick_count") or volume)),
        int(row.get("flags") or 0),
    )
