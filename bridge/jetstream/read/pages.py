"""Pages of a stream's candles and revisions from JetStream, as a server gives them from its store. Coroutines.

JetStream holds batches as they were published and, later, their revisions. A page is what a store would serve: each
candle as its newest revision has it. Sequences are found by search, the headers of every message saying how far its
stream had come. Several stores may have put a stream on JetStream, one after the other; only the newest counts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import numpy as np

from fluxcap.bridge.jetstream.consumer import PullConsumer
from fluxcap.bridge.jetstream.read.revisions import RevisionIndex
from fluxcap.bridge.jetstream.read.search import bisect_first
from fluxcap.bridge.jetstream.read.shared import READERS_AT_ONCE, NewestSource, SharedReader
from fluxcap.bridge.jetstream.stream import (
    JetStreamApi,
    StoredMessage,
    decode_message,
    position_of_message,
    with_payload,
)
from fluxcap.bridge.jetstream.subjects import STORE_ID, Position
from fluxcap.schemas.candles import CandlePage, RevisionPage, joined_rows
from fluxcap.schemas.errors import NatsUnavailable
from fluxcap.schemas.types import CANDLE_DTYPE, CandleArray, CandleBatch

PAGE_S = 0.5
"""A page that takes longer ends with what there is by then, and the next one goes on there. So many may be asked for at
once without any being late."""
ASK_MESSAGES = 512
"""Asked for at once for a page: what comes beyond its end is of no use."""
SINGLE_MESSAGES = 4
"""So many are asked for one by one: a consumer for them would be made, asked, told and deleted, and costs more."""
NEAR_MESSAGES, NEAR_CANDLES = 1_000, 200
"""How far before the place that one stream's search came to others are looked for, and what they may pass over."""
READ_S = 5.0
"""How long JetStream may say nothing while it is known to have more."""
_NO_CANDLES = np.empty(0, CANDLE_DTYPE)
_EMPTY = (0, -1, 0)


class StreamPages:
    """One stream of JetStream: remembers where it has been, so that the page after a page needs no search.

    Parameters
    ----------
    newest
        Who is asked for the newest message; None: the API.
    shared
        Where messages come with those of other streams; None: nowhere.
    """

    def __init__(
        self,
        api: JetStreamApi,
        subject: str,
        newest: NewestSource | None = None,
        shared: SharedReader | None = None,
    ) -> None:
        self._api = api
        self._subject = subject
        self._newest = newest or api
        self._shared = shared
        self._turns = asyncio.Semaphore(READERS_AT_ONCE) if shared is None else shared.turns
        self._store_id = ""
        self._held = _EMPTY
        """The sequences that the newest message read begins and ends with, and its position."""
        self._first = (0, 0)
        """(the oldest sequence, a position where its message or nothing of the stream lies before)."""
        self._revisions = RevisionIndex(api, subject, "")

    async def newest(self) -> tuple[StoredMessage, Position] | None:
        """The newest message and what it says; None where the stream has none."""
        last = await self._newest.last(self._subject)
        if last is None or not (position := position_of_message(last)).store_id:
            return None
        self.set_store(position.store_id)
        return last, position

    def set_store(self, store_id: str) -> None:
        """The newest message is of this store: what was known of another one is of no use."""
        if store_id != self._store_id:
            self._store_id, self._held, self._first = store_id, _EMPTY, (0, 0)
            self._revisions = RevisionIndex(self._api, self._subject, store_id)

    async def first_sequence(
        self, last: StoredMessage, latest: Position, kept_from: int | None, *, is_whole: bool = False
    ) -> int:
        """The oldest sequence that JetStream can serve; 0 while there was none, the next one when it has discarded all.

        ``kept_from``: JetStream's first position, when all after it is kept; None when that is not known. ``is_whole``:
        JetStream has every message that was ever put there, so that what the newest one says needs no search.
        """
        if is_whole:
            self._first = (latest.first_sequence, 1)
            return latest.first_sequence
        sequence, position = self._first
        if kept_from is None or not sequence or position < kept_from:
            message = await bisect_first(self._api, self._subject, 1, last, self._is_of_store)
            message = await with_payload(self._api, message)
            while not isinstance(batch := decode_message(message), CandleBatch) or not self._is_of_store(message):
                if message.position >= last.position:
                    return latest.latest_sequence + 1 if latest.latest_sequence else 0
                message = await self._api.next(self._subject, message.position + 1) or last
            self._first = (batch.start_sequence, message.position)
        return self._first[0]

    async def page(
        self, last: StoredMessage, latest: Position, after: int | None, end_ts_ms: int | None, limit: int
    ) -> CandlePage:
        """As ``StoreReader.page``, though it may be shorter. ``last``, ``latest``: as ``newest`` gave them."""
        wanted = (after or 0) + 1
        if latest.latest_sequence < wanted or limit <= 0:
            return CandlePage(wanted, _NO_CANDLES, has_more=limit <= 0 and latest.latest_sequence >= wanted)
        count = min(limit + 1, latest.latest_sequence - wanted + 1)
        begin, end, position = self._held
        found = None
        if wanted == self._first[0]:
            position, begin, end = self._first[1], 1, 0
        elif not begin <= wanted <= end + 1:
            position, found = await self._search(last, wanted, is_near_enough=count > SINGLE_MESSAGES)
            begin, end = 1, len(batch.candles) if found is not None and (batch := self._batch(found)) else 0
        is_few = count <= SINGLE_MESSAGES * max(end - begin + 1, 1)
        chunks = self._messages(position, last, SINGLE_MESSAGES if is_few else 0, min(count, ASK_MESSAGES), found)
        start, candles = await self._collect(chunks, last, wanted, count)
        if not len(candles):
            return CandlePage(wanted, _NO_CANDLES)
        revisions = await self._loaded(last)
        candles = revisions.apply_to(start, candles)
        more = len(candles) > limit or start + len(candles) <= latest.latest_sequence
        if end_ts_ms is not None:
            within = int(np.searchsorted(candles["ts_ms"], end_ts_ms, side="right"))
            # A page that a hole or the time has ended cannot tell whether the next candle begins early enough.
            more = within > limit or (more and within == len(candles) <= limit)
            candles = candles[:within]
        return CandlePage(start, candles[:limit], more)

    async def revisions(self, last: StoredMessage, after: int | None, limit: int) -> RevisionPage:
        """As ``StoreReader.revisions``, up to what ``last`` says; a page ends where some were discarded."""
        return (await self._loaded(last)).page(after, limit)

    async def _loaded(self, last: StoredMessage) -> RevisionIndex:
        """The revisions, all up to ``last``."""
        revisions = self._revisions
        async with self._turns:
            await revisions.load_until(last)
        return revisions

    async def _search(
        self, last: StoredMessage, wanted: int, *, is_near_enough: bool
    ) -> tuple[int, StoredMessage | None]:
        """Find where to read on from and, as a rule, the message before that: the first that reaches ``wanted``.

        ``is_near_enough``: a little before it will do, where another stream's search shows such a place.
        """
        if self._shared is None or not is_near_enough:
            found = await self._first_that_reaches(last, wanted)
            return found.position + 1, found
        async with self._shared.searching:
            if not self._shared.searched:
                found = await self._first_that_reaches(last, wanted)
                self._shared.searched = found.position
                return found.position + 1, found
        message = await self._api.next(self._subject, max(self._shared.searched - NEAR_MESSAGES, 1))
        if message is not None and message.position < last.position and not self._reaches(message, wanted):
            position = position_of_message(message)
            if position.store_id == self._store_id and wanted - position.latest_sequence <= NEAR_CANDLES:
                return message.position + 1, None
        found = await self._first_that_reaches(last, wanted)
        self._shared.searched = found.position
        return found.position + 1, found

    async def _first_that_reaches(self, last: StoredMessage, wanted: int) -> StoredMessage:
        found = await bisect_first(self._api, self._subject, 1, last, lambda m: self._reaches(m, wanted))
        return await with_payload(self._api, found)

    def _is_of_store(self, message: StoredMessage) -> bool:
        return message.headers.get(STORE_ID) == self._store_id

    def _reaches(self, message: StoredMessage, sequence: int) -> bool:
        position = position_of_message(message)
        return position.store_id == self._store_id and position.latest_sequence >= sequence

    async def _collect(
        self, chunks: AsyncGenerator[list[StoredMessage]], last: StoredMessage, wanted: int, count: int
    ) -> tuple[int, CandleArray]:
        """Up to ``count`` candles, without a hole, from ``wanted`` or the oldest after it on. None beyond ``last``."""
        parts: list[CandleArray] = []
        start = following = rows = 0
        async with contextlib.aclosing(chunks):
            async for messages in chunks:
                for message in messages:
                    if message.position > last.position:
                        break
                    batch = self._batch(message)
                    if batch is None or batch.next_sequence <= max(wanted, following):
                        continue
                    begin = following or max(wanted, batch.start_sequence)
                    if batch.start_sequence > begin:
                        return start, joined_rows(parts) if parts else _NO_CANDLES
                    parts.append(batch.candles[begin - batch.start_sequence :])
                    self._held = (batch.start_sequence, batch.next_sequence - 1, message.position)
                    start, following, rows = start or begin, batch.next_sequence, rows + len(parts[-1])
                    if rows >= count:
                        break
                if rows >= count or (rows and not messages):
                    break
        if rows > count:
            parts[-1] = parts[-1][: len(parts[-1]) - (rows - count)]
        return start, joined_rows(parts) if parts else _NO_CANDLES

    async def _messages(
        self, position: int, last: StoredMessage, single: int, most: int, found: StoredMessage | None
    ) -> AsyncGenerator[list[StoredMessage]]:
        """Messages from a position on, as they come, until one at ``last`` or behind it.

        ``single``: so many are asked for one by one, the others up to ``most`` at once. ``found``: the one before them.
        None at all among them say that who has some should be content: what follows costs a reading of its own, or the
        time is over.
        """
        if found is not None:
            yield [found]
        for _ in range(single):
            message = await self._api.next(self._subject, position) if position <= last.position else None
            if message is None:
                return
            yield [message]
            position = message.position + 1
        if self._shared is not None and not single:
            begin = position
            async with contextlib.aclosing(self._shared.messages(self._subject, position, last.position)) as chunks:
                async for messages in chunks:
                    yield messages
                    position = messages[-1].position + 1
            if position > last.position:
                return
            if position > begin:
                yield []
        async with self._turns:
            reader, loop = PullConsumer(self._api, self._subject, position, most=most), asyncio.get_running_loop()
            end_s = loop.time() + PAGE_S
            try:
                while reader.next_position <= last.position:
                    messages = await reader.read(READ_S)
                    if not messages:
                        raise NatsUnavailable("JetStream did not return the messages.")
                    yield messages
                    if loop.time() >= end_s:
                        yield []
            finally:
                await reader.close()

    def _batch(self, message: StoredMessage) -> CandleBatch | None:
        if not self._is_of_store(message):
            return None
        batch = decode_message(message)
        return batch if isinstance(batch, CandleBatch) and len(batch.candles) else None


class StreamPageCache:
    """The pages of all streams. ``remember``: of how many streams it is known where pages went on.

    ``newest``, ``shared``: as in ``StreamPages``.
    """

    def __init__(self, api: JetStreamApi, newest: NewestSource, shared: SharedReader, remember: int = 4_096) -> None:
        self._api = api
        self._newest = newest
        self._shared = shared
        self._remember = remember
        self._streams: dict[str, StreamPages] = {}

    def of(self, subject: str) -> StreamPages:
        pages = self._streams.pop(subject, None) or StreamPages(self._api, subject, self._newest, self._shared)
        self._streams[subject] = pages
        while len(self._streams) > self._remember:
            del self._streams[next(iter(self._streams))]
        return pages
