"""Sequences are dense from 1, times increase, and nothing is given before it is confirmed."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from fluxcap.bridge.server.sequencer import Sequencer
from fluxcap.schemas.candles import first_invalid_candle
from fluxcap.schemas.errors import SequenceError
from fluxcap.schemas.types import (
    Candle,
    CandleBatch,
    CandleFlags,
    CandleRevision,
    StreamKey,
    Watermark,
    candle_array,
    candles_from,
)
from tests.support.wire.samples import EURUSD, GBPUSD, MINUTE, candle, candle_rows, candles


def test_sequences_of_a_new_stream_start_at_one() -> None:
    assert Sequencer({}).number(EURUSD, [candle(1)]).start_sequence == 1


def test_numbering_alone_consumes_nothing() -> None:
    sequencer = Sequencer({})

    sequencer.number(EURUSD, [candle(1)])

    assert sequencer.number(EURUSD, [candle(1)]).start_sequence == 1
    assert sequencer.watermark(EURUSD) == Watermark()


def test_confirming_moves_the_watermark_to_the_last_candle() -> None:
    sequencer = Sequencer({})

    sequencer.confirm(sequencer.number(EURUSD, candles(1, 3)))

    assert sequencer.watermark(EURUSD) == Watermark(3, 3 * MINUTE, 0, 1)


def test_sequences_go_on_after_what_the_store_holds() -> None:
    sequencer = Sequencer({EURUSD: Watermark(41, 41 * MINUTE, 7, 12)})

    sequencer.confirm(sequencer.number(EURUSD, [candle(42)]))

    assert sequencer.watermark(EURUSD) == Watermark(42, 42 * MINUTE, 7, 12)


def test_streams_are_numbered_apart() -> None:
    sequencer = Sequencer({EURUSD: Watermark(41, 41 * MINUTE)})

    assert sequencer.number(GBPUSD, [candle(1)]).start_sequence == 1


def test_arrays_and_values_are_numbered_alike() -> None:
    sequencer = Sequencer({})

    from_values = sequencer.number(EURUSD, candles(1, 5))
    from_array = sequencer.number(EURUSD, candle_rows(1, 5))

    assert np.array_equal(from_values.candles, from_array.candles)


@pytest.mark.parametrize(
    "minutes", [[5], [4], [6, 6], [7, 6], [6, 8, 7]], ids=["same", "before", "twice", "falling", "one falling"]
)
def test_time_that_does_not_increase_is_refused(minutes: list[int]) -> None:
    sequencer = Sequencer({EURUSD: Watermark(5, 5 * MINUTE)})

    with pytest.raises(SequenceError, match="must increase"):
        sequencer.number(EURUSD, [candle(minute) for minute in minutes])


def test_streams_numbered_together_are_numbered_as_each_alone() -> None:
    sequencer = Sequencer({GBPUSD: Watermark(41, 41 * MINUTE)})
    values, rows = {EURUSD: candles(1, 3), GBPUSD: [candle(42)]}, {EURUSD: candle_rows(1, 3), GBPUSD: [candle(42)]}

    for together in (values, rows):
        alone = [sequencer.number(key, own) for key, own in together.items()]
        for one, other in zip(sequencer.number_all(together), alone, strict=True):
            assert (one.key, one.start_sequence) == (other.key, other.start_sequence)
            assert np.array_equal(one.candles, other.candles)


def test_a_minute_without_ticks_leaves_no_hole_in_the_sequences() -> None:
    sequencer = Sequencer({})

    sequencer.confirm(sequencer.number(EURUSD, [candle(1), candle(9)]))

    assert sequencer.watermark(EURUSD).latest_sequence == 2


NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    "insane",
    [
        Candle(MINUTE, NAN, 2, 1, 1.5),
        Candle(MINUTE, 1.5, NAN, 1, 1.5),
        Candle(MINUTE, 1.5, 2, NAN, 1.5),
        Candle(MINUTE, 1.5, 2, 1, NAN),
        Candle(MINUTE, 1.5, 2, 1, 1.5, NAN),
        Candle(MINUTE, 0.9, 2, 1, 1.5),
        Candle(MINUTE, 2.1, 2, 1, 1.5),
        Candle(MINUTE, 1.5, 2, 1, 0.9),
        Candle(MINUTE, 1.5, 2, 1, 2.1),
        Candle(MINUTE, INFINITE, INFINITE, 1, 1.5),
        Candle(MINUTE, 1.5, 2, -INFINITE, 1.5),
        Candle(MINUTE, 1.5, 2, 1, 1.5, -1.0),
        Candle(MINUTE, 1.5, 2, 1, 1.5, INFINITE),
        Candle(0, 1.5, 2, 1, 1.5),
        Candle(-MINUTE, 1.5, 2, 1, 1.5),
    ],
)
def test_what_cannot_be_a_candle_gets_no_number(insane: Candle) -> None:
    assert first_invalid_candle(candle_array([candle(1), insane])) == 1
    assert first_invalid_candle(candle_array([*candles(1, 30), insane, *candles(31, 30)])) == 30
    with pytest.raises(SequenceError):
        Sequencer({}).number(EURUSD, [insane])
    with pytest.raises(SequenceError, match="not a valid candle"):
        Sequencer({EURUSD: Watermark(5, 5 * MINUTE)}).revise(EURUSD, [1], [insane])


@pytest.mark.parametrize("refused", [[], [candle(0)], [candle(9), candle(9)], [candle(5)]])
def test_many_streams_are_numbered_together_or_none_of_them(refused: list[Candle]) -> None:
    sequencer = Sequencer({GBPUSD: Watermark(5, 5 * MINUTE)})

    batches = sequencer.number_all({EURUSD: candles(1, 3), GBPUSD: candle_rows(6, 20)})

    assert [(batch.key, batch.start_sequence) for batch in batches] == [(EURUSD, 1), (GBPUSD, 6)]
    assert [len(batch.candles) for batch in batches] == [3, 20]
    with pytest.raises(SequenceError, match=re.escape(str(GBPUSD))):
        sequencer.number_all(
            {EURUSD: candles(1, 3), GBPUSD: refused, StreamKey("SIM", "USDJPY_otc", "1m"): [candle(1)]}
        )
    assert sequencer.number_all({}) == []


@pytest.mark.parametrize("count", [1, 2, 8, 9, 30])
def test_however_many_streams_are_numbered_together_each_gets_its_own_candles(count: int) -> None:
    keys = [StreamKey("SIM", f"S{number}", "1m") for number in range(count)]
    given = {key: candles(1 + number, 1 + number % 3) for number, key in enumerate(keys)}

    batches = Sequencer({}).number_all(given)

    assert {batch.key: list(candles_from(batch.candles)) for batch in batches} == given
    spoiled = given | {keys[-1]: [Candle(MINUTE, 1.5, 2, 1, 3)]}
    with pytest.raises(SequenceError, match=f"{re.escape(str(keys[-1]))}: not a valid candle"):
        Sequencer({}).number_all(spoiled)


def test_no_candle_is_no_batch() -> None:
    with pytest.raises(SequenceError, match="no candle"):
        Sequencer({}).number(EURUSD, [])


def test_an_array_of_another_dtype_is_refused() -> None:
    with pytest.raises(SequenceError, match="CANDLE_DTYPE"):
        Sequencer({}).number(EURUSD, np.zeros(3))


def test_a_batch_cannot_be_confirmed_twice() -> None:
    sequencer = Sequencer({})
    batch = sequencer.number(EURUSD, [candle(1)])
    sequencer.confirm(batch)

    with pytest.raises(SequenceError):
        sequencer.confirm(batch)


def test_revisions_are_numbered_apart_from_sequences() -> None:
    sequencer = Sequencer({EURUSD: Watermark(5, 5 * MINUTE, 2, 1)})

    revision = sequencer.revise(EURUSD, [4, 0], [candle(4), candle(3)])
    sequencer.confirm_revision(revision)

    assert revision.start_revision == 3
    assert sequencer.watermark(EURUSD) == Watermark(5, 5 * MINUTE, 4, 1)


def test_only_revisions_of_published_candles_are_flagged_revised() -> None:
    sequencer = Sequencer({EURUSD: Watermark(5, 5 * MINUTE)})

    revision = sequencer.revise(EURUSD, [4, 0], [candle(4, flags=CandleFlags.FILLED), candle(3)])

    assert revision.candles["flags"].tolist() == [CandleFlags.FILLED | CandleFlags.REVISED, 0]


def test_revising_leaves_the_callers_candles_alone() -> None:
    mine = candle_rows(4, 1)

    Sequencer({EURUSD: Watermark(5, 5 * MINUTE)}).revise(EURUSD, [4], mine)

    assert mine["flags"].tolist() == [0]


@pytest.mark.parametrize(
    ("sequences", "minute"),
    [([6], 5), ([-1], 5), ([1, 2], 5), ([0], 6)],
    ids=["never given", "below 0", "two", "newer"],
)
def test_a_revision_of_nothing_past_is_refused(sequences: list[int], minute: int) -> None:
    with pytest.raises(SequenceError):
        Sequencer({EURUSD: Watermark(5, 5 * MINUTE)}).revise(EURUSD, sequences, [candle(minute)])


def test_a_revision_cannot_be_confirmed_twice() -> None:
    sequencer = Sequencer({EURUSD: Watermark(5, 5 * MINUTE)})
    revision = sequencer.revise(EURUSD, [4], [candle(4)])
    sequencer.confirm_revision(revision)

    with pytest.raises(SequenceError):
        sequencer.confirm_revision(revision)


@pytest.mark.parametrize("count", [2, 100])
def test_a_candle_is_sane_however_flat_however_early_and_without_volume(count: int) -> None:
    flat = candle_array([Candle(1, 1.5, 1.5, 1.5, 1.5, 0.0), Candle(2, 1.5, 1.5, 1.5, 1.5, 0.5)] * (count // 2))

    assert first_invalid_candle(flat) is None


def test_one_candle_alone_has_no_order_to_keep() -> None:
    assert Sequencer({}).number(EURUSD, [candle(1)]).next_sequence == 2


def test_the_newest_candle_itself_may_be_revised() -> None:
    revision = Sequencer({EURUSD: Watermark(5, 5 * MINUTE)}).revise(EURUSD, [5], [candle(5)])

    assert revision.sequences.tolist() == [5]


def test_the_very_first_candle_is_flagged_revised_too() -> None:
    revision = Sequencer({EURUSD: Watermark(5, 5 * MINUTE)}).revise(EURUSD, [1], [candle(1)])

    assert revision.sequences.dtype == np.uint64
    assert revision.candles["flags"].tolist() == [CandleFlags.REVISED]


def refusal(act: Callable[[Sequencer], object]) -> str:
    with pytest.raises(SequenceError) as caught:
        act(Sequencer({EURUSD: Watermark(5, 5 * MINUTE, 2, 1)}))
    return str(caught.value)


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda s: s.number(EURUSD, []), "SIM.EURUSD_otc.1m: there is no candle to number."),
        (
            lambda s: s.number(EURUSD, [Candle(MINUTE, 1, 2, 3, 1)]),
            "SIM.EURUSD_otc.1m: not a valid candle: Candle(ts_ms=60000, open=1.0, high=2.0, low=3.0, close=1.0, "
            "volume=0.0, tick_count=0, flags=0); it was not published.",
        ),
        (
            lambda s: s.number(EURUSD, candles(2, 5)),
            "SIM.EURUSD_otc.1m: candle times must increase, but [120000, 180000, 240000] was to follow 300000.",
        ),
        (
            lambda s: s.confirm(CandleBatch(EURUSD, 7, candle_rows(6, 1))),
            "SIM.EURUSD_otc.1m: batch 7 cannot be confirmed after 5.",
        ),
        (lambda s: s.revise(EURUSD, [], []), "SIM.EURUSD_otc.1m: there is no candle to number."),
        (
            lambda s: s.revise(EURUSD, [-1], [candle(5)]),
            "SIM.EURUSD_otc.1m: sequences are whole numbers from 0 on: ",
        ),
        (
            lambda s: s.revise(EURUSD, [1, 2], [candle(5)]),
            "SIM.EURUSD_otc.1m: 2 sequences cannot name 1 revised candles.",
        ),
        (
            lambda s: s.revise(EURUSD, [6], [candle(5)]),
            "SIM.EURUSD_otc.1m: sequence 6 was never assigned; 5 is latest.",
        ),
        (
            lambda s: s.revise(EURUSD, [0], [candle(6)]),
            "SIM.EURUSD_otc.1m: a candle newer than 300000 is not a revision.",
        ),
        (
            lambda s: s.confirm_revision(CandleRevision(EURUSD, 9, np.array([5], "u8"), candle_rows(5, 1))),
            "SIM.EURUSD_otc.1m: revision 9 cannot follow 2.",
        ),
    ],
)
def test_a_refusal_says_what_was_wrong_with_what(act: Callable[[Sequencer], object], sentence: str) -> None:
    assert refusal(act).startswith(sentence)
