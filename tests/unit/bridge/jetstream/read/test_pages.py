"""fluxcap.bridge.jetstream.read.pages: pages of a log are those of the store that was put there, revised and all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxcap.bridge.jetstream.read.pages import StreamPages
from tests.support.nats.fake_log import SUBJECT, FakeLog, ask, read_by_fakes


@pytest.fixture(autouse=True, scope="module")
def _reader() -> Iterator[None]:
    with read_by_fakes():
        yield


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


@pytest.mark.costly
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


def test_a_page_of_few_large_messages_asks_for_each_and_makes_no_consumer() -> None:
    log = FakeLog()
    for _ in range(3):
        log.add(500, "a")
    pages = StreamPages(log, SUBJECT)  # type: ignore[arg-type]

    start, candles, more = ask(log, pages, 0, 10_000)

    assert (start, len(candles), more) == (1, 1_500, False)
    assert (log.asked, log.read) == (3, 0)


def test_a_page_of_few_large_messages_with_many_revisions_between_is_whole() -> None:
    log = FakeLog()
    log.add(500, "a")
    for sequence in range(1, 20):
        log.revise([sequence], 1.5)
    log.add(500, "a")
    pages = StreamPages(log, SUBJECT)  # type: ignore[arg-type]

    start, candles, more = ask(log, pages, 0, 10_000)

    assert (start, len(candles), more) == (1, 1_000, False)
