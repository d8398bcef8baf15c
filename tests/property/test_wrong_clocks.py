"""Whatever this computer's clock says, and however often fluxcap starts: no candle stands unflagged under a wrong time.

The rules' model: witnesses by rank. Where the platform's own time is seen from the start no candle ever is wrong, not
for a moment; where an offset of a right run was kept, neither; where it is seen late, all is put right then.
"""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from fluxcap.capture.market.clock import ClockBasis, ClockState
from tests.support.market.simulated_market import LAG_MS
from tests.support.market.wrong_clock import Computer

HOUR_MS = 3_600_000
STEP_MS = 10_000
"""Interval of the candles."""
ERRORS = st.sampled_from([0, 0, HOUR_MS, -HOUR_MS, 2 * HOUR_MS, 900_000, -900_000, 47_000, -400_000, 1_500])

acts = st.one_of(
    st.tuples(st.just("trade"), st.integers(4, 40)),
    st.tuples(st.just("wall"), ERRORS),
    st.tuples(st.just("header"), st.sampled_from([0, 0, 0, -1_000, -2_000, -15_000, -25_000])),
    st.tuples(st.just("late header"), st.sampled_from([0, 5, 19, 40, 120, 290])),
    st.tuples(st.just("restart"), st.integers(0, 30)),
)


def play(computer: Computer, act: str, size: int) -> None:
    if act == "trade":
        computer.trade(size)
    elif act == "wall":
        computer.wall_error_ms = size
        computer.pass_time(computer.now_ms + 300)
    elif act == "header":
        computer.header(size)
    elif act == "late header":
        computer.late_header(size)
    else:
        computer.unseen(size)
        computer.restart()


@settings(deadline=None, max_examples=30)
@given(ERRORS, st.lists(acts, max_size=7))
def test_beside_the_platforms_own_time_no_candle_is_ever_wrong(
    wall_error_ms: int, story: list[tuple[str, int]]
) -> None:
    computer = Computer(STEP_MS, wall_error_ms=wall_error_ms)
    computer.header()
    for act, size in [*story, ("header", 0), ("trade", 25)]:
        play(computer, act, size)
        if act == "restart":
            computer.header()
        assert computer.wrong_times() == []

    assert computer.market.clock.offset_ms == computer.offset_ms
    assert computer.store.newest_ms > computer.now_ms - 3 * computer.interval_ms


@settings(deadline=None, max_examples=30)
@given(st.lists(acts.filter(lambda act: "header" not in act[0]), max_size=7))
def test_beside_the_offset_of_a_right_run_no_candle_is_ever_wrong(story: list[tuple[str, int]]) -> None:
    computer = Computer(STEP_MS)
    computer.trade(15)
    for act, size in [("restart", 5), *story]:
        play(computer, act, size)
        assert computer.wrong_times() == []

    computer.wall_error_ms = 0
    computer.trade(25)

    assert computer.wrong_times() == []
    assert computer.market.clock.offset_ms == computer.offset_ms


# An earlier run has published a time yet to come: it stands there when the clock is put right before this one publishes
# anything (4 s), and after it did (16 s).
@example(HOUR_MS, [("trade", 21), ("restart", 0), ("trade", 4)], 0)
@example(HOUR_MS, [("trade", 21), ("restart", 0), ("trade", 16)], 0)
@settings(deadline=None, max_examples=30)
@given(ERRORS, st.lists(acts, max_size=6), ERRORS)
def test_once_the_platforms_own_time_is_seen_no_wrong_candle_stands_unflagged(
    wall_error_ms: int, story: list[tuple[str, int]], last_error_ms: int
) -> None:
    computer = Computer(STEP_MS, wall_error_ms=wall_error_ms)
    for act, size in story:
        play(computer, act, size)
    computer.wall_error_ms = last_error_ms
    computer.pass_time(computer.now_ms + 300)
    computer.header()
    computer.trade(15)

    assert computer.basis is ClockBasis.PLATFORM
    assert computer.market.clock.offset_ms == computer.offset_ms
    began_ms = computer.began_ms
    assert [candle for candle in computer.wrong_times() if candle.ts_ms >= began_ms] == []


@settings(deadline=None, max_examples=20)
@given(st.sampled_from([HOUR_MS, -HOUR_MS, 900_000, -900_000]), st.integers(15, 80), st.integers(0, 60))
def test_a_run_that_began_by_a_wrong_clock_ends_with_every_candle_true(
    wall_error_ms: int, wrong_s: int, after_s: int
) -> None:
    computer = Computer(STEP_MS, wall_error_ms=wall_error_ms)
    computer.trade(wrong_s)
    first_ms = computer.began_ms - computer.began_ms % STEP_MS + STEP_MS

    computer.header()
    computer.trade(10 + after_s)
    computer.pass_time(computer.now_ms + 3_000)

    assert computer.wrong_times() == []
    last_ms = (computer.now_ms - LAG_MS - 6_000) // STEP_MS * STEP_MS
    assert set(range(first_ms, last_ms, STEP_MS)) <= computer.unflagged()


@settings(deadline=None, max_examples=20)
@given(ERRORS.filter(lambda ms: abs(ms) > 30_000), st.integers(5, 40))
def test_what_waits_for_the_clock_is_late_but_not_lost(wall_error_ms: int, waiting_s: int) -> None:
    computer = Computer(STEP_MS)
    computer.trade(15)
    computer.wall_error_ms = wall_error_ms
    computer.restart()
    began_ms = computer.now_ms
    computer.trade(waiting_s)
    assert computer.market.clock.state is not ClockState.SYNCHRONISED

    computer.wall_error_ms = 0
    computer.trade(20)

    assert computer.wrong_times() == []
    first_ms = began_ms - began_ms % STEP_MS + STEP_MS
    last_ms = (computer.now_ms - LAG_MS - 6_000) // STEP_MS * STEP_MS
    assert set(range(first_ms, last_ms, STEP_MS)) <= computer.unflagged()
