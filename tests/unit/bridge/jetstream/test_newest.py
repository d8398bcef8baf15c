"""fluxcap.bridge.jetstream.newest: the newest messages of many subjects come with one reading, and none is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from fluxcap.bridge.jetstream import newest as newest_module
from fluxcap.bridge.jetstream.newest import LEAST_SUBJECTS, NewestMessages, read_newest
from fluxcap.bridge.jetstream.stream import StoredMessage, position_of_message
from fluxcap.bridge.jetstream.subjects import subject
from fluxcap.schemas.errors import NatsUnavailable
from tests.support.nats.many_streams import FakeReader, ManyStreams, key

MANY = LEAST_SUBJECTS


@pytest.fixture(autouse=True, scope="module")
def _readers() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(newest_module, "PullConsumer", FakeReader)
        yield


def newest_of(log: ManyStreams, numbers: list[int]) -> list[StoredMessage | None]:
    async def found() -> list[StoredMessage | None]:
        newest = NewestMessages(log)  # type: ignore[arg-type]
        return await asyncio.gather(*(newest.last(subject(key(number))) for number in numbers))

    return asyncio.run(found())


@pytest.mark.parametrize(("asked", "singly"), [(MANY - 1, MANY - 1), (MANY, 0)])
def test_the_newest_messages_are_asked_for_singly_while_they_are_few(asked: int, singly: int) -> None:
    log = ManyStreams()
    for number in range(MANY):
        log.add(number, 5)

    found = newest_of(log, list(range(asked)))

    assert [position_of_message(message).latest_sequence for message in found if message] == [5] * asked
    assert log.asked == singly


def test_the_newest_messages_are_asked_for_singly_among_too_many_others() -> None:
    log = ManyStreams()
    for number in range(10 * MANY):
        log.add(number)

    found = newest_of(log, list(range(MANY)))

    assert all(found)
    assert log.asked == MANY


def test_a_stream_without_messages_has_no_newest() -> None:
    log = ManyStreams()
    log.add(1)

    assert newest_of(log, [2]) == [None]
    assert newest_of(log, [1, *range(2, MANY + 2)])[1:] == [None] * MANY


def test_who_asks_during_a_reading_is_answered_by_a_later_one() -> None:
    log = ManyStreams()
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
    log = ManyStreams()
    for number in range(MANY):
        log.add(number)
    log.is_away = True

    with pytest.raises(NatsUnavailable, match=r"The log is away\."):
        newest_of(log, list(range(MANY)))


def test_a_copy_that_is_behind_its_leader_is_read_until_it_is_not() -> None:
    log = ManyStreams()
    for number in range(MANY):
        log.add(number)
    for number in range(3):
        log.add(number)
    log.behind = 3

    found = newest_of(log, list(range(MANY)))

    assert [position_of_message(message).latest_sequence for message in found if message] == [2, 2, 2] + [1] * (
        MANY - 3
    )
    assert log.asked == 0


def test_where_a_copy_stays_behind_each_is_asked_for() -> None:
    log = ManyStreams()
    for _ in range(2):
        for number in range(MANY):
            log.add(number)
    log.behind = 1_000

    found = newest_of(log, list(range(MANY)))

    assert [position_of_message(message).latest_sequence for message in found if message] == [2] * MANY
    assert log.asked == MANY


def test_a_log_without_messages_has_no_newest() -> None:
    assert asyncio.run(read_newest(ManyStreams())) == ({}, True)  # type: ignore[arg-type]


def test_who_may_make_no_consumer_is_told_of_each_alone() -> None:
    log = ManyStreams()
    for number in range(MANY):
        log.add(number)
    log.has_consumers = False

    assert all(newest_of(log, list(range(MANY))))
    assert log.asked == MANY
