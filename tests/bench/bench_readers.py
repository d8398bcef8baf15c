"""What the live feed over HTTP costs: CPU of the process that serves it, of 100 streams with 2 updates a second each.

The server of the wire and the readers are processes of their own, so that the figure is the feed's alone: receiving,
deciding, and sending to 0, 1 and 10 readers that take all streams with their candles, or watch prices alone.

    .venv/bin/python -m tests.bench.bench_readers
"""

from __future__ import annotations

import argparse
import multiprocessing
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from fastapi import FastAPI

from fluxcap.bridge.http.serving import BoundedServer, server_config
from fluxcap.bridge.server.server import FeedInfo, WireServer
from fluxcap.bridge.system.ports import listening_socket
from fluxcap.bridge.web.event_writer import stream_name
from fluxcap.bridge.web.reader import ReaderTarget
from fluxcap.bridge.web.readers import Readers
from fluxcap.bridge.web.routes import add_readers
from fluxcap.schemas.types import Candle, FeedState, StreamKey
from tests.support.patience import await_that

STREAMS = 100
UPDATE_S = 0.5
KEYS = [StreamKey("BENCH", f"ASSET{number}_otc", "1m") for number in range(STREAMS)]


def serve_wire(pipe: Connection) -> None:
    """Forming candles of every stream twice a second, a heartbeat each second."""
    with (
        tempfile.TemporaryDirectory() as folder,
        WireServer(Path(folder) / "a.duckdb", "tcp://127.0.0.1:0", "tcp://127.0.0.1:0") as server,
    ):
        server.publish({key: [Candle(60_000, 1.0, 2.0, 0.5, 1.5, 9.0, 9)] for key in KEYS})
        pipe.send((server.pub_endpoint, server.rep_endpoint))
        turn = 0
        while not pipe.poll(UPDATE_S):
            turn += 1
            candle = Candle(120_000, 1.0, 2.0, 0.5, 1.0 + turn % 100 / 100, float(turn), turn)
            for key in KEYS:
                server.forming(key, candle, time.monotonic_ns())
            if turn % 2:
                server.heartbeat(120_000 + turn, lambda _: FeedInfo(FeedState.LIVE, 0, 0))


def rows(seconds: float = 20.0) -> list[dict[str, Any]]:
    here, there = multiprocessing.get_context("spawn").Pipe()
    wire = multiprocessing.get_context("spawn").Process(target=serve_wire, args=(there,), daemon=True)
    wire.start()
    ends = here.recv()
    readers = Readers(lambda: ReaderTarget(*ends))
    app = FastAPI()
    add_readers(app, readers)
    listener = listening_socket("127.0.0.1", 0)
    web = BoundedServer(app, server_config(app, lifespan="off"))
    thread = threading.Thread(target=web.run, args=([listener],))
    thread.start()
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api/stream?"
        full, watch = url + "&".join(f"stream={stream_name(key)}" for key in KEYS), url + "watch=*"
        found = []
        for count, name, address in (
            (0, "nobody", ""),
            (1, "1 reader", full),
            (10, "10 readers", full),
            (1, "1 watcher", watch),
        ):
            found.append(_row(name, *_watched(readers, address, count, seconds)))
        return found
    finally:
        web.should_exit = True
        thread.join()
        here.send("end")
        wire.join()


def _watched(readers: Readers, address: str, count: int, seconds: float) -> tuple[float, float]:
    """Percent of a core, and kilobytes a second to each reader."""
    with tempfile.TemporaryDirectory() as folder:
        outs = [Path(folder) / str(number) for number in range(count)]
        curls = [subprocess.Popen(["curl", "-sN", "-o", str(out), address]) for out in outs]
        try:
            if count:
                await_that(lambda: readers.hub.listeners == count, "the readers")
            time.sleep(2)
            begun, size = time.process_time(), sum(out.stat().st_size for out in outs)
            time.sleep(seconds)
            percent = 100 * (time.process_time() - begun) / seconds
            sent = (sum(out.stat().st_size for out in outs) - size) / 1e3 / seconds / max(count, 1)
        finally:
            for curl in curls:
                curl.kill()
                curl.wait()
        if count:
            await_that(lambda: readers.hub.listeners == 0, "their end")
    return percent, sent


def _row(name: str, percent: float, sent: float) -> dict[str, Any]:
    said = f"{STREAMS} streams, 2 updates/s each, {name} ({sent:.0f} kB/s each)"
    return {"name": said, "ours": percent, "theirs": None, "ratio": None, "unit": "% of a core", "aim": None}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    for one in rows(parser.parse_args().seconds):
        print(f"{one['name']:70} {one['ours']:8.1f} {one['unit']}")
