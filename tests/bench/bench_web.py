"""What the web costs the daemon: CPU of its process with the page open and three assets live, and without; growth; and
how quickly a page with 5,000 candles answers. Needs Chromium. ``--seconds`` of watching each (60).

    .venv/bin/python -m tests.bench.bench_web
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from tests.chromium import Chromium
from tests.dashboard_rig import FakeDaemon, dashboard
from tests.live_rig import DaemonProcess, Process, await_that
from tests.webpage import WebPage, web_page

ASSETS = ("EURUSD_otc", "GBPUSD_otc", "USDJPY_otc")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def watched(name: str, pid: int, seconds: float) -> None:
    """Print CPU of a core and growth over some time."""
    cpu, memory = cpu_seconds(pid), resident_mb(pid)
    time.sleep(seconds)
    percent = 100 * (cpu_seconds(pid) - cpu) / seconds
    growth = resident_mb(pid) - memory
    print(f"{name:34} {percent:5.1f} % of a core   {memory:6.1f} MB {growth:+5.2f} MB in {seconds:.0f} s", flush=True)


def daemon_cost(folder: Path, seconds: float) -> None:
    site = Process(folder / "site", "simulate", "--port", "0", "--assets", ",".join(ASSETS))
    address = await_that(lambda: site.out.partition(" at ")[2].partition(" ")[0], 60, "the site")
    browser = Chromium(folder / "chrome", url=address)
    options = ("--platform-url", address.split("/")[2], "--focus", ",".join(ASSETS), "--web", "--web-port", "0")
    daemon = DaemonProcess(folder / "daemon", browser.port, *options, interval="1m")
    try:
        daemon.await_status(lambda status: len(status["streams"]) >= len(ASSETS), "three streams")
        time.sleep(10)
        watched("daemon, no page", daemon.pid, seconds)
        with web_page(folder / "profile") as page:
            page.open(f"{daemon.run_file().control}?source=platform&asset={ASSETS[0]}")
            page.wait_chart(lambda chart: chart["forming"], "the live chart")
            time.sleep(10)
            watched("daemon, page open, 3 assets live", daemon.pid, seconds)
    finally:
        daemon.discard()
        browser.stop()
        site.discard()


def page_speed(folder: Path) -> None:
    folder.mkdir()
    daemon = FakeDaemon(folder, 5_000)
    try:
        with dashboard(folder / "page", daemon) as url, web_page(folder / "profile") as page:
            begin = time.monotonic()
            page.open(f"{url}?source=platform&asset=EURUSD_otc")
            page.wait_chart(lambda chart: chart["count"] >= 5_000 and chart["forming"], "5,000 candles")
            print(f"{'page with 5,000 candles':34} {time.monotonic() - begin:5.1f} s until live")
            print(f"{'  an update, drawn':34} {_drawing_ms(page):5.1f} ms")
    finally:
        daemon.close()


def _drawing_ms(page: WebPage) -> float:
    return float(
        page.script(
            "const c = document.querySelector('.candle-chart').fluxcap, begin = performance.now();"
            "for (let i = 0; i < 20; i++) { c.apply([], [c.endMs(), 1.1, 1.12, 1.1, 1.1 + i / 1e4, i, 0]);"
            " c.chart.getZr().flush(); } return (performance.now() - begin) / 20"
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="fluxcap-bench-", ignore_cleanup_errors=True) as name:
        page_speed(Path(name) / "page")
        daemon_cost(Path(name), seconds)


if __name__ == "__main__":
    main()
