"""Puts rows into an archive's files: each file is whole at every instant, and holds each candle once.

New rows are joined with those of the file that is there, in a new file beside the archive's own folders; it is made
durable and takes the place of the old one, so that whoever opens the file sees the one or the other. (DuckDB opens it
twice: a query that meets the replacement in between, a matter of a millisecond, fails and is to be asked again.) Files
need no compaction: there is one per stream and day, and there never are parts.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from fluxcap.bridge.archive.partition import Partition
from fluxcap.bridge.system.files import disk_full_texts, replace_file, sync_file, sync_folder
from fluxcap.schemas.errors import ConfigError, StoreDamaged, StoreError, StoreFull

OWN_FOLDER = "_fluxcap"
"""Beside the data: Spark and Hive pass over names that begin so."""
MEMORY_LIMIT = "512MB"

COLUMNS = {
    "interval": "VARCHAR",
    "sequence": "BIGINT",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "ts_ms": "BIGINT",
    "open": "DOUBLE",
    "high": "DOUBLE",
    "low": "DOUBLE",
    "close": "DOUBLE",
    "volume": "DOUBLE",
    "tick_count": "BIGINT",
    "flags": "INTEGER",
    "revision": "BIGINT",
    "store_id": "VARCHAR",
}
"""Of every file; source, symbol and day are in its path. ``timestamp`` and ``ts_ms`` (UTC epoch milliseconds) are the
same instant, the candle's start. Whole numbers are signed, since not every reader knows others."""

_INCOMING = """SELECT $interval AS "interval", sequence::BIGINT AS sequence,
    make_timestamp(ts_ms * 1000) AT TIME ZONE 'UTC' AS "timestamp", ts_ms, open, high, low, close, volume,
    tick_count::BIGINT AS tick_count, flags::INTEGER AS flags, revision::BIGINT AS revision, store_id FROM incoming"""
# Of one candle the row with the highest revision. A minute without a sequence is known by its time.
_BEST = """QUALIFY row_number() OVER (
    PARTITION BY store_id, sequence, CASE WHEN sequence = 0 THEN ts_ms ELSE 0 END ORDER BY revision DESC) = 1
    ORDER BY ts_ms, store_id, sequence"""


class PartitionWriter:
    """The files of one archive; a context manager.

    Raises ConfigError for a path that cannot be used, StoreError where nothing can be written.
    """

    def __init__(self, folder: Path) -> None:
        if set("*?[") & set(str(folder)):
            raise ConfigError(f"The archive's path {folder} must not contain * ? or [: DuckDB reads them as wildcards.")
        self._folder = folder
        self._making = folder / OWN_FOLDER / "making"
        try:
            shutil.rmtree(self._making, ignore_errors=True)  # what a kill left behind
            self._making.mkdir(parents=True, exist_ok=True)
            self._connection = duckdb.connect(
                ":memory:", config={"memory_limit": MEMORY_LIMIT, "threads": 1, "temp_directory": str(self._making)}
            )
            self._connection.execute("SET TimeZone = 'UTC'")
            with contextlib.suppress(duckdb.CatalogException):  # an older DuckDB remembers nothing
                self._connection.execute("SET enable_external_file_cache = false")
        except (OSError, duckdb.Error) as error:
            raise StoreError(f"The archive {folder} cannot be written: {error}.") from error

    def write(self, parts: Iterable[tuple[Partition, npt.NDArray[np.void]]], stores: Sequence[str]) -> int:
        """Rows of ``ROW_DTYPE`` into the files where they belong, durably; how many files.

        Raises StoreFull, StoreDamaged (a file that is there cannot be read), StoreError. Then some files may have
        their rows and others not; to write all of them again does no harm.
        """
        changed: set[Path] = set()
        files = 0
        for partition, rows in parts:
            target = self._folder / partition.path
            try:
                self._make_folder(target.parent, changed)
                self._write_one(partition, target, rows, stores)
            except OSError as error:
                raise _translate_error(target, str(error.strerror or error)) from error
            changed.add(target.parent)
            files += 1
        for folder in sorted(changed):
            sync_folder(folder)
        return files

    def _make_folder(self, folder: Path, changed: set[Path]) -> None:
        """With all above it; each new name is made durable by its parent."""
        new = folder
        while not new.exists():
            changed.add(new.parent)
            new = new.parent
        folder.mkdir(parents=True, exist_ok=True)

    def _write_one(self, partition: Partition, target: Path, rows: npt.NDArray[np.void], stores: Sequence[str]) -> None:
        making = self._making / "candles.parquet"
        names = np.array(stores, dtype=object)
        incoming: dict[str, Any] = {name: np.ascontiguousarray(rows["candle"][name]) for name in _CANDLE_FIELDS}
        incoming |= {name: np.ascontiguousarray(rows[name]) for name in ("sequence", "revision")}
        incoming["store_id"] = names[rows["store"]]
        source = _INCOMING.replace("$interval", _quoted(partition.key.interval))
        if target.exists():
            there = f"read_parquet({_quoted(str(target))}, hive_partitioning = false)"
            source += f" UNION ALL BY NAME SELECT * FROM {there}"  # noqa: S608
        known = {"source": partition.key.source_id, "symbol": partition.key.symbol, "day": partition.date}
        marks = ", ".join(f"{name}: {_quoted(value)}" for name, value in known.items())
        fields = ", ".join(f'"{name}"' for name in COLUMNS)
        sql = (
            f"COPY (SELECT {fields} FROM ({source}) {_BEST}) TO {_quoted(str(making))} "  # noqa: S608
            f"(FORMAT parquet, COMPRESSION zstd, KV_METADATA {{{marks}}})"
        )
        try:
            self._connection.register("incoming", incoming)
            self._connection.execute(sql)
        except duckdb.Error as error:
            raise _translate_error(target, str(error).splitlines()[0]) from error
        finally:
            self._connection.unregister("incoming")
        sync_file(making)
        replace_file(making, target)

    def close(self) -> None:
        """Idempotent."""
        self._connection.close()
        with contextlib.suppress(OSError):
            shutil.rmtree(self._making)

    def __enter__(self) -> PartitionWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_CANDLE_FIELDS = ("ts_ms", "open", "high", "low", "close", "volume", "tick_count", "flags")


def _translate_error(target: Path, text: str) -> StoreError:
    if any(sign in text for sign in disk_full_texts()):
        return StoreFull(f"No space left for {target}, left unchanged. Free some space; the write is retried.")
    if any(sign in text for sign in ("No magic bytes", "not a Parquet file", "Invalid Input Error", "TProtocol")):
        return StoreDamaged(f"{target} is not a valid Parquet file; move it and archive with --from-start. ({text})")
    return StoreError(f"{target} cannot be written: {text}.")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
