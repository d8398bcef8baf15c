"""bridge/export/table_file.py: any number of rows, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxcap.bridge.export.table_file import Column, TableWriter
from fluxcap.schemas.errors import ConfigError, StoreError
from tests.support.examples import examples

COLUMNS = {"name": Column.TEXT, "at": Column.TIME, "price": Column.PRICE, "count": Column.WHOLE}


def add(table: TableWriter, *rows: tuple[str, int, float, int]) -> None:
    names, times, prices, counts = zip(*rows, strict=True)
    table.add(
        {
            "name": np.array(names, object),
            "at": np.array(times, np.int64),
            "price": np.array(prices, np.float64),
            "count": np.array(counts, np.int64),
        }
    )


def read(path: Path, sql: str = "SELECT * FROM '{}'") -> list[tuple[object, ...]]:
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(sql.format(str(path).replace("'", "''"))).fetchall()


@pytest.mark.costly
def test_rows_of_many_pages_come_in_their_order(tmp_path: Path) -> None:
    with TableWriter(tmp_path / "t.csv", COLUMNS) as table:
        for page in range(50):
            add(table, *((f"p{page}", 1_000, 1.0, page * 1_000 + n) for n in range(1_000)))
        table.finish()

    counts = [int(line.rsplit(",", 1)[1]) for line in (tmp_path / "t.csv").read_text().splitlines()[1:]]
    assert counts == list(range(50_000))
    assert table.rows == 50_000


def test_rows_can_be_sorted_and_ties_stay_in_order(tmp_path: Path) -> None:
    with TableWriter(tmp_path / "t.csv", COLUMNS, order_by=("name", "at")) as table:
        add(table, ("b", 1_000, 1.0, 1), ("a", 3_000, 1.0, 2), ("a", 2_000, 1.0, 3), ("a", 2_000, 1.0, 4))
        table.finish()

    assert [line[-1] for line in (tmp_path / "t.csv").read_text().splitlines()[1:]] == ["3", "4", "2", "1"]


def test_a_time_of_zero_is_none(tmp_path: Path) -> None:
    with TableWriter(tmp_path / "t.csv", COLUMNS) as table:
        add(table, ("a", 0, 1.0, 1), ("b", 1_795_305_266_123, 1.0, 1))
        table.finish()

    assert (tmp_path / "t.csv").read_text().splitlines()[1:] == ["a,,1.0,1", "b,2026-11-21T23:54:26.123Z,1.0,1"]


@pytest.mark.costly
@settings(max_examples=examples(10), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(min_value=1e-9, max_value=1e12), min_size=1, max_size=1_000))
def test_prices_in_csv_have_no_exponent_and_every_digit(tmp_path: Path, prices: list[float]) -> None:
    with TableWriter(tmp_path / "t.csv", {"price": Column.PRICE}) as table:
        table.add({"price": np.array(prices)})
        table.finish()

    texts = (tmp_path / "t.csv").read_text().splitlines()[1:]
    assert [float(text) for text in texts] == prices
    assert not any("e" in text for text in texts)


def test_parquet_keeps_types(tmp_path: Path) -> None:
    with TableWriter(tmp_path / "t.parquet", COLUMNS) as table:
        add(table, ("a", 1_795_305_266_123, 9e-6, 7))
        table.finish()

    (row,) = read(tmp_path / "t.parquet", "SELECT name, epoch_ms(\"at\"), price, count FROM '{}'")
    assert row == ("a", 1_795_305_266_123, 9e-6, 7)
    assert {str(kind[1]) for kind in read(tmp_path / "t.parquet", "DESCRIBE SELECT * FROM '{}'")} == {
        "VARCHAR",
        "TIMESTAMP WITH TIME ZONE",
        "DOUBLE",
        "BIGINT",
    }


def test_nothing_is_left_behind_and_the_old_file_stays_when_it_is_not_finished(tmp_path: Path) -> None:
    target = tmp_path / "it's.csv"
    target.write_text("old")

    with TableWriter(target, COLUMNS) as table:
        add(table, ("a", 1, 1.0, 1))

    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_old_file_is_replaced_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "it's.csv"
    target.write_text("old")

    with TableWriter(target, COLUMNS) as table:
        add(table, ("a", 1, 1.0, 1))
        assert target.read_text() == "old"
        table.finish()

    assert target.read_text().startswith("name,at,price,count\na,")
    assert list(tmp_path.iterdir()) == [target]


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must end in \.csv or \.parquet"):
        TableWriter(tmp_path / "t.xlsx", COLUMNS)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no folder"):
        TableWriter(tmp_path / "absent" / "t.csv", COLUMNS)


def test_a_target_that_is_a_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").mkdir()

    with TableWriter(tmp_path / "t.csv", COLUMNS) as table, pytest.raises(StoreError, match="cannot be written"):
        table.finish()
