"""``fluxcap.history``: a million candles beside DuckDB's own fetch, and commits beside readers.

    .venv/bin/python -m tests.bench.bench_history

The server is a process of its own, and so are the readers. Each reader asks for the newest day of a stream once a
second, as charts and notebooks do.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import duckdb
import numpy as np

from fluxcap import history
from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.store.store import Store
from fluxcap.schemas.types import CANDLE_DTYPE, CandleArray, CandleBatch, StreamKey
from tests.bench.bench_store import milliseconds, row
from tests.support.wire.samples import ANY_PORT, MINUTE

ROWS = 1_000_000
KEYS = [StreamKey("SIM", f"S{number}", "1m") for number in range(16)]
READERS = 10
DAY_MS = 1_440 * MINUTE
BETWEEN_COMMITS_S = 0.02


def minutes_of(first: int, count: int) -> CandleArray:
    """Consecutive minutes, flags among them."""
    number = np.arange(first, first + count)
    rows = np.zeros(count, CANDLE_DTYPE)
    rows["ts_ms"] = number * MINUTE
    rows["open"], rows["high"], rows["low"], rows["close"] = 1.1, 1.2, 1.0, 1.0 + number % 997 / 10_000
    rows["volume"] = rows["tick_count"] = 100
    rows["flags"] = np.where(number % 50 == 0, 2, 0)
    return rows


def make_store(path: Path, count: int) -> None:
    """A million candles of one stream, and a day of each of the others."""
    with Store.open(path) as store:
        for first in range(1, count + 1, 50_000):
            store.commit([CandleBatch(KEYS[0], first, minutes_of(first, min(50_000, count + 1 - first)))])
        store.commit([CandleBatch(key, 1, minutes_of(count - 1_439, 1_440)) for key in KEYS[1:]])


def serve(path: Path, newest: int, pipe: Connection) -> None:
    """Commit as often as is asked, and tell how long each took (ms); None ends."""
    with WireServer(path, ANY_PORT, ANY_PORT) as server:
        took: list[float] = []

        def observe(step: str, seconds: float) -> None:
            if step == "commit":
                took.append(seconds * 1e3)

        server._observe = observe
        pipe.send(server.rep_endpoint)
        while (rounds := pipe.recv()) is not None:
            took.clear()
            for _ in range(rounds):
                newest += 1
                server.publish({key: minutes_of(newest, 1) for key in KEYS})
                time.sleep(BETWEEN_COMMITS_S)
            pipe.send((newest, list(took)))


def read(rep: str, newest: int, pipe: Connection) -> None:
    """Ten readers, until something is sent; then tell how many answers they had."""
    is_over = threading.Event()
    answers = [0] * READERS

    def one(number: int) -> None:
        is_over.wait(number / READERS)
        while not is_over.wait(1.0):
            found = history(KEYS[number], source=rep, start=newest * MINUTE - DAY_MS, timeout=30)
            assert len(found) >= 1_440
            answers[number] += 1

    threads = [threading.Thread(target=one, args=(number,)) for number in range(READERS)]
    for thread in threads:
        thread.start()
    pipe.send("ready")
    pipe.recv()
    is_over.set()
    for thread in threads:
        thread.join()
    pipe.send(sum(answers))


def rows(quick: bool = False) -> list[dict[str, Any]]:
    """Every figure."""
    spawn = multiprocessing.get_context("spawn")
    count, rounds, phases, commits = (ROWS, 3, 3, 150) if quick else (ROWS, 7, 6, 400)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "fluxcap.duckdb"
        make_store(path, count)

        def ours(source: str | Path) -> None:
            assert len(history(KEYS[0], source=source, timeout=60).numpy()["close"]) == count

        def theirs(_: int) -> None:
            with duckdb.connect(str(path), read_only=True, config={"threads": 2}) as bare:
                found = bare.execute(
                    "SELECT sequence, ts_ms, open, high, low, close, volume, tick_count, flags FROM candles "
                    "WHERE stream_id = 1 ORDER BY ts_ms"
                ).fetchnumpy()
            assert len(found["close"]) == count

        stopped = milliseconds(lambda _: ours(path), theirs, rounds)
        here, there = spawn.Pipe()
        server = spawn.Process(target=serve, args=(path, count, there), daemon=True)
        copy = Path(name) / "copy.duckdb"
        copy.write_bytes(path.read_bytes())
        path = copy  # theirs goes on with a store that nobody has
        server.start()
        rep = here.recv()
        wired = milliseconds(lambda _: ours(rep), theirs, rounds)
        alone, beside = commits_beside_readers(spawn, here, rep, count, phases, commits)
        here.send(None)
        server.join(30)
    return [
        row("a million candles from a stopped store: DuckDB's own fetch", *stopped, aim=1 / 2),
        row("a million candles over the wire: DuckDB's own fetch", *wired, aim=1 / 4),
        row(f"p99 of a commit of 16 streams beside {READERS} readers: alone", beside, alone, aim=1 / 1.5),
    ]


def commits_beside_readers(
    spawn: Any, server: Connection, rep: str, newest: int, phases: int, commits: int
) -> tuple[list[float], list[float]]:
    """The 99th percentile (ms) of each phase without readers, and of each with them, in turn."""
    alone, beside = [], []
    server.send(commits)
    newest, _ = server.recv()  # to warm up
    for _ in range(phases):
        server.send(commits)
        newest, took = server.recv()
        alone.append(float(np.percentile(took, 99)))
        here, there = spawn.Pipe()
        readers = spawn.Process(target=read, args=(rep, newest, there), daemon=True)
        readers.start()
        here.recv()
        time.sleep(1.5)
        server.send(commits)
        newest, took = server.recv()
        beside.append(float(np.percentile(took, 99)))
        here.send(None)
        assert here.recv() > 0
        readers.join(30)
    return alone, beside


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    for told in rows(parser.parse_args().quick):
        print(
            f"{told['name']}: {told['ours']:.1f} {told['unit']} beside {told['theirs']:.1f}, ratio {told['ratio']:.2f} "
            f"({told['ratio_low']:.2f} - {told['ratio_high']:.2f}), aim {told['aim']:.2f}"
        )
