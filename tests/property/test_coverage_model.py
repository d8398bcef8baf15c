"""Spans against a plain set of milliseconds."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fluxcap.capture.market.coverage import TimeRanges, covered_by_either

stretch = st.tuples(st.integers(0, 60), st.integers(0, 60))
stretches = st.lists(stretch, max_size=20)


def both(added: list[tuple[int, int]]) -> tuple[TimeRanges, set[int]]:
    spans, model = TimeRanges(), set()
    for from_ms, to_ms in added:
        spans.add(from_ms, to_ms)
        model |= set(range(from_ms, to_ms))
    return spans, model


@given(stretches)
def test_spans_hold_exactly_what_was_added_disjoint_and_in_order(added: list[tuple[int, int]]) -> None:
    spans, model = both(added)

    assert set().union(*(range(*span) for span in spans)) == model
    flat = [edge for span in spans for edge in span]
    assert flat == sorted(set(flat))  # not even touching


@given(stretches, stretch)
def test_covers_and_touches_as_the_set_does(added: list[tuple[int, int]], asked: tuple[int, int]) -> None:
    spans, model = both(added)
    wanted = set(range(*asked))

    assert spans.covers(*asked) == (wanted <= model)
    assert spans.touches(*asked) == bool(wanted & model)


@given(stretches, st.integers(0, 60))
def test_the_ends_of_a_stretch_are_found_from_within(added: list[tuple[int, int]], ts_ms: int) -> None:
    spans, model = both(added)
    until = ts_ms
    while until in model:
        until += 1
    since = ts_ms
    while since - 1 in model:
        since -= 1

    assert spans.covered_until(ts_ms) == until
    assert spans.covered_since(ts_ms) == since


@given(stretches, stretch)
def test_what_is_uncovered_is_what_the_set_lacks(added: list[tuple[int, int]], asked: tuple[int, int]) -> None:
    spans, model = both(added)

    found = spans.uncovered(*asked)

    assert [ms for begin, end in found for ms in range(begin, end)] == [ms for ms in range(*asked) if ms not in model]
    assert all(begin < end for begin, end in found)
    assert all(before[1] < after[0] for before, after in pairwise(found))


@given(stretches, stretches, stretch)
def test_two_sets_cover_together_as_their_union_does(
    first: list[tuple[int, int]], second: list[tuple[int, int]], asked: tuple[int, int]
) -> None:
    (one, one_model), (two, two_model) = both(first), both(second)

    assert covered_by_either(one, two, *asked) == (set(range(*asked)) <= one_model | two_model)


@given(stretches, st.integers(0, 60))
def test_forgetting_drops_nothing_newer(added: list[tuple[int, int]], before_ms: int) -> None:
    spans, model = both(added)
    spans.prune_before(before_ms)

    kept = set().union(*(range(*span) for span in spans))
    assert {ms for ms in model if ms >= before_ms} <= kept <= model
