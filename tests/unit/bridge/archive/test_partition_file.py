"""fluxcap.bridge.archive.partition_file: each candle once, whole files, plain types."""

from __future__ import annotations

import datetime
import os
import stat
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow.dataset
import pytest

from fluxcap.bridge.archive.partition import Partition
from fluxcap.bridge.archive.partition_file import COLUMNS, PartitionWriter, _translate_error
from fluxcap.bridge.archive.rows import ROW_DTYPE
from fluxcap.schemas.errors import ConfigError, StoreDamaged, StoreError, StoreFull
from fluxcap.schemas.types import CandleArray, StreamKey
from tests.support.wire.samples import candle_rows

PARTITION = Partition(StreamKey("S'1", "#A/B", "1m"), 0)
READ = "read_parquet('{0}/**/*.parquet', hive_partitioning = true)"


def rows(sequences: list[int], candles: CandleArray, revision: int = 0, store: int = 0) -> npt.NDArray[np.void]:
    found = np.empty(len(candles), ROW_DTYPE)
    found["store"], found["sequence"], found["revision"], found["candle"] = store, sequences, revision, candles
    return found


def shown(folder: Path, columns: str = "sequence, revision, close, store_id") -> list[tuple[Any, ...]]:
    return duckdb.sql(f"SELECT {columns} FROM {READ.format(folder)} ORDER BY ts_ms, store_id").fetchall()


def test_a_file_holds_what_was_written_with_plain_types(tmp_path: Path) -> None:
    with PartitionWriter(tmp_path) as files:
        assert files.write([(PARTITION, rows([1, 2], candle_rows(1, 2)))], ["a"]) == 1

    table = duckdb.sql(f"SELECT * FROM {READ.format(tmp_path)}")
    types = dict(zip(table.columns, map(str, table.types), strict=True))

    assert types == COLUMNS | {"day": "DATE", "source": "VARCHAR", "symbol": "VARCHAR"}
    assert shown(tmp_path, 'source, symbol, day, "interval", sequence, ts_ms')[0] == (
        *("S'1", "#A/B", datetime.date(1970, 1, 1), "1m"),
        *(1, 60_000),
    )
    [instant] = duckdb.sql(f"SELECT epoch_ms(min(timestamp)) FROM {READ.format(tmp_path)}").fetchall()
    assert instant == (60_000,)


def test_arrow_reads_the_same(tmp_path: Path) -> None:
    with PartitionWriter(tmp_path) as files:
        files.write([(PARTITION, rows([1, 2], candle_rows(1, 2)))], ["a"])

    table = pyarrow.dataset.dataset(tmp_path, partitioning="hive", format="parquet", exclude_invalid_files=False)
    [first, _] = table.to_table().to_pylist()

    assert (first["source"], first["symbol"], first["day"], first["sequence"]) == ("S'1", "#A/B", "1970-01-01", 1)
    assert first["timestamp"] == datetime.datetime(1970, 1, 1, 0, 1, tzinfo=datetime.UTC)


@pytest.mark.costly
def test_each_candle_is_there_once_as_its_highest_revision_has_it_in_whatever_order_rows_come(tmp_path: Path) -> None:
    better = candle_rows(2, 1)
    best = candle_rows(2, 1)
    better["close"], best["close"] = 1.6, 1.7
    written = [
        rows([2], best, revision=7),
        rows([1, 2, 3], candle_rows(1, 3)),
        rows([2], better, revision=6),
        rows([1, 2, 3], candle_rows(1, 3)),
    ]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2]):
        folder = tmp_path / "".join(map(str, order))
        with PartitionWriter(folder) as files:
            for place in order:
                files.write([(PARTITION, written[place])], ["a"])

        found = shown(folder)

        closes = candle_rows(1, 3)["close"].tolist()
        assert found == [(1, 0, closes[0], "a"), (2, 7, 1.7, "a"), (3, 0, closes[2], "a")]


def test_minutes_without_a_sequence_are_known_by_their_time(tmp_path: Path) -> None:
    late = candle_rows(4, 1)
    late["close"] = 1.6
    with PartitionWriter(tmp_path) as files:
        files.write([(PARTITION, rows([0, 0], candle_rows(4, 2), revision=1))], ["a"])
        files.write([(PARTITION, rows([0], late, revision=3))], ["a"])

    assert [(row[0], row[1], row[2]) for row in shown(tmp_path)] == [
        (0, 3, 1.6),
        (0, 1, candle_rows(5, 1)["close"][0]),
    ]


def test_sequences_of_another_store_are_other_candles(tmp_path: Path) -> None:
    with PartitionWriter(tmp_path) as files:
        files.write([(PARTITION, rows([1], candle_rows(1, 1), store=0))], ["a", "b"])
        files.write([(PARTITION, rows([1], candle_rows(1, 1), store=1))], ["a", "b"])

    assert [(row[0], row[3]) for row in shown(tmp_path)] == [(1, "a"), (1, "b")]


def test_a_file_that_cannot_be_read_is_left_alone_and_named(tmp_path: Path) -> None:
    target = tmp_path / PARTITION.path
    target.parent.mkdir(parents=True)
    target.write_bytes(b"not parquet")
    with PartitionWriter(tmp_path) as files, pytest.raises(StoreDamaged, match="--from-start"):
        files.write([(PARTITION, rows([1], candle_rows(1, 1)))], ["a"])

    assert target.read_bytes() == b"not parquet"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("IO Error: Could not write file: No space left on device", StoreFull),
        ("Disk quota exceeded", StoreFull),
        ("Invalid Input Error: No magic bytes found", StoreDamaged),
        ("Permission denied", StoreError),
    ],
)
def test_what_keeps_a_file_from_being_written_is_told_apart(text: str, kind: type[StoreError]) -> None:
    assert type(_translate_error(Path("x.parquet"), text)) is kind


def test_nothing_is_left_beside_the_files(tmp_path: Path) -> None:
    leftover = tmp_path / "_fluxcap" / "making" / "candles.parquet"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")

    with PartitionWriter(tmp_path) as files:
        files.write([(PARTITION, rows([1], candle_rows(1, 1)))], ["a"])

    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["candles-1m.parquet"]


def test_a_file_is_made_durable_through_a_descriptor_that_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows refuses any other."""
    synced = []

    def sync(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.write(descriptor, b"")
            synced.append(descriptor)

    monkeypatch.setattr("os.fsync", sync)
    with PartitionWriter(tmp_path) as files:
        files.write([(PARTITION, rows([1], candle_rows(1, 1)))], ["a"])

    assert synced


def test_a_place_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        PartitionWriter(tmp_path / "file")
    with pytest.raises(ConfigError, match="must not contain"):
        PartitionWriter(tmp_path / "a[1]")
