"""Forwarding over one connection to the log: every stream's next message, many streams at once. Coroutines.

What to do is each stream's forward_lane.py; this file does it. The connection's end is this session's end, and what was
under way is in doubt.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping

import msgspec

from fluxcap.bridge.jetstream.forward.checkpoint import ForwardMemory
from fluxcap.bridge.jetstream.forward.source import ForwardSource
from fluxcap.bridge.jetstream.forward.status import Notice, Tell
from fluxcap.bridge.jetstream.forward.stream_state import (
    Ask,
    Compare,
    ForwardLane,
    LaneState,
    SendCandles,
    SendRevisions,
    Step,
)
from fluxcap.bridge.jetstream.publisher import Ack, LogWriter, Refusal
from fluxcap.bridge.jetstream.stream import LogAccess, LogState
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
from fluxcap.schemas.errors import CodecError, LogError, LogRefused, LogUnavailable, StoreError, WireError, WireTimeout
from fluxcap.schemas.types import CandleBatch, CandleRevision, Message, StreamKey

LANES_AT_ONCE = 256
PAGE = 2_000
"""Candles taken from the source at once; with all lanes at work 28 MB."""
LOOK_S = 1.0
"""The source says when there is something new; a stream that had to wait is looked at again after this."""
LOG_LOOK_S = 10.0
"""A log may be made anew while nothing is sent that would show it; so it is asked for its state this often."""


class ForwardSession:
    """See the module.

    Parameters
    ----------
    writer, access
        Of one connection.
    source
        What to forward.
    memory
        The streams, and which log was met; outlives the session.
    counters
        ``batches``, ``candles``, ``revision_messages``, ``revisions``, ``bytes``; ``overtaken`` (another forwarder was
        quicker), ``duplicates`` (known to the log by its id), ``refused`` (the log is full, …), ``pruned`` (candles
        the store forgot before they could be forwarded).
    tell
        Told of what a log of events should have.
    """

    def __init__(
        self,
        writer: LogWriter,
        access: LogAccess,
        source: ForwardSource,
        memory: ForwardMemory,
        counters: Counter[str],
        tell: Tell,
    ) -> None:
        self._writer = writer
        self._access = access
        self._source = source
        self._memory = memory
        self._lanes = memory.lanes
        self._counters = counters
        self._tell = tell
        self._slots = asyncio.Semaphore(LANES_AT_ONCE)
        self._busy: set[StreamKey] = set()
        self._not_before_s: dict[StreamKey, float] = {}
        self._heartbeats = ForwardHeartbeats(writer, memory.lanes)
        self._next_log_look_s = time.monotonic() + LOG_LOOK_S
        self._wake = asyncio.Event()
        self._stopping = False
        self._lost = False
        self.source_trouble = ""

    def wake(self) -> None:
        """There is something new. On the loop."""
        self._wake.set()

    def lost(self) -> None:
        """The connection has ended. On the loop."""
        self._lost = True
        self._writer.lost()
        self._wake.set()

    def told(self, error: Exception) -> None:
        """The log's server told an error. On the loop."""
        self._writer.told(error)

    def stop(self) -> None:
        """Begin nothing more; ``run`` returns when what is under way has been answered."""
        self._stopping = True
        self._wake.set()

    @property
    def idle(self) -> bool:
        return not self._busy

    async def run(self, each_look: Callable[[], None]) -> None:
        """Forward until stopped.

        ``each_look``: called after every poll of the source; at least once a second while JetStream answers.

        Raises LogUnavailable when the connection ended, JetStream does not answer, or the stream was recreated;
        LogError when there is no stream.
        """
        for lane in self._lanes.values():
            lane.doubt()
        try:
            async with asyncio.TaskGroup() as group:
                while not self._stopping:
                    self._wake.clear()
                    if self._lost:
                        raise LogUnavailable("The connection to NATS ended.")
                    begun_s = time.monotonic()
                    self._look(group)
                    each_look()
                    # With very many streams a look takes its time; sending must have as much.
                    await asyncio.sleep(time.monotonic() - begun_s)
                    if not self._source.trouble:  # what cannot be heard is not vouched for
                        await self._heartbeats.beat()
                    if time.monotonic() >= self._next_log_look_s:
                        await self._log_as_met()
                    await self._rest()
        except BaseExceptionGroup as errors:
            ours = errors.subgroup(LogError)
            raise (_first(ours) if ours is not None else _first(errors)) from None

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(LOOK_S):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _look(self, group: asyncio.TaskGroup) -> None:
        now_s = time.monotonic()
        for key, status in self._source.statuses().items():
            lane = self._memory.lane(key)
            lane.stands(status)
            if key not in self._busy and self._not_before_s.get(key, 0.0) <= now_s and lane.next() is not None:
                self._busy.add(key)
                group.create_task(self._forward(lane))

    async def _forward(self, lane: ForwardLane) -> None:
        try:
            while not self._stopping and (step := lane.next()) is not None:
                async with self._slots:
                    go_on = await self._take(lane, step)
                if lane.state is LaneState.BLOCKED:
                    self._tell(Notice.BLOCKED, {"stream": str(lane.key), "reason": lane.reason})
                if not go_on:
                    self._not_before_s[lane.key] = time.monotonic() + LOOK_S / 2
                    return
            self._not_before_s.pop(lane.key, None)
        except (StoreError, WireError, WireTimeout, CodecError) as error:
            self.source_trouble = str(error)
            self._not_before_s[lane.key] = time.monotonic() + LOOK_S / 2
        finally:
            self._busy.discard(lane.key)
            self._wake.set()

    async def _take(self, lane: ForwardLane, step: Step) -> bool:
        """Do one step. False: do not go on at once."""
        match step:
            case Ask():
                await self._ask(lane)
            case Compare(sequence):
                page = await self._source.candles(lane.key, sequence - 1, 1)
                found = len(page.candles) and page.start_sequence == sequence
                lane.compared(int(page.candles["ts_ms"][0]) if found else None)
            case SendCandles(after):
                return await self._send_candles(lane, after)
            case SendRevisions(after, to):
                return await self._send_revisions(lane, after, to)
        return True

    async def _ask(self, lane: ForwardLane) -> None:
        last = await self._access.last(subject(lane.key))
        if last is None:
            first_position = (await self._log_as_met()).first_position if lane.had_messages else 0
            lane.answered(None, first_position=first_position)
            return
        try:
            position = position_of(last.headers)
        except CodecError as error:
            lane.block(str(error))
            return
        if lane.answered(position, last.position):
            self._tell(Notice.NEW_STORE, {"stream": str(lane.key), "store": lane.store.store_id})

    async def _log_as_met(self) -> LogState:
        """Return the JetStream stream's state.

        Raises LogUnavailable when it was recreated: known positions are void then, and a new session must begin.
        """
        self._next_log_look_s = time.monotonic() + LOG_LOOK_S
        state = await self._access.state()
        if state.created != self._memory.created:
            raise LogUnavailable(f"The JetStream stream {self._access.stream} was recreated.")
        return state

    async def _send_candles(self, lane: ForwardLane, after: int) -> bool:
        page = await self._source.candles(lane.key, after, PAGE)
        self.source_trouble = ""
        candles, start = page.candles, page.start_sequence
        if not len(candles):
            return False
        for part_start in range(0, len(candles), most := lane.most_candles):
            part = candles[part_start : part_start + most]
            batch = CandleBatch(lane.key, start + part_start, part)
            have = lane.position
            reached = msgspec.structs.replace(
                have,
                latest_sequence=batch.next_sequence - 1,
                latest_ts_ms=int(part["ts_ms"][-1]),
                first_sequence=have.first_sequence or batch.start_sequence,
            )
            if self._stopping or not await self._send(
                lane, batch, message_id(reached.store_id, lane.key, batch.start_sequence), reached
            ):
                return lane.goes_on
            self._counters["batches"] += 1
            self._counters["candles"] += len(part)
            self._count_pruned(lane, batch.start_sequence - have.latest_sequence - 1)
        return True

    def _count_pruned(self, lane: ForwardLane, missing: int) -> None:
        """The store had forgotten candles before they could be forwarded: the log has a hole, which is said."""
        if missing > 0 and lane.position.first_sequence < lane.position.latest_sequence - missing:
            self._counters["pruned"] += missing
            self._tell(Notice.PRUNED, {"stream": str(lane.key), "candles": missing})

    async def _send_revisions(self, lane: ForwardLane, after: int, to: int) -> bool:
        page = await self._source.revisions(lane.key, after, lane.most_candles)
        self.source_trouble = ""
        count = min(len(page.candles), to - page.start_revision + 1)
        if count <= 0:
            return False
        revision = CandleRevision(lane.key, page.start_revision, page.sequences[:count], page.candles[:count])
        latest = page.start_revision + count - 1
        reached = msgspec.structs.replace(lane.position, latest_revision=latest)
        name = revision_id(reached.store_id, lane.key, page.start_revision)
        if not await self._send(lane, revision, name, reached):
            return lane.goes_on
        self._counters["revision_messages"] += 1
        self._counters["revisions"] += count
        return True

    async def _send(self, lane: ForwardLane, message: Message, name: str, reached: Position) -> bool:
        """Return whether it is on the log now; if not, the lane knows what to do."""
        payload = encode(message)
        headers = {
            MESSAGE_ID: name,
            EXPECTED_STREAM: self._access.stream,
            EXPECTED_LAST: str(lane.log_position),
            **position_headers(reached),
        }
        ack = await self._writer.publish(subject(lane.key), payload, headers)
        if ack.refusal is None and not ack.duplicate:
            lane.stored(reached, ack.log_position)
            self._counters["bytes"] += len(payload)
            return True
        if ack.refusal is Refusal.NO_STREAM:
            raise LogRefused(f"{self._access.stream}: {Refusal.NO_STREAM.value} ({ack.text}).")
        self._refused(lane, ack)
        return False

    def _refused(self, lane: ForwardLane, ack: Ack) -> None:
        if ack.duplicate:
            self._counters["duplicates"] += 1
            lane.hold("JetStream has a message with this id")
        elif ack.refusal is Refusal.OUT_OF_ORDER:
            self._counters["overtaken"] += 1
            lane.doubt()
        elif ack.refusal is Refusal.TOO_LARGE:
            lane.too_large()
        else:
            self._counters["refused"] += 1
            lane.hold(f"JetStream rejected it: {ack.text}")


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


BEAT_S = 1.0
HEARTBEATS_A_SECOND = 1_000
"""At most; with more streams each has its heartbeat less often than once a second."""


class ForwardHeartbeats:
    """Over one connection."""

    def __init__(self, writer: LogWriter, lanes: Mapping[StreamKey, ForwardLane]) -> None:
        self._writer = writer
        self._lanes = lanes
        self._next_s = 0.0

    async def beat(self) -> None:
        """Of every stream, if it is time. Raises LogUnavailable."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + max(BEAT_S, len(self._lanes) / HEARTBEATS_A_SECOND)
        for lane in self._lanes.values():
            have, store = lane.position, lane.store
            if lane.state is LaneState.OPEN and have.store_id == store.store_id:
                told = msgspec.structs.replace(
                    store,
                    latest_sequence=have.latest_sequence,
                    latest_ts_ms=have.latest_ts_ms,
                    latest_revision=have.latest_revision,
                    first_sequence=have.first_sequence,
                    server_time_ms=time.time_ns() // 1_000_000,
                )
                await self._writer.send_unstored(status_subject(lane.key), encode(told))
