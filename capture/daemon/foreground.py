"""Runs a daemon in the foreground until it is to stop: SIGTERM, SIGHUP, Ctrl-C, or its pipeline's failure."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection

from fluxcap.bridge.system.signals import catch_stop_signals, exit_code
from fluxcap.capture.daemon.daemon import Daemon
from fluxcap.capture.runtime import log
from fluxcap.capture.runtime.output import error_exit_code
from fluxcap.capture.runtime.settings import Settings
from fluxcap.schemas.errors import FluxcapError, StoreFull

POLL_S = 0.2
RETRY_S = 1.0


def run_daemon(settings: Settings, *, debug: bool = False) -> int:
    """Exit code: 0 after SIGTERM or SIGHUP, 130 after Ctrl-C, 1 when the daemon failed.

    A full disk is waited out, also by a first start. Raises what else ``Daemon`` raises, before anything runs; with a
    log of JSON or in a file it is an event, and the exit code.
    """
    log.set_up(as_json=settings.log_json, level=logging.DEBUG if debug else logging.INFO, file=settings.log_file)
    idle = threading.Event()
    with log.own_output(as_json=settings.log_json), catch_stop_signals() as asked:
        try:
            made = _daemon_once_there_is_space(settings, asked, idle)
            if made is None:
                return exit_code(asked)
            with made as daemon:
                while not asked and daemon.alive:
                    idle.wait(POLL_S)  # signal handlers run within
        except FluxcapError as error:
            if not settings.log_json and settings.log_file is None:
                raise
            log.event("daemon.start_failed", level=logging.CRITICAL, reason=str(error))
            return error_exit_code(error)
    if daemon.failure is not None:
        return 1
    return exit_code(asked)


def _daemon_once_there_is_space(settings: Settings, asked: Collection[object], idle: threading.Event) -> Daemon | None:
    """Return the daemon, made as soon as the disk has room for its store; None when it is told to stop before."""
    is_told = False
    while not asked:
        try:
            return Daemon(settings)
        except StoreFull as error:
            if not is_told:
                log.warn("store.waiting_for_space", reason=str(error))
            is_told = True
        idle.wait(RETRY_S)
    return None
