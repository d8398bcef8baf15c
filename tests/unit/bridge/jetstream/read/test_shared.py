"""fluxcap.bridge.jetstream.read.shared: many streams at once come with one reading, and as each would come alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxcap.bridge.jetstream import newest as newest_module
from fluxcap.bridge.jetstream.newest import LEAST_SUBJECTS, NewestMessages
from fluxcap.bridge.jetstream.read import pages as pages_module
from fluxcap.bridge.jetstream.read import requests as requests_module
from fluxcap.bridge.jetstream.read import revisions as revisions_module
from fluxcap.bridge.jetstream.read import shared as shared_module
from fluxcap.bridge.jetstream.read.pages import StreamPages
from fluxcap.bridge.jetstream.read.requests import JetStreamRequestHandler
from fluxcap.bridge.jetstream.read.shared import SharedReader, common_filter
from fluxcap.bridge.jetstream.subjects import ALL_SUBJECTS, subject
from fluxcap.schemas.candles import CandlePage
from fluxcap.schemas.errors import NatsUnavailable
from fluxcap.schemas.types import BackfillCandlesRequest, BackfillCandlesResponse
from tests.support.nats.many_streams import FakeReader, ManyStreams, key

MANY = LEAST_SUBJECTS


@pytest.fixture(autouse=True, scope="module")
def _readers() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        for module in (newest_module, shared_module, pages_module, revisions_module):
            patched.setattr(module, "PullConsumer", FakeReader)
        yield


def pages_of(log: ManyStreams, numbers: list[int], after: int = 0, limit: int = 100) -> list[CandlePage]:
    """A page of each of these streams, all asked for at once."""

    async def all_of_them() -> list[CandlePage]:
        newest, shared = NewestMessages(log), SharedReader(log)  # type: ignore[arg-type]

        async def one(number: int) -> CandlePage:
            pages = StreamPages(log, subject(key(number)), newest, shared)  # type: ignore[arg-type]
            found = await pages.newest()
            assert found is not None
            await pages.first_sequence(*found, None, is_whole=True)
            return await pages.page(*found, after, None, limit)

        return await asyncio.gather(*map(one, numbers))

    return asyncio.run(all_of_them())


def page_alone(log: ManyStreams, number: int, after: int, limit: int) -> CandlePage:
    async def found() -> CandlePage:
        pages = StreamPages(log, subject(key(number)))  # type: ignore[arg-type]
        newest = await pages.newest()
        assert newest is not None
        return await pages.page(*newest, after, None, limit)

    return asyncio.run(found())


def assert_alike(page: CandlePage, alone: CandlePage) -> None:
    assert page.start_sequence == alone.start_sequence
    assert page.candles.tobytes() == alone.candles.tobytes()
    assert page.has_more == alone.has_more


def test_pages_of_many_streams_come_with_one_reading() -> None:
    log = ManyStreams()
    for _ in range(10):
        for number in range(MANY):
            log.add(number)

    pages = pages_of(log, list(range(MANY)))

    assert [len(page.candles) for page in pages] == [10] * MANY
    everything = common_filter([subject(key(number)) for number in range(MANY)])
    assert log.read == {ALL_SUBJECTS: MANY, everything: 10 * MANY}  # the newest of each, then all
    assert log.asked == 0


def test_a_page_of_one_stream_is_read_alone() -> None:
    log = ManyStreams()
    for _ in range(10):
        for number in range(MANY):
            log.add(number)

    pages_of(log, [3])

    assert log.read == {subject(key(3)): 10}


@pytest.mark.costly
@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, MANY + 4), st.integers(1, 3)), max_size=150),
    st.integers(0, 6),
    st.integers(1, 12),
    st.sampled_from([(1, 1), (1, 300), (300, 300), (100_000, 100_000)]),
    st.sampled_from([(0, 1), (10, 2), (50, 200)]),
)
def test_a_page_among_many_is_the_page_alone(
    messages: list[tuple[int, int]], after: int, limit: int, bounds: tuple[int, int], near: tuple[int, int]
) -> None:
    log = ManyStreams()
    for number in range(MANY + 5):
        log.add(number)
    for number, candles in messages:
        log.add(number, candles)
    for number in range(MANY + 2):
        log.add(number)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(shared_module, "OTHERS_A_SUBJECT", bounds[0])
        patched.setattr(shared_module, "PASS_BYTES", bounds[1])
        patched.setattr(pages_module, "NEAR_MESSAGES", near[0])
        patched.setattr(pages_module, "NEAR_CANDLES", near[1])

        pages = pages_of(log, list(range(MANY + 2)), after, limit)

    for number, page in enumerate(pages):
        alone = page_alone(log, number, after, limit)
        # A reading that ends early gives what it has: the next page goes on there.
        ended = 0 < len(page.candles) < len(alone.candles)
        assert not ended or (page.has_more and bounds[0] < 100_000)
        assert_alike(page, page_alone(log, number, after, len(page.candles)) if ended else alone)


@pytest.mark.costly
def test_streams_that_go_side_by_side_need_one_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages_module, "NEAR_MESSAGES", 3 * MANY)
    log = ManyStreams()
    for _ in range(100):
        for number in range(MANY):
            log.add(number)

    pages = pages_of(log, list(range(MANY)), after=80)

    assert [(page.start_sequence, len(page.candles)) for page in pages] == [(81, 20)] * MANY
    assert log.asked <= 2 * 11 + MANY  # the one, and for each of the others a look at whether it is near


def test_streams_among_too_many_others_are_read_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_module, "OTHERS_A_SUBJECT", 1)
    log = ManyStreams()
    for number in range(MANY, 1_000):
        log.add(number)
    for number in range(MANY):
        log.add(number, 8)
        log.add(number, 8)

    pages = pages_of(log, list(range(MANY)))

    assert [len(page.candles) for page in pages] == [16] * MANY
    assert all(log.read[subject(key(number))] == 2 for number in range(MANY))
    assert log.read[common_filter([subject(key(number)) for number in range(MANY)])] < 50


def test_all_who_wait_are_told_that_jetstream_is_away() -> None:
    log = ManyStreams()
    for number in range(MANY):
        log.add(number, 8)
        log.add(number, 8)

    async def failures() -> list[str]:
        shared = SharedReader(log)  # type: ignore[arg-type]

        async def one(number: int) -> str:
            try:
                async for _ in shared.messages(subject(key(number)), 1, len(log.messages)):
                    log.is_away = True
            except NatsUnavailable as error:
                return str(error)
            return ""

        return await asyncio.gather(*map(one, range(MANY)))

    assert asyncio.run(failures()) == ["The log is away."] * MANY


def test_the_more_pages_are_made_at_once_the_shorter_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests_module, "PAGES_ROWS", 4 * MANY)
    log = ManyStreams()
    for _ in range(10):
        for number in range(MANY):
            log.add(number)

    async def lengths(count: int) -> list[int]:
        handler = JetStreamRequestHandler(log)  # type: ignore[arg-type]
        asked = (handler.handle(BackfillCandlesRequest(key(number), 0, None, 100)) for number in range(count))
        pages = await asyncio.gather(*asked)
        assert all(isinstance(page, BackfillCandlesResponse) and page.has_more == (count > 1) for page in pages)
        return [len(page.candles) for page in pages if isinstance(page, BackfillCandlesResponse)]

    assert asyncio.run(lengths(1)) == [10]
    assert asyncio.run(lengths(MANY)) == [4] * MANY
