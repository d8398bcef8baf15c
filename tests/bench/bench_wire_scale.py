"""1,000 streams and 200 subscribers on one server: ``python tests/bench/bench_wire_scale.py``.

A minute's end: every stream's candle is numbered, committed, encoded and published, and each of the subscribers takes
all of them. Then 200 clients ask for pages at once. "Theirs" is the least that any server must do: a bare PUB socket
that sends the same bytes ready-made, and a bare ROUTER that answers each request with ready-made bytes. The server is a
process of its own; all subscribers share another, whose reading is part of the time.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import zmq

from fluxcap.bridge.server.server import WireServer
from fluxcap.schemas.codec import encode
from fluxcap.schemas.types import (
    BackfillCandlesRequest,
    BackfillCandlesResponse,
    Candle,
    CandleBatch,
    StreamKey,
    candle_array,
)

STREAMS, SUBSCRIBERS, ROUNDS, PAGES_EACH = 1_000, 200, 5, 20
PAGE = 100
MINUTE = 60_000
ANY = "tcp://127.0.0.1:0"
LAST_CLIENT_LIMIT_S = 3.0
"""Beyond it a minute's end would still be under way when charts expect the next update."""
MEMORY_LIMIT_MB = 500.0


def keys(streams: int) -> list[StreamKey]:
    return [StreamKey("BENCH", f"S{number:04}", "1m") for number in range(streams)]


def candle(minute: int) -> Candle:
    return Candle(minute * MINUTE, 1.08123, 1.0822, 1.0801, 1.08177, 126.0, 126)


# --- the server's process -------------------------------------------------------------------------------------------


def serve(pipe: Connection, streams: int, folder: str) -> None:
    """Obeys over the pipe: ``ours``, ``theirs`` (a minute's end each), ``memory``, ``end``."""
    ours = WireServer(Path(folder) / "bench.duckdb", ANY, ANY)
    bare = _Bare(streams)
    pipe.send((ours.pub_endpoint, ours.rep_endpoint, bare.pub, bare.rep))
    ours.publish({key: [candle(minute) for minute in range(1, PAGE + 1)] for key in keys(streams)})
    minute = PAGE
    while (order := pipe.recv()) != "end":
        if order == "memory":
            pipe.send(resident_mb())
            continue
        minute += 1
        sealed = {key: [candle(minute)] for key in keys(streams)}
        began_s, cpu_s = time.monotonic(), time.process_time()
        if order == "ours":
            ours.publish(sealed)
        else:
            bare.publish()
        pipe.send((began_s, time.monotonic(), time.process_time() - cpu_s))
    bare.close()
    ours.close()


class _Bare:
    """Sockets alone: the same bytes, ready-made."""

    def __init__(self, streams: int) -> None:
        self._messages = [
            [key.topic(), encode(CandleBatch(key, 1, candle_array([candle(1)])))] for key in keys(streams)
        ]
        rows = candle_array([candle(minute) for minute in range(1, PAGE + 1)])
        self._page = encode(BackfillCandlesResponse(keys(1)[0], 1, rows, False, PAGE + 1))
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._feed, self._router = self._context.socket(zmq.PUB), self._context.socket(zmq.ROUTER)
        self._feed.setsockopt(zmq.SNDHWM, 0)
        self.pub = f"tcp://127.0.0.1:{self._feed.bind_to_random_port('tcp://127.0.0.1')}"
        self.rep = f"tcp://127.0.0.1:{self._router.bind_to_random_port('tcp://127.0.0.1')}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._answer)
        self._thread.start()

    def publish(self) -> None:
        for message in self._messages:
            self._feed.send_multipart(message)

    def _answer(self) -> None:
        while not self._stop.is_set():
            if self._router.poll(50):
                identity, empty, _ = self._router.recv_multipart()
                self._router.send_multipart([identity, empty, self._page])

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._context.destroy(linger=0)


def resident_mb() -> float:
    """Memory in use by this process; where that cannot be told, the most it ever used."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    return pages * resource.getpagesize() / 1e6


# --- the clients ----------------------------------------------------------------------------------------------------


class Subscribers:
    """Sockets that take everything of one feed."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, count: int) -> None:
        self._poller = zmq.Poller()
        self.sockets = []
        for _ in range(count):
            socket = context.socket(zmq.SUB)
            socket.setsockopt(zmq.RCVHWM, 0)
            socket.setsockopt(zmq.SUBSCRIBE, b"candles.")
            socket.connect(endpoint)
            self._poller.register(socket, zmq.POLLIN)
            self.sockets.append(socket)

    def await_all(self, publish: Callable[[], object], streams: int) -> None:
        """Publish until every socket hears, then until all is quiet: subscriptions take their time."""
        silent = set(self.sockets)
        while silent:
            publish()
            while ready := self._poller.poll(300):
                for socket, _ in ready:
                    silent.discard(socket)
                    self._drain(socket, streams)

    def take(self, messages: int) -> float:
        """When the last of them had got so many, monotonic seconds."""
        left = dict.fromkeys(self.sockets, messages)
        waiting = len(self.sockets) * messages
        while waiting:
            for socket, _ in self._poller.poll(30_000):
                got = self._drain(socket, messages)
                left[socket] -= got
                waiting -= got
        assert not any(left.values())
        return time.monotonic()

    @staticmethod
    def _drain(socket: Any, most: int) -> int:
        for got in range(most):
            try:
                socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return got
        return most


def minutes_end(
    pipe: Connection, order: str, feed: Subscribers, streams: int, rounds: int
) -> tuple[list[float], list[float], list[float]]:
    """Per round in ms: until the last client has it, until the server is done with it, CPU of the server's process."""

    def publish() -> tuple[float, float, float]:
        pipe.send(order)
        began_s, ended_s, cpu_s = pipe.recv()
        return began_s, ended_s, cpu_s

    feed.await_all(publish, streams)
    found: tuple[list[float], list[float], list[float]] = ([], [], [])
    for _ in range(rounds):
        pipe.send(order)
        last_s = feed.take(streams)
        began_s, ended_s, cpu_s = pipe.recv()
        for into, seconds in zip(found, (last_s - began_s, ended_s - began_s, cpu_s), strict=True):
            into.append(seconds * 1e3)
    return found


def pages_per_second(
    context: zmq.Context[zmq.Socket[bytes]], endpoint: str, clients: int, each: int
) -> tuple[float, float]:
    """All clients ask at once, each again once it is answered: (pages a second, 99th percentile of the waits in ms)."""
    requests = [encode(BackfillCandlesRequest(key, 0, None, PAGE)) for key in keys(clients)]
    poller = zmq.Poller()
    asked: dict[Any, tuple[bytes, int, float]] = {}
    for request in requests:
        socket = context.socket(zmq.REQ)
        socket.connect(endpoint)
        poller.register(socket, zmq.POLLIN)
        asked[socket] = (request, each, 0.0)
    waits: list[float] = []
    began_s = time.monotonic()
    for socket, (request, left, _) in asked.items():
        socket.send(request)
        asked[socket] = (request, left - 1, time.monotonic())
    while len(waits) < clients * each:
        for socket, _ in poller.poll(30_000):
            socket.recv()
            request, left, since_s = asked[socket]
            waits.append(time.monotonic() - since_s)
            if left:
                asked[socket] = (request, left - 1, time.monotonic())
                socket.send(request)
    took_s = time.monotonic() - began_s
    for socket in asked:
        socket.close(linger=0)
    return len(waits) / took_s, sorted(waits)[int(0.99 * (len(waits) - 1))] * 1e3


# --- the figures ----------------------------------------------------------------------------------------------------


def rows(quick: bool = False) -> list[dict[str, Any]]:
    """One row a measurement: ``name``, ``ours`` and ``theirs`` in ``unit``, ``ratio`` (above 1: ours is better) with
    ``ratio_low`` and ``ratio_high``, and ``limit``: what ours must not exceed, None where there is none."""
    streams, subscribers, rounds, each = (100, 20, 3, 5) if quick else (STREAMS, SUBSCRIBERS, ROUNDS, PAGES_EACH)
    start = multiprocessing.get_context("spawn")
    near, far = start.Pipe()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, 4 * subscribers + 64)
    with tempfile.TemporaryDirectory(prefix="bench-wire-") as folder:
        server = start.Process(target=serve, args=(far, streams, folder))
        server.start()
        try:
            pub, rep, bare_pub, bare_rep = near.recv()
            feed = Subscribers(context, pub, subscribers)
            ours = minutes_end(near, "ours", feed, streams, rounds)
            near.send("memory")
            memory_mb = near.recv()
            bare_feed = Subscribers(context, bare_pub, subscribers)
            theirs = minutes_end(near, "theirs", bare_feed, streams, rounds)
            pages = [pages_per_second(context, rep, subscribers, each) for _ in range(rounds)]
            bare_pages = [pages_per_second(context, bare_rep, subscribers, each) for _ in range(rounds)]
            near.send("end")
        finally:
            server.join(20)
            if server.is_alive():
                server.kill()
            context.destroy(linger=0)
    scale = f"{streams:,} streams, {subscribers} subscribers"
    limit = None if quick else LAST_CLIENT_LIMIT_S * 1e3
    return [
        _row(f"minute's end to the last client, {scale}", ours[0], theirs[0], "ms", limit=limit),
        _row(f"minute's end, the server's part, {scale}", ours[1], theirs[1], "ms"),
        _row(f"minute's end, CPU of the server meanwhile, {scale}", ours[2], theirs[2], "ms"),
        _row(f"memory of the server, {scale}", [memory_mb], None, "MB", limit=None if quick else MEMORY_LIMIT_MB),
        _row(f"pages of {PAGE}, {subscribers} clients at once", *_columns(pages, bare_pages, 0), "pages/s", more=True),
        _row(f"99 % of waits for a page, {subscribers} clients at once", *_columns(pages, bare_pages, 1), "ms"),
    ]


def _columns(
    ours: list[tuple[float, float]], theirs: list[tuple[float, float]], column: int
) -> tuple[list[float], list[float]]:
    return [values[column] for values in ours], [values[column] for values in theirs]


def _row(
    name: str,
    ours: list[float],
    theirs: list[float] | None,
    unit: str,
    *,
    more: bool = False,
    limit: float | None = None,
) -> dict[str, Any]:
    """``more``: the more the better."""
    row: dict[str, Any] = {"name": name, "ours": statistics.median(ours), "unit": unit, "aim": None, "limit": limit}
    if theirs is None:
        return row | {"theirs": None, "ratio": None}
    ratios = sorted(our / their if more else their / our for our, their in zip(ours, theirs, strict=True))
    low_high = {"ratio_low": ratios[0], "ratio_high": ratios[-1]}
    return row | {"theirs": statistics.median(theirs), "ratio": statistics.median(ratios)} | low_high


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    print(f"{'':66}{'ours':>12}{'bare':>12}{'ratio':>9}{'limit':>9}")
    for row in rows(parser.parse_args().quick):
        theirs = "" if row["theirs"] is None else f"{row['theirs']:,.1f}"
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        limit = "" if row["limit"] is None else f"<={row['limit']:,.0f}"
        print(f"{row['name']:66}{row['ours']:12,.1f}{theirs:>12}{ratio:>9}{limit:>9} {row['unit']}")


if __name__ == "__main__":
    main()
