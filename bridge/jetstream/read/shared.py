"""One reading of JetStream for many requests: a client that comes back asks for all of its streams at once. Coroutines.

For each stream alone JetStream would make a consumer and look through all messages for the few of its subject. So the
messages of pages that are asked for at the same time come with one reading.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from typing import Protocol

from fluxcap.bridge.jetstream.consumer import PullConsumer
from fluxcap.bridge.jetstream.newest import LEAST_SUBJECTS, gather_requests
from fluxcap.bridge.jetstream.stream import JetStreamApi, StoredMessage
from fluxcap.bridge.jetstream.subjects import covering_filters, parse_subject
from fluxcap.schemas.errors import NatsUnavailable

OTHERS_A_MESSAGE = 4
"""A reading goes on while it brings at most so many messages of no use for each one that is wanted,"""
OTHERS_A_SUBJECT = 100
"""and so many for each subject that is left: a consumer of its own costs as much."""
PASS_BYTES = 16 * 1024 * 1024
"""Of messages that are wanted, in one reading: what the pages of all streams may hold at a time."""
PASS_S = 2.0
"""How long one reading goes on while it brings something."""
READERS_AT_ONCE = 32
"""Readings for one stream alone."""
READ_S = 5.0
"""How long JetStream may say nothing while it is known to have more."""


def common_filter(subjects: Collection[str]) -> str:
    """The narrowest filter that all of these pass."""
    (found,) = covering_filters(map(parse_subject, subjects), most=1)
    return found


class NewestSource(Protocol):
    """Whoever knows a subject's newest message: the API, or ``NewestMessages``."""

    async def last(self, subject: str) -> StoredMessage | None: ...


class _Taker:
    """One subject's part of a reading."""

    def __init__(self, position: int, last_position: int) -> None:
        self.position = position
        self.last_position = last_position
        self.messages: list[StoredMessage] = []
        self.is_served = False
        self.is_over = False
        self.error: Exception | None = None
        self._changed = asyncio.Event()

    def end(self) -> None:
        """The reading is over for this one."""
        self.is_over = True
        self.tell()

    def tell(self) -> None:
        """There is something to take, or the reading is over."""
        self._changed.set()

    async def take(self) -> list[StoredMessage]:
        """Return what has come since; nothing when the reading is over. Raises the reading's error."""
        if not self.is_over:
            await self._changed.wait()
            self._changed.clear()
        if self.error is not None:
            raise self.error.with_traceback(None)  # many raise it
        found, self.messages = self.messages, []
        return found


class SharedReader:
    """Messages of many subjects, by one reading for all that are wanted at the same time.

    Attributes
    ----------
    turns
        For the readings that go beside it, of one stream alone.
    searched, searching
        The position that a search for a sequence has come to last, 0 before the first one, and the turn to be that. Of
        streams that go side by side, what others look for is near.
    """

    def __init__(self, api: JetStreamApi) -> None:
        self.turns = asyncio.Semaphore(READERS_AT_ONCE)
        self.searched = 0
        self.searching = asyncio.Lock()
        self._api = api
        self._takers: dict[str, _Taker] = {}
        self._least = LEAST_SUBJECTS
        self._task: asyncio.Task[None] | None = None

    async def messages(
        self, subject: str, position: int, last_position: int
    ) -> AsyncGenerator[list[StoredMessage], None]:
        """A subject's messages from a position on, in order, none missing, up to where a reading for many goes.

        That may be nowhere: the rest is to be read alone. Raises NatsUnavailable, NatsError.
        """
        if subject in self._takers or position > last_position:
            return
        taker = self._takers[subject] = _Taker(position, last_position)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._serve())
        try:
            while found := await taker.take():
                yield found
        finally:
            del self._takers[subject]

    def close(self) -> None:
        """End what is under way."""
        if self._task is not None:
            self._task.cancel()

    async def _serve(self) -> None:
        try:
            await gather_requests(self._takers)
            while takers := {name: taker for name, taker in self._takers.items() if not taker.is_over}:
                alone = takers if len(takers) < self._least else await self._read(takers)
                for taker in alone.values():
                    taker.end()
                await gather_requests(self._takers)
        except Exception as error:
            for taker in self._takers.values():
                taker.error = error
                taker.end()

    async def _read(self, takers: dict[str, _Taker]) -> dict[str, _Taker]:
        """One reading, for these; returns whose messages lie among too much else."""
        begin = min(taker.position for taker in takers.values())
        reader = PullConsumer(self._api, common_filter(takers), begin)
        subjects, wanted_bytes, wanted, others = len(takers), 0, 0, 0
        end_s = asyncio.get_running_loop().time() + PASS_S
        try:
            while takers and wanted_bytes < PASS_BYTES and asyncio.get_running_loop().time() < end_s:
                messages = await reader.read(READ_S)
                if not messages:
                    raise NatsUnavailable("JetStream did not return the messages.")
                for message in messages:
                    taker = takers.get(message.subject)
                    if taker is None or message.position < taker.position:
                        others += 1
                    else:
                        taker.messages.append(message)
                        taker.is_served = True
                        wanted, wanted_bytes = wanted + 1, wanted_bytes + len(message.payload)
                for taker in takers.values():
                    taker.is_over = reader.next_position > taker.last_position
                    if taker.messages or taker.is_over:
                        taker.tell()
                await asyncio.sleep(0)
                takers = {
                    name: taker
                    for name, taker in takers.items()
                    if not taker.is_over and self._takers.get(name) is taker
                }
                if takers and others > OTHERS_A_MESSAGE * wanted + OTHERS_A_SUBJECT * len(takers):
                    self._least = 2 * subjects  # what is wanted lies among too much else
                    return takers
        finally:
            await reader.close()
        for taker in takers.values():
            if taker.is_served:
                taker.end()
            else:  # the next reading goes on for it
                taker.position = max(taker.position, reader.next_position)
        return {}
