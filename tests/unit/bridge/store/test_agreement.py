"""What the store keeps of the comparison with the platform's own rows."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from fluxcap.bridge.server.sequencer import Sequencer
from fluxcap.bridge.store.agreement import Agreement, ComparedCandle
from fluxcap.bridge.store.store import Store
from fluxcap.bridge.store.verify import agreement_of, verify
from fluxcap.schemas.types import CandleBatch, CandleFlags
from tests.support.golden import opened
from tests.support.wire.samples import EURUSD, GBPUSD, MINUTE, candle, candle_rows, candles

ROW = msgspec.structs.replace(candles(4, 1)[0], close=1.9, volume=0.0, tick_count=0)
TICKS = ((4 * MINUTE, 1.0), (4 * MINUTE, 2.0), (4 * MINUTE + 1, 1.0))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store of 9 candles of two streams; of the first, minute 2 is flagged and minute 3 revised."""
    file = tmp_path / "store.duckdb"
    with Store.open(file) as store:
        rows = candle_rows(1, 9)
        rows["flags"][1] = CandleFlags.FILLED
        sequencer = Sequencer({})
        for batch in (sequencer.number(EURUSD, rows), sequencer.number(GBPUSD, candle_rows(1, 9))):
            store.commit([batch])
            sequencer.confirm(batch)
        store.commit(revisions=[sequencer.revise(EURUSD, [3], [candle(3, 1.9)])])
    return file


@pytest.mark.costly
def test_candles_without_a_flag_are_to_be_compared_once(path: Path) -> None:
    with Store.open(path) as store:
        times = [minute * MINUTE for minute in range(1, 6)]
        assert sorted(store.not_compared(EURUSD, times)) == [1 * MINUTE, 4 * MINUTE, 5 * MINUTE]
        assert store.not_compared(EURUSD, times)[4 * MINUTE] == (4, candles(4, 1)[0])

        store.record_agreement(EURUSD, [ComparedCandle(4, 4 * MINUTE, ROW, TICKS), ComparedCandle(5, 5 * MINUTE)])

        assert sorted(store.not_compared(EURUSD, times)) == [1 * MINUTE]
        assert len(store.not_compared(GBPUSD, times)) == 5
        assert store.not_compared(EURUSD, []) == {}


@pytest.mark.costly
def test_what_was_compared_is_there_after_opening_again(path: Path) -> None:
    with Store.open(path) as store:
        store.record_agreement(EURUSD, [ComparedCandle(4, 4 * MINUTE, ROW, TICKS), ComparedCandle(5, 5 * MINUTE)])
        store.record_agreement(GBPUSD, [ComparedCandle(1, MINUTE)])
        told = store.agreement

    with Store.open(path) as again:
        assert again.agreement == told
        assert told.streams == {EURUSD: Agreement(2, 1), GBPUSD: Agreement(1, 1)}
        (one,) = told.differing
        assert (one.key, one.sequence, one.ours, one.kept_ticks) == (EURUSD, 4, candles(4, 1)[0], 3)
        assert one.platform == msgspec.structs.replace(ROW, tick_count=0)
        assert again.reader().kept_ticks(EURUSD, 4) == list(TICKS)
    assert agreement_of(path).streams == told.streams
    assert verify(path) == []


@pytest.mark.costly
def test_pruning_forgets_comparisons_with_their_candles(path: Path) -> None:
    with Store.open(path) as store:
        store.record_agreement(EURUSD, [ComparedCandle(4, 4 * MINUTE, ROW, TICKS), ComparedCandle(9, 9 * MINUTE)])

        store.prune(8 * MINUTE)

        assert store.agreement.streams == {EURUSD: Agreement(1, 1)}
        assert store.reader().kept_ticks(EURUSD, 4) == []


@pytest.mark.costly
def test_comparisons_that_cannot_be_stored_leave_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(path) as store:
        before = store.agreement
        unstorable = ComparedCandle(4, 4 * MINUTE, ROW, ((1, 1.0), (None, 1.0)))  # type: ignore[arg-type]

        with pytest.raises(TypeError):
            store.record_agreement(EURUSD, [unstorable])

        assert store.agreement == before
        store.commit([CandleBatch(EURUSD, 10, candle_rows(10, 1))])


def test_a_store_of_version_1_has_compared_nothing(tmp_path: Path) -> None:
    assert agreement_of(opened("store/closed", tmp_path) / "fluxcap.duckdb").streams == {}
