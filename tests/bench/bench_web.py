"""What the web costs the daemon: CPU of its process with the page open and three assets live, and without; growth; and
how quickly a page with 5,000 candles answers. Needs Chromium. ``--seconds`` of watching each (60). Memory settles in
the first minutes; what it does over an hour is measured by ``open_page.py``.

    .venv/bin/python -m tests.bench.bench_web
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.browser.chromium import Chromium
from tests.support.browser.webpage import WebPage, web_page
from tests.support.daemon.dashboard_rig import FakeDaemon, dashboard
from tests.support.daemon.live_rig import DaemonProcess, Process
from tests.support.patience import await_that

ASSETS = ("EURUSD_otc", "GBPUSD_otc", "USDJPY_otc")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def row(name: str, figure: float, unit: str) -> dict[str, Any]:
    return {"name": name, "ours": figure, "theirs": None, "ratio": None, "unit": unit, "aim": None}


def watched(name: str, pid: int, seconds: float) -> list[dict[str, Any]]:
    """CPU of a core, and growth, over some time."""
    cpu, memory = cpu_seconds(pid), resident_mb(pid)
    time.sleep(seconds)
    percent = 100 * (cpu_seconds(pid) - cpu) / seconds
    return [
        row(name, percent, "% of a core"),
        row(f"{name}: memory", memory, "MB"),
        row(f"{name}: growth in {seconds:.0f} s", resident_mb(pid) - memory, "MB"),
    ]


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
def live_page(folder: Path, daemon: DaemonProcess) -> Iterator[WebPage]:
    """The dashboard in a browser of its own, showing one of the assets live."""
    with web_page(folder / "profile") as page:
        page.open(f"{daemon.run_file().control}?source=platform&asset={ASSETS[0]}")
        page.wait_chart(lambda chart: chart["forming"], "the live chart")
        yield page


def daemon_cost(folder: Path, seconds: float) -> list[dict[str, Any]]:
    with live_daemon(folder) as daemon:
        time.sleep(10)
        found = watched("daemon, no page", daemon.pid, seconds)
        with live_page(folder, daemon):
            time.sleep(10)
            return found + watched("daemon, page open, 3 assets live", daemon.pid, seconds)


def page_speed(folder: Path) -> list[dict[str, Any]]:
    folder.mkdir()
    daemon = FakeDaemon(folder, 5_000)
    try:
        with dashboard(folder / "page", daemon) as url, web_page(folder / "profile") as page:
            begin = time.monotonic()
            page.open(f"{url}?source=platform&asset=EURUSD_otc")
            page.wait_chart(lambda chart: chart["count"] >= 5_000 and chart["forming"], "5,000 candles")
            until_live_s = time.monotonic() - begin
            return [
                row("page with 5,000 candles, until live", until_live_s, "s"),
                row("an update of it, drawn", _drawing_ms(page), "ms"),
            ]
    finally:
        daemon.close()


def _drawing_ms(page: WebPage) -> float:
    return float(
        page.script(
            "const c = document.querySelector('.plot').fluxcap, begin = performance.now(), at = c.series.forming[0];"
            "for (let i = 0; i < 20; i++) { c.series.setForming([at, 1.1, 1.12, 1.1, 1.1 + i / 1e4, i, i, 0]);"
            " c.draw(c.series.rows.length); c.chart.takeScreenshot(); } return (performance.now() - begin) / 20"
        )
    )


def rows(seconds: float = 60) -> list[dict[str, Any]]:
    """One row a measurement: ``name`` and ``ours`` in ``unit``; nothing to compare with."""
    with tempfile.TemporaryDirectory(prefix="fluxcap-bench-", ignore_cleanup_errors=True) as name:
        return page_speed(Path(name) / "page") + daemon_cost(Path(name), seconds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    for each in rows(parser.parse_args().seconds):
        print(f"{each['name']:48} {each['ours']:8.2f} {each['unit']}")


if __name__ == "__main__":
    main()
