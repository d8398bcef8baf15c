"""Forwarding over one connection to JetStream: every stream's next message, many streams at once. Coroutines.

What to do is decided by each stream's stream_state.py; this file does it. The connection's end is this session's end,
and what was under way is unresolved.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping

import msgspec

from fluxcap.bridge.jetstream.forward.checkpoint import ForwardCheckpoint
from fluxcap.bridge.jetstream.forward.source import ForwardSource
from fluxcap.bridge.jetstream.forward.status import ForwardEvent, OnForwardEvent
from fluxcap.bridge.jetstream.forward.stream_state import (
    CompareCandle,
    FetchLast,
    ForwardPhase,
    SendCandles,
    SendRevisions,
    Step,
    StreamForwardState,
)
from fluxcap.bridge.jetstream.newest import NewestMessages
from fluxcap.bridge.jetstream.publisher import Ack, AsyncPublisher, PublishError
from fluxcap.bridge.jetstream.stream import JetStreamApi, StreamInfo
from fluxcap.bridge.jetstream.subjects import (
    EXPECTED_LAST,
    EXPECTED_STREAM,
    MESSAGE_ID,
    Position,
    message_id,
    position_headers,
    position_of,
    revision_id,
    status_subject,
    subject,
)
from fluxcap.schemas.codec import encode
from fluxcap.schemas.errors import (
    CodecError,
    NatsError,
    NatsRejected,
    NatsUnavailable,
    StoreError,
    WireError,
    WireTimeout,
)
from fluxcap.schemas.types import CandleBatch, CandleRevision, Message, StreamKey

MAX_CONCURRENT_STREAMS = 256
PAGE = 2_000
"""Candles taken from the source at once; with all streams at work 28 MB."""
POLL_S = 1.0
"""The source says when there is something new; a stream that had to wait is looked at again after this."""
STREAM_CHECK_S = 10.0
"""A JetStream stream may be recreated while nothing is sent that would show it: its state is requested this often."""


class ForwardSession:
    """See the module.

    Parameters
    ----------
    writer, access
        Of one connection.
    source
        What to forward.
    checkpoint
        The streams, and which JetStream stream is in use; outlives the session.
    counters
        ``batches``, ``candles``, ``revision_messages``, ``revisions``, ``bytes``; ``overtaken`` (another forwarder was
        quicker), ``duplicates`` (known to JetStream by its id), ``refused`` (JetStream is full, …), ``pruned`` (candles
        the store pruned before they could be forwarded).
    on_event
        Called with what the log should have.
    """

    def __init__(
        self,
        writer: AsyncPublisher,
        access: JetStreamApi,
        source: ForwardSource,
        checkpoint: ForwardCheckpoint,
        counters: Counter[str],
        on_event: OnForwardEvent,
    ) -> None:
        self._writer = writer
        self._access = access
        self._newest = NewestMessages(access)
        self._source = source
        self._checkpoint = checkpoint
        self._streams = checkpoint.streams
        self._counters = counters
        self._emit = on_event
        self._slots = asyncio.Semaphore(MAX_CONCURRENT_STREAMS)
        self._busy: set[StreamKey] = set()
        self._not_before_s: dict[StreamKey, float] = {}
        self._heartbeats = HeartbeatPublisher(writer, checkpoint.streams)
        self._next_stream_check_s = time.monotonic() + STREAM_CHECK_S
        self._wake = asyncio.Event()
        self._stopping = False
        self._disconnected = False
        self.source_error = ""

    def wake(self) -> None:
        """There is something new. On the loop."""
        self._wake.set()

    def on_disconnected(self) -> None:
        """The connection has ended. On the loop."""
        self._disconnected = True
        self._writer.on_disconnected()
        self._wake.set()

    def on_server_error(self, error: Exception) -> None:
        """The NATS server reported an error. On the loop."""
        self._writer.on_server_error(error)

    def stop(self) -> None:
        """Begin nothing more; ``run`` returns when what is under way has been answered."""
        self._stopping = True
        self._wake.set()

    @property
    def idle(self) -> bool:
        return not self._busy

    async def run(self, on_poll: Callable[[], None]) -> None:
        """Forward until stopped.

        ``on_poll``: called after every poll of the source; at least once a second while JetStream answers.

        Raises NatsUnavailable when the connection ended, JetStream does not answer, or the stream was recreated;
        NatsError when there is no stream.
        """
        for stream in self._streams.values():
            stream.invalidate()
        try:
            async with asyncio.TaskGroup() as group:
                while not self._stopping:
                    self._wake.clear()
                    if self._disconnected:
                        raise NatsUnavailable("The connection to NATS ended.")
                    begun_s = time.monotonic()
                    self._poll(group)
                    on_poll()
                    # With very many streams a look takes its time; sending must have as much.
                    await asyncio.sleep(time.monotonic() - begun_s)
                    if not self._source.error:  # what cannot be received is not vouched for
                        await self._heartbeats.beat()
                    if time.monotonic() >= self._next_stream_check_s:
                        await self._check_stream_unchanged()
                    await self._rest()
        except BaseExceptionGroup as errors:
            ours = errors.subgroup(NatsError)
            raise (_first(ours) if ours is not None else _first(errors)) from None
        finally:
            self._newest.close()

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(POLL_S):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _poll(self, group: asyncio.TaskGroup) -> None:
        now_s = time.monotonic()
        for key, status in self._source.statuses().items():
            stream = self._checkpoint.stream_state(key)
            stream.set_store_status(status)
            if key not in self._busy and self._not_before_s.get(key, 0.0) <= now_s and stream.next() is not None:
                self._busy.add(key)
                group.create_task(self._forward(stream))

    async def _forward(self, stream: StreamForwardState) -> None:
        try:
            while not self._stopping and (step := stream.next()) is not None:
                # Where they stand is asked for of all streams at once: one reading tells.
                async with contextlib.nullcontext() if isinstance(step, FetchLast) else self._slots:
                    go_on = await self._run_step(stream, step)
                if stream.state is ForwardPhase.BLOCKED:
                    self._emit(ForwardEvent.BLOCKED, {"stream": str(stream.key), "reason": stream.reason})
                if not go_on:
                    self._not_before_s[stream.key] = time.monotonic() + POLL_S / 2
                    return
            self._not_before_s.pop(stream.key, None)
        except (StoreError, WireError, WireTimeout, CodecError) as error:
            self.source_error = str(error)
            self._not_before_s[stream.key] = time.monotonic() + POLL_S / 2
        finally:
            self._busy.discard(stream.key)
            self._wake.set()

    async def _run_step(self, stream: StreamForwardState, step: Step) -> bool:
        """Do one step. False: do not go on at once."""
        match step:
            case FetchLast():
                await self._fetch_last(stream)
            case CompareCandle(sequence):
                page = await self._source.candles(stream.key, sequence - 1, 1)
                found = len(page.candles) and page.start_sequence == sequence
                stream.compared(int(page.candles["ts_ms"][0]) if found else None)
            case SendCandles(after):
                return await self._send_candles(stream, after)
            case SendRevisions(after, to):
                return await self._send_revisions(stream, after, to)
        return True

    async def _fetch_last(self, stream: StreamForwardState) -> None:
        last = await self._newest.last(subject(stream.key))
        if last is None:
            first_position = (await self._check_stream_unchanged()).first_position if stream.had_messages else 0
            stream.answered(None, first_position=first_position)
            return
        try:
            position = position_of(last.headers)
        except CodecError as error:
            stream.block(str(error))
            return
        if stream.answered(position, last.position):
            self._emit(ForwardEvent.NEW_STORE, {"stream": str(stream.key), "store": stream.store.store_id})

    async def _check_stream_unchanged(self) -> StreamInfo:
        """Return the JetStream stream's state.

        Raises NatsUnavailable when it was recreated: known positions are void then, and a new session must begin.
        """
        self._next_stream_check_s = time.monotonic() + STREAM_CHECK_S
        state = await self._access.state()
        if state.created != self._checkpoint.created:
            raise NatsUnavailable(f"The JetStream stream {self._access.stream} was recreated.")
        return state

    async def _send_candles(self, stream: StreamForwardState, after: int) -> bool:
        page = await self._source.candles(stream.key, after, PAGE)
        self.source_error = ""
        candles, start = page.candles, page.start_sequence
        if not len(candles):
            return False
        for part_start in range(0, len(candles), most := stream.max_candles):
            part = candles[part_start : part_start + most]
            batch = CandleBatch(stream.key, start + part_start, part)
            have = stream.position
            reached = msgspec.structs.replace(
                have,
                latest_sequence=batch.next_sequence - 1,
                latest_ts_ms=int(part["ts_ms"][-1]),
                first_sequence=have.first_sequence or batch.start_sequence,
            )
            if self._stopping or not await self._send(
                stream, batch, message_id(reached.store_id, stream.key, batch.start_sequence), reached
            ):
                return stream.goes_on
            self._counters["batches"] += 1
            self._counters["candles"] += len(part)
            self._count_pruned(stream, batch.start_sequence - have.latest_sequence - 1)
        return True

    def _count_pruned(self, stream: StreamForwardState, missing: int) -> None:
        """The store pruned candles before they could be forwarded: JetStream has a hole, which is reported."""
        if missing > 0 and stream.position.first_sequence < stream.position.latest_sequence - missing:
            self._counters["pruned"] += missing
            self._emit(ForwardEvent.PRUNED, {"stream": str(stream.key), "candles": missing})

    async def _send_revisions(self, stream: StreamForwardState, after: int, to: int) -> bool:
        page = await self._source.revisions(stream.key, after, stream.max_candles)
        self.source_error = ""
        count = min(len(page.candles), to - page.start_revision + 1)
        if count <= 0:
            return False
        revision = CandleRevision(stream.key, page.start_revision, page.sequences[:count], page.candles[:count])
        latest = page.start_revision + count - 1
        reached = msgspec.structs.replace(stream.position, latest_revision=latest)
        name = revision_id(reached.store_id, stream.key, page.start_revision)
        if not await self._send(stream, revision, name, reached):
            return stream.goes_on
        self._counters["revision_messages"] += 1
        self._counters["revisions"] += count
        return True

    async def _send(self, stream: StreamForwardState, message: Message, name: str, reached: Position) -> bool:
        """Return whether it is on JetStream now; if not, the stream's state knows what to do."""
        payload = encode(message)
        headers = {
            MESSAGE_ID: name,
            EXPECTED_STREAM: self._access.stream,
            EXPECTED_LAST: str(stream.stream_position),
            **position_headers(reached),
        }
        ack = await self._writer.publish(subject(stream.key), payload, headers)
        if ack.error is None and not ack.duplicate:
            stream.stored(reached, ack.stream_position)
            self._counters["bytes"] += len(payload)
            return True
        if ack.error is PublishError.NO_STREAM:
            raise NatsRejected(f"{self._access.stream}: {PublishError.NO_STREAM.value} ({ack.text}).")
        self._on_rejected(stream, ack)
        return False

    def _on_rejected(self, stream: StreamForwardState, ack: Ack) -> None:
        if ack.duplicate:
            self._counters["duplicates"] += 1
            stream.hold("JetStream has a message with this id")
        elif ack.error is PublishError.OUT_OF_ORDER:
            self._counters["overtaken"] += 1
            stream.invalidate()
        elif ack.error is PublishError.TOO_LARGE:
            stream.too_large()
        else:
            self._counters["refused"] += 1
            stream.hold(f"JetStream rejected it: {ack.text}")


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


BEAT_S = 1.0
HEARTBEATS_A_SECOND = 1_000
"""At most; with more streams each has its heartbeat less often than once a second."""


class HeartbeatPublisher:
    """Over one connection."""

    def __init__(self, writer: AsyncPublisher, streams: Mapping[StreamKey, StreamForwardState]) -> None:
        self._writer = writer
        self._streams = streams
        self._next_s = 0.0

    async def beat(self) -> None:
        """Send a heartbeat of every stream, if it is time. Raises NatsUnavailable."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + max(BEAT_S, len(self._streams) / HEARTBEATS_A_SECOND)
        for stream in self._streams.values():
            have, store = stream.position, stream.store
            if stream.state is ForwardPhase.SYNCED and have.store_id == store.store_id:
                heartbeat = msgspec.structs.replace(
                    store,
                    latest_sequence=have.latest_sequence,
                    latest_ts_ms=have.latest_ts_ms,
                    latest_revision=have.latest_revision,
                    first_sequence=have.first_sequence,
                    server_time_ms=time.time_ns() // 1_000_000,
                )
                await self._writer.send_unstored(status_subject(stream.key), encode(heartbeat))
