"""Any number of rows to one CSV or Parquet file, whole or not at all.

Rows are gathered in a DuckDB instance that moves to the disk beside the target what exceeds its memory; ``finish``
writes them as one file, makes it durable, and puts it in the place of what was there.
"""

from __future__ import annotations

import enum
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from fluxcap.bridge.system.files import replace_file, sync_file
from fluxcap.schemas.errors import ConfigError, StoreError

MEMORY_LIMIT = "512MB"
_FORMATS = {
    ".csv": "FORMAT csv, HEADER true",
    ".parquet": "FORMAT parquet, COMPRESSION zstd",
}
# The shortest decimal of a double, which DuckDB writes with an exponent below 1e-4: spelled out, no digit lost.
_PLAIN = """CREATE MACRO plain(x) AS CASE
    WHEN abs(x) < 1e-4 AND x <> 0
    THEN coalesce(rtrim(CAST(TRY_CAST(CAST(x AS VARCHAR) AS DECIMAL(38, 30)) AS VARCHAR), '0'), CAST(x AS VARCHAR))
    ELSE CAST(x AS VARCHAR) END"""


class Column(enum.Enum):
    """A column's type: its array type, and its form in CSV and in Parquet."""

    TEXT = ("VARCHAR", '"{0}"', '"{0}"')
    WHOLE = ("BIGINT", '"{0}"', '"{0}"')
    NUMBER = ("DOUBLE", '"{0}"', '"{0}"')
    PRICE = ("DOUBLE", 'plain("{0}") AS "{0}"', '"{0}"')
    """In CSV the shortest decimal that reads back as the same double, never with an exponent."""
    TIME = (
        "BIGINT",
        'strftime(make_timestamp(nullif("{0}", 0) * 1000), \'%Y-%m-%dT%H:%M:%S.%gZ\') AS "{0}"',
        'make_timestamp(nullif("{0}", 0) * 1000) AT TIME ZONE \'UTC\' AS "{0}"',
    )
    """Given in UTC epoch milliseconds, 0 for none. In CSV as ISO 8601, in Parquet as a time stamp with time zone."""


class TableWriter:
    """One file in the making; a context manager that leaves nothing behind but the file.

    Parameters
    ----------
    target
        ``….csv`` or ``….parquet``.
    columns
        Their names and what they hold, in order.
    order_by
        Names to sort by; rows alike stay in the order they came. Without, all do.

    Raises ConfigError for another ending, StoreError when nothing can be written there.
    """

    def __init__(self, target: Path, columns: Mapping[str, Column], order_by: tuple[str, ...] = ()) -> None:
        self.target = target
        self.rows = 0
        self._columns = dict(columns)
        self._order_by = order_by
        self._ending = target.suffix.lower()
        if self._ending not in _FORMATS:
            raise ConfigError(f"{target} must end in .csv or .parquet; the ending chooses the format.")
        if not target.parent.is_dir():
            raise StoreError(f"{target} cannot be written: there is no folder {target.parent}; make it first.")
        try:
            self._folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
        except OSError as error:
            raise StoreError(f"{target} cannot be written: {error.strerror or error}.") from error
        try:
            self._connection = duckdb.connect(
                ":memory:", config={"memory_limit": MEMORY_LIMIT, "temp_directory": str(self._folder)}
            )
            self._connection.execute("SET TimeZone = 'UTC'")
            self._connection.execute(_PLAIN)
            fields = ", ".join(f'"{name}" {column.value[0]}' for name, column in self._columns.items())
            self._connection.execute(f"CREATE TABLE gathered ({fields})")
        except duckdb.Error as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise StoreError(f"{target} cannot be written: {error}.") from error

    def add(self, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        """Gather rows, a column per name, all of one length. Raises StoreError."""
        incoming = {name: np.ascontiguousarray(columns[name]) for name in self._columns}
        length = len(next(iter(incoming.values())))
        if not length:
            return
        try:
            self._connection.register("incoming", incoming)
            self._connection.execute("INSERT INTO gathered SELECT * FROM incoming")
            self._connection.unregister("incoming")
        except duckdb.Error as error:
            raise StoreError(f"{self.target} cannot be written: {error}.") from error
        self.rows += length

    def finish(self) -> Path:
        """Write the file; returns its path. Raises StoreError, and then what was there before is there still."""
        part = self._folder / f"whole{self._ending}"
        destination = str(part).replace("'", "''")
        try:
            self._connection.execute(f"COPY ({self._select()}) TO '{destination}' ({_FORMATS[self._ending]})")
            sync_file(part)
            replace_file(part, self.target)
        except (duckdb.Error, OSError) as error:
            raise StoreError(f"{self.target} cannot be written: {error}.") from error
        return self.target

    def _select(self) -> str:
        spelling = 1 if self._ending == ".csv" else 2
        fields = ", ".join(column.value[spelling].format(name) for name, column in self._columns.items())
        order = ", ".join([*(f'gathered."{name}"' for name in self._order_by), "rowid"])
        return f"SELECT {fields} FROM gathered ORDER BY {order}"  # noqa: S608

    def close(self) -> None:
        """Remove what was gathered. Idempotent."""
        self._connection.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
