"""What of the page's history may be believed."""

from __future__ import annotations

import pytest

from fluxcap.capture.market.history import OVERLAP_MIN, is_current, raw_ticks, server_candles, whole_rows
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


# --- which row is whole ---


def row(minute: int) -> Candle:
    return Candle(minute * MINUTE, 1.0, 1.0, 1.0, 1.0)


def starts(rows: tuple[Candle, ...]) -> list[int]:
    return [one.ts_ms // MINUTE for one in rows]


def test_a_row_of_which_nothing_tells_that_it_was_over_is_not_whole_however_late_it_comes() -> None:
    history = History("A", MINUTE, (), (row(8), row(9)))

    assert starts(whole_rows(history, 0, raw_now_ms=1_000 * MINUTE)) == [8]
    assert starts(whole_rows(history, 10 * MINUTE - 1, raw_now_ms=1_000 * MINUTE)) == [8]


def test_a_row_is_whole_once_its_socket_has_told_a_tick_from_its_end_on() -> None:
    assert starts(whole_rows(History("A", MINUTE, (), (row(8), row(9))), 10 * MINUTE)) == [8, 9]


@pytest.mark.parametrize(("newest_ms", "whole"), [(10 * MINUTE - 1, [8]), (10 * MINUTE, [8, 9])])
def test_a_row_is_whole_if_its_own_history_has_a_tick_from_its_end_on(newest_ms: int, whole: list[int]) -> None:
    assert starts(whole_rows(History("A", MINUTE, ((newest_ms, 1.0),), (row(8), row(9))), 0)) == whole


def test_a_row_that_begins_in_the_future_is_none_and_proves_nothing() -> None:
    assert starts(whole_rows(History("A", MINUTE, (), (row(8), row(9), row(999))), 0, 10 * MINUTE + 500)) == [8]


def test_no_row_of_an_unknown_period_is_whole() -> None:
    assert whole_rows(History("A", 0, (), (row(8), row(9))), 10 * MINUTE) == ()


def test_server_candles_are_the_whole_ones_in_utc() -> None:
    rows = tuple(Candle(minute * MINUTE + OFFSET_MS, 1.0, 1.0, 1.0, 1.0) for minute in (8, 9))
    late = History("A", MINUTE, (), rows)

    assert [row.ts_ms for row in server_candles(late, MINUTE, OFFSET_MS, NOW_MS)] == [8 * MINUTE]
    assert [row.ts_ms for row in server_candles(late, MINUTE, OFFSET_MS, NOW_MS, 10 * MINUTE)] == [
        8 * MINUTE,
        9 * MINUTE,
    ]


# --- which ticks are raw ---

ALL_TICKS = [(NOW_MS + 500 * n, 1.0 + n / 1_000) for n in range(100)]


def of_unknown_period(ticks: list[tuple[int, float]]) -> History:
    return History("A", 0, tuple((ts_ms + OFFSET_MS, price) for ts_ms, price in ticks))


def live(ticks: list[tuple[int, float]]):
    return lambda from_ms, to_ms: [tick for tick in ticks if from_ms <= tick[0] < to_ms]


def test_ticks_of_an_unknown_period_are_raw_if_they_hold_95_percent_of_the_live_ones() -> None:
    lacks_five = of_unknown_period(ALL_TICKS[:40] + ALL_TICKS[45:])
    lacks_six = of_unknown_period(ALL_TICKS[:40] + ALL_TICKS[46:])

    assert len(raw_ticks(lacks_five, OFFSET_MS, live(ALL_TICKS))) == 95
    assert raw_ticks(lacks_six, OFFSET_MS, live(ALL_TICKS)) == []


def test_the_live_ticks_before_and_after_a_history_of_unknown_period_do_not_count() -> None:
    assert len(raw_ticks(of_unknown_period(ALL_TICKS[30:60]), OFFSET_MS, live(ALL_TICKS))) == 30


def test_ticks_of_an_unknown_period_that_overlap_hardly_any_live_ones_are_not_known_to_be_raw() -> None:
    history = of_unknown_period(ALL_TICKS)

    assert raw_ticks(history, OFFSET_MS) == []
    assert raw_ticks(history, OFFSET_MS, live(ALL_TICKS[-OVERLAP_MIN + 1 :])) == []
    assert len(raw_ticks(history, OFFSET_MS, live(ALL_TICKS[-OVERLAP_MIN:]))) == 100


def test_other_prices_at_the_stamps_of_live_ticks_are_another_sampling() -> None:
    other = of_unknown_period([(ts_ms, price + 1.0) for ts_ms, price in ALL_TICKS])

    assert raw_ticks(other, OFFSET_MS, live(ALL_TICKS)) == []
