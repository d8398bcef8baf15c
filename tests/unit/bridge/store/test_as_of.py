"""bridge/store/as_of.py: what had been told by some time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxcap.bridge.store.as_of import NEVER_MS, candles_as_of, gaps_as_of, require_known
from fluxcap.schemas.errors import NotKnown
from fluxcap.schemas.types import Candle, CandleArray, Gap, GapChange, candle_array, candles_from
from tests.support.examples import examples
from tests.support.wire.samples import MINUTE, candle, candle_rows

OPEN = Gap("SIM", "EURUSD_otc", 10, 0, "silent")
OVER = Gap("SIM", "EURUSD_otc", 10, 20, "silent")
TAKEN_BACK = Gap("SIM", "EURUSD_otc", 10, 10, "silent")


def numbered(*sequences: int) -> np.ndarray:
    return np.array(sequences, dtype=np.uint64)


def view(
    sequences: Sequence[int],
    first: Sequence[tuple[int, Candle]] = (),
    revisions: Sequence[tuple[int, Candle]] = (),
) -> tuple[list[int], list[float]]:
    """Sequences and closes of a view over minutes that are numbered like their sequences."""
    candles = candle_array([candle(sequence, 9.0) for sequence in sequences])
    parts = [(numbered(*(n for n, _ in part)), candle_array([row for _, row in part])) for part in (first, revisions)]
    found, numbers = candles_as_of(candles, numbered(*sequences), parts[0], parts[1])
    return numbers.tolist(), found["close"].tolist()


def test_what_was_never_revised_is_as_it_stands() -> None:
    assert view([1, 2]) == ([1, 2], [9.0, 9.0])


def test_what_was_revised_later_is_as_it_was_first() -> None:
    assert view([1, 2], first=[(2, candle(2, 1.1))]) == ([1, 2], [9.0, 1.1])


def test_of_the_revisions_told_by_then_the_last_counts() -> None:
    told = [(2, candle(2, 1.2)), (1, candle(1, 1.3)), (2, candle(2, 1.4))]

    assert view([1, 2], first=[(1, candle(1, 1.0)), (2, candle(2, 1.1))], revisions=told) == ([1, 2], [1.3, 1.4])


def test_what_was_not_told_yet_is_left_out_with_its_versions() -> None:
    assert view([1], first=[(2, candle(2, 1.1))], revisions=[(3, candle(3, 1.2))]) == ([1], [9.0])


def test_minutes_that_only_a_revision_brought_stand_in_their_place_with_sequence_0() -> None:
    told = [(0, candle(2, 1.2)), (0, candle(2, 1.3)), (0, candle(1, 1.4))]

    assert view([1, 3], revisions=told) == ([1, 0, 3], [9.0, 1.3, 9.0])


def test_the_candles_that_were_given_are_not_changed() -> None:
    rows = candle_rows(1, 3)
    before = rows.copy()

    candles_as_of(rows, numbered(1, 2, 3), (numbered(2), candle_rows(2, 1)), (numbered(1), candle_rows(9, 1)))

    assert np.array_equal(rows, before)


Told = tuple[str, int, float]
"""``seal`` or ``revise``, a minute, a close."""


@st.composite
def stories(draw: st.DrawFn) -> list[Told]:
    """Candles that are sealed in the order of time, some minutes passed over, and revisions of any before."""
    told: list[Told] = []
    newest = 0
    for number in range(draw(st.integers(0, 25))):
        if newest and draw(st.booleans()):
            told.append(("revise", draw(st.integers(1, newest)), 1.0 + number / 100))
        else:
            newest += draw(st.integers(1, 3))
            told.append(("seal", newest, 1.0 + number / 100))
    return told


@given(stories(), st.data())
@settings(max_examples=examples(200), deadline=None)
def test_a_view_of_any_moment_is_what_a_client_had_then(told: list[Told], data: st.DataObject) -> None:
    moment = data.draw(st.integers(0, len(told)))
    had: dict[int, float] = {}
    for _, minute, close in told[:moment]:
        had[minute] = close

    found, numbers = candles_as_of(*kept(told, moment))

    assert {int(ts) // MINUTE: close for ts, close in zip(found["ts_ms"], found["close"], strict=True)} == had
    assert found["ts_ms"].tolist() == sorted(minute * MINUTE for minute in had)
    sealed = [minute for what, minute, _ in told if what == "seal"]
    assert numbers.tolist() == [sealed.index(m) + 1 if m in sealed else 0 for m in sorted(had)]


def kept(told: list[Told], moment: int) -> tuple[CandleArray, np.ndarray, tuple, tuple]:
    """What a store keeps at the end of a story, as far as it is asked for a moment."""
    sealed = [minute for what, minute, _ in told if what == "seal"]
    stands = {minute: close for _, minute, close in told}
    first = {minute: close for what, minute, close in told if what == "seal"}
    revised = {minute for what, minute, _ in told if what == "revise"} & set(sealed)
    seen = sum(what == "seal" for what, _, _ in told[:moment])
    revisions = [(minute, close) for what, minute, close in told[:moment] if what == "revise"]

    def rows(pairs: Sequence[tuple[int, float]]) -> tuple[np.ndarray, CandleArray]:
        numbers = [sealed.index(minute) + 1 if minute in sealed else 0 for minute, _ in pairs]
        return numbered(*numbers), candle_array([candle(minute, close) for minute, close in pairs])

    numbers, candles = rows([(minute, stands[minute]) for minute in sealed[:seen]])
    return candles, numbers, rows([(m, first[m]) for m in sealed if m in revised]), rows(revisions)


def test_rows_are_whole_candles() -> None:
    first = Candle(MINUTE, 1.0, 2.0, 0.5, 1.5, 7.0, 7, 2)

    found, _ = candles_as_of(
        candle_rows(1, 1), numbered(1), (numbered(1), candle_array([first])), (numbered(), candle_rows(1, 0))
    )

    assert list(candles_from(found)) == [first]


@pytest.mark.parametrize(
    ("as_of_ms", "gaps"), [(4, []), (5, [OPEN]), (14, [OPEN]), (15, [OVER]), (25, []), (35, [OVER])]
)
def test_a_gap_is_as_it_had_been_told(as_of_ms: int, gaps: list[Gap]) -> None:
    changes = [GapChange(OPEN, 5), GapChange(OVER, 15), GapChange(TAKEN_BACK, 25), GapChange(OVER, 35)]

    assert [change.gap for change in gaps_as_of(changes, as_of_ms)] == gaps


def test_a_clock_that_was_turned_back_changes_no_order() -> None:
    changes = [GapChange(OPEN, 1_000), GapChange(OVER, 15)]

    assert [change.gap for change in gaps_as_of(changes, 20)] == [OVER]


def test_gaps_come_by_their_begin() -> None:
    changes = [GapChange(Gap("SIM", symbol, from_ms, 99), 1) for symbol, from_ms in (("B", 2), ("A", 2), ("C", 1))]

    assert [change.gap.symbol for change in gaps_as_of(changes, 1)] == ["C", "A", "B"]


def test_a_time_before_anything_was_kept_is_not_known() -> None:
    require_known(5, 5)

    with pytest.raises(NotKnown, match=r"^Not known: .* from 2026-11-21T12:00:00\.000Z on; ask for a time after it\.$"):
        require_known(1_795_262_399_999, 1_795_262_400_000)
    with pytest.raises(NotKnown, match=r"^Not known: .* leave out as_of\.$"):
        require_known(5, NEVER_MS)
