"""SIGTERM, SIGHUP and Ctrl-C noted rather than obeyed, for commands that leave in order. It needs nothing of ours.

SIGHUP comes when a terminal or an SSH connection is closed. Where it was ignored at the start (``nohup``), it stays so.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

HANG_UP_EXIT_CODE = 129


class HangUp(KeyboardInterrupt):
    """The terminal was closed. Ends a command as Ctrl-C does, but for its exit code."""


@contextmanager
def catch_stop_signals(*, second_interrupts: bool = False) -> Iterator[list[int]]:
    """SIGTERM, SIGHUP and SIGINT are only noted while held; gives the list they are noted in.

    ``second_interrupts``: whoever asks twice gets KeyboardInterrupt at once.
    """
    asked: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        if second_interrupts and len(asked) > 1:
            raise KeyboardInterrupt

    numbers = [signal.SIGTERM, signal.SIGINT, *_hang_up()]
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def hang_up_as(number: signal.Signals) -> Iterator[None]:
    """SIGHUP means another signal while held: for servers that know only that."""

    def pass_on(_number: int, _frame: FrameType | None) -> None:
        signal.raise_signal(number)

    before = {found: signal.signal(found, pass_on) for found in _hang_up()}
    try:
        yield
    finally:
        for found, handler in before.items():
            signal.signal(found, handler)


def interrupt_on_hang_up() -> None:
    """From now on SIGHUP raises HangUp in the main thread, so that commands clean up."""

    def on_hang_up(_number: int, _frame: FrameType | None) -> None:
        raise HangUp

    for number in _hang_up():
        signal.signal(number, on_hang_up)


def _hang_up() -> list[signal.Signals]:
    """SIGHUP, where there is one and it is not ignored."""
    number = getattr(signal, "SIGHUP", None)
    return [] if number is None or signal.getsignal(number) is signal.SIG_IGN else [number]


def exit_code(asked: Sequence[int]) -> int:
    """130 when Ctrl-C came first, else 0."""
    return 130 if asked[:1] == [signal.SIGINT] else 0
