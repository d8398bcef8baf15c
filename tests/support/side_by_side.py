"""Run quick tests in so many processes, each with files of its own, and say together what came of them.

``python -m tests.support.side_by_side 2 tests/unit tests/property -- -m 'not slow'``: pytest gets the rest.
pytest-xdist would have each worker collect all tests, and one more process take in every report: of tests that take a
few milliseconds each, that is a quarter of the whole. Here a process collects its own files alone, and nobody waits for
another one: the files are dealt out beforehand, the longest first, by what schedule.py has kept.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.support.paths import ROOT
from tests.support.schedule import read_durations

NOT_TIMED_S = 0.1
"""Of a file that took too little to be listed, or was never timed."""
TOGETHER = "tests/unit/rules/"
"""Files that are dealt out as one, since a process parses all modules once for them."""
NOTHING_TO_RUN = 5
"""pytest's exit code when none of its tests was asked for."""


def deal(files: Iterable[str], seconds_of: Mapping[str, float], hands: int) -> list[list[str]]:
    """Deal files out so that every hand takes about as long; each keeps them in their order."""
    groups: dict[str, list[str]] = {}
    for file in sorted(files):
        groups.setdefault(TOGETHER if file.startswith(TOGETHER) else file, []).append(file)
    took = {name: sum(seconds_of.get(file, NOT_TIMED_S) for file in group) for name, group in groups.items()}
    dealt: list[list[str]] = [[] for _ in range(hands)]
    total = [0.0] * hands
    for name in sorted(groups, key=lambda name: -took[name]):
        least = total.index(min(total))
        dealt[least] += groups[name]
        total[least] += took[name]
    return [sorted(hand) for hand in dealt if hand]


def worst(codes: Sequence[int]) -> int:
    """Return the exit code of all: a hand that had nothing to run is none that failed, unless none had."""
    failed = [code for code in codes if code not in (0, NOTHING_TO_RUN)]  # a process that was killed has a negative one
    return failed[0] if failed else 0 if 0 in codes else NOTHING_TO_RUN


def run(hands: Sequence[Sequence[str]], options: Sequence[str], beside: Sequence[Sequence[str]] = ()) -> int:
    """Run each hand in a process; the first one's output is shown as it comes, the others' at the end.

    ``beside``: commands that run at the same time, and must end well, too.
    """
    commands = []
    for number, files in enumerate(hands):
        # A cache of its own, or --last-failed would know of the hand alone that ended last.
        own = ["-o", f"cache_dir=.pytest_cache/hand-{number}"]
        commands.append([sys.executable, "-m", "pytest", *own, *options, *files])
    with tempfile.TemporaryDirectory() as folder:
        outputs: list[Path] = []
        processes = []
        for number, command in enumerate([*commands, *beside]):
            if number == 0:
                processes.append(subprocess.Popen(command, cwd=ROOT))
                continue
            outputs.append(Path(folder) / str(number))
            with outputs[-1].open("wb") as output:
                processes.append(subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT))
        try:
            codes = [process.wait() for process in processes]
        except KeyboardInterrupt:  # which they have had, too
            codes = [*(process.wait() for process in processes), 130]
        for output in outputs:
            sys.stdout.write(output.read_text(encoding="utf-8", errors="replace"))
    return worst(codes)


def main() -> None:
    split = sys.argv.index("--")
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("hands", type=int)
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--beside", action="append", default=[], help="a command that runs at the same time")
    asked = parser.parse_args(sys.argv[1:split])
    files = [
        file.relative_to(ROOT).as_posix() for folder in asked.folders for file in (ROOT / folder).rglob("test_*.py")
    ]
    beside = [shlex.split(command) for command in asked.beside]
    sys.exit(run(deal(files, read_durations(), asked.hands), sys.argv[split + 1 :], beside))


if __name__ == "__main__":
    main()
