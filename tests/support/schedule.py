"""Which test file begins when: what takes longest first, so that it waits while the others are worked off.

``durations.txt`` beside ``conftest.py`` says how long each file took; ``make test PYTEST_ARGS=--record-durations``
writes it anew, and ``make check CHECK_WORKERS=1 PYTEST_ARGS=--record-durations`` that of the quick tests. It only
orders: a figure that is wrong costs time, never a test. A file is one piece of work, since its tests may share a
browser or a daemon.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from tests.support.examples import QUICK

DURATIONS = Path(__file__).parents[1] / ("durations_quick.txt" if QUICK else "durations.txt")
GUESSES = {"faults": 60.0, "integration": 10.0}
"""Seconds of a file that nobody has timed, by its folder."""
WORTH_RECORDING_S = 0.2 if QUICK else 1.0


def read_durations(path: Path = DURATIONS) -> dict[str, float]:
    """Seconds by file, such as ``tests/faults/test_privacy.py``."""
    if not path.exists():
        return {}
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines() if line)
    return {file: float(seconds) for seconds, file in lines}


def write_durations(seconds_of: Mapping[str, float], path: Path = DURATIONS) -> None:
    """Keep what takes long, the longest first."""
    longest = sorted(seconds_of.items(), key=lambda item: (-item[1], item[0]))
    lines = [f"{seconds:.3g} {file}\n" for file, seconds in longest if seconds >= WORTH_RECORDING_S]
    path.write_text("".join(lines), encoding="utf-8")


def longest_first(items: list[pytest.Item], durations: Mapping[str, float]) -> list[pytest.Item]:
    """Whole files, the longest first; within a file, and among files of one length, as they were."""

    def seconds(item: pytest.Item) -> float:
        file = file_of(item.nodeid)
        return durations.get(file, GUESSES.get(Path(file).parts[1], 0.0))

    files = dict.fromkeys(file_of(item.nodeid) for item in items)
    place = {file: number for number, file in enumerate(files)}
    return sorted(items, key=lambda item: (-seconds(item), place[file_of(item.nodeid)]))


def file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


class LongestFirst(LoadScopeScheduling):  # type: ignore[misc]
    """A file goes to whoever is free for it.

    A worker needs to know a next test before it begins the last one it has. xdist hands it the next file for that while
    three tests are left: with few long tests a file, that file waits behind them though others are idle. So a file is
    handed out with one test left, and a file of a single test gets a short one from the other end of the queue with it.
    """

    def _split_scope(self, nodeid: str) -> str:
        return file_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        alone = len(next(iter(self.workqueue.values()))) == 1
        super()._assign_work_unit(node)
        if alone and self.workqueue and self._pending_of(self.assigned_work[node]) <= 2:
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
            super()._assign_work_unit(node)

    def _reschedule(self, node: WorkerController) -> None:
        if node.shutting_down or not self.workqueue or self._pending_of(self.assigned_work[node]) <= 1:
            super()._reschedule(node)


class Recorder:
    """Times the files of a run, wherever their tests ran, and keeps them."""

    def __init__(self) -> None:
        self._seconds: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[file_of(report.nodeid)] += report.duration  # type: ignore[assignment]

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):  # not one that was interrupted
            write_durations(self._seconds)
