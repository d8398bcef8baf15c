"""What of the page's history may be believed."""

from __future__ import annotations

import pytest

from fluxcap.capture.market.history import is_current, raw_ticks, server_candles
from fluxcap.capture.platforms.base import History
from fluxcap.schemas.types import Candle

OFFSET_MS = 7_200_000
MINUTE = 60_000
NOW_MS = 100 * MINUTE


def history(period_ms: int = MINUTE, *, ends_ms: int = NOW_MS) -> History:
    rows = tuple(Candle(minute * MINUTE + OFFSET_MS, 1.0, 1.0, 1.0, 1.0) for minute in (98, 99, 100))
    return History("A", period_ms, ((ends_ms + OFFSET_MS - 500, 1.0), (ends_ms + OFFSET_MS, 1.1)), rows)


@pytest.mark.parametrize(
    ("ends_ms", "believed"),
    [
        (NOW_MS, True),
        (NOW_MS - 1_700_000, True),
        (NOW_MS - 3_600_000, False),
        (NOW_MS - 1_900_000, False),
        (NOW_MS + 4_000, True),
        (NOW_MS + 3_600_000, False),
    ],
)
def test_history_of_another_time_than_the_present_is_not_believed(ends_ms: int, believed: bool) -> None:
    assert is_current(history(ends_ms=ends_ms), NOW_MS + OFFSET_MS) is believed


def test_history_without_ticks_tells_nothing_of_its_time() -> None:
    assert is_current(History("A", MINUTE), 0)


def test_its_ticks_come_out_in_utc() -> None:
    assert list(raw_ticks(history(), OFFSET_MS)) == [(NOW_MS - 500, 1.0), (NOW_MS, 1.1)]


def test_ticks_of_a_longer_period_are_not_known_to_be_raw() -> None:
    assert list(raw_ticks(history(5 * MINUTE), OFFSET_MS)) == []


def test_only_rows_of_the_same_interval_that_are_over_are_candles() -> None:
    assert [row.ts_ms for row in server_candles(history(), MINUTE, OFFSET_MS, NOW_MS)] == [98 * MINUTE, 99 * MINUTE]
    assert server_candles(history(), 5 * MINUTE, OFFSET_MS, NOW_MS) == []


def test_exact_repeats_of_a_history_are_left_out_unless_the_platform_means_them() -> None:
    ticks = ((7_200_000, 1.0), (7_200_000, 1.0), (7_200_000, 2.0), (7_200_000, 1.0))
    history = History("A", 60_000, ticks)

    assert [price for _, price in raw_ticks(history, 7_200_000)] == [1.0, 2.0, 1.0]
    assert [price for _, price in raw_ticks(history, 7_200_000, repeats=True)] == [1.0, 1.0, 2.0, 1.0]
