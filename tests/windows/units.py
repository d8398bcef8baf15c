"""Runs unit and property tests in Windows' Python: ``python -m tests.windows.units FOLDER [--minutes N] [PATH ...]``.

A dozen files at a time: a test that is timed out, or that crashes, ends its whole process there. It counts as failed,
and the others of the dozen are run without it. With ``--minutes`` no further dozen is begun after that time, and what
was left out is said. Exit code 1 when a test failed.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.windows.wine import WindowsProcess, Wine

FILES_AT_A_TIME = 12
WORKERS = 2
DEFAULT = ("tests/unit", "tests/property")
TEST_LIMIT_S = 300
LIMIT_S = 1_800
MOST_RUNS = 5
"""Of one dozen, when tests of it end their process."""
ENDS = ("passed", "failed", "error", "skipped")
_RESULT = re.compile(r"^(tests/[^:]+\.py::.+) (PASSED|FAILED|ERROR|SKIPPED)\b.*\[ *\d+%\]$")
_BEGUN = re.compile(r"^(tests/[^:]+\.py::.+?) *(?:\++ Timeout \++.*)?$")
_SUMMARY = re.compile(r"^=+ .*\d+ \w+.* in [\d.]+s")


@dataclass
class Results:
    """``ends``: of each test by its name. ``skips``: the reasons. ``troubles``: what is to be looked at."""

    ends: dict[str, str] = field(default_factory=dict)
    skips: Counter[str] = field(default_factory=Counter)
    troubles: list[str] = field(default_factory=list)


def test_files(tree: Path, paths: list[str]) -> Iterator[str]:
    for path in paths:
        if (tree / path).is_file():
            yield path
        else:
            yield from sorted(str(file.relative_to(tree)) for file in (tree / path).rglob("test_*.py"))


def run(folder: Path, number: int, files: list[str]) -> Results:
    """Run some files to their end, whatever their tests do to the process."""
    results = Results()
    for attempt in range(MOST_RUNS):
        log = folder / f"units-{number}{f'-{attempt}' if attempt else ''}.log"
        if pytest(folder, log, [*files, *(f"--deselect={name}" for name in results.ends)], results):
            break
    else:
        results.troubles.append(f"given up after {MOST_RUNS} runs: {' '.join(files)}")
    return results


def pytest(folder: Path, log: Path, arguments: list[str], results: Results) -> bool:
    """One process; returns whether it came to its end by itself."""
    words = log.with_suffix(".args")
    words.write_text("\n".join(arguments))
    log.unlink(missing_ok=True)
    process = WindowsProcess(
        folder,
        log,
        [
            *("-m", "pytest", "-v", "-rs", "-p", "no:cacheprovider", "--tb=short"),
            *(f"--timeout={TEST_LIMIT_S}", f"@../{words.name}"),
        ],
        {"PYTHONUTF8": "1", "QUICK_TESTS": "1"},
    )
    try:
        process.wait(LIMIT_S)
    except AssertionError:
        process.kill()
    lines = log.read_text("utf-8", "replace").replace("\r", "").splitlines()
    begun = ""
    for line in lines:
        if found := _RESULT.match(line):
            results.ends[found[1]] = found[2].lower()
            begun = ""
        elif found := _BEGUN.match(line):
            begun = found[1]
        elif found := re.match(r"SKIPPED \[(\d+)\] \S+: (.*)", line):
            results.skips[found[2]] += int(found[1])
    if any(_SUMMARY.match(line) for line in lines[-3:]):
        return True
    if begun:
        results.ends[begun] = "failed"
        results.troubles.append(f"{begun} ended its process, see {log}")
        return False
    results.troubles.append(f"no summary, see {log}: {lines[-1] if lines else 'it printed nothing'}")
    return True


def folder_of(name: str) -> str:
    """``tests/unit/bridge/store`` of a test's name."""
    return name.partition("::")[0].rpartition("/")[0]


def main(folder: Path, paths: list[str], minutes: float) -> int:
    files = list(test_files(folder / "src", paths))
    chunks = [files[i : i + FILES_AT_A_TIME] for i in range(0, len(files), FILES_AT_A_TIME)]
    begun_s = time.monotonic()

    def one(numbered: tuple[int, list[str]]) -> Results | None:
        if time.monotonic() - begun_s > 60 * minutes:
            return None
        return run(folder, *numbered)

    with Wine(folder), ThreadPoolExecutor(WORKERS) as pool:
        found = list(pool.map(one, enumerate(chunks)))
    all_of_them = [results for results in found if results is not None]
    by_folder: dict[str, Counter[str]] = defaultdict(Counter)
    for results in all_of_them:
        for name, end in results.ends.items():
            by_folder[folder_of(name)][end] += 1
    for place, ends in sorted(by_folder.items()):
        print(f"  {place:44} {', '.join(f'{ends[end]:,} {end}' for end in ENDS if ends[end])}")
    for reason, count in sorted(sum((results.skips for results in all_of_them), Counter()).items()):
        print(f"  {count} skipped: {reason}")
    failed = [name for results in all_of_them for name, end in results.ends.items() if end in ("failed", "error")]
    troubles = [trouble for results in all_of_them for trouble in results.troubles]
    for line in (*(f"FAILED {name}" for name in sorted(failed)), *troubles):
        print(line)
    total = sum(by_folder.values(), Counter())
    told = ", ".join(f"{total[end]:,} {end}" for end in ENDS if total[end])
    left_out = sum(len(chunk) for chunk, results in zip(chunks, found, strict=True) if results is None)
    print(
        f"Windows' Python: {told or 'nothing'} in {time.monotonic() - begun_s:,.0f} s, {len(files) - left_out} files"
        f"{f'; {left_out} files were left out for the time' if left_out else ''}."
    )
    return 1 if failed or troubles or not total["passed"] else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("paths", nargs="*", default=list(DEFAULT))
    parser.add_argument("--minutes", type=float, default=float("inf"))
    given = parser.parse_intermixed_args()
    sys.exit(main(given.folder.resolve(), given.paths, given.minutes))
