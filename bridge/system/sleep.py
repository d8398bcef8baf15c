"""Sleep of this machine: how long it has been suspended since it was started, as two of its clocks tell."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

LEAST_S = 1.0
"""A difference of the clocks of less is none: they are read one after the other."""


def asleep_s() -> float:
    """Return the seconds that this machine has slept since its start; 0.0 where no pair of clocks tells."""
    if sys.platform == "win32":
        return _asleep_on_windows_s()
    if sys.platform == "darwin":  # where the monotonic clock goes on
        return time.clock_gettime(time.CLOCK_MONOTONIC) - time.clock_gettime(time.CLOCK_UPTIME_RAW)
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    if boot_time is None:
        return 0.0
    return time.clock_gettime(boot_time) - time.clock_gettime(time.CLOCK_MONOTONIC)


class SleepWatch:
    """Notices that the machine has slept. ``asleep``: seconds of sleep since the machine's start."""

    def __init__(self, asleep: Callable[[], float] = asleep_s) -> None:
        self._asleep = asleep
        self._before_s = asleep()

    def slept_s(self) -> float:
        """Return for how many seconds it has slept since the last call; 0.0 for not at all."""
        now_s = self._asleep()
        slept_s = now_s - self._before_s
        if slept_s < LEAST_S:
            return 0.0
        self._before_s = now_s
        return slept_s


def _asleep_on_windows_s() -> float:
    if sys.platform != "win32":
        return 0.0
    import ctypes

    kernel = ctypes.WinDLL("kernel32")
    kernel.GetTickCount64.restype = ctypes.c_ulonglong
    awake = ctypes.c_ulonglong()
    if not kernel.QueryUnbiasedInterruptTime(ctypes.byref(awake)):
        return 0.0
    return float(kernel.GetTickCount64()) / 1_000 - awake.value / 1e7
