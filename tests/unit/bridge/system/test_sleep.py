"""Sleep of this machine."""

from __future__ import annotations

from fluxcap.bridge.system.sleep import LEAST_S, SleepWatch, asleep_s


def test_this_machine_has_not_slept_while_the_test_ran():
    before_s = asleep_s()

    assert abs(asleep_s() - before_s) < LEAST_S


def test_each_sleep_is_noticed_once_with_its_length():
    seconds = iter([100.0, 100.001, 460.0, 460.0, 465.5])
    watch = SleepWatch(lambda: next(seconds))

    assert [watch.slept_s() for _ in range(4)] == [0.0, 360.0, 0.0, 5.5]


def test_the_clocks_own_jitter_is_no_sleep_however_often_it_is_looked():
    watch = SleepWatch(iter([0.0, *([0.4, -0.4] * 10)]).__next__)

    assert [watch.slept_s() for _ in range(20)] == [0.0] * 20
