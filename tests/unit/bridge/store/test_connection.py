"""What DuckDB's errors mean, and that an instance it gave up is opened again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fluxcap.bridge.store import connection as store_connection
from fluxcap.bridge.store.connection import StoreConnection, store_error
from fluxcap.schemas.errors import StoreDamaged, StoreError, StoreFull, StoreLocked

STORE = Path("store.duckdb")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('Failed to commit: Could not write file "x.wal": No space left on device', StoreFull),
        ('Failed to create checkpoint because of error: Could not write file "x": File too large', StoreFull),
        ("Disk quota exceeded", StoreFull),
        ('Could not set lock on file "x": Conflicting lock is held in python (PID 12)', StoreLocked),
        ('Cannot open file "x": Datei wird verwendet.\n\nFile is already open in \nC:\\py.exe (PID 12)', StoreLocked),
        ("Corrupt database file: computed checksum 1 does not match stored checksum 2", StoreDamaged),
        ('The file "x" exists, but it is not a valid DuckDB database file!', StoreDamaged),
        ('Failure while replaying WAL file "x.wal": Corrupt WAL file', StoreDamaged),
        ("Trying to read a database file with version number 99, but we can only read 64", StoreError),
        ("something nobody has seen", StoreError),
    ],
)
def test_an_error_of_duckdb_becomes_the_one_that_says_what_to_do(text: str, kind: type[StoreError]) -> None:
    assert type(store_error(Exception(text), STORE)) is kind


def test_the_holder_of_a_lock_is_named() -> None:
    text = 'Could not set lock on file "x": Conflicting lock is held in /usr/bin/python (PID 12). See also https://a.b'

    assert ": /usr/bin/python (PID 12). Stop it" in str(store_error(Exception(text), STORE))


def test_the_holder_of_a_lock_on_windows_is_named_in_any_language() -> None:
    """DuckDB's first line is Windows' own, in the user's language; its second is not."""
    text = (
        'IO Error: Cannot open file "x": Der Prozess kann nicht auf die Datei zugreifen, da sie von einem anderen '
        "Prozess verwendet wird.\n\nFile is already open in \nC:\\Program Files\\Python\\python.exe (PID 4711)"
    )

    said = str(store_error(Exception(text), STORE))

    assert said == (
        "store.duckdb is held by another process: C:\\Program Files\\Python\\python.exe (PID 4711). Stop it, or use "
        "another data folder."
    )


def test_a_file_that_somebody_holds_is_recognised_where_windows_does_not_say_who(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store_connection, "is_held", lambda path: path == STORE)

    said = store_error(Exception('IO Error: Cannot open file "x": Die Datei wird von jemandem verwendet.'), STORE)

    assert isinstance(said, StoreLocked)
    assert str(said) == "store.duckdb is held by another process. Stop it, or use another data folder."


@pytest.mark.parametrize(
    "advice",
    [
        ". However, you would be able to open this database in read-only mode, e.g. by using the -readonly parameter "
        "in the CLI. See also https://duckdb.org/docs/stable/connect/concurrency",
        " by user trader. See also https://duckdb.org/docs/stable/connect/concurrency",
        "",
    ],
)
def test_the_advice_of_duckdb_is_not_passed_on(advice: str) -> None:
    text = f'IO Error: Could not set lock on file "x": Conflicting lock is held in /usr/bin/python (PID 12){advice}'

    said = str(store_error(Exception(text), STORE))

    assert said == (
        "store.duckdb is held by another process: /usr/bin/python (PID 12). Stop it, or use another data folder."
    )


def test_cursors_survive_reopening(tmp_path: Path) -> None:
    connection = StoreConnection(tmp_path / "store.duckdb")
    writer, reader = connection.cursor(), connection.cursor()
    writer.rows("CREATE TABLE numbers (n BIGINT)")
    writer.load("INSERT INTO numbers SELECT * FROM incoming", {"n": np.arange(3)})
    reader.rows("SELECT * FROM numbers")

    connection.reopen()

    assert reader.rows("SELECT sum(n) FROM numbers") == [(3,)]
    assert writer.columns("SELECT n FROM numbers")["n"].tolist() == [0, 1, 2]
    connection.close()


def test_a_transaction_that_raises_is_rolled_back(tmp_path: Path) -> None:
    connection = StoreConnection(tmp_path / "store.duckdb")
    cursor = connection.cursor()
    cursor.rows("CREATE TABLE numbers (n BIGINT)")

    def failing() -> None:
        with cursor.transaction():
            cursor.rows("INSERT INTO numbers VALUES (1)")
            cursor.rows("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(StoreError):
        failing()

    assert cursor.rows("SELECT count(*) FROM numbers") == [(0,)]
    connection.close()


def test_columns_that_are_views_with_strides_are_stored_as_they_read(tmp_path: Path) -> None:
    connection = StoreConnection(tmp_path / "store.duckdb")
    cursor = connection.cursor()
    cursor.rows("CREATE TABLE numbers (n BIGINT)")
    rows = np.zeros(4, dtype=[("other", "<i4"), ("n", "<i8")])
    rows["n"] = [5, 6, 7, 8]

    cursor.load("INSERT INTO numbers SELECT * FROM incoming", {"n": rows["n"][::-1]})

    assert cursor.columns("SELECT n FROM numbers")["n"].tolist() == [8, 7, 6, 5]
    connection.close()


def test_a_read_only_connection_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    StoreConnection(path).close()
    connection = StoreConnection(path, read_only=True)

    with pytest.raises(StoreError, match="read-only"):
        connection.cursor().rows("CREATE TABLE numbers (n BIGINT)")

    connection.close()


def test_a_folder_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        StoreConnection(tmp_path)
