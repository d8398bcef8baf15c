"""fluxcap.bridge.jetstream.read.inbox: bounded by making the loop wait, never by loss."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from fluxcap.bridge.jetstream.read.inbox import HeartbeatReceived, Inbox
from fluxcap.bridge.jetstream.stream import StoredMessage
from fluxcap.bridge.transport.base import Connected, Disconnected


def messages(first: int, count: int, size: int = 10) -> list[StoredMessage]:
    return [StoredMessage(n, "s", {}, b"x" * size) for n in range(first, first + count)]


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    found = asyncio.new_event_loop()
    yield found
    found.close()


def room_of(inbox: Inbox, loop: asyncio.AbstractEventLoop) -> asyncio.Event:
    room = asyncio.Event()
    inbox.set_capacity_event(loop, room)
    return room


def turn(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_until_complete(asyncio.sleep(0))


def test_news_come_first_then_messages_in_order_then_the_newest_heartbeats() -> None:
    inbox = Inbox()
    inbox.put_messages(messages(1, 2))
    inbox.put_heartbeat("a", b"old")
    inbox.put_heartbeat("a", b"new")
    inbox.put_notice(Connected())

    first, *rest, last = inbox.drain(10, 0)

    assert isinstance(first, Connected)
    assert [item.position for item in rest if isinstance(item, StoredMessage)] == [1, 2]
    assert isinstance(last, HeartbeatReceived)
    assert last.payload == b"new"
    assert inbox.drain(10, 0) == []


@pytest.mark.parametrize("limits", [{"full_messages": 5}, {"full_bytes": 50}])
def test_when_it_is_full_reading_stops_until_there_is_room(
    loop: asyncio.AbstractEventLoop, limits: dict[str, int]
) -> None:
    inbox = Inbox(**limits)
    room = room_of(inbox, loop)
    inbox.put_messages(messages(1, 4))
    assert room.is_set()

    inbox.put_messages(messages(5, 4))
    assert not room.is_set()
    taken = inbox.drain(5, 0)
    turn(loop)

    assert room.is_set()
    assert [item.position for item in taken if isinstance(item, StoredMessage)] == [1, 2, 3, 4, 5]


def test_a_connection_that_ends_takes_along_what_it_had_brought(loop: asyncio.AbstractEventLoop) -> None:
    inbox = Inbox(full_messages=2)
    room = room_of(inbox, loop)
    inbox.put_messages(messages(1, 3))
    inbox.put_heartbeat("a", b"x")

    inbox.put_notice(Disconnected("gone"))
    turn(loop)

    assert inbox.drain(10, 0) == [Disconnected("gone")]
    assert room.is_set()


def test_a_wake_ends_a_wait() -> None:
    inbox = Inbox()
    inbox.wake()

    assert inbox.drain(10, 60) == []
