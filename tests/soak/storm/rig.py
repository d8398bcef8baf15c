"""What the storm blows upon: one site, one Chromium, daemons with candles of different length, and their clients.

Everything but the site is a process of its own. Daemons keep their addresses and data over their lives, clients their
copies.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

from fluxcap.capture.simulator import SimulatedSite, SiteConfig
from fluxcap.schemas.types import interval_ms
from tests.soak.storm.timeline import FAR, SHORT_MS, SLOW, ClientLives, Lane, Told, feeds_of_focus
from tests.support.browser.chromium import Chromium
from tests.support.browser.devtools import Remote
from tests.support.daemon.fault_rig import FOCUS
from tests.support.patience import PATIENCE_S, await_that
from tests.support.ports import lasting_port
from tests.support.small_disk import small_disk

TICKS_BACK_S, ROWS_BACK = 800.0, 260
"""How far back the page's history goes when it loads: raw ticks, and the platform's own candles of a minute."""
DISK_SIZE = "96m"
VIEWED = "USDJPY_otc"
"""The asset that is in focus only while a viewer looks at it."""
NEAR, MORTAL = "near", "mortal"
CLIENTS = (NEAR, FAR, MORTAL, SLOW)
"""On a good wire; behind a bad one; one that is killed; one whose consumer is slow."""


class StormRig:
    """``lanes[0]`` has the shortest candles, and the small disk where one can be had."""

    def __init__(self, folder: Path, stack: ExitStack, intervals: Sequence[str], draw: Random) -> None:
        self.folder, self.stack, self.draw = folder, stack, draw
        self.veteran = False
        """Whether the last lane's daemon is spared now."""
        self.disk = stack.enter_context(small_disk(DISK_SIZE))
        self.clock = WallClock(folder / "clock", stack)
        os.environ["FLUXCAP_STATE_DIR"] = str(folder / "state")
        config = SiteConfig(
            assets=(*FOCUS, VIEWED),
            rate_hz=10,
            ping_timeout_s=10 * PATIENCE_S,  # no ping that a silence swallowed closes a socket when it is long over
            truth_path=folder / "truth.jsonl",
            seed=draw.randrange(10_000),
            pre_roll_s=max([TICKS_BACK_S, *(ROWS_BACK * 60 for each in intervals if interval_ms(each) == 60_000)]),
        )
        self.site = stack.enter_context(SimulatedSite(config))
        profile = folder / "profile"
        profile.mkdir(parents=True)
        # Without this setting chrome://discards only says that it is switched off.
        (profile / "Local State").write_text('{"internal_only_uis_enabled":true}')
        self.browser = Chromium(profile, port=lasting_port())
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

    def log_tells(self, event: str, *reasons: str) -> Told:
        """When the first lane's log told it, for one of these reasons."""

        def told(since_s: float) -> float | None:
            log = self.lanes[0].log
            log.read()
            for line in log.all[-200:]:
                at_s = datetime.fromisoformat(line["ts"]).timestamp()
                if at_s >= since_s and line["event"] == event and line.get("reason") in reasons:
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
        return self.status_tells(lambda status: feeds_of_focus(status) == {state})

    def await_live(self, since_s: float) -> float:
        """Until every daemon captures again; returns when. Raises AssertionError."""
        waiting = list(self.lanes)

        def live() -> bool:
            waiting[:] = [lane for lane in waiting if not lane.is_live(since_s * 1_000)]
            return not waiting

        await_that(live, "capture again")
        return time.time()

    def await_clients(self, since_s: float) -> float:
        """Until every client's copy has a new candle of the lanes with short ones; returns when."""
        short = [lane for lane in self.lanes if lane.interval_ms <= SHORT_MS]

        def there() -> bool:
            return all(client.has(lane, since_s * 1_000) for lane in short for client in self.clients.values())

        await_that(there, "new candles at every client")
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
