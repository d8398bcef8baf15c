"""What a page has to draw anew."""

from __future__ import annotations

import msgspec

from fluxcap.bridge.dashboard.stream_buffer import Changes, StreamBuffer
from fluxcap.schemas.types import candle_array
from tests.support.wire.samples import candle, candle_rows


def filled(count: int = 3, kept: int = 100) -> StreamBuffer:
    memory = StreamBuffer(kept)
    memory.add(1, candle_rows(1, count))
    return memory


def drawn(changes: Changes | None) -> list[int]:
    assert changes is not None
    return [int(row[0]) // 60_000 for row in changes.rows]


def test_a_new_page_gets_everything_and_then_only_what_changed() -> None:
    memory = filled()
    first = memory.changes(0)
    assert first is not None
    assert first.is_all
    assert drawn(first) == [1, 2, 3]
    assert memory.changes(first.version) is None

    memory.add(4, candle_rows(4, 1))

    second = memory.changes(first.version)
    assert second is not None
    assert not second.is_all
    assert drawn(second) == [4]


def test_the_candle_under_way_alone_sends_no_rows() -> None:
    memory = filled()
    seen = memory.changes(0)
    assert seen is not None

    memory.set_forming(candle(4, 1.2))
    memory.set_forming(candle(4, 1.3))

    changes = memory.changes(seen.version)
    assert changes is not None
    assert changes.rows == []
    assert changes.forming is not None
    assert changes.forming[4] == 1.3


def test_the_same_candle_under_way_is_no_change() -> None:
    memory = filled()
    memory.set_forming(candle(4, 1.2))
    version = memory.changes(0)
    assert version is not None

    memory.set_forming(candle(4, 1.2))

    assert memory.changes(version.version) is None


def test_what_was_sealed_is_not_under_way_any_more() -> None:
    memory = filled()
    memory.set_forming(candle(4))

    memory.add(4, candle_rows(4, 1))
    memory.set_forming(candle(4))

    assert memory.forming is None


def test_a_revision_replaces_its_candle() -> None:
    memory = filled()
    version = memory.changes(0)
    assert version is not None

    memory.revise(candle_array([msgspec.structs.replace(candle(2), high=9.0, flags=8)]))

    changes = memory.changes(version.version)
    assert drawn(changes) == [2]
    assert changes is not None
    assert changes.rows[0][2] == 9.0


def test_a_revision_of_a_minute_that_never_was_takes_its_place_in_time() -> None:
    memory = StreamBuffer()
    memory.add(1, candle_array([candle(1), candle(3)]))

    memory.revise(candle_array([candle(2)]))

    assert drawn(memory.changes(0)) == [1, 2, 3]
    assert memory.last_ms == 180_000


def test_it_keeps_the_newest_alone() -> None:
    memory = filled(count=25, kept=10)

    assert drawn(memory.changes(0)) == list(range(16, 26))
    assert memory.latest_sequence == 25


def test_a_page_that_slept_too_long_gets_everything() -> None:
    memory = filled(kept=5)
    version = memory.changes(0)
    assert version is not None

    memory.add(4, candle_rows(4, 20))

    changes = memory.changes(version.version)
    assert changes is not None
    assert changes.is_all


def test_after_a_reset_every_page_starts_over() -> None:
    memory = filled()
    version = memory.changes(0)
    assert version is not None

    memory.reset()

    changes = memory.changes(version.version)
    assert changes is not None
    assert changes.is_all
    assert changes.rows == []
