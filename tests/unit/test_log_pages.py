"""bridge.jetstream.log_pages: pages of a log are those of the store that was put there, revised and all."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.jetstream import log_pages
from bridge.jetstream.log_access import LogMessage
from bridge.jetstream.log_pages import StreamPages
from bridge.jetstream.subjects import Position, position_headers
from schemas.codec import encode
from schemas.types import CandleArray, CandleBatch, CandleRevision
from tests.serving import EURUSD, candle_rows

SUBJECT = "s"


class FakeLog:
    """One subject in memory, with the questions that pages ask. ``keep_from``: what is before is forgotten."""

    def __init__(self) -> None:
        self.messages: list[LogMessage] = []
        self.position = Position()
        self.asked = 0
        self.truth: dict[int, Any] = {}
        self.revisions: list[tuple[int, Any]] = []

    def add(self, count: int, store: str = "a") -> None:
        if store != self.position.store_id:
            self.position, self.truth, self.revisions = Position(store), {}, []
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
        self.revisions += zip(sequences, rows, strict=True)
        revision = CandleRevision(EURUSD, first, np.array(sequences, np.uint64), rows)
        self._put(revision, self.position.latest_sequence, first + len(sequences) - 1)

    def _put(self, message: CandleBatch | CandleRevision, latest: int, revision: int) -> None:
        self.position = Position(self.position.store_id, latest, latest * 60_000, revision, 1)
        place = 1 + 3 * len(self.messages)  # between them stand other streams
        self.messages.append(LogMessage(place, SUBJECT, position_headers(self.position), encode(message)))

    def keep_from(self, place: int) -> None:
        self.messages = self.messages[place:]

    def page(self, start: int, count: int) -> list[Any]:
        return [self.truth[n] for n in range(start, start + count)]

    # --- as LogAccess and LogReader ---

    async def last(self, subject: str) -> LogMessage | None:
        return self.messages[-1] if self.messages else None

    async def next(self, subject: str, position: int) -> LogMessage | None:
        self.asked += 1
        place = bisect_left(self.messages, position, key=lambda message: message.position)
        return self.messages[place] if place < len(self.messages) else None


class FakeReader:
    """Three messages at a time, from a position on."""

    def __init__(self, log: FakeLog, subject: str, position: int, most: int) -> None:
        self._log, self.next_position = log, position

    async def read(self, wait_s: float) -> list[LogMessage]:
        found = [message for message in self._log.messages if message.position >= self.next_position][:3]
        self.next_position = found[-1].position + 1 if found else self.next_position
        return found

    async def close(self) -> None: ...


@pytest.fixture(autouse=True, scope="module")
def _reader() -> Any:
    before, log_pages.LogReader = log_pages.LogReader, FakeReader  # type: ignore[misc,assignment]
    yield
    log_pages.LogReader = before  # type: ignore[misc]


def ask(log: FakeLog, pages: StreamPages, after: int | None, limit: int) -> tuple[int, CandleArray, bool]:
    async def found() -> tuple[int, CandleArray, bool]:
        newest = await pages.newest()
        assert newest is not None
        page = await pages.page(*newest, after, None, limit)
        return page.start_sequence, page.candles, page.has_more

    return asyncio.run(found())


def first_sequence(log: FakeLog) -> int:
    async def found() -> int:
        pages = StreamPages(log, SUBJECT)  # type: ignore[arg-type]
        newest = await pages.newest()
        assert newest is not None
        return await pages.first_sequence(*newest, None)

    return asyncio.run(found())


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 7)),
        st.tuples(st.just("revise"), st.integers(1, 3)),
        st.tuples(st.just("store"), st.integers(1, 4)),
    ),
    min_size=1,
    max_size=25,
)


@settings(deadline=None)
@given(STEPS, st.integers(0, 3), st.data())
def test_pages_one_after_the_other_are_the_newest_store(steps: list[tuple[str, int]], drop: int, data: Any) -> None:
    log, stores = FakeLog(), 0
    log.add(1, "store-0")
    for kind, number in steps:
        if kind == "add":
            log.add(number, f"store-{stores}")
        elif kind == "store":
            stores += 1
            log.add(number, f"store-{stores}")
        else:
            sequences = data.draw(st.lists(st.integers(1, log.position.latest_sequence), min_size=1, max_size=number))
            log.revise(sequences, data.draw(st.floats(0.5, 2.0)))
    log.keep_from(min(drop, len(log.messages) - 1))
    pages = StreamPages(log, SUBJECT)  # type: ignore[arg-type]

    have = first_sequence(log) - 1
    while have < log.position.latest_sequence:
        limit = data.draw(st.integers(1, 9))
        start, candles, more = ask(log, pages, have, limit)

        count = min(limit, log.position.latest_sequence - have)
        assert start == have + 1
        assert len(candles) == count
        # Where revisions were forgotten with their message, the page cannot know of them.
        if not drop:
            assert candles.tolist() == [row.tolist() for row in log.page(start, count)]
        have += count
        assert more is (have < log.position.latest_sequence)


def test_the_page_after_a_page_needs_no_search() -> None:
    log = FakeLog()
    for _ in range(500):
        log.add(1, "a")
    pages = StreamPages(log, SUBJECT)  # type: ignore[arg-type]
    ask(log, pages, 200, 50)
    log.asked = 0

    start, candles, _ = ask(log, pages, 250, 50)

    assert (start, len(candles), log.asked) == (251, 50, 0)


def test_all_forgotten_but_revisions_leaves_nothing_to_serve() -> None:
    log = FakeLog()
    log.add(5, "a")
    log.revise([2], 1.5)
    log.keep_from(1)

    assert first_sequence(log) == 6
