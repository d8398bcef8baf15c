"""Run quick tests in so many processes, each with files of its own, and say together what came of them.

``python -m tests.support.side_by_side 2 tests/unit tests/property -- -m 'not slow'``: pytest gets the rest.
pytest-xdist would have each worker collect all tests, and one more process take in every report: of tests that take a
few milliseconds each, that is a quarter of the whole. Here a process collects its own files alone, and nobody waits for
another one: the files are dealt out beforehand, the longest first, by ``tests/durations.txt``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.support.paths import ROOT
from tests.support.schedule import read_durations

NOT_TIMED_S = 0.5
"""Of a file that took too little to be listed, or was never timed."""
NOTHING_TO_RUN = 5
"""pytest's exit code when none of its tests was asked for."""


def deal(files: Iterable[str], seconds_of: Mapping[str, float], hands: int) -> list[list[str]]:
    """Deal files out so that every hand takes about as long; each keeps them in their order."""
    ordered = sorted(files)
    dealt: list[list[str]] = [[] for _ in range(hands)]
    total = [0.0] * hands
    for file in sorted(ordered, key=lambda file: -seconds_of.get(file, NOT_TIMED_S)):
        least = total.index(min(total))
        dealt[least].append(file)
        total[least] += seconds_of.get(file, NOT_TIMED_S)
    return [sorted(hand) for hand in dealt if hand]


def worst(codes: Sequence[int]) -> int:
    """Return the exit code of all: a hand that had nothing to run is none that failed, unless none had."""
    failed = [code for code in codes if code not in (0, NOTHING_TO_RUN)]  # a process that was killed has a negative one
    return failed[0] if failed else 0 if 0 in codes else NOTHING_TO_RUN


def run(hands: Sequence[Sequence[str]], options: Sequence[str]) -> int:
    """Run each hand in a process; the first one's output is shown as it comes, the others' at the end."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / str(number) for number in range(1, len(hands))]
        processes = []
        for number, files in enumerate(hands):
            # A cache of its own, or --last-failed would know of the hand alone that ended last.
            own = ["-o", f"cache_dir=.pytest_cache/hand-{number}"]
            command = [sys.executable, "-m", "pytest", *own, *options, *files]
            if number == 0:
                processes.append(subprocess.Popen(command, cwd=ROOT))
                continue
            with outputs[number - 1].open("wb") as output:
                processes.append(subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT))
        try:
            codes = [process.wait() for process in processes]
        except KeyboardInterrupt:  # which they have had, too
            codes = [*(process.wait() for process in processes), 130]
        for output in outputs:
            sys.stdout.write(output.read_text(encoding="utf-8", errors="replace"))
    return worst(codes)


def main() -> None:
    hands, *rest = sys.argv[1:]
    split = rest.index("--")
    files = [
        file.relative_to(ROOT).as_posix() for folder in rest[:split] for file in (ROOT / folder).rglob("test_*.py")
    ]
    sys.exit(run(deal(files, read_durations(), int(hands)), rest[split + 1 :]))


if __name__ == "__main__":
    main()
