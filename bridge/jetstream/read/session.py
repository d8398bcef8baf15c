"""The reader's side of the log on a loop of its own: connects, follows, answers; and again, when the connection ends.

All that it has to say goes into a ``LogInbox``: Connected and Disconnected, Answered or Failed once for each question,
messages of the log, heartbeats.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from fluxcap.bridge.jetstream.address import LogAddress
from fluxcap.bridge.jetstream.connection import close_connection, open_connection
from fluxcap.bridge.jetstream.consumer import LogReader
from fluxcap.bridge.jetstream.event_loop import LoopThread
from fluxcap.bridge.jetstream.read.inbox import LogInbox
from fluxcap.bridge.jetstream.read.requests import LogAnswers
from fluxcap.bridge.jetstream.stream import LogAccess, LogMessage, LogState
from fluxcap.bridge.jetstream.subjects import STATUS_ROOT, covering, keys_of_topic, status_subject
from fluxcap.bridge.transport.base import Connected, Disconnected, ReplyReceived, RequestFailed
from fluxcap.schemas.codec import decode
from fluxcap.schemas.errors import CodecError, FluxcapError, LogUnavailable, WireError, WireTimeout
from fluxcap.schemas.types import Message, StreamKey, StreamStatus

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription


_log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often the log is asked whether it is there."""
MISSES_BELIEVED = 2
FRESH_S = 3.0
"""How long a heartbeat tells how a feed does."""
WAITS_S = (0.1, 0.2, 0.5, 1.0)
"""Between attempts to connect."""
END_S = 5.0
LOST = "connection lost; reconnecting"


class LogSession:
    """Begins at once, ends with ``close``. ``wants_feed``: follow the log, rather than only answer questions."""

    def __init__(self, address: LogAddress, stream: str, inbox: LogInbox, *, wants_feed: bool) -> None:
        self._address = address
        self._stream = stream
        self._inbox = inbox
        self._wants_feed = wants_feed
        self._keys: dict[str, set[StreamKey]] = {}
        self._newest_position = 0
        self._client: Client | None = None
        self._following: Following | None = None
        self._answers: LogAnswers | None = None
        self._questions: set[asyncio.Task[None]] = set()
        self._heartbeats: dict[str, tuple[float, bytes]] = {}
        self._listening: dict[str, Subscription] = {}
        self._retargeting = asyncio.Lock()
        self._room = asyncio.Event()
        self._thread = LoopThread("fluxcap-log")
        inbox.announce_room(self._thread.loop, self._room)
        self._serving = self._thread.start(self._serve())

    # --- from the other thread -------------------------------------------------------------------------------------

    def listen_to(self, topics: Iterable[bytes]) -> None:
        """These topics of the wire, and no others."""
        keys: dict[str, set[StreamKey]] = {}
        for topic in topics:
            kind, found = keys_of_topic(topic)
            keys.setdefault(kind, set()).update(found)
        self._thread.start(self._retarget(keys))

    def ask(self, request_id: int, message: Message, timeout_s: float) -> None:
        """One answer, or failure, follows within that time; none when the time or the session ends before."""
        self._thread.start(self._answer(request_id, message, timeout_s))

    def close(self) -> None:
        """Leave the server. Blocks for a moment."""
        self._serving.cancel()
        with contextlib.suppress(concurrent.futures.CancelledError, concurrent.futures.TimeoutError, FluxcapError):
            self._thread.run(self._end_epoch(), END_S)
        self._thread.close()

    # --- connections -----------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        told, failures = "", 0
        while True:
            try:
                reason = await self._epoch()
                told, failures = "", 0
            except FluxcapError as error:
                reason = str(error)
            except Exception as error:  # of nats-py's or ours: said, and tried again
                _log.exception("JetStream cannot be read")
                reason = f"{type(error).__name__}; retrying"
            finally:
                await asyncio.shield(self._end_epoch())
            if reason != told:
                told = reason
                self._inbox.put_news(Disconnected(reason))
            await asyncio.sleep(WAITS_S[min(failures, len(WAITS_S) - 1)])
            failures += 1

    async def _epoch(self) -> str:
        """One connection; returns why it ended. Raises FluxcapError when it could not be made."""
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def end(reason: str) -> None:
            if not ended.done():
                ended.set_result(reason)

        self._client = await open_connection(self._address, "fluxcap reader", on_lost=lambda: end(LOST))
        log = LogAccess(self._client, self._stream)
        state = await log.state()
        self._newest_position = state.last_position
        self._answers = LogAnswers(log, self._fresh_heartbeat)
        self._following = Following(log, self._inbox.put_messages, self._room, failed=lambda error: end(str(error)))
        self._inbox.put_news(Connected())
        await self._retarget(self._keys)
        watch = asyncio.create_task(self._watch(log, state))
        try:
            done, _ = await asyncio.wait({watch, ended}, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            watch.cancel()

    async def _watch(self, log: LogAccess, state: LogState) -> str:
        misses = 0
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                now = await log.state()
            except LogUnavailable as error:
                misses += 1
                if misses >= MISSES_BELIEVED:
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
        self._answers = None
        self._heartbeats.clear()
        self._listening.clear()
        for task in self._questions:
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
        self._following.follow(covering(candles) if candles else frozenset(), self._newest_position)
        async with self._retargeting:
            await self._listen(keys.get("status", set()))

    async def _listen(self, keys: set[StreamKey]) -> None:
        """Heartbeats do not stand on the log: they are heard, or not."""
        from nats import errors

        wanted = covering(keys, root=STATUS_ROOT) if keys else frozenset()
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

    async def _answer(self, request_id: int, message: Message, timeout_s: float) -> None:
        answers, task = self._answers, asyncio.current_task()
        if answers is None or task is None:
            return  # the connection ended: all that was under way fails with it
        self._questions.add(task)
        try:
            async with asyncio.timeout(timeout_s):  # nobody waits any longer
                self._inbox.put_news(ReplyReceived(request_id, await answers.answer(message)))
        except TimeoutError:
            _log.debug("%s took too long", type(message).__name__)
        except (WireError, CodecError) as error:
            self._inbox.put_news(RequestFailed(request_id, error))
        except FluxcapError as error:
            self._inbox.put_news(RequestFailed(request_id, WireTimeout(str(error))))
        except Exception as error:
            _log.exception("JetStream's answer cannot be read")
            self._inbox.put_news(
                RequestFailed(request_id, WireError(500, f"JetStream's answer is invalid: {error!r}."))
            )
        finally:
            self._questions.discard(task)


AGAIN_S = 0.2


class Following:
    """Follows filters of a JetStream stream, one reader for each.

    Parameters
    ----------
    log
        Access to the JetStream stream.
    take
        Called with the messages of a filter, in JetStream's order.
    room
        Set while more messages may be taken; nothing is read otherwise.
    failed
        Called when a reader cannot continue; once for each.
    """

    def __init__(
        self,
        log: LogAccess,
        take: Callable[[list[LogMessage]], None],
        room: asyncio.Event,
        failed: Callable[[FluxcapError], None],
    ) -> None:
        self._log = log
        self._take = take
        self._room = room
        self._failed = failed
        self._readers: dict[str, tuple[LogReader, asyncio.Task[None]]] = {}

    def follow(self, filters: frozenset[str], newest_position: int) -> None:
        """Follow these and no others; what is new begins behind ``newest_position`` at the latest."""
        gone = [self._readers.pop(name) for name in self._readers.keys() - filters]
        for _, task in gone:
            task.cancel()
        begin = min([newest_position + 1, *(reader.next_position for reader, _ in gone)])
        for name in filters - self._readers.keys():
            reader = LogReader(self._log, name, begin)
            self._readers[name] = (reader, asyncio.create_task(self._read(reader)))

    def close(self) -> None:
        """End all of it."""
        self.follow(frozenset(), 0)

    async def _read(self, reader: LogReader) -> None:
        try:
            while True:
                await self._room.wait()
                try:
                    self._take(await reader.read())
                except LogUnavailable:  # whether that lasts is for others to judge
                    await asyncio.sleep(AGAIN_S)
        except FluxcapError as error:
            self._failed(error)
        finally:
            await reader.close()
