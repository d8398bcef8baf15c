"""A history into candles of its own period, in true UTC."""

from __future__ import annotations

from fluxcap.capture.collect.candles import history_to_candles
from fluxcap.capture.platforms.base import History
from fluxcap.schemas.types import Candle, CandleFlags

MINUTE, HOUR = 60_000, 3_600_000
OFFSET = 2 * HOUR
T0 = 1_700_006_400_000  # 2023-11-15 00:00:00Z
LATER = T0 + 1_000 * HOUR


def row(ts_ms: int, price: float = 1.5) -> Candle:
    return Candle(ts_ms, price, price + 0.2, price - 0.2, price + 0.1)


def ticks(from_ms: int, to_ms: int, every_ms: int = 500) -> tuple[tuple[int, float], ...]:
    return tuple((ts, 1.0 + (ts % 7_919) / 1e6) for ts in range(from_ms, to_ms, every_ms))


def test_h1_m15_and_m5_never_end_with_one_minute_rows():
    for period in (HOUR, 15 * MINUTE, 5 * MINUTE):
        last = T0 + 20 * period
        history = History(
            "EURUSD_otc",
            period,
            ticks(last + period, last + period + 13 * MINUTE),
            tuple(row(T0 + n * period) for n in range(21)),
        )

        found = history_to_candles(history, 0, LATER)

        assert [candle.ts_ms for candle in found] == [T0 + n * period for n in range(21)]


def test_the_platforms_offset_is_removed():
    history = History("EURUSD_otc", HOUR, (), (row(T0 + OFFSET), row(T0 + OFFSET + HOUR)))

    assert [candle.ts_ms for candle in history_to_candles(history, OFFSET, LATER)] == [T0, T0 + HOUR]


def test_an_offset_that_is_no_multiple_of_the_period_moves_its_buckets():
    history = History("EURUSD_otc", HOUR, (), (row(T0), row(T0 + HOUR)))

    starts = [candle.ts_ms for candle in history_to_candles(history, 19_800_000, LATER)]  # 5 h 30 min

    assert starts == [T0 - 19_800_000, T0 - 19_800_000 + HOUR]
    assert starts[0] % HOUR == HOUR // 2


def test_a_candle_under_way_is_left_out():
    history = History("EURUSD_otc", HOUR, (), (row(T0), row(T0 + HOUR)))

    assert len(history_to_candles(history, 0, T0 + 2 * HOUR)) == 2
    assert len(history_to_candles(history, 0, T0 + 2 * HOUR - 1)) == 1
    assert len(history_to_candles(history, OFFSET, T0 + 2 * HOUR - 1 - OFFSET)) == 1


def test_rows_off_the_grid_of_the_others_are_left_out():
    history = History("EURUSD_otc", HOUR, (), (*(row(T0 + n * HOUR) for n in range(5)), row(T0 + 4 * HOUR + MINUTE)))

    assert [candle.ts_ms for candle in history_to_candles(history, 0, LATER)] == [T0 + n * HOUR for n in range(5)]


def test_recent_minutes_are_made_of_the_ticks_and_the_platforms_own_rows_win():
    known = ticks(T0 + MINUTE + 20_000, T0 + 5 * MINUTE + 30_000)
    rows = (row(T0), row(T0 + MINUTE), row(T0 + 2 * MINUTE))

    found = {candle.ts_ms: candle for candle in history_to_candles(History("A", MINUTE, known, rows), 0, LATER)}

    assert sorted(found) == [T0 + n * MINUTE for n in range(5)]
    assert (found[T0 + 2 * MINUTE].open, found[T0 + 2 * MINUTE].tick_count) == (1.5, 0)
    made = [price for ts, price in known if T0 + 3 * MINUTE <= ts < T0 + 4 * MINUTE]
    candle = found[T0 + 3 * MINUTE]
    assert (candle.open, candle.high, candle.low, candle.close) == (made[0], max(made), min(made), made[-1])
    assert (candle.volume, candle.tick_count) == (120.0, 120)


def test_a_minute_that_the_ticks_cover_only_in_part_is_not_made():
    known = ticks(T0 + 1, T0 + 2 * MINUTE - 1_000)

    assert history_to_candles(History("A", MINUTE, known), 0, LATER) == ()


def test_a_minute_of_which_a_tick_cannot_be_read_is_not_made():
    known = ticks(T0, T0 + 3 * MINUTE + 1)

    found = history_to_candles(History("A", MINUTE, known, (), (T0 + MINUTE + 30_000,)), 0, LATER)

    assert [candle.ts_ms for candle in found] == [T0, T0 + 2 * MINUTE]


def test_every_collected_candle_says_that_it_comes_from_history():
    history = History("A", MINUTE, ticks(T0, T0 + 3 * MINUTE), (row(T0 - MINUTE),))

    assert {candle.flags for candle in history_to_candles(history, 0, LATER)} == {int(CandleFlags.FILLED)}


def test_a_history_without_a_period_has_no_candles():
    assert history_to_candles(History("A", 0, ticks(T0, T0 + MINUTE), (row(T0),)), 0, LATER) == ()
