"""fluxcap.bridge.server.commit_recovery: a commit that failed together with the store counts by what the store holds
afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxcap.bridge.server.commit_recovery import RecoveredCommits, UnresolvedCommits
from fluxcap.bridge.store.store import Store
from fluxcap.schemas.errors import StoreError, StoreFull
from fluxcap.schemas.types import CandleBatch
from tests.support.market.failing_store import lost_store
from tests.support.wire.samples import EURUSD, GBPUSD, candle_rows, minutes


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store.duckdb") as opened:
        yield opened


def batch(start: int, count: int = 1) -> CandleBatch:
    return CandleBatch(EURUSD, start, candle_rows(start, count))


def test_what_was_durable_is_held_and_told_to_who_tries_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    doubt = UnresolvedCommits(store)
    doubt.commit([batch(1)])
    doubtful = batch(2)
    with lost_store(monkeypatch), pytest.raises(StoreError):
        doubt.commit([doubtful])

    held = doubt.resolve()

    assert held == RecoveredCommits([doubtful], [])
    assert doubt.recovered_batch(EURUSD) is doubtful
    assert doubt.recovered_batch(GBPUSD) is None
    left = doubt.without_recovered(EURUSD, candle_rows(2, 3))
    assert minutes(left) == [3, 4]  # type: ignore[arg-type]
    doubt.acknowledge(EURUSD)
    assert doubt.recovered_batch(EURUSD) is None
    assert len(doubt.without_recovered(EURUSD, candle_rows(2, 3))) == 3


def test_what_was_not_durable_may_be_tried_again_whole(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    doubt = UnresolvedCommits(store)
    with lost_store(monkeypatch, durable=False), pytest.raises(StoreError):
        doubt.commit([batch(1)])

    held = doubt.resolve()
    doubt.commit([batch(1, 2)])

    assert held == RecoveredCommits([], [])
    assert doubt.recovered_batch(EURUSD) is None
    assert store.watermarks()[EURUSD].latest_sequence == 2


def test_without_a_loss_there_is_no_doubt(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    doubt = UnresolvedCommits(store)

    def full(items: int) -> None:
        raise StoreFull("no room")

    with monkeypatch.context() as patch:
        patch.setattr(store._space, "require_space", full)
        with pytest.raises(StoreFull):
            doubt.commit([batch(1)])

    assert doubt.resolve() is None


def test_a_store_that_was_read_anew_for_any_reason_is_told_once(store: Store) -> None:
    doubt = UnresolvedCommits(store)
    doubt.commit([batch(1, 5)])
    store.prune(0)

    assert [doubt.resolve(), doubt.resolve()] == [RecoveredCommits([], []), None]
