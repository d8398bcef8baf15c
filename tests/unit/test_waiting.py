"""What waits for the platform's clock."""

from __future__ import annotations

from capture.feeds import BlindReason
from capture.platform_clock import Arrival
from capture.platforms.base import History, RawTick
from capture.waiting import HISTORIES_MAX, WaitingRoom

AT = Arrival(1, 2)


def test_events_leave_in_the_order_they_came() -> None:
    room = WaitingRoom()
    room.add("s", RawTick("A", 1, 1.0), AT)
    room.add("s", BlindReason.RELOADED, Arrival(3, 4))

    assert room.since == AT
    assert [waiting.event for waiting in room.take()] == [RawTick("A", 1, 1.0), BlindReason.RELOADED]
    assert not room
    assert room.since is None


def test_of_too_many_the_oldest_go_and_are_counted() -> None:
    room = WaitingRoom(room=3)
    for at in range(5):
        room.add("s", RawTick("A", at, 1.0), AT)

    assert [waiting.event.raw_ts_ms for waiting in room.take()] == [2, 3, 4]
    assert room.dropped == 2


def test_histories_without_end_cannot_fill_the_memory() -> None:
    room = WaitingRoom()
    for _ in range(HISTORIES_MAX + 10):
        room.add("s", History("A", 60_000), AT)

    assert len(room) == HISTORIES_MAX
    room.take()
    room.add("s", History("A", 60_000), AT)
    assert len(room) == 1
