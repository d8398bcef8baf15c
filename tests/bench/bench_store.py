"""Store and responder, each figure beside its yardstick in the same run: ``python tests/bench/bench_store.py``.

``--growth`` adds pages among 10 to 1,000 streams of 43,200 candles each (a month of minutes): minutes of time, 1 GB of
disk. Ratios travel between machines, absolutes do not: on a busy machine all of them are higher.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import duckdb
import zmq

from bridge.sequencer import Sequencer
from bridge.server import WireServer
from bridge.store import Store
from bridge.store_reader import StoreReader
from schemas.codec import encode
from schemas.types import BackfillCandlesRequest, CandleBatch, GetCursorRequest, Message, StreamKey
from tests.serving import ANY_PORT, EURUSD, PlainClient, candle_rows

REQUESTS = 2_000
MONTH = 43_200


def milliseconds(ours: Callable[[int], object], theirs: Callable[[int], object], rounds: int) -> list[list[float]]:
    """Times of both, in turn, so that a busy moment of the machine meets both."""
    times: list[list[float]] = [[], []]
    for number in range(rounds):
        for act, into in zip((ours, theirs), times, strict=True):
            begun = time.perf_counter()
            act(number)
            into.append((time.perf_counter() - begun) * 1e3)
    return times


def row(
    name: str, ours: list[float], theirs: list[float], unit: str = "ms", aim: float | None = None
) -> dict[str, Any]:
    """``ratio`` says how many times quicker ours is (for rates: how many times more)."""
    mine, other = statistics.median(ours), statistics.median(theirs)
    ratio = mine / other if unit == "1/s" else other / mine
    return {"name": name, "ours": mine, "theirs": other, "ratio": ratio, "unit": unit, "aim": aim}


class Committing:
    """Numbers and commits the next candle of each of some streams."""

    def __init__(self, path: Path, streams: int) -> None:
        self.keys = [StreamKey("SIM", f"S{number}", "1m") for number in range(streams)]
        self.store = Store.open(path)
        self.sequencer = Sequencer({})
        self.minute = 0
        self.commit()

    def commit(self, _: int = 0) -> None:
        self.minute += 1
        sealed = candle_rows(self.minute, 1)
        batches = [self.sequencer.number(key, sealed) for key in self.keys]
        self.store.commit(batches)
        for batch in batches:
            self.sequencer.confirm(batch)


def commit_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Theirs: one durable row into a table with a primary key, by DuckDB alone."""
    with duckdb.connect(str(folder / "bare.duckdb")) as bare:
        bare.execute("CREATE TABLE rows (a UBIGINT PRIMARY KEY, b BIGINT, c DOUBLE, d DOUBLE, e DOUBLE)")
        numbers = iter(range(1 << 30))

        def insert(_: int) -> None:
            bare.execute("INSERT INTO rows VALUES (?, 3, 4, 5, 6)", [next(numbers)])

        for streams, rounds in ((1, 200), (20, 100), (1_000, 20)):
            committing = Committing(folder / f"commit-{streams}.duckdb", streams)
            times = milliseconds(committing.commit, insert, rounds)
            committing.store.close()
            yield row(f"commit a minute of {streams:,} streams, all at once: bare row", *times)


def page_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Ours: a page asked for over the wire, from memory. Theirs: the same out of DuckDB, without a wire."""
    with WireServer(folder / "pages.duckdb", ANY_PORT, ANY_PORT) as server, PlainClient(server.rep_endpoint) as client:
        server.publish({EURUSD: candle_rows(1, 30_000)})
        reader = server.store.reader()
        for count in (1, 100, 10_000):
            request = BackfillCandlesRequest(EURUSD, 30_000 - count, None, count)

            def over_wire(_: int, request: BackfillCandlesRequest = request) -> None:
                client.ask(request)

            def from_store(number: int, count: int = count) -> None:
                reader.page(EURUSD, number * 37, None, count)

            yield row(f"page of {count:,} over wire: DuckDB", *milliseconds(over_wire, from_store, 100))


def requests_per_second(endpoint: str, clients: int, payload: bytes) -> float:
    begin = threading.Barrier(clients + 1)

    def ask(_: int) -> None:
        with PlainClient(endpoint) as client:
            begin.wait()
            for _ in range(REQUESTS // clients):
                client.socket.send(payload)
                client.socket.recv()

    with ThreadPoolExecutor(clients) as pool:
        asking = [pool.submit(ask, number) for number in range(clients)]
        begin.wait()
        begun = time.perf_counter()
        for future in asking:
            future.result()
        return REQUESTS / (time.perf_counter() - begun)


class Echo:
    """The least a ROUTER can do: send back what came."""

    def __init__(self) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.router = self.context.socket(zmq.ROUTER)
        self.router.setsockopt(zmq.RCVTIMEO, 200)
        self.router.bind(ANY_PORT)
        self.endpoint = self.router.getsockopt_string(zmq.LAST_ENDPOINT)
        self.stopped = False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        while not self.stopped:
            try:
                self.router.send_multipart(self.router.recv_multipart())
            except zmq.Again:
                continue

    def close(self) -> None:
        self.stopped = True
        self.thread.join()
        self.router.close(linger=0)
        self.context.term()


def request_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Theirs: a bare ROUTER that echoes. Clients share this process, so both are bound by its one interpreter."""
    requests: dict[str, Message] = {
        "cursors": GetCursorRequest(EURUSD),
        "pages of 100": BackfillCandlesRequest(EURUSD, 9_900),
        "pages of 10,000": BackfillCandlesRequest(EURUSD),
    }
    echo = Echo()
    with WireServer(folder / "requests.duckdb", ANY_PORT, ANY_PORT) as server:
        server.publish({EURUSD: candle_rows(1, 10_000)})
        for name, request in requests.items():
            for clients in (1, 8):
                rates = [
                    [requests_per_second(endpoint, clients, encode(request)) for _ in range(3)]
                    for endpoint in (server.rep_endpoint, echo.endpoint)
                ]
                yield row(f"{name}, {clients} clients: echo", *rates, unit="1/s")
    echo.close()


def grown(path: Path, streams: int) -> list[StreamKey]:
    """A store of a month's minutes, interleaved as time brings them."""
    keys = [StreamKey("SIM", f"S{number}", "1m") for number in range(streams)]
    step = 100
    with Store.open(path) as store:
        for start in range(1, MONTH + 1, step):
            candles = candle_rows(start, step)
            store.commit([CandleBatch(key, start, candles) for key in keys])
    return keys


def growth_rows(folder: Path, most: int) -> Iterator[dict[str, Any]]:
    """Ours: pages among many streams. Theirs: the same of a store with one stream."""
    alone = grown(folder / "growth-1.duckdb", 1)[0]
    with Store.open(folder / "growth-1.duckdb") as single:
        one = single.reader()
        for streams in (count for count in (10, 100, 1_000) if count <= most):
            path = folder / f"growth-{streams}.duckdb"
            keys = grown(path, streams)
            begun = time.perf_counter()
            with Store.open(path) as store:
                opened = (time.perf_counter() - begun) * 1e3
                many = store.reader()

                def page(number: int, reader: StoreReader, keys: list[StreamKey], limit: int) -> None:
                    reader.page(keys[number % len(keys)], number * 300, None, limit)

                for limit in (100, 10_000):
                    times = milliseconds(
                        lambda n, many=many, keys=keys, limit=limit: page(n, many, keys, limit),
                        lambda n, limit=limit: page(n, one, [alone], limit),
                        100,
                    )
                    yield row(f"page of {limit:,} among {streams:,} streams: 1", *times)
            size_mb = path.stat().st_size / 1e6
            yield row(f"open {streams:,} x {MONTH:,} ({size_mb:.0f} MB): page", [opened], times[0])


def rows(growth: int = 0) -> list[dict[str, Any]]:
    """One row a measurement: ``name`` (ours: theirs), medians ``ours`` and ``theirs`` in ``unit``, their ``ratio``.

    ``growth``: the most streams to grow to, 0 for none.
    """
    with tempfile.TemporaryDirectory(prefix="bench-store-") as name:
        folder = Path(name)
        table = [*commit_rows(folder), *page_rows(folder), *request_rows(folder)]
        if growth:
            table += growth_rows(folder, growth)
        return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--growth", type=int, nargs="?", const=1_000, default=0, metavar="STREAMS")
    print(f"{'ours: theirs':44}{'ours':>12}{'theirs':>12}{'ratio':>9}")
    for each in rows(parser.parse_args().growth):
        unit = each["unit"]
        print(f"{each['name']:44}{each['ours']:12,.2f}{each['theirs']:12,.2f}{each['ratio']:9.2f} {unit}")


if __name__ == "__main__":
    main()
