"""tests/support/schedule: what takes longest begins first, and nothing waits behind it."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.support.schedule import LongestFirst, longest_first, read_durations, write_durations


class Worker:
    """What the scheduler knows of one."""

    shutting_down = False
    gateway = SimpleNamespace(id="any")

    def __init__(self, collection: list[str]) -> None:
        self._collection = collection
        self.given: list[str] = []

    def send_runtest_some(self, numbers: list[int]) -> None:
        self.given += [self._collection[number] for number in numbers]

    def shutdown(self) -> None:
        self.shutting_down = True


def scheduled(*nodeids: str, workers: int) -> tuple[Any, list[Worker]]:
    """A scheduler that has begun on these tests, and its workers."""
    scheduler: Any = LongestFirst.__new__(LongestFirst)
    made = [Worker(list(nodeids)) for _ in range(workers)]
    scheduler.config = SimpleNamespace(option=SimpleNamespace(loadscopereorder=False))
    scheduler.numnodes, scheduler.collection, scheduler.workqueue = workers, None, OrderedDict()
    scheduler.assigned_work = {worker: {} for worker in made}
    scheduler.registered_collections = {worker: list(nodeids) for worker in made}
    scheduler.log = lambda *_: None
    scheduler.schedule()
    return scheduler, made


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


def test_behind_the_only_test_of_a_file_waits_a_short_one():
    _, (one, two) = scheduled("long", "longer_still::a", "longer_still::b", "middle::a", "short::a", workers=2)

    assert one.given == ["long", "short::a"]
    assert two.given == ["longer_still::a", "longer_still::b"]


def test_the_next_file_is_given_out_when_one_test_is_left():
    scheduler, (worker,) = scheduled("a::1", "a::2", "a::3", "b::1", "b::2", workers=1)

    scheduler.mark_test_complete(worker, 0)
    early = list(worker.given)
    scheduler.mark_test_complete(worker, 1)

    assert early == ["a::1", "a::2", "a::3"]
    assert worker.given == ["a::1", "a::2", "a::3", "b::1", "b::2"]


def test_a_worker_ends_when_nothing_is_left():
    scheduler, (worker,) = scheduled("a::1", "a::2", workers=1)

    scheduler.mark_test_complete(worker, 0)

    assert worker.shutting_down
