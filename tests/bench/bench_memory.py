"""Where memory goes, and that it stops growing: ``python tests/bench/bench_memory.py``.

Half an hour of a busy market (500 ticks a second on 16 assets, candles of a second) in as short a time as this machine
takes, without a browser: frames through market, journal, store and wire, and a client with a cache in a process of its
own. Made-up time, real files and sockets. After every three minutes it prints what each process holds in MB: all of it
(resident), DuckDB's own, the ticks on the tapes and the newest candles in memory; what is left is "other". ``--trace``
lists the places that hold most of the growth between the second and the last look.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import gc
import json
import multiprocessing
import sys
import tempfile
import time
import tracemalloc
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from fluxcap.bridge.client.live import LiveClient
from fluxcap.bridge.server.server import WireServer
from fluxcap.capture.api.metrics import Metrics
from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.capture.market.focus import Focus, FocusMode
from fluxcap.capture.market.market import Market
from fluxcap.capture.pipeline.journal import TickJournal
from fluxcap.capture.pipeline.listeners import ListenerGroup
from fluxcap.capture.pipeline.publish import PublishStage
from fluxcap.capture.platforms.pocketoption import PocketOption
from fluxcap.schemas.types import CANDLE_DTYPE, StreamKey
from tests.bench.bench_growth import resident_mb
from tests.support.wire.samples import ANY_PORT

ASSETS, TICKS_PER_S = 16, 500
SECOND, OFFSET_MS = 1_000, 7_200_000
START_MS = 1_760_000_040_000
ANNOUNCEMENT = '451-["updateStream",{"_placeholder":true,"num":0}]'
LOOK_S, CHECKPOINT_S = 180, 60
TOLD = ("seconds", "daemon", "duckdb", "tapes", "recent", "other", "client", "its duckdb", "its other")


def key(symbol: str) -> StreamKey:
    return StreamKey("BENCH", symbol, "1s")


SYMBOLS = tuple(f"ASSET{number:02}" for number in range(ASSETS))


class Capture:
    """Market, journal, store and wire on made-up time, as the pipeline joins them."""

    def __init__(self, folder: Path) -> None:
        self.now_ms = START_MS
        self.server = WireServer(folder / "store.duckdb", ANY_PORT, ANY_PORT, clock_ms=lambda: self.now_ms)
        self.market = Market(PocketOption(), SECOND, Focus(FocusMode.ALL))
        self._publishing = PublishStage(
            self.market,
            self.server,
            key,
            ListenerGroup([Metrics("bench", process=False)]),
            lambda: self.now_ms * 1_000_000,
            TickJournal(folder / "journal", focused=self.market.focused_symbols),
        )

    def second(self) -> None:
        """A second of the market: each asset's ticks one after the other, in order of time."""
        for at in range(TICKS_PER_S):
            self.now_ms += SECOND // TICKS_PER_S
            row = [SYMBOLS[at % ASSETS], (self.now_ms + OFFSET_MS) / 1_000, 1.1 + self.now_ms * 7919 % 9973 / 1e5]
            payload = base64.b64encode(json.dumps([row]).encode()).decode()
            stamp = ArrivalTime.from_ms(self.now_ms, self.now_ms - START_MS + 1_000_000, True)
            self.market.received("socket", 1, ANNOUNCEMENT, stamp)
            self.market.received("socket", 2, payload, stamp)
        self.market.advance_time(stamp)
        self._publishing.flush(self.market.pending)
        self._publishing.forming(self.now_ms * 1_000_000)
        self._publishing.heartbeat(self.now_ms, lambda _: (4, self.now_ms, OFFSET_MS))

    @property
    def tapes_mb(self) -> float:
        return sum(16 * len(self.market.feeds.feed(symbol).tape) for symbol in SYMBOLS) / 1e6

    @property
    def recent_mb(self) -> float:
        return self.server._recent.rows * CANDLE_DTYPE.itemsize / 1e6


def duckdb_mb(cursor: Any) -> float:
    return float(cursor.rows("SELECT sum(memory_usage_bytes) FROM duckdb_memory()")[0][0]) / 1e6


def follow(pipe: Connection, pub: str, rep: str, folder: str) -> None:
    """A client with a cache; says on request how many candles it has, and what it holds."""
    with LiveClient(pub, rep, folder, streams=[key(symbol) for symbol in SYMBOLS]) as client:
        cursor = client._cache._connection.cursor()  # type: ignore[attr-defined]
        taken = 0
        while True:
            for event in client.events(timeout=0.2):
                taken += len(getattr(event, "candles", ()))
                if pipe.poll():
                    break
            if pipe.poll():
                if pipe.recv() == "end":
                    return
                gc.collect()
                pipe.send((taken, resident_mb(), duckdb_mb(cursor)))


def measure(seconds: int, *, trace: bool) -> list[dict[str, float]]:
    """One row a look; see ``TOLD``."""
    looks: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as name, contextlib.ExitStack() as stack:
        capture = Capture(Path(name))
        stack.callback(capture.server.close)
        pipe, far = multiprocessing.get_context("spawn").Pipe()
        ends = (capture.server.pub_endpoint, capture.server.rep_endpoint)
        client = multiprocessing.get_context("spawn").Process(target=follow, args=(far, *ends, f"{name}/client"))
        client.start()
        stack.callback(client.join)
        stack.callback(pipe.send, "end")
        if trace:
            tracemalloc.start(8)
        before = None
        for second in range(1, seconds + 1):
            capture.second()
            if second % CHECKPOINT_S == 0:
                capture.server.checkpoint()
            if second % LOOK_S == 0:
                pipe.send("look")
                _, theirs, its_duckdb = pipe.recv()
                looks.append(look(capture, second) | {"client": theirs, "its duckdb": its_duckdb})
                looks[-1]["its other"] = theirs - its_duckdb
                print("".join(f"{looks[-1].get(name, 0):12.1f}" for name in TOLD), flush=True)
                if trace and len(looks) == 2:
                    before = tracemalloc.take_snapshot()
        if before is not None:
            for found in tracemalloc.take_snapshot().compare_to(before, "lineno")[:25]:
                print(found)
    return looks


def look(capture: Capture, second: int) -> dict[str, float]:
    """What the daemon's side holds, by part."""
    gc.collect()
    mine = resident_mb()
    parts = {
        "duckdb": duckdb_mb(capture.server.store.reader()._cursor),
        "tapes": capture.tapes_mb,
        "recent": capture.recent_mb,
    }
    return {"seconds": second, "daemon": mine, **parts, "other": mine - sum(parts.values())}


def main() -> None:
    """Print the looks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=1_800)
    parser.add_argument("--trace", action="store_true")
    options = parser.parse_args()
    print("".join(f"{name:>12}" for name in TOLD))
    begun_s = time.monotonic()
    measure(options.seconds, trace=options.trace)
    print(f"took {time.monotonic() - begun_s:.0f} s")


if __name__ == "__main__":
    main()
