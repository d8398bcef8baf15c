"""The transport over NATS JetStream: batches, revisions and the answers to requests all come from there.

One connection, one epoch, as over ZeroMQ: when it ends, another is made and JetStream asked again. nats-py runs on a
loop of its own thread (``ReadSession``); what it brings goes through one bounded inbox, whose fullness stops the
reading: a slow consumer costs memory nowhere, since JetStream keeps what was not asked for. Needs the extra
``fluxcap[nats]``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from fluxcap.bridge.jetstream.address import parse_address
from fluxcap.bridge.jetstream.connection import require_nats
from fluxcap.bridge.jetstream.read.inbox import HeartbeatReceived, Inbox
from fluxcap.bridge.jetstream.read.session import ReadSession
from fluxcap.bridge.jetstream.stream import StoredMessage
from fluxcap.bridge.jetstream.subjects import STREAM_NAME, parse_subject, position_of
from fluxcap.bridge.transport.base import (
    Connected,
    Disconnected,
    MalformedMessage,
    MessageReceived,
    ReplyReceived,
    RequestFailed,
    TransportEvent,
    pop_expired,
    time_to_deadline_ms,
)
from fluxcap.schemas.codec import decode
from fluxcap.schemas.errors import CodecError, WireTimeout
from fluxcap.schemas.types import CandleBatch, CandleRevision, Message, StreamKey, StreamStatus

TURN_MESSAGES = 5_000
"""Most messages handed over in one go, so that answers are not kept waiting."""


class JetStreamTransport:
    """See ``Transport``. Its addresses are those of NATS servers, ``nats://HOST:PORT``; close it.

    Parameters
    ----------
    credentials
        File that says who we are; see ``fluxcap.bridge.jetstream.address``.
    stream
        The JetStream stream.
    """

    def __init__(self, credentials: Path | None = None, stream: str = STREAM_NAME) -> None:
        self._credentials = credentials
        self._stream = stream
        self._inbox = Inbox()
        self._session: ReadSession | None = None
        self._topics: dict[bytes, None] = {}
        self._deadlines: dict[int, int] = {}
        self._failures: list[TransportEvent] = []
        self._connected = False
        self._server = ""
        self._stores: dict[str, str] = {}

    def connect(self, pub: str | None, rep: str) -> None:
        """``rep`` names the servers; ``pub`` is the same, or None for requests only."""
        self._end_session("another server was chosen")
        require_nats()
        address = parse_address(rep, self._credentials)
        self._server = str(address)
        self._session = ReadSession(address, self._stream, self._inbox, wants_feed=pub is not None)
        self._session.set_topics(self._topics)

    def subscribe(self, topics: Iterable[bytes]) -> None:
        self._topics.update(dict.fromkeys(topics))
        self._retarget()

    def unsubscribe(self, topics: Iterable[bytes]) -> None:
        for topic in topics:
            self._topics.pop(topic, None)
        self._retarget()

    def _retarget(self) -> None:
        if self._session is not None:
            self._session.set_topics(self._topics)

    def request(self, request_id: int, message: Message, timeout_ns: int) -> None:
        if self._session is None or not self._connected:
            where = self._server or "anywhere"
            self._failures.append(
                RequestFailed(request_id, WireTimeout(f"No NATS server answers at {where}; is it running?"))
            )
            return
        self._deadlines[request_id] = time.monotonic_ns() + timeout_ns
        self._session.request(request_id, message, timeout_ns / 1e9)

    def receive(self, timeout_ms: int) -> list[TransportEvent]:
        wait_ms = 0 if self._failures else time_to_deadline_ms(self._deadlines, timeout_ms, time.monotonic_ns())
        found = self._inbox.drain(TURN_MESSAGES, wait_ms / 1_000)
        events, self._failures = self._failures, []
        for item in found:
            match item:
                case StoredMessage():
                    events += self._on_message(item)
                case HeartbeatReceived(payload):
                    events += self._on_heartbeat(payload)
                case Connected():
                    self._connected = True
                    self._stores.clear()
                    events.append(item)
                case Disconnected(reason):
                    events += self._on_disconnected(reason)
                    events.append(item)
                case ReplyReceived(request_id) | RequestFailed(request_id):
                    if self._deadlines.pop(request_id, None) is not None:
                        events.append(item)
                case _:
                    events.append(item)
        return events + self._expired()

    def wake(self) -> None:
        self._inbox.wake()

    def close(self) -> None:
        self._end_session("closed")

    # --- connections -----------------------------------------------------------------------------------------------

    def _end_session(self, reason: str) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()
        self._inbox.clear()
        was_connected = self._connected
        self._failures += self._on_disconnected(reason)
        if was_connected:
            self._failures.append(Disconnected(reason))

    def _on_disconnected(self, reason: str) -> list[TransportEvent]:
        self._connected = False
        under_way, self._deadlines = self._deadlines, {}
        return [RequestFailed(request_id, WireTimeout(f"No answer: {reason}.")) for request_id in under_way]

    # --- messages --------------------------------------------------------------------------------------------------

    def _on_message(self, message: StoredMessage) -> list[TransportEvent]:
        """As topics of the wire. A message of another store than the one before it is announced by a status."""
        try:
            key = parse_subject(message.subject)
            if not self._is_wanted(key):
                return []
            position = position_of(message.headers)
            body = decode(message.payload).message
        except CodecError as error:
            return [MalformedMessage(error)]
        events: list[TransportEvent] = []
        if self._stores.get(message.subject) != position.store_id:
            self._stores[message.subject] = position.store_id
            events += self._as_topic(
                StreamStatus(
                    key,
                    position.latest_sequence,
                    position.latest_ts_ms,
                    time.time_ns() // 1_000_000,
                    position.first_sequence,
                    position.store_id,
                    position.latest_revision,
                )
            )
        return events + self._as_topic(body)

    def _on_heartbeat(self, payload: bytes) -> list[TransportEvent]:
        try:
            return self._as_topic(decode(payload).message)
        except CodecError as error:
            return [MalformedMessage(error)]

    def _as_topic(self, body: Message) -> list[TransportEvent]:
        match body:
            case CandleBatch(key):
                topic = key.topic()
            case CandleRevision(key):
                topic = key.topic("revisions")
            case StreamStatus(key):
                topic = key.topic("status")
            case _:
                return [MalformedMessage(CodecError(f"{type(body).__name__} is not a message for JetStream."))]
        return [MessageReceived(topic, body)] if topic in self._topics else []

    def _is_wanted(self, key: StreamKey) -> bool:
        return any(key.topic(kind) in self._topics for kind in ("candles", "revisions"))

    # --- time ------------------------------------------------------------------------------------------------------

    def _expired(self) -> list[TransportEvent]:
        late = pop_expired(self._deadlines, time.monotonic_ns())
        return [RequestFailed(request_id, WireTimeout("JetStream did not answer in time.")) for request_id in late]
