"""fluxcap.bridge.jetstream.read.shared: many streams at once come with one reading, and as each would come alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxcap.bridge.jetstream.read import pages as pages_module
from fluxcap.bridge.jetstream.read import requests as requests_module
from fluxcap.bridge.jetstream.read import revisions as revisions_module
from fluxcap.bridge.jetstream.read import shared as shared_module
from fluxcap.bridge.jetstream.read.pages import StreamPages
from fluxcap.bridge.jetstream.read.requests import JetStreamRequestHandler
from fluxcap.bridge.jetstream.read.shared import LEAST_SUBJECTS, NewestMessages, SharedReader, common_filter
from fluxcap.bridge.jetstream.stream import StoredMessage, position_of_message
from fluxcap.bridge.jetstream.subjects import Position, position_headers, subject
from fluxcap.schemas.candles import CandlePage
from fluxcap.schemas.codec import encode
from fluxcap.schemas.errors import NatsUnavailable
from fluxcap.schemas.types import BackfillCandlesRequest, BackfillCandlesResponse, CandleBatch, StreamKey
from tests.support.wire.samples import candle_rows

MANY = LEAST_SUBJECTS


def key(number: int) -> StreamKey:
    return StreamKey("SIM", f"S{number}", "1m")


class Log:
    """A JetStream stream in memory. ``read``: by filter, the messages that consumers brought."""

    def __init__(self) -> None:
        self.messages: list[StoredMessage] = []
        self.sequences: dict[int, int] = {}
        self.asked = 0
        self.read: dict[str, int] = {}
        self.is_away = False

    def add(self, number: int, candles: int = 1) -> None:
        """The next candles of a stream, in one message."""
        start = self.sequences.get(number, 0) + 1
        self.sequences[number] = latest = start + candles - 1
        headers = position_headers(Position("store", latest, latest * 60_000, 0, 1))
        payload = encode(CandleBatch(key(number), start, candle_rows(start, candles)))
        self.messages.append(StoredMessage(len(self.messages) + 1, subject(key(number)), headers, payload))

    async def last(self, name: str) -> StoredMessage | None:
        self.asked += 1
        return next((message for message in reversed(self.messages) if message.subject == name), None)

    async def next(self, name: str, position: int) -> StoredMessage | None:
        self.asked += 1
        found = (message for message in self.messages if message.position >= position and message.subject == name)
        return next(found, None)

    async def at(self, position: int) -> StoredMessage | None:
        return self.messages[position - 1]


class Reader:
    """Up to seven messages at a time of those that pass a filter."""

    def __init__(self, log: Log, name: str, position: int, most: int = 7, *, newest_only: bool = False) -> None:
        self._log, self._name, self._most = log, name, min(most, 7)
        self._newest_only = newest_only
        self.next_position = position
        log.read.setdefault(name, 0)

    def _left(self) -> list[StoredMessage]:
        passing = [
            message
            for message in self._log.messages
            if message.position >= self.next_position
            and all(a in ("*", b) for a, b in zip(self._name.split("."), message.subject.split("."), strict=True))
        ]
        if not self._newest_only:
            return passing
        newest = {message.subject: message for message in passing}
        return [StoredMessage(m.position, m.subject, m.headers, b"") for m in sorted(newest.values(), key=position_in)]

    @property
    def pending(self) -> int:
        return len(self._left())

    async def open(self) -> None: ...

    async def read(self, wait_s: float) -> list[StoredMessage]:
        await asyncio.sleep(0)
        if self._log.is_away:
            raise NatsUnavailable("The log is away.")
        found = self._left()[: self._most]
        self.next_position = found[-1].position + 1 if found else self.next_position
        self._log.read[self._name] += len(found)
        return found

    async def close(self) -> None: ...


def position_in(message: StoredMessage) -> int:
    return message.position


@pytest.fixture(autouse=True, scope="module")
def _readers() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        for module in (shared_module, pages_module, revisions_module):
            patched.setattr(module, "PullConsumer", Reader)
        yield


def pages_of(log: Log, numbers: list[int], after: int = 0, limit: int = 100) -> list[CandlePage]:
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


def page_alone(log: Log, number: int, after: int, limit: int) -> CandlePage:
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
    log = Log()
    for _ in range(10):
        for number in range(MANY):
            log.add(number)

    pages = pages_of(log, list(range(MANY)))

    assert [len(page.candles) for page in pages] == [10] * MANY
    everything = common_filter([subject(key(number)) for number in range(MANY)])
    assert log.read == {everything: MANY + 10 * MANY}  # the newest of each, then all
    assert log.asked == 0


def test_a_page_of_one_stream_is_read_alone() -> None:
    log = Log()
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
)
def test_a_page_among_many_is_the_page_alone(
    messages: list[tuple[int, int]], after: int, limit: int, bounds: tuple[int, int]
) -> None:
    log = Log()
    for number in range(MANY + 5):
        log.add(number)
    for number, candles in messages:
        log.add(number, candles)
    for number in range(MANY + 2):
        log.add(number)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(shared_module, "OTHERS_A_SUBJECT", bounds[0])
        patched.setattr(shared_module, "PASS_BYTES", bounds[1])

        pages = pages_of(log, list(range(MANY + 2)), after, limit)

    for number, page in enumerate(pages):
        alone = page_alone(log, number, after, limit)
        # A reading that ends early gives what it has: the next page goes on there.
        ended = 0 < len(page.candles) < len(alone.candles)
        assert not ended or (page.has_more and bounds[0] < 100_000)
        assert_alike(page, page_alone(log, number, after, len(page.candles)) if ended else alone)


def test_streams_among_too_many_others_are_read_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_module, "OTHERS_A_SUBJECT", 1)
    log = Log()
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
    log = Log()
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
    log = Log()
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


def newest_of(log: Log, numbers: list[int]) -> list[StoredMessage | None]:
    async def found() -> list[StoredMessage | None]:
        newest = NewestMessages(log)  # type: ignore[arg-type]
        return await asyncio.gather(*(newest.last(subject(key(number))) for number in numbers))

    return asyncio.run(found())


@pytest.mark.parametrize(("asked", "singly"), [(MANY - 1, MANY - 1), (MANY, 0)])
def test_the_newest_messages_are_asked_for_singly_while_they_are_few(asked: int, singly: int) -> None:
    log = Log()
    for number in range(MANY):
        log.add(number, 5)

    found = newest_of(log, list(range(asked)))

    assert [position_of_message(message).latest_sequence for message in found if message] == [5] * asked
    assert log.asked == singly


def test_the_newest_messages_are_asked_for_singly_among_too_many_others() -> None:
    log = Log()
    for number in range(10 * MANY):
        log.add(number)

    found = newest_of(log, list(range(MANY)))

    assert all(found)
    assert log.asked == MANY


def test_a_stream_without_messages_has_no_newest() -> None:
    log = Log()
    log.add(1)

    assert newest_of(log, [2]) == [None]
    assert newest_of(log, [1, *range(2, MANY + 2)])[1:] == [None] * MANY


def test_who_asks_during_a_reading_is_answered_by_a_later_one() -> None:
    log = Log()
    log.add(1)

    async def found() -> list[int]:
        newest = NewestMessages(log)  # type: ignore[arg-type]
        reading, asked_again = asyncio.Event(), asyncio.Event()
        last = log.last

        async def slow(name: str) -> StoredMessage | None:
            message = await last(name)
            reading.set()
            await asked_again.wait()
            return message

        log.last = slow  # type: ignore[method-assign]
        first = asyncio.create_task(newest.last(subject(key(1))))
        await reading.wait()
        log.add(1)
        second = asyncio.create_task(newest.last(subject(key(1))))
        asked_again.set()
        return [position_of_message(message).latest_sequence for message in (await first, await second) if message]

    assert asyncio.run(found()) == [1, 2]


def test_all_who_asked_for_the_newest_are_told_what_went_wrong() -> None:
    log = Log()
    for number in range(MANY):
        log.add(number)
    log.is_away = True

    with pytest.raises(NatsUnavailable, match=r"The log is away\."):
        newest_of(log, list(range(MANY)))
