"""Where memory goes, and that it stops growing: ``python tests/bench/bench_memory.py [--hours 6]``.

Hours of a market on 16 assets, candles of a second, in as short a time as this machine takes, without a browser: frames
through market, journal, store and wire, and a client with a cache in a process of its own. Made-up time, real files and
sockets. ``--ticks`` a second of all assets together: 34 is what a page shows, 500 a busy market.

After every three minutes it prints what each process holds in MB: all of it (resident), DuckDB's own, the ticks on the
tapes and the newest candles in memory; what is left is "other". At the end, how much each grew an hour in the second
half, by a line of least squares through the looks: all but DuckDB's own, and all. ``--trace`` lists the places that
hold most of the growth since the middle.
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

import numpy as np

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

ASSETS, TICKS_PER_S, HOURS = 16, 34, 6.0
MOST_MB_H = 1.0
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

    def __init__(self, folder: Path, ticks_per_s: int) -> None:
        self.now_ms = START_MS
        self._ticks_per_s = ticks_per_s
        self._ticked = 0
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
        begun_ms = self.now_ms
        for at in range(self._ticks_per_s):
            self.now_ms = begun_ms + SECOND * (at + 1) // self._ticks_per_s
            self._ticked += 1
            row = [
                SYMBOLS[self._ticked % ASSETS],
                (self.now_ms + OFFSET_MS) / 1_000,
                1.1 + self.now_ms * 7919 % 9973 / 1e5,
            ]
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


def measure(hours: float, ticks_per_s: int, *, trace: bool) -> list[dict[str, float]]:
    """One row a look; see ``TOLD``."""
    looks: list[dict[str, float]] = []
    seconds = round(hours * 3_600)
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as name, contextlib.ExitStack() as stack:
        capture = Capture(Path(name), ticks_per_s)
        stack.callback(capture.server.close)
        pipe, far = multiprocessing.get_context("spawn").Pipe()
        ends = (capture.server.pub_endpoint, capture.server.rep_endpoint)
        client = multiprocessing.get_context("spawn").Process(target=follow, args=(far, *ends, f"{name}/client"))
        client.start()
        stack.callback(client.join)
        stack.callback(pipe.send, "end")
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
                looks[-1]["rest"] = looks[-1]["daemon"] - looks[-1]["duckdb"]
                print("".join(f"{looks[-1].get(name, 0):12.1f}" for name in TOLD), file=sys.stderr, flush=True)
            if trace and second == seconds // 2:
                tracemalloc.start(8)
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


def slope_mb_h(looks: list[dict[str, float]], name: str) -> float:
    """How much a part grew an hour in the second half."""
    half = [one for one in looks if one["seconds"] > looks[-1]["seconds"] / 2]
    return float(np.polyfit([one["seconds"] / 3_600 for one in half], [one[name] for one in half], 1)[0])


GROWN = (
    ("daemon, all but DuckDB's own", "rest", MOST_MB_H),
    ("client with a copy, all but DuckDB's own", "its other", MOST_MB_H),
    ("daemon", "daemon", None),
    ("client with a copy", "client", None),
    ("daemon, DuckDB's own", "duckdb", None),
    ("client with a copy, DuckDB's own", "its duckdb", None),
)


def rows(hours: float = HOURS, ticks_per_s: int = TICKS_PER_S) -> list[dict[str, Any]]:
    """One row a part: how much it grew an hour, and what it was at the end beside what it was at the middle."""
    looks = measure(hours, ticks_per_s, trace=False)
    middle = next(one for one in looks if one["seconds"] > looks[-1]["seconds"] / 2)
    what = f"hours {hours / 2:g} to {hours:g}, {ASSETS} x 1 s candles"
    table: list[dict[str, Any]] = []
    for said, name, limit in GROWN:
        limit = limit if hours >= HOURS else None  # before, what has an end is not there yet
        table.append({"name": f"growth an hour, {what}: {said}", "ours": slope_mb_h(looks, name), "unit": "MB"})
        table[-1] |= {"theirs": None, "ratio": None, "limit": limit}
    for said, name in (("daemon", "daemon"), ("client", "client")):
        ours, theirs = looks[-1][name], middle[name]
        table.append({"name": f"memory of the {said} after hour {hours:g}: at hour {hours / 2:g}", "unit": "MB"})
        table[-1] |= {"ours": ours, "theirs": theirs, "ratio": theirs / ours}
    return table


def main() -> None:
    """Print the looks and the growth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=HOURS)
    parser.add_argument("--ticks", type=int, default=TICKS_PER_S, help="a second, of all assets together")
    parser.add_argument("--trace", action="store_true")
    options = parser.parse_args()
    print("".join(f"{name:>12}" for name in TOLD), file=sys.stderr)
    begun_s = time.monotonic()
    looks = measure(options.hours, options.ticks, trace=options.trace)
    for said, name, _ in GROWN:
        print(f"{said:45}{slope_mb_h(looks, name):+8.2f} MB an hour in the second half")
    print(f"took {time.monotonic() - begun_s:.0f} s")


if __name__ == "__main__":
    main()
