"""A daemon's wire as the forwarder's source: what is heard, what is asked, what goes wrong."""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from fluxcap.bridge.jetstream.forward import wire_source
from fluxcap.bridge.jetstream.forward.wire_source import LIST_WAIT_S, TOPICS, WireSource
from fluxcap.bridge.transport.base import (
    Connected,
    Disconnected,
    MessageReceived,
    ReplyReceived,
    RequestFailed,
    TransportEvent,
)
from fluxcap.schemas.errors import CodecError, WireError, WireTimeout
from fluxcap.schemas.types import (
    BackfillCandlesRequest,
    BackfillCandlesResponse,
    CandleBatch,
    CandleRevision,
    HealthResponse,
    ListStreamsRequest,
    ListStreamsResponse,
    Message,
    RevisionsRequest,
    StreamKey,
    StreamStatus,
)
from tests.support.nats.forward_rig import minutes
from tests.support.patience import PATIENCE_S, await_that

KEY = StreamKey("DESK", "EURUSD", "1m")
OTHER = StreamKey("DESK", "GBPUSD", "1m")


class FakeTransport:
    """Gives the events that a test puts in, or fails with the error it puts in; keeps what was asked."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[TransportEvent | Exception | None] = queue.SimpleQueue()
        self.connects: queue.SimpleQueue[tuple[str | None, str]] = queue.SimpleQueue()
        self.asked: queue.SimpleQueue[tuple[int, Message]] = queue.SimpleQueue()
        self.topics: list[bytes] = []
        self.closed = False

    def connect(self, pub: str | None, rep: str) -> None:
        self.connects.put((pub, rep))

    def subscribe(self, topics: Iterable[bytes]) -> None:
        self.topics += topics

    def unsubscribe(self, topics: Iterable[bytes]) -> None: ...

    def request(self, request_id: int, message: Message, timeout_ns: int) -> None:
        self.asked.put((request_id, message))

    def receive(self, timeout_ms: int) -> list[TransportEvent]:
        event = self.events.get()
        if isinstance(event, Exception):
            raise event
        return [] if event is None else [event]

    def wake(self) -> None:
        self.events.put(None)

    def close(self) -> None:
        self.closed = True


class Rig:
    def __init__(self) -> None:
        self.transport = FakeTransport()
        self.now_s = 1_000.0
        self.source = WireSource("tcp://a:1", "tcp://a:2", transport=self.transport, now_s=lambda: self.now_s)
        self.notified = threading.Semaphore(0)
        self._sequences = itertools.count(1)
        self.source.start(self.notified.release)

    def tell(self, event: TransportEvent) -> None:
        self.transport.events.put(event)

    def asked(self) -> tuple[int, Message]:
        return self.transport.asked.get(timeout=PATIENCE_S)

    def connect(self, *streams: StreamStatus) -> None:
        """As a server that greets and has these streams."""
        self.tell(Connected())
        self.transport.wake()
        number, question = self.asked()
        assert question == ListStreamsRequest()
        self.tell(ReplyReceived(number, ListStreamsResponse(streams)))
        assert self.notified.acquire(timeout=PATIENCE_S)

    def ask(self) -> tuple[threading.Thread, list[Any]]:
        """A question of the forwarder's, under way, and where its answer or error will be."""
        results: list[Any] = []

        async def ask() -> None:
            try:
                results.append(await self.source.candles(KEY, 1, 500))
            except Exception as error:
                results.append(error)

        asking = threading.Thread(target=lambda: asyncio.run(ask()))
        asking.start()
        return asking, results

    def pass_a_turn(self) -> None:
        """Until all that was told before has been handled, and what followed of it was asked."""
        for _ in range(2):
            self.hear(StreamStatus(OTHER, next(self._sequences)))
            assert self.notified.acquire(timeout=PATIENCE_S)

    def hear(self, message: Message) -> None:
        self.tell(MessageReceived(b"", message))

    def await_status(self, **expected: Any) -> None:
        def holds() -> bool:
            status = self.source.statuses().get(KEY)
            return status is not None and all(getattr(status, name) == value for name, value in expected.items())

        await_that(holds, f"a status with {expected}")


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.source.close()
    assert rig.transport.closed


def status(latest: int, revision: int = 0, store: str = "s") -> StreamStatus:
    return StreamStatus(KEY, latest, latest * 60_000, 0, 1 if latest else 0, store, revision)


def test_until_a_server_has_told_its_streams_nothing_is_known(rig: Rig):
    assert "no fluxcap daemon answers at tcp://a:2" in rig.source.error
    assert rig.source.statuses() == {}

    rig.connect(status(3))

    assert rig.source.error == ""
    assert rig.source.statuses() == {KEY: status(3)}
    assert tuple(rig.transport.topics) == TOPICS


def test_heartbeats_batches_and_revisions_move_the_watermark(rig: Rig):
    rig.connect(status(3))

    rig.hear(CandleBatch(KEY, 4, minutes(4, 5)))
    rig.await_status(latest_sequence=5, latest_ts_ms=300_000, latest_revision=0)
    rig.hear(CandleRevision(KEY, 1, np.array([4, 5], np.uint64), minutes(4, 5)))
    rig.await_status(latest_sequence=5, latest_revision=2)
    rig.hear(status(9, 3, store="new"))
    rig.await_status(latest_sequence=9, latest_revision=3, store_id="new")

    assert all(rig.notified.acquire(timeout=PATIENCE_S) for _ in range(3))


def test_what_does_not_follow_waits_for_the_heartbeat(rig: Rig):
    rig.connect(status(3))

    rig.hear(CandleBatch(KEY, 7, minutes(7, 7)))
    rig.hear(CandleBatch(OTHER, 1, minutes(1, 1)))
    rig.hear(CandleBatch(KEY, 4, minutes(4, 4)))

    rig.await_status(latest_sequence=4)
    assert OTHER not in rig.source.statuses()


def test_a_stream_that_begins_is_heard_of_by_its_heartbeat(rig: Rig):
    rig.connect()

    rig.hear(status(1))

    rig.await_status(latest_sequence=1)


def test_pages_come_from_the_server(rig: Rig):
    rig.connect(status(3))
    asking, given = rig.ask()
    number, question = rig.asked()
    rig.tell(ReplyReceived(number, BackfillCandlesResponse(KEY, 2, minutes(2, 3), False, 4)))
    asking.join(PATIENCE_S)

    assert question == BackfillCandlesRequest(KEY, 1, None, 500)
    assert given[0].start_sequence == 2


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda number: RequestFailed(number, WireError(404, "no such stream")), WireError),
        (lambda number: RequestFailed(number, WireTimeout("late")), WireTimeout),
        (lambda number: ReplyReceived(number, HealthResponse()), CodecError),
    ],
)
def test_an_error_of_the_server_reaches_who_asked(rig: Rig, answer: Any, expected: type[Exception]):
    rig.connect(status(3))
    errors: list[Exception] = []

    async def ask() -> None:
        try:
            await rig.source.revisions(KEY, 0, 10)
        except Exception as error:
            errors.append(error)

    asking = threading.Thread(target=lambda: asyncio.run(ask()))
    asking.start()
    number, question = rig.asked()
    rig.tell(answer(number))
    asking.join(PATIENCE_S)

    assert isinstance(question, RevisionsRequest)
    assert isinstance(errors[0], expected)


def test_a_server_that_does_not_list_its_streams_is_asked_again_once_a_second(rig: Rig):
    rig.tell(Connected())
    rig.transport.wake()
    for _ in range(3):
        number, question = rig.asked()
        rig.tell(RequestFailed(number, WireError(400, "unknown")))
        rig.pass_a_turn()
        assert question == ListStreamsRequest()
        assert rig.transport.asked.empty()
        assert "unknown" in rig.source.error

        rig.now_s += LIST_WAIT_S
        rig.transport.wake()

    rig.tell(ReplyReceived(rig.asked()[0], ListStreamsResponse((status(3),))))
    rig.await_status(latest_sequence=3)


def test_a_server_that_is_away_is_not_asked(rig: Rig):
    rig.tell(Connected())
    rig.transport.wake()
    number, _ = rig.asked()

    rig.tell(RequestFailed(number, WireTimeout("the connection to the server ended")))
    rig.tell(Disconnected("connection lost; reconnecting"))
    rig.now_s += 10 * LIST_WAIT_S
    assert rig.notified.acquire(timeout=PATIENCE_S)
    rig.pass_a_turn()

    assert rig.transport.asked.empty()
    rig.connect(status(4))
    assert rig.source.error == ""


def test_a_batch_without_candles_tells_nothing(rig: Rig):
    rig.connect(status(3))

    rig.hear(CandleBatch(KEY, 4, minutes(4, 4)[:0]))
    rig.hear(CandleBatch(KEY, 4, minutes(4, 4)))

    rig.await_status(latest_sequence=4, latest_ts_ms=240_000)


def test_a_fault_is_told_nobody_waits_for_ever_and_it_begins_anew(
    rig: Rig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(wire_source, "LIST_WAIT_S", 0.0)
    rig.connect(status(3))
    rig.transport.connects.get(timeout=PATIENCE_S)
    asking, results = rig.ask()
    rig.asked()

    rig.tell(ZeroDivisionError("of ours"))  # type: ignore[arg-type]
    asking.join(PATIENCE_S)

    assert isinstance(results[0], WireTimeout)
    assert "ZeroDivisionError" in rig.source.error
    assert "ZeroDivisionError" in caplog.text
    assert rig.transport.connects.get(timeout=PATIENCE_S) == ("tcp://a:1", "tcp://a:2")
    rig.connect(status(4))
    assert rig.source.error == ""


def test_a_lost_server_is_told_and_nothing_is_asked_of_it(rig: Rig):
    rig.connect(status(3))

    rig.tell(Disconnected("connection lost; reconnecting"))

    assert rig.notified.acquire(timeout=PATIENCE_S)
    assert rig.source.error == "tcp://a:2: connection lost; reconnecting"
    with pytest.raises(WireTimeout, match="connection lost"):
        asyncio.run(rig.source.candles(KEY, 1, 500))
    rig.connect(status(4))
    assert rig.source.error == ""
