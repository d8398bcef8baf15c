"""Signals that ask a command to leave."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from fluxcap.capture.runtime.signals import HangUp, catch_stop_signals, exit_code, hang_up_as, interrupt_on_hang_up

STOPPING = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


@pytest.fixture(autouse=True)
def _handlers_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in STOPPING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code"), list(zip(STOPPING, (0, 130, 0), strict=True)))
def test_a_signal_is_noted_and_afterwards_means_what_it_did(number: signal.Signals, code: int) -> None:
    before = [signal.getsignal(each) for each in STOPPING]

    with catch_stop_signals() as asked:
        os.kill(os.getpid(), number)

    assert (asked, exit_code(asked)) == ([number], code)
    assert [signal.getsignal(each) for each in STOPPING] == before


def test_a_hang_up_that_was_ignored_at_the_start_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does

    interrupt_on_hang_up()
    with catch_stop_signals() as asked, hang_up_as(signal.SIGTERM):
        os.kill(os.getpid(), signal.SIGHUP)

    assert asked == []
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_command_that_notes_no_signals_is_interrupted_by_a_hang_up() -> None:
    interrupt_on_hang_up()

    with pytest.raises(HangUp):
        os.kill(os.getpid(), signal.SIGHUP)


def test_for_a_server_that_knows_only_another_signal_a_hang_up_is_that() -> None:
    with catch_stop_signals() as asked, hang_up_as(signal.SIGTERM):
        os.kill(os.getpid(), signal.SIGHUP)

    assert asked == [signal.SIGTERM]
