"""What becomes of candles, ticks and gaps when the clock was wrong, was in question, or had run ahead before."""

from __future__ import annotations

from itertools import pairwise

import pytest

from fluxcap.capture.market.clock import ClockBasis, ClockEvent, ClockState, Correction, Trust
from fluxcap.capture.market.feeds import GapReason
from fluxcap.capture.market.market import WaitingSpan
from fluxcap.schemas.types import CandleFlags, FeedState
from tests.support.market.simulated_market import EUR, GBP, lock
from tests.support.market.wrong_clock import Computer

HOUR_MS, MINUTE = 3_600_000, 60_000


def started_ahead(minutes: int = 5, wall_error_ms: int = HOUR_MS) -> Computer:
    """A first run beside an open page, by a clock that is wrong."""
    computer = Computer(wall_error_ms=wall_error_ms)
    computer.trade(minutes * 60)
    return computer


def minutes_of(computer: Computer) -> list[int]:
    """The whole minutes that the run has seen."""
    first_ms = computer.began_ms - computer.began_ms % MINUTE + MINUTE
    last_ms = (computer.now_ms - 6_750) // MINUTE * MINUTE
    return list(range(first_ms, last_ms, MINUTE))


def test_a_clock_an_hour_ahead_publishes_candles_of_times_yet_to_come() -> None:
    """The fault itself, so that what follows mends something."""
    computer = started_ahead()

    assert computer.store.newest_ms > computer.now_ms + 50 * MINUTE
    assert computer.wrong_times()


def test_a_clock_ahead_once_known_every_candle_goes_out_for_its_true_time_and_no_wrong_one_stands_unflagged() -> None:
    computer = started_ahead()
    published = list(computer.store.candles)

    computer.header()
    computer.trade(4)

    assert computer.wrong_times() == []
    assert list(computer.store.candles)[: len(published)] == published  # a revision cannot move a candle's time
    assert set(minutes_of(computer)) <= set(computer.store.beside)
    assert {CandleFlags(c.flags) for c in computer.store.candles.values()} == {CandleFlags.BLIND | CandleFlags.REVISED}


def test_as_the_time_of_a_wrong_candle_comes_it_is_revised_to_the_true_one() -> None:
    computer = started_ahead(minutes=3, wall_error_ms=900_000)
    computer.header()

    computer.trade(20 * 60)

    assert computer.wrong_times() == []
    assert set(minutes_of(computer)) <= computer.unflagged()
    assert computer.store.newest_ms > computer.now_ms - 3 * MINUTE
    assert list(computer.store.candles) == sorted(computer.store.candles)


def test_a_clock_behind_once_known_later_minutes_follow_and_what_is_not_known_is_blind_and_a_gap() -> None:
    computer = started_ahead(minutes=5, wall_error_ms=-HOUR_MS)

    computer.header()
    computer.trade(4)

    wrong = [ts_ms for ts_ms in computer.store.candles if ts_ms < computer.began_ms - MINUTE]
    assert len(wrong) >= 4
    assert computer.wrong_times() == []
    assert set(minutes_of(computer)) <= computer.unflagged()
    assert computer.store.beside == {}
    for ts_ms in wrong:
        assert computer.store.candles[ts_ms].flags & CandleFlags.BLIND
    assert computer.clock_gaps() == [(wrong[0], wrong[-1] + MINUTE)]


@pytest.mark.costly
def test_a_shift_that_cuts_the_candles_elsewhere_makes_them_of_their_ticks_again() -> None:
    computer = Computer(30 * MINUTE, wall_error_ms=900_000)
    computer.trade(32 * 60)
    computer.header()

    computer.trade(40 * 60)

    assert computer.wrong_times() == []
    assert computer.unflagged()


def test_candles_wait_for_nothing_after_a_correction_and_none_comes_twice() -> None:
    computer = started_ahead(minutes=3, wall_error_ms=-HOUR_MS)
    computer.header()
    computer.trade(180)

    times = [ts_ms for ts_ms in computer.store.candles if ts_ms >= computer.began_ms]
    assert [after - before for before, after in pairwise(times)] == [MINUTE] * (len(times) - 1)
    assert len(times) >= 4


def test_gaps_of_a_wrong_clock_are_withdrawn_and_told_again_for_their_true_time() -> None:
    computer = started_ahead(minutes=2)
    computer.lose()
    lost_ms = computer.now_ms
    computer.pass_time(computer.now_ms + 30_000)
    computer.trade(60)

    computer.header()
    computer.trade(4)

    closed = [gap for gap in computer.store.gaps.values() if gap.reason is GapReason.SOCKET_CLOSED]
    wrong = [gap for gap in closed if gap.from_ms > computer.now_ms]
    (true,) = [gap for gap in closed if gap.from_ms <= computer.now_ms]
    assert wrong
    assert all(gap.from_ms == gap.to_ms for gap in wrong)
    assert abs(true.from_ms - lost_ms) < 2_000
    assert 29_000 < true.to_ms - true.from_ms < 33_000


def test_times_out_of_focus_are_told_again_for_their_true_time() -> None:
    computer = started_ahead(minutes=2)
    computer.market.set_focus(lock(GBP))
    left_ms = computer.now_ms
    computer.trade(130)

    computer.header()
    computer.trade(4)

    away = [gap for gap in computer.store.gaps.values() if gap.reason is GapReason.NOT_IN_FOCUS]
    wrong = [gap for gap in away if gap.from_ms > computer.now_ms]
    (true,) = [gap for gap in away if gap.from_ms <= computer.now_ms]
    assert wrong
    assert all(gap.from_ms == gap.to_ms for gap in wrong)
    assert abs(true.from_ms - left_ms) < 2 * MINUTE
    assert true.to_ms == 0


def test_the_journal_hears_of_a_correction() -> None:
    computer = started_ahead(minutes=1)
    computer.header()
    seen: list[Correction] = []
    take = computer._take

    def look() -> None:
        if computer.market.pending.correction is not None:
            seen.append(computer.market.pending.correction)
        take()

    computer._take = look  # type: ignore[method-assign]
    computer.trade(4)

    assert seen == [Correction(3_600_000, 7_200_000)]


@pytest.mark.parametrize("wall_error_ms", [0, HOUR_MS, 5 * HOUR_MS])
def test_a_run_after_one_whose_clock_was_ahead_goes_on_at_once_once_the_platform_tells_the_time(
    wall_error_ms: int,
) -> None:
    computer = started_ahead(minutes=5)
    computer.unseen(20)
    computer.wall_error_ms = wall_error_ms
    computer.restart()
    computer.header()

    computer.trade(130)

    assert ClockEvent.STORE_AHEAD in [kind for kind, _ in computer.market.clock.events]
    assert set(minutes_of(computer)) <= computer.unflagged()
    assert computer.wrong_times() == []
    assert computer.market.feed_state(EUR) in (FeedState.LIVE, FeedState.CLOCK_IN_QUESTION)


def test_after_it_the_stream_catches_up_with_the_newest_candle_and_goes_on_behind_it() -> None:
    computer = started_ahead(minutes=3, wall_error_ms=900_000)
    computer.wall_error_ms = 0
    computer.restart()
    computer.header()

    computer.trade(20 * 60)

    assert computer.wrong_times() == []
    assert set(minutes_of(computer)) <= computer.unflagged()
    newest_ms = computer.store.newest_ms
    assert computer.now_ms - 3 * MINUTE < newest_ms <= computer.now_ms


def test_without_the_platforms_word_it_publishes_nothing_rather_than_late_or_twice() -> None:
    computer = started_ahead()
    computer.wall_error_ms = 0
    computer.restart()
    before = dict(computer.store.all)

    computer.trade(100)

    assert computer.store.all == before
    assert computer.market.clock.state is ClockState.IN_QUESTION
    assert computer.market.feed_state(EUR) is FeedState.CLOCK_IN_QUESTION
    view = computer.market.view(computer.at())
    assert (view.clock, view.clock_in_question) == ("clock in question", True)


def test_a_stream_more_than_a_day_ahead_is_not_continued_and_says_so() -> None:
    computer = started_ahead(minutes=3, wall_error_ms=30 * HOUR_MS)
    before = dict(computer.store.all)
    computer.wall_error_ms = 0
    computer.restart()
    computer.header()

    computer.trade(130)

    assert computer.store.all == before
    assert computer.market.feed_state(EUR) is FeedState.CLOCK_IN_QUESTION


def test_what_an_earlier_run_had_stamped_in_the_future_is_forgotten_and_its_gap_does_not_begin_there() -> None:
    computer = started_ahead(minutes=3)
    stopped_ms = computer.now_ms
    wrong_ms = stopped_ms + HOUR_MS
    computer.wall_error_ms = 0
    computer.restart()
    computer.market.restore(EUR, [(wrong_ms - 1_500, 1.3), (wrong_ms - 1_000, 1.3)], wrong_ms - 9_000, wrong_ms - 1_000)
    computer.header()

    computer.trade(70)

    assert computer.wrong_times() == []
    down = [gap for gap in computer.store.gaps.values() if gap.reason is GapReason.DAEMON_DOWN]
    assert all(gap.from_ms == gap.to_ms for gap in down if gap.from_ms > computer.now_ms)
    assert [gap.from_ms for gap in down if gap.from_ms <= computer.now_ms] == [stopped_ms - 1_000]


def test_a_platform_that_changed_its_clock_between_two_runs_moves_no_stored_candle() -> None:
    computer = Computer()
    computer.trade(180)
    before = dict(computer.store.all)
    computer.offset_ms += HOUR_MS
    computer.restart()
    computer.header()

    computer.trade(130)

    assert {ts: computer.store.all[ts] for ts in before} == before
    assert computer.wrong_times() == []


def test_behind_its_newest_candle_a_stream_needs_the_journal_up_to_what_it_has_sealed() -> None:
    computer = Computer()
    computer.trade(130)
    assert computer.market.sealed_to_ms(EUR) is None

    ahead = started_ahead(minutes=3)
    ahead.header()
    ahead.trade(70)

    sealed_ms = ahead.market.sealed_to_ms(EUR)
    assert sealed_ms is not None
    assert ahead.now_ms - 2 * MINUTE < sealed_ms <= ahead.now_ms


def test_a_second_restart_leaves_the_candles_beside_the_stream_as_they_are() -> None:
    computer = started_ahead(minutes=3)
    computer.wall_error_ms = 0
    computer.restart()
    computer.header()
    computer.trade(190)
    before = dict(computer.store.beside)

    computer.restart()
    computer.header()
    computer.history(computer.now_ms - 180_000, computer.now_ms)
    computer.trade(130)

    assert {ts_ms: computer.store.beside[ts_ms] for ts_ms in before} == before
    assert computer.wrong_times() == []


# --- what waits ---


def questioned() -> tuple[Computer, list[tuple[str, int, int]]]:
    """A second run whose clock is denied by the first, and the ticks that it gave the journal to keep."""
    computer = Computer()
    computer.trade(70)
    computer.wall_error_ms = HOUR_MS
    computer.restart()
    kept: list[tuple[str, int, int]] = []
    take = computer._take

    def look() -> None:
        kept.extend((t.symbol, t.ts_ms, t.raw_ts_ms) for t in computer.market.pending.waiting)
        take()

    computer._take = look  # type: ignore[method-assign]
    return computer, kept


def test_every_tick_that_waits_is_given_to_the_journal_once_with_the_begin_of_its_stretch() -> None:
    computer, kept = questioned()
    first_ms = computer.now_ms + 400 + computer.offset_ms

    computer.trade(20)

    assert [raw_ms for _, _, raw_ms in kept] == list(range(first_ms, first_ms + 20_000, 500))
    assert {since_ms for _, since_ms, _ in kept} == {first_ms}


def test_a_socket_that_ends_ends_the_stretch() -> None:
    computer, kept = questioned()
    computer.trade(10)
    computer.lose()
    computer.trade(5)

    assert len({since_ms for _, since_ms, _ in kept}) == 2


def test_what_waited_and_was_killed_gets_its_time_in_the_next_run() -> None:
    computer, kept = questioned()
    began_ms = computer.now_ms
    computer.trade(190)
    computer.wall_error_ms = 0
    computer.restart()
    prices = {ts_ms + computer.offset_ms: price for ts_ms, price in computer.ticks_by_time()}
    span = WaitingSpan(EUR, kept[0][1], tuple((raw_ms, prices[raw_ms]) for _, _, raw_ms in kept))
    computer.market.restore_waiting(span)

    computer.trade(70)
    computer.pass_time(computer.now_ms + 12_000)

    first_ms = began_ms - began_ms % MINUTE + MINUTE
    assert {first_ms, first_ms + MINUTE} <= computer.unflagged()
    assert computer.wrong_times() == []


def test_the_users_word_releases_what_waits() -> None:
    computer, _ = questioned()
    began_ms = computer.now_ms
    computer.trade(100)

    computer.market.trust_clock(Trust.EARLIER, computer.at())
    computer.trade(30)

    assert computer.basis is ClockBasis.USER
    assert computer.wrong_times() == []
    assert began_ms - began_ms % MINUTE + MINUTE in computer.unflagged()


@pytest.mark.costly
def test_hours_that_waited_are_late_but_whole() -> None:
    computer, _ = questioned()
    began_ms = computer.now_ms
    computer.trade(70 * 60)

    computer.header()
    computer.trade(30)
    computer.pass_time(computer.now_ms + 12_000)

    first_ms = began_ms - began_ms % MINUTE + MINUTE
    expected = set(range(first_ms, (computer.now_ms - 20_000) // MINUTE * MINUTE, MINUTE))
    assert expected <= computer.unflagged()
    assert computer.wrong_times() == []


def test_the_header_of_a_socket_that_is_not_the_platforms_counts_for_nothing() -> None:
    computer = Computer(wall_error_ms=HOUR_MS)
    computer.market.socket_opened("chat", "wss://chat.example/socket.io/")

    computer.header(socket="chat")
    computer.trade(5)

    assert computer.basis is ClockBasis.WALL
