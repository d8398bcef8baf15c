"""Starting the daemon again when it fails, in virtual time."""

from __future__ import annotations

import pytest

from fluxcap.capture.tools.service.supervise import STEADY_S, WAITS_S, start_and_wait, supervise


class Time:
    """A clock that only sleeping and running move."""

    def __init__(self, *runs: tuple[float, int]) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []
        self._runs = iter(runs)

    def start(self) -> int:
        lasted_s, code = next(self._runs)
        self.now_s += lasted_s
        return code

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds

    def supervise(self) -> int:
        return supervise(self.start, clock=lambda: self.now_s, sleep=self.sleep)


@pytest.mark.parametrize("code", [0, 2, 130])
def test_what_ended_in_order_or_was_used_wrongly_is_not_started_again(code: int):
    time = Time((1.0, code))

    assert time.supervise() == code
    assert time.slept == []


@pytest.mark.parametrize("code", [1, -11, 0xC0000005])
def test_what_failed_or_was_killed_is_started_again(code: int):
    time = Time((1.0, code), (1.0, 0))

    assert time.supervise() == 0
    assert time.slept == [WAITS_S[0]]


def test_failures_in_a_row_are_waited_for_longer_up_to_a_minute():
    time = Time(*[(1.0, 1)] * 6, (1.0, 0))

    time.supervise()

    assert time.slept == [5.0, 10.0, 30.0, 60.0, 60.0, 60.0]


def test_a_failure_after_a_long_run_is_the_first_again():
    time = Time((1.0, 1), (1.0, 1), (STEADY_S, 1), (1.0, 0))

    time.supervise()

    assert time.slept == [5.0, 10.0, 5.0]


@pytest.mark.costly
def test_a_process_of_its_own_gives_its_exit_code():
    assert start_and_wait(["no-such-command"]) == 2
