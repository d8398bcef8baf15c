"""Joins the parts of a live client: transport events in; requests, merges into the cache, and events out.

No thread and no socket of its own: ``LiveClient`` turns it. In each turn all that came is judged first, then requests
go out (so that the server works on the next page while we store this one), then everything is merged in one
transaction, and only then is it emitted. An event seen is therefore an event stored.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from fluxcap.bridge.client.cache import Append, Cache, Change, Reset, Revise
from fluxcap.bridge.client.committer import EventCommitter
from fluxcap.bridge.client.events import (
    Candles,
    CaughtUp,
    Event,
    Forming,
    Gap,
    HealthChanged,
    Revision,
    StoreReplaced,
    Ticks,
)
from fluxcap.bridge.client.health import Health, StreamHealth
from fluxcap.bridge.client.receiver.actions import (
    Action,
    Deliver,
    DeliverRevisions,
    Duplicate,
    RequestCandles,
    RequestRevisions,
    RequestStatus,
    Restart,
    SkipGap,
    StartFrom,
)
from fluxcap.bridge.client.receiver.receiver import ReceiverState, StreamReceiver
from fluxcap.bridge.client.version1 import CursorPoll, is_version1_error, status_of
from fluxcap.bridge.transport.backoff import Backoff
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
from fluxcap.bridge.transport.requests import MAX_IN_FLIGHT, RequestQueue
from fluxcap.schemas.errors import FluxcapError, WireError
from fluxcap.schemas.types import (
    BackfillCandlesRequest,
    BackfillCandlesResponse,
    CandleBatch,
    CandleRevision,
    GetCursorRequest,
    GetCursorResponse,
    Message,
    RevisionsRequest,
    RevisionsResponse,
    StreamKey,
    StreamStatus,
    StreamStatusRequest,
    TickBatch,
    candles_from,
)

log = logging.getLogger(__name__)

HEALTH_POLL_NS = 100_000_000
"""How often silence is looked for."""
GATHER_NS, GATHER_PAUSE_MS = 20_000_000, 1
"""How long candles are gathered for a commit to disk, at most, and how long none may come meanwhile."""
_KINDS = ("candles", "status", "revisions")


class _Stream:
    """One subscribed stream: its receiver and its health."""

    def __init__(self, key: StreamKey, receiver: StreamReceiver, now_ns: int) -> None:
        self.key = key
        self.receiver = receiver
        # Half an interval of grace: a server without forming candles sends once an interval.
        self.health = StreamHealth(now_ns, idle_after_ms=key.interval_ms * 3 // 2 + 2_000)
        self.caught_up_emitted = False
        self.poll = CursorPoll()


class _PendingRequest(NamedTuple):
    """A request of a stream. ``is_poll``: asked in place of a heartbeat, not because the receiver wants it."""

    key: StreamKey
    message: Message
    is_poll: bool


class Coordinator:
    """Parameters: ``emit`` gets the events of a turn, in order; ``clock_ns`` is monotonic; ``random`` is in [0, 1).

    ``is_durable``: the cache's commits take time.
    """

    def __init__(
        self,
        transport: Transport,
        cache: Cache,
        emit: Callable[[list[Event]], None],
        *,
        clock_ns: Callable[[], int],
        random: Callable[[], float],
        forming: bool,
        ticks: bool = False,
        page_limit: int,
        request_timeout_ns: int,
        max_requests: int = MAX_IN_FLIGHT,
        is_durable: bool = False,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._transport, self._cache = transport, cache
        self._committer = EventCommitter(cache, emit)
        self._clock_ns, self._backoff = clock_ns, Backoff(random)
        self._kinds = _KINDS + ("forming",) * forming + ("ticks",) * ticks
        self._page_limit = page_limit
        self._requests: RequestQueue[_PendingRequest] = RequestQueue(transport, request_timeout_ns, max_requests)
        self._is_durable = is_durable
        self._connected = False
        self._streams: dict[StreamKey, _Stream] = {}
        self._topics: dict[bytes, tuple[str, _Stream]] = {}
        self._alarms: dict[StreamKey, int] = {}
        self._next_health_ns = 0

    # --- commands --------------------------------------------------------------------------------------------------

    def add(self, key: StreamKey, start: StartFrom | int) -> None:
        """Subscribe. A start other than RESUME clears the stream's cache. Raises StoreError."""
        if key in self._streams:
            return
        now_ns = self._clock_ns()
        cursor = self._cache.cursor(key)
        if cursor is not None and start is not StartFrom.RESUME:
            self._cache.commit([Reset(key)], {})
            cursor = None
        receiver = StreamReceiver(self._backoff, cursor=cursor, start=start, page_limit=self._page_limit)
        stream = self._streams[key] = _Stream(key, receiver, now_ns)
        for kind in self._kinds:
            self._topics[key.topic(kind)] = (kind, stream)
        self._transport.subscribe([key.topic(kind) for kind in self._kinds])
        self._committer.emit(HealthChanged(key, stream.health.now(now_ns)))
        if self._connected:
            self._on_stream_connected(stream, now_ns)

    def remove(self, key: StreamKey) -> None:
        """Unsubscribe; the cache keeps what it has."""
        stream = self._streams.pop(key, None)
        if stream is None:
            return
        topics = [key.topic(kind) for kind in self._kinds]
        self._transport.unsubscribe(topics)
        for topic in topics:
            del self._topics[topic]
        self._alarms.pop(key, None)
        self._requests.cancel(lambda pending: pending.key == key)
        self._committer.forget(key)

    def connect(self, pub: str, rep: str) -> None:
        """Go to this server. Raises ConfigError."""
        self._transport.connect(pub, rep)
        self._on_disconnected("another server was chosen", self._clock_ns())
        for stream in self._streams.values():
            self._emit_health(stream, stream.health.on_connecting(self._clock_ns()))

    def health(self, key: StreamKey) -> Health | None:
        stream = self._streams.get(key)
        return None if stream is None else stream.health.now(self._clock_ns())

    def receiver(self, key: StreamKey) -> StreamReceiver | None:
        stream = self._streams.get(key)
        return None if stream is None else stream.receiver

    # --- the turn --------------------------------------------------------------------------------------------------

    def run_once(self, most_ms: int = 100) -> None:
        """Wait for something to happen, at most ``most_ms``, and deal with it. Raises StoreError."""
        self._take_in(self._receive_timeout_ms(most_ms))
        if self._is_durable:
            self._gather()
        now_ns = self._clock_ns()
        for key in [key for key, alarm_ns in self._alarms.items() if alarm_ns <= now_ns]:
            stream = self._streams[key]
            self._carry_out(stream, stream.receiver.on_time(now_ns))
        if now_ns >= self._next_health_ns:
            self._next_health_ns = now_ns + HEALTH_POLL_NS
            for stream in self._streams.values():
                self._emit_health(stream, stream.health.on_time(now_ns))
                if stream.poll.is_due(now_ns):
                    self._request(stream.key, GetCursorRequest(stream.key), is_poll=True)
        self._requests.send()
        self.counters["requests"] = self._requests.sent
        self._settle()

    def _take_in(self, timeout_ms: int) -> bool:
        """Wait for what comes, at most so long, and deal with it; return whether anything came."""
        events = self._transport.receive(timeout_ms)
        for event in events:
            self._on_event(event, self._clock_ns())
        return bool(events)

    def _gather(self) -> None:
        """Take in what follows closely, too: a commit of many streams' candles costs hardly more than of one's."""
        end_ns = self._clock_ns() + GATHER_NS
        while self._committer.has_changes and self._clock_ns() < end_ns:
            if self._committer.streams == len(self._streams):
                return  # a minute has no more to bring
            self._requests.send()
            if not self._take_in(GATHER_PAUSE_MS):
                return

    def _receive_timeout_ms(self, most_ms: int) -> int:
        if not self._alarms:
            return most_ms
        until_ns = min(self._alarms.values()) - self._clock_ns()
        return max(0, min(most_ms, until_ns // 1_000_000 + 1))

    def _settle(self) -> None:
        """Store, then emit; a disk that fills, or has room again, shows in the health."""
        now_ns, error = self._clock_ns(), self._committer.error
        self._committer.commit(now_ns)
        self.counters["merges"] = self._committer.merges
        if self._committer.error != error:
            for stream in self._streams.values():
                self._emit_health(stream, stream.health.on_local_error(self._committer.error, now_ns))

    # --- what comes in ---------------------------------------------------------------------------------------------

    def _on_event(self, event: TransportEvent, now_ns: int) -> None:
        match event:
            case MessageReceived() if self._committer.error:
                # What cannot be stored is not taken in: heartbeats will tell of it when there is room again.
                self.counters["left_on_full_disk"] += 1
            case MessageReceived(topic, message):
                # Prefixes match too: only a topic that is wholly ours counts.
                kind, stream = self._topics.get(topic, ("", None))
                if stream is not None:
                    self._on_published(stream, kind, message, now_ns)
            case ReplyReceived(request_id, message):
                pending = self._requests.resolve(request_id)
                if pending is not None and self._committer.error:
                    self._on_failed(pending, None, now_ns)
                elif pending is not None:
                    self._on_answered(pending, message, now_ns)
            case RequestFailed(request_id, error):
                pending = self._requests.resolve(request_id)
                if pending is not None:
                    self.counters["failed_requests"] += 1
                    self._on_failed(pending, error, now_ns)
            case Connected():
                self._connected = True
                for stream in self._streams.values():
                    self._on_stream_connected(stream, now_ns)
            case Disconnected(reason):
                self._on_disconnected(reason, now_ns)
            case MalformedMessage(error):
                self.counters["garbled"] += 1
                log.debug("dropped a message: %s", error)

    def _on_stream_connected(self, stream: _Stream, now_ns: int) -> None:
        stream.caught_up_emitted = False
        stream.poll.stop()
        self._emit_health(stream, stream.health.on_connected(now_ns))
        self._carry_out(stream, stream.receiver.on_connected(now_ns))

    def _on_disconnected(self, reason: str, now_ns: int) -> None:
        self._connected = False
        self._requests.cancel_all()
        for stream in self._streams.values():
            self._emit_health(stream, stream.health.on_disconnected(reason, now_ns))
            self._carry_out(stream, stream.receiver.on_disconnected(now_ns))

    def _on_published(self, stream: _Stream, kind: str, message: Message, now_ns: int) -> None:
        if getattr(message, "key", None) != stream.key:
            self.counters["garbled"] += 1
            return
        receiver, health = stream.receiver, stream.health
        match kind, message:
            case "candles", CandleBatch():
                self._emit_health(stream, health.on_update(now_ns))
                self._carry_out(stream, receiver.on_batch(message, now_ns))
            case "status", StreamStatus():
                stream.poll.stop()
                self._emit_health(stream, health.on_heartbeat(message, now_ns))
                self._carry_out(stream, receiver.on_heartbeat(message, now_ns))
            case "forming", CandleBatch():
                self._emit_health(stream, health.on_update(now_ns))
                for candle in candles_from(message.candles[-1:]):
                    self._committer.emit(Forming(stream.key, candle))
            case "ticks", TickBatch():
                self._emit_health(stream, health.on_update(now_ns))
                self._committer.emit(Ticks(stream.key, message.start_sequence, message.ts_ms, message.price))
            case "revisions", CandleRevision():
                self._carry_out(stream, receiver.on_revision(message, now_ns))
            case _:
                self.counters["garbled"] += 1

    def _on_failed(self, pending: _PendingRequest, error: FluxcapError | None, now_ns: int) -> None:
        stream = self._streams[pending.key]
        if pending.is_poll:
            stream.poll.answered()
            return
        if isinstance(error, WireError) and error.code == 404:
            self._emit_health(stream, stream.health.on_refused("the server has no such stream", now_ns))
        if error is not None and is_version1_error(pending.message, error):
            stream.poll.start(now_ns)
        self._carry_out(stream, stream.receiver.on_failed(now_ns))

    def _on_answered(self, pending: _PendingRequest, message: Message, now_ns: int) -> None:
        stream = self._streams[pending.key]
        receiver = stream.receiver
        if isinstance(message, GetCursorResponse):
            message = status_of(message)
        match message:
            case StreamStatus() if message.key == stream.key:
                self._emit_health(stream, stream.health.on_heartbeat(message, now_ns))
                if pending.is_poll:
                    stream.poll.answered()
                    self._carry_out(stream, receiver.on_heartbeat(message, now_ns))
                else:
                    self._carry_out(stream, receiver.on_status(message, now_ns))
            case BackfillCandlesResponse() if message.key == stream.key:
                self._carry_out(stream, receiver.on_page(message, now_ns))
            case RevisionsResponse() if message.key == stream.key:
                self._carry_out(stream, receiver.on_revisions(message, now_ns))
            case _:
                self.counters["garbled"] += 1
                self._on_failed(pending, None, now_ns)

    # --- what goes out ---------------------------------------------------------------------------------------------

    def _carry_out(self, stream: _Stream, actions: list[Action]) -> None:
        for action in actions:
            self._carry_out_one(stream, action)
        wake_ns = stream.receiver.wake_ns
        if wake_ns is None:
            self._alarms.pop(stream.key, None)
        else:
            self._alarms[stream.key] = wake_ns
        if stream.receiver.state is ReceiverState.LIVE and not stream.caught_up_emitted:
            stream.caught_up_emitted = True
            self._committer.emit(CaughtUp(stream.key, stream.receiver.cursor.latest_sequence))

    def _carry_out_one(self, stream: _Stream, action: Action) -> None:
        key = stream.key
        match action:
            case Deliver(start, candles, is_backfill):
                self.counters["candles"] += len(candles)
                self._change(stream, Append(key, start, candles), Candles(key, start, candles, is_backfill))
            case DeliverRevisions(start, sequences, candles):
                self.counters["revisions"] += len(candles)
                self._change(stream, Revise(key, sequences, candles), Revision(key, start, sequences, candles))
            case Restart(reason, store_id):
                log.warning("%s starts over: %s", key, reason.value)
                stream.caught_up_emitted = False
                self._change(stream, Reset(key), StoreReplaced(key, store_id, reason.value))
            case SkipGap(first, last, reason):
                log.warning("%s: sequences %d to %d are missing: %s", key, first, last, reason)
                self._change(stream, None, Gap(key, first, last, reason))
            case RequestStatus():
                message = GetCursorRequest(key) if stream.poll.is_on else StreamStatusRequest(key)
                self._request(key, message)
            case RequestCandles(after, limit):
                self._request(key, BackfillCandlesRequest(key, after, None, limit))
            case RequestRevisions(after, limit):
                self._request(key, RevisionsRequest(key, after, limit))
            case Duplicate(count):
                self.counters["duplicates"] += count
            case _:
                self.counters["buffered"] += 1

    def _request(self, key: StreamKey, message: Message, *, is_poll: bool = False) -> None:
        self._requests.enqueue(message, _PendingRequest(key, message, is_poll))

    def _change(self, stream: _Stream, change: Change | None, event: Event) -> None:
        self._committer.store(change, stream.receiver.cursor, event)

    def _emit_health(self, stream: _Stream, changed: Health | None) -> None:
        if changed is not None:
            self._committer.emit(HealthChanged(stream.key, changed))
