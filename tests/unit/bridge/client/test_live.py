"""fluxcap.bridge.client.live over a scripted transport: no call of the client waits for ever, and a wrong one harms
nobody."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import pytest

from fluxcap.bridge.client.events import Event, HealthChanged, Ticks
from fluxcap.bridge.client.live import LiveClient
from fluxcap.bridge.transport.base import MessageReceived, TransportEvent
from fluxcap.schemas.errors import ConfigError
from fluxcap.schemas.types import Message, StreamKey, TickBatch
from tests.support.patience import PATIENCE_S

KEY, OTHER = StreamKey("SIM", "EURUSD", "1s"), StreamKey("SIM", "GBPUSD", "1s")


class Script:
    """A transport that brings what it is given, and says when that was taken."""

    def __init__(self) -> None:
        self._coming: SimpleQueue[list[TransportEvent]] = SimpleQueue()
        self.taken = threading.Event()
        self.fault: Callable[[], None] = lambda: None

    def bring(self, events: list[TransportEvent]) -> None:
        self._coming.put(events)
        assert self.taken.wait(PATIENCE_S)

    def connect(self, pub: str | None, rep: str) -> None: ...
    def subscribe(self, topics: Iterable[bytes]) -> None:
        self.fault()

    def unsubscribe(self, topics: Iterable[bytes]) -> None: ...
    def request(self, request_id: int, message: Message, timeout_ns: int) -> None: ...

    def receive(self, timeout_ms: int) -> list[TransportEvent]:
        try:
            events = self._coming.get(timeout=timeout_ms / 1_000)
        except Empty:
            return []
        if events:
            self.taken.set()
        return events

    def wake(self) -> None:
        self._coming.put([])

    def close(self) -> None: ...


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def full(script: Script) -> Iterator[LiveClient]:
    """A client whose queue is full, and nobody takes anything."""
    with LiveClient(streams=[KEY], ticks=True, transport=script, queue_candles=5) as client:
        script.bring([MessageReceived(KEY.topic("ticks"), ticks(n)) for n in (1, 11, 21)])
        yield client


def ticks(start: int) -> TickBatch:
    return TickBatch(KEY, start, np.arange(start, start + 10), np.ones(10))


def outcome(call: Callable[[], Any]) -> BaseException | None:
    """What a call raised; fails when it does not come back."""
    raised: list[BaseException | None] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)
        else:
            raised.append(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert raised, "the call does not come back"
    return raised[0]


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.subscribe(OTHER),
        lambda client: client.unsubscribe(KEY),
        lambda client: client.reconnect("tcp://127.0.0.1:1", "tcp://127.0.0.1:1"),
        lambda client: client.close(),
    ],
    ids=["subscribe", "unsubscribe", "reconnect", "close"],
)
def test_a_full_queue_holds_up_no_command(full: LiveClient, call: Callable[[LiveClient], None]) -> None:
    assert outcome(lambda: call(full)) is None


def test_all_that_came_while_the_queue_was_full_is_told_in_order(full: LiveClient) -> None:
    full.subscribe(OTHER)
    events = full.events(timeout=PATIENCE_S)
    told: list[int] = []
    while len(told) < 3:
        event = next(events)
        told += [event.start_sequence] if isinstance(event, Ticks) else []

    later = next(events)

    assert told == [1, 11, 21]
    assert isinstance(later, HealthChanged)
    assert later.key == OTHER


def test_a_callback_may_command_while_the_queue_is_full(script: Script) -> None:
    said: list[BaseException | None] = []
    done = threading.Event()

    def on_event(event: Event) -> None:
        if isinstance(event, Ticks) and not done.is_set():
            said.append(outcome(lambda: client.subscribe(OTHER)))
            done.set()

    client = LiveClient(streams=[KEY], ticks=True, transport=script, queue_candles=5, on_event=on_event)
    with client:
        script.bring([MessageReceived(KEY.topic("ticks"), ticks(n)) for n in (1, 11, 21)])
        assert done.wait(2 * PATIENCE_S)

    assert said == [None]


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.subscribe("SIM/EURUSD"),
        lambda client: client.subscribe(StreamKey("SIM", "EURUSD", "soon")),
        lambda client: client.subscribe(OTHER, start_from=0),
        lambda client: client.subscribe(OTHER, start_from="EARLIEST"),
        lambda client: client.unsubscribe(["SIM"]),
        lambda client: client.reconnect(5556, 5557),
    ],
)
def test_a_wrong_argument_is_refused_and_harms_nobody(script: Script, call: Callable[[LiveClient], None]) -> None:
    with LiveClient(streams=[KEY], ticks=True, transport=script) as client:
        refused = outcome(lambda: call(client))

        script.bring([MessageReceived(KEY.topic("ticks"), ticks(1))])
        told = next(event for event in client.events(timeout=PATIENCE_S) if isinstance(event, Ticks))

    assert isinstance(refused, ConfigError)
    assert told.start_sequence == 1


def test_streams_named_wrongly_are_refused_before_anything_begins() -> None:
    with pytest.raises(ConfigError, match="no stream"):
        LiveClient(streams=["SIM/EURUSD"])  # type: ignore[list-item]


def test_a_fault_in_a_command_reaches_who_asked_and_who_listens(script: Script) -> None:
    def fault() -> None:
        raise RuntimeError("internal error")

    with LiveClient(streams=[KEY], transport=script) as client:
        script.fault = fault
        asked = outcome(lambda: client.subscribe(OTHER))
        listened = outcome(lambda: list(client.events()))
        later = outcome(lambda: client.subscribe(OTHER))

    assert (str(asked), str(listened)) == ("internal error", "internal error")
    assert isinstance(later, ConfigError)


def test_a_transport_that_fails_to_close_leaves_nobody_waiting(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault() -> None:
        raise RuntimeError("it does not close")

    hooked: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", hooked.append)
    monkeypatch.setattr(script, "close", fault)
    client = LiveClient(streams=[KEY], transport=script).start()

    assert outcome(client.close) is None
    assert outcome(lambda: list(client.events())) is None
    assert [str(hook.exc_value) for hook in hooked] == ["it does not close"]


def test_a_command_from_the_clients_own_thread_is_refused(script: Script) -> None:
    said: list[BaseException] = []

    def ask() -> None:
        try:
            client.subscribe(KEY)
        except ConfigError as error:
            said.append(error)

    with LiveClient(streams=[KEY], transport=script) as client:
        script.fault = ask
        assert outcome(lambda: client.subscribe(OTHER)) is None

    assert "on_event" in str(said[0])


@pytest.mark.parametrize("take", [lambda client: list(client.events()), lambda client: asyncio.run(first(client))])
def test_nobody_waits_for_events_of_a_client_that_was_never_started(take: Callable[[LiveClient], object]) -> None:
    refused = outcome(lambda: take(LiveClient()))

    assert isinstance(refused, ConfigError)


def test_several_streams_of_one_client_all_end_with_it(script: Script) -> None:
    async def listen(client: LiveClient) -> list[list[Event]]:
        listening = [asyncio.create_task(every(client)) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.to_thread(client.close)
        return await asyncio.wait_for(asyncio.gather(*listening), PATIENCE_S)

    client = LiveClient(streams=[KEY], transport=script).start()

    told = asyncio.run(listen(client))

    assert len(told) == 2


async def every(client: LiveClient) -> list[Event]:
    return [event async for event in client.stream()]


async def first(client: LiveClient) -> Event:
    return await anext(client.stream())
