"""fluxcap.bridge.client.receiver.reorder_buffer: numbered rows leave in order, once each."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fluxcap.bridge.client.receiver.reorder_buffer import Offer, ReorderBuffer, Rows


def rows(first: int, count: int) -> Rows:
    return np.arange(first, first + count)


def taken(lane: ReorderBuffer) -> list[int]:
    return [int(number) for run in lane.drain() for number in run.rows]


def test_rows_that_come_next_leave_at_once() -> None:
    lane = ReorderBuffer(10)

    assert lane.offer(11, rows(11, 3), is_backfill=False) is Offer.KEPT
    assert taken(lane) == [11, 12, 13]
    assert lane.position == 13


def test_rows_after_a_hole_wait_for_the_hole() -> None:
    lane = ReorderBuffer(0)
    lane.offer(4, rows(4, 2), is_backfill=False)

    assert taken(lane) == []
    assert lane.missing(100) == (0, 3)

    lane.offer(1, rows(1, 3), is_backfill=True)
    assert taken(lane) == [1, 2, 3, 4, 5]
    assert lane.missing(100) is None


def test_fetched_and_live_rows_leave_as_runs_of_their_own() -> None:
    lane = ReorderBuffer(0)
    lane.offer(3, rows(3, 1), is_backfill=False)
    lane.offer(4, rows(4, 1), is_backfill=False)
    lane.offer(1, rows(1, 2), is_backfill=True)

    assert [(run.start, len(run.rows), run.is_backfill) for run in lane.drain()] == [(1, 2, True), (3, 2, False)]


def test_overlapping_chunks_leave_each_row_once() -> None:
    lane = ReorderBuffer(0)
    for start, count in ((3, 4), (2, 2), (5, 5), (1, 3)):
        lane.offer(start, rows(start, count), is_backfill=False)

    assert taken(lane) == list(range(1, 10))


def test_rows_known_already_are_duplicates() -> None:
    lane = ReorderBuffer(5)
    lane.offer(8, rows(8, 3), is_backfill=False)

    assert lane.offer(4, rows(4, 2), is_backfill=False) is Offer.DUPLICATE
    assert lane.offer(9, rows(9, 2), is_backfill=False) is Offer.DUPLICATE
    assert lane.offer(8, rows(8, 2), is_backfill=False) is Offer.DUPLICATE
    assert lane.offer(8, rows(8, 4), is_backfill=False) is Offer.KEPT


def test_a_full_buffer_drops_what_is_furthest_ahead_and_asks_for_it_later() -> None:
    lane = ReorderBuffer(0, limit_rows=6)
    lane.offer(10, rows(10, 3), is_backfill=False)
    lane.offer(5, rows(5, 3), is_backfill=False)

    assert lane.offer(20, rows(20, 3), is_backfill=False) is Offer.EVICTED
    assert lane.offer(2, rows(2, 2), is_backfill=False) is Offer.KEPT
    assert lane.buffered_rows == 5
    lane.offer(1, rows(1, 9), is_backfill=True)
    assert taken(lane)[-1] == 9
    assert lane.missing(100) == (9, 13)


def test_missing_is_limited_to_a_page_and_to_the_first_hole() -> None:
    lane = ReorderBuffer(0)
    lane.target = 50

    assert lane.missing(7) == (0, 7)
    lane.offer(4, rows(4, 2), is_backfill=False)
    assert lane.missing(7) == (0, 3)


def test_what_may_not_leave_yet_stays_first_in_line() -> None:
    lane = ReorderBuffer(0)
    lane.offer(1, rows(1, 5), is_backfill=False)

    assert [run.rows.tolist() for run in lane.drain(lambda _: 2)] == [[1, 2]]
    assert lane.missing(100) is None
    assert taken(lane) == [3, 4, 5]


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 12), st.booleans()), max_size=40), st.integers(5, 60))
def test_whatever_is_offered_leaves_in_order_once_each(chunks: list[tuple[int, int, bool]], limit_rows: int) -> None:
    lane, left = ReorderBuffer(0, limit_rows=limit_rows), []
    for start, count, take_now in chunks:
        lane.offer(start, rows(start, count), is_backfill=False)
        assert lane.buffered_rows <= max(limit_rows, 12)
        if take_now:
            left += taken(lane)
    left += taken(lane)

    assert left == list(range(1, len(left) + 1))
    hole = lane.missing(1_000)
    assert (hole is None) == (lane.target == len(left))
