"""Runs unit and property tests in Windows' Python: ``python -m tests.windows.units FOLDER [PATH ...]``.

About fifteen files at a time: a test that is timed out ends its whole process on Windows. Exit code 1 when one fails.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FILES_AT_A_TIME = 15
WORKERS = 2
DEFAULT = ("tests/unit", "tests/property")
LIMIT_S = 1_800
_COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped|deselected)")


def test_files(tree: Path, paths: list[str]) -> Iterator[str]:
    for path in paths:
        if (tree / path).is_file():
            yield path
        else:
            yield from sorted(str(file.relative_to(tree)) for file in (tree / path).rglob("test_*.py"))


def run(folder: Path, number: int, files: list[str]) -> tuple[Counter[str], list[str]]:
    """Run some files; returns how many tests had which end, and what is to be looked at."""
    log = folder / f"units-{number}.log"
    command = [str(folder / "winpython"), "-m", "pytest", "-q", "-rfEs", "-p", "no:cacheprovider", "--tb=short", *files]
    environment = os.environ | {"PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    with log.open("wb") as out:
        # Through a pipe: Wine's Python looks for a console behind any other output.
        process = subprocess.Popen(
            command,
            cwd=folder / "src",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        assert process.stdout is not None
        for line in process.stdout:
            out.write(line)
        process.wait(LIMIT_S)
    lines = log.read_text("utf-8", "replace").splitlines()
    summary = next((line for line in reversed(lines) if _COUNT.search(line) and " in " in line), "")
    counts: Counter[str] = Counter()
    for count, word in _COUNT.findall(summary):
        counts[word.removesuffix("s") if word.startswith("error") else word] += int(count)
    said = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    if not summary:
        said.append(f"no summary, see {log}: {lines[-1] if lines else 'it printed nothing'}")
    skipped = [line for line in lines if line.startswith("SKIPPED")]
    return counts, said + skipped


def main(folder: Path, paths: list[str]) -> int:
    files = list(test_files(folder / "src", paths))
    chunks = [files[i : i + FILES_AT_A_TIME] for i in range(0, len(files), FILES_AT_A_TIME)]
    begun_s = time.monotonic()
    with ThreadPoolExecutor(WORKERS) as pool:
        results = list(pool.map(lambda numbered: run(folder, *numbered), enumerate(chunks)))
    total = sum((counts for counts, _ in results), Counter())
    said = [line for _, lines in results for line in lines]
    for line in sorted(line for line in said if line.startswith("SKIPPED")):
        print(line)
    failed = [line for line in said if not line.startswith("SKIPPED")]
    for line in failed:
        print(line)
    told = ", ".join(f"{count:,} {word}" for word, count in sorted(total.items()))
    print(f"Windows' Python: {told or 'nothing'} in {time.monotonic() - begun_s:,.0f} s, {len(files)} files.")
    return 1 if failed or not total["passed"] else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), sys.argv[2:] or list(DEFAULT)))
