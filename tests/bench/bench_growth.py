"""What becomes of pages, memory and start-up when the store grows: ``python -m tests.bench.bench_growth``.

1, 10, 100 and 1,000 streams of a month's minutes each (43.2 million candles at the end, about 1.5 GB of disk while it
runs). The candles are put into the file by DuckDB, laid out as a running daemon leaves them: blocks of a million rows,
each sorted by stream. Then a server is started on each file, in a process of its own, and asked for pages in turn with
the one that has a single stream. "Theirs" is that one: the aim is that nothing grows by more than half, and a page
of any candles by a fifth.

Pages of 100 are the newest of any stream, each of which has been asked for once before (told apart, as the first page
after the start); pages of 10,000 begin anywhere, so most come from the file.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import duckdb

from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.store.store import COMPACT_ROWS, Store
from fluxcap.schemas.types import BackfillCandlesRequest, Candle, CandleBatch, StreamKey, candle_array
from tests.support.wire.samples import ANY_PORT, PlainClient

MONTH = 43_200
MINUTE = 60_000
STREAMS = (1, 10, 100, 1_000)
PAGES = 200
FLAT = 1 / 1.5
START_TIMEOUT_S = 120.0


def key(number: int) -> StreamKey:
    return StreamKey("BENCH", f"S{number:04}", "1m")


def grow(path: Path, streams: int) -> None:
    """A store of ``streams`` streams with a month each: the first minute by the store itself, the rest by DuckDB."""
    with Store.open(path) as store:
        first = candle_array([Candle(MINUTE, 1.5, 1.6, 1.4, 1.5, 126.0, 126)])
        store.commit([CandleBatch(key(number), 1, first) for number in range(streams)])
    with duckdb.connect(str(path), config={"threads": 2, "memory_limit": "2GB"}) as bare:
        step = COMPACT_ROWS // streams
        for begin in range(2, MONTH + 1, step):
            bare.execute(
                "INSERT INTO candles_settled SELECT stream_id, sequence, sequence * 60000, 1.5 + x, 1.6 + x, 1.4 + x, "
                "1.5 + x, 126, 126, 0, 0 FROM (SELECT stream_id, sequence, hash(stream_id, sequence) % 9973 / 1e5 AS x "
                f"FROM streams, range({begin}, {min(begin + step, MONTH + 1)}) AS r(sequence)) "
                "ORDER BY stream_id, sequence"
            )


# --- a server on it ---------------------------------------------------------------------------------------------------


def serve(pipe: Connection, path: str) -> None:
    """Opens the store; tells where it answers, how long that took (ms) and, on ``memory``, what it holds (MB)."""
    begun_s = time.monotonic()
    with WireServer(Path(path), ANY_PORT, ANY_PORT) as server:
        pipe.send((server.rep_endpoint, (time.monotonic() - begun_s) * 1e3))
        while pipe.recv() == "memory":
            pipe.send(resident_mb())


def resident_mb() -> float:
    """Memory in use by this process; where that cannot be told, the most it ever used."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    return pages * resource.getpagesize() / 1e6


class Grown:
    """A server's process on a grown store."""

    def __init__(self, folder: Path, streams: int) -> None:
        self.streams = streams
        self.path = folder / f"growth-{streams}.duckdb"
        begun_s = time.monotonic()
        grow(self.path, streams)
        self.filled_s = time.monotonic() - begun_s
        self.size_mb = self.path.stat().st_size / 1e6
        start = multiprocessing.get_context("spawn")
        self._pipe, far = start.Pipe()
        self._process = start.Process(target=serve, args=(far, str(self.path)))
        self._process.start()
        assert self._pipe.poll(START_TIMEOUT_S), f"no server on {streams} streams"
        endpoint, self.start_ms = self._pipe.recv()
        self._client = PlainClient(endpoint)
        self._random = random.Random(streams)
        self.first_ms = self.page_ms(100, newest=True, stream=0) if streams == 1 else 0.0

    def page_ms(self, count: int, *, newest: bool, stream: int | None = None) -> float:
        """One page of a stream (None: any), request to decoded."""
        after = MONTH - count if newest else self._random.randrange(MONTH - count)
        number = self._random.randrange(self.streams) if stream is None else stream
        request = BackfillCandlesRequest(key(number), after, None, count)
        begun_s = time.perf_counter()
        page: Any = self._client.ask(request)
        took_ms = (time.perf_counter() - begun_s) * 1e3
        assert len(page.candles) == count, page
        return took_ms

    def memory_mb(self) -> float:
        self._pipe.send("memory")
        return float(self._pipe.recv())

    def stop(self) -> None:
        self._client.close()
        self._pipe.send("end")
        self._process.join(20)
        if self._process.is_alive():
            self._process.kill()


# --- the figures ------------------------------------------------------------------------------------------------------


def compared(many: Grown, one: Grown, pages: int) -> list[dict[str, Any]]:
    """A store beside the one with a single stream."""
    among = f"among {many.streams:,} streams x {MONTH:,}: 1"
    fresh = (many.memory_mb(), one.memory_mb())
    first = statistics.median(many.page_ms(100, newest=True, stream=number) for number in range(many.streams))
    found = []
    for count, newest, said, aim in ((100, True, "newest 100", FLAT), (10_000, False, "any 10,000", 1 / 1.2)):
        for _ in range(10):
            one.page_ms(count, newest=newest)
            many.page_ms(count, newest=newest)
        times = [(many.page_ms(count, newest=newest), one.page_ms(count, newest=newest)) for _ in range(pages)]
        found.append(_row(f"page of {said} {among}", [mine for mine, _ in times], [their for _, their in times], aim))
    asked = (many.memory_mb(), one.memory_mb())
    return [
        *found,
        _single(f"first page of a stream {among}", first, one.first_ms, "ms"),
        _single(f"start on {among}", many.start_ms, one.start_ms, "ms"),
        _single(f"memory after start {among}", *fresh, "MB"),
        _single(f"memory after {2 * pages} pages {among}", *asked, "MB"),
        _single(f"file {among}", many.size_mb, one.size_mb, "MB"),
    ]


def _row(name: str, ours: list[float], theirs: list[float], aim: float) -> dict[str, Any]:
    """The spread is that of the medians of five parts."""
    fifth = max(1, len(ours) // 5)
    parts = [slice(at, at + fifth) for at in range(0, len(ours) - fifth + 1, fifth)]
    ratios = sorted(statistics.median(theirs[part]) / statistics.median(ours[part]) for part in parts)
    mine, other = statistics.median(ours), statistics.median(theirs)
    low_high = {"ratio_low": ratios[0], "ratio_high": ratios[-1]}
    return {"name": name, "ours": mine, "theirs": other, "ratio": other / mine, "unit": "ms", "aim": aim} | low_high


def _single(name: str, ours: float, theirs: float, unit: str) -> dict[str, Any]:
    return {"name": name, "ours": ours, "theirs": theirs, "ratio": theirs / ours, "unit": unit}


def rows(most: int = 1_000, pages: int = PAGES) -> list[dict[str, Any]]:
    """One row a measurement: ``name``, ``ours`` (many streams) and ``theirs`` (one) in ``unit``, their ``ratio`` and
    its ``aim``. ``most``: the most streams to grow to."""
    table: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bench-growth-", ignore_cleanup_errors=True) as name:
        one = Grown(Path(name), 1)
        try:
            for streams in (count for count in STREAMS[1:] if count <= most):
                many = Grown(Path(name), streams)
                print(f"{streams} streams filled in {many.filled_s:.1f} s", file=sys.stderr)
                try:
                    table += compared(many, one, pages)
                finally:
                    many.stop()
                    many.path.unlink()
        finally:
            one.stop()
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=1_000)
    for each in rows(parser.parse_args().most):
        print(f"{each['name']:60}{each['ours']:10.2f}{each['theirs']:10.2f}{each['ratio']:8.2f} {each['unit']}")


if __name__ == "__main__":
    main()
