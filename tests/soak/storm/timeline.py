"""The lives of a daemon and of a client: processes that are ended and started again, and what outlives them."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import httpx

from fluxcap.capture.pipeline.journal import journal_files
from fluxcap.schemas.types import StreamKey, interval_ms
from tests.soak.storm.faulty_wire import FaultyWire
from tests.soak.storm.lines import JsonLines
from tests.support.daemon.fault_rig import FOCUS, SHORT_WAITS
from tests.support.daemon.live_rig import SOURCE, DaemonProcess, Process
from tests.support.ports import lasting_port

Told: TypeAlias = Callable[[float], float | None]
"""When something was told, epoch seconds, if it was since a time."""

SHORT_MS = 2_000
"""Of lanes with candles up to so long recovery means a whole new candle; of others that their feeds are live."""
FAR, SLOW = "far", "slow"
"""The client behind a bad wire, and the one whose consumer is slow."""
SLOW_S, SLOW_QUEUE = 0.35, 20


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"tcp://127.0.0.1:{listener.getsockname()[1]}"


def feeds_of_focus(status: dict[str, Any]) -> set[str]:
    """The states of the feeds of the assets that are in focus all the time."""
    return {asset["feed"] for asset in status["assets"] if asset["symbol"] in FOCUS}


class Lane:
    """One data folder, and the lives of its daemon."""

    def __init__(self, folder: Path, data_dir: Path, interval: str, seed: int) -> None:
        self.folder, self.data_dir, self.interval = folder, data_dir, interval
        self.interval_ms = interval_ms(interval)
        self.pub, self.rep = free_address(), free_address()
        self.wire = FaultyWire(free_address(), free_address(), self.pub, self.rep, seed)
        self.web_port = lasting_port()
        self.lives = 0
        self.restored = 0
        """How often a backup was put back: so often its clients have to start over."""
        self.log = JsonLines()
        self.daemon: DaemonProcess
        self._http = httpx.Client(timeout=10, trust_env=False, verify=False)
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
            *("--web", "--web-port", str(self.web_port)),
            interval=self.interval,
            data_dir=self.data_dir,
            module="tests.soak.storm.stepped_daemon",
            fresh=True,  # its clock must step before anything has looked at it
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
        streams = {str(self.key(symbol)) for symbol in FOCUS}
        times = [stream["latest_ts_ms"] for stream in status["streams"] if stream["stream"] in streams]
        return min(times) if len(times) == len(FOCUS) else 0

    def is_live(self, since_ms: float) -> bool:
        """All feeds live, and a candle, where those are short, that began since."""
        status = self.status()
        if status is None or status["store_trouble"] or feeds_of_focus(status) != {"live"}:
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
            self.folder / f"life-{self.lives}", json.dumps(self._order()), module="tests.soak.storm.client"
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
