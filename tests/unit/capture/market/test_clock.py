"""The platform's offset: found, kept, changed on evidence only, and never guessed."""

from __future__ import annotations

import pytest

from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.capture.market.clock import (
    ClockBasis,
    ClockEvent,
    ClockPrior,
    ClockState,
    PlatformClock,
    Trust,
)
from fluxcap.schemas.errors import ConfigError

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
    assert local.clock.reason == "The platform stamps ticks +2 h from UTC, by this computer's clock alone; removed."


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


# --- witnesses ---


class Witnessed:
    """A computer beside a platform that may tell its time. All times are virtual."""

    def __init__(self, prior: ClockPrior = ClockPrior(), *, wall_error_ms: int = 0) -> None:  # noqa: B008
        self.clock = PlatformClock(prior)
        self.wall_error_ms = wall_error_ms
        self.offset_ms = 7_200_000
        self.mono_ms = 1_000_000
        self.slept_ms = 0
        self.heard = 0
        self.clock.observe(self.at())

    @property
    def utc_ms(self) -> int:
        return ZERO_MS + self.mono_ms - 1_000_000 + self.slept_ms

    def at(self, *, drained: bool = True) -> ArrivalTime:
        return ArrivalTime.from_ms(self.utc_ms + self.wall_error_ms, self.mono_ms, drained)

    def date(self, away_ms: int = 0, *, is_handshake: bool = True) -> bool:
        return self.clock.add_date((self.utc_ms + away_ms) // 1_000 * 1_000, self.at(), is_handshake=is_handshake)

    def live(self, seconds: float = 5.0, lag_ms: int = 750, every_ms: int = 500) -> list[bool]:
        told = []
        for _ in range(round(seconds * 1_000 / every_ms)):
            self.mono_ms += every_ms
            raw_ms = self.utc_ms - lag_ms + self.offset_ms
            fits = self.clock.accept(raw_ms, self.at(), self.heard) or self.clock.add_sample(raw_ms, self.at())
            if fits:
                self.heard = raw_ms
            told.append(fits)
            self.clock.observe(self.at())
        return told

    def events(self) -> list[ClockEvent]:
        return [kind for kind, _ in self.clock.events]


HOUR_MS = 3_600_000
WRONG = (HOUR_MS, -HOUR_MS, 12 * HOUR_MS, 900_000, 47_000, -400_000)


@pytest.mark.parametrize("wall_error_ms", WRONG)
def test_the_platforms_own_time_decides_whatever_this_computers_clock_says(wall_error_ms: int) -> None:
    world = Witnessed(wall_error_ms=wall_error_ms)
    world.date()

    world.live()

    assert world.clock.offset_ms == 7_200_000
    assert world.clock.basis is ClockBasis.PLATFORM


@pytest.mark.parametrize("wall_error_ms", WRONG)
def test_a_wrong_clock_beside_the_platforms_own_is_told_once_and_its_correction_too(wall_error_ms: int) -> None:
    world = Witnessed(wall_error_ms=wall_error_ms)
    world.date()
    world.live(20)
    assert world.events().count(ClockEvent.WALL_WRONG) == 1
    assert world.clock.in_question
    assert abs(world.clock.wall_off_ms - wall_error_ms) <= 1_000
    assert "set it" in world.clock.reason

    world.wall_error_ms = 0
    world.live(5)

    assert world.events().count(ClockEvent.WALL_RIGHT) == 1
    assert not world.clock.in_question


@pytest.mark.parametrize(("wall_error_ms", "wrong"), [(2_000, False), (-1_900, False), (4_000, True), (-3_100, True)])
def test_two_seconds_off_is_wrong_whole_seconds_of_the_header_aside(wall_error_ms: int, wrong: bool) -> None:
    world = Witnessed(wall_error_ms=wall_error_ms)
    world.date()
    world.live(5, lag_ms=0)

    assert world.clock.in_question is wrong


def test_two_other_responses_decide_as_well() -> None:
    world = Witnessed(wall_error_ms=HOUR_MS)
    assert not world.date(is_handshake=False)
    assert world.date(is_handshake=False)

    world.live()

    assert world.clock.offset_ms == 7_200_000


def test_a_header_that_waited_behind_a_backlog_is_left_out() -> None:
    world = Witnessed()
    world.mono_ms += 3_600_000  # this process stood still, and reads now what came an hour ago

    assert not world.date(-HOUR_MS)


@pytest.mark.parametrize(("waited_ms", "counts"), [(300_000, True), (300_001, False)])
def test_a_header_may_have_waited_for_five_minutes(waited_ms: int, counts: bool) -> None:
    world = Witnessed()
    world.mono_ms += waited_ms

    assert world.date(-waited_ms) is counts


@pytest.mark.parametrize("wall_error_ms", [HOUR_MS, -HOUR_MS, 900_000, -900_000])
@pytest.mark.parametrize("late_ms", [0, 25_000, 120_000, 300_000])
def test_a_header_that_waited_tells_the_right_quarter_hour_however_late_it_is(wall_error_ms: int, late_ms: int) -> None:
    world = Witnessed(wall_error_ms=wall_error_ms)
    world.mono_ms += 300_000
    world.date(-late_ms)

    world.live()

    assert world.clock.offset_ms == 7_200_000
    assert world.clock.basis is ClockBasis.PLATFORM
    assert abs(world.clock.wall_off_ms - wall_error_ms) <= 1_000


@pytest.mark.parametrize("wall_error_ms", [HOUR_MS, -HOUR_MS])
def test_a_run_by_a_wrong_clock_is_put_right_by_a_header_that_waited(wall_error_ms: int) -> None:
    world = Witnessed(wall_error_ms=wall_error_ms)
    world.live()
    world.mono_ms += 90_000
    world.date(-80_000)

    world.live(10)

    correction = world.clock.take_correction()
    assert correction is not None
    assert correction.right_ms == 7_200_000


@pytest.mark.parametrize(("late_ms", "decides"), [(89_000, True), (91_000, False)])
def test_a_header_may_be_late_by_as_long_as_it_waited_and_half_a_minute(late_ms: int, decides: bool) -> None:
    world = Witnessed()
    world.mono_ms += 60_000
    world.date(-late_ms)

    world.live(lag_ms=0)

    assert (world.clock.basis is ClockBasis.PLATFORM) is decides


@pytest.mark.parametrize(("wall_error_ms", "wrong"), [(32_000, False), (150_000, False), (160_000, True)])
def test_before_any_tick_a_header_that_waited_tells_only_a_clock_further_off(wall_error_ms: int, wrong: bool) -> None:
    world = Witnessed(wall_error_ms=wall_error_ms)
    world.mono_ms += 120_000
    world.date(0)
    world.clock.observe(world.at())

    assert world.clock.in_question is wrong


@pytest.mark.parametrize(("prior", "dated", "basis"), [
    (ClockPrior(), True, ClockBasis.PLATFORM),
    (ClockPrior(), False, ClockBasis.WALL),
    (ClockPrior(7_200_000), False, ClockBasis.KEPT),
])  # fmt: skip
def test_the_offset_found_is_told_once_with_its_witness(prior: ClockPrior, dated: bool, basis: ClockBasis) -> None:
    world = Witnessed()
    world.clock = PlatformClock(prior)
    world.clock.observe(world.at())
    if dated:
        world.date()

    world.live(20)

    settled = [told for kind, told in world.clock.events if kind is ClockEvent.SETTLED]
    assert settled == [{"offset_h": 2.0, "by": str(basis)}]


def test_an_offset_that_a_header_confirms_is_told_again_with_the_new_witness() -> None:
    world = Witnessed()
    world.live()
    world.date()

    world.live()

    settled = [told["by"] for kind, told in world.clock.events if kind is ClockEvent.SETTLED]
    assert settled == [str(ClockBasis.WALL), str(ClockBasis.PLATFORM)]


@pytest.mark.parametrize("wall_error_ms", [HOUR_MS, -HOUR_MS])
def test_on_a_starved_computer_a_header_that_waited_decides_from_the_first_tick(wall_error_ms: int) -> None:
    world = Witnessed(wall_error_ms=wall_error_ms)
    world.mono_ms += 12_000  # this process did not run: the header was read late, and had been sent late
    world.date(-20_000)

    world.live()

    assert world.clock.offset_ms == 7_200_000
    assert world.clock.basis is ClockBasis.PLATFORM
    assert abs(world.clock.wall_off_ms - wall_error_ms) <= 1_000


@pytest.mark.parametrize(("away_ms", "decides"), [(-29_000, True), (-31_000, False), (3_000, True), (4_000, False)])
def test_a_header_may_be_half_a_minute_late_and_three_seconds_early(away_ms: int, decides: bool) -> None:
    world = Witnessed()
    world.mono_ms += 250
    world.date(away_ms)

    world.live(lag_ms=0)

    assert (world.clock.basis is ClockBasis.PLATFORM) is decides


@pytest.mark.parametrize("away_ms", [-40_000, 10_000])
def test_a_header_that_fits_no_quarter_hour_does_not_decide_but_keeps_a_contradiction_from_being_taken(
    away_ms: int,
) -> None:
    odd = Witnessed()
    odd.date(away_ms)
    odd.live()
    assert odd.clock.offset_ms == 7_200_000
    assert odd.clock.basis is ClockBasis.WALL

    wrong = Witnessed(wall_error_ms=HOUR_MS)
    wrong.date(away_ms)
    wrong.live()
    assert wrong.clock.offset_ms is None
    assert wrong.clock.state is ClockState.IN_QUESTION


@pytest.mark.parametrize("wall_error_ms", [HOUR_MS, -HOUR_MS])
def test_an_offset_by_the_wall_clock_alone_is_corrected_by_the_first_header(wall_error_ms: int) -> None:
    world = Witnessed(wall_error_ms=wall_error_ms)
    world.live(60)
    assert world.clock.offset_ms == 7_200_000 - wall_error_ms
    assert world.clock.basis is ClockBasis.WALL

    world.date()
    world.live(4)

    assert world.clock.take_correction() == (7_200_000 - wall_error_ms, 7_200_000)
    assert world.clock.offset_ms == 7_200_000
    assert world.clock.basis is ClockBasis.PLATFORM
    assert world.clock.take_correction() is None


def test_a_right_offset_is_confirmed_by_the_first_tick_after_a_header() -> None:
    world = Witnessed()
    world.live()

    world.date()
    world.live(0.5)

    assert world.clock.basis is ClockBasis.PLATFORM
    assert world.clock.correction is None


def test_one_server_with_a_wrong_clock_corrects_nothing() -> None:
    world = Witnessed()
    world.date()
    world.live()

    world.date(HOUR_MS)
    world.live(20)

    assert world.clock.correction is None
    assert world.clock.offset_ms == 7_200_000


def test_an_offset_of_earlier_runs_is_taken_with_the_first_tick_if_the_wall_clock_agrees() -> None:
    world = Witnessed(ClockPrior(7_200_000))

    assert world.live(0.5) == [True]
    assert world.clock.basis is ClockBasis.KEPT


@pytest.mark.parametrize(("lag_ms", "at_once"), [(5_000, True), (5_001, False), (-1_000, True), (-1_001, False)])
def test_one_tick_is_enough_from_five_seconds_before_to_one_after_the_wall_clock(lag_ms: int, at_once: bool) -> None:
    assert Witnessed(ClockPrior(7_200_000)).live(0.5, lag_ms) == [at_once]


@pytest.mark.parametrize("wall_error_ms", [*WRONG, -12 * HOUR_MS])
def test_an_offset_of_earlier_runs_that_the_wall_clock_denies_publishes_nothing_and_says_so(wall_error_ms: int) -> None:
    world = Witnessed(ClockPrior(7_200_000), wall_error_ms=wall_error_ms)

    world.live(60)

    assert world.clock.offset_ms is None
    assert world.clock.state is ClockState.IN_QUESTION
    assert world.events() == [ClockEvent.IN_QUESTION]
    assert "`fluxcap reload`" in world.clock.reason
    assert "`fluxcap clock trust wall`" in world.clock.reason


def test_once_the_wall_clock_agrees_the_question_is_over() -> None:
    world = Witnessed(ClockPrior(7_200_000), wall_error_ms=HOUR_MS)
    world.live(10)

    world.wall_error_ms = 0
    world.live(1)

    assert world.clock.offset_ms == 7_200_000


def test_a_header_ends_the_question() -> None:
    world = Witnessed(ClockPrior(7_200_000), wall_error_ms=HOUR_MS)
    world.live(10)

    world.date()
    world.live(1)

    assert world.clock.offset_ms == 7_200_000
    assert world.clock.basis is ClockBasis.PLATFORM


def test_a_header_outweighs_the_offset_of_earlier_runs() -> None:
    world = Witnessed(ClockPrior(10_800_000), wall_error_ms=-HOUR_MS)  # earlier runs and this clock agree, and err
    world.date()

    world.live()

    assert world.clock.offset_ms == 7_200_000


@pytest.mark.parametrize(("word", "offset_ms"), [(Trust.EARLIER, 7_200_000), (Trust.WALL, 3_600_000)])
def test_the_users_word_ends_the_question(word: Trust, offset_ms: int) -> None:
    world = Witnessed(ClockPrior(7_200_000), wall_error_ms=HOUR_MS)
    world.live(10)

    world.clock.trust(word)

    assert world.clock.offset_ms == offset_ms
    assert world.clock.basis is ClockBasis.USER
    world.live(5)
    assert not world.clock.in_question


def test_the_users_word_may_come_before_the_ticks() -> None:
    world = Witnessed(ClockPrior(7_200_000), wall_error_ms=HOUR_MS)

    world.clock.trust(Trust.EARLIER)
    world.live(5)

    assert world.clock.offset_ms == 7_200_000


def test_there_is_no_earlier_offset_to_trust_on_the_first_run() -> None:
    with pytest.raises(
        ConfigError, match=r"^No earlier run has left an offset; trust the wall clock, or reload the page\.$"
    ):
        Witnessed().clock.trust(Trust.EARLIER)


def test_nothing_is_left_to_trust_once_the_platform_has_decided() -> None:
    world = Witnessed()
    world.date()
    world.live()

    with pytest.raises(ConfigError, match=r"^The platform's own clock has decided already; nothing is in question\.$"):
        world.clock.trust(Trust.WALL)


@pytest.mark.parametrize("step_ms", [HOUR_MS, -HOUR_MS, 90_000, -90_000])
def test_a_step_of_the_wall_clock_is_told_and_moves_nothing(step_ms: int) -> None:
    world = Witnessed()
    world.live()

    world.wall_error_ms += step_ms
    told = world.live(20)

    assert all(told)
    assert world.clock.offset_ms == 7_200_000
    assert world.events().count(ClockEvent.WALL_STEPPED) == 1


def test_a_wall_clock_that_is_put_right_calls_the_offset_it_gave_in_question_and_may_be_trusted() -> None:
    world = Witnessed(wall_error_ms=HOUR_MS)
    world.live()
    world.wall_error_ms = 0
    world.live(5)
    assert world.clock.in_question
    assert ClockEvent.IN_QUESTION in world.events()

    world.clock.trust(Trust.WALL)

    assert world.clock.take_correction() == (3_600_000, 7_200_000)
    assert world.clock.basis is ClockBasis.USER
    world.live(5)
    assert not world.clock.in_question


def test_a_step_that_the_user_knows_to_be_wrong_is_put_aside() -> None:
    world = Witnessed()
    world.live()
    world.wall_error_ms = HOUR_MS
    world.live(5)

    world.clock.trust(Trust.EARLIER)
    world.live(5)

    assert world.clock.offset_ms == 7_200_000
    assert world.clock.basis is ClockBasis.USER
    assert not world.clock.in_question


@pytest.mark.parametrize("slept_ms", [900_000, 3_600_000, 1_234_567])
def test_a_sleep_is_no_step_and_the_platforms_time_from_before_it_counts_no_more(slept_ms: int) -> None:
    world = Witnessed()
    world.date()
    world.live()

    world.slept_ms += slept_ms
    world.clock.observe(world.at())
    world.live(20)

    assert ClockEvent.WALL_STEPPED not in world.events()
    assert world.clock.correction is None
    assert world.clock.offset_ms == 7_200_000
    assert not world.clock.in_question
    assert world.clock.dates.zero_ms is None


def test_a_header_right_after_a_sleep_counts() -> None:
    world = Witnessed()
    world.date()
    world.live()

    world.slept_ms += 900_000
    world.clock.observe(world.at())
    assert world.date()
    world.live(20)

    assert world.clock.correction is None
    assert world.clock.dates.zero_ms is not None


def test_a_header_from_before_a_step_still_counts_after_it() -> None:
    world = Witnessed()
    world.date()
    world.live()

    world.wall_error_ms = HOUR_MS
    world.live(5)

    assert world.clock.wall_off_ms > HOUR_MS - 2_000


@pytest.mark.parametrize("wall_error_ms", [-HOUR_MS, -900_000, -60 * HOUR_MS])
def test_a_time_before_the_newest_stored_candle_is_not_taken(wall_error_ms: int) -> None:
    world = Witnessed(ClockPrior(stored_to_ms=ZERO_MS - 30_000), wall_error_ms=wall_error_ms)

    world.live(20)

    assert world.clock.offset_ms is None
    assert "the store has candles up to" in world.clock.reason


def test_unless_the_platform_says_that_the_store_is_ahead() -> None:
    world = Witnessed(ClockPrior(stored_to_ms=ZERO_MS + HOUR_MS))
    world.date()

    world.live()

    assert world.clock.offset_ms == 7_200_000


def test_a_platform_that_changes_its_clock_is_followed_though_this_computers_is_wrong() -> None:
    world = Witnessed(wall_error_ms=5 * HOUR_MS)
    world.date()
    world.live()
    for _ in range(30):
        world.mono_ms += 500
        raw_ms = world.utc_ms - 750 + 10_800_000
        if not world.clock.accept(raw_ms, world.at(), world.heard):
            world.clock.add_sample(raw_ms, world.at())
        assert world.clock.offset_ms is not None

    assert world.clock.offset_ms == 10_800_000
    assert world.clock.changes == 1


@pytest.mark.parametrize(
    ("prior", "words"),
    [
        (ClockPrior(), "+2 h from UTC, by this computer's clock alone; removed."),
        (ClockPrior(7_200_000), "+2 h from UTC, as in earlier runs; removed."),
    ],
)
def test_what_the_offset_stands_on_is_told(prior: ClockPrior, words: str) -> None:
    world = Witnessed(prior)
    world.live()
    assert world.clock.reason == f"The platform stamps ticks {words}"

    world.date()
    world.live(0.5)
    assert world.clock.reason == "The platform stamps ticks +2 h from UTC; removed."


def test_a_clock_at_the_edge_of_wrong_is_not_told_over_and_over() -> None:
    world = Witnessed(wall_error_ms=3_700)
    world.date()
    world.live(5)
    assert world.events().count(ClockEvent.WALL_WRONG) == 1

    for wall_error_ms in (2_500, 3_700, 2_500, 3_700):
        world.wall_error_ms = wall_error_ms
        world.live(5)

    assert world.events().count(ClockEvent.WALL_WRONG) == 1
    assert ClockEvent.WALL_RIGHT not in world.events()


def test_before_any_tick_a_header_alone_shows_a_wrong_clock() -> None:
    world = Witnessed(wall_error_ms=HOUR_MS)
    world.date()

    world.mono_ms += 500
    world.clock.observe(world.at())

    assert world.clock.in_question
    assert abs(world.clock.wall_off_ms - HOUR_MS) <= 1_000


@pytest.mark.parametrize(
    ("wall_error_ms", "wrong"), [(-31_000, False), (-33_000, True), (32_000, False), (34_000, True)]
)
def test_before_any_tick_it_may_be_half_a_minute_more(wall_error_ms: int, wrong: bool) -> None:
    world = Witnessed(wall_error_ms=wall_error_ms)
    world.date()

    world.clock.observe(world.at())

    assert world.clock.in_question is wrong


@pytest.mark.parametrize(("wall_error_ms", "wrong"), [(-2_000, False), (-2_001, True), (3_000, False), (3_001, True)])
def test_a_clock_is_wrong_from_two_seconds_behind_and_three_ahead_of_the_platforms_ticks(
    wall_error_ms: int, wrong: bool
) -> None:
    world = Witnessed()
    world.date()
    world.live(5, lag_ms=0)

    world.wall_error_ms = wall_error_ms
    world.clock.observe(world.at())
    world.date()
    world.live(0.5, lag_ms=0)
    world.date()
    world.clock.observe(world.at())

    assert world.clock.in_question is wrong


def test_a_clock_that_was_wrong_is_right_again_within_one_second() -> None:
    world = Witnessed(wall_error_ms=-3_000)
    world.date()
    world.live(5, lag_ms=0)
    assert world.clock.in_question

    world.wall_error_ms = -1_100
    world.live(1, lag_ms=0)
    assert world.clock.in_question

    world.wall_error_ms = -900
    world.live(1, lag_ms=0)
    assert not world.clock.in_question


@pytest.mark.parametrize(("wall_error_ms", "wrong"), [(-3_900, False), (-4_100, True)])
def test_hours_after_a_header_two_quartzes_may_have_parted(wall_error_ms: int, wrong: bool) -> None:
    world = Witnessed()
    world.date()
    world.live(5, lag_ms=0)

    world.mono_ms += 20_000_000  # at a ten thousandth they part by two seconds
    world.live(1, lag_ms=0)
    world.wall_error_ms = wall_error_ms
    world.live(1, lag_ms=0)

    assert world.clock.in_question is wrong


def happened(world: Witnessed, event: ClockEvent) -> list[dict[str, object]]:
    return [told for kind, told in world.clock.events if kind is event]


def test_events_say_by_how_many_seconds() -> None:
    world = Witnessed(wall_error_ms=HOUR_MS)
    world.date()
    world.live(5, lag_ms=0)
    world.wall_error_ms = 0
    world.live(5, lag_ms=0)
    world.wall_error_ms = 90_000
    world.live(5, lag_ms=0)

    assert happened(world, ClockEvent.WALL_STEPPED) == [{"seconds": -3_600.0}, {"seconds": 90.0}]
    assert happened(world, ClockEvent.WALL_WRONG) == [{"seconds": 3_600.0}, {"seconds": 90.0}]
    assert happened(world, ClockEvent.WALL_RIGHT) == [{}]


def test_two_steps_before_the_next_tick_are_one() -> None:
    world = Witnessed()
    world.live()

    for _ in range(2):
        world.wall_error_ms += 45_000
        world.clock.observe(world.at())
    world.live(1)

    assert happened(world, ClockEvent.WALL_STEPPED) == [{"seconds": 90.0}]


@pytest.mark.parametrize(("step_ms", "told"), [(-2_000, []), (-2_001, [{"seconds": -2.001}])])
def test_a_step_is_more_than_two_seconds(step_ms: int, told: list[dict[str, object]]) -> None:
    world = Witnessed()
    world.live()

    world.wall_error_ms = step_ms
    world.live(1)

    assert happened(world, ClockEvent.WALL_STEPPED) == told


def test_a_change_of_the_clock_that_the_offset_stands_on_is_told_once_with_what_it_means() -> None:
    world = Witnessed()
    world.live()

    world.wall_error_ms = -HOUR_MS
    world.live(20)

    (told,) = happened(world, ClockEvent.IN_QUESTION)
    assert list(told) == ["reason"]
    assert "was changed since; by the new time it is +3 h away." in str(told["reason"])


def test_a_correction_is_told_with_both_offsets() -> None:
    world = Witnessed(wall_error_ms=HOUR_MS)
    world.live()
    world.date()
    world.live(4)

    world.clock.take_correction()

    told = {"was_h": 1.0, "is_h": 2.0, "by": "the platform's own clock"}
    assert happened(world, ClockEvent.CORRECTED) == [told]


@pytest.mark.parametrize(("every_ms", "ticks"), [(100, 21), (500, 5), (1_000, 5)])
def test_five_ticks_over_two_seconds_correct_the_offset_by_a_header(every_ms: int, ticks: int) -> None:
    world = Witnessed(wall_error_ms=HOUR_MS)
    world.live()
    world.date()

    world.live((ticks - 1) * every_ms / 1_000, every_ms=every_ms)
    assert world.clock.correction is None

    world.live(every_ms / 1_000, every_ms=every_ms)
    assert world.clock.correction == (3_600_000, 7_200_000)


def test_a_late_tick_neither_confirms_nor_denies_and_the_count_begins_anew() -> None:
    world = Witnessed(wall_error_ms=HOUR_MS)
    world.live()
    world.date()
    world.live(2)

    world.live(0.5, lag_ms=20_000)
    world.live(2)
    assert world.clock.correction is None

    world.live(0.5)
    assert world.clock.correction is not None


def test_a_late_tick_after_a_header_leaves_the_next_one_to_confirm_the_offset() -> None:
    world = Witnessed()
    world.live()
    world.date()
    world.live(0.5, lag_ms=20_000)
    assert world.clock.basis is ClockBasis.WALL

    world.live(0.5)

    assert world.clock.basis is ClockBasis.PLATFORM


def test_a_header_from_before_a_step_counts_also_when_no_tick_had_come_yet() -> None:
    world = Witnessed(wall_error_ms=-47_000)
    world.date()
    world.wall_error_ms = 0
    world.clock.observe(world.at())

    world.live()

    assert world.clock.offset_ms == 7_200_000
    assert world.clock.basis is ClockBasis.PLATFORM


def test_the_users_word_is_taken_by_the_ticks_that_agree_and_not_by_noise_before_them() -> None:
    world = Witnessed(ClockPrior(7_200_000), wall_error_ms=HOUR_MS)
    world.clock.add_sample(world.utc_ms + 1_000_000, world.at())
    world.live()
    assert world.clock.state is ClockState.IN_QUESTION

    world.clock.trust(Trust.EARLIER)

    assert world.clock.offset_ms == 7_200_000


@pytest.mark.parametrize(
    ("wall_error_ms", "fits"), [(29_250, True), (29_251, False), (-30_750, True), (-30_751, False)]
)
def test_a_clock_that_fits_no_quarter_hour_cannot_be_trusted(wall_error_ms: int, fits: bool) -> None:
    world = Witnessed()
    world.live()
    world.wall_error_ms = wall_error_ms
    world.live(1)

    if fits:
        world.clock.trust(Trust.WALL)
        assert world.clock.basis is ClockBasis.USER
    else:
        with pytest.raises(ConfigError, match=r"^This computer's clock fits no quarter of an hour: set it first\.$"):
            world.clock.trust(Trust.WALL)


def test_the_question_tells_the_times_to_the_minute() -> None:
    stored_to_ms = ZERO_MS // 86_400_000 * 86_400_000 + 23 * HOUR_MS + 59 * 60_000
    world = Witnessed(ClockPrior(stored_to_ms=stored_to_ms + 86_400_000))
    world.live()

    assert "but the store has candles up to 23:59Z." in world.clock.question


@pytest.mark.parametrize("offset_ms", [7_200_000, 0])
def test_a_computer_whose_clocks_both_stood_still_keeps_the_offset_and_what_it_stands_on(offset_ms: int) -> None:
    world = Witnessed()
    world.offset_ms = offset_ms
    world.live()

    world.slept_ms += 20_000
    world.wall_error_ms -= 20_000
    world.live(15)

    assert world.clock.offset_ms == offset_ms
    assert world.clock.basis is ClockBasis.WALL
    assert world.clock.synchronised


@pytest.mark.parametrize(("wall_error_ms", "followed"), [(29_250, True), (29_251, False)])
def test_a_change_of_the_platforms_clock_is_followed_by_a_clock_half_a_minute_off(
    wall_error_ms: int, followed: bool
) -> None:
    world = Witnessed()
    world.live()
    world.wall_error_ms = wall_error_ms
    world.live(1)

    world.offset_ms += HOUR_MS
    world.heard = 0
    world.live(15)

    assert (world.clock.offset_ms == 10_800_000) is followed
    assert (world.clock.state is ClockState.AMBIGUOUS) is not followed
