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


def estimate_s(file: str, durations: Mapping[str, float]) -> float:
    """How long a file takes: as it did, else by its folder; very short ones are not listed."""
    guess = next((guess for folder, guess in GUESSES.items() if file.startswith(f"tests/{folder}/")), 0.1)
    return durations.get(file, guess)


def longest_first(items: list[pytest.Item], durations: Mapping[str, float]) -> list[pytest.Item]:
    """Whole files, the longest first; within a file, and among files of one length, as they were."""

    files = dict.fromkeys(file_of(item.nodeid) for item in items)
    place = {file: number for number, file in enumerate(files)}

    def order(item: pytest.Item) -> tuple[float, int]:
        file = file_of(item.nodeid)
        return -estimate_s(file, durations), place[file]

    return sorted(items, key=order)


def file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


class Recorder:
    """Times the files of a run, wherever their tests ran, and keeps them."""

    def __init__(self) -> None:
        self._seconds: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[file_of(report.nodeid)] += report.duration  # type: ignore[assignment]

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):  # not one that was interrupted
            write_durations(self._seconds)
