"""From a sealed candle to a client's hand, and a month of candles to a client that has none:
``python -m tests.bench.bench_delivery``.

The server is a process of its own, as the daemon is; the client runs here. Each sealed candle carries in its close the
monotonic time of its sealing, so that the client's event tells what the whole way took: numbered, committed to DuckDB
with fsync, published, received, told. "Theirs" is the floor: one durable row by DuckDB alone, in turn with ours on the
same disk. The aim for the 99th percentile is three floors, of the same percentile, and 2 ms; for a durable client,
which commits after the store, two floors and 4 ms; for 1,000 streams 70 ms.

A durable client commits a second time, to its own copy, before it tells: two floors at least.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import duckdb
import numpy as np

from fluxcap import Candles, CaughtUp, LiveClient, StreamKey
from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.store.store import Store
from fluxcap.schemas.types import CANDLE_DTYPE, Candle, CandleArray, CandleBatch

ANY = "tcp://127.0.0.1:0"
MINUTE = 60_000
MONTH = 43_200
PAUSE_S = 0.004
"""Between two sealings: real ones are a minute apart, so that every thread sleeps when one comes."""
ROUNDS = {1: 400, 16: 300, 1_000: 30}
CATCH_UP_LIMIT_MS = 300.0
MANY_LIMIT_MS = 70.0
GREETING_S = 30.0


def keys(streams: int) -> list[StreamKey]:
    return [StreamKey("BENCH", f"S{number:04}", "1m") for number in range(streams)]


# --- the server's process -------------------------------------------------------------------------------------------


def serve(pipe: Connection, folder: str, streams: int) -> None:
    """Obeys ``seal`` (one candle a stream, then one bare row; answers both commits' times) until ``end``."""
    with (
        WireServer(Path(folder) / "bench.duckdb", ANY, ANY) as server,
        duckdb.connect(str(Path(folder) / "bare.duckdb")) as bare,
    ):
        bare.execute("CREATE TABLE rows (a UBIGINT PRIMARY KEY, b BIGINT, c DOUBLE, d DOUBLE, e DOUBLE)")
        pipe.send((server.pub_endpoint, server.rep_endpoint))
        minute = 0
        while pipe.recv() == "seal":
            minute += 1
            begun_s = time.monotonic()
            server.publish({key: [sealed(minute, begun_s)] for key in keys(streams)})
            time.sleep(PAUSE_S)
            floor_s = time.monotonic()
            bare.execute("INSERT INTO rows VALUES (?, 3, 4, 5, 6)", [minute])
            pipe.send(time.monotonic() - floor_s)
            time.sleep(PAUSE_S)


def sealed(minute: int, now_s: float) -> Candle:
    return Candle(minute * MINUTE, 1.0, 1e9, 0.5, now_s, 126.0, 126)


# --- seal to hand -----------------------------------------------------------------------------------------------------


def deliveries(folder: Path, streams: int, rounds: int, durable: bool) -> tuple[list[float], list[float]]:
    """Per round in ms: until the last stream's candle was in hand, and the bare commit."""
    start = multiprocessing.get_context("spawn")
    near, far = start.Pipe()
    folder.mkdir()
    server = start.Process(target=serve, args=(far, str(folder), streams))
    server.start()
    taken_ms, floor_ms = [], []
    try:
        pub, rep = near.recv()
        with LiveClient(pub, rep, folder / "client" if durable else None, streams=keys(streams)) as client:
            await_streams(client, near, streams)
            events = client.events(timeout=GREETING_S)
            for _ in range(rounds):
                near.send("seal")
                taken_ms.append(take(events, streams))
                floor_ms.append(near.recv() * 1e3)
        near.send("end")
    finally:
        server.join(20)
        if server.is_alive():
            server.kill()
    return taken_ms, floor_ms


def await_streams(client: LiveClient, pipe: Connection, streams: int) -> None:
    """Seal until every stream has been heard live: subscriptions take their time."""
    heard: set[StreamKey] = set()
    while len(heard) < streams:
        pipe.send("seal")
        pipe.recv()
        for event in client.events(timeout=0.5):
            if isinstance(event, Candles) and not event.is_backfill:
                heard.add(event.key)


def take(events: Any, streams: int) -> float:
    """Milliseconds from the sealing until the last of the streams was told."""
    left = streams
    for event in events:
        if isinstance(event, Candles):
            left -= 1
            if not left:
                return (time.monotonic() - float(event.candles["close"][-1])) * 1e3
    raise RuntimeError("a sealed candle did not arrive")


def delivery_rows(folder: Path, scale: float) -> list[dict[str, Any]]:
    table = []
    for streams, rounds in ROUNDS.items():
        for durable in (False, True) if streams == 16 else (False,):
            found = deliveries(folder / f"{streams}-{durable}", streams, max(10, int(rounds * scale)), durable)
            name = f"sealed to in hand, {streams:,} streams in a commit" + (", durable client" if durable else "")
            for percentile in (50, 99):
                ours, floor = (float(np.percentile(times, percentile)) for times in found)
                limit = (2 * floor + 4 if durable else 3 * floor + 2) if streams <= 16 else MANY_LIMIT_MS
                table.append(
                    {
                        "name": f"{name}, p{percentile}: bare commit",
                        "ours": ours,
                        "theirs": floor,
                        "unit": "ms",
                        "ratio": floor / ours,
                        "limit": limit if percentile == 99 else None,
                    }
                )
    return table


# --- catching up ------------------------------------------------------------------------------------------------------


def month() -> CandleArray:
    """A random walk."""
    walk = np.round(1.08 + np.cumsum(np.random.default_rng(1).normal(0, 1e-4, (MONTH, 4)), axis=0), 5)
    array = np.zeros(MONTH, CANDLE_DTYPE)
    array["ts_ms"] = 1_756_850_400_000 + MINUTE * np.arange(MONTH)
    array["open"], array["close"] = walk[:, 0], walk[:, 3]
    array["high"], array["low"] = walk.max(axis=1), walk.min(axis=1)
    array["volume"] = array["tick_count"] = 100 + np.arange(MONTH) % 50
    return array


def serve_month(pipe: Connection, folder: str) -> None:
    """A server that was started on a store of a month."""
    path = Path(folder) / "month.duckdb"
    with Store.open(path) as store:
        store.commit([CandleBatch(keys(1)[0], 1, month())])
    with WireServer(path, ANY, ANY) as server:
        pipe.send((server.pub_endpoint, server.rep_endpoint))
        while pipe.recv() == "heartbeat":
            server.heartbeat(0)


def caught_up_ms(pub: str, rep: str, data_dir: Path | None) -> float:
    """From opening the client to the last candle told, all of them stored when ``data_dir`` is given."""
    begun_s = time.monotonic()
    with LiveClient(pub, rep, data_dir, streams=keys(1)) as client, closing(client.events(GREETING_S)) as events:
        for event in events:
            if isinstance(event, CaughtUp) and event.sequence >= MONTH:
                return (time.monotonic() - begun_s) * 1e3
    raise RuntimeError("the client did not catch up")


def bare_copy_ms(folder: Path, number: int) -> float:
    """The floor: the same candles from memory into a keyed table in a new file, by DuckDB alone."""
    begun_s = time.monotonic()
    with duckdb.connect(str(folder / f"bare-{number}.duckdb")) as bare:
        rows = month()
        incoming = {name: np.ascontiguousarray(rows[name]) for name in CANDLE_DTYPE.names or ()}
        incoming["sequence"] = np.arange(1, MONTH + 1)
        bare.execute(
            "CREATE TABLE candles (stream VARCHAR, sequence UBIGINT, ts_ms BIGINT, open DOUBLE, high DOUBLE, low "
            "DOUBLE, close DOUBLE, volume DOUBLE, tick_count UINTEGER, flags USMALLINT, PRIMARY KEY (stream, sequence))"
        )
        bare.execute("INSERT INTO candles SELECT 'S', sequence, * EXCLUDE sequence FROM incoming")
    return (time.monotonic() - begun_s) * 1e3


def catch_up_rows(folder: Path, rounds: int) -> list[dict[str, Any]]:
    start = multiprocessing.get_context("spawn")
    near, far = start.Pipe()
    folder.mkdir()
    server = start.Process(target=serve_month, args=(far, str(folder)))
    server.start()
    durable, memory, floor = [], [], []
    try:
        pub, rep = near.recv()
        for number in range(rounds):
            durable.append(caught_up_ms(pub, rep, folder / f"client-{number}"))
            memory.append(caught_up_ms(pub, rep, None))
            floor.append(bare_copy_ms(folder, number))
        near.send("end")
    finally:
        server.join(20)
        if server.is_alive():
            server.kill()
    return [
        _row(f"catch-up of {MONTH:,} candles, durable: bare copy", durable, floor, CATCH_UP_LIMIT_MS),
        _row(f"catch-up of {MONTH:,} candles, nothing kept: bare copy", memory, floor, None),
    ]


def _row(name: str, ours: list[float], theirs: list[float], limit: float | None) -> dict[str, Any]:
    ratios = sorted(their / our for our, their in zip(ours, theirs, strict=True))
    return {
        "name": name,
        "ours": statistics.median(ours),
        "theirs": statistics.median(theirs),
        "unit": "ms",
        "ratio": statistics.median(ratios),
        "ratio_low": ratios[0],
        "ratio_high": ratios[-1],
        "limit": limit,
    }


def rows(quick: bool = False) -> list[dict[str, Any]]:
    """One row a measurement: ``name`` (ours: theirs), ``ours`` and ``theirs`` in ``unit``, ``ratio`` (above 1: ours is
    better) and ``limit``: what ours must not exceed, None where there is none."""
    with tempfile.TemporaryDirectory(prefix="bench-delivery-") as name:
        work: list[Callable[[], list[dict[str, Any]]]] = [
            lambda: delivery_rows(Path(name), 0.2 if quick else 1.0),
            lambda: catch_up_rows(Path(name) / "month", 3 if quick else 9),
        ]
        return [row for each in work for row in each()]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    for each in rows(parser.parse_args().quick):
        limit = "" if each["limit"] is None else f"<= {each['limit']:.2f}"
        print(f"{each['name']:66}{each['ours']:10.2f}{each['theirs']:10.2f}{each['ratio']:8.2f} {limit}")


if __name__ == "__main__":
    main()
