"""Runs a daemon in the foreground until it is told to stop: SIGTERM, Ctrl-C, or its pipeline's failure."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from capture import log
from capture.daemon import Daemon
from capture.settings import Settings

LOOK_S = 0.2


def run_daemon(settings: Settings, *, debug: bool = False) -> int:
    """Exit code: 0 after SIGTERM, 130 after Ctrl-C, 1 when the daemon failed.

    Raises what ``Daemon`` raises, before anything runs.
    """
    log.set_up(as_json=settings.log_json, level=logging.DEBUG if debug else logging.INFO)
    threading.excepthook = _log_thread_failure
    idle = threading.Event()
    try:
        with stop_signals() as asked, Daemon(settings) as daemon:
            while not asked and daemon.pipeline.alive:
                idle.wait(LOOK_S)  # signal handlers run within
    finally:
        threading.excepthook = threading.__excepthook__
    if daemon.pipeline.failure is not None:
        return 1
    return exit_code(asked)


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """SIGTERM and SIGINT are only noted while held; gives the list they are noted in."""
    asked: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_code(asked: Sequence[int]) -> int:
    """130 when Ctrl-C came first, else 0."""
    return 130 if asked[:1] == [signal.SIGINT] else 0


def _log_thread_failure(failure: threading.ExceptHookArgs) -> None:
    log.LOGGER.critical("thread failed", exc_info=failure.exc_value)
