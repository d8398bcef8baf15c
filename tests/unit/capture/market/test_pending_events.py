"""What waits for the platform's clock."""

from __future__ import annotations

from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.capture.market.feeds import GapReason
from fluxcap.capture.market.pending_events import HISTORIES_MAX, PendingEvents
from fluxcap.capture.platforms.base import History, RawTick

AT = ArrivalTime.from_ms(1, 2)


def test_events_leave_in_the_order_they_came() -> None:
    room = PendingEvents()
    room.add("s", RawTick("A", 1, 1.0), AT)
    room.add("s", GapReason.RELOADED, ArrivalTime.from_ms(3, 4))

    assert [waiting.event for waiting in room.take_all()] == [RawTick("A", 1, 1.0), GapReason.RELOADED]
    assert not room


def test_of_too_many_the_oldest_go_and_are_counted() -> None:
    room = PendingEvents(capacity=3)
    for at in range(5):
        room.add("s", RawTick("A", at, 1.0), AT)

    assert [waiting.event.raw_ts_ms for waiting in room.take_all()] == [2, 3, 4]
    assert room.dropped == 2


def test_histories_without_end_cannot_fill_the_memory() -> None:
    room = PendingEvents()
    for _ in range(HISTORIES_MAX + 10):
        room.add("s", History("A", 60_000), AT)

    assert len(room) == HISTORIES_MAX
    room.take_all()
    room.add("s", History("A", 60_000), AT)
    assert len(room) == 1


def test_one_sockets_events_leave_without_the_others() -> None:
    room = PendingEvents()
    for at, socket in enumerate("aba"):
        room.add(socket, RawTick("A", at, 1.0), AT)

    assert room.has("a")
    assert [waiting.event.raw_ts_ms for waiting in room.take_socket("a")] == [0, 2]
    assert not room.has("a")
    assert room.take_socket("a") == []
    assert [waiting.event.raw_ts_ms for waiting in room.take_all()] == [1]
    assert not room.has("b")


def test_it_is_known_since_when_each_socket_waits() -> None:
    room = PendingEvents()
    room.add("a", RawTick("A", 1, 1.0), ArrivalTime.from_ms(0, 10))
    room.add("b", RawTick("A", 2, 1.0), ArrivalTime.from_ms(0, 20))
    room.add("a", RawTick("A", 3, 1.0), ArrivalTime.from_ms(0, 30))
    assert room.oldest_ms == {"a": 10, "b": 20}

    room.take_socket("a")
    room.add("a", RawTick("A", 4, 1.0), ArrivalTime.from_ms(0, 40))
    assert room.oldest_ms == {"a": 40, "b": 20}

    room.take_all()
    assert room.oldest_ms == {}


def test_histories_that_leave_with_their_socket_make_room_for_others() -> None:
    room = PendingEvents()
    for _ in range(HISTORIES_MAX):
        room.add("s", History("A", 60_000), AT)
    room.take_socket("s")
    room.add("s", History("A", 60_000), AT)

    assert (len(room), room.dropped) == (1, 0)


def test_of_too_many_the_sockets_are_counted_too() -> None:
    room = PendingEvents(capacity=1)
    room.add("a", RawTick("A", 1, 1.0), AT)
    room.add("b", RawTick("A", 2, 1.0), AT)

    assert not room.has("a")
    assert room.has("b")
