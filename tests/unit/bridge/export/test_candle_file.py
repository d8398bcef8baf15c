"""fluxcap.bridge.export.candle_file: CSV and Parquet, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from fluxcap.bridge.export.candle_file import export_candles
from fluxcap.schemas.errors import ConfigError, StoreError
from fluxcap.schemas.types import Candle, candle_array

ROWS = candle_array(
    [
        Candle(1_768_123_800_000, 1.08512, 1.08530, 1.08500, 1.08521, 120.0, 120, 0),
        Candle(1_768_123_860_000, 9e-6, 9.1e-6, 8.9e-6, 9e-6, 3.0, 3, 5),
    ]
)


def test_csv_has_utc_times_and_the_columns_that_are_documented(tmp_path: Path) -> None:
    path = export_candles(ROWS, tmp_path / "c.csv")

    lines = path.read_text().splitlines()
    assert lines[0] == "timestamp,open,high,low,close,volume,tick_count,flags"
    assert lines[1] == "2026-01-11T09:30:00.000Z,1.08512,1.0853,1.085,1.08521,120.0,120,0"
    assert len(lines) == 3


def test_parquet_gives_back_the_same_numbers(tmp_path: Path) -> None:
    path = export_candles(ROWS, tmp_path / "c.parquet")

    with duckdb.connect(":memory:") as connection:
        rows = connection.execute(
            "SELECT epoch_ms(timestamp), open, high, low, close, volume, tick_count, flags FROM read_parquet(?)",
            [str(path)],
        ).fetchall()
    assert rows == ROWS.tolist()


def test_no_candles_make_a_file_with_a_header(tmp_path: Path) -> None:
    path = export_candles(ROWS[:0], tmp_path / "c.csv")

    assert path.read_text().startswith("timestamp,open")


def test_an_existing_file_is_replaced_and_nothing_else_left(tmp_path: Path) -> None:
    (tmp_path / "it's.csv").write_text("old")

    export_candles(ROWS, tmp_path / "it's.csv")

    assert [path.name for path in tmp_path.iterdir()] == ["it's.csv"]
    assert "2026" in (tmp_path / "it's.csv").read_text()


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="parquet"):
        export_candles(ROWS, tmp_path / "c.xlsx")


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        export_candles(ROWS, tmp_path / "absent" / "c.csv")
