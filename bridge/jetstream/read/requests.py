"""The wire's requests, answered from JetStream alone, as a server answers them from its store. Coroutines.

What JetStream cannot know is left out: no feed state, no tick, unless a forwarder's heartbeat has lately had them.
Errors are those of a server: WireError with 404 for a stream that JetStream does not have, 409 when it comes from
another store than the request names, 400 for what is no request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from fluxcap.bridge.jetstream.newest import NewestMessages, read_newest
from fluxcap.bridge.jetstream.read.pages import StreamPageCache, StreamPages
from fluxcap.bridge.jetstream.read.shared import SharedReader
from fluxcap.bridge.jetstream.stream import JetStreamApi, StoredMessage, StreamInfo, position_of_message
from fluxcap.bridge.jetstream.subjects import Position, parse_subject, subject
from fluxcap.schemas.candles import MAX_SEQUENCE, CandlePage, page_limit
from fluxcap.schemas.errors import CodecError, WireError
from fluxcap.schemas.types import (
    BackfillCandlesRequest,
    BackfillCandlesResponse,
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
    StreamStatus,
    StreamStatusRequest,
    SubscribeCandlesAck,
    SubscribeCandlesRequest,
)

MAX_CONCURRENT_REQUESTS = 64
PAGES_ROWS = 320_000
"""Candles of all pages that are made at once: 20 MB. Each is the shorter, the more there are."""


class JetStreamRequestHandler:
    """Parameters: ``heartbeat`` gives a stream's last heartbeat, if it is a fresh one."""

    def __init__(
        self, api: JetStreamApi, heartbeat: Callable[[StreamKey], StreamStatus | None] = lambda key: None
    ) -> None:
        self._api = api
        self._newest_messages = NewestMessages(api)
        self._shared = SharedReader(api)
        self._pages = StreamPageCache(api, self._newest_messages, self._shared)
        self._heartbeat = heartbeat
        self._state_asked: asyncio.Future[StreamInfo] | None = None
        """The question after JetStream's state that is under way: of many streams at once, one asks it."""
        self._pages_under_way = 0
        self._store_ids_sent: dict[StreamKey, str] = {}

    def close(self) -> None:
        """End what is under way for more than one request."""
        self._newest_messages.close()
        self._shared.close()

    async def handle(self, request: Message) -> Message:
        """Raises WireError, NatsUnavailable, NatsError."""
        match request:
            case HealthRequest():
                return await self._health()
            case ListStreamsRequest():
                return ListStreamsResponse(tuple(await self._list()))
            case StreamStatusRequest(key):
                return await self._status(key)
            case GetCursorRequest(key):
                _, _, latest = await self._newest(key)
                return GetCursorResponse(key, latest.latest_sequence, latest.latest_ts_ms)
            case SubscribeCandlesRequest(key, _):
                _, _, latest = await self._newest(key)
                return SubscribeCandlesAck(True, "", key, latest.latest_sequence)
            case BackfillCandlesRequest(key, after, end_ts_ms, limit):
                page = await self._page(key, _clamp(after), end_ts_ms, page_limit(limit))
                return BackfillCandlesResponse(
                    key, page.start_sequence, page.candles, page.has_more, page.next_sequence
                )
            case RevisionsRequest(key, after, limit):
                pages, last, _ = await self._same_store(key)
                found = await pages.revisions(last, _clamp(after), page_limit(limit))
                return RevisionsResponse(
                    key, found.start_revision, found.sequences, found.candles, found.has_more, found.next_revision
                )
        raise WireError(400, f"{type(request).__name__} is not a request.")

    async def _newest(self, key: StreamKey) -> tuple[StreamPages, StoredMessage, Position]:
        pages = self._pages.of(subject(key))
        newest = await pages.newest()
        if newest is None:
            raise WireError(404, f"There is no stream {str(key)[:200]}.")
        return pages, *newest

    async def _same_store(self, key: StreamKey) -> tuple[StreamPages, StoredMessage, Position]:
        """As ``_newest``, of the store that the request names: its numbers mean nothing in another one."""
        pages, last, latest = await self._newest(key)
        if self._store_ids_sent.get(key, latest.store_id) != latest.store_id:
            raise WireError(409, f"{key} comes from another store now; request its status.")
        return pages, last, latest

    async def _page(self, key: StreamKey, after: int | None, end_ts_ms: int | None, limit: int) -> CandlePage:
        self._pages_under_way += 1
        try:
            pages, last, latest = await self._same_store(key)
            return await pages.page(last, latest, after, end_ts_ms, min(limit, PAGES_ROWS // self._pages_under_way))
        finally:
            self._pages_under_way -= 1

    async def _health(self) -> HealthResponse:
        state = await self._api.state()
        return HealthResponse(True, f"{state.subjects} streams, {state.messages} messages in JetStream")

    async def _status(self, key: StreamKey) -> StreamStatus:
        state, (pages, last, latest) = await asyncio.gather(self._state(), self._newest(key))
        self._store_ids_sent[key] = latest.store_id
        return await self._status_of(key, pages, last, latest, state)

    async def _state(self) -> StreamInfo:
        if self._state_asked is None or self._state_asked.done():
            self._state_asked = asyncio.ensure_future(self._api.state())
        return await asyncio.shield(self._state_asked)

    async def _status_of(
        self, key: StreamKey, pages: StreamPages, last: StoredMessage, latest: Position, state: StreamInfo
    ) -> StreamStatus:
        kept_from = None if state.keeps_per_subject else state.first_position
        first = await pages.first_sequence(last, latest, kept_from, is_whole=state.is_whole)
        status = self._heartbeat(key) or StreamStatus(key)
        return msgspec.structs.replace(
            status,
            latest_sequence=latest.latest_sequence,
            latest_ts_ms=latest.latest_ts_ms,
            server_time_ms=status.server_time_ms or time.time_ns() // 1_000_000,
            first_sequence=first,
            store_id=latest.store_id,
            latest_revision=latest.latest_revision,
        )

    async def _list(self) -> list[StreamStatus]:
        """All streams. The newest messages come in one reading, the oldest are asked for when they are not known."""
        state = await self._api.state()
        newest = await self._newest_of_all()
        turns = asyncio.Semaphore(MAX_CONCURRENT_REQUESTS)

        async def one(key: StreamKey, last: StoredMessage) -> StreamStatus:
            async with turns:
                pages = self._pages.of(last.subject)
                latest = position_of_message(last)
                pages.set_store(latest.store_id)
                return await self._status_of(key, pages, last, latest, state)

        return await asyncio.gather(*(one(key, last) for key, last in sorted(newest.items())))

    async def _newest_of_all(self) -> dict[StreamKey, StoredMessage]:
        found, _ = await read_newest(self._api)
        named = ((_key(message.subject), message) for message in found.values())
        return {key: message for key, message in named if key is not None and position_of_message(message).store_id}


def _key(name: str) -> StreamKey | None:
    try:
        return parse_subject(name)
    except CodecError:
        return None


def _clamp(after: int | None) -> int | None:
    return None if after is None else min(after, MAX_SEQUENCE)
