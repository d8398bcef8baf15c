"""How soon a tick that the site sends is in hand, by ways out of the browser: ``python -m tests.bench.bench_latency``.

One Chromium, one simulated site whose ticks are numbered (numbered_site.py); the ways (tick_readers.py) take turns,
round by round, so that all of them meet the machine as it is. Latency is from the site's handing a tick to its socket
to the decoded tick in the reader's hand, of all ticks of a run but the first half second. Ratios are theirs / ours, of
which the median, lowest and highest over the rounds are told. Playwright runs from ``.venv-bench``, see rivals.py.

Then the highest rate at which a way still loses nothing and keeps up: rates grow in steps until each has failed twice
in a row, so that a hiccup of the machine ends nothing.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from tests.bench import rivals
from tests.support.browser.chromium import Chromium

ROOT = Path(__file__).parents[2]
RATE = 200.0
WAYS = ("ours", "bare", "log", "playwright", "daemon")
SETTLING_S = 0.5
CLEAN_P99_MS = 250.0
"""A reader whose last second's p99 is beyond this falls behind."""
CLEAN_RATES = (500, 1_000, 2_000, 3_000, 4_000, 4_500, 5_000, 5_500, 6_000, 7_000, 8_000)
RUN_TIMEOUT_S = 90.0
PERCENTILES = (50, 99)


# --- one run ----------------------------------------------------------------------------------------------------------


class Site:
    """The numbered site as a process; after ``stop``, ``sent_s[n - 1]`` is when number n left."""

    def __init__(self, folder: Path, ticks_per_s: float, assets: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "sent"
        options = ("--rate", str(ticks_per_s), "--assets", str(assets))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.numbered_site", str(self._file), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        assert self.url, "the site did not start"
        self.host = self.url.split("/")[2]
        self.sent_s = np.empty(0)

    def stop(self) -> None:
        self._process.communicate(timeout=30)
        self.sent_s = np.fromfile(self._file)


@contextmanager
def shown(browser: Chromium, url: str, *, behind: bool = False) -> Iterator[None]:
    """The page in a tab of its own; ``behind`` another, so that it need not draw."""
    tabs = [browser.open(url)]
    if behind:
        tabs.append(browser.open("about:blank"))
    try:
        yield
    finally:
        for tab in tabs:
            browser.close_tab(tab["id"])


def read(way: str, port: int, page_host: str, seconds: float, file: Path) -> np.ndarray[Any, Any]:
    """One reader's run: rows of number and time in hand. Raises RuntimeError with its last words when it fails."""
    python, module = sys.executable, ["-m", "tests.bench.tick_readers"]
    if way == "playwright":
        python, module = str(rivals.python()), [str(Path(__file__).with_name("playwright_reader.py"))]
    command = [python, *module, way, str(port), page_host, str(seconds), str(file)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, cwd=ROOT)
    if run.returncode:
        raise RuntimeError((run.stderr.strip() or "no word").splitlines()[-1])
    pairs = array("d")
    with file.open("rb") as taken:
        pairs.frombytes(taken.read())
    return np.frombuffer(pairs).reshape(-1, 2)


def latencies_ms(taken: np.ndarray[Any, Any], sent_s: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Per tick, those of the first moments left out."""
    settled = taken[taken[:, 1] > taken[0, 1] + SETTLING_S]
    return (settled[:, 1] - sent_s[settled[:, 0].astype(np.int64) - 1]) * 1e3


# --- latency ----------------------------------------------------------------------------------------------------------


def measured(folder: Path, rounds: int, seconds: float) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, str]]:
    """Per way the percentiles (``shape (rounds, 2)``, ms), and what failed."""
    ways = [way for way in WAYS if way != "playwright" or rivals.has("playwright")]
    runs: dict[str, list[np.ndarray[Any, Any]]] = {way: [] for way in ways}
    failed: dict[str, str] = {}
    browser, site = Chromium(folder / "profile"), Site(folder, RATE, 16)
    try:
        with shown(browser, site.url):
            time.sleep(2)
            for number in range(rounds):
                for way in (w for w in ways if w not in failed):
                    try:
                        runs[way].append(read(way, browser.port, site.host, seconds, folder / f"{way}-{number}"))
                    except (RuntimeError, subprocess.TimeoutExpired) as error:
                        failed[way] = str(error)
    finally:
        site.stop()
        browser.stop()
    found = {}
    for way in (w for w in ways if w not in failed):
        figures = [np.percentile(latencies_ms(run, site.sent_s), PERCENTILES) for run in runs[way] if len(run)]
        if len(figures) == rounds:
            found[way] = np.array(figures)
        else:
            failed[way] = "no tick arrived"
    return found, failed


LATENCY_ROWS = (
    ("frame to tick", "ours", "bare", "bare loop", (1 / 1.5, None)),
    ("frame to tick", "ours", "log", "performance log at 0.1 s", (25, None)),
    ("frame to tick", "ours", "playwright", "Playwright over CDP", (1, 1)),
    ("frame to the daemon's listeners", "daemon", "bare", "bare loop", (None, None)),
)


def latency_rows(folder: Path, rounds: int, seconds: float) -> list[dict[str, Any]]:
    found, failed = measured(folder, rounds, seconds)
    table = []
    for what, way, other, called, aims in LATENCY_ROWS:
        for column, percentile in enumerate(PERCENTILES):
            name = f"{what} at {RATE:.0f}/s, p{percentile}: {called}"
            if way in found and other in found:
                table.append(_row(name, found[way][:, column], found[other][:, column], aims[column]))
            elif other == "playwright" and other not in failed:
                table.append({"name": f"{name} (not installed)"})
            else:
                table.append({"name": name, "failure": failed.get(way) or failed.get(other)})
    return table


def _row(name: str, ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any], aim: float | None) -> dict[str, Any]:
    ratios = sorted((theirs / ours).tolist())
    return {
        "name": name,
        "ours": float(np.median(ours)),
        "theirs": float(np.median(theirs)),
        "unit": "ms",
        "ratio": statistics.median(ratios),
        "ratio_low": ratios[0],
        "ratio_high": ratios[-1],
        "aim": aim,
    }


# --- the highest clean rate -------------------------------------------------------------------------------------------


def is_clean(taken: np.ndarray[Any, Any], sent_s: np.ndarray[Any, Any]) -> bool:
    """Every number between the first and the last is there, once and in order, and the last second is not late."""
    numbers = taken[:, 0].astype(np.int64)
    if len(numbers) < 2 or (np.diff(numbers) != 1).any():
        return False
    last = taken[taken[:, 1] > taken[-1, 1] - 1.0]
    late_ms = (last[:, 1] - sent_s[last[:, 0].astype(np.int64) - 1]) * 1e3
    return bool(np.percentile(late_ms, 99) <= CLEAN_P99_MS)


def highest_clean(folder: Path, seconds: float, rates: tuple[int, ...]) -> dict[str, float]:
    """Per way the highest rate, as the site really sent it, that came through clean."""
    highest = {"ours": 0.0, "bare": 0.0}
    failures = {"ours": 0, "bare": 0}
    browser = Chromium(folder / "profile-rates")
    try:
        for step, rate in enumerate(rates):
            order = ("ours", "bare") if step % 2 else ("bare", "ours")  # the page is busiest at its beginning
            ways = [way for way in order if failures[way] < 2]
            if not ways:
                break
            site = Site(folder / f"rate-{rate}", rate, 32)
            try:
                with shown(browser, site.url, behind=True):
                    time.sleep(1)
                    taken = {way: read(way, browser.port, site.host, seconds, folder / f"{way}-{rate}") for way in ways}
            finally:
                site.stop()
            span_s = site.sent_s[-1] - site.sent_s[0]
            for way in ways:
                if is_clean(taken[way], site.sent_s):
                    highest[way] = max(highest[way], len(site.sent_s) / span_s)
                    failures[way] = 0
                else:
                    failures[way] += 1
    finally:
        browser.stop()
    return highest


def rate_row(folder: Path, rounds: int, seconds: float, rates: tuple[int, ...]) -> dict[str, Any]:
    """The rates are steps, so that equal means: not more than one step apart."""
    found = [highest_clean(folder / f"ladder-{number}", seconds, rates) for number in range(rounds)]
    name = "highest clean rate through Chromium: bare loop"
    ratios = sorted(each["ours"] / each["bare"] for each in found if each["bare"])
    if not ratios:
        return {"name": name, "failure": f"not even {rates[0]} ticks/s came through clean on this busy machine"}
    return {
        "name": name,
        "ours": statistics.median(each["ours"] for each in found),
        "theirs": statistics.median(each["bare"] for each in found),
        "unit": "ticks/s",
        "ratio": statistics.median(ratios),
        "ratio_low": ratios[0],
        "ratio_high": ratios[-1],
        "aim": 0.9,
    }


def rows(rounds: int = 4, seconds: float = 5.0, ladders: int = 2) -> list[dict[str, Any]]:
    """One row a measurement: ``name`` (ours: theirs), ``ours`` and ``theirs`` in ``unit``, ``ratio`` with its spread,
    ``aim`` of the ratio."""
    with tempfile.TemporaryDirectory(prefix="fluxcap-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        return [*latency_rows(folder, rounds, seconds), rate_row(folder, ladders, 2.5, CLEAN_RATES)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--ladders", type=int, default=2)
    options = parser.parse_args()
    for each in rows(options.rounds, options.seconds, options.ladders):
        print(each)


if __name__ == "__main__":
    main()
