"""Candles and blind times as the chart in the browser takes them: plain lists of numbers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fluxcap.schemas.types import Candle, CandleArray

Row = list[float]
"""``[ts_ms, open, high, low, close, volume, flags]``."""


def rows_of(candles: CandleArray) -> list[Row]:
    """One row a candle."""
    names = ["ts_ms", "open", "high", "low", "close", "volume", "flags"]
    return [list(row) for row in candles[names].tolist()]


def row_of(candle: Candle) -> Row:
    """The row of one candle."""
    return [candle.ts_ms, candle.open, candle.high, candle.low, candle.close, candle.volume, candle.flags]


def gap_areas(gaps: Iterable[Mapping[str, Any]], from_ms: int, to_ms: int) -> list[list[Any]]:
    """Blind times within what is shown, joined where they touch: ``[from_ms, to_ms, reason]``. 0 as end: until now."""
    areas: list[list[Any]] = []
    cut = sorted((max(g["from_ms"], from_ms), min(g["to_ms"] or to_ms, to_ms), g["reason"]) for g in gaps)
    for begin, end, reason in cut:
        if end <= begin:
            continue
        if areas and begin <= areas[-1][1]:
            areas[-1][1] = max(areas[-1][1], end)
            if reason and reason not in areas[-1][2].split(", "):
                areas[-1][2] = f"{areas[-1][2]}, {reason}" if areas[-1][2] else reason
        else:
            areas.append([begin, end, reason])
    return areas
