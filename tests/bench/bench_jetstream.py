"""The log, each figure beside bare nats-py on the same server: ``python tests/bench/bench_jetstream.py``.

Bare publishing sends payloads that were encoded before, answers awaited 4,000 behind, without headers or, told apart,
with as many as ours have; ours reads the store, encodes, names each message, says which one it follows and keeps the
order of every stream. Bare fetching looks into no message; ours decodes, orders and hands over every candle, from the
making of the client on.

``--sizing STREAMS`` measures what that many streams cost: bytes on the log, the server's memory, and the times of a
minute's candles and of a start.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from nats.js.api import AckPolicy, ConsumerConfig

from fluxcap import Candles, LiveClient, StartFrom
from fluxcap.bridge.jetstream.address import NatsAddress, parse_address
from fluxcap.bridge.jetstream.connection import close_connection, open_connection
from fluxcap.bridge.jetstream.forward import stream_state
from fluxcap.bridge.jetstream.forward.forwarder import Forwarder
from fluxcap.bridge.jetstream.forward.source import StoreSource
from fluxcap.bridge.jetstream.forward.status import ForwardState
from fluxcap.bridge.jetstream.subjects import (
    ALL_SUBJECTS,
    EXPECTED_STREAM,
    MESSAGE_ID,
    STREAM_NAME,
    Position,
    position_headers,
    subject,
)
from fluxcap.bridge.server.server import WireServer
from fluxcap.schemas.codec import encode
from fluxcap.schemas.errors import NatsError
from fluxcap.schemas.types import CandleArray, CandleBatch, StreamKey
from tests.support.nats.forward_rig import ask_log, await_current, make_stream
from tests.support.nats.nats_rig import FOUND, NatsServer, cluster
from tests.support.wire.samples import ANY_PORT, candle_rows

DAY = 1_440
WINDOW = 4_000
ROUNDS = 3


def keys(count: int) -> list[StreamKey]:
    return [StreamKey("SIM", f"S{number}", "1m") for number in range(count)]


class Bench:
    """A server, and a store with so many streams. A context manager."""

    def __init__(self, folder: Path, nats: NatsServer, streams: int) -> None:
        self.address = parse_address(nats.url)
        self.keys = keys(streams)
        self.server = WireServer(folder / "store.duckdb", ANY_PORT, ANY_PORT)
        self.at = 0

    def publish(self, count: int) -> None:
        """So many more candles of every stream."""
        candles = candle_rows(self.at + 1, count)
        self.server.publish({key: candles for key in self.keys})
        self.at += count

    def payloads(self, candles: CandleArray, a_message: int) -> list[tuple[str, bytes]]:
        """The same as messages made before."""
        return [
            (subject(key), encode(CandleBatch(key, start + 1, candles[start : start + a_message])))
            for start in range(0, len(candles), a_message)
            for key in self.keys
        ]

    def forward(self) -> float:
        """Seconds until the whole store is on an empty log."""
        empty_stream(self.address)
        begun = time.perf_counter()
        with Forwarder(StoreSource(self.server.pages(), self.server.status), self.address) as forwarder:
            await_current(forwarder, 300)
            return time.perf_counter() - begun

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()


def empty_stream(address: NatsAddress) -> None:
    with contextlib.suppress(Exception):
        ask_log(address, "STREAM.DELETE.FLUX")
    make_stream(address)


def bare_publish(address: NatsAddress, messages: list[tuple[str, bytes]], *, with_headers: bool = False) -> float:
    """Seconds until all of them are on an empty log and have been answered. ``with_headers``: such as ours have."""
    empty_stream(address)

    async def publish() -> float:
        client = await open_connection(address, "bench")
        try:
            stream = client.jetstream(publish_async_max_pending=WINDOW)
            begun = time.perf_counter()
            for number, (name, payload) in enumerate(messages):
                headers = None
                if with_headers:
                    position = Position("0123456789abcdef", number, 1_756_850_400_000, 0, 1)
                    own = {MESSAGE_ID: f"0123456789abcdef/{name}/{number}", EXPECTED_STREAM: STREAM_NAME}
                    headers = own | position_headers(position)
                await stream.publish_async(name, payload, headers=headers)
            await stream.publish_async_completed()
            return time.perf_counter() - begun
        finally:
            await close_connection(client)

    return asyncio.run(publish())


def bare_fetch(address: NatsAddress, count: int) -> float:
    """Seconds until a pull consumer has had so many messages, none of which it looks into."""

    async def fetch() -> float:
        client = await open_connection(address, "bench")
        try:
            quiet = ConsumerConfig(ack_policy=AckPolicy.NONE)
            consumer = await client.jetstream().pull_subscribe(ALL_SUBJECTS, stream=STREAM_NAME, config=quiet)
            begun, have = time.perf_counter(), 0
            while have < count:
                have += len(await consumer.fetch(min(500, count - have), timeout=30))
            return time.perf_counter() - begun
        finally:
            await close_connection(client)

    return asyncio.run(fetch())


def read(bench: Bench) -> float:
    """Seconds until a client has been given every candle that is on the log."""
    due = len(bench.keys) * bench.at
    begun = time.perf_counter()
    with LiveClient(streams=bench.keys, start_from=StartFrom.EARLIEST, forming=False, via=str(bench.address)) as client:
        for event in client.events(timeout=60):
            if isinstance(event, Candles):
                due -= len(event.candles)
                if not due:
                    return time.perf_counter() - begun
    raise AssertionError(f"{due} candles did not come")


def rate_row(name: str, count: int, ours: list[float], theirs: list[float], aim: float | None = None) -> dict[str, Any]:
    """Of seconds for ``count`` things each."""
    ratios = sorted(b / a for a, b in zip(ours, theirs, strict=True))
    return {
        "name": name,
        "ours": count / statistics.median(ours),
        "theirs": count / statistics.median(theirs),
        "ratio": statistics.median(ratios),
        "ratio_low": ratios[0],
        "ratio_high": ratios[-1],
        "unit": "1/s",
        "aim": aim,
    }


def in_turn(rounds: int, *acts: Callable[[], float]) -> list[list[float]]:
    times: list[list[float]] = [[] for _ in acts]
    for _ in range(rounds):
        for act, into in zip(acts, times, strict=True):
            into.append(act())
    return times


@contextlib.contextmanager
def one_candle_a_message() -> Iterator[None]:
    """As live candles go; a backlog would go by 500."""
    usual = stream_state.CANDLES_A_MESSAGE
    stream_state.CANDLES_A_MESSAGE = 1  # type: ignore[misc]
    try:
        yield
    finally:
        stream_state.CANDLES_A_MESSAGE = usual  # type: ignore[misc]


def forward_rows(folder: Path, nats: NatsServer) -> Iterator[dict[str, Any]]:
    with Bench(folder / "many", nats, 500) as bench, one_candle_a_message():
        bench.publish(20)
        messages = bench.payloads(candle_rows(1, 20), 1)
        times = in_turn(
            ROUNDS,
            bench.forward,
            lambda: bare_publish(bench.address, messages),
            lambda: bare_publish(bench.address, messages, with_headers=True),
        )
        ours, bare, with_headers = times
        name = "messages of one candle forwarded, 500 streams: bare publish"
        yield rate_row(name, len(messages), ours, bare, aim=0.7)
        yield rate_row(f"{name} of as many headers", len(messages), ours, with_headers)
        bench.forward()
        times = in_turn(ROUNDS, lambda: read(bench), lambda: bare_fetch(bench.address, len(messages)))
        name = "messages of one candle read by a client of 500 streams: bare fetch"
        yield rate_row(name, len(messages), *times, aim=0.6)
    with Bench(folder / "day", nats, 100) as bench:
        bench.publish(DAY)
        messages = bench.payloads(candle_rows(1, DAY), stream_state.CANDLES_A_MESSAGE)
        times = in_turn(ROUNDS, bench.forward, lambda: bare_publish(bench.address, messages))
        yield rate_row("candles of a day of 100 streams, caught up: bare publish", DAY * 100, *times)
        bench.forward()
        times = in_turn(ROUNDS, lambda: read(bench), lambda: bare_fetch(bench.address, len(messages)))
        yield rate_row("candles of a day of 100 streams read by a client: bare fetch", DAY * 100, *times, aim=0.3)


def size_rows(folder: Path, nats: NatsServer) -> Iterator[dict[str, Any]]:
    """What one candle, live and caught up, takes on the log's disk."""
    for name, a_message in (("live", 1), ("caught up", stream_state.CANDLES_A_MESSAGE)):
        with Bench(folder / name, nats, 10) as bench, contextlib.ExitStack() as stack:
            if a_message == 1:
                stack.enter_context(one_candle_a_message())
            bench.publish(1_000)
            bench.forward()
            state = ask_log(bench.address, "STREAM.INFO.FLUX")["state"]
            yield {"name": f"bytes on the log a candle, {name}", "ours": state["bytes"] / 10_000, "unit": "bytes"}


def rows() -> list[dict[str, Any]]:
    """Every figure, for tests.bench.report."""
    if FOUND is None:
        raise RuntimeError("there is no nats-server on this machine; install nats-server")
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        nats = NatsServer(folder / "nats").start()
        stack.callback(nats.kill)
        return [*forward_rows(folder, nats), *size_rows(folder, nats)]


# --- sizing -----------------------------------------------------------------------------------------------------------


def sizing(streams: int, minutes: int, copies: int) -> None:
    """Print what so many streams cost, kept by so many servers, all of them on this machine."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        servers = started_servers(folder, copies, stack)
        before = rss_bytes(servers[0].pid)
        bench = stack.enter_context(Bench(folder / "store", servers[0], streams))
        make_stream_in_time(bench.address, copies)
        source = StoreSource(bench.server.pages(), bench.server.status)
        with Forwarder(source, bench.address, folder) as forwarder:
            took = []
            for _ in range(minutes):
                bench.publish(1)
                source.notify()
                begun = time.perf_counter()
                await_current(forwarder, 600)
                took.append(time.perf_counter() - begun)
        state = ask_log(bench.address, "STREAM.INFO.FLUX")["state"]
        begun = time.perf_counter()
        with Forwarder(StoreSource(bench.server.pages(), bench.server.status), bench.address, folder) as forwarder:
            forwarder.await_view(lambda view: view.state is ForwardState.UP_TO_DATE and view.streams == streams, 600)
            start_s = time.perf_counter() - begun
        print(f"streams            {streams:,}, each in {copies} copies")
        print(f"messages           {state['messages']:,}")
        print(f"bytes a message    {state['bytes'] / state['messages']:.0f}")
        print(f"a minute forwarded {statistics.median(took):.2f} s")
        print(f"forwarder started  {start_s:.2f} s (every stream's place asked)")
        print(f"server's memory    {(rss_bytes(servers[0].pid) - before) / 1e6:.0f} MB more than empty")


def started_servers(folder: Path, copies: int, stack: contextlib.ExitStack) -> list[NatsServer]:
    servers = [NatsServer(folder / "nats")] if copies == 1 else cluster(folder / "nats", copies)
    for server in servers:
        stack.callback(server.kill)
        server.start(wait=False)
    for server in servers:
        server.await_ready()
    return servers


def make_stream_in_time(address: NatsAddress, copies: int) -> None:
    """A cluster takes a while to choose who leads."""
    for _ in range(100):
        try:
            make_stream(address, replicas=copies)
        except NatsError:
            time.sleep(0.3)
        else:
            return
    raise AssertionError("the cluster does not become ready")


def rss_bytes(pid: int) -> int:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * 4_096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizing", type=int, metavar="STREAMS")
    parser.add_argument("--minutes", type=int, default=3)
    parser.add_argument("--copies", type=int, default=1, choices=(1, 3))
    given = parser.parse_args()
    if given.sizing:
        sizing(given.sizing, given.minutes, given.copies)
        return
    for row in rows():
        theirs = f"   theirs {row['theirs']:>10,.0f}   ratio {row['ratio']:.2f}" if "theirs" in row else ""
        print(f"{row['name']:<66} ours {row['ours']:>10,.0f} {row['unit']:<5}{theirs}")


if __name__ == "__main__":
    main()
