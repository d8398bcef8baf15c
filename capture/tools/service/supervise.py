"""Starts the daemon, and again when it fails: what the scheduled task of Windows runs.

The Task Scheduler starts a program at log-on, but a program that ends with an error is for it one that has ended.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from fluxcap.capture.tools.service.texts import WRONG_USE

WAITS_S = (5.0, 10.0, 30.0, 60.0)
"""Before the first, the second … start again in a row; the last one for all that follow."""
STEADY_S = 600.0
"""Having run so long, a failure is the first again."""
_IN_ORDER = (0, WRONG_USE, 130)
"""Exit codes after which it is not started again: stopped, wrong use, Ctrl-C."""


def supervise(
    start: Callable[[], int],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Run ``start``, which returns the daemon's exit code, until it ends in order; returns that exit code."""
    failures = 0
    while True:
        begun_s = clock()
        code = start()
        if code in _IN_ORDER:
            return code
        if clock() - begun_s >= STEADY_S:
            failures = 0
        sleep(WAITS_S[min(failures, len(WAITS_S) - 1)])
        failures += 1


def start_and_wait(arguments: Sequence[str]) -> int:
    """Run fluxcap with these arguments in a process of its own, without a window; returns its exit code."""
    return subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-P", "-m", "fluxcap.capture.cli", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    ).returncode
