"""What the page costs: until it is live, an update, a pan over 20,000 candles, bytes of its first load, and the CPU and
memory of a daemon with it open. Needs Chromium.

    .venv/bin/python -m tests.bench.bench_web [--seconds 60] [--old CHECKOUT]

``--old`` (or ``OLD_PAGE``): a checkout of another commit with a ``.venv`` of its own; its page runs beside in the same
run, turn by turn, and is the yardstick. The page before this one was that of commit ef37526. Memory settles in the
first minutes; what it does over an hour is measured by ``open_page.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.browser.chromium import Chromium
from tests.support.browser.webpage import WebPage, web_page
from tests.support.daemon.live_rig import DaemonProcess, Process
from tests.support.patience import await_that

HERE = Path(__file__).parents[2]
ASSETS = ("EURUSD_otc", "GBPUSD_otc", "USDJPY_otc")
CANDLES = 5_000
ROUNDS = 5
UPDATES = 90
MOST_FIRST_LOAD_KB = 600.0
MOST_FRAME_MS = 33.0
MOST_PAGE_MB = 5.0

SERVE_PAGE = f"""
import sys
from pathlib import Path
from tests.support.daemon.dashboard_rig import FakeDaemon, dashboard
folder = Path(sys.argv[1])
(folder / "store").mkdir(parents=True)
daemon = FakeDaemon(folder / "store", {CANDLES})
try:
    with dashboard(folder / "page", daemon) as url:
        print(url, 0, flush=True)
        sys.stdin.read()
finally:
    daemon.close()
"""
SERVE_DAEMON = """
import sys
from pathlib import Path
from tests.bench.bench_web import live_daemon
with live_daemon(Path(sys.argv[1])) as daemon:
    print(daemon.run_file().control, daemon.pid, flush=True)
    sys.stdin.read()
"""
WATCH = """
(() => {
  const seen = (window.benchSeen = {});
  const note = (name) => requestAnimationFrame(() => { seen[name] ??= performance.now(); });
  const look = () => {
    const found = document.querySelector(".plot, .candle-chart")?.fluxcap;
    const count = (found?.series?.rows ?? found?.rows)?.length ?? 0;
    const forming = found?.series ? found.series.forming : found?.forming;
    if (count && forming) note("live");
    if (count >= CANDLES && forming) { note("whole"); return; }
    setTimeout(look, 4);
  };
  look();
})();
""".replace("CANDLES", str(CANDLES))
"""Told by both pages alike: the first frame with candles and the one under way, and the first with all of them."""
UPDATE = """
const [updates, done] = arguments, found = document.querySelector(".plot, .candle-chart").fluxcap;
let count = 0;
const update = () => {
  const close = 1.105 + (count % 9) / 1e4;
  if (found.series) {
    found.series.setForming([found.series.last[0], 1.1, 1.12, 1.1, close, count, count, 0]);
    found.draw(found.series.rows.length);
  } else found.apply([], [found.endMs(), 1.1, 1.12, 1.1, close, count, 0]);
  count += 1;
  if (count < updates) requestAnimationFrame(update);
  else requestAnimationFrame(() => done(count));
};
requestAnimationFrame(update);
"""
PAN = """
const [candles, done] = arguments, [cell] = window.fluxcap.cells, rows = [];
for (let i = 0; i < candles; i += 1) {
  const [a, b] = [1.1 + Math.sin(i / 90) / 50, 1.1 + Math.sin((i + 1) / 90) / 50];
  rows.push([1_700_000_000_000 + i * 60_000, a, Math.max(a, b) + 2e-4, Math.min(a, b) - 2e-4, b, 50 + i % 40, 50, 0]);
}
window.fluxcap.feed.close();
cell.showRows(rows, 60_000);
const scale = cell.chart.chart.timeScale(), seen = 1_500, frames = [];
let from = candles - seen, last = 0;
const step = (now) => {
  if (last) frames.push(now - last);
  last = now;
  from -= 120;
  scale.setVisibleLogicalRange({ from, to: from + seen });
  if (from > 200) requestAnimationFrame(step); else done(frames);
};
requestAnimationFrame(step);
"""


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def row(
    name: str,
    ours: Sequence[float],
    unit: str,
    theirs: Sequence[float] = (),
    *,
    aim: float | None = None,
    limit: float | None = None,
) -> dict[str, Any]:
    """A row of medians. ``aim``: the least ratio of theirs to ours, if there is one; ``limit``: the most of ours."""
    ratios = [their / our for our, their in zip(ours, theirs, strict=True)] if theirs else []
    return {
        "name": name if len(ours) < 2 else f"{name} ({min(ours):.3g} - {max(ours):.3g})",
        "ours": statistics.median(ours),
        "theirs": statistics.median(theirs) if theirs else None,
        "ratio": statistics.median(ratios) if ratios else None,
        "ratio_low": min(ratios, default=None),
        "ratio_high": max(ratios, default=None),
        "unit": unit,
        "aim": aim if theirs else None,
        "limit": limit,
    }


# --- what is measured, of this checkout or another --------------------------------------------------------------------


@contextmanager
def served(checkout: Path, code: str, folder: Path) -> Iterator[tuple[str, int]]:
    """Run a server by a checkout's own Python; yields the address it prints, and the process it names."""
    own = checkout / ".venv" / "bin" / "python"
    python = own if own.exists() else Path(sys.executable)
    folder.mkdir(parents=True)
    with (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            [python, "-c", code, str(folder / "run")],
            cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, text=True,
        )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline().split()
        assert line, (folder / "err").read_text()[-2_000:]
        yield line[0].rstrip("/") + "/", int(line[1])
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


@contextmanager
def live_daemon(folder: Path) -> Iterator[DaemonProcess]:
    """A daemon with its web server, a browser, and three assets that tick and are in focus."""
    site = Process(folder / "site", "simulate", "--port", "0", "--assets", ",".join(ASSETS))
    address = await_that(lambda: site.out.partition(" at ")[2].partition(" ")[0], "the site")
    browser = Chromium(folder / "chrome", url=address)
    options = ("--platform-url", address.split("/")[2], "--focus", ",".join(ASSETS), "--web", "--web-port", "0")
    daemon = DaemonProcess(folder / "daemon", browser.port, *options, interval="1m")
    try:
        daemon.await_status(lambda status: len(status["streams"]) >= len(ASSETS), "three streams")
        yield daemon
    finally:
        daemon.discard()
        browser.stop()
        site.discard()


@contextmanager
def live_page(folder: Path, url: str) -> Iterator[WebPage]:
    """The page in a browser of its own, showing one of the assets live."""
    with web_page(folder / "profile") as page:
        page.open(f"{url}?source=platform&asset={ASSETS[0]}")
        live = "const f = document.querySelector('.plot, .candle-chart')?.fluxcap; return !!(f?.series ?? f)?.forming"
        page.wait(lambda: page.script(live), "the live chart")
        yield page


# --- measurements -----------------------------------------------------------------------------------------------------


def opened(page: WebPage, url: str, *, is_cold: bool) -> tuple[float, float]:
    """Open the bookmark; returns seconds from the navigation to a live chart, and to one with all candles."""
    page.driver.get("about:blank")
    if is_cold:
        page.driver.execute_cdp_cmd("Network.clearBrowserCache", {})
    page.driver.get(f"{url}?source=platform&asset={ASSETS[0]}&theme=dark")
    seen = page.wait(lambda: page.script("return window.benchSeen?.whole ? window.benchSeen : null"), "all candles")
    return seen["live"] / 1_000, seen["whole"] / 1_000


def task_seconds(page: WebPage) -> float:
    found = page.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return float(next(one["value"] for one in found if one["name"] == "TaskDuration"))


def update_ms(page: WebPage) -> float:
    """Time of the page's main thread for an update that is drawn, one each frame."""
    page.driver.execute_cdp_cmd("Performance.enable", {})
    before = task_seconds(page)
    count = page.driver.execute_async_script(UPDATE, UPDATES)
    return 1_000 * (task_seconds(page) - before) / count


def pan_ms(page: WebPage) -> tuple[float, float]:
    """Pan over 20,000 candles, 1,500 of them seen: p95 of a frame's length, and the main thread's mean work for one.

    The first is what is seen, and grows with whatever else the machine does; the second is the page's own part.
    """
    page.driver.execute_cdp_cmd("Performance.enable", {})
    page.driver.execute_async_script(PAN, 20_000)  # once for what is done once
    before = task_seconds(page)
    frames = sorted(page.driver.execute_async_script(PAN, 20_000))
    return float(frames[int(0.95 * len(frames))]), 1_000 * (task_seconds(page) - before) / len(frames)


class CountingProxy:
    """Passes TCP through to a local server, and counts what comes back."""

    def __init__(self, port: int) -> None:
        self.received = 0
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                inner, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass, args=(inner,), daemon=True).start()

    def _pass(self, inner: socket.socket) -> None:
        with inner, socket.create_connection(self._target) as outer, selectors.DefaultSelector() as ready:
            ready.register(inner, selectors.EVENT_READ, outer)
            ready.register(outer, selectors.EVENT_READ, inner)
            while True:
                for key, _ in ready.select():
                    try:
                        data = key.fileobj.recv(65_536)  # type: ignore[union-attr]
                        key.data.sendall(data)
                    except OSError:
                        return
                    if not data:
                        return
                    self.received += len(data) if key.fileobj is outer else 0

    def close(self) -> None:
        self._listener.close()


def first_load_kb(page: WebPage, url: str) -> tuple[float, float]:
    """Kilobytes of a first load until all candles are there: as Chrome tells them, and as they pass a proxy."""
    proxy = CountingProxy(urlsplit(url).port or 80)
    try:
        page.driver.get_log("performance")
        opened(page, f"http://127.0.0.1:{proxy.port}/", is_cold=True)
        through = proxy.received
        told: dict[str, int] = {}
        for entry in page.driver.get_log("performance"):
            event = json.loads(entry["message"])["message"]
            one = event["params"]
            if event["method"] == "Network.responseReceived":
                told[one["requestId"]] = told.get(one["requestId"], 0) + int(one["response"]["encodedDataLength"])
            elif event["method"] == "Network.dataReceived":  # a live feed never finishes
                told[one["requestId"]] = told.get(one["requestId"], 0) + int(one["encodedDataLength"])
            elif event["method"] == "Network.loadingFinished":
                told[one["requestId"]] = int(one["encodedDataLength"])
        return sum(told.values()) / 1_000, through / 1_000
    finally:
        proxy.close()


def page_speed(folder: Path, old: Path | None, rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Until live, an update, a pan and the bytes; with ``old`` turn by turn, so that both have the same machine."""
    with ExitStack() as closing:
        urls, pages = [], []
        for name, checkout in (("new", HERE), *([("old", old)] if old else [])):
            urls.append(closing.enter_context(served(checkout, SERVE_PAGE, folder / name))[0])
            pages.append(closing.enter_context(web_page(folder / f"profile-{name}")))
            pages[-1].driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
            opened(pages[-1], urls[-1], is_cold=True)  # whatever servers and browsers do once
        cold, warm, updates = ([[] for _ in urls] for _ in range(3))
        for _ in range(rounds):
            for which, (page, url) in enumerate(zip(pages, urls, strict=True)):
                cold[which].append(opened(page, url, is_cold=True))
                warm[which].append(opened(page, url, is_cold=False))
                updates[which].append(update_ms(page))
        kilobytes = [first_load_kb(page, url) for page, url in zip(pages, urls, strict=True)]
        pan = pan_ms(pages[0])
    theirs = len(urls) > 1

    def beside(found: list[list[tuple[float, float]]], which: int) -> tuple[list[float], list[float]]:
        ours, *others = ([one[which] for one in times] for times in found)
        return ours, others[0] if others else []

    def timed(name: str, found: list[list[tuple[float, float]]], which: int, aim: float | None) -> dict[str, Any]:
        ours, others = beside(found, which)
        return row(name, ours, "s", others, aim=aim)

    return [
        timed(f"bookmark to live, {CANDLES:,} stored", cold, 0, 1 / 0.55),
        timed(f"bookmark to live with all {CANDLES:,}", cold, 1, 1 / 0.55),
        timed("bookmark to live, files cached", warm, 0, None),
        row("an update drawn, main thread", updates[0], "ms", updates[1] if theirs else (), aim=2.0),
        row("frame of a pan over 20,000 candles, p95", [pan[0]], "ms", limit=MOST_FRAME_MS),
        row("work for such a frame, main thread, mean", [pan[1]], "ms", limit=MOST_FRAME_MS),
        row(
            "first load, as Chrome counts",
            [kilobytes[0][0]],
            "kB",
            [kilobytes[1][0]] if theirs else (),
            limit=MOST_FIRST_LOAD_KB,
        ),
        row(
            "first load, through a proxy that counts",
            [kilobytes[0][1]],
            "kB",
            [kilobytes[1][1]] if theirs else (),
            limit=MOST_FIRST_LOAD_KB,
        ),
    ]


def watched(pids: Sequence[int], seconds: float) -> list[tuple[float, float]]:
    """CPU in percent of a core over some time, and memory in MB (its mean of begin and end), of each process."""
    begun = time.monotonic()
    before = [(cpu_seconds(pid), resident_mb(pid)) for pid in pids]
    time.sleep(seconds)
    took = time.monotonic() - begun
    return [
        (100 * (cpu_seconds(pid) - cpu) / took, (memory + resident_mb(pid)) / 2)
        for pid, (cpu, memory) in zip(pids, before, strict=True)
    ]


def daemon_cost(folder: Path, seconds: float, old: Path | None) -> list[dict[str, Any]]:
    """A daemon without the page, then with one open; with ``old`` both at the same time."""
    with ExitStack() as closing:
        names = [("new", HERE), *([("old", old)] if old else [])]
        daemons = [closing.enter_context(served(one, SERVE_DAEMON, folder / f"d-{name}")) for name, one in names]
        pids = [pid for _, pid in daemons]
        time.sleep(10)
        without = watched(pids, seconds)
        for (name, _), (url, _) in zip(names, daemons, strict=True):
            closing.enter_context(live_page(folder / f"p-{name}", url))
        time.sleep(10)
        beside = watched(pids, seconds)
    cost = [(cpu - cpu0, memory - memory0) for (cpu, memory), (cpu0, memory0) in zip(beside, without, strict=True)]
    pick: Callable[[list[tuple[float, float]], int], list[list[float]]] = lambda found, which: [  # noqa: E731
        [one[which]] for one in found
    ]

    def compared(name: str, found: list[tuple[float, float]], which: int, unit: str, **aims: float) -> dict[str, Any]:
        ours, *others = pick(found, which)
        return row(name, ours, unit, others[0] if others else (), **aims)  # type: ignore[arg-type]

    return [
        compared("daemon, no page", without, 0, "% of a core"),
        compared("daemon, a page open, 3 assets live", beside, 0, "% of a core"),
        compared("what an open page costs the daemon", cost, 0, "% of a core", aim=1 / 0.6),
        compared("daemon, no page: memory", without, 1, "MB"),
        compared("what an open page costs the daemon: memory", cost, 1, "MB", limit=MOST_PAGE_MB),
    ]


def rows(seconds: float = 60, old: Path | None = None, rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """One row a measurement; without ``old`` (else of ``OLD_PAGE``) there is nothing to compare with."""
    old = old or (Path(os.environ["OLD_PAGE"]) if os.environ.get("OLD_PAGE") else None)
    with tempfile.TemporaryDirectory(prefix="fluxcap-bench-", ignore_cleanup_errors=True) as name:
        return page_speed(Path(name) / "page", old, rounds) + daemon_cost(Path(name), seconds, old)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--old", type=Path, default=None)
    parser.add_argument("--only", choices=("speed", "cost"), default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fluxcap-bench-", ignore_cleanup_errors=True) as name:
        found = page_speed(Path(name) / "page", options.old, options.rounds) if options.only != "cost" else []
        found += daemon_cost(Path(name), options.seconds, options.old) if options.only != "speed" else []
    for each in found:
        beside = "" if each["theirs"] is None else f"{each['theirs']:9.3f} {each['ratio']:6.2f}x"
        spread = "" if each["ratio_low"] is None else f" ({each['ratio_low']:.2f} - {each['ratio_high']:.2f})"
        print(f"{each['name']:62} {each['ours']:9.3f} {each['unit']:12}{beside}{spread}")


if __name__ == "__main__":
    main()
