"""fluxcap.bridge.client.receiver.reorder_buffer: numbered rows leave in order, once each."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fluxcap.bridge.client.receiver.reorder_buffer import Offer, ReorderBuffer, Rows


def rows(first: int, count: int) -> Rows:
    return np.arange(first, first + count)


def taken(buffer: ReorderBuffer) -> list[int]:
    return [int(number) for run in buffer.drain() for number in run.rows]


def test_rows_that_come_next_leave_at_once() -> None:
    buffer = ReorderBuffer(10)

    assert buffer.offer(11, rows(11, 3), is_backfill=False) is Offer.KEPT
    assert taken(buffer) == [11, 12, 13]
    assert buffer.position == 13


def test_rows_after_a_hole_wait_for_the_hole() -> None:
    buffer = ReorderBuffer(0)
    buffer.offer(4, rows(4, 2), is_backfill=False)

    assert taken(buffer) == []
    assert buffer.missing(100) == (0, 3)

    buffer.offer(1, rows(1, 3), is_backfill=True)
    assert taken(buffer) == [1, 2, 3, 4, 5]
    assert buffer.missing(100) is None


def test_fetched_and_live_rows_leave_as_runs_of_their_own() -> None:
    buffer = ReorderBuffer(0)
    buffer.offer(3, rows(3, 1), is_backfill=False)
    buffer.offer(4, rows(4, 1), is_backfill=False)
    buffer.offer(1, rows(1, 2), is_backfill=True)

    assert [(run.start, len(run.rows), run.is_backfill) for run in buffer.drain()] == [(1, 2, True), (3, 2, False)]


def test_overlapping_chunks_leave_each_row_once() -> None:
    buffer = ReorderBuffer(0)
    for start, count in ((3, 4), (2, 2), (5, 5), (1, 3)):
        buffer.offer(start, rows(start, count), is_backfill=False)

    assert taken(buffer) == list(range(1, 10))


def test_rows_known_already_are_duplicates() -> None:
    buffer = ReorderBuffer(5)
    buffer.offer(8, rows(8, 3), is_backfill=False)

    assert buffer.offer(4, rows(4, 2), is_backfill=False) is Offer.DUPLICATE
    assert buffer.offer(9, rows(9, 2), is_backfill=False) is Offer.DUPLICATE
    assert buffer.offer(8, rows(8, 2), is_backfill=False) is Offer.DUPLICATE
    assert buffer.offer(8, rows(8, 4), is_backfill=False) is Offer.KEPT


def test_a_full_buffer_drops_what_is_furthest_ahead_and_asks_for_it_later() -> None:
    buffer = ReorderBuffer(0, limit_rows=6)
    buffer.offer(10, rows(10, 3), is_backfill=False)
    buffer.offer(5, rows(5, 3), is_backfill=False)

    assert buffer.offer(20, rows(20, 3), is_backfill=False) is Offer.EVICTED
    assert buffer.offer(2, rows(2, 2), is_backfill=False) is Offer.KEPT
    assert buffer.buffered_rows == 5
    buffer.offer(1, rows(1, 9), is_backfill=True)
    assert taken(buffer)[-1] == 9
    assert buffer.missing(100) == (9, 13)


def test_missing_is_limited_to_a_page_and_to_the_first_hole() -> None:
    buffer = ReorderBuffer(0)
    buffer.target = 50

    assert buffer.missing(7) == (0, 7)
    buffer.offer(4, rows(4, 2), is_backfill=False)
    assert buffer.missing(7) == (0, 3)


def test_what_may_not_leave_yet_stays_first_in_line() -> None:
    buffer = ReorderBuffer(0)
    buffer.offer(1, rows(1, 5), is_backfill=False)

    assert [run.rows.tolist() for run in buffer.drain(lambda _: 2)] == [[1, 2]]
    assert buffer.missing(100) is None
    assert taken(buffer) == [3, 4, 5]


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 12), st.booleans()), max_size=40), st.integers(5, 60))
def test_whatever_is_offered_leaves_in_order_once_each(chunks: list[tuple[int, int, bool]], limit_rows: int) -> None:
    buffer, left = ReorderBuffer(0, limit_rows=limit_rows), []
    for start, count, take_now in chunks:
        buffer.offer(start, rows(start, count), is_backfill=False)
        assert buffer.buffered_rows <= max(limit_rows, 12)
        if take_now:
            left += taken(buffer)
    left += taken(buffer)

    assert left == list(range(1, len(left) + 1))
    hole = buffer.missing(1_000)
    assert (hole is None) == (buffer.target == len(left))


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 4)), max_size=20))
def test_rows_that_pass_at_once_are_those_that_would_leave_at_once(chunks: list[tuple[int, int]]) -> None:
    passing, queued = ReorderBuffer(2), ReorderBuffer(2)
    for start, count in chunks:
        queued.offer(start, rows(start, count), is_backfill=False)
        left = taken(queued)
        passed = passing.pass_next(start, rows(start, count))
        if not passed:
            passing.offer(start, rows(start, count), is_backfill=False)

        assert (list(rows(start, count)) if passed else taken(passing)) == left
        assert (passing.position, passing.target, passing.missing(9)) == (
            queued.position,
            queued.target,
            queued.missing(9),
        )
