"""fluxcap.bridge.client.committer: an event seen is an event stored, and a full disk is waited out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from fluxcap.bridge.client.cache import Append, Change, NoCache
from fluxcap.bridge.client.committer import RETRY_NS, EventCommitter
from fluxcap.bridge.client.events import Candles, CaughtUp, Event, HealthChanged
from fluxcap.bridge.client.health import Health, HealthState
from fluxcap.bridge.client.receiver.actions import Cursor
from fluxcap.schemas.errors import StoreDamaged, StoreError, StoreFull
from fluxcap.schemas.types import CANDLE_DTYPE, StreamKey

KEY, OTHER = StreamKey("SIM", "A", "1s"), StreamKey("SIM", "B", "1s")
ROWS = np.zeros(2, CANDLE_DTYPE)
STALLED = HealthChanged(KEY, Health(HealthState.STALLED, "full"))


class Disk(NoCache):
    """Fails with ``error`` while there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.error: StoreError | None = None
        self.attempts = 0
        self.stored: list[StreamKey] = []

    def commit(self, changes: Sequence[Change], cursors: Mapping[StreamKey, Cursor]) -> None:
        self.attempts += 1
        if self.error is not None:
            raise self.error
        super().commit(changes, cursors)
        self.stored += [change.key for change in changes]


def settling() -> tuple[EventCommitter, Disk, list[Event]]:
    disk, told = Disk(), list[Event]()
    return EventCommitter(disk, told.extend), disk, told


def candles(start: int) -> tuple[Append, Cursor, Candles]:
    return Append(KEY, start, ROWS), Cursor("a", start + 1), Candles(KEY, start, ROWS, False)


def starts(told: list[Event]) -> list[int]:
    return [event.start_sequence for event in told if isinstance(event, Candles)]


def test_what_was_stored_is_told_and_the_cursor_stands_behind_it() -> None:
    settle, disk, told = settling()

    settle.store(*candles(1))
    settle.store(*candles(3))
    settle.commit(0)

    assert starts(told) == [1, 3]
    assert (disk.cursor(KEY), settle.merges) == (Cursor("a", 4), 1)


def test_what_needs_no_storing_costs_no_transaction() -> None:
    settle, disk, told = settling()

    settle.emit(CaughtUp(KEY, 3))
    settle.commit(0)
    settle.commit(0)

    assert (told, disk.attempts) == ([CaughtUp(KEY, 3)], 0)


def test_on_a_full_disk_only_health_is_told_and_the_rest_follows_in_order() -> None:
    settle, disk, told = settling()
    disk.error = StoreFull("no room")
    settle.store(*candles(1))
    settle.emit(CaughtUp(KEY, 2))

    settle.commit(0)
    settle.emit(STALLED)
    settle.commit(1)
    full, on_full_disk = settle.error, list(told)
    disk.error = None
    settle.commit(RETRY_NS)

    assert (full, on_full_disk) == ("no room", [STALLED])
    assert told[1:] == [told[1], CaughtUp(KEY, 2)]
    assert (starts(told), settle.error) == ([1], "")


def test_a_full_disk_is_tried_each_second_only() -> None:
    settle, disk, _ = settling()
    disk.error = StoreFull("no room")
    settle.store(*candles(1))

    for now_ns in range(0, 3 * RETRY_NS, RETRY_NS // 10):
        settle.commit(now_ns)

    assert disk.attempts == 3


def test_a_stream_that_is_left_takes_what_waits_of_it_along_and_nothing_else() -> None:
    settle, disk, told = settling()
    disk.error = StoreFull("no room")
    settle.store(*candles(1))
    settle.store(Append(OTHER, 1, ROWS), Cursor("a", 2), Candles(OTHER, 1, ROWS, False))
    settle.commit(0)

    settle.forget(KEY)
    disk.error = None
    settle.commit(RETRY_NS)

    assert [event.key for event in told] == [OTHER]
    assert (disk.cursor(KEY), disk.cursor(OTHER), disk.stored) == (None, Cursor("a", 2), [OTHER])


def test_any_other_failure_is_raised() -> None:
    settle, disk, told = settling()
    disk.error = StoreDamaged("broken")
    settle.store(*candles(1))

    with pytest.raises(StoreDamaged):
        settle.commit(0)

    assert told == []
