"""The tape keeps each tick once, in its place, and never folds what it does not hold whole."""

from __future__ import annotations

from fluxcap.capture.market.tape import TickTape
from fluxcap.schemas.types import Candle


def tape_of(*ticks: tuple[int, float], horizon_ms: int = 1_800_000) -> TickTape:
    tape = TickTape(horizon_ms)
    for ts_ms, price in ticks:
        tape.add(ts_ms, price)
    return tape


def test_open_is_the_first_tick_close_the_last_high_and_low_the_extremes_volume_their_number() -> None:
    tape = tape_of((1_000, 2.0), (1_500, 5.0), (2_000, 1.0), (2_500, 3.0))

    assert tape.fold(1_000, 3_000) == Candle(1_000, 2.0, 5.0, 1.0, 3.0, 4.0, 4)


def test_the_end_of_a_stretch_belongs_to_the_next_one() -> None:
    tape = tape_of((1_000, 1.0), (1_999, 2.0), (2_000, 9.0))

    assert tape.fold(1_000, 2_000) == Candle(1_000, 1.0, 2.0, 1.0, 2.0, 2.0, 2)


def test_a_stretch_without_ticks_folds_to_nothing() -> None:
    tape = tape_of((1_000, 1.0), (9_000, 2.0))

    assert tape.fold(2_000, 8_000) is None
    assert TickTape().fold(0, 10) is None


def test_a_long_stretch_folds_as_a_short_one_does() -> None:
    ticks = [(at * 10, 1.0 + (at * 7919 % 1009) / 1009) for at in range(1_300)]
    prices = [price for _, price in ticks]

    folded = tape_of(*ticks).fold(0, 100_000)

    assert folded == Candle(0, prices[0], max(prices), min(prices), prices[-1], 1300.0, 1300)
    assert type(folded.high) is float


def test_late_ticks_go_to_their_place_in_time() -> None:
    tape = tape_of((1_000, 1.0), (3_000, 3.0), (2_000, 7.0))

    assert tape.fold(0, 5_000) == Candle(0, 1.0, 7.0, 1.0, 3.0, 3.0, 3)


def test_the_ticks_of_a_stretch_come_in_their_order() -> None:
    tape = TickTape()
    for ts_ms, price in ((1_000, 1.0), (2_000, 3.0), (2_000, 2.0), (3_000, 1.5)):
        tape.add(ts_ms, price)

    assert tape.ticks(1_000, 3_000) == [(1_000, 1.0), (2_000, 3.0), (2_000, 2.0)]
    assert tape.ticks(4_000, 5_000) == []


def test_a_stretch_of_which_ticks_were_dropped_gives_none() -> None:
    tape = TickTape(horizon_ms=1_000)
    for ts_ms in range(0, 10_000, 100):
        tape.add(ts_ms, 1.0)

    assert tape.ticks(0, 1_000) == []
    assert tape.ticks(9_500, 10_000) == [(ts_ms, 1.0) for ts_ms in range(9_500, 10_000, 100)]


def test_the_same_tick_twice_is_one_tick() -> None:
    tape = TickTape()

    added = [tape.add(1_000, 1.0), tape.add(1_000, 1.0), tape.add(2_000, 2.0), tape.add(1_000, 1.0)]

    assert added == [True, False, True, False]
    assert len(tape) == 2


def test_a_repeated_price_at_another_time_is_a_tick_of_its_own() -> None:
    assert len(tape_of((1_000, 1.0), (1_500, 1.0), (2_000, 1.0))) == 3


def test_two_prices_in_one_millisecond_stay_in_order_of_arrival() -> None:
    tape = tape_of((1_000, 2.0), (1_000, 1.0), (1_000, 3.0))

    folded = tape.fold(1_000, 1_001)

    assert folded is not None
    assert (folded.open, folded.close, folded.tick_count) == (2.0, 3.0, 3)


def test_the_next_tick_is_the_first_at_or_after_a_time() -> None:
    tape = tape_of((1_000, 1.0), (3_000, 1.0))

    assert [tape.next_tick_ts_ms(at) for at in (0, 1_000, 1_001, 3_000, 3_001)] == [1_000, 1_000, 3_000, 3_000, None]


def test_memory_is_bounded_by_the_horizon() -> None:
    tape = TickTape(horizon_ms=60_000)
    for ts_ms in range(0, 10_000_000, 500):
        tape.add(ts_ms, 1.0)

    assert len(tape) <= 1.25 * 120 + 2
    assert tape.first_ts_ms is not None
    assert tape.holds_from_ms >= tape.first_ts_ms - 500


def test_what_was_dropped_or_refused_is_known_to_be_missing() -> None:
    tape = tape_of((1_000_000, 1.0), horizon_ms=60_000)

    refused = tape.add(900_000, 1.0)

    assert not refused
    assert tape.holds_from_ms == 900_001


def test_a_wider_horizon_keeps_more() -> None:
    tape = TickTape(horizon_ms=60_000)
    tape.keep_at_least(3_600_000)
    for ts_ms in range(0, 3_600_000, 1_000):
        tape.add(ts_ms, 1.0)

    assert tape.first_ts_ms == 0
    assert tape.holds_from_ms == 0


def test_an_empty_tape_knows_no_tick() -> None:
    tape = TickTape()

    assert (len(tape), tape.first_ts_ms, tape.last_ts_ms, tape.holds_from_ms) == (0, None, -1, 0)
    assert tape.next_tick_ts_ms(-5) is None


def test_times_before_1970_are_times_like_any_other() -> None:
    assert tape_of((-5_000, 2.0), (-4_000, 1.0)).fold(-5_000, 0) == Candle(-5_000, 2.0, 2.0, 1.0, 1.0, 2.0, 2)


def test_a_tick_exactly_as_old_as_the_horizon_is_taken() -> None:
    tape = tape_of((1_000_000, 1.0), horizon_ms=60_000)

    assert tape.add(940_000, 1.0)
    assert not tape.add(939_999, 1.0)
    assert tape.holds_from_ms == 940_000


def test_a_quarter_of_the_horizon_piles_up_before_anything_is_dropped() -> None:
    tape = TickTape(horizon_ms=100)
    lengths = []
    for ts_ms in range(1_000, 1_400, 25):
        tape.add(ts_ms, 1.0)
        lengths.append(len(tape))

    # Looked at every 50 ms: more than 25 ms after the last look, and ticks are 25 ms apart.
    assert lengths == [1, 2, 3, 4, 5, 6, 5, 6, 5, 6, 5, 6, 5, 6, 5, 6]
    assert (tape.first_ts_ms, tape.holds_from_ms) == (1_250, 1_250)


def test_a_horizon_widened_on_the_way_puts_the_next_look_off_by_as_much() -> None:
    tape = TickTape(horizon_ms=100)
    for ts_ms in range(1_000, 1_101):
        tape.add(ts_ms, 1.0)
    tape.keep_at_least(300)
    lengths = {}
    for ts_ms in range(1_101, 1_500):
        tape.add(ts_ms, 1.0)
        lengths[ts_ms] = len(tape)

    # It was to look again after 1,103, a quarter of the horizon after 1,078; now it does after 1,303.
    assert (lengths[1_303], lengths[1_304]) == (304, 301)
    assert max(lengths.values()) == 376


def test_a_shift_moves_what_one_run_has_stamped_and_leaves_the_rest() -> None:
    tape = TickTape()
    for ts_ms in (1_000, 2_000, 10_000, 11_000):
        tape.add(ts_ms, ts_ms / 1_000)

    tape.shift(-8_500, from_ms=10_000)

    assert tape.fold(0, 3_000) == Candle(0, 1.0, 11.0, 1.0, 11.0, 4.0, 4)
    assert tape.last_tick_ts_ms == 2_500
    assert tape.add(2_500, 12.0)


def test_what_a_wrong_clock_had_stamped_is_dropped() -> None:
    tape = TickTape()
    for ts_ms in (1_000, 2_000, 3_000):
        tape.add(ts_ms, 1.0)

    tape.drop_after(2_000)

    assert len(tape) == 2
    assert tape.add(2_001, 1.0)
