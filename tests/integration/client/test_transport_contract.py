"""What every transport of the client promises (fluxcap.bridge.transport.base.Transport), over real ZeroMQ and real
NATS."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from fluxcap.bridge.jetstream.read.transport import JetStreamTransport
from fluxcap.bridge.server.publisher import Publisher
from fluxcap.bridge.server.requests import RequestHandler
from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.transport.base import (
    Connected,
    Disconnected,
    MalformedMessage,
    MessageReceived,
    ReplyReceived,
    RequestFailed,
    Transport,
    TransportEvent,
)
from fluxcap.bridge.transport.zeromq import ZmqTransport
from fluxcap.schemas.errors import CodecError, ConfigError, WireError, WireTimeout
from fluxcap.schemas.types import (
    BackfillCandlesRequest,
    BackfillCandlesResponse,
    CandleArray,
    CandleBatch,
    CandleRevision,
    GetCursorRequest,
    GetCursorResponse,
    HealthRequest,
    HealthResponse,
    ListStreamsRequest,
    ListStreamsResponse,
    Message,
    RevisionsRequest,
    RevisionsResponse,
    StreamKey,
    StreamStatusRequest,
    SubscribeCandlesAck,
    SubscribeCandlesRequest,
)
from tests.support.nats.log_rig import LogFeeder
from tests.support.nats.nats_rig import NatsServer
from tests.support.patience import PATIENCE_S
from tests.support.wire.samples import candle_rows, minutes

KEY = StreamKey("SIM", "EURUSD_otc", "1m")
OTHER = StreamKey("DESK2", "#AAPL_otc", "1m")
DOTTED = StreamKey("SIM", "BRK.B", "1m")
SECOND_NS = 1_000_000_000


class Side(Protocol):
    """A server that the tests may do anything to."""

    address: tuple[str, str]

    def transport(self) -> Transport: ...
    def publish(self, key: StreamKey, candles: CandleArray) -> None: ...
    def revise(self, key: StreamKey, candles: CandleArray) -> None: ...
    def beat(self) -> None: ...
    def garble(self, key: StreamKey) -> None:
        """Bytes that are no envelope, on the stream's feed."""

    def go_silent(self) -> None:
        """Questions are not answered from now on."""

    def speak(self) -> None: ...
    def die(self) -> None: ...
    def return_(self) -> None: ...
    def close(self) -> None: ...


class _Patient(RequestHandler):
    """Answers when it may."""

    may = threading.Event()

    def handle(self, payload: bytes) -> bytes:
        _Patient.may.wait(PATIENCE_S)
        return super().handle(payload)


class _Loose(Publisher):
    def raw(self, topic: bytes, payload: bytes) -> None:
        self._socket.send_multipart([topic, payload])


class ZmqSide:
    def __init__(self, folder: Path) -> None:
        self._store = folder / "server.duckdb"
        self.address = ("tcp://127.0.0.1:0", "tcp://127.0.0.1:0")
        self._wire: WireServer | None = None
        self.speak()
        self.return_()

    def transport(self) -> Transport:
        return ZmqTransport()

    def _server(self) -> WireServer:
        assert self._wire is not None
        return self._wire

    def publish(self, key: StreamKey, candles: CandleArray) -> None:
        self._server().publish({key: candles})

    def revise(self, key: StreamKey, candles: CandleArray) -> None:
        self._server().revise({key: candles})

    def beat(self) -> None:
        self._server().heartbeat(1_000_000)

    def garble(self, key: StreamKey) -> None:
        publisher = self._server()._publisher
        assert isinstance(publisher, _Loose)
        publisher.raw(key.topic(), b"\x00garbage")

    def go_silent(self) -> None:
        _Patient.may.clear()

    def speak(self) -> None:
        _Patient.may.set()

    def die(self) -> None:
        self._server().close()
        self._wire = None

    def return_(self) -> None:
        self._wire = WireServer(self._store, *self.address, publisher=_Loose, handler=_Patient)
        self.address = (self._wire.pub_endpoint, self._wire.rep_endpoint)

    def close(self) -> None:
        self.speak()
        if self._wire is not None:
            self._wire.close()


class LogSide:
    def __init__(self, server: NatsServer) -> None:
        self._server = server
        self.address = (server.url, server.url)
        self.feeder = LogFeeder(server.url)
        self._alive = True

    def transport(self) -> Transport:
        return JetStreamTransport()

    def publish(self, key: StreamKey, candles: CandleArray) -> None:
        self.feeder.add(key, candles)

    def revise(self, key: StreamKey, candles: CandleArray) -> None:
        sequences = [int(minute) for minute in minutes(candles)]
        self.feeder.revise(key, sequences, candles)

    def beat(self) -> None:
        self.feeder.beat()

    def garble(self, key: StreamKey) -> None:
        self.feeder.put_raw(key, b"\x00garbage")

    def go_silent(self) -> None:
        self._server.pause()

    def speak(self) -> None:
        self._server.resume()

    def die(self) -> None:
        self._server.kill()

    def return_(self) -> None:
        self._server.start()
        self.feeder.open()

    def close(self) -> None:
        self.feeder.close()


@pytest.fixture(params=["zeromq", "jetstream"])
def side(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Side]:
    found: Side
    found = ZmqSide(tmp_path) if request.param == "zeromq" else LogSide(request.getfixturevalue("nats_server")())
    yield found
    found.close()


class Listener:
    """A transport with what came over it."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.events: list[TransportEvent] = []
        self._number = 0

    def until(self, wanted: Callable[[TransportEvent], bool], nudge: Callable[[], None] | None = None) -> Any:
        """The first event that is wanted, of those that come from now on."""
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            if nudge is not None:
                nudge()
            events = self.transport.receive(200)
            self.events += events
            for event in events:
                if wanted(event):
                    return event
        raise AssertionError(f"it did not come; the last were {self.events[-5:]}")

    def connect(self, side: Side) -> None:
        self.transport.connect(*side.address)
        self.until(lambda event: isinstance(event, Connected))

    def ask(self, message: Message, timeout_s: float = PATIENCE_S) -> Any:
        """The answer; raises what it failed with."""
        self._number += 1
        number = self._number
        self.transport.request(number, message, int(timeout_s * SECOND_NS))
        event = self.until(
            lambda event: isinstance(event, ReplyReceived | RequestFailed) and event.request_id == number
        )
        if isinstance(event, RequestFailed):
            raise event.error
        return event.message

    def heard(self, kind: type[Message] = CandleBatch) -> list[Any]:
        return [e.message for e in self.events if isinstance(e, MessageReceived) and isinstance(e.message, kind)]

    def await_feed(self, side: Side, key: StreamKey = KEY) -> None:
        """Until the subscription has surely reached the server: a heartbeat comes through."""
        self.until(lambda e: isinstance(e, MessageReceived) and e.topic == key.topic("status"), side.beat)


@pytest.fixture
def listener(side: Side) -> Iterator[Listener]:
    found = Listener(side.transport())
    yield found
    found.transport.close()


def batch_from(sequence: int) -> Callable[[TransportEvent], bool]:
    return lambda e: (
        isinstance(e, MessageReceived) and isinstance(e.message, CandleBatch) and e.message.start_sequence == sequence
    )


def topics(*keys: StreamKey) -> list[bytes]:
    return [key.topic(kind) for key in keys for kind in ("candles", "status", "revisions")]


def test_what_is_subscribed_to_comes_under_its_topic_and_unchanged(side: Side, listener: Listener) -> None:
    side.publish(KEY, candle_rows(1, 1))
    listener.transport.subscribe(topics(KEY))
    listener.connect(side)
    listener.await_feed(side)

    side.publish(KEY, candle_rows(2, 3))
    event = listener.until(batch_from(2))

    assert event.topic == b"candles.SIM.EURUSD_otc.1m"
    assert event.message.key == KEY
    assert event.message.candles.tobytes() == candle_rows(2, 3).tobytes()


def test_a_subscription_made_later_holds_from_then_on_and_the_end_of_one_too(side: Side, listener: Listener) -> None:
    for key in (KEY, OTHER, DOTTED):
        side.publish(key, candle_rows(1, 1))
    listener.transport.subscribe(topics(KEY))
    listener.connect(side)
    listener.await_feed(side)
    listener.transport.subscribe(topics(OTHER))
    listener.await_feed(side, OTHER)
    listener.transport.unsubscribe(topics(KEY))
    listener.transport.subscribe(topics(DOTTED))
    listener.await_feed(side, DOTTED)  # unsubscribing has no echo, but what is subscribed to after it has
    before = len(listener.events)

    side.publish(KEY, candle_rows(2, 1))
    side.publish(OTHER, candle_rows(2, 1))
    listener.until(lambda e: isinstance(e, MessageReceived) and e.topic == OTHER.topic())

    assert {e.topic for e in listener.events[before:] if isinstance(e, MessageReceived)} <= set(topics(OTHER, DOTTED))


def test_symbols_of_any_letters_come_under_their_own_topics(side: Side, listener: Listener) -> None:
    listener.transport.subscribe(topics(DOTTED))
    side.publish(DOTTED, candle_rows(1, 1))
    listener.connect(side)
    listener.await_feed(side, DOTTED)

    side.publish(DOTTED, candle_rows(2, 1))

    assert listener.until(batch_from(2)).topic == b"candles.SIM.BRK.B.1m"


def test_revisions_come_under_a_topic_of_their_own(side: Side, listener: Listener) -> None:
    side.publish(KEY, candle_rows(1, 3))
    listener.transport.subscribe(topics(KEY))
    listener.connect(side)
    listener.await_feed(side)
    better = candle_rows(2, 1)
    better["close"] = 1.75

    side.revise(KEY, better)
    event = listener.until(lambda e: isinstance(e, MessageReceived) and isinstance(e.message, CandleRevision))

    assert event.topic == b"revisions.SIM.EURUSD_otc.1m"
    assert (event.message.start_revision, event.message.sequences.tolist()) == (1, [2])
    assert event.message.candles["close"].tolist() == [1.75]


def test_every_question_of_the_wire_is_answered(side: Side, listener: Listener) -> None:
    side.publish(KEY, candle_rows(1, 5))
    side.publish(OTHER, candle_rows(1, 1))
    better = candle_rows(2, 1)
    better["close"] = 1.75
    side.revise(KEY, better)
    listener.connect(side)

    health = listener.ask(HealthRequest())
    cursor = listener.ask(GetCursorRequest(KEY))
    ack = listener.ask(SubscribeCandlesRequest(KEY))
    status = listener.ask(StreamStatusRequest(KEY))
    page = listener.ask(BackfillCandlesRequest(KEY, 1, None, 3))
    revisions = listener.ask(RevisionsRequest(KEY, 0))
    streams = listener.ask(ListStreamsRequest())

    assert isinstance(health, HealthResponse)
    assert health.ok
    assert cursor == GetCursorResponse(KEY, 5, 300_000)
    assert ack == SubscribeCandlesAck(True, "", KEY, 5)
    assert (status.latest_sequence, status.latest_ts_ms, status.first_sequence) == (5, 300_000, 1)
    assert (status.latest_revision, bool(status.store_id)) == (1, True)
    assert isinstance(page, BackfillCandlesResponse)
    assert (page.start_sequence, page.next_sequence, page.has_more) == (2, 5, True)
    assert page.candles["close"].tolist() == [1.75, *candle_rows(3, 2)["close"].tolist()]
    assert isinstance(revisions, RevisionsResponse)
    assert (revisions.start_revision, revisions.sequences.tolist(), revisions.has_more) == (1, [2], False)
    assert isinstance(streams, ListStreamsResponse)
    assert [stream.key for stream in streams.streams] == [OTHER, KEY]
    assert streams.streams[1].latest_sequence == 5


def test_a_page_is_the_same_however_it_is_asked_for(side: Side, listener: Listener) -> None:
    for first, count in ((1, 1), (2, 40), (42, 8), (50, 1)):
        side.publish(KEY, candle_rows(first, count))
    listener.connect(side)

    def page(after: int | None, end_minute: int | None, limit: int) -> tuple[int, list[int], bool, int]:
        end_ts_ms = None if end_minute is None else end_minute * 60_000
        found = listener.ask(BackfillCandlesRequest(KEY, after, end_ts_ms, limit))
        return found.start_sequence, minutes(found.candles), found.has_more, found.next_sequence

    assert page(None, None, 0) == (1, list(range(1, 51)), False, 51)
    assert page(10, None, 5) == (11, [11, 12, 13, 14, 15], True, 16)
    assert page(15, None, 5) == (16, [16, 17, 18, 19, 20], True, 21)
    assert page(40, None, 3) == (41, [41, 42, 43], True, 44)
    assert page(47, None, 5) == (48, [48, 49, 50], False, 51)
    assert page(3, 5, 10) == (4, [4, 5], False, 6)
    assert page(3, 5, 1) == (4, [4], True, 5)
    assert page(50, None, 5) == (51, [], False, 51)
    assert page(70, None, 5)[1:3] == ([], False)


def test_a_stream_that_nobody_has_is_a_404(side: Side, listener: Listener) -> None:
    side.publish(KEY, candle_rows(1, 1))
    listener.connect(side)

    for question in (StreamStatusRequest(OTHER), BackfillCandlesRequest(OTHER), RevisionsRequest(OTHER)):
        with pytest.raises(WireError) as failed:
            listener.ask(question)
        assert failed.value.code == 404


def test_what_is_no_question_fails_and_the_next_one_is_answered(side: Side, listener: Listener) -> None:
    side.publish(KEY, candle_rows(1, 1))
    listener.connect(side)

    with pytest.raises(WireError) as failed:
        listener.ask(CandleBatch(KEY, 1, candle_rows(1, 1)))

    assert failed.value.code == 400
    assert listener.ask(GetCursorRequest(KEY)).latest_sequence == 1


def test_without_an_answer_a_question_fails_in_its_time_and_a_late_answer_is_dropped(
    side: Side, listener: Listener
) -> None:
    side.publish(KEY, candle_rows(1, 1))
    listener.connect(side)
    side.go_silent()

    with pytest.raises(WireTimeout):
        listener.ask(GetCursorRequest(KEY), timeout_s=0.2)
    side.speak()
    listener.events.clear()

    assert listener.ask(GetCursorRequest(KEY)).latest_sequence == 1
    assert [e.request_id for e in listener.events if isinstance(e, ReplyReceived | RequestFailed)] == [2]


def test_where_nobody_is_a_question_fails_at_once(side: Side, listener: Listener) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        scheme = side.address[1].partition(":")[0]
        address = f"{scheme}://127.0.0.1:{nobody.getsockname()[1]}"
        listener.transport.connect(address, address)

        with pytest.raises(WireTimeout, match="is it running"):
            listener.ask(HealthRequest())


def test_what_is_no_address_is_refused(side: Side, listener: Listener) -> None:
    for address in ("nonsense://x", "tcp://"):
        with pytest.raises(ConfigError):
            listener.transport.connect(address, address)


def test_a_server_that_dies_is_noticed_and_so_is_its_return(side: Side, listener: Listener) -> None:
    side.publish(KEY, candle_rows(1, 1))
    listener.transport.subscribe(topics(KEY))
    listener.connect(side)
    listener.await_feed(side)

    side.die()
    lost = listener.until(lambda e: isinstance(e, Disconnected))
    side.return_()
    listener.until(lambda e: isinstance(e, Connected))
    listener.await_feed(side)
    side.publish(KEY, candle_rows(2, 1))
    listener.until(batch_from(2))

    assert lost.reason
    assert listener.ask(GetCursorRequest(KEY)).latest_sequence == 2


def test_what_was_under_way_when_the_connection_ended_fails_once(side: Side, listener: Listener) -> None:
    side.publish(KEY, candle_rows(1, 1))
    listener.connect(side)
    side.go_silent()
    for number in (101, 102):
        listener.transport.request(number, GetCursorRequest(KEY), 300 * SECOND_NS)
    listener.events += listener.transport.receive(50)
    if isinstance(side, ZmqSide):
        threading.Timer(0.2, side.speak).start()  # it cannot end while a thread of it waits
    side.die()

    listener.until(lambda e: isinstance(e, Disconnected))
    listener.events += listener.transport.receive(200)

    ended = [e.request_id for e in listener.events if isinstance(e, RequestFailed | ReplyReceived)]
    assert sorted(ended) == [101, 102]


def test_another_server_may_be_chosen(side: Side, listener: Listener) -> None:
    side.publish(KEY, candle_rows(1, 1))
    listener.transport.subscribe(topics(KEY))
    listener.connect(side)

    listener.events.clear()
    listener.connect(side)
    listener.await_feed(side)

    kinds = [type(e) for e in listener.events if isinstance(e, Connected | Disconnected)]
    assert kinds == [Disconnected, Connected]
    assert listener.ask(GetCursorRequest(KEY)).latest_sequence == 1


def test_garbage_on_the_feed_is_told_and_what_follows_comes_through(side: Side, listener: Listener) -> None:
    side.publish(KEY, candle_rows(1, 1))
    listener.transport.subscribe(topics(KEY))
    listener.connect(side)
    listener.await_feed(side)

    side.garble(KEY)
    side.publish(KEY, candle_rows(2, 1))
    listener.until(batch_from(2))

    garbled = [event for event in listener.events if isinstance(event, MalformedMessage)]
    assert len(garbled) == 1
    assert isinstance(garbled[0].error, CodecError)


def test_a_waiting_receive_is_woken_from_another_thread(side: Side, listener: Listener) -> None:
    listener.connect(side)
    listener.transport.receive(0)
    begin_s = time.monotonic()
    threading.Timer(0.1, listener.transport.wake).start()

    while not listener.transport.receive(60_000) and time.monotonic() - begin_s < 0.1:
        pass

    assert time.monotonic() - begin_s < 30


def test_receive_returns_when_its_time_is_over(side: Side, listener: Listener) -> None:
    listener.connect(side)
    begin_s = time.monotonic()

    listener.transport.receive(50)

    assert time.monotonic() - begin_s < 30


def test_requests_alone_need_no_feed(side: Side, listener: Listener) -> None:
    side.publish(KEY, candle_rows(1, 1))
    listener.transport.subscribe(topics(KEY))
    listener.transport.connect(None, side.address[1])
    listener.until(lambda e: isinstance(e, Connected))

    side.publish(KEY, candle_rows(2, 1))

    assert listener.ask(GetCursorRequest(KEY)).latest_sequence == 2
    assert listener.heard() == []


def test_closing_leaves_no_thread_behind(side: Side) -> None:
    before = set(threading.enumerate())
    transport = side.transport()
    Listener(transport).connect(side)

    transport.close()

    assert set(threading.enumerate()) <= before
