"""Stretches of time that were seen."""

from __future__ import annotations

from fluxcap.capture.market.coverage import SPANS_MAX, TimeRanges, covered_by_either


def spans_of(*stretches: tuple[int, int]) -> TimeRanges:
    spans = TimeRanges()
    for stretch in stretches:
        spans.add(*stretch)
    return spans


def test_touching_stretches_become_one() -> None:
    assert list(spans_of((0, 10), (10, 20), (30, 40))) == [(0, 20), (30, 40)]


def test_a_stretch_that_bridges_others_joins_them() -> None:
    assert list(spans_of((0, 10), (20, 30), (40, 50), (5, 45))) == [(0, 50)]


def test_an_earlier_stretch_goes_before_the_others() -> None:
    assert list(spans_of((50, 60), (0, 10))) == [(0, 10), (50, 60)]


def test_empty_and_backward_stretches_are_ignored() -> None:
    assert len(spans_of((5, 5), (9, 3))) == 0


def test_a_stretch_with_a_hole_is_not_covered() -> None:
    spans = spans_of((0, 10), (11, 20))

    assert spans.covers(0, 10)
    assert spans.covers(12, 20)
    assert not spans.covers(0, 20)
    assert not spans.covers(9, 12)


def test_the_end_of_a_stretch_is_not_part_of_it() -> None:
    spans = spans_of((0, 10))

    assert not spans.touches(10, 20)
    assert spans.touches(9, 20)
    assert spans.covered_until(10) == 10
    assert spans.covered_until(9) == 10


def test_since_when_a_time_has_been_covered() -> None:
    spans = spans_of((0, 10), (20, 30))

    assert [spans.covered_since(at) for at in (5, 10, 15, 20, 30, 31)] == [0, 0, 15, 20, 20, 31]


def test_two_sets_cover_together_what_neither_covers_alone() -> None:
    live, history = spans_of((0, 10), (20, 30)), spans_of((8, 21))

    assert covered_by_either(live, history, 0, 30)
    assert not covered_by_either(live, history, 0, 31)


def test_old_stretches_are_forgotten() -> None:
    spans = spans_of((0, 10), (20, 30), (40, 50))

    spans.prune_before(30)

    assert list(spans) == [(40, 50)]


def test_memory_is_bounded_whatever_is_added() -> None:
    spans = TimeRanges()
    for at in range(0, 4 * SPANS_MAX, 2):
        spans.add(at, at + 1)

    assert len(spans) == SPANS_MAX
    assert spans.covers(4 * SPANS_MAX - 2, 4 * SPANS_MAX - 1)


def test_a_shift_moves_what_lies_behind_a_time_and_cuts_what_lies_across_it() -> None:
    ranges = TimeRanges()
    ranges.add(0, 10)
    ranges.add(20, 30)

    ranges.shift(100, from_ms=5)

    assert list(ranges) == [(0, 5), (105, 110), (120, 130)]


def test_what_a_wrong_clock_covered_is_dropped() -> None:
    ranges = TimeRanges()
    for from_ms, to_ms in ((0, 10), (20, 30), (40, 50)):
        ranges.add(from_ms, to_ms)

    ranges.drop_after(25)

    assert list(ranges) == [(0, 10), (20, 25)]


def test_a_stretch_reaches_to_its_very_end_and_no_stretch_reaches_over_a_hole() -> None:
    spans = spans_of((0, 10), (20, 30))

    assert [spans.reaches(5, to) for to in (5, 10, 11, 20)] == [True, True, False, False]
    assert [spans.reaches(at, 30) for at in (0, 15, 20, 30)] == [False, False, True, True]
    assert not spans.reaches(-1, 5)
