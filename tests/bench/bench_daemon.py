"""What the whole daemon costs at a real market's load: ``python -m tests.bench.bench_daemon [--minutes 5]``.

``fluxcap run`` as people run it, on a real Chromium whose page gets 16 assets at 2.1 ticks a second, all in focus: once
without its web, once with it and one page of the dashboard open. CPU of its process beside a bare loop on the same page
(tick_readers.py), which receives and decodes and does nothing else; memory at the end beside a process that does only
the unavoidable: it has imported the same libraries and has the same store open.

And what one waits for: from attaching to a browser to the first tick, decoded and with its true time known (the
platform's clock takes about 2 s to be sure of), beside the bare loop; from starting the daemon to its first candle
under way on the wire.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import zmq

from fluxcap.bridge.store.connection import DEFAULT_MEMORY_LIMIT
from tests.bench.bench_latency import ROOT, Site, shown
from tests.bench.bench_web import live_page
from tests.support.browser.chromium import Chromium
from tests.support.daemon.live_rig import DaemonProcess

ASSETS, RATE_HZ = 16, 2.1
WARM_S = 30.0
STARTS = 5
BARE_S = 30.0
FLOOR = 1 / 1.1
MOST_SHARE, MOST_SHARE_WITH_PAGE = 1.0, 1.5
UNAVOIDABLE = """
import importlib, json, os, sys
path, limit, names = sys.argv[1], sys.argv[2], json.load(sys.stdin)
for name in names:
    try:
        importlib.import_module(name)
    except Exception:
        pass  # one that another one makes, or that is for its program alone
import duckdb
store = duckdb.connect(path, config={"memory_limit": limit, "threads": 2})
for table in ("candles", "gaps", "streams"):
    store.execute(f"SELECT count(*) FROM {table}").fetchall()
def tell_mb():
    print(int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6)
tell_mb()
store.execute("INSERT INTO candles_fresh SELECT * FROM candles LIMIT 16")
tell_mb()
"""
"""The floor of memory: the same libraries, the same store; and the same once it has stored something, for which DuckDB
needs some MB that it does not give back."""


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def row(
    name: str, ours: float, theirs: float | None, unit: str, *, limit: float | None = None, aim: float | None = None
) -> dict[str, Any]:
    ratio = None if theirs is None else theirs / ours
    return {"name": name, "ours": ours, "theirs": theirs, "ratio": ratio, "unit": unit, "limit": limit, "aim": aim}


# --- the load ---------------------------------------------------------------------------------------------------------


class Scene:
    """A browser that shows the site, and what reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.browser = Chromium(folder / "profile")
        self.site = Site(folder / "site", ASSETS * RATE_HZ, ASSETS)

    def daemon(self, name: str, data: str | None = None) -> DaemonProcess:
        """``data``: the daemon that it goes on from; None: this is a first run."""
        data_dir = self.folder / (data or name) / "data"
        return DaemonProcess(self.folder / name, self.browser.port, *self._options(), interval="1m", data_dir=data_dir)

    def own_daemon(self, name: str, *, web: bool) -> DaemonProcess:
        """One by an interpreter of its own, which tells what it imports."""
        return DaemonProcess(
            self.folder / name,
            self.browser.port,
            *(self._options() if web else self._options()[:2]),
            interval="1m",
            environment={"PYTHONPROFILEIMPORTTIME": "1"},
            fresh=True,
        )

    def _options(self) -> tuple[str, ...]:
        return "--platform-url", self.site.host, "--web", "--web-port", "0"

    def reader(self, way: str, seconds: float) -> tuple[float, float]:
        """Seconds from attaching to its first tick, and its share of a core from then on."""
        command = [sys.executable, "-m", "tests.bench.tick_readers", way, str(self.browser.port), self.site.host]
        run = subprocess.run(
            [*command, str(seconds), str(self.folder / "ticks")], capture_output=True, text=True, timeout=120, cwd=ROOT
        )
        assert not run.returncode, run.stderr[-500:]
        attach_s, share = run.stdout.split()[-2:]
        return float(attach_s), float(share)

    def close(self) -> None:
        self.site.stop()
        self.browser.stop()


def load_rows(scene: Scene, minutes: float) -> list[dict[str, Any]]:
    """Without web, and with web and a page; the bare loop between them."""
    load = f"{ASSETS} assets x {RATE_HZ}/s"
    alone = measured(scene, "alone", minutes, web=False)
    _, bare_share = scene.reader("bare", BARE_S)
    shown_too = measured(scene, "shown", minutes, web=True)
    table = []
    for said, (share, first_mb, last_mb, (floor_mb, stored_floor_mb)), most in (
        ("without web", alone, MOST_SHARE),
        ("with web and a page", shown_too, MOST_SHARE_WITH_PAGE),
    ):
        what = f"daemon at {load} for {minutes:g} min, {said}"
        table += [
            row(f"{what}: bare loop", share, bare_share, "% of a core", limit=most),
            row(f"memory, {what}: libraries and store alone", last_mb, floor_mb, "MB", aim=FLOOR),
            row(f"memory, {what}: libraries and store, one commit", last_mb, stored_floor_mb, "MB"),
            row(f"memory, {what}: at its start", last_mb, first_mb, "MB"),
        ]
    return table


def measured(scene: Scene, name: str, minutes: float, *, web: bool) -> tuple[float, float, float, tuple[float, float]]:
    """Percent of a core; memory at the start, at the end, and of a process with the same libraries and store, in MB."""
    daemon = scene.own_daemon(name, web=web)
    try:
        focus_all(daemon)
        daemon.await_status(lambda status: len(status["streams"]) >= ASSETS, "all streams")
        with contextlib.ExitStack() as stack:
            if web:
                stack.enter_context(live_page(scene.folder / name, daemon.run_file().control))
            time.sleep(WARM_S)
            first_mb, cpu_s, begun_s = resident_mb(daemon.pid), cpu_seconds(daemon.pid), time.monotonic()
            time.sleep(minutes * 60)
            share = 100 * (cpu_seconds(daemon.pid) - cpu_s) / (time.monotonic() - begun_s)
            last_mb = resident_mb(daemon.pid)
        status = daemon.status()
        assert daemon.running, daemon.err[-500:]
        assert len(status["streams"]) == ASSETS, status["streams"]
    finally:
        daemon.discard()
    return share, first_mb, last_mb, floor_mb(scene.folder / f"{name}-floor", daemon)


def floor_mb(folder: Path, ended: DaemonProcess) -> tuple[float, float]:
    """Memory of a process with the libraries that a daemon had imported, and its store open; and after one commit."""
    told = [line.rpartition("|")[2].strip() for line in ended.err.splitlines() if line.startswith("import time:")]
    libraries = [name for name in told if name.partition(".")[0] not in ("fluxcap", "tests", "imported package")]
    shutil.copytree(ended.data_dir, folder)
    run = subprocess.run(
        [sys.executable, "-c", UNAVOIDABLE, str(folder / "fluxcap.duckdb"), DEFAULT_MEMORY_LIMIT],
        input=json.dumps(libraries), capture_output=True, text=True, timeout=120, cwd=ROOT,
    )  # fmt: skip
    assert not run.returncode, run.stderr[-500:]
    opened, stored = map(float, run.stdout.split())
    return opened, stored


def focus_all(daemon: DaemonProcess) -> None:
    data = ("--data-dir", str(daemon.data_dir))
    daemon.run_file()
    command = [sys.executable, "-m", "fluxcap.capture.cli", "focus", "all", *data]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert not run.returncode, run.stderr


# --- waits ------------------------------------------------------------------------------------------------------------


def attach_rows(scene: Scene) -> list[dict[str, Any]]:
    """In turn, so that both meet the machine as it is."""
    ways = ("daemon", "again", "ours", "bare")
    found: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(STARTS):
        for way in ways:
            found[way].append(scene.reader(way, 0.1)[0] * 1e3)
    first_ms, again_ms, ours_ms, bare_ms = (statistics.median(found[way]) for way in ways)
    names = [f"start-{number}" for number in range(STARTS)]
    starts = [(first_forming_s(scene, name), first_forming_s(scene, f"{name}-again", name)) for name in names]
    first_s, again_s = (statistics.median(column) for column in zip(*starts, strict=True))
    return [
        row("attach to first tick decoded: bare loop", ours_ms, bare_ms, "ms"),
        row("attach to first tick, its true time known, first run: bare loop", first_ms, bare_ms, "ms"),
        row("attach to first tick, its true time known, later run: bare loop", again_ms, bare_ms, "ms", limit=400.0),
        row("fluxcap run to first candle under way on the wire, first run", first_s, None, "s"),
        row("fluxcap run to first candle under way on the wire, later run", again_s, None, "s", limit=1.5),
    ]


def first_forming_s(scene: Scene, name: str, data: str | None = None) -> float:
    """From starting the process to the first ``forming.`` message. ``data``: as ``Scene.daemon``."""
    begun_s = time.monotonic()
    daemon = scene.daemon(name, data)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        with context.socket(zmq.SUB) as socket:
            socket.setsockopt(zmq.SUBSCRIBE, b"forming.")
            socket.connect(daemon.run_file().pub)
            assert socket.poll(60_000), daemon.err[-500:]
            return time.monotonic() - begun_s
    finally:
        context.destroy(linger=0)
        daemon.discard()


def rows(minutes: float = 5.0) -> list[dict[str, Any]]:
    """One row a measurement: ``name`` (ours: theirs), ``ours`` and ``theirs`` in ``unit``, ``ratio`` and ``limit``."""
    table: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="fluxcap-bench-", ignore_cleanup_errors=True) as name:
        scene = Scene(Path(name))
        try:
            with shown(scene.browser, scene.site.url):
                work: tuple[Callable[[], list[dict[str, Any]]], ...] = (
                    lambda: attach_rows(scene),
                    lambda: load_rows(scene, minutes),
                )
                for each in work:
                    table += each()
        finally:
            scene.close()
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    for each in rows(parser.parse_args().minutes):
        theirs = "" if each["theirs"] is None else f"{each['theirs']:.2f}"
        print(f"{each['name']:62}{each['ours']:10.2f}{theirs:>10} {each['unit']}")


if __name__ == "__main__":
    main()
