"""Runs a daemon in the foreground until it is told to stop: SIGTERM, Ctrl-C, or its pipeline's failure."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType

from capture import log
from capture.daemon import Daemon
from capture.settings import Settings


def run_daemon(settings: Settings, *, debug: bool = False) -> int:
    """Exit code: 0 after a stop asked for, 1 when the daemon failed."""
    log.set_up(as_json=settings.log_json, level=logging.DEBUG if debug else logging.INFO)
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with Daemon(settings) as daemon:
            while not stop.wait(0.2):
                if not daemon.pipeline.alive:
                    break
        return 1 if daemon.pipeline.failure is not None else 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
