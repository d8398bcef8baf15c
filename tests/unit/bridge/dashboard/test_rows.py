"""Candles and blind times as the browser takes them."""

from __future__ import annotations

from typing import Any

from fluxcap.bridge.dashboard.rows import gap_areas, row_of, rows_of
from tests.support.wire.samples import candle, candle_rows


def gap(begin: int, end: int, reason: str = "socket closed") -> dict[str, Any]:
    return {"from_ms": begin, "to_ms": end, "reason": reason}


def test_a_row_is_time_prices_volume_and_flags() -> None:
    assert rows_of(candle_rows(2, 1)) == [row_of(candle(2, 1.0 + 2 / 1000))]
    assert row_of(candle(1, 1.5, flags=4)) == [60_000, 1.0, 2.0, 0.5, 1.5, 10.0, 4]


def test_blind_times_are_cut_to_what_is_shown() -> None:
    assert gap_areas([gap(0, 50), gap(900, 2_000), gap(3_000, 4_000)], 10, 1_000) == [
        [10, 50, "socket closed"],
        [900, 1_000, "socket closed"],
    ]


def test_a_blind_time_that_is_not_over_reaches_to_the_end() -> None:
    assert gap_areas([gap(500, 0)], 0, 1_000) == [[500, 1_000, "socket closed"]]


def test_blind_times_that_touch_are_one_with_all_reasons() -> None:
    assert gap_areas([gap(100, 300), gap(200, 400, "reloaded"), gap(400, 500, "reloaded")], 0, 1_000) == [
        [100, 500, "socket closed, reloaded"]
    ]
