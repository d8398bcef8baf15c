"""A repaired store holds all that was sound, and says what is lost."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pytest

from fluxcap.bridge.server.sequencer import Sequencer
from fluxcap.bridge.store.repair import LOST, repair
from fluxcap.bridge.store.store import Store
from fluxcap.bridge.store.universe import Listing
from fluxcap.bridge.store.verify import verify
from fluxcap.schemas.errors import StoreDamaged, StoreError, StoreLocked
from fluxcap.schemas.types import Gap, StreamKey
from tests.support.golden import expected, opened
from tests.support.systems import not_on_windows
from tests.support.wire.samples import EURUSD, GBPUSD, MINUTE, candle, candle_rows, minutes

pytestmark = pytest.mark.costly

NOW = 1_700_000_000_000
CLOSED = Gap("SIM", "EURUSD_otc", 5 * MINUTE, 6 * MINUTE, "tab closed")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store: 20 candles of two streams, those of minutes 5 and 6 revised, a minute that only a revision has."""
    file = tmp_path / "store.duckdb"
    with Store.open(file, lambda: NOW) as store:
        sequencer = Sequencer({})
        for key in (EURUSD, GBPUSD):
            batch = sequencer.number(key, candle_rows(1, 20))
            store.commit([batch])
            sequencer.confirm(batch)
        store.commit(gaps=[CLOSED])
        revision = sequencer.revise(EURUSD, [5, 6, 0], [candle(5, 1.7), candle(6, 1.8), candle(3, 1.6)])
        store.commit(revisions=[revision])
        store.replace_universe([Listing(None, None, "EURUSD_otc", None, None, None)])
        store.keep_offset("SIM", 7_200_000)
    return file


def harm(path: Path, *statements: str) -> None:
    with duckdb.connect(str(path)) as other:
        for statement in statements:
            other.execute(statement)


def test_a_hole_becomes_a_gap_and_the_rest_is_numbered_without_one(path: Path) -> None:
    with Store.open(path) as store:
        before = store.store_id
        whole = store.reader().page(EURUSD).candles
    harm(path, "DELETE FROM candles_fresh WHERE stream_id = 1 AND sequence IN (9, 10)")

    report = repair(path)

    assert (report.streams, report.candles, report.lost_candles, report.revisions) == (2, 38, 2, 3)
    assert not report.newest_may_be_lost
    assert verify(path) == []
    with Store.open(path) as store:
        reader = store.reader()
        assert store.store_id == report.store_id != before
        assert np.array_equal(reader.page(EURUSD).candles, np.delete(whole, [8, 9]))
        assert reader.page(EURUSD).start_sequence == 1
        assert minutes(reader.page(GBPUSD).candles) == list(range(1, 21))
        assert reader.gaps() == [CLOSED, Gap("SIM", "EURUSD_otc", 9 * MINUTE, 11 * MINUTE, LOST)]
        assert reader.revisions(EURUSD).sequences.tolist() == [5, 6, 0]
        assert reader.first_versions(EURUSD)[0].tolist() == [5, 6]
        assert set(reader.sealed_ms(EURUSD).tolist()) == {NOW}
        assert [change.gap for change in reader.gap_changes()] == [CLOSED]
        assert [listing.symbol for listing in reader.universe()] == ["EURUSD_otc"]
        assert store.kept_offset("SIM") == (7_200_000, NOW)


@pytest.mark.parametrize(
    ("damage", "lost"),
    [
        ("INSERT INTO candles_fresh SELECT * FROM candles_fresh WHERE stream_id = 1 AND sequence = 7", []),
        ("UPDATE candles_fresh SET ts_ms = 60000 WHERE stream_id = 1 AND sequence = 7", [7]),
        ("UPDATE candles_fresh SET ts_ms = 9000000000000 WHERE stream_id = 1 AND sequence = 7", [7]),
        ("UPDATE candles_fresh SET high = 'nan' WHERE stream_id = 1 AND sequence = 7", [7]),
        ("UPDATE candles_fresh SET close = 1.1 WHERE stream_id = 1 AND sequence = 5", []),
        ("DELETE FROM candles_fresh WHERE stream_id = 1 AND sequence = 5", []),
        ("DELETE FROM revisions WHERE revision = 2", []),
        ("DELETE FROM meta", []),
        ("DROP TABLE gaps", []),
    ],
    ids=[
        "row twice",
        "time goes back",
        "time far ahead",
        "no candle",
        "differs from its revision",
        "lost, but revised",
        "revision lost",
        "no identity",
        "no gaps",
    ],
)
def test_a_repaired_store_is_sound_and_lost_no_more_than_was_damaged(path: Path, damage: str, lost: list[int]) -> None:
    with Store.open(path) as store:
        whole = store.reader().page(EURUSD).candles
    harm(path, damage)
    assert verify(path) != []

    report = repair(path)

    assert verify(path) == []
    assert report.lost_candles == len(lost)
    with Store.open(path) as store:
        assert np.array_equal(store.reader().page(EURUSD).candles, np.delete(whole, [number - 1 for number in lost]))
        told = [gap for gap in store.reader().gaps() if gap.reason == LOST]
        assert told == [Gap("SIM", "EURUSD_otc", n * MINUTE, (n + 1) * MINUTE, LOST) for n in lost]


def test_a_store_that_lost_its_newest_keeps_the_rest_and_leaves_a_gap_open(tmp_path: Path) -> None:
    path = opened("store/killed", tmp_path) / "fluxcap.duckdb"
    path.with_name("fluxcap.duckdb.wal").unlink()

    report = repair(path)

    assert report.newest_may_be_lost
    assert verify(path) == []
    with Store.open(path) as store:
        for key, mark in store.watermarks().items():
            open_ones = [gap for gap in store.reader().gaps(key.source_id, key.symbol) if not gap.to_ms]
            assert open_ones
            assert mark.latest_sequence <= expected("store/killed")["streams"][str(key)]["watermark"]["latest_sequence"]


@not_on_windows("nobody can copy a store that is open there")
def test_a_write_ahead_log_that_cannot_be_read_is_left_out(path: Path) -> None:
    log = path.with_name("store.duckdb.wal")
    with Store.open(path) as store:
        store.commit([Sequencer(store.watermarks()).number(EURUSD, candle_rows(21, 5))])
        content = bytearray(log.read_bytes())
    for at in range(len(content) // 3, len(content)):
        content[at] ^= 0x5A
    damaged = path.with_name("damaged.duckdb")
    damaged.write_bytes(path.read_bytes())
    damaged.with_name("damaged.duckdb.wal").write_bytes(content)
    damaged.with_name("damaged.duckdb.mark").write_bytes(path.with_name("store.duckdb.mark").read_bytes())

    report = repair(damaged)

    assert report.newest_may_be_lost
    assert verify(damaged) == []
    assert Path(report.set_aside + ".wal").read_bytes() == content


def test_a_block_that_cannot_be_read_costs_its_own_rows_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    keys = [StreamKey("SIM", f"S{number}", "1m") for number in range(4)]
    rng = np.random.default_rng(7)
    with Store.open(path) as store:
        sequencer = Sequencer({})
        for key in keys:
            rows = candle_rows(1, 50_000)
            rows["open"] = rows["close"] = rng.uniform(0.6, 1.9, len(rows))  # not compressible: many blocks
            batch = sequencer.number(key, rows)
            store.commit([batch])
            sequencer.confirm(batch)
        store.checkpoint()
    content = path.read_bytes()
    for eighth in range(3, 8):  # not each block of a file is in use
        harmed = bytearray(content)
        harmed[len(content) * eighth // 8] ^= 0xFF
        path.write_bytes(harmed)
        if verify(path):
            break
    assert verify(path) != []

    report = repair(path)

    assert verify(path) == []
    assert 0 < report.candles < 200_000
    assert report.candles + report.lost_candles <= 200_000
    assert report.unread
    with Store.open(path) as store:
        whole = [
            key for key in keys if store.watermarks().get(key) and store.watermarks()[key].latest_sequence == 50_000
        ]
        assert len(whole) >= 2


def test_the_damaged_file_is_kept_as_it_was(path: Path) -> None:
    harm(path, "DELETE FROM candles_fresh WHERE sequence = 9")
    before = path.read_bytes()

    report = repair(path)

    assert Path(report.set_aside).read_bytes() == before
    assert {file.name for file in path.parent.iterdir() if "damaged" not in file.name} == {path.name}


def test_a_file_of_which_nothing_can_be_read_is_left_alone_and_the_way_out_is_said(path: Path) -> None:
    path.write_bytes(b"nothing of a store" * 2_000)
    before = path.read_bytes()

    with pytest.raises(StoreDamaged, match=r"Nothing can be read .* --set-aside"):
        repair(path)

    assert path.read_bytes() == before
    assert {file.name for file in path.parent.iterdir()} == {path.name, f"{path.name}.mark"}


def test_a_store_in_use_or_of_a_newer_fluxcap_is_not_repaired(path: Path) -> None:
    with Store.open(path), pytest.raises(StoreLocked):
        repair(path)
    harm(path, "UPDATE meta SET value = '99' WHERE name = 'schema_version'")

    with pytest.raises(StoreError, match="newer fluxcap"):
        repair(path)
