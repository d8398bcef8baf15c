"""A store that lost what it had given is noticed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from fluxcap.bridge.store.high_water_mark import HighWaterMark, total_assigned
from fluxcap.bridge.store.store import Store
from fluxcap.schemas.errors import StoreDamaged, StoreRestored
from fluxcap.schemas.types import CandleBatch, Watermark
from tests.support.systems import not_on_windows
from tests.support.wire.samples import EURUSD, GBPUSD, candle_rows


def test_numbers_given_are_sequences_and_revisions() -> None:
    assert total_assigned({EURUSD: Watermark(5, 1, 2, 1), GBPUSD: Watermark(7)}) == 14


def test_a_mark_ahead_of_the_store_is_damage(tmp_path: Path) -> None:
    mark = HighWaterMark(tmp_path / "store", "identity")
    mark.write(10)

    mark.check(10)
    mark.check(11)
    with pytest.raises(StoreDamaged, match="lost 1 candles"):
        mark.check(9)
    mark.close()


def test_a_mark_outside_that_is_ahead_tells_of_a_backup(tmp_path: Path) -> None:
    mark = HighWaterMark(tmp_path / "data" / "store", "identity", tmp_path / "state")
    mark.write(10)
    mark.close()
    shutil.rmtree(tmp_path / "data")
    backup = HighWaterMark(tmp_path / "data" / "store", "identity", tmp_path / "state")

    backup.check(10)
    with pytest.raises(StoreRestored, match=r"of 10 candles .* it holds 9"):
        backup.check(9)
    HighWaterMark(tmp_path / "data" / "store", "another identity", tmp_path / "state").check(0)


def test_a_state_folder_that_cannot_be_made_keeps_nothing_from_starting(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")

    mark = HighWaterMark(tmp_path / "store", "identity", tmp_path / "state")
    mark.write(10)

    mark.check(10)
    mark.close()


@pytest.mark.costly
def test_a_store_with_a_new_identity_opens_again_and_clients_see_another(tmp_path: Path) -> None:
    path, state = tmp_path / "store.duckdb", tmp_path / "state"
    with Store.open(path, state_dir=state) as store:
        before = store.store_id
        store.commit([CandleBatch(EURUSD, 1, candle_rows(1, 3))])
    copies = {part: part.read_bytes() for part in (path, path.with_name("store.duckdb.wal")) if part.exists()}
    with Store.open(path, state_dir=state) as store:
        store.commit([CandleBatch(EURUSD, 4, candle_rows(4, 2))])
    for part in tmp_path.glob("store.duckdb*"):
        part.unlink()
    for part, content in copies.items():
        part.write_bytes(content)

    with pytest.raises(StoreRestored):
        Store.open(path, state_dir=state)
    with Store.open(path, state_dir=state, check_marks=False) as store:
        renewed = store.renew_identity()

    with Store.open(path, state_dir=state) as again:
        assert again.store_id == renewed != before
        assert again.watermarks()[EURUSD].latest_sequence == 3
        again.commit([CandleBatch(EURUSD, 4, candle_rows(9, 1))])


@pytest.mark.parametrize("content", ["", "other 00000000000000000010\n", "identity x\n", "identity\n", "ü", "a b c"])
def test_a_mark_of_another_store_or_unreadable_means_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "store.mark").write_text(content)

    HighWaterMark(tmp_path / "store", "identity").check(0)


def test_a_later_mark_overwrites_an_earlier(tmp_path: Path) -> None:
    mark = HighWaterMark(tmp_path / "store", "identity")
    for given in (999, 5):
        mark.write(given)
    mark.check(5)
    mark.close()
    mark.close()


def test_a_mark_that_cannot_be_written_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "absent").write_text("no folder")

    HighWaterMark(tmp_path / "absent" / "store", "identity").write(1)


@pytest.mark.costly
@not_on_windows("nobody can copy a store that is open there")
def test_a_store_without_its_log_is_not_opened(tmp_path: Path) -> None:
    path, copy = tmp_path / "store.duckdb", tmp_path / "copy"
    copy.mkdir()
    with Store.open(path) as store:
        store.commit([CandleBatch(EURUSD, 1, candle_rows(1, 3))])
        store.checkpoint()
        store.commit([CandleBatch(EURUSD, 4, candle_rows(4, 2))])
        for part in tmp_path.glob("store.duckdb*"):  # as a crash would leave them
            shutil.copy(part, copy)
    os.unlink(copy / "store.duckdb.wal")

    with pytest.raises(StoreDamaged, match="lost 2 candles"):
        Store.open(copy / "store.duckdb")
