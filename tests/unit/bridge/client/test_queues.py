"""fluxcap.bridge.client.queues: on_event hears of everything, and holds up nobody for ever."""

from __future__ import annotations

import threading

import pytest

from fluxcap.bridge.client import queues as callback
from fluxcap.bridge.client.events import CaughtUp, Event
from fluxcap.bridge.client.queues import Callback, EventQueue, SlowConsumer
from fluxcap.schemas.errors import StoreError
from fluxcap.schemas.types import StreamKey

KEY = StreamKey("SIM", "EURUSD", "1s")


def queue_of(count: int) -> tuple[EventQueue, list[Event]]:
    queue, events = EventQueue(SlowConsumer.BLOCK, limit=100), [CaughtUp(KEY, n) for n in range(count)]
    queue.put(events)
    return queue, list[Event](events)


def test_all_that_waited_is_told_before_the_end() -> None:
    (queue, events), heard = queue_of(5), list[Event]()
    calling = Callback(queue, heard.append)

    calling.start()
    queue.close()
    calling.join()

    assert heard == events


def test_the_error_that_ended_the_queue_ends_the_calls() -> None:
    (queue, events), heard = queue_of(1), list[Event]()
    calling = Callback(queue, heard.append)

    calling.start()
    queue.close(StoreError("full"))
    calling.join()

    assert heard == events


def test_a_call_that_does_not_return_is_left_to_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(callback, "PATIENCE_S", 0.01)
    queue, _ = queue_of(1)
    begun, released = threading.Event(), threading.Event()

    def on_event(event: Event) -> None:
        begun.set()
        released.wait()

    calling = Callback(queue, on_event)
    calling.start()
    assert begun.wait(10)
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

    calling = Callback(queue, on_event)
    calling.start()

    assert ended.wait(10)
