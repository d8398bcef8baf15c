"""Store and responder, each figure beside its yardstick in the same run: ``python tests/bench/bench_store.py``.

Ratios travel between machines, absolutes do not: on a busy machine all of them are higher. What becomes of pages when
the store grows is bench_growth.py.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import duckdb
import zmq

from fluxcap.bridge.server.publisher import Publisher
from fluxcap.bridge.server.sequencer import Sequencer
from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.server.timeframes import Timeframes
from fluxcap.bridge.store.schema import CANDLE_COLUMNS
from fluxcap.bridge.store.store import Store
from fluxcap.schemas.codec import encode
from fluxcap.schemas.types import BackfillCandlesRequest, CandleBatch, GetCursorRequest, Message, StreamKey
from tests.support.wire.samples import ANY_PORT, EURUSD, PlainClient, candle_rows

REQUESTS = 1_600
TIMEFRAME_ROUNDS = 24
"""Of four hours each."""


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
    """``ratio`` says how many times quicker ours is (for rates: how many times more); its spread is that of fifths."""
    mine, other = statistics.median(ours), statistics.median(theirs)
    fifth = max(1, len(ours) // 5)
    parts = [slice(at, at + fifth) for at in range(0, len(ours) - fifth + 1, fifth)]
    ratios = sorted(_ratio(statistics.median(ours[part]), statistics.median(theirs[part]), unit) for part in parts)
    low_high = {"ratio_low": ratios[0], "ratio_high": ratios[-1]}
    return {
        "name": name,
        "ours": mine,
        "theirs": other,
        "ratio": _ratio(mine, other, unit),
        "unit": unit,
        "aim": aim,
    } | (low_high)


def _ratio(ours: float, theirs: float, unit: str) -> float:
    return ours / theirs if unit == "1/s" else theirs / ours


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


def timeframe_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Ours: minutes of 16 assets with four timeframes, from numbering on. Theirs: the same without timeframes.

    Averages over four hours, and the minute in which all four of them seal; both also with a client of all streams,
    to whom each candle is sent.
    """
    for publisher, until in ((Publisher, ""), (Heard, ", all heard")):
        own = folder / publisher.__name__
        own.mkdir()
        yield from timeframe_rows_until(own, publisher, until)


class Heard(Publisher):
    """Sends everything, as if somebody heard each stream."""

    def heard(self, keys: Iterable[StreamKey], kind: str) -> list[StreamKey]:
        return list(keys)


def timeframe_rows_until(folder: Path, publisher: type[Publisher], until: str) -> Iterator[dict[str, Any]]:
    keys = [StreamKey("SIM", f"S{number}", "1m") for number in range(16)]
    averages: list[list[float]] = [[], []]
    fullest: list[list[float]] = [[], []]
    with (
        WireServer(
            folder / "four.duckdb",
            ANY_PORT,
            ANY_PORT,
            timeframes=Timeframes("SIM", "1m", ("5m", "15m", "1h", "4h")),
            publisher=publisher,
        ) as four,
        WireServer(folder / "none.duckdb", ANY_PORT, ANY_PORT, publisher=publisher) as none,
    ):

        def publish(server: WireServer) -> Callable[[int], object]:
            return lambda number: server.publish({key: candle_rows(begin + number, 1) for key in keys})

        for hours in range(TIMEFRAME_ROUNDS):
            begin = (hours + 1) * 240
            times = milliseconds(publish(four), publish(none), 240)
            for own, average, full in zip(times, averages, fullest, strict=True):
                average.append(statistics.mean(own))
                full.append(own[-1])
        assert four.watermark(StreamKey("SIM", "S0", "4h")).latest_sequence == TIMEFRAME_ROUNDS
    yield row(f"a minute of 16 assets and 4 timeframes{until}: none", *averages, aim=1 / 1.1)
    yield row(f"the minute in which all 4 seal{until}: none", *fullest, aim=1 / 1.5)


def page_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Ours: a page from request to decoded, hot (the newest, from memory) and cold (older ones, from the file).
    Theirs: the same out of DuckDB, without a wire."""
    with Store.open(folder / "pages.duckdb") as store:  # of an earlier run: nothing of it is in memory
        store.commit([CandleBatch(EURUSD, 1, candle_rows(1, 30_000))])
    with WireServer(folder / "pages.duckdb", ANY_PORT, ANY_PORT) as server, PlainClient(server.rep_endpoint) as client:
        reader = server.store.reader()
        for count in (1, 100, 10_000):

            def hot(_: int, count: int = count) -> None:
                client.ask(BackfillCandlesRequest(EURUSD, 30_000 - count, None, count))

            def cold(number: int, count: int = count) -> None:
                client.ask(BackfillCandlesRequest(EURUSD, number * 37, None, count))

            def from_store(number: int, count: int = count) -> None:
                reader.page(EURUSD, number * 37, None, count)

            yield row(f"page of {count:,} over wire, hot: DuckDB", *milliseconds(hot, from_store, 100))
            yield row(f"page of {count:,} over wire, cold: DuckDB", *milliseconds(cold, from_store, 100))


def floor_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Ours: a page from request to decoded. Theirs: of one in memory a bare ROUTER that sends as many bytes back, of
    one in the file DuckDB's own answer to the least query that finds the same candles."""
    path, kept = folder / "floors.duckdb", 30_000
    with Store.open(path) as store:
        store.commit([CandleBatch(EURUSD, 1, candle_rows(1, kept))])
    least = f"SELECT sequence, {CANDLE_COLUMNS} FROM candles WHERE stream_id = 1 AND sequence <= ?"
    echo = Echo()
    with (
        WireServer(path, ANY_PORT, ANY_PORT) as server,
        PlainClient(server.rep_endpoint) as client,
        PlainClient(echo.endpoint) as echoing,
    ):
        bare = server.store.reader()._cursor
        for count, aim in ((10, 1 / 1.5), (10_000, 1 / 1.15)):

            def oldest(_: int, count: int = count) -> None:
                client.ask(BackfillCandlesRequest(EURUSD, 0, None, count))

            def query(_: int, count: int = count) -> None:
                bare.columns(least, (count,))

            yield row(f"oldest {count:,} over wire: bare DuckDB", *milliseconds(oldest, query, 100), aim=aim)
        reply = encode(client.ask(BackfillCandlesRequest(EURUSD, kept - 10, None, 10)))

        def newest(_: int) -> None:
            client.ask(BackfillCandlesRequest(EURUSD, kept - 10, None, 10))

        def echoed(_: int) -> None:
            echoing.socket.send(reply)
            echoing.socket.recv()

        yield row("newest 10 over wire: echo of as many bytes", *milliseconds(newest, echoed, 400), aim=1 / 1.5)
    echo.close()


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
                rates: list[list[float]] = [[], []]
                for _ in range(5):
                    for endpoint, into in zip((server.rep_endpoint, echo.endpoint), rates, strict=True):
                        into.append(requests_per_second(endpoint, clients, encode(request)))
                yield row(f"{name}, {clients} clients: echo", *rates, unit="1/s")
    echo.close()


def rows() -> list[dict[str, Any]]:
    """One row a measurement: ``name`` (ours: theirs), medians ``ours`` and ``theirs`` in ``unit``, their ``ratio``, the
    median of the rounds, with ``ratio_low`` and ``ratio_high``."""
    with tempfile.TemporaryDirectory(prefix="bench-store-") as name:
        folder = Path(name)
        return [
            *commit_rows(folder),
            *timeframe_rows(folder),
            *page_rows(folder),
            *floor_rows(folder),
            *request_rows(folder),
        ]


def main() -> None:
    """Print the table."""
    print(f"{'ours: theirs':44}{'ours':>12}{'theirs':>12}{'ratio':>9}")
    for each in rows():
        unit = each["unit"]
        print(f"{each['name']:44}{each['ours']:12,.2f}{each['theirs']:12,.2f}{each['ratio']:9.2f} {unit}")


if __name__ == "__main__":
    main()
