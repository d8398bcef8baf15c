"""A log of one subject in memory, which counts what it is asked, for tests of those who page through a log."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
import pytest

from fluxcap.bridge.jetstream.read import pages as log_pages
from fluxcap.bridge.jetstream.read import revisions as log_revisions
from fluxcap.bridge.jetstream.read.pages import StreamPages
from fluxcap.bridge.jetstream.stream import StoredMessage
from fluxcap.bridge.jetstream.subjects import Position, position_headers
from fluxcap.schemas.codec import encode
from fluxcap.schemas.errors import NatsUnavailable
from fluxcap.schemas.types import CandleArray, CandleBatch, CandleRevision
from tests.support.wire.samples import EURUSD, candle_rows

SUBJECT = "s"


class FakeLog:
    """One subject in memory, with the questions that pages ask. ``keep_from``: what is before is forgotten.

    ``truth``: each candle by its sequence, as its newest revision has it.
    """

    def __init__(self) -> None:
        self.messages: list[StoredMessage] = []
        self.position = Position()
        self.asked = 0
        self.turns = 0
        """Questions asked at once take one turn: what counts where the log is far away."""
        self.read = 0
        self.is_long = False
        """Whether it says that there is far too much to read all of it."""
        self.answers = 1_000_000
        """So many, and no more."""
        self._turn: asyncio.Future[None] | None = None
        self.truth: dict[int, Any] = {}

    def add(self, count: int, store: str = "a") -> None:
        if store != self.position.store_id:
            self.position, self.truth = Position(store), {}
        first = self.position.latest_sequence + 1
        rows = candle_rows(first, count)
        self.truth |= dict(zip(range(first, first + count), rows, strict=True))
        latest = first + count - 1
        self._put(CandleBatch(EURUSD, first, rows), latest, self.position.latest_revision)

    def revise(self, sequences: list[int], close: float) -> None:
        rows = np.concatenate([candle_rows(n, 1) for n in sequences])
        rows["close"] = close
        self.truth |= dict(zip(sequences, rows, strict=True))
        first = self.position.latest_revision + 1
        revision = CandleRevision(EURUSD, first, np.array(sequences, np.uint64), rows)
        self._put(revision, self.position.latest_sequence, first + len(sequences) - 1)

    def skip(self, candles: int = 0, revisions: int = 0) -> None:
        """So many have no message: the store forgot them while the log was away."""
        have = self.position
        self.position = msgspec.structs.replace(
            have,
            latest_sequence=have.latest_sequence + candles,
            latest_revision=have.latest_revision + revisions,
        )

    def _put(self, message: CandleBatch | CandleRevision, latest: int, revision: int) -> None:
        self.position = Position(self.position.store_id, latest, latest * 60_000, revision, 1)
        place = 1 + 3 * len(self.messages)  # between them stand other streams
        self.messages.append(StoredMessage(place, SUBJECT, position_headers(self.position), encode(message)))

    def keep_from(self, place: int) -> None:
        self.messages = self.messages[place:]

    def page(self, start: int, count: int) -> list[Any]:
        return [self.truth[n] for n in range(start, start + count)]

    # --- as JetStreamApi and PullConsumer ---

    async def last(self, subject: str) -> StoredMessage | None:
        return self.messages[-1] if self.messages else None

    async def next(self, subject: str, position: int) -> StoredMessage | None:
        self.asked += 1
        if self.asked > self.answers:
            raise NatsUnavailable("The log is away.")
        if self._turn is None:
            self._turn = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(self._take_turn)
        await self._turn
        place = bisect_left(self.messages, position, key=lambda message: message.position)
        return self.messages[place] if place < len(self.messages) else None

    def _take_turn(self) -> None:
        turn, self._turn, self.turns = self._turn, None, self.turns + 1
        if turn is not None and not turn.done():
            turn.set_result(None)


class FakeReader:
    """Three messages at a time, from a position on."""

    def __init__(self, log: FakeLog, subject: str, position: int, most: int = 3) -> None:
        self._log, self.next_position = log, position
        self.pending = 0

    async def open(self) -> None:
        self.pending = sum(message.position >= self.next_position for message in self._log.messages)
        self.pending += 1_000_000 * self._log.is_long

    async def read(self, wait_s: float) -> list[StoredMessage]:
        found = [message for message in self._log.messages if message.position >= self.next_position][:3]
        self.next_position = found[-1].position + 1 if found else self.next_position
        self._log.read += len(found)
        return found

    async def close(self) -> None: ...


@contextmanager
def read_by_fakes() -> Iterator[None]:
    """Everybody's PullConsumer is a FakeReader meanwhile."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(log_pages, "PullConsumer", FakeReader)
        patched.setattr(log_revisions, "PullConsumer", FakeReader)
        yield


def ask(
    log: FakeLog, pages: StreamPages, after: int | None, limit: int, end_ts_ms: int | None = None
) -> tuple[int, CandleArray, bool]:
    async def found() -> tuple[int, CandleArray, bool]:
        newest = await pages.newest()
        assert newest is not None
        page = await pages.page(*newest, after, end_ts_ms, limit)
        return page.start_sequence, page.candles, page.has_more

    return asyncio.run(found())
