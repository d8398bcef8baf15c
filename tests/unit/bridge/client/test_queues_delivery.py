"""fluxcap.bridge.client.queues: a bounded queue of events with a policy for slow consumers."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from fluxcap.bridge.client.events import Candles, Event, Forming, Gap, HealthChanged, Ticks
from fluxcap.bridge.client.health import Health, HealthState
from fluxcap.bridge.client.queues import EventQueue, SlowConsumer
from fluxcap.schemas.errors import StoreError
from fluxcap.schemas.types import CANDLE_DTYPE, Candle, StreamKey

KEY = StreamKey("SIM", "EURUSD", "1s")
OTHER = StreamKey("SIM", "GBPUSD", "1s")


def candles(start: int, count: int, key: StreamKey = KEY) -> Candles:
    return Candles(key, start, np.zeros(count, CANDLE_DTYPE), False)


def forming(close: float) -> Forming:
    return Forming(KEY, Candle(1_000, 1.0, 2.0, 0.5, close))


def drained(queue: EventQueue) -> list[Event]:
    events = []
    while (event := queue.get(0)) is not None:
        events.append(event)
    return events


def test_events_come_in_order() -> None:
    queue = EventQueue(SlowConsumer.BLOCK, limit=10)
    events: list[Event] = [candles(1, 1), forming(1.0), candles(2, 1), forming(2.0)]

    queue.put(events)

    assert drained(queue) == events


def test_only_the_newest_forming_candle_and_health_wait() -> None:
    queue = EventQueue(SlowConsumer.BLOCK, limit=3)

    for n in range(50):
        queue.put([forming(float(n)), HealthChanged(KEY, Health(HealthState.RECEIVING, str(n)))])

    assert drained(queue) == [forming(49.0), HealthChanged(KEY, Health(HealthState.RECEIVING, "49"))]


def test_a_forming_candle_never_overtakes_a_sealed_one() -> None:
    queue = EventQueue(SlowConsumer.BLOCK, limit=9)
    sealed = candles(1, 1)

    queue.put([forming(1.0), sealed, forming(2.0)])

    assert drained(queue) == [forming(1.0), sealed, forming(2.0)]


def test_blocking_reads_no_more_until_there_is_room_and_loses_nothing() -> None:
    queue = EventQueue(SlowConsumer.BLOCK, limit=2)

    def produce() -> None:
        for start in range(1, 21, 4):
            queue.put([candles(n, 1) for n in range(start, start + 4)])
            assert queue.wait_for_room()
            most.append(queue._weight)

    most: list[int] = []
    producer = threading.Thread(target=produce)
    producer.start()
    got = [queue.get(10) for _ in range(20)]

    producer.join()
    assert [event.start_sequence for event in got if isinstance(event, Candles)] == list(range(1, 21))
    assert max(most) <= 2


def test_a_single_event_beyond_the_bound_waits_alone() -> None:
    queue = EventQueue(SlowConsumer.BLOCK, limit=2)
    queue.put([candles(1, 5)])
    queue.call_producer()

    full = queue.wait_for_room()
    drained(queue)

    assert (full, queue.wait_for_room()) == (False, True)


def test_a_producer_that_waits_for_room_can_be_called_away() -> None:
    queue = EventQueue(SlowConsumer.BLOCK, limit=1)
    queue.put([candles(1, 1), candles(2, 1)])
    room: list[bool] = []
    producer = threading.Thread(target=lambda: room.append(queue.wait_for_room()))
    producer.start()

    queue.call_producer()

    producer.join(10)
    assert room == [False]
    queue.close()


def test_closing_frees_a_producer_that_waits_for_room() -> None:
    queue = EventQueue(SlowConsumer.BLOCK, limit=1)
    queue.put([candles(1, 1), candles(2, 1)])
    room: list[bool] = []
    producer = threading.Thread(target=lambda: room.append(queue.wait_for_room()))
    producer.start()

    queue.close()

    producer.join(10)
    assert room == [False]


def test_who_skips_need_not_wait_for_room() -> None:
    queue = EventQueue(SlowConsumer.SKIP_TO_LATEST, limit=1)

    queue.put([candles(1, 1), candles(2, 1)])

    assert queue.wait_for_room()


def test_skipping_puts_one_gap_in_place_of_the_candles_dropped() -> None:
    queue = EventQueue(SlowConsumer.SKIP_TO_LATEST, limit=5)

    queue.put([candles(n, 1) for n in range(1, 101)])
    got = drained(queue)

    gap = got[0]
    assert isinstance(gap, Gap)
    kept = [event.start_sequence for event in got if isinstance(event, Candles)]
    assert (gap.from_sequence, gap.to_sequence + 1, kept[-1]) == (1, kept[0], 100)
    assert [event for event in got if isinstance(event, Gap)] == [gap]


def test_skipping_keeps_streams_apart() -> None:
    queue = EventQueue(SlowConsumer.SKIP_TO_LATEST, limit=4)

    queue.put([candles(n, 1, key) for n in range(1, 8) for key in (KEY, OTHER)])
    got = drained(queue)

    for key in (KEY, OTHER):
        covered: list[int] = []
        for event in got:
            if event.key != key:
                continue
            if isinstance(event, Gap):
                covered += range(event.from_sequence, event.to_sequence + 1)
            elif isinstance(event, Candles):
                covered.append(event.start_sequence)
        assert covered == list(range(1, 8))


def test_an_error_comes_after_the_events_before_it() -> None:
    queue = EventQueue(SlowConsumer.BLOCK, limit=5)
    queue.put([candles(1, 1)])

    queue.close(StoreError("full"))

    assert queue.get(0) is not None
    with pytest.raises(StoreError, match="full"):
        queue.get(0)


def test_every_listener_hears_of_events_and_of_the_end_until_it_is_taken_back() -> None:
    queue = EventQueue(SlowConsumer.BLOCK, limit=5)
    heard: list[str] = []
    one, two = lambda: heard.append("one"), lambda: heard.append("two")
    queue.listen(one)
    queue.listen(two)

    queue.put([candles(1, 1)])
    queue.ignore(one)
    queue.close()

    assert heard == ["one", "two", "two"]
    assert not queue.is_closed
    drained(queue)
    assert queue.is_closed


def test_ticks_that_wait_are_dropped_when_candles_are_skipped() -> None:
    queue = EventQueue(SlowConsumer.SKIP_TO_LATEST, limit=10)
    ticks = Ticks(KEY, 1, np.zeros(8, np.int64), np.zeros(8))

    queue.put([ticks, candles(1, 2)])
    queue.put([candles(3, 5)])
    left = drained(queue)

    assert [type(event) for event in left] == [Gap, Candles]
    assert (left[0].from_sequence, left[0].to_sequence) == (1, 2)  # type: ignore[union-attr]
