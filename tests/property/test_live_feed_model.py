"""The live feed for readers: whatever happens between, a reader ends up with what the store has.

A server in memory publishes, revises, loses messages, restarts, is put back from a backup, prunes and gets a new store;
readers come, leave in the middle of an event, and come again with the id of the last one they had.
"""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from fluxcap.bridge.web.event_writer import EventWriter, stream_name
from fluxcap.bridge.web.feed import Listener, SharedFeed
from fluxcap.bridge.web.reader import CandleReader, ReaderTarget
from fluxcap.bridge.web.readers import FeedRequest, open_feed
from fluxcap.schemas.errors import NotAnswering
from fluxcap.schemas.types import Candle, CandleBatch, CandleFlags, StreamKey, candle_array
from tests.support.examples import examples
from tests.support.wire.event_reader import ChartReader
from tests.support.wire.memory_server import MemoryConnection, MemoryServer, MemoryTransport

MINUTE = 60_000
KEYS = (StreamKey("DESK", "EURUSD_otc", "1m"), StreamKey("DESK", "GBPUSD_otc", "5m"))
LATE = StreamKey("DESK", "AUDUSD_otc", "1m")
"""A stream that the server does not have at first."""
STREAMS = (*KEYS, LATE)
READERS = 2
ALL = 5_000
STEP_NS = 150_000_000


class World:
    """Server, feed and readers, in one thread."""

    def __init__(self) -> None:
        self.server = MemoryServer(KEYS)
        self.transport = MemoryTransport(self.server)
        self.now_ns = 0
        self.feed = SharedFeed(self.transport, ("pub", "rep"), 10**9, lambda: self.now_ns)
        self.pages = CandleReader(ReaderTarget("pub", "rep"), lambda: MemoryConnection(self.server))  # type: ignore[arg-type, return-value]
        self.readers = [ChartReader() for _ in range(READERS)]
        self.open: dict[int, tuple[Listener, EventWriter]] = {}
        self.losing = False
        self.backup = self.server.backup()
        self.prices = 0
        self.times = dict.fromkeys(STREAMS, 1_000 * MINUTE)

    def candle(self, ts_ms: int, flags: int = 0) -> Candle:
        self.prices += 1
        return Candle(ts_ms, 1.0, 2.0 + self.prices, 0.5, 1.5, float(self.prices), self.prices, flags)

    def publish(self, key: StreamKey, steps: list[int]) -> None:
        """Candles of later times than any before: time goes on, whatever becomes of the store."""
        candles = []
        for step in steps:
            self.times[key] += step * key.interval_ms
            candles.append(self.candle(self.times[key]))
        batch = self.server.publish(key, candles)
        if not self.losing:
            self.transport.send(key.topic(), batch)

    def revise(self, key: StreamKey, back: int) -> None:
        """A candle so many before the newest; and the minute before it, if the main stream passed it over."""
        stream = self.server.streams.get(key)
        if not stream or len(stream.candles) - back < stream.first_sequence:
            return
        sequence = len(stream.candles) - back
        ts_ms = stream.candles[sequence - 1].ts_ms
        rows = [(sequence, self.candle(ts_ms, CandleFlags.REVISED))]
        before = stream.candles[sequence - 2].ts_ms if sequence > stream.first_sequence else ts_ms
        if ts_ms - before > key.interval_ms:
            rows.append((0, self.candle(ts_ms - key.interval_ms, CandleFlags.FILLED)))
        revision = self.server.revise(key, rows)
        if not self.losing:
            self.transport.send(key.topic("revisions"), revision)

    def forming(self, key: StreamKey) -> None:
        newest = self.server.status(key).latest_ts_ms if key in self.server.streams else 0
        candle = self.candle(newest + key.interval_ms)
        self.transport.send(key.topic("forming"), CandleBatch(key, 0, candle_array([candle])))

    def heartbeat(self) -> None:
        for key in self.server.streams:
            self.transport.send(key.topic("status"), self.server.status(key))

    def step(self) -> None:
        self.now_ns += STEP_NS
        self.feed.step(0)

    def come(self, number: int) -> None:
        reader = self.readers[number]
        wanted = FeedRequest(STREAMS, (), (), ALL, reader.parser.last_event_id)
        with contextlib.suppress(NotAnswering):
            listener, writer, opening = open_feed(wanted, self.pages, self.feed)
            self.open[number] = (listener, writer)
            reader.read(opening)

    def read(self, number: int, cut: float = 1.0) -> None:
        """Take what waits; of the bytes only a part where the connection is cut in the midst of them."""
        if number not in self.open:
            return
        listener, writer = self.open[number]
        batch = []
        while (event := listener.queue.get(0)) is not None:
            batch.append(event)
        written = writer.write(batch)
        self.readers[number].read(written[: round(cut * len(written))])
        if cut < 1 or writer.replaced:
            self.leave(number)

    def leave(self, number: int) -> None:
        if number in self.open:
            listener, _ = self.open.pop(number)
            self.feed.leave(listener)
            self.readers[number].parser.disconnect()

    def put_back(self) -> None:
        """The store as it was, under the same identity.

        That shows by the time of the newest candle alone, to every client; revisions made since cannot be told. So
        here there are none, and `fluxcap restore` gives a store that is put back another identity.
        """
        before, now = self.backup, self.server.streams
        if all(len(before[key].revisions) == len(now[key].revisions) for key in before) and before.keys() == now.keys():
            self.server.restore(before)
            self.restart()

    def restart(self) -> None:
        self.transport.go()
        self.step()
        self.transport.come()

    def settle(self) -> None:
        """All is well from here on, for long enough."""
        self.losing = self.transport.failing = False
        for _ in range(60):
            self.heartbeat()
            for number in range(READERS):
                if number not in self.open:
                    self.come(number)
                self.step()
                self.read(number)


STREAM = st.sampled_from(STREAMS)
NUMBER = st.integers(0, READERS - 1)
ACTIONS = st.one_of(
    st.tuples(st.just("publish"), STREAM, st.lists(st.integers(1, 3), min_size=1, max_size=4)),
    st.tuples(st.just("publish"), STREAM, st.lists(st.integers(1, 3), min_size=1, max_size=4)),
    st.tuples(st.just("revise"), STREAM, st.integers(0, 5)),
    st.tuples(st.just("forming"), STREAM),
    st.tuples(st.just("come"), NUMBER),
    st.tuples(st.just("read"), NUMBER),
    st.tuples(st.just("cut"), NUMBER, st.floats(0, 0.99)),
    st.tuples(st.just("leave"), NUMBER),
    st.tuples(st.just("lose"), st.booleans()),
    st.tuples(st.just("fail"), st.booleans()),
    st.tuples(st.just("step")),
    st.tuples(st.just("step")),
    st.tuples(st.just("heartbeat")),
    st.tuples(st.just("restart")),
    st.tuples(st.just("prune"), STREAM, st.integers(1, 10)),
    st.tuples(st.just("back up")),
    st.tuples(st.just("put back")),
    st.tuples(st.just("new store")),
)


def carry_out(world: World, action: tuple[object, ...]) -> None:
    match action:
        case ("publish", StreamKey() as key, list() as steps):
            world.publish(key, steps)
        case ("revise", StreamKey() as key, int(back)):
            world.revise(key, back)
        case ("forming", StreamKey() as key):
            world.forming(key)
        case ("come", int(number)) if number not in world.open:
            world.come(number)
        case ("read", int(number)):
            world.read(number)
        case ("cut", int(number), float(part)):
            world.read(number, part)
        case ("leave", int(number)):
            world.leave(number)
        case ("lose", bool(losing)):
            world.losing = losing
        case ("fail", bool(failing)):
            world.transport.failing = failing
        case ("step",):
            world.step()
        case ("heartbeat",):
            world.heartbeat()
        case ("restart",):
            world.restart()
        case ("prune", StreamKey() as key, int(first)) if key in world.server.streams:
            if world.server.streams[key].candles:
                world.server.prune(key, first)
        case ("back up",):
            world.backup = world.server.backup()
        case ("put back",):
            world.put_back()
        case ("new store",):
            world.server.replace_store()
            world.backup = world.server.backup()
            world.restart()
        case _:
            pass


def kept(reader: ChartReader, world: World, key: StreamKey) -> dict[int, Candle]:
    """What a reader has of the times that the store keeps."""
    stream = world.server.streams[key]
    oldest = stream.candles[stream.first_sequence - 1].ts_ms if stream.candles else 0
    held = reader.candles.get(stream_name(key), {})
    return {ts_ms: candle for ts_ms, candle in held.items() if ts_ms >= oldest}


@given(st.lists(ACTIONS, max_size=60))
@settings(max_examples=examples(300), deadline=None)
def test_whatever_happens_a_reader_ends_up_with_what_the_store_has(actions: list[tuple[object, ...]]) -> None:
    world = World()

    for action in actions:
        carry_out(world, action)
    world.settle()

    for reader in world.readers:
        for key in world.server.streams:
            assert kept(reader, world, key) == world.server.streams[key].view(), key


def test_a_reader_that_comes_again_is_sent_what_it_missed_and_nothing_else() -> None:
    world = World()
    world.publish(KEYS[0], [1] * 10)
    world.come(0)
    world.settle()
    world.leave(0)
    world.publish(KEYS[0], [1] * 3)
    world.revise(KEYS[0], 7)
    before = len(world.readers[0].kinds)

    world.settle()

    came = [kind for kind in world.readers[0].kinds[before:] if kind in ("snapshot", "reset", "candles", "revision")]
    assert came == ["candles", "revision"]
    assert kept(world.readers[0], world, KEYS[0]) == world.server.streams[KEYS[0]].view()


def test_another_store_is_a_reset_and_then_the_new_candles() -> None:
    world = World()
    world.publish(KEYS[0], [1] * 10)
    world.settle()
    world.server.replace_store()
    world.restart()
    world.publish(KEYS[0], [1] * 2)

    world.settle()

    assert "reset" in world.readers[0].kinds
    assert len(world.readers[0].candles[stream_name(KEYS[0])]) == 2
