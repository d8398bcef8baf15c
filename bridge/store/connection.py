"""The one DuckDB instance of a store file in this process, its cursors, and what DuckDB's errors mean.

What DuckDB 2.0 does when a disk fills decides the shape of this file (measured on a full tmpfs):

- A commit whose write-ahead log cannot be written raises TransactionException, is rolled back whole, and the instance
  stays good.
- A checkpoint that cannot be written raises FatalException and invalidates the instance: every later statement fails
  until all connections are closed and the file is opened again. If it was DuckDB's own checkpoint after a commit, that
  commit is durable although ``commit()`` raised.

- A file that was deleted under the process goes on taking commits, into nowhere: its write-ahead log is even made again
  by its old name, beside whatever lies there by then. What was in the file can still be read.
- A file that could not be made whole is left behind, and cannot be opened any more.

So DuckDB's automatic checkpoints are off (the store makes them, after looking at the free space), and an invalidated
instance is reopened under the readers' feet: each cursor has a lock of its own, held only while it runs one query.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import duckdb
import numpy as np
import numpy.typing as npt

from fluxcap.bridge.system.files import disk_full_texts, is_full, is_held
from fluxcap.schemas.errors import StoreDamaged, StoreError, StoreFull, StoreLocked
from fluxcap.schemas.types import CANDLE_DTYPE, CandleArray

_log = logging.getLogger(__name__)

_LOCKED = ("Could not set lock on file", "File is already open in", "already open in this process")
_NOT_OPENED = "Cannot open file"
_DAMAGED = (
    "Corrupt",
    "not a valid DuckDB database file",
    "Failure while replaying WAL",
    "Failed to deserialize",
    "Could not read enough bytes",
    "Could not read all bytes",
)
DAMAGE_HINT = (
    "Nothing was changed. `fluxcap verify` shows details; `fluxcap verify --repair` keeps what is sound in a new store."
)
_NEWER = "Trying to read a database file with version number"

_SETTINGS = (
    "SET GLOBAL checkpoint_threshold = '1TB'",
    # Above this size DuckDB would skip the log and write a checkpoint within the commit: fatal on a full disk.
    "SET GLOBAL auto_checkpoint_skip_wal_threshold = 1000000000000",
)

_HEADERS_BYTES = 12_288
"""A DuckDB file that is shorter cannot hold a row: it was being made."""
_MAKING_S = 2.0
"""A shorter file that is younger may be another process's, which is making it now."""

DEFAULT_MEMORY_LIMIT = "512MB"

_open_files: set[Path] = set()
_open_files_lock = threading.Lock()


def store_error(error: Exception, path: Path) -> StoreError:
    """Convert a DuckDB error on the store at ``path`` to a StoreError."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if any(sign in str(error) for sign in disk_full_texts()):
        return StoreFull(f"No space left for {path}: nothing was stored. Free some space; it will be retried. ({text})")
    # Windows does not always tell DuckDB who holds a file, and says in the user's language that somebody does.
    if any(sign in str(error) for sign in _LOCKED) or (_NOT_OPENED in str(error) and is_held(path)):
        return StoreLocked(
            f"{path} is held by another process{_holder(str(error))}. Stop it, or use another data folder."
        )
    if _NEWER in str(error):
        return StoreError(f"{path} was written by a newer DuckDB; upgrade duckdb to read it. ({text})")
    if any(sign in str(error) for sign in _DAMAGED):
        return StoreDamaged(f"{path} is not a valid store: {text}. {DAMAGE_HINT}")
    return StoreError(f"{path}: {text}")


_HOLDER = re.compile(r"(?:Conflicting lock is held|File is already open) in\s+(.+? \(PID \d+\))")
"""In DuckDB's words; those of Windows before them, in its first line, are in the user's language."""


def _holder(text: str) -> str:
    """Name the process, and leave DuckDB's advice out: what it offers is not for a file that fluxcap writes."""
    found = _HOLDER.search(text)
    return f": {found[1]}" if found else ""


def _identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode of the file at a path, None without one."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _has_rows(path: Path) -> bool:
    """Return whether there is a file that may hold rows; one that was only begun is put out of the way."""
    log = path.with_name(f"{path.name}.wal")
    mark = path.with_name(f"{path.name}.mark")  # a store's: it has held candles
    if not path.is_file():
        return path.exists()
    found = path.stat()
    is_young = abs(time.time() - found.st_mtime) < _MAKING_S
    if found.st_size >= _HEADERS_BYTES or is_young or log.exists() or mark.exists():
        return True
    path.replace(path.with_name(f"{path.name}.unfinished"))
    _log.warning("%s was begun and never finished; it is now %s.unfinished", path, path.name)
    return False


class StoreConnection:
    """Opens the file, hands out cursors, and reopens it when DuckDB has given it up.

    Parameters
    ----------
    path
        The store's file. Its folder must exist.
    memory_limit
        What DuckDB may hold in memory, as it writes sizes ("512MB").
    read_only
        For looking at a store that nobody has open.

    Attributes
    ----------
    is_new
        Whether there was no file before.

    Raises StoreLocked, StoreDamaged, StoreFull or StoreError. A file that was just made and is not whole is gone then.
    """

    def __init__(self, path: Path, *, memory_limit: str = DEFAULT_MEMORY_LIMIT, read_only: bool = False) -> None:
        self.path = path
        self._config: dict[str, str | bool | int | float | list[str]] = {"memory_limit": memory_limit, "threads": 2}
        self._read_only = read_only
        self._cursors: weakref.WeakSet[StoreCursor] = weakref.WeakSet()
        self._reopening = threading.Lock()
        self._closed = False
        self._identity: tuple[int, int] | None = None
        self._rescued: Path | None = None
        """Where the content was written when another file had taken the place of ours."""
        self._claim = path.resolve()
        with _open_files_lock:
            # DuckDB would share one instance between two stores of a process, and both would number.
            if self._claim in _open_files:
                raise store_error(Exception("already open in this process"), path)
            _open_files.add(self._claim)
        try:
            self.is_new = not read_only and not _has_rows(path)
            self._root: duckdb.DuckDBPyConnection | None = self._connect()
        except BaseException:
            self._release()
            raise

    def _connect(self) -> duckdb.DuckDBPyConnection:
        try:
            root = duckdb.connect(str(self.path), read_only=self._read_only, config=self._config)
        except (duckdb.Error, OSError) as error:
            known = store_error(error, self.path)
            if self.is_new and not isinstance(known, StoreLocked):
                self._remove()
            raise known from error
        self._identity = _identity(self.path)
        for setting in _SETTINGS:
            with contextlib.suppress(duckdb.CatalogException):  # a DuckDB that has no such setting
                root.execute(setting)
        return root

    def cursor(self) -> StoreCursor:
        """A cursor for one more thread."""
        cursor = StoreCursor(self)
        self._cursors.add(cursor)
        return cursor

    def open_handle(self) -> duckdb.DuckDBPyConnection:
        """A bare DuckDB cursor, for StoreCursor alone. Raises StoreError when closed."""
        with self._reopening:
            if self._closed:
                raise StoreError(f"{self.path} is closed.")
            if self._root is None:
                self._root = self._connect()
            return self._root.cursor()

    def reopen(self) -> None:
        """Close every handle and reopen the file. Raises what opening raises; the next query tries again."""
        _log.warning("DuckDB closed %s after an error; reopening it", self.path)
        with self.released():
            pass

    @contextlib.contextmanager
    def released(self) -> Iterator[None]:
        """Close every handle and the file while this is held; at its end the file is open again, unless it raises."""
        with contextlib.ExitStack() as held:
            for cursor in list(self._cursors):
                held.enter_context(cursor.suspended())
            with self._reopening:
                self._close_root()
                yield
                self._root = self._connect()

    def is_in_place(self) -> bool:
        """Return whether the file is still where it was opened."""
        return self._closed or _identity(self.path) == self._identity

    def ensure_in_place(self) -> bool:
        """Write the file again if it was deleted, or moved away, under this process. Returns whether it was.

        Nothing is lost: what it held can be read until it is closed. Where another file has taken its place, that one
        is not touched, and what ours held is written beside it, once. Call it before each commit: it takes a system
        call while all is well. Raises StoreFull, StoreError; the next call tries again.
        """
        if self.is_in_place():
            return False
        if self.path.exists():
            self._report_replaced()
        rescued = self._write_copy(self.path.with_name(f"{self.path.name}.rescue"))
        # Made by DuckDB after the file was gone; the copy has what is in it.
        self.path.with_name(f"{self.path.name}.wal").unlink(missing_ok=True)
        rescued.rename(self.path)
        with self.released():
            pass
        return True

    def _report_replaced(self) -> NoReturn:
        if self._rescued is None:
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            self._rescued = self._write_copy(self.path.with_name(f"{self.path.name}.rescued-{stamp}"))
        raise StoreError(
            f"Another file has taken the place of {self.path} while it was in use. Nothing is stored until fluxcap is "
            f"started again, which goes on with the new file; {self._rescued} holds what the old one held."
        )

    def _write_copy(self, target: Path) -> Path:
        """Write all that the file holds to another one."""
        cursor = self.cursor()
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            for part in (target, target.with_name(f"{target.name}.wal")):
                part.unlink(missing_ok=True)
            size, free = self._held_bytes(cursor), shutil.disk_usage(target.parent).free
            if free < size:
                raise StoreFull(
                    f"{self.path} was deleted while it was in use; to write it again takes {size / 1e6:,.0f} MB, and "
                    f"{free / 1e6:,.0f} MB are free. Free some space; it will be retried."
                )
            name = str(target).replace("'", "''")
            source = cursor.rows("SELECT current_database()")[0][0].replace('"', '""')
            cursor.rows(f"ATTACH '{name}' AS rescued_file")
            try:
                cursor.rows(f'COPY FROM DATABASE "{source}" TO rescued_file')
                cursor.rows("CHECKPOINT rescued_file")
            finally:
                cursor.rows("DETACH rescued_file")
        except OSError as error:
            kind = StoreFull if is_full(error) else StoreError
            raise kind(f"{self.path} was deleted and cannot be written again: {error.strerror}.") from error
        return target

    def _held_bytes(self, cursor: StoreCursor) -> int:
        rows = cursor.rows(
            "SELECT coalesce(sum(used_blocks * block_size), 0) FROM pragma_database_size() "
            "WHERE database_name = current_database()"
        )
        return int(rows[0][0]) + _HEADERS_BYTES

    def discard(self) -> None:
        """Close, and remove the file if this made it: what could not be finished must not be in the way later."""
        self.close()
        if self.is_new:
            self._remove()

    def _remove(self) -> None:
        for part in (self.path.with_name(f"{self.path.name}.wal"), self.path):
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def close(self) -> None:
        """Close every handle and the file. Idempotent."""
        for cursor in list(self._cursors):
            with cursor.suspended():
                pass
        with self._reopening:
            self._closed = True
            self._close_root()
        self._release()

    def _close_root(self) -> None:
        if self._root is not None:
            if _identity(self.path) != self._identity:  # a checkpoint would remove the log of the file that is there
                with contextlib.suppress(duckdb.Error):
                    self._root.execute("PRAGMA disable_checkpoint_on_shutdown")
            # On a full disk the checkpoint on closing fails; the write-ahead log has everything all the same.
            with contextlib.suppress(duckdb.Error):
                self._root.close()
            self._root = None

    def _release(self) -> None:
        with _open_files_lock:
            _open_files.discard(self._claim)


class StoreCursor:
    """One thread's way into the store. Survives ``StoreConnection.reopen``."""

    def __init__(self, connection: StoreConnection) -> None:
        self._connection = connection
        self._lock = threading.RLock()
        self._handle: duckdb.DuckDBPyConnection | None = None

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """No handle, and no query, while this is held."""
        with self._lock:
            if self._handle is not None:
                with contextlib.suppress(duckdb.Error):
                    self._handle.close()
                self._handle = None
            yield

    @contextlib.contextmanager
    def _running(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._lock:
            if self._handle is None:
                self._handle = self._connection.open_handle()
            try:
                yield self._handle
            except duckdb.Error as error:
                raise store_error(error, self._connection.path) from error

    @property
    def is_new(self) -> bool:
        """Return whether the file was made by this process: nothing is in it."""
        return self._connection.is_new

    def is_served(self) -> bool:
        """Return whether DuckDB still serves the file; ``StoreConnection.reopen`` has it opened again."""
        try:
            self.rows("SELECT 1 FROM meta LIMIT 1")
        except StoreError:
            return False
        return True

    def columns(self, sql: str, parameters: Sequence[Any] = ()) -> dict[str, npt.NDArray[Any]]:
        """The result of a query as NumPy columns by name. Raises StoreError."""
        with self._running() as handle:
            result: dict[str, npt.NDArray[Any]] = handle.execute(sql, parameters).fetchnumpy()
            return result

    def candles(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[CandleArray, dict[str, npt.NDArray[Any]]]:
        """The result of a query for ``CANDLE_COLUMNS``, as candles and as ``columns`` gives it. Raises StoreError."""
        columns = self.columns(sql, parameters)
        candles = np.empty(len(columns["ts_ms"]), dtype=CANDLE_DTYPE)
        for name in CANDLE_DTYPE.names or ():
            candles[name] = columns[name]
        return candles, columns

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The result of a statement as rows. Raises StoreError."""
        with self._running() as handle:
            result: list[tuple[Any, ...]] = handle.execute(sql, parameters).fetchall()
            return result

    def load(self, sql: str, incoming: dict[str, npt.NDArray[Any]]) -> int:
        """Run a statement that reads NumPy columns as the table ``incoming``. Raises StoreError.

        Returns how many rows it inserted, updated or deleted.

        DuckDB finds ``incoming`` by its name in this frame. Of the ways in, this one costs least or nearly least at
        any size: 1.6 ms for one durable row (appender 1.5), 2.5 ms for 1,000 (appender 5.5, prepared inserts 860).
        """
        with self._running() as handle:
            columns = {name: np.ascontiguousarray(column) for name, column in incoming.items()}
            incoming = columns
            changed: list[tuple[int]] = handle.execute(sql).fetchall()
            return changed[0][0] if changed else 0

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing: commits at the end, rolls back when anything raises. Raises StoreError."""
        with self._running() as handle:
            handle.begin()
            try:
                yield
                handle.commit()
            except BaseException:
                with contextlib.suppress(duckdb.Error):
                    handle.rollback()
                raise
