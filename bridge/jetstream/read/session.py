"""The reader's side of JetStream on a loop of its own: connects, follows, answers; and again, when the connection ends.

All that it has to say goes into a ``Inbox``: Connected and Disconnected, Answered or Failed once for each question,
messages of JetStream, heartbeats.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from fluxcap.bridge.jetstream.address import NatsAddress
from fluxcap.bridge.jetstream.connection import close_connection, open_connection
from fluxcap.bridge.jetstream.consumer import PullConsumer
from fluxcap.bridge.jetstream.event_loop import EventLoopThread
from fluxcap.bridge.jetstream.read.inbox import Inbox
from fluxcap.bridge.jetstream.read.requests import JetStreamRequestHandler
from fluxcap.bridge.jetstream.stream import JetStreamApi, StoredMessage, StreamInfo
from fluxcap.bridge.jetstream.subjects import STATUS_ROOT, covering_filters, keys_of_topic, status_subject
from fluxcap.bridge.transport.base import Connected, Disconnected, ReplyReceived, RequestFailed
from fluxcap.schemas.codec import decode
from fluxcap.schemas.errors import CodecError, FluxcapError, NatsUnavailable, WireError, WireTimeout
from fluxcap.schemas.types import Message, StreamKey, StreamStatus

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription


_log = logging.getLogger(__name__)

POLL_S = 1.0
"""How often JetStream is asked whether its stream is there."""
MAX_MISSES = 2
FRESH_S = 3.0
"""How long a heartbeat tells how a feed does."""
WAITS_S = (0.1, 0.2, 0.5, 1.0)
"""Between attempts to connect."""
END_S = 5.0
LOST = "connection lost; reconnecting"


class ReadSession:
    """Begins at once, ends with ``close``. ``wants_feed``: follow JetStream, rather than only answer questions."""

    def __init__(self, address: NatsAddress, stream: str, inbox: Inbox, *, wants_feed: bool) -> None:
        self._address = address
        self._stream = stream
        self._inbox = inbox
        self._wants_feed = wants_feed
        self._keys: dict[str, set[StreamKey]] = {}
        self._newest_position = 0
        self._client: Client | None = None
        self._following: SubjectFollower | None = None
        self._handler: JetStreamRequestHandler | None = None
        self._requests: set[asyncio.Task[None]] = set()
        self._heartbeats: dict[str, tuple[float, bytes]] = {}
        self._listening: dict[str, Subscription] = {}
        self._retargeting = asyncio.Lock()
        self._capacity = asyncio.Event()
        self._thread = EventLoopThread("fluxcap-log")
        inbox.set_capacity_event(self._thread.loop, self._capacity)
        self._serving = self._thread.start(self._serve())

    # --- from the other thread -------------------------------------------------------------------------------------

    def set_topics(self, topics: Iterable[bytes]) -> None:
        """These topics of the wire, and no others."""
        keys: dict[str, set[StreamKey]] = {}
        for topic in topics:
            kind, found = keys_of_topic(topic)
            keys.setdefault(kind, set()).update(found)
        self._thread.start(self._retarget(keys))

    def request(self, request_id: int, message: Message, timeout_s: float) -> None:
        """One answer, or failure, follows within that time; none when the time or the session ends before."""
        self._thread.start(self._handle(request_id, message, timeout_s))

    def close(self) -> None:
        """Leave the server. Blocks for a moment."""
        self._serving.cancel()
        with contextlib.suppress(concurrent.futures.CancelledError, concurrent.futures.TimeoutError, FluxcapError):
            self._thread.run(self._end_epoch(), END_S)
        self._thread.close()

    # --- connections -----------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        reported, failures = "", 0
        while True:
            try:
                reason = await self._epoch()
                reported, failures = "", 0
            except FluxcapError as error:
                reason = str(error)
            except Exception as error:  # of nats-py's or ours: said, and tried again
                _log.exception("JetStream cannot be read")
                reason = f"{type(error).__name__}; retrying"
            finally:
                await asyncio.shield(self._end_epoch())
            if reason != reported:
                reported = reason
                self._inbox.put_notice(Disconnected(reason))
            await asyncio.sleep(WAITS_S[min(failures, len(WAITS_S) - 1)])
            failures += 1

    async def _epoch(self) -> str:
        """One connection; returns why it ended. Raises FluxcapError when it could not be made."""
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def end(reason: str) -> None:
            if not ended.done():
                ended.set_result(reason)

        self._client = await open_connection(self._address, "fluxcap reader", on_lost=lambda: end(LOST))
        api = JetStreamApi(self._client, self._stream)
        state = await api.state()
        self._newest_position = state.last_position
        self._handler = JetStreamRequestHandler(api, self._fresh_heartbeat)
        self._following = SubjectFollower(
            api, self._inbox.put_messages, self._capacity, failed=lambda error: end(str(error))
        )
        self._inbox.put_notice(Connected())
        await self._retarget(self._keys)
        watch = asyncio.create_task(self._watch(api, state))
        try:
            done, _ = await asyncio.wait({watch, ended}, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            watch.cancel()

    async def _watch(self, api: JetStreamApi, state: StreamInfo) -> str:
        misses = 0
        while True:
            await asyncio.sleep(POLL_S)
            try:
                now = await api.state()
            except NatsUnavailable as error:
                misses += 1
                if misses >= MAX_MISSES:
                    return str(error)
                continue
            except FluxcapError as error:
                return str(error)
            if now.created != state.created or now.last_position < self._newest_position:
                return "the JetStream stream was recreated"
            misses, self._newest_position = 0, now.last_position

    async def _end_epoch(self) -> None:
        client, self._client = self._client, None
        following, self._following = self._following, None
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.close()
        self._heartbeats.clear()
        self._listening.clear()
        for task in self._requests:
            task.cancel()
        if following is not None:
            following.close()
            await asyncio.sleep(0)  # its tasks take their leave of the server
        if client is not None:
            await close_connection(client)

    # --- the feed --------------------------------------------------------------------------------------------------

    async def _retarget(self, keys: dict[str, set[StreamKey]]) -> None:
        self._keys = keys
        if self._following is None or not self._wants_feed:
            return
        candles = keys.get("candles", set()) | keys.get("revisions", set())
        self._following.follow(covering_filters(candles) if candles else frozenset(), self._newest_position)
        async with self._retargeting:
            await self._listen(keys.get("status", set()))

    async def _listen(self, keys: set[StreamKey]) -> None:
        """Heartbeats are not stored in JetStream: they are received as they come, or not at all."""
        from nats import errors

        wanted = covering_filters(keys, root=STATUS_ROOT) if keys else frozenset()
        with contextlib.suppress(errors.Error, OSError):  # the connection is ending
            for name in self._listening.keys() - wanted:
                await self._listening.pop(name).unsubscribe()
            for name in wanted - self._listening.keys():
                if self._client is not None:
                    self._listening[name] = await self._client.subscribe(name, cb=self._hear)

    async def _hear(self, message: Msg) -> None:
        self._heartbeats[message.subject] = (asyncio.get_running_loop().time(), message.data)
        self._inbox.put_heartbeat(message.subject, message.data)

    def _fresh_heartbeat(self, key: StreamKey) -> StreamStatus | None:
        heard_s, payload = self._heartbeats.get(status_subject(key), (0.0, b""))
        if not payload or asyncio.get_running_loop().time() - heard_s > FRESH_S:
            return None
        try:
            status = decode(payload).message
        except CodecError:
            return None
        return status if isinstance(status, StreamStatus) and status.key == key else None

    # --- questions -------------------------------------------------------------------------------------------------

    async def _handle(self, request_id: int, message: Message, timeout_s: float) -> None:
        handler, task = self._handler, asyncio.current_task()
        if handler is None or task is None:
            return  # the connection ended: all that was under way fails with it
        self._requests.add(task)
        try:
            async with asyncio.timeout(timeout_s):  # nobody waits any longer
                self._inbox.put_notice(ReplyReceived(request_id, await handler.handle(message)))
        except TimeoutError:
            _log.debug("%s took too long", type(message).__name__)
        except (WireError, CodecError) as error:
            self._inbox.put_notice(RequestFailed(request_id, error))
        except FluxcapError as error:
            self._inbox.put_notice(RequestFailed(request_id, WireTimeout(str(error))))
        except Exception as error:
            _log.exception("JetStream's answer cannot be read")
            self._inbox.put_notice(
                RequestFailed(request_id, WireError(500, f"JetStream's answer is invalid: {error!r}."))
            )
        finally:
            self._requests.discard(task)


AGAIN_S = 0.2


class SubjectFollower:
    """Follows filters of a JetStream stream, one reader for each.

    Parameters
    ----------
    api
        Access to the JetStream stream.
    take
        Called with the messages of a filter, in JetStream's order.
    capacity
        Set while more messages may be taken; nothing is read otherwise.
    failed
        Called when a reader cannot continue; once for each.
    """

    def __init__(
        self,
        api: JetStreamApi,
        take: Callable[[list[StoredMessage]], None],
        capacity: asyncio.Event,
        failed: Callable[[FluxcapError], None],
    ) -> None:
        self._api = api
        self._on_messages = take
        self._capacity = capacity
        self._failed = failed
        self._readers: dict[str, tuple[PullConsumer, asyncio.Task[None]]] = {}

    def follow(self, filters: frozenset[str], newest_position: int) -> None:
        """Follow these and no others; what is new begins behind ``newest_position`` at the latest."""
        gone = [self._readers.pop(name) for name in self._readers.keys() - filters]
        for _, task in gone:
            task.cancel()
        begin = min([newest_position + 1, *(reader.next_position for reader, _ in gone)])
        for name in filters - self._readers.keys():
            reader = PullConsumer(self._api, name, begin)
            self._readers[name] = (reader, asyncio.create_task(self._read(reader)))

    def close(self) -> None:
        """End all of it."""
        self.follow(frozenset(), 0)

    async def _read(self, reader: PullConsumer) -> None:
        try:
            while True:
                await self._capacity.wait()
                try:
                    self._on_messages(await reader.read())
                except NatsUnavailable:  # whether that lasts is for others to judge
                    await asyncio.sleep(AGAIN_S)
        except FluxcapError as error:
            self._failed(error)
        finally:
            await reader.close()
