"""What the whole daemon costs at a real market's load: ``python -m tests.bench.bench_daemon [--minutes 5]``.

``fluxcap run`` as people run it, web included, on a real Chromium whose page gets 16 assets at 2.1 ticks a second, all
in focus: CPU of its process, memory when the market has been on for half a minute and at the end. "Theirs" is a bare
loop on the same page (tick_readers.py): it receives and decodes and does nothing else.

And what one waits for: from attaching to a browser to the first tick, decoded and with its true time known (the
platform's clock takes about 2 s to be sure of), beside the bare loop; from starting the daemon to its first candle
under way on the wire.
"""

from __future__ import annotations

import argparse
import os
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

from tests.bench.bench_latency import ROOT, Site, shown
from tests.support.browser.chromium import Chromium
from tests.support.daemon.live_rig import DaemonProcess

ASSETS, RATE_HZ = 16, 2.1
WARM_S = 30.0
STARTS = 5
BARE_S = 30.0


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
        options = ("--platform-url", self.site.host, "--web", "--web-port", "0")
        data_dir = self.folder / (data or name) / "data"
        return DaemonProcess(self.folder / name, self.browser.port, *options, interval="1m", data_dir=data_dir)

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
    daemon = scene.daemon("daemon")
    try:
        focus_all(daemon)
        daemon.await_status(lambda status: len(status["streams"]) >= ASSETS, "all streams")
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
    _, bare_share = scene.reader("bare", BARE_S)
    load = f"{ASSETS} assets x {RATE_HZ}/s"
    return [
        row(f"daemon at {load} for {minutes:g} min: bare loop", share, bare_share, "% of a core"),
        row(f"memory after {minutes:g} min: at its start", last_mb, first_mb, "MB"),
    ]


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
