"""What the daemons cost: memory and processor time, sampled from /proc for as long as the storm lasts."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

EVERY_S = 2.0
HICCUP_S = 1.0
"""Waking up so much late means that the whole machine had no time: silence is then nobody's fault."""
MOST_POINTS = 400
_MB = 1024 * 1024


class Sample(NamedTuple):
    """One look at one process."""

    at_s: float
    rss_bytes: int
    cpu_s: float


class Memory(NamedTuple):
    """The longest life of a lane's daemon. ``slope_mb_h`` None: too short to tell."""

    life_s: float
    first_mb: float
    last_mb: float
    slope_mb_h: float | None
    cpu_share: float


class Gauge:
    """``pids``: the processes to look at now, by name. ``hiccups``: when the machine itself stood still, epoch s."""

    def __init__(self, pids: Callable[[], dict[str, int]]) -> None:
        self._pids = pids
        self.samples: dict[tuple[str, int], list[Sample]] = {}
        self.hiccups: list[tuple[float, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gauge")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            before_s = time.time()
            if self._stop.wait(EVERY_S):
                return
            if time.time() - before_s > EVERY_S + HICCUP_S:
                self.hiccups.append((before_s, time.time()))
            for name, pid in self._pids().items():
                sample = look_at(pid)
                if sample is not None:
                    self.samples.setdefault((name, pid), []).append(sample)

    def memory(self, name: str, warm_up_s: float) -> Memory | None:
        """Of the longest life under a name, its first ``warm_up_s`` left out of the slope."""
        lives = [samples for (its_name, _), samples in self.samples.items() if its_name == name]
        if not lives:
            return None
        life = max(lives, key=len)
        length_s = life[-1].at_s - life[0].at_s
        warm = [sample for sample in life if sample.at_s - life[0].at_s >= warm_up_s]
        slope = slope_mb_h(warm) if length_s >= 3 * warm_up_s else None
        cpu = (life[-1].cpu_s - life[0].cpu_s) / length_s if length_s else 0.0
        first = warm[0] if slope is not None else life[0]
        return Memory(length_s, first.rss_bytes / _MB, life[-1].rss_bytes / _MB, slope, cpu)


def look_at(pid: int) -> Sample | None:
    """None for a process that is gone, or nobody's yet."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    rss_bytes = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return Sample(time.time(), rss_bytes, cpu_s) if rss_bytes else None


def slope_mb_h(samples: Sequence[Sample]) -> float | None:
    """The median of the slopes between all pairs (Theil and Sen): a few jumps do not bend it."""
    points = samples[:: max(1, len(samples) // MOST_POINTS)]
    slopes = [
        (later.rss_bytes - earlier.rss_bytes) / _MB / (later.at_s - earlier.at_s) * 3_600
        for number, earlier in enumerate(points)
        for later in points[number + 1 :]
    ]
    return statistics.median(slopes) if slopes else None
