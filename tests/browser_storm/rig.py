"""What the storm blows upon: one site, one Chromium, daemons with candles of different length, and their clients.

Everything but the site is a process of its own. Daemons keep their addresses and data over their lives, clients their
copies.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import httpx

from capture.journal import journal_files
from capture.simulator import SimulatedSite, SiteConfig
from schemas.types import StreamKey, interval_ms
from tests.browser_storm.faulty_wire import FaultyWire
from tests.browser_storm.lines import JsonLines
from tests.chromium import Chromium
from tests.devtools import Remote
from tests.fault_rig import FOCUS, SHORT_WAITS
from tests.live_rig import SOURCE, DaemonProcess, Process, await_that

Told = Callable[[float], float | None]
"""When something was told, epoch seconds, if it was since a time."""

SHORT_MS = 2_000
"""Of lanes with candles up to so long recovery means a whole new candle; of others that their feeds are live."""
HISTORY_S = 10_000.0
"""How far the page's history reaches back: 150 of the platform's own minutes."""
DISK_SIZE = "96m"
NEAR, FAR, MORTAL, SLOW = "near", "far", "mortal", "slow"
CLIENTS = (NEAR, FAR, MORTAL, SLOW)
"""On a good wire; behind a bad one; one that is killed; one whose consumer is slow."""
SLOW_S, SLOW_QUEUE = 0.35, 20


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"tcp://127.0.0.1:{listener.getsockname()[1]}"


class Lane:
    """One data folder, and the lives of its daemon."""

    def __init__(self, folder: Path, data_dir: Path, interval: str, seed: int) -> None:
        self.folder, self.data_dir, self.interval = folder, data_dir, interval
        self.interval_ms = interval_ms(interval)
        self.pub, self.rep = free_address(), free_address()
        self.wire = FaultyWire(free_address(), free_address(), self.pub, self.rep, seed)
        self.lives = 0
        self.log = JsonLines()
        self.daemon: DaemonProcess
        self._http = httpx.Client(timeout=10, trust_env=False)
        folder.mkdir(parents=True)

    def key(self, symbol: str) -> StreamKey:
        return StreamKey(SOURCE, symbol, self.interval)

    def start(self, chrome_port: int, profile: Path, host: str) -> None:
        """Begin a life; does not wait until it answers."""
        self.lives += 1
        settings = self.folder / "fluxcap.toml"
        settings.write_text(SHORT_WAITS if self.interval_ms <= SHORT_MS else "")
        self.daemon = DaemonProcess(
            self.folder / f"life-{self.lives}",
            chrome_port,
            *("--platform-url", host, "--focus", ",".join(FOCUS), "--config", str(settings)),
            *("--chrome-profile", str(profile), "--pub", self.pub, "--rep", self.rep),
            interval=self.interval,
            data_dir=self.data_dir,
            module="tests.browser_storm.stepped_daemon",
        )
        self.log.follow(self.daemon.err_path)

    def kill(self) -> None:
        self.daemon.end(signal.SIGKILL)

    def tear_journal(self, draw: Random) -> None:
        """As a power failure leaves it: the last bytes did not reach the disk."""
        files = journal_files(self.data_dir / "journal")
        if files and files[-1].stat().st_size > 64:
            os.truncate(files[-1], files[-1].stat().st_size - draw.randint(1, 24))

    def status(self) -> dict[str, Any] | None:
        """None while nothing answers."""
        try:
            run = self.daemon.run_file()
            return dict(self._http.get(f"{run.control}/api/status").raise_for_status().json())
        except httpx.HTTPError:
            return None

    def latest_ts_ms(self, status: dict[str, Any]) -> int:
        """Start of the newest candle that every stream has; 0 before."""
        times = [stream["latest_ts_ms"] for stream in status["streams"]]
        return min(times) if len(times) == len(FOCUS) else 0

    def is_live(self, since_ms: float) -> bool:
        """All feeds live, and a candle, where those are short, that began since."""
        status = self.status()
        if status is None or status["store_trouble"] or {asset["feed"] for asset in status["assets"]} != {"live"}:
            return False
        return self.interval_ms > SHORT_MS or self.latest_ts_ms(status) >= since_ms

    def close(self) -> None:
        self.wire.stop()
        self.daemon.discard()
        self._http.close()


class ClientLives:
    """One client process, and those that come after it."""

    def __init__(self, name: str, folder: Path, lanes: Sequence[Lane]) -> None:
        self.name, self.folder, self._lanes = name, folder, lanes
        self.lives = 0
        self.told = JsonLines()
        self.standing: dict[str, list[int]] = {}
        """By stream: latest sequence, its start, latest revision."""
        self.begins: list[int] = []
        """How many lines had been told when each life began."""
        self.process: Process

    def data_dir(self, lane: Lane) -> Path:
        return self.folder / f"copy-{lane.interval}"

    def start(self) -> None:
        self.lives += 1
        self.process = Process(
            self.folder / f"life-{self.lives}", json.dumps(self._order()), module="tests.browser_storm.client"
        )
        self.told.follow(self.process.out_path)
        self.begins.append(len(self.told.all))

    def _order(self) -> dict[str, Any]:
        is_slow = self.name == SLOW
        lanes = []
        for lane in self._lanes:
            pub, rep = (lane.wire.pub, lane.wire.rep) if self.name == FAR else (lane.pub, lane.rep)
            streams = [[SOURCE, symbol, lane.interval] for symbol in FOCUS]
            lanes.append({"pub": pub, "rep": rep, "data_dir": str(self.data_dir(lane)), "streams": streams})
        return {"slow_s": SLOW_S * is_slow, "queue_candles": SLOW_QUEUE if is_slow else 200_000, "lanes": lanes}

    def read(self) -> list[dict[str, Any]]:
        fresh = self.told.read()
        for line in fresh:
            if line["kind"] == "cursor":
                self.standing[line["stream"]] = line["standing"]
        return fresh

    def has(self, lane: Lane, ts_ms: float) -> bool:
        """Whether its copy holds a candle of every stream of a lane that began at a time or later."""
        self.read()
        return all(self.standing.get(str(lane.key(symbol)), [0, 0, 0])[1] >= ts_ms for symbol in FOCUS)

    def tells(self, lane: Lane, *states: str) -> Told:
        """When it told one of these states of health of a lane's stream."""
        streams = {str(lane.key(symbol)) for symbol in FOCUS}

        def told(since_s: float) -> float | None:
            self.read()
            for line in self.told.all[-500:]:
                if line["t"] >= since_s and line["stream"] in streams and line.get("state") in states:
                    return float(line["t"])
            return None

        return told


class StormRig:
    """``lanes[0]`` has the shortest candles, and the small disk where one can be had."""

    def __init__(self, folder: Path, stack: ExitStack, intervals: Sequence[str], draw: Random) -> None:
        self.folder, self.stack, self.draw = folder, stack, draw
        self.veteran = False
        """Whether the last lane's daemon is spared now."""
        self.disk = small_disk(folder, stack)
        self.clock = WallClock(folder / "clock", stack)
        config = SiteConfig(
            assets=FOCUS,
            rate_hz=10,
            truth_path=folder / "truth.jsonl",
            seed=draw.randrange(10_000),
            pre_roll_s=HISTORY_S,
        )
        self.site = stack.enter_context(SimulatedSite(config))
        profile = folder / "profile"
        profile.mkdir(parents=True)
        # Without this setting chrome://discards only says that it is switched off.
        (profile / "Local State").write_text('{"internal_only_uis_enabled":true}')
        self.browser = Chromium(profile)
        stack.callback(self.browser.stop)
        self.home_port = self.browser.port
        """Where the daemons are told to look; Chrome may go elsewhere for a while."""
        self.lanes: list[Lane] = []
        for number, interval in enumerate(intervals):
            data_dir = (self.disk if self.disk and not number else folder / interval) / "data"
            lane = Lane(folder / interval, data_dir, interval, draw.randrange(2**32))
            self.start(lane)
            stack.callback(lane.close)
            lane.wire.start()
            self.lanes.append(lane)
        for lane in self.lanes:
            lane.daemon.run_file()
        self.clients = {name: ClientLives(name, folder / name, self.lanes) for name in CLIENTS}
        for client in self.clients.values():
            client.start()
            stack.callback(lambda client=client: client.process.discard())
        self.tab = self.open_tab()

    @property
    def site_host(self) -> str:
        return self.site.url.removeprefix("http://").strip("/")

    def start(self, lane: Lane) -> None:
        """Begin a life of its daemon."""
        lane.start(self.home_port, self.browser.profile, self.site_host)

    def open_tab(self) -> Remote:
        return Remote(self.browser, str(self.browser.open(self.site.url)["id"]))

    def log_tells(self, event: str, **fields: str) -> Told:
        """When the first lane's log told it."""

        def told(since_s: float) -> float | None:
            log = self.lanes[0].log
            log.read()
            for line in log.all[-200:]:
                at_s = datetime.fromisoformat(line["ts"]).timestamp()
                if at_s >= since_s and line["event"] == event and fields.items() <= line.items():
                    return at_s
            return None

        return told

    def status_tells(self, holds: Callable[[dict[str, Any]], bool]) -> Told:
        """Now, if it is true of the first lane's status."""

        def told(_since_s: float) -> float | None:
            status = self.lanes[0].status()
            return time.time() if status is not None and holds(status) else None

        return told

    def feed_tells(self, state: str) -> Told:
        return self.status_tells(lambda status: {asset["feed"] for asset in status["assets"]} == {state})

    def await_live(self, since_s: float, timeout_s: float) -> float:
        """Until every daemon captures again; returns when. Raises AssertionError."""
        waiting = list(self.lanes)

        def live() -> bool:
            waiting[:] = [lane for lane in waiting if not lane.is_live(since_s * 1_000)]
            return not waiting

        await_that(live, timeout_s, "capture again")
        return time.time()

    def await_clients(self, since_s: float, timeout_s: float) -> float:
        """Until every client's copy has a new candle of the lanes with short ones; returns when."""
        short = [lane for lane in self.lanes if lane.interval_ms <= SHORT_MS]

        def there() -> bool:
            return all(client.has(lane, since_s * 1_000) for lane in short for client in self.clients.values())

        await_that(there, timeout_s, "new candles at every client")
        return time.time()


class WallClock:
    """The wall clock of all daemons."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        path.write_bytes(bytes(8))
        file = stack.enter_context(path.open("r+b"))
        self._off_ns = stack.enter_context(mmap.mmap(file.fileno(), 8))
        os.environ["TESTED_WALL_CLOCK"] = str(path)

    @contextmanager
    def off_by(self, seconds: float) -> Iterator[None]:
        struct.pack_into("<q", self._off_ns, 0, round(seconds * 1e9))
        try:
            yield
        finally:
            struct.pack_into("<q", self._off_ns, 0, 0)


def small_disk(folder: Path, stack: ExitStack) -> Path | None:
    """A file system of its own, or None where none can be had."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    disk = folder / "disk"
    disk.mkdir(parents=True)
    command = [str(mount), "-t", "tmpfs", "-o", f"size={DISK_SIZE}", "none", str(disk)]
    if not mount or not umount or subprocess.run(command, capture_output=True).returncode:
        return None
    stack.callback(lambda: subprocess.run([umount, "--lazy", str(disk)], capture_output=True))
    return disk


@contextmanager
def stopped(pid: int, *, group: bool = False) -> Iterator[None]:
    """SIGSTOP and, afterwards, SIGCONT."""
    send = os.killpg if group else os.kill
    send(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            send(pid, signal.SIGCONT)
