"""Runs a daemon in the foreground until it is to stop: SIGTERM, Ctrl-C, or its pipeline's failure."""

from __future__ import annotations

import logging
import threading

from fluxcap.capture.daemon.daemon import Daemon
from fluxcap.capture.runtime import log
from fluxcap.capture.runtime.settings import Settings
from fluxcap.capture.runtime.signals import catch_stop_signals, exit_code

POLL_S = 0.2


def run_daemon(settings: Settings, *, debug: bool = False) -> int:
    """Exit code: 0 after SIGTERM, 130 after Ctrl-C, 1 when the daemon failed.

    Raises what ``Daemon`` raises, before anything runs.
    """
    log.set_up(as_json=settings.log_json, level=logging.DEBUG if debug else logging.INFO)
    hook_before, threading.excepthook = threading.excepthook, _log_thread_failure
    idle = threading.Event()
    try:
        with catch_stop_signals() as asked, Daemon(settings) as daemon:
            while not asked and daemon.pipeline.alive:
                idle.wait(POLL_S)  # signal handlers run within
    finally:
        threading.excepthook = hook_before
    if daemon.pipeline.failure is not None:
        return 1
    return exit_code(asked)


def _log_thread_failure(failure: threading.ExceptHookArgs) -> None:
    log.LOGGER.critical("thread.crashed", exc_info=failure.exc_value)
