"""Run tests in so many processes, each taking the next file when it is free, and say together what came of them.

``python -m tests.support.side_by_side 2 tests/unit tests/property -- -m 'not slow'``: pytest gets the rest. What is
named there of the tests (``tests/unit/…``) runs in place of the folders. With 0 processes it is one pytest, and so it
is for an option that asks something of all tests together or of a person (``--last-failed``, ``--pdb``).

pytest-xdist would have each worker collect all tests, and one more process take in every report: with thousands of
tests that is a tenth of the whole, a quarter with those that take a few milliseconds each. Here a process collects the
file that it takes and no other. The longest file is taken first, by what schedule.py has kept. A file is one piece of
work, since its tests may share a browser or a daemon.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import pytest

from tests.support.paths import ROOT
from tests.support.schedule import estimate_s, read_durations, write_durations

TOGETHER = "tests/unit/rules/"
"""Files that are one piece of work, since a process parses all modules once for them."""
NOTHING_TO_RUN = 5
"""pytest's exit code when none of its tests was asked for."""
LAST_FAILED = ROOT / ".pytest_cache/v/cache/lastfailed"
ALONE = ("--lf", "--last-failed", "--ff", "--failed-first", "--pdb", "--trace", "-s", "--collect-only", "--co")
"""Options of one pytest that has all tests and the terminal."""


def pieces(files: Iterable[str], seconds_of: Mapping[str, float]) -> list[list[str]]:
    """Pieces of work, the longest first."""
    groups: dict[str, list[str]] = {}
    for file in sorted(files):
        groups.setdefault(TOGETHER if file.startswith(TOGETHER) else file, []).append(file)
    return sorted(groups.values(), key=lambda group: -sum(estimate_s(file, seconds_of) for file in group))


def worst(codes: Sequence[int]) -> int:
    """Return the exit code of all: a hand that had nothing to run is none that failed, unless none had."""
    failed = [code for code in codes if code not in (0, NOTHING_TO_RUN)]  # a process that was killed has a negative one
    return failed[0] if failed else 0 if 0 in codes else NOTHING_TO_RUN


class Table:
    """Where the work lies: hands take from it and tell what came of what they had."""

    def __init__(self, work: Sequence[Sequence[str]]) -> None:
        self.counts: Counter[str] = Counter()
        self.failed: list[str] = []
        self.seconds: Counter[str] = Counter()
        self.left = list(work)
        self._all = len(work)
        self._lock = threading.Lock()

    def serve(self, connection: socket.socket) -> None:
        """Give one hand work until there is none, or the hand is gone."""
        held: Sequence[str] = ()
        with connection, connection.makefile("rw", encoding="utf-8") as hand:
            for line in hand:
                with self._lock:
                    self._note(held, json.loads(line))
                    held = self.left.pop(0) if self.left else ()
                hand.write(json.dumps(held) + "\n")
                hand.flush()
                if not held:
                    return
        if held:
            with self._lock:
                print(f"A process ended amid {' '.join(held)}", flush=True)
                self.failed += held

    def clear(self) -> None:
        """Leave nothing to anybody."""
        with self._lock:
            self.left.clear()

    def _note(self, held: Sequence[str], told: Mapping[str, Any]) -> None:
        if told["stop"]:
            self.left.clear()
        self.counts.update(told["counts"])
        self.failed += told["failed"]
        self.seconds.update(told["seconds"])
        if held and told["counts"]:
            done = 100 * (self._all - len(self.left)) // self._all
            took = sum(told["seconds"].values())
            print(f"[{done:3}%] {os.path.commonpath(held)}: {words(told['counts'])} in {took:.1f} s", flush=True)
            for nodeid in told["failed"]:
                print(f"       failed: {nodeid}", flush=True)


def words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items()))


class Hand:
    """In pytest: collects and runs what it is given, piece by piece, and tells what came of it."""

    def __init__(self, connection: socket.socket) -> None:
        self._table: IO[str] = connection.makefile("rw", encoding="utf-8")
        self._begun = False
        self._forget()

    def _forget(self) -> None:
        self._counts: Counter[str] = Counter()
        self._failed: list[str] = []
        self._seconds: Counter[str] = Counter()

    def _take(self, *, stop: bool = False) -> list[str]:
        told = {"counts": self._counts, "failed": self._failed, "seconds": self._seconds, "stop": stop}
        self._table.write(json.dumps(told) + "\n")
        self._table.flush()
        self._forget()
        return list(json.loads(self._table.readline() or "[]"))

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> bool | None:
        """Nothing yet: each piece is collected when it is taken."""
        return None if self._begun else True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._begun = True
        number = 0
        while files := self._take():
            session.config.args = files
            session.config.hook.pytest_collection(session=session)
            number += len(session.items)
            for item, following in zip(session.items, [*session.items[1:], None], strict=False):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if session.shouldfail or session.shouldstop:
                    self._take(stop=True)
                    raise session.Failed(session.shouldfail or session.shouldstop)
        session.testscollected = number
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self) -> Iterator[Any]:
        """The table shows what comes; a hand has no line of dots."""
        outcome, _, word = yield
        return outcome, "", word

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid.partition("::")[0]] += report.duration  # type: ignore[assignment]
        if report.failed:
            self._counts["failed" if report.when == "call" else "error"] += 1
            self._failed.append(report.nodeid)
        elif report.skipped or report.when == "call":
            self._counts["xfailed" if hasattr(report, "wasxfail") else report.outcome] += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._counts["error"] += 1
            self._failed.append(report.nodeid)
        elif report.skipped:
            self._counts["skipped"] += 1


def run(hands: int, work: Sequence[Sequence[str]], options: Sequence[str], beside: Sequence[Sequence[str]] = ()) -> int:
    """Run the work in so many processes, say what came of it, and return the exit code of all.

    ``beside``: commands that run at the same time, and must end well, too.
    """
    begin_s = time.monotonic()
    table = Table(work)
    quiet = ("-q", "-o", "console_output_style=classic", "-p", "no:cacheprovider")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        outputs: list[Path] = []
        processes: list[subprocess.Popen[bytes]] = []
        threads: list[threading.Thread] = []

        def start(command: Sequence[str], *handed: int) -> None:
            outputs.append(folder / str(len(outputs)))
            with outputs[-1].open("wb") as output:
                processes.append(
                    subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, pass_fds=handed)
                )

        for command in beside:
            start(command)
        for _ in range(min(hands, len(work))):
            ours, theirs = socket.socketpair()
            with theirs:
                number = theirs.fileno()
                start([sys.executable, "-m", "pytest", "tests", *quiet, *options, "--hand", str(number)], number)
            threads.append(threading.Thread(target=table.serve, args=(ours,), daemon=True))
            threads[-1].start()
        try:
            codes = [process.wait() for process in processes]
        except KeyboardInterrupt:  # which they have had, too, though what they were amid may have kept it from them
            table.clear()
            codes = [*(process.wait() for process in processes), 130]
        for thread in threads:
            thread.join(1)
        for output in outputs:
            sys.stdout.write(output.read_text(encoding="utf-8", errors="replace"))
    LAST_FAILED.parent.mkdir(parents=True, exist_ok=True)
    LAST_FAILED.write_text(json.dumps(dict.fromkeys(table.failed, True), indent=2))
    code = worst(codes[len(beside) :])
    if "--record-durations" in options and code in (0, 1):  # not one that was interrupted
        write_durations(table.seconds)
    print(f"{words(table.counts) or 'nothing to run'} in {time.monotonic() - begin_s:.2f}s")
    return worst([code, *codes[: len(beside)]]) if beside else code


def main() -> None:
    split = sys.argv.index("--")
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("hands", type=int)
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--beside", action="append", default=[], help="a command that runs at the same time")
    asked = parser.parse_args(sys.argv[1:split])
    options = sys.argv[split + 1 :]
    named = [o for o in options if o.startswith("tests") and (ROOT / o.partition("::")[0]).exists()]
    options = [option for option in options if option not in named]
    where = named or asked.folders
    beside = [shlex.split(command) for command in asked.beside]
    if asked.hands == 0 or any(option.startswith(ALONE) for option in options):
        codes = [subprocess.run(command, cwd=ROOT).returncode for command in beside]
        codes.append(subprocess.run([sys.executable, "-m", "pytest", *options, *where], cwd=ROOT).returncode)
        sys.exit(worst(codes))
    files = [file.relative_to(ROOT).as_posix() for folder in where for file in (ROOT / folder).rglob("test_*.py")] + [
        one for one in where if not (ROOT / one).is_dir()
    ]
    sys.exit(run(asked.hands, pieces(files, read_durations()), options, beside))


if __name__ == "__main__":
    main()
