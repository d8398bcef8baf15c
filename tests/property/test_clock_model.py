"""No story of deliveries, clocks and garbage leads to a wrong offset."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.capture.market.clock import PlatformClock

UTC_0_MS = 1_760_000_000_000

acts = st.one_of(
    st.tuples(st.just("live"), st.integers(1, 30)),
    st.tuples(st.just("slow"), st.integers(0, 20_000)),
    st.tuples(st.just("backlog"), st.integers(1, 800)),
    st.tuples(st.just("garbage"), st.integers(-5_000_000, 5_000_000)),
    st.tuples(st.just("wall"), st.sampled_from([-3_600_000, -777_000, -100_000, -20_000, 20_000, 250_000, 3_600_000])),
    st.tuples(st.just("sleep"), st.integers(1_000, 7_200_000)),
    st.tuples(st.just("step"), st.sampled_from([-3_600_000, 3_600_000, 1_800_000])),
)


class World:
    """A platform, a network and a computer, with their clocks."""

    def __init__(self, offset_ms: int) -> None:
        self.clock = PlatformClock()
        self.offset_ms = offset_ms
        self.known = {offset_ms}
        self.lag_ms = 700
        self.mono_ms = 5_000_000
        self.utc_ms = UTC_0_MS
        self.wall_error_ms = 0
        self.heard = 0

    def pass_ms(self, ms: int, *, asleep: bool = False) -> None:
        self.utc_ms += ms
        self.mono_ms += 0 if asleep else ms

    def arrive(self, raw_ts_ms: int, drained: bool = True) -> None:
        at = ArrivalTime.from_ms(self.utc_ms + self.wall_error_ms, self.mono_ms)
        settled = False
        accepted = self.clock.accept(raw_ts_ms, at, self.heard)
        if not accepted and drained:
            settled = self.clock.add_sample(raw_ts_ms, at)
        if accepted or settled:
            self.heard = raw_ts_ms
            assert self.clock.offset_ms in self.known

    def live(self, seconds: int) -> None:
        for at in range(seconds * 2):
            self.pass_ms(500)
            self.arrive(self.utc_ms - self.lag_ms - (at * 7919 % 400) + self.offset_ms)

    def play(self, act: str, size: int) -> None:
        if act == "live":
            self.live(size)
        elif act == "slow":
            self.lag_ms = 700 + size
        elif act == "backlog":
            first_ms = self.utc_ms
            self.pass_ms(size * 500)
            for at in range(size):
                self.arrive(first_ms + at * 500 + self.offset_ms, drained=at % 3 == 0)
        elif act == "garbage":
            self.pass_ms(300)
            self.arrive(self.utc_ms + self.offset_ms + size)
        elif act == "wall":
            # Wrong by whole quarters of an hour while nothing is known yet cannot be noticed by anybody.
            if self.clock.offset_ms is not None or abs(size) % 3_600_000 != 0:
                self.wall_error_ms = size
        elif act == "sleep":
            self.pass_ms(size, asleep=True)
        elif act == "step" and not self.wall_error_ms:
            self.offset_ms += size
            self.known.add(self.offset_ms)


@settings(deadline=None)
@given(
    st.sampled_from([7_200_000, 10_800_000, 0, 20_700_000, -12_600_000]),
    st.lists(acts, max_size=14),
)
def test_a_wrong_offset_is_never_published(offset_ms: int, story: list[tuple[str, int]]) -> None:
    world = World(offset_ms)
    for act, size in story:
        world.play(act, size)

    assert world.clock.offset_ms in {None, *world.known}


@settings(deadline=None)
@given(
    st.sampled_from([7_200_000, 10_800_000, 19_800_000]),
    st.lists(acts.filter(lambda act: act[0] in ("live", "backlog", "garbage", "step", "slow")), max_size=10),
)
def test_once_all_is_well_again_the_offset_is_the_true_one(offset_ms: int, story: list[tuple[str, int]]) -> None:
    world = World(offset_ms)
    for act, size in story:
        world.play(act, size)

    world.lag_ms = 700
    world.live(40)

    assert world.clock.offset_ms == world.offset_ms
    assert world.clock.synchronised


@given(st.lists(st.tuples(st.integers(-(2**62), 2**62), st.integers(0, 2**53), st.integers(0, 2**53)), max_size=60))
def test_any_numbers_do_no_harm(sights: list[tuple[int, int, int]]) -> None:
    clock = PlatformClock()
    for raw_ts_ms, wall_ms, mono_ms in sights:
        if not clock.accept(raw_ts_ms, ArrivalTime.from_ms(wall_ms, mono_ms)):
            clock.add_sample(raw_ts_ms, ArrivalTime.from_ms(wall_ms, mono_ms))
        clock.now_ms(mono_ms)
        assert clock.reason
        assert len(clock._estimates) <= 4
