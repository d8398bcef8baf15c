"""The tape keeps each tick as often as it was told, in its place, and never folds what it does not hold whole."""

from __future__ import annotations

import pytest

from fluxcap.capture.market.tape import IDS_MAX, TickResult, TickTape
from fluxcap.schemas.types import Candle

NEW, FIRST_LIVE, KNOWN = TickResult.NEW, TickResult.FIRST_LIVE, TickResult.KNOWN


def tape_of(*ticks: tuple[int, float], horizon_ms: int = 1_800_000) -> TickTape:
    tape = TickTape(horizon_ms)
    for ts_ms, price in ticks:
        tape.take(ts_ms, price, "s")
    return tape


def told(tape: TickTape, socket: str, *prices: float, ts_ms: int = 1_000) -> list[TickResult]:
    """What becomes of prices of one stamp."""
    return [tape.take(ts_ms, price, socket) for price in prices]


def close_and_count(tape: TickTape, ts_ms: int = 1_000) -> tuple[float, int]:
    candle = tape.fold(ts_ms, ts_ms + 1)
    assert candle is not None
    return candle.close, candle.tick_count


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

    taken = [tape.take(ts_ms, price, "s") for ts_ms, price in ((1_000, 1.0), (1_000, 1.0), (2_000, 2.0), (1_000, 1.0))]

    assert taken == [NEW, KNOWN, NEW, KNOWN]
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
        tape.take(ts_ms, 1.0, "s")

    assert len(tape) <= 1.25 * 120 + 2
    assert tape.first_ts_ms is not None
    assert tape.holds_from_ms >= tape.first_ts_ms - 500


def test_what_was_dropped_or_refused_is_known_to_be_missing() -> None:
    tape = tape_of((1_000_000, 1.0), horizon_ms=60_000)

    assert tape.take(900_000, 1.0, "s") is KNOWN
    assert tape.holds_from_ms == 900_001


def test_a_wider_horizon_keeps_more() -> None:
    tape = TickTape(horizon_ms=60_000)
    tape.keep_at_least(3_600_000)
    for ts_ms in range(0, 3_600_000, 1_000):
        tape.take(ts_ms, 1.0, "s")

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

    assert tape.take(940_000, 1.0, "s") is NEW
    assert tape.take(939_999, 1.0, "s") is KNOWN
    assert tape.holds_from_ms == 940_000


def test_a_quarter_of_the_horizon_piles_up_before_anything_is_dropped() -> None:
    tape = TickTape(horizon_ms=100)
    lengths = []
    for ts_ms in range(1_000, 1_400, 25):
        tape.take(ts_ms, 1.0, "s")
        lengths.append(len(tape))

    # Looked at every 50 ms: more than 25 ms after the last look, and ticks are 25 ms apart.
    assert lengths == [1, 2, 3, 4, 5, 6, 5, 6, 5, 6, 5, 6, 5, 6, 5, 6]
    assert (tape.first_ts_ms, tape.holds_from_ms) == (1_250, 1_250)


def test_a_horizon_widened_on_the_way_puts_the_next_look_off_by_as_much() -> None:
    tape = TickTape(horizon_ms=100)
    for ts_ms in range(1_000, 1_101):
        tape.take(ts_ms, 1.0, "s")
    tape.keep_at_least(300)
    lengths = {}
    for ts_ms in range(1_101, 1_500):
        tape.take(ts_ms, 1.0, "s")
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


# --- ticks of one stamp ---


def test_a_price_that_comes_back_within_a_stamp_is_a_tick_of_its_own_and_the_close() -> None:
    tape = TickTape()

    assert told(tape, "s", 1.0, 2.0, 1.0) == [NEW, NEW, NEW]
    assert close_and_count(tape) == (1.0, 3)


@pytest.mark.parametrize(("repeats", "count"), [(False, 1), (True, 5)])
def test_exact_repeats_count_where_the_platform_means_them(repeats: bool, count: int) -> None:
    tape = TickTape(repeats=repeats)

    told(tape, "s", 1.0, 1.0, 1.0, 1.0, 1.0)

    assert close_and_count(tape) == (1.0, count)


@pytest.mark.parametrize("repeats", [False, True])
def test_a_second_tab_tells_nothing_new(repeats: bool) -> None:
    tape = TickTape(repeats=repeats)
    first = told(tape, "s", 1.0, 2.0, 2.0, 1.0)

    assert told(tape, "t", 1.0, 2.0, 2.0, 1.0) == [KNOWN] * 4
    assert close_and_count(tape) == (1.0, first.count(NEW))


def test_what_one_tab_missed_the_other_one_adds() -> None:
    tape = TickTape()
    told(tape, "s", 2.0)

    assert told(tape, "t", 1.0, 2.0, 1.0) == [NEW, KNOWN, NEW]
    assert close_and_count(tape) == (1.0, 3)


def test_tabs_that_take_turns_count_each_tick_once() -> None:
    tape = TickTape(repeats=True)

    taken = [tape.take(1_000, 1.0, socket) for socket in ("s", "t", "s", "t", "t", "s")]

    assert taken == [NEW, KNOWN, NEW, KNOWN, NEW, KNOWN]


def test_ticks_in_order_of_time_keep_their_sources_apart() -> None:
    tape = TickTape(repeats=True)
    for ts_ms in range(1_000, 1_010):
        tape.take(ts_ms, 1.0, "st"[ts_ms % 2])

    assert [tape.take(ts_ms, 1.0, "s") for ts_ms in range(1_000, 1_010)] == [NEW, KNOWN] * 5
    assert [tape.take(ts_ms, 1.0, "t") for ts_ms in range(1_000, 1_010)] == [KNOWN, NEW] * 5


def test_a_history_adds_only_what_was_not_received() -> None:
    tape = TickTape()
    told(tape, "s", 1.0, 2.0)

    assert tape.add_history([(900, 1.0), (1_000, 1.0), (1_000, 2.0), (1_000, 1.0)]) == [900, 1_000]
    assert close_and_count(tape) == (1.0, 3)


def test_each_history_is_a_source_of_its_own() -> None:
    tape = TickTape(repeats=True)
    sent = [(1_000, 1.0), (1_000, 1.0), (1_001, 2.0)]

    assert tape.add_history(sent) == [1_000, 1_000, 1_001]
    assert tape.add_history(sent) == []


def test_a_tick_that_only_a_history_had_is_live_once() -> None:
    tape = TickTape(repeats=True)
    tape.add_history([(1_000, 1.0), (1_000, 1.0)])

    assert told(tape, "s", 1.0) == [FIRST_LIVE]
    assert told(tape, "t", 1.0, 1.0, 1.0) == [KNOWN, FIRST_LIVE, NEW]
    assert tape.add_history([(1_000, 1.0)] * 3) == []


def test_all_that_a_journal_kept_counts_on_every_platform() -> None:
    tape = TickTape()

    assert [tape.add(1_000, price) for price in (1.0, 1.0, 2.0)] == [True, True, True]
    assert told(tape, "s", 1.0, 2.0, 1.0, 1.0) == [KNOWN] * 4
    assert told(tape, "s", 2.0) == [NEW]


@pytest.mark.parametrize("count", [95, 96, 97, 300])
def test_a_stamp_of_many_ticks_is_told_apart_as_one_of_few_is(count: int) -> None:
    tape = TickTape(repeats=True)
    prices = [1.0 + at % 2 for at in range(count)]

    assert told(tape, "s", *prices) == [NEW] * count
    assert told(tape, "t", *prices, 1.0) == [KNOWN] * count + [NEW]
    assert close_and_count(tape) == (1.0, count + 1)


def test_a_socket_is_known_by_what_it_is_equal_to() -> None:
    tape = TickTape(repeats=True)
    tape.take(1_000, 1.0, ("page", "1"))
    tape.take(2_000, 1.0, ("page", "".join("1")))

    assert tape.take(1_000, 1.0, ("page", "".join("1"))) is NEW


def test_of_too_many_sockets_the_one_silent_for_longest_is_forgotten_and_tells_nothing_twice() -> None:
    tape = TickTape(repeats=True)
    for at in range(60):
        tape.take(1_000 + at, 1.0, at)

    assert [tape.take(1_000, 1.0, 0), tape.take(1_000, 1.0, 0)] == [KNOWN, NEW]
    assert tape.take(1_059, 1.0, 59) is NEW  # not the one forgotten


def test_a_socket_that_goes_on_after_it_was_forgotten_is_not_taken_for_another_one() -> None:
    tape = TickTape(repeats=True)
    tape.take(1_000, 1.0, "old")
    for at in range(59):
        tape.take(999, 1.0 + at, at)
    tape.take(1_001, 1.0, "old")

    assert tape.take(1_001, 1.0, 58) is KNOWN


@pytest.mark.parametrize("repeats", [False, True])
def test_trades_with_ids_count_once_each_whoever_tells_them(repeats: bool) -> None:
    tape = TickTape(repeats=repeats)

    taken = [tape.take(1_000, 1.0, socket, number) for socket, number in ("s1", "s2", "t1", "t3", "s3", "t2")]

    assert taken == [NEW, NEW, KNOWN, NEW, KNOWN, KNOWN]


def test_after_a_restart_trades_with_ids_are_counted_against_the_journal() -> None:
    tape = TickTape()
    tape.add(1_000, 1.0)
    tape.add(1_000, 1.0)

    assert [tape.take(1_000, 1.0, "s", number) for number in ("7", "8", "9", "9")] == [KNOWN, KNOWN, NEW, KNOWN]


def test_an_id_that_was_forgotten_makes_no_second_tick() -> None:
    tape = TickTape()
    for number in range(IDS_MAX + 2):
        tape.take(1_000 + number, 1.0, "s", str(number))

    assert tape.take(1_000, 1.0, "s", "0") is KNOWN
    assert tape.take(1_000, 2.0, "s", "late") is NEW
    assert len(tape) == IDS_MAX + 3


def test_a_socket_has_told_what_it_told_and_as_often() -> None:
    tape = TickTape(repeats=True)
    told(tape, "s", 1.0, 1.0, 2.0)
    told(tape, "t", 1.0)

    assert tape.has_told("s", {(1_000, 1.0): 2, (1_000, 2.0): 1})
    assert not tape.has_told("s", {(1_000, 1.0): 3})
    assert not tape.has_told("t", {(1_000, 2.0): 1})
    assert not tape.has_told("nobody", {(1_000, 1.0): 1})


def test_what_is_dropped_by_the_horizon_takes_its_sources_with_it() -> None:
    tape = TickTape(horizon_ms=100, repeats=True)
    for ts_ms in range(1_000, 1_400):
        tape.take(ts_ms, 1.0, "st"[ts_ms >= 1_350])

    assert tape.take(1_349, 1.0, "t") is KNOWN
    assert tape.take(1_350, 1.0, "t") is NEW
    assert tape.take(1_349, 1.0, "s") is NEW


def test_what_waited_for_the_clock_and_is_in_the_journal_too_counts_once() -> None:
    tape = TickTape(repeats=True)
    tape.add(1_000, 1.0)

    assert [tape.add_waiting(1_000, price) for price in (1.0, 1.0, 2.0)] == [False, True, True]


def test_a_shift_takes_along_who_told_what() -> None:
    tape = TickTape(repeats=False)
    told(tape, "s", 1.0, 2.0, 1.0)
    told(tape, "t", 1.0)
    tape.take(1_000, 3.0, "s", "7")

    tape.shift(500)

    assert told(tape, "s", 1.0, ts_ms=1_500) == [KNOWN]
    assert told(tape, "t", 2.0, 1.0, 2.0, ts_ms=1_500) == [KNOWN, KNOWN, NEW]
    assert tape.take(1_500, 3.0, "s", "7") is KNOWN
    tape.drop_after(1_499)
    assert len(tape) == 0
