"""One connection for all readers: each gets its own events in order, and a slow one costs the others nothing."""

from __future__ import annotations

import pytest

from fluxcap.bridge.client.events import Candles, Event, Forming
from fluxcap.bridge.client.receiver.actions import Cursor
from fluxcap.bridge.web import feed as feed_module
from fluxcap.bridge.web.feed import FeedHub, Listener, SharedFeed, TooManyListeners
from fluxcap.bridge.web.reader import ReaderTarget
from fluxcap.schemas.errors import ConfigError, NotAnswering
from fluxcap.schemas.types import CandleBatch, StreamKey, candle_array
from tests.support.patience import await_that
from tests.support.wire.memory_server import MemoryServer, MemoryTransport
from tests.support.wire.samples import candle

KEY = StreamKey("DESK", "EURUSD_otc", "1m")
TARGET = ReaderTarget("tcp://127.0.0.1:1", "tcp://127.0.0.1:2")


class Bench:
    def __init__(self) -> None:
        self.server = MemoryServer([KEY])
        self.transport = MemoryTransport(self.server)
        self.now_ns = 0
        self.feed = SharedFeed(self.transport, ("pub", "rep"), 10**9, lambda: self.now_ns)
        self.minute = 0

    def publish(self, count: int = 1) -> None:
        candles = []
        for _ in range(count):
            self.minute += 1
            candles.append(candle(self.minute, 1.5))
        self.transport.send(KEY.topic(), self.server.publish(KEY, candles))

    def steps(self, count: int = 6) -> None:
        for _ in range(count):
            self.now_ns += 150_000_000
            self.transport.send(KEY.topic("status"), self.server.status(KEY))
            self.feed.step(0)


def taken(listener: Listener) -> list[Event]:
    events = []
    while (event := listener.queue.get(0)) is not None:
        events.append(event)
    return events


def sequences(events: list[Event]) -> list[int]:
    found = [event for event in events if isinstance(event, Candles)]
    return [number for one in found for number in range(one.start_sequence, one.end_sequence + 1)]


def test_readers_that_stand_elsewhere_each_get_what_they_miss() -> None:
    bench = Bench()
    bench.publish(5)
    new, back = bench.feed.open({KEY: Cursor()}, ()), bench.feed.open({KEY: Cursor("store-1", 3, 180_000, 0)}, ())

    bench.steps()
    bench.publish()
    bench.steps()

    assert sequences(taken(new)) == [1, 2, 3, 4, 5, 6]
    assert sequences(taken(back)) == [4, 5, 6]


def test_a_topic_is_subscribed_to_while_somebody_listens() -> None:
    bench = Bench()
    first, second = bench.feed.open({KEY: Cursor()}, ()), bench.feed.open({}, (KEY,))

    bench.feed.leave(first)
    shared = set(bench.transport.topics)
    bench.feed.leave(second)

    assert KEY.topic() in shared
    assert bench.transport.topics == set()


def test_a_reader_that_takes_nothing_holds_a_bounded_number_and_then_gets_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed_module, "QUEUE_CANDLES", 20)
    monkeypatch.setattr(feed_module, "INBOX_MESSAGES", 30)
    bench = Bench()
    slow, quick = bench.feed.open({KEY: Cursor()}, ()), bench.feed.open({KEY: Cursor()}, ())
    read: list[Event] = []
    for _ in range(200):
        bench.publish()
        bench.steps(1)
        read += taken(quick)

    waiting = len(slow.branch.inbox)
    late: list[Event] = []
    for _ in range(40):
        late += taken(slow)
        bench.steps(1)

    assert waiting <= 40
    assert sequences(read) == list(range(1, 201))
    assert sequences(late) == list(range(1, 201))


def test_a_candle_under_way_takes_the_place_of_one_that_waits() -> None:
    bench = Bench()
    listener = bench.feed.open({KEY: Cursor()}, ())
    bench.steps()
    taken(listener)

    for price in (1.1, 1.2, 1.3):
        bench.transport.send(KEY.topic("forming"), CandleBatch(KEY, 0, candle_array([candle(9, price)])))
        bench.feed.step(0)

    assert [event.candle.close for event in taken(listener) if isinstance(event, Forming)] == [1.3]


def test_a_reader_whose_feed_fails_is_ended_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    broken, sound = bench.feed.open({KEY: Cursor()}, ()), bench.feed.open({KEY: Cursor()}, ())

    def fail(most_ms: int) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(broken.coordinator, "run_once", fail)
    bench.publish(2)
    bench.steps()

    assert bench.feed.listeners == [sound]
    assert sequences(taken(sound)) == [1, 2]
    with pytest.raises(RuntimeError, match="a fault of ours"):
        broken.queue.get(0)


def test_the_thread_and_its_connection_are_there_while_somebody_listens() -> None:
    made: list[MemoryTransport] = []

    def make() -> MemoryTransport:
        made.append(MemoryTransport(MemoryServer([KEY])))
        return made[-1]

    hub = FeedHub(TARGET, make)
    first = hub.open({KEY: Cursor()})
    hub.leave(first)
    await_that(lambda: hub._thread is None, "its end")
    second = hub.open({KEY: Cursor()})

    assert len(made) == 2
    assert second.queue.get(5) is not None
    hub.close()
    with pytest.raises(NotAnswering, match="stopping"):
        hub.open({KEY: Cursor()})
    await_that(lambda: second.queue.is_closed or second.queue.get(0) is None, "the end of its events")


def test_one_listener_more_than_there_is_room_for_is_refused() -> None:
    hub = FeedHub(TARGET, lambda: MemoryTransport(MemoryServer([KEY])), max_listeners=2)
    kept = [hub.open({KEY: Cursor()}) for _ in range(2)]

    with pytest.raises(TooManyListeners, match="2 readers listen already"):
        hub.open({KEY: Cursor()})

    hub.leave(kept[0])
    await_that(lambda: hub.listeners == 1, "room")
    assert hub.open({KEY: Cursor()})
    hub.close()


def test_an_address_that_is_none_is_said_to_who_listens() -> None:
    hub = FeedHub(ReaderTarget("nowhere", "nowhere"))

    with pytest.raises(ConfigError):
        hub.open({KEY: Cursor()})

    hub.close()
