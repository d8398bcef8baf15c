"""bridge.jetstream.log_pages: pages of a log are those of the store that was put there, revised and all."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.jetstream import log_pages, log_revisions
from bridge.jetstream.log_access import LogMessage
from bridge.jetstream.log_pages import StreamPages
from bridge.jetstream.subjects import Position, position_headers
from schemas.codec import encode
from schemas.errors import LogUnavailable
from schemas.types import CandleArray, CandleBatch, CandleRevision
from tests.serving import EURUSD, candle_rows

SUBJECT = "s"


class FakeLog:
    """One subject in memory, with the questions that pages ask. ``keep_from``: what is before is forgotten."""

    def __init__(self) -> None:
        self.messages: list[LogMessage] = []
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
        if self.asked > self.answers:
            raise LogUnavailable("The log is away.")
        if self._turn is None:
            self._turn = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(self._take_turn)
        await self._turn
        place = bisect_left(self.messages, position, key=lambda message: message.position)
        return self.messages[place] if place < len(self.messages) else None

    def _take_turn(self) -> None:
        turn, self._turn, self.turns = self._turn, None, self.turns + 1
        if turn is not None:
            turn.set_result(None)


class FakeReader:
    """Three messages at a time, from a position on."""

    def __init__(self, log: FakeLog, subject: str, position: int, most: int = 3) -> None:
        self._log, self.next_position = log, position
        self.pending = 0

    async def open(self) -> None:
        self.pending = sum(message.position >= self.next_position for message in self._log.messages)
        self.pending += 1_000_000 * self._log.is_long

    async def read(self, wait_s: float) -> list[LogMessage]:
        found = [message for message in self._log.messages if message.position >= self.next_position][:3]
        self.next_position = found[-1].position + 1 if found else self.next_position
        self._log.read += len(found)
        return found

    async def close(self) -> None: ...


@pytest.fixture(autouse=True, scope="module")
def _reader() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(log_pages, "LogReader", FakeReader)
        patched.setattr(log_revisions, "LogReader", FakeReader)
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
        st.tuples(st.just("forget revisions"), st.integers(1, 3)),
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
        elif kind == "forget revisions":
            log.skip(revisions=number)
        else:
            sequences = data.draw(st.lists(st.integers(1, log.position.latest_sequence), min_size=1, max_size=number))
            log.revise(sequences, data.draw(st.floats(0.5, 2.0)))
    log.keep_from(min(drop, len(log.messages) - 1))
    pages = StreamPages(log, SUBJECT)  # type: ignore[arg-type]
    log.is_long = data.draw(st.booleans())

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


def ask_revisions(pages: StreamPages, after: int) -> tuple[int, list[int], bool]:
    async def found() -> tuple[int, list[int], bool]:
        newest = await pages.newest()
        assert newest is not None
        page = await pages.revisions(newest[0], after, 100)
        return page.start_revision, page.sequences.tolist(), page.has_more

    return asyncio.run(found())


def test_a_jump_in_revision_numbers_costs_none_that_the_log_has() -> None:
    log = FakeLog()
    log.add(10, "a")
    log.revise([1, 2], 1.25)
    log.skip(revisions=4)
    log.revise([9], 1.75)
    pages = StreamPages(log, SUBJECT)  # type: ignore[arg-type]

    _, candles, _ = ask(log, pages, 0, 100)

    assert candles.tolist() == [row.tolist() for row in log.page(1, 10)]
    assert [ask_revisions(pages, after) for after in (0, 1, 2, 7)] == [
        (1, [1, 2], True),
        (2, [2], True),
        (7, [9], False),
        (8, [], False),
    ]


def test_a_page_up_to_a_time_that_ends_at_a_hole_has_more_behind_it() -> None:
    log = FakeLog()
    log.add(10, "a")
    log.skip(candles=10)
    log.add(10, "a")
    pages = StreamPages(log, SUBJECT)  # type: ignore[arg-type]

    found = [ask(log, pages, after, 100, end_ts_ms=25 * 60_000) for after in (0, 10, 25)]

    assert [(start, len(candles), more) for start, candles, more in found] == [
        (1, 10, True),
        (21, 5, False),
        (26, 0, False),
    ]


def test_the_page_after_one_that_ended_early_needs_no_search() -> None:
    log = FakeLog()
    for _ in range(100):
        log.add(1, "a")
    log.skip(candles=10)
    log.add(10, "a")
    pages = StreamPages(log, SUBJECT)  # type: ignore[arg-type]
    _, before, _ = ask(log, pages, 50, 500)
    log.asked = 0

    start, candles, _ = ask(log, pages, 100, 500)

    assert len(before) == 50
    assert (start, len(candles), log.asked) == (111, 10, 0)


def test_a_page_ends_with_what_was_the_newest_when_it_was_asked_for() -> None:
    log = FakeLog()
    log.add(10, "a")
    pages = StreamPages(log, SUBJECT)  # type: ignore[arg-type]

    async def page_of_a_moment_ago() -> tuple[int, bool]:
        newest = await pages.newest()
        assert newest is not None
        log.add(5, "a")
        page = await pages.page(*newest, 0, None, 100)
        return len(page.candles), page.has_more

    assert asyncio.run(page_of_a_moment_ago()) == (10, False)


def test_many_revisions_near_each_other_are_read_in_one_go() -> None:
    log = FakeLog()
    for n in range(1, 301):
        log.add(5, "a")
        log.revise([5 * n - 1], 1.25)
    pages = StreamPages(log, SUBJECT)  # type: ignore[arg-type]

    _, candles, _ = ask(log, pages, 0, 10_000)

    assert candles.tolist() == [row.tolist() for row in log.page(1, 1_500)]
    assert log.turns <= 30


def test_few_revisions_on_a_long_log_are_searched_for_all_at_once() -> None:
    log = FakeLog()
    for n in range(1, 3_001):
        log.add(1, "a")
        if n % 150 == 0:
            log.revise([n - 1], 1.25)
    pages = StreamPages(log, SUBJECT)  # type: ignore[arg-type]

    _, candles, _ = ask(log, pages, 2_500, 20)

    assert candles.tolist() == [row.tolist() for row in log.page(2_501, 20)]
    assert log.read <= 30
    assert log.turns <= 60  # in series it would be twenty for each of twenty


def test_revisions_that_were_found_before_the_log_went_away_are_not_searched_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_revisions, "SEARCHED_AT_ONCE", 10)
    log = FakeLog()
    log.is_long = True
    for n in range(1, 401):
        log.add(1, "a")
        if n % 8 == 0:
            log.revise([n - 1], 1.25)
    ask(log, StreamPages(log, SUBJECT), 390, 10)  # type: ignore[arg-type]
    all_of_them = log.asked
    pages = StreamPages(log, SUBJECT)  # type: ignore[arg-type]
    log.asked, log.answers = 0, all_of_them * 3 // 4
    with pytest.raises(LogUnavailable):
        ask(log, pages, 390, 10)
    log.asked = 0

    _, candles, _ = ask(log, pages, 390, 10)

    assert candles.tolist() == [row.tolist() for row in log.page(391, 10)]
    assert log.asked < all_of_them // 2


def test_a_page_after_one_looks_for_new_revisions_alone() -> None:
    log = FakeLog()
    for _ in range(3_000):
        log.add(1, "a")
    log.revise([7], 1.25)
    pages = StreamPages(log, SUBJECT)  # type: ignore[arg-type]
    ask(log, pages, 2_900, 10)
    log.add(1, "a")
    log.revise([2_915], 1.75)
    log.asked = log.read = 0

    _, candles, _ = ask(log, pages, 2_910, 10)

    assert candles.tolist() == [row.tolist() for row in log.page(2_911, 10)]
    assert (log.asked, log.read <= 20) == (0, True)
