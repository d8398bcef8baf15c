"""The platform's offset: found, kept, changed on evidence only, and never guessed."""

from __future__ import annotations

import pytest

from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.capture.market.clock import ClockState, PlatformClock

ZERO_MS = 1_760_000_000_000
"""UTC at monotonic 1,000,000."""


class Local:
    """A computer that receives ticks. ``offset_ms``: what the platform adds; ``wall_error_ms``: its own clock's."""

    def __init__(self, offset_ms: int = 7_200_000, lag_ms: int = 750, wall_error_ms: int = 0) -> None:
        self.clock = PlatformClock()
        self.offset_ms = offset_ms
        self.lag_ms = lag_ms
        self.wall_error_ms = wall_error_ms
        self.mono_ms = 1_000_000
        self.slept_ms = 0
        self.heard = 0
        self.accepted: list[int] = []

    @property
    def utc_ms(self) -> int:
        return ZERO_MS + self.mono_ms - 1_000_000 + self.slept_ms

    def at(self) -> ArrivalTime:
        return ArrivalTime.from_ms(self.utc_ms + self.wall_error_ms, self.mono_ms)

    def receive(self, raw_ts_ms: int, *, same_socket: bool = True) -> bool:
        """As the market does: True when the tick gets its time, now or because it settled the clock."""
        if self.clock.accept(raw_ts_ms, self.at(), self.heard if same_socket else 0):
            self.heard = raw_ts_ms
            return True
        settled = self.clock.add_sample(raw_ts_ms, self.at())
        if settled:
            self.heard = raw_ts_ms
        return settled

    def live(self, seconds: float = 5.0, every_ms: int = 500) -> list[bool]:
        told = []
        for _ in range(int(seconds * 1_000 / every_ms)):
            self.mono_ms += every_ms
            told.append(self.receive(self.utc_ms - self.lag_ms + self.offset_ms))
        return told


@pytest.mark.parametrize("hours", [2, 3, 0, -5, 5.5, 5.75, -3.5, 12.75])
def test_the_offset_is_found_also_when_it_is_not_whole_hours(hours: float) -> None:
    local = Local(int(hours * 3_600_000))

    local.live()

    assert local.clock.offset_ms == hours * 3_600_000
    assert local.clock.synchronised


def test_nothing_is_accepted_before_the_offset_is_known() -> None:
    local = Local()

    told = local.live(seconds=1.5)

    assert not any(told)
    assert local.clock.state is ClockState.MEASURING
    assert local.clock.now_ms(local.mono_ms) == 0


def test_now_is_the_time_of_the_ticks_being_delivered() -> None:
    local = Local(lag_ms=700)
    local.live()

    assert local.clock.now_ms(local.mono_ms) == local.utc_ms - 700


def test_a_backlog_settles_nothing() -> None:
    local = Local()
    for age_ms in range(60_000, 30_000, -500):  # all arrive at once
        local.receive(local.utc_ms - age_ms + local.offset_ms)

    assert local.clock.offset_ms is None


@pytest.mark.parametrize("error_ms", [-25_000, -5_000, 5_000, 25_000])
def test_a_wall_clock_some_seconds_off_is_good_enough(error_ms: int) -> None:
    local = Local(wall_error_ms=error_ms)
    local.live()

    assert local.clock.offset_ms == 7_200_000


@pytest.mark.parametrize("error_ms", [-400_000, -60_000, 60_000, 400_000])
def test_a_wrong_wall_clock_leaves_the_offset_unknown_and_says_so(error_ms: int) -> None:
    local = Local(wall_error_ms=error_ms)
    local.live(10)

    assert local.clock.offset_ms is None
    assert local.clock.state is ClockState.AMBIGUOUS
    assert "set this computer's clock" in local.clock.reason


def test_once_the_wall_clock_is_set_right_the_offset_is_found() -> None:
    local = Local(wall_error_ms=300_000)
    local.live(10)

    local.wall_error_ms = 0
    local.live(10)

    assert local.clock.offset_ms == 7_200_000


def test_a_stepped_wall_clock_moves_nothing_but_is_reported() -> None:
    local = Local()
    local.live()

    local.wall_error_ms = 3_600_000
    told = local.live(60)

    assert all(told)
    assert local.clock.offset_ms == 7_200_000
    assert "clock was changed" in local.clock.reason


@pytest.mark.parametrize("step_ms", [3_600_000, -3_600_000, 1_800_000, -900_000])
def test_a_step_of_the_platforms_clock_is_followed_after_ten_seconds_of_evidence(step_ms: int) -> None:
    local = Local()
    local.live()

    local.offset_ms += step_ms
    told = local.live(9)
    assert not any(told)
    assert local.clock.offset_ms == 7_200_000

    local.live(3)
    assert local.clock.offset_ms == 7_200_000 + step_ms
    assert local.clock.changes == 1


@pytest.mark.parametrize("away_ms", [3_600_000, -3_600_000, 10_000, 86_400_000, -120_000, 31_536_000_000])
def test_absurd_stamps_among_good_ones_are_never_accepted_and_never_move_the_offset(away_ms: int) -> None:
    local = Local()
    local.live()

    for _ in range(40):
        assert not local.receive(local.utc_ms + local.offset_ms + away_ms)
        assert all(local.live(0.5))

    assert local.clock.offset_ms == 7_200_000


def test_the_offset_is_found_though_every_third_stamp_is_absurd() -> None:
    local = Local()
    for at in range(60):
        local.mono_ms += 250
        absurd = at % 3 == 2
        local.receive(local.utc_ms - 750 + local.offset_ms + (at * 7_777_777 if absurd else 0))

    assert local.clock.offset_ms == 7_200_000


def test_a_stamp_slightly_ahead_of_now_cannot_hurry_the_clock() -> None:
    local = Local()
    local.live()
    before_ms = local.clock.now_ms(local.mono_ms)

    assert not local.receive(local.utc_ms + local.offset_ms + 30_000)

    assert local.clock.now_ms(local.mono_ms) == before_ms


def test_old_stamps_of_a_backlog_are_accepted_on_their_own_socket() -> None:
    local = Local()
    local.live()
    frozen_at_ms = local.utc_ms
    local.mono_ms += 1_200_000

    told = [local.receive(frozen_at_ms + at_ms + local.offset_ms) for at_ms in range(0, 1_200_000, 10_000)]

    assert all(told)


def test_the_first_stamp_of_a_socket_may_be_late_but_not_an_hour() -> None:
    local = Local()
    local.live()

    assert local.receive(local.utc_ms - 300_000 + local.offset_ms, same_socket=False)
    assert not local.receive(local.utc_ms - 3_600_000 + local.offset_ms, same_socket=False)


def test_a_suspended_computer_goes_on_at_once() -> None:
    local = Local()
    local.live()

    local.slept_ms += 1_800_000  # the wall clock ran on, the monotonic one did not
    told = local.live(5)

    assert all(told)
    assert local.clock.offset_ms == 7_200_000
    assert local.clock.now_ms(local.mono_ms) == local.utc_ms - 750


def test_a_paused_machine_whose_clocks_both_stood_still_recovers_by_itself_when_the_pause_was_short() -> None:
    local = Local()
    local.live()

    local.slept_ms += 100_000
    local.wall_error_ms -= 100_000
    local.live(15)

    assert local.clock.offset_ms == 7_200_000
    assert local.clock.synchronised
    assert local.clock.now_ms(local.mono_ms) == local.utc_ms - 750


def test_a_paused_machine_recovers_once_its_wall_clock_is_set() -> None:
    local = Local()
    local.live()
    local.slept_ms += 2_000_000
    local.wall_error_ms -= 2_000_000
    local.live(15)
    assert local.clock.state is ClockState.AMBIGUOUS
    assert not local.clock.synchronised

    local.wall_error_ms = 0
    local.live(15)

    assert local.clock.offset_ms == 7_200_000
    assert local.clock.synchronised


def test_slower_delivery_does_not_move_now_back_soon() -> None:
    local = Local(lag_ms=700)
    local.live()

    local.lag_ms = 3_000
    local.live(60)

    assert local.clock.now_ms(local.mono_ms) == local.utc_ms - 700


def test_a_drifting_clock_is_followed_within_ten_minutes() -> None:
    local = Local(lag_ms=700)
    local.live()
    local.lag_ms = 900

    local.live(650)

    assert local.clock.now_ms(local.mono_ms) == local.utc_ms - 900


def test_each_state_has_a_sentence() -> None:
    local = Local()
    assert local.clock.reason == "Waiting for ticks; nothing is published yet."
    local.live(1)
    assert local.clock.reason == "Measuring the platform's clock; nothing is published yet."
    local.live(5)
    assert local.clock.reason == "The platform stamps ticks +2 h from UTC; removed."


class Bare:
    """The clock itself, to the millisecond: ticks at monotonic times, each with the same lag but for what is said."""

    def __init__(self) -> None:
        self.clock = PlatformClock()
        self.heard = 0

    @staticmethod
    def raw_ms(mono_ms: int) -> int:
        return ZERO_MS + mono_ms + 7_200_000 - 750

    def observe(self, mono_ms: int, ahead_ms: int = 0, wall_ms: int = 0) -> bool:
        return self.clock.add_sample(
            self.raw_ms(mono_ms) + ahead_ms, ArrivalTime.from_ms(ZERO_MS + mono_ms + wall_ms, mono_ms)
        )

    def accept(self, mono_ms: int, ahead_ms: int = 0, slept_ms: int = 0, heard_ms: int | None = 0) -> bool:
        at = ArrivalTime.from_ms(ZERO_MS + mono_ms + slept_ms, mono_ms)
        raw_ms = self.raw_ms(mono_ms) + ahead_ms
        return self.clock.accept(raw_ms, at) if heard_ms is None else self.clock.accept(raw_ms, at, heard_ms)

    def settled(self) -> Bare:
        assert [self.observe(mono_ms) for mono_ms in (0, 500, 1_000, 1_500, 2_000)] == [False] * 4 + [True]
        return self


def test_five_ticks_over_two_seconds_are_just_enough() -> None:
    assert Bare().settled().clock.synchronised


def test_four_ticks_are_too_few_however_long_they_took() -> None:
    bare = Bare()

    assert [bare.observe(mono_ms) for mono_ms in (0, 800, 1_600, 2_400, 3_200)] == [False] * 4 + [True]


def test_many_ticks_are_too_few_within_less_than_two_seconds() -> None:
    bare = Bare()

    assert not any(bare.observe(mono_ms) for mono_ms in range(0, 2_000, 100))
    assert bare.observe(2_000)


@pytest.mark.parametrize(("ahead_ms", "settles"), [(3_000, True), (3_001, False), (-3_000, True), (-3_001, False)])
def test_ticks_agree_within_three_seconds(ahead_ms: int, settles: bool) -> None:
    bare = Bare()
    for mono_ms in (0, 500, 1_000, 1_500):
        bare.observe(mono_ms)

    assert bare.observe(2_000, ahead_ms=ahead_ms) is settles


@pytest.mark.parametrize(("wall_ms", "settles"), [(3_000, True), (3_001, False), (-3_000, True), (-3_001, False)])
def test_ticks_from_before_a_step_of_the_wall_clock_do_not_count(wall_ms: int, settles: bool) -> None:
    bare = Bare()
    for mono_ms in (0, 500, 1_000, 1_500):
        bare.observe(mono_ms)

    assert bare.observe(2_000, wall_ms=wall_ms) is settles


@pytest.mark.parametrize(("error_ms", "settles"), [(-29_250, True), (-29_251, False), (30_750, True), (30_751, False)])
def test_a_wall_clock_may_be_half_a_minute_off_lag_included(error_ms: int, settles: bool) -> None:
    bare = Bare()

    told = [bare.observe(mono_ms, wall_ms=-error_ms) for mono_ms in (0, 500, 1_000, 1_500, 2_000)]

    assert told == [False] * 4 + [settles]
    assert (bare.clock.offset_ms == 7_200_000) is settles


def test_how_far_the_wall_clock_is_off_is_told_with_its_sign() -> None:
    bare = Bare()
    for mono_ms in (0, 500, 1_000, 1_500, 2_000):
        bare.observe(mono_ms, wall_ms=60_000)

    assert bare.clock.reason.startswith("Tick times are -61 s away from any quarter-hour offset: set")


def test_changes_of_the_offset_are_counted_and_its_first_is_none() -> None:
    local = Local()
    local.live()
    assert local.clock.changes == 0

    for _ in range(2):
        local.offset_ms += 3_600_000
        local.live(15)

    assert local.clock.changes == 2


@pytest.mark.parametrize(("ahead_ms", "fits"), [(5_000, True), (5_001, False)])
def test_a_stamp_may_be_five_seconds_ahead(ahead_ms: int, fits: bool) -> None:
    assert Bare().settled().accept(2_500, ahead_ms) is fits


@pytest.mark.parametrize(("ahead_ms", "fits"), [(25_000, True), (25_001, False)])
def test_after_a_sleep_it_may_be_as_much_further_ahead_as_the_computer_slept(ahead_ms: int, fits: bool) -> None:
    # The very first tick after the clock was settled, too: the sleep is counted from the tick that settled it.
    assert Bare().settled().accept(2_500, ahead_ms, slept_ms=20_000) is fits


def test_a_long_pause_is_no_sleep() -> None:
    assert not Bare().settled().accept(32_000, ahead_ms=20_000)


@pytest.mark.parametrize(("back_ms", "fits"), [(60_000, True), (60_001, False)])
def test_a_stamp_may_lie_a_minute_behind_what_its_socket_said(back_ms: int, fits: bool) -> None:
    bare = Bare().settled()

    assert bare.accept(2_500, -back_ms, heard_ms=bare.raw_ms(2_500)) is fits


@pytest.mark.parametrize(("back_ms", "fits"), [(600_000, True), (600_001, False)])
def test_the_first_stamp_of_a_socket_may_lie_ten_minutes_behind(back_ms: int, fits: bool) -> None:
    assert Bare().settled().accept(2_500, -back_ms) is fits
    assert Bare().settled().accept(2_500, -back_ms, heard_ms=None) is fits


def test_a_millisecond_less_of_lag_moves_now_by_a_millisecond() -> None:
    bare = Bare().settled()

    bare.accept(2_500, ahead_ms=1)

    assert bare.clock.now_ms(2_500) == bare.raw_ms(2_500) + 1 - 7_200_000


def test_the_shortest_lag_is_remembered_for_two_windows_and_no_longer() -> None:
    bare = Bare().settled()
    bare.accept(302_000, ahead_ms=1)  # to the millisecond the end of the window: still within
    slow = {mono_ms: bare.accept(mono_ms, ahead_ms=-200) for mono_ms in (302_001, 602_001, 602_002)}

    assert all(slow.values())
    assert bare.clock.now_ms(602_002) == bare.raw_ms(602_002) - 200 - 7_200_000


def test_within_the_second_window_the_shortest_lag_still_holds() -> None:
    bare = Bare().settled()
    for mono_ms in (302_001, 602_001):
        bare.accept(mono_ms, ahead_ms=-200)

    assert bare.clock.now_ms(602_001) == bare.raw_ms(602_001) - 7_200_000
