"""tests/support/schedule: what takes longest begins first."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.support.schedule import longest_first, read_durations, write_durations


def test_whole_files_come_the_longest_first_and_unknown_ones_by_their_folder():
    nodeids = ["tests/unit/a.py::x", "tests/unit/b.py::x", "tests/unit/b.py::y", "tests/faults/c.py::x"]
    items: list[Any] = [SimpleNamespace(nodeid=nodeid) for nodeid in nodeids]

    ordered = longest_first(items, {"tests/unit/b.py": 61.0})

    assert [item.nodeid for item in ordered] == [nodeids[1], nodeids[2], nodeids[3], nodeids[0]]


def test_durations_are_kept_and_read_again(tmp_path: Path):
    write_durations({"tests/a.py": 2.4, "tests/b.py": 30.0, "tests/c.py": 0.1}, tmp_path / "durations.txt")

    assert list(read_durations(tmp_path / "durations.txt").items()) == [("tests/b.py", 30.0), ("tests/a.py", 2.4)]


def test_without_durations_there_are_none(tmp_path: Path):
    assert read_durations(tmp_path / "none.txt") == {}
