"""tests/support/side_by_side: whoever is free takes the next file, and one process that fails is all that counts."""

from __future__ import annotations

import json
import socket
import sys
import threading
from pathlib import Path

import pytest

from tests.support import side_by_side
from tests.support.side_by_side import NOTHING_TO_RUN, TOGETHER, Table, pieces, run, words, worst
from tests.support.systems import not_on_windows

NOTHING = {"counts": {}, "failed": [], "seconds": {}, "stop": False}


class Taker:
    """The other end of a table's connection."""

    def __init__(self, table: Table) -> None:
        self.ours, theirs = socket.socketpair()
        self._file = self.ours.makefile("rw", encoding="utf-8")
        self._thread = threading.Thread(target=table.serve, args=(theirs,))
        self._thread.start()

    def take(self, **told: object) -> list[str]:
        self._file.write(json.dumps(NOTHING | told) + "\n")
        self._file.flush()
        return list(json.loads(self._file.readline()))

    def leave(self) -> None:
        self._file.close()
        self.ours.close()
        self._thread.join()


def test_in_whatever_order_files_are_found_the_longest_is_taken_first():
    seconds_of = {"tests/unit/c.py": 2.0, "tests/unit/a.py": 9.0}
    files = ["tests/unit/b.py", *seconds_of]

    work = [["tests/unit/a.py"], ["tests/unit/c.py"], ["tests/unit/b.py"]]
    assert pieces(files, seconds_of) == pieces(files[::-1], seconds_of) == work


def test_what_parses_all_modules_is_one_piece():
    rules = [f"{TOGETHER}test_{letter}.py" for letter in "abc"]

    work = pieces([*rules, "tests/unit/d.py"], dict.fromkeys(rules, 1.0) | {"tests/unit/d.py": 2.0})

    assert work == [rules, ["tests/unit/d.py"]]


def test_each_piece_is_taken_once_by_whoever_is_free(capsys: pytest.CaptureFixture[str]):
    table = Table([["a"], ["b"], ["c"]])
    quick, slow = Taker(table), Taker(table)

    taken = [slow.take(), quick.take(), quick.take(counts={"passed": 2}, seconds={"b": 0.5}), quick.take()]
    slow.leave()
    quick.leave()

    assert taken == [["a"], ["b"], ["c"], []]
    assert table.counts == {"passed": 2}
    assert table.seconds == {"b": 0.5}
    assert "b: 2 passed in 0.5 s" in capsys.readouterr().out


def test_what_a_process_had_when_it_died_has_failed_and_the_others_go_on(capsys: pytest.CaptureFixture[str]):
    table = Table([["a"], ["b"]])
    dying, other = Taker(table), Taker(table)

    assert dying.take() == ["a"]
    dying.leave()

    assert [other.take(), other.take()] == [["b"], []]
    other.leave()
    assert table.failed == ["a"]
    assert "amid a" in capsys.readouterr().out


def test_one_that_is_told_to_stop_at_a_failure_leaves_nothing_to_the_others():
    table = Table([["a"], ["b"], ["c"]])
    one, other = Taker(table), Taker(table)

    assert [one.take(), other.take()] == [["a"], ["b"]]
    assert one.take(stop=True, failed=["a::x"], counts={"failed": 1}) == []

    assert other.take() == []
    one.leave()
    other.leave()
    assert table.failed == ["a::x"]


@not_on_windows("a socket is not handed to a process there as a file is; its tests run by pytest-xdist")
def test_tests_that_pass_fail_are_skipped_and_cannot_be_read_are_told_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """The one that fails is known to --last-failed afterwards, and a piece that has nothing to run is not told."""
    last_failed, kept = tmp_path / "lastfailed", dict[str, float]()
    monkeypatch.setattr(side_by_side, "LAST_FAILED", last_failed)
    monkeypatch.setattr(side_by_side, "write_durations", kept.update)
    body = {
        "some": """
import pytest
def test_a(): pass
def test_b(): assert not 'seen'
def test_c(): pytest.skip('not now')
""",
        "broken": "import nothing_of_that_name\n",
        "other": "import pytest\npytestmark = pytest.mark.long\ndef test_d(): pass\n",
    }
    for name, text in body.items():
        (tmp_path / f"test_{name}.py").write_text(text)

    work = [[str(tmp_path / f"test_{name}.py")] for name in body]
    code = run(2, work, ["--rootdir", str(tmp_path), "-m", "not long", "--record-durations"])

    said = capfd.readouterr().out
    assert code == 1, said
    assert "assert not 'seen'" in said
    assert "not now" in said
    assert "1 error, 1 failed, 1 passed, 1 skipped in " in said.splitlines()[-1]
    assert sorted(json.loads(last_failed.read_text())) == ["test_broken.py", "test_some.py::test_b"]
    assert list(kept) == ["test_some.py"]


def test_what_runs_beside_must_end_well_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(side_by_side, "LAST_FAILED", tmp_path / "lastfailed")
    beside = [[sys.executable, "-c", f"print('told'); raise SystemExit({code})"] for code in (0, 3)]

    assert [run(1, [], [], [command]) for command in beside] == [0, 3]

    assert capfd.readouterr().out.count("told") == 2


def test_counts_are_told_in_words():
    assert words({"passed": 3, "failed": 1}) == "1 failed, 3 passed"


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([0, 0], 0),
        ([0, 1], 1),
        ([0, NOTHING_TO_RUN], 0),
        ([NOTHING_TO_RUN] * 2, NOTHING_TO_RUN),
        ([1, NOTHING_TO_RUN], 1),
        ([0, -9], -9),
    ],
)
def test_one_process_that_fails_fails_all_and_one_with_nothing_to_run_does_not(codes: list[int], code: int):
    assert worst(codes) == code
