"""fluxcap.bridge.client.queues: on_event hears of everything, a slow consumer is dealt
with as it chose, and who asks is answered."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from fluxcap.bridge.client import queues as callback
from fluxcap.bridge.client.events import Candles, CaughtUp, Event, Forming, Gap, HealthChanged, Ticks
from fluxcap.bridge.client.health import Health, HealthState
from fluxcap.bridge.client.queues import CallbackThread, CommandQueue, EventQueue, SlowConsumer
from fluxcap.schemas.errors import ConfigError, StoreError, StoreFull
from fluxcap.schemas.types import CANDLE_DTYPE, Candle, StreamKey
from tests.support.patience import PATIENCE_S

KEY = StreamKey("SIM", "EURUSD", "1s")


def queue_of(count: int) -> tuple[EventQueue, list[Event]]:
    queue, events = EventQueue(SlowConsumer.BLOCK, limit=100), [CaughtUp(KEY, n) for n in range(count)]
    queue.put(events)
    return queue, list[Event](events)


def test_all_that_waited_is_told_before_the_end() -> None:
    (queue, events), heard = queue_of(5), list[Event]()
    calling = CallbackThread(queue, heard.append)

    calling.start()
    queue.close()
    calling.join()

    assert heard == events


def test_it_is_awaited_in_parts_where_a_lock_lets_no_ctrl_c_through(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, event = EventQueue(SlowConsumer.BLOCK, limit=100), CaughtUp(KEY, 1)
    asked: list[float | None] = []

    def at_once_s(wanted_s: float | None) -> float:
        asked.append(wanted_s)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return 0.001

    monkeypatch.setattr(callback, "longest_wait_s", at_once_s)

    with pytest.raises(KeyboardInterrupt):
        queue.get(None)
    queue.put([event])

    assert asked == [None, None, None]
    assert queue.get(None) == event


def test_the_error_that_ended_the_queue_ends_the_calls() -> None:
    (queue, events), heard = queue_of(1), list[Event]()
    calling = CallbackThread(queue, heard.append)

    calling.start()
    queue.close(StoreError("full"))
    calling.join()

    assert heard == events


def test_a_call_that_does_not_return_is_left_to_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(callback, "JOIN_TIMEOUT_S", 0.01)
    queue, _ = queue_of(1)
    begun, released = threading.Event(), threading.Event()

    def on_event(event: Event) -> None:
        begun.set()
        released.wait()

    calling = CallbackThread(queue, on_event)
    calling.start()
    assert begun.wait(PATIENCE_S)
    queue.close()

    calling.join()  # would wait for ever: the one who releases is the one who waits here

    assert "has not returned" in caplog.text
    released.set()


def test_it_may_be_ended_from_within() -> None:
    queue, _ = queue_of(1)
    ended = threading.Event()

    def on_event(event: Event) -> None:
        queue.close()
        calling.join()
        ended.set()

    calling = CallbackThread(queue, on_event)
    calling.start()

    assert ended.wait(PATIENCE_S)


# --- a bounded queue of events with a policy for slow consumers ---


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
            assert queue.wait_for_capacity()
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
    queue.wake_producer()

    full = queue.wait_for_capacity()
    drained(queue)

    assert (full, queue.wait_for_capacity()) == (False, True)


def test_a_producer_that_waits_for_room_can_be_called_away() -> None:
    queue = EventQueue(SlowConsumer.BLOCK, limit=1)
    queue.put([candles(1, 1), candles(2, 1)])
    room: list[bool] = []
    producer = threading.Thread(target=lambda: room.append(queue.wait_for_capacity()))
    producer.start()

    queue.wake_producer()

    producer.join(PATIENCE_S)
    assert room == [False]
    queue.close()


def test_closing_frees_a_producer_that_waits_for_room() -> None:
    queue = EventQueue(SlowConsumer.BLOCK, limit=1)
    queue.put([candles(1, 1), candles(2, 1)])
    room: list[bool] = []
    producer = threading.Thread(target=lambda: room.append(queue.wait_for_capacity()))
    producer.start()

    queue.close()

    producer.join(PATIENCE_S)
    assert room == [False]


def test_who_skips_need_not_wait_for_room() -> None:
    queue = EventQueue(SlowConsumer.SKIP_TO_LATEST, limit=1)

    queue.put([candles(1, 1), candles(2, 1)])

    assert queue.wait_for_capacity()


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
    queue.add_listener(one)
    queue.add_listener(two)

    queue.put([candles(1, 1)])
    queue.remove_listener(one)
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


# --- who asks is answered, whenever it is ---


woken = threading.Event()


def asked(commands: CommandQueue, error: Exception | None = None) -> list[BaseException | str]:
    """What becomes of a command that raises ``error`` while another thread obeys."""
    answers: list[BaseException | str] = []

    def command() -> None:
        if error is not None:
            raise error

    def ask() -> None:
        try:
            commands.call(command)
            answers.append("done")
        except Exception as raised:
            answers.append(raised)

    asking = threading.Thread(target=ask)
    woken.clear()
    asking.start()
    assert woken.wait(PATIENCE_S)
    try:
        commands.run_pending()
    finally:
        asking.join(PATIENCE_S)
    return answers


def test_a_command_is_carried_out_by_who_obeys() -> None:
    assert asked(CommandQueue(woken.set)) == ["done"]


def test_an_error_of_ours_goes_to_who_asked_and_harms_nobody() -> None:
    commands, full = CommandQueue(woken.set), StoreFull("no room")

    assert asked(commands, full) == [full]
    assert asked(commands) == ["done"]


def test_any_other_error_goes_to_who_asked_and_to_who_obeys() -> None:
    commands, fault = CommandQueue(woken.set), RuntimeError("internal error")
    answers: list[object] = []

    def ask() -> None:
        with pytest.raises(RuntimeError, match="internal error"):
            commands.call(raise_fault)
        answers.append("heard")

    def raise_fault() -> None:
        raise fault

    woken.clear()
    asking = threading.Thread(target=ask)
    asking.start()
    assert woken.wait(PATIENCE_S)
    with pytest.raises(RuntimeError, match="internal error"):
        commands.run_pending()

    asking.join(PATIENCE_S)
    assert answers == ["heard"]


def test_what_waits_at_the_end_is_refused() -> None:
    commands = CommandQueue(lambda: commands.close())

    with pytest.raises(ConfigError, match="has stopped"):
        commands.call(lambda: None)


def test_what_comes_after_the_end_is_refused() -> None:
    commands = CommandQueue(lambda: None)
    commands.close()

    with pytest.raises(ConfigError, match="has stopped"):
        commands.call(lambda: None)
