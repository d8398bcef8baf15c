"""bridge/store/history.py: candles and gaps of a store by time, now and as they had been told."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxcap.bridge.server.sequencer import Sequencer
from fluxcap.bridge.store.offline import OfflineStore
from fluxcap.bridge.store.reader import StoreReader
from fluxcap.bridge.store.store import Store
from fluxcap.schemas.errors import NotKnown
from fluxcap.schemas.types import Candle, CandleBatch, Gap, StreamKey, candle_array
from tests.support.golden import opened
from tests.support.wire.samples import EURUSD, GBPUSD, MINUTE, candle, candle_rows, minutes

OF_0_1_0 = StreamKey("POCKETOPTION", "EURUSD_otc", "1m")
T0_MS = 1_000_000


class Clock:
    """A wall clock that is set."""

    def __init__(self) -> None:
        self.ms = T0_MS

    def __call__(self) -> int:
        return self.ms


def commit(store: Store, clock: Clock, at_ms: int, rows: list[Candle], sequences: tuple[int, ...] = ()) -> None:
    """Seal candles, or with sequences revise them, at a time."""
    clock.ms = at_ms
    sequencer = Sequencer(store.watermarks())
    if sequences:
        store.commit(revisions=[sequencer.revise(EURUSD, sequences, rows)])
    else:
        store.commit([sequencer.number(EURUSD, candle_array(rows))])


def told(reader: StoreReader, as_of_ms: int | None) -> list[tuple[int, int, float]]:
    """Minute, sequence and close of all candles as of a time."""
    page = reader.history(EURUSD, 0, None, as_of_ms, 1_000)
    return list(zip(minutes(page.candles), page.sequences.tolist(), page.candles["close"].tolist(), strict=True))


@pytest.mark.costly
def test_candles_are_as_they_had_been_told_at_any_time(tmp_path: Path) -> None:
    clock = Clock()
    with Store.open(tmp_path / "s.duckdb", clock) as store:
        commit(store, clock, T0_MS + 10, [candle(1, 1.1), candle(3, 1.3)])
        commit(store, clock, T0_MS + 20, [candle(1, 1.4), candle(2, 1.2)], (1, 0))
        commit(store, clock, T0_MS + 30, [candle(4, 1.6)])
        commit(store, clock, T0_MS + 40, [candle(1, 1.5), candle(2, 1.7)], (1, 0))
        reader = store.reader()

        assert told(reader, T0_MS + 9) == []
        assert told(reader, T0_MS + 10) == told(reader, T0_MS + 19) == [(1, 1, 1.1), (3, 2, 1.3)]
        assert told(reader, T0_MS + 20) == [(1, 1, 1.4), (2, 0, 1.2), (3, 2, 1.3)]
        assert told(reader, T0_MS + 39) == [(1, 1, 1.4), (2, 0, 1.2), (3, 2, 1.3), (4, 3, 1.6)]
        newest = [(1, 1, 1.5), (2, 0, 1.7), (3, 2, 1.3), (4, 3, 1.6)]
        assert told(reader, T0_MS + 40) == told(reader, None) == newest


def test_a_clock_that_was_turned_back_leaves_no_hole(tmp_path: Path) -> None:
    clock = Clock()
    with Store.open(tmp_path / "s.duckdb", clock) as store:
        commit(store, clock, T0_MS + 500, [candle(1)])
        commit(store, clock, T0_MS + 10, [candle(2)])

        assert [minute for minute, _, _ in told(store.reader(), T0_MS + 20)] == [1, 2]


def test_a_page_is_as_many_intervals_and_says_where_it_goes_on(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.duckdb") as store:
        rows = [*range(5, 15), *range(40, 43)]
        store.commit([CandleBatch(EURUSD, 1, candle_array([candle(minute) for minute in rows]))])
        reader, pages, at = store.reader(), [], 0
        while True:
            page = reader.history(EURUSD, at, None, None, 4)
            pages.append((minutes(page.candles), page.sequences.tolist(), page.next_ms // MINUTE))
            if not page.next_ms:
                break
            at = page.next_ms

    assert pages == [
        ([5, 6, 7, 8], [1, 2, 3, 4], 9),
        ([9, 10, 11, 12], [5, 6, 7, 8], 13),
        ([13, 14], [9, 10], 17),
        ([40, 41, 42], [11, 12, 13], 0),
    ]


@pytest.mark.parametrize(
    ("from_minute", "to_minute", "found"), [(1, 4, [1, 2, 3]), (0, 1, []), (3, 3, []), (5, 99, [5]), (6, None, [])]
)
def test_a_range_holds_its_begin_and_not_its_end(
    tmp_path: Path, from_minute: int, to_minute: int | None, found: list[int]
) -> None:
    with Store.open(tmp_path / "s.duckdb") as store:
        store.commit([CandleBatch(EURUSD, 1, candle_rows(1, 5)), CandleBatch(GBPUSD, 1, candle_rows(1, 9))])
        to_ms = None if to_minute is None else to_minute * MINUTE

        page = store.reader().history(EURUSD, from_minute * MINUTE, to_ms)

    assert (minutes(page.candles), page.next_ms) == (found, 0)


@pytest.mark.costly
def test_gaps_are_those_of_the_symbol_and_of_its_source_with_when_they_were_told(tmp_path: Path) -> None:
    clock = Clock()
    mine, everybody = Gap("SIM", "EURUSD_otc", 10, 0, "silent"), Gap("SIM", "", 30, 40, "browser gone")
    with Store.open(tmp_path / "s.duckdb", clock) as store:
        store.commit(gaps=[mine, Gap("SIM", "GBPUSD_otc", 10, 20), Gap("OTHER", "", 10, 20)])
        clock.ms += 100
        store.commit(gaps=[everybody, Gap("SIM", "EURUSD_otc", 10, 20, "silent"), Gap("SIM", "EURUSD_otc", 60, 60)])
        reader = store.reader()

        assert [change.gap for change in reader.told_gaps("SIM", "EURUSD_otc", 0, None, T0_MS)] == [mine]
        now = reader.told_gaps("SIM", "EURUSD_otc", 0, None)
        assert [(change.gap.from_ms, change.gap.to_ms, change.at_ms) for change in now] == [
            (10, 20, T0_MS + 100),
            (30, 40, T0_MS + 100),
        ]
        assert [change.gap for change in reader.told_gaps("SIM", "EURUSD_otc", 20, 31)] == [everybody]
        assert len(reader.told_gaps("SIM", "", 0, None)) == 3


@pytest.mark.costly
def test_what_was_told_before_the_migration_is_not_known(tmp_path: Path) -> None:
    old = opened("store/closed", tmp_path) / "fluxcap.duckdb"
    with OfflineStore(old) as store:  # of version 1
        rows = len(store.history(OF_0_1_0).candles)
        assert rows > 0
        assert store.told_gaps("POCKETOPTION", "EURUSD_otc", 0, None)
        with pytest.raises(NotKnown, match="leave out as_of"):
            store.history(OF_0_1_0, as_of_ms=2**50)

    clock = Clock()
    clock.ms = 1_900_000_000_000
    with Store.open(old, clock) as migrated:
        reader = migrated.reader()
        with pytest.raises(NotKnown):
            reader.history(OF_0_1_0, 0, None, clock.ms)
        mark = migrated.watermarks()[OF_0_1_0]
        newest = Candle(mark.latest_ts_ms + MINUTE, 1.0, 2.0, 0.5, 1.5)
        migrated.commit([CandleBatch(OF_0_1_0, mark.latest_sequence + 1, candle_array([newest]))])

        assert len(reader.history(OF_0_1_0, 0, None, clock.ms, 10**6).candles) == rows + 1
        assert reader.told_gaps("POCKETOPTION", "EURUSD_otc", 0, None, clock.ms)
        with pytest.raises(NotKnown, match=r"from 2030-03-17T17:46:40\.000Z on"):
            reader.history(OF_0_1_0, 0, None, clock.ms - 1)
        with pytest.raises(NotKnown):
            reader.told_gaps("POCKETOPTION", "EURUSD_otc", 0, None, clock.ms - 1)
