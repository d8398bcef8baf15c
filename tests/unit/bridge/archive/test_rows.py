"""fluxcap.bridge.archive.rows: messages as rows, and what is missing between them."""

from __future__ import annotations

import numpy as np

from fluxcap.bridge.archive.partition import DAY_MS
from fluxcap.bridge.archive.rows import MissingRange, ReadPosition, RowBuffer, is_sound
from fluxcap.bridge.jetstream.subjects import Position
from fluxcap.schemas.types import CandleBatch, CandleRevision
from tests.support.wire.samples import EURUSD, GBPUSD, candle_rows

A_DAY = DAY_MS // 60_000


def told(sequence: int, revision: int = 0, store: str = "a", first: int = 1) -> Position:
    return Position(store, sequence, sequence * 60_000, revision, first)


def batch(first: int, count: int) -> CandleBatch:
    return CandleBatch(EURUSD, first, candle_rows(first, count))


def revision(number: int, sequences: list[int]) -> CandleRevision:
    rows = np.concatenate([candle_rows(max(n, 1), 1) for n in sequences])
    return CandleRevision(EURUSD, number, np.array(sequences, np.uint64), rows)


def test_rows_go_to_the_day_in_which_their_candle_begins() -> None:
    gathered = RowBuffer()
    gathered.add(batch(A_DAY - 2, 4), told(A_DAY + 1, first=A_DAY - 2), None)

    found = {partition.date: rows["sequence"].tolist() for partition, rows in gathered.partitions()}

    assert found == {"1970-01-01": [A_DAY - 2, A_DAY - 1], "1970-01-02": [A_DAY, A_DAY + 1]}
    assert gathered.rows == 4


def test_streams_and_stores_are_told_apart() -> None:
    gathered = RowBuffer()
    gathered.add(batch(1, 1), told(1), None)
    gathered.add(CandleBatch(GBPUSD, 1, candle_rows(1, 1)), told(1), None)
    gathered.add(batch(1, 1), told(1, store="b"), None)

    found = {partition.key: [gathered.stores[n] for n in rows["store"]] for partition, rows in gathered.partitions()}

    assert found == {EURUSD: ["a", "b"], GBPUSD: ["a"]}
    assert gathered.positions == {
        (EURUSD, "a"): ReadPosition(1),
        (GBPUSD, "a"): ReadPosition(1),
        (EURUSD, "b"): ReadPosition(1),
    }


def test_revisions_carry_their_number_and_batches_none() -> None:
    gathered = RowBuffer()
    gathered.add(batch(1, 2), told(2), None)
    gathered.add(revision(1, [2, 0]), told(2, 2), None)

    [(_, rows)] = list(gathered.partitions())

    assert rows["sequence"].tolist() == [1, 2, 2, 0]
    assert rows["revision"].tolist() == [0, 0, 1, 2]
    assert gathered.positions[EURUSD, "a"] == ReadPosition(2, 2)


def test_what_the_log_has_forgotten_is_missing() -> None:
    gathered = RowBuffer()
    gathered.add(batch(8, 2), told(9, first=3), None)
    gathered.add(batch(15, 1), told(15, first=3), None)
    gathered.add(revision(4, [15]), told(15, 4, first=3), None)

    assert gathered.missing == [
        MissingRange(EURUSD, "a", "candles", 3, 7),
        MissingRange(EURUSD, "a", "candles", 10, 14),
        MissingRange(EURUSD, "a", "revisions", 1, 3),
    ]


def test_what_is_read_again_is_not_missing() -> None:
    gathered = RowBuffer()
    gathered.add(batch(1, 5), told(5), ReadPosition(9, 2))
    gathered.add(batch(10, 1), told(10), None)

    assert gathered.missing == []
    assert gathered.positions[EURUSD, "a"] == ReadPosition(10, 2)


def test_what_is_read_again_of_a_store_before_the_last_one_is_not_missing() -> None:
    gathered = RowBuffer()
    gathered.add(batch(1, 6), told(6), None)
    gathered.add(batch(1, 2), told(2, store="b"), None)

    gathered.add(batch(4, 3), told(6), None)
    gathered.add(batch(1, 2), told(2, store="b"), None)

    assert gathered.missing == []


def test_what_no_file_could_hold_is_not_sound() -> None:
    far, early, none = candle_rows(1, 1), candle_rows(1, 1), candle_rows(1, 0)
    far["ts_ms"], early["ts_ms"] = 1 << 60, -1

    assert is_sound(batch(1, 2))
    assert is_sound(revision(1, [2, 0]))
    assert not is_sound(CandleBatch(EURUSD, 1, far))
    assert not is_sound(CandleBatch(EURUSD, 1, early))
    assert not is_sound(CandleBatch(EURUSD, 1, none))
    assert not is_sound(CandleBatch(EURUSD, 0, candle_rows(1, 1)))
    assert not is_sound(CandleBatch(EURUSD, 1 << 63, candle_rows(1, 1)))
    assert not is_sound(CandleRevision(EURUSD, 1, np.array([1 << 63], np.uint64), candle_rows(1, 1)))
    assert not is_sound("rubbish")


def test_after_clear_nothing_waits() -> None:
    gathered = RowBuffer()
    gathered.add(batch(1, 5), told(5), None)

    gathered.clear()

    assert (gathered.rows, list(gathered.partitions()), gathered.positions) == (0, [], {})
