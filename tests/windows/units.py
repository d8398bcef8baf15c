"""Runs unit and property tests in Windows' Python: ``python -m tests.windows.units FOLDER [--again] [PATH ...]``.

A dozen files at a time: a test that is timed out, or that crashes, ends its whole process there. It counts as failed,
and the others of the dozen are run without it. With ``--minutes`` no further dozen is begun after that time, and what
was left out is said. What came of each file is kept, with the commit that it ran at: with ``--again`` only the files
are run that failed or were left out, and the summary is of all. Exit code 1 when a test failed.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.windows.wine import WindowsProcess, Wine

FILES_AT_A_TIME = 12
WORKERS = 2
DEFAULT = ("tests/unit", "tests/property")
TEST_LIMIT_S = 300
LIMIT_S = 1_800
RECORD, COMMIT = "units.json", "commit"
"""In the folder: what came of each file, and the state of the tree that was copied."""
WIDTH = 1_000
"""So many columns that a line of pytest's has its whole reason."""
MOST_RUNS = 5
"""Of one dozen, when tests of it end their process."""
NONE_LEFT = 5
"""pytest's exit code when it ran no test."""
ENDS = ("passed", "failed", "error", "skipped")
_RESULT = re.compile(r"^(tests/[^:]+\.py::.+) (PASSED|FAILED|ERROR|SKIPPED)(?: \((.*)\))? *\[ *\d+%\]$")
_UNREAD = re.compile(r"^ERROR (tests/[^: ]+\.py)(?: - .*)?$")
"""A file that could not be imported."""
_BEGUN = re.compile(r"^(tests/[^:]+\.py::.+?) *(?:\++ Timeout \++.*)?$")
_SUMMARY = re.compile(r"^=+ .*\d+ \w+.* in [\d.]+s")


@dataclass
class Results:
    """What came of one file, or of some: ``ends`` of each test by its name, ``skips`` why one was skipped.

    ``troubles``: what is to be looked at. ``commit``: the state of the tree.
    """

    ends: dict[str, str] = field(default_factory=dict)
    skips: dict[str, str] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    commit: str = ""

    @property
    def failed(self) -> list[str]:
        return sorted(name for name, end in self.ends.items() if end in ("failed", "error"))

    @property
    def is_well(self) -> bool:
        """Whether there were tests, and none failed."""
        return bool(self.ends) and not self.failed and not self.troubles

    @property
    def told(self) -> str:
        total = Counter(self.ends.values())
        return ", ".join(f"{total[end]:,} {end}" for end in ENDS if total[end]) or "nothing"

    def of(self, file: str) -> Results:
        """Those of one file; a trouble is one of all the files that ran together."""

        def own(found: dict[str, str]) -> dict[str, str]:
            return {name: value for name, value in found.items() if name.partition("::")[0] == file}

        return Results(own(self.ends), own(self.skips), self.troubles, self.commit)


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
            *("-m", "pytest", "-v", "-p", "no:cacheprovider", "--tb=short", "--continue-on-collection-errors"),
            *(f"--timeout={TEST_LIMIT_S}", f"@../{words.name}"),
        ],
        {"PYTHONUTF8": "1", "QUICK_TESTS": "1", "COLUMNS": str(WIDTH)},
    )
    try:
        code = process.wait(LIMIT_S)
    except AssertionError:
        process.kill()
        code = -1
    lines = log.read_text("utf-8", "replace").replace("\r", "").splitlines()
    begun = ""
    for line in lines:
        if found := _RESULT.match(line):
            results.ends[found[1]] = found[2].lower()
            if found[3]:
                results.skips[found[1]] = found[3].removeprefix("Skipped: ")
            begun = ""
        elif found := _UNREAD.match(line):
            results.ends[found[1]] = "error"
        elif found := _BEGUN.match(line):
            begun = found[1]
    if any(_SUMMARY.match(line) for line in lines[-3:]):
        as_it_should_be = code == 0 or (code == NONE_LEFT and results.ends)
        if not as_it_should_be and not results.failed and not results.troubles:
            results.troubles.append(f"pytest ended with {code}, see {log}")
        return True
    if begun:
        results.ends[begun] = "failed"
        print(f"  {begun} ended its process, see {log}", flush=True)
        return False
    results.troubles.append(f"no summary, see {log}: {lines[-1] if lines else 'it printed nothing'}")
    return True


def read_record(folder: Path) -> dict[str, Results]:
    path = folder / RECORD
    return {file: Results(**found) for file, found in json.loads(path.read_text()).items()} if path.exists() else {}


def write_record(folder: Path, record: dict[str, Results]) -> None:
    (folder / RECORD).write_text(json.dumps({file: asdict(found) for file, found in record.items()}))


def folder_of(name: str) -> str:
    """``tests/unit/bridge/store`` of a test's name."""
    return name.partition("::")[0].rpartition("/")[0]


def main(folder: Path, paths: list[str], minutes: float, *, is_again: bool) -> int:
    files = list(test_files(folder / "src", paths))
    record = read_record(folder) if is_again else {}
    wanted = [file for file in files if file not in record or not record[file].is_well]
    chunks = [wanted[i : i + FILES_AT_A_TIME] for i in range(0, len(wanted), FILES_AT_A_TIME)]
    commit = (folder / COMMIT).read_text().strip()
    begun_s = time.monotonic()
    lock = threading.Lock()
    for file in wanted:
        record.pop(file, None)

    def one(numbered: tuple[int, list[str]]) -> None:
        number, chunk = numbered
        if time.monotonic() - begun_s > 60 * minutes:
            return
        results = run(folder, number, chunk)
        results.commit = commit
        with lock:
            record.update({file: results.of(file) for file in chunk})
            write_record(folder, record)
            print(f"  {number + 1} of {len(chunks)}: {results.told}", flush=True)
            for line in (*(f"    FAILED {name}" for name in results.failed), *results.troubles):
                print(line, flush=True)

    with Wine(folder), ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(one, enumerate(chunks)))
    return summarize({file: record[file] for file in files if file in record}, files, time.monotonic() - begun_s)


def summarize(record: dict[str, Results], files: list[str], took_s: float) -> int:
    """Print what came of all these files; returns the exit code."""
    total = Results()
    commits: Counter[str] = Counter()
    for results in record.values():
        total.ends |= results.ends
        total.skips |= results.skips
        total.troubles += [trouble for trouble in results.troubles if trouble not in total.troubles]
        commits[results.commit] += 1
    by_folder: dict[str, Results] = defaultdict(Results)
    for name, end in total.ends.items():
        by_folder[folder_of(name)].ends[name] = end
    print()
    for place, results in sorted(by_folder.items()):
        print(f"  {place:44} {results.told}")
    for reason, count in sorted(Counter(total.skips.values()).items()):
        print(f"  {count} skipped: {reason}")
    for line in (*(f"FAILED {name}" for name in total.failed), *total.troubles):
        print(line)
    left_out = len(files) - len(record)
    where = ", ".join(f"{count} at {commit}" for commit, count in commits.items())
    print(
        f"Windows' Python: {total.told}; {len(record)} files ({where}), the last of them in {took_s:,.0f} s"
        f"{f'; {left_out} files were left out for the time' if left_out else ''}."
    )
    return 0 if total.is_well and "passed" in total.ends.values() else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("paths", nargs="*", default=list(DEFAULT))
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--again", action="store_true", help="only what failed or was left out before")
    given = parser.parse_intermixed_args()
    sys.exit(main(given.folder.resolve(), given.paths, given.minutes, is_again=given.again))
