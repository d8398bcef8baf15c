"""SIGTERM and Ctrl-C noted rather than obeyed, for commands that leave in order. Light: it needs nothing of ours."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType


@contextmanager
def catch_stop_signals(*, second_interrupts: bool = False) -> Iterator[list[int]]:
    """SIGTERM and SIGINT are only noted while held; gives the list they are noted in.

    ``second_interrupts``: whoever asks twice gets KeyboardInterrupt at once.
    """
    asked: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        if second_interrupts and len(asked) > 1:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_code(asked: Sequence[int]) -> int:
    """130 when Ctrl-C came first, else 0."""
    return 130 if asked[:1] == [signal.SIGINT] else 0
