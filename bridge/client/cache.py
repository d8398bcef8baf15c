"""The client's own copy of its streams: candles and cursor, merged in one transaction, so that both or neither survive.

``CandleCache`` keeps them in ``client.duckdb``; after a kill at any instant the cursor tells exactly which candles are
there, and the client goes on from it. ``NoCache`` keeps nothing but the cursors, and those in memory.

Tables: ``candles`` (stream, sequence and the candle), ``extra_candles`` (minutes that only a revision brought, which
have no sequence), ``cursors`` (``live_cursor.<source>.<symbol>.<interval>`` and a JSON of store_id, latest_sequence,
latest_ts_ms, latest_revision: the name that desktop clients use).

Cursors are appended while the file is in use, and the last row of a name counts: DuckDB keeps something of each row
that is written over or deleted until the file is closed, and to add a row takes half as long. Every so many rows the
table is made anew with one row a name. A file that was closed has the tables of fluxcap 0.1.0; one that was killed says
to 0.1.0 that it is newer.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from fluxcap.bridge.client.receiver.actions import Cursor
from fluxcap.bridge.store.schema import (
    CANDLE_COLUMNS,
    CANDLE_DEFINITION,
    candle_columns,
)
from fluxcap.schemas.candles import joined_rows
from fluxcap.schemas.errors import ConfigError, StoreDamaged, StoreError, StoreFull
from fluxcap.schemas.types import CANDLE_DTYPE, CandleArray, StreamKey

if TYPE_CHECKING:
    from pathlib import Path

    from fluxcap.bridge.store.connection import StoreCursor

_log = logging.getLogger(__name__)

CACHE_FILE = "client.duckdb"
CHECKPOINT_ROWS = 200_000
"""Rows, or commits in hundreds of rows' worth, after which the write-ahead log is folded into the file."""
_COMMIT_WEIGHT = 100
CURSOR_ROWS = 16_384
"""Rows of cursors after which their table is made anew; of many streams, four rows of each."""

_TABLES = (
    f"CREATE TABLE IF NOT EXISTS candles (stream VARCHAR NOT NULL, sequence UBIGINT NOT NULL, {CANDLE_DEFINITION}, "
    "PRIMARY KEY (stream, sequence))",
    f"CREATE TABLE IF NOT EXISTS extra_candles (stream VARCHAR NOT NULL, {CANDLE_DEFINITION}, "
    "PRIMARY KEY (stream, ts_ms))",
    "CREATE TABLE IF NOT EXISTS cursors (name VARCHAR PRIMARY KEY, value VARCHAR NOT NULL)",  # see _CURSORS_IN_USE
    # The connection asks this table whether DuckDB still serves the file.
    "CREATE TABLE IF NOT EXISTS meta (name VARCHAR PRIMARY KEY, value VARCHAR NOT NULL)",
)
_CURSORS_IN_USE = "CREATE OR REPLACE TABLE cursors (name VARCHAR NOT NULL, value VARCHAR NOT NULL)"
_CURSORS_CLOSED = "CREATE OR REPLACE TABLE cursors (name VARCHAR PRIMARY KEY, value VARCHAR NOT NULL)"
_SAID_TO_OLDER = ("of fluxcap 0.1.0: a newer one wrote here and was killed; upgrade, or let it close the file", "[]")
"""A row of cursors in use: 0.1.0, which cannot write to them, says it behind the file's name as it opens it."""
_SET = ", ".join(f"{name} = incoming.{name}" for name in CANDLE_DTYPE.names or ())


class Append(msgspec.Struct, frozen=True, eq=False):
    """New candles at the end of a stream: ``candles[i]`` has sequence ``start_sequence + i``."""

    key: StreamKey
    start_sequence: int
    candles: CandleArray


class Revise(msgspec.Struct, frozen=True, eq=False):
    """Better candles in place of cached ones; sequence 0 is a minute the stream never had."""

    key: StreamKey
    sequences: npt.NDArray[np.uint64]
    candles: CandleArray


class Reset(msgspec.Struct, frozen=True):
    """All cached of a stream belongs to a store that is no more."""

    key: StreamKey


Change: TypeAlias = Append | Revise | Reset


class Cache(Protocol):
    """The interface of a client's cache; both implementations behave alike except for durability."""

    def cursor(self, key: StreamKey) -> Cursor | None:
        """Return the stream's cursor, None when it was never seen."""

    def commit(self, changes: Sequence[Change], cursors: Mapping[StreamKey, Cursor]) -> None:
        """Apply all changes in order and set the cursors, or nothing at all. Raises StoreError."""

    def candles(
        self, key: StreamKey, *, from_sequence_exclusive: int = 0, limit: int | None = None
    ) -> tuple[npt.NDArray[np.uint64], CandleArray]:
        """The cached candles of a stream in order, as (sequences, candles), both of shape ``(n,)``."""

    def close(self) -> None: ...


def cursor_name(key: StreamKey) -> str:
    """The cursor's key, the same as in desktop clients."""
    return f"live_cursor.{key}"


class NoCache:
    """Cursors in memory, no candles."""

    def __init__(self) -> None:
        self._cursors: dict[StreamKey, Cursor] = {}

    def cursor(self, key: StreamKey) -> Cursor | None:
        return self._cursors.get(key)

    def commit(self, changes: Sequence[Change], cursors: Mapping[StreamKey, Cursor]) -> None:
        self._cursors.update(cursors)

    def candles(
        self, key: StreamKey, *, from_sequence_exclusive: int = 0, limit: int | None = None
    ) -> tuple[npt.NDArray[np.uint64], CandleArray]:
        """Raises ConfigError: there is nothing to read from."""
        raise ConfigError(f"No candles of {key} are kept: give the client a data_dir.")

    def close(self) -> None:
        pass


class CandleCache:
    """Candles and cursors in ``client.duckdb`` under ``data_dir`` (made when absent).

    reserve_bytes: free space below which ``commit`` raises StoreFull before DuckDB meets the end of the disk.
    Raises StoreLocked (saying who holds the file), StoreDamaged, StoreFull or StoreError.
    """

    def __init__(self, data_dir: str | Path, *, reserve_bytes: int = 2 * 1024 * 1024) -> None:
        # Loaded here: a client without a copy on disk has no use for DuckDB, nor for paths.
        from pathlib import Path

        from fluxcap.bridge.store.connection import StoreConnection
        from fluxcap.bridge.store.disk_space import DiskSpaceGuard
        from fluxcap.bridge.system.files import is_full

        folder = Path(data_dir)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            kind = StoreFull if is_full(error) else StoreError
            raise kind(f"The folder {folder} cannot be made: {error.strerror}.") from error
        self.path = folder / CACHE_FILE
        self._connection = StoreConnection(self.path)
        try:
            self._writer = self._connection.cursor()
            self._reader = self._connection.cursor()
            with self._writer.transaction():
                for statement in _TABLES:
                    self._writer.rows(statement)
            # By heart: a thousand streams resume without a thousand queries.
            self._cursors = self._read_cursors()
        except BaseException:
            self._connection.discard()
            raise
        self._space = DiskSpaceGuard(self.path, reserve_bytes)
        self._rows_since_checkpoint = 0
        self._cursor_rows: int | None = None
        """Of the table in use; None while it is as a closed file has it."""

    def cursor(self, key: StreamKey) -> Cursor | None:
        return self._cursors.get(cursor_name(key))

    def commit(self, changes: Sequence[Change], cursors: Mapping[StreamKey, Cursor]) -> None:
        """See ``Cache``. After StoreFull the same may be tried again."""
        if self._connection.ensure_in_place():
            _log.warning("%s had been deleted; it was written again with all that it held", self.path)
        self._space.require_space(len(changes) + len(cursors))
        try:
            self._merge(changes, cursors)
        except StoreError:
            self._reopen_if_lost()
            raise
        self._cursors.update((cursor_name(key), cursor) for key, cursor in cursors.items())
        rows = sum(len(change.candles) for change in changes if not isinstance(change, Reset))
        self._rows_since_checkpoint += rows + _COMMIT_WEIGHT
        if self._rows_since_checkpoint >= CHECKPOINT_ROWS and self._space.allows_checkpoint(0):
            self._rows_since_checkpoint = 0
            try:
                self._writer.rows("CHECKPOINT")
            except StoreError as error:  # what was merged stands all the same
                _log.warning("Checkpoint of %s failed; its write-ahead log keeps growing: %s", self.path, error)
                self._reopen_if_lost()

    def _merge(self, changes: Sequence[Change], cursors: Mapping[StreamKey, Cursor]) -> None:
        if any(isinstance(change, Reset) for change in changes):
            # Deleted keys must be gone before they are inserted again: DuckDB's index sees both within a transaction.
            self._reset({change.key for change in changes if isinstance(change, Reset)})
            changes = _after_resets(changes)
        with self._writer.transaction():
            for run in _grouped(changes):
                if isinstance(run[0], Append):
                    _append(self._writer, [change for change in run if isinstance(change, Append)])
                else:
                    _revise(self._writer, [change for change in run if isinstance(change, Revise)])
            cursor_rows = self._add_cursors(cursors)
        self._cursor_rows = cursor_rows

    def _add_cursors(self, cursors: Mapping[StreamKey, Cursor]) -> int | None:
        """Append cursors, or make their table anew with them; return how many rows it has then."""
        moved = {cursor_name(key): cursor for key, cursor in cursors.items()}
        rows = self._cursor_rows
        if not moved:
            return rows
        if rows is not None and rows + len(moved) <= max(CURSOR_ROWS, 4 * len(self._cursors)):
            _insert_cursors(self._writer, moved)
            return rows + len(moved)
        present = self._cursors | moved
        self._writer.rows(_CURSORS_IN_USE)
        self._writer.rows("INSERT INTO cursors VALUES (?, ?)", _SAID_TO_OLDER)
        _insert_cursors(self._writer, present)
        return len(present)

    def _reopen_if_lost(self) -> None:
        """DuckDB gives a file up when a checkpoint cannot be written; the next query then opens it again."""
        if not self._writer.is_served():
            with contextlib.suppress(StoreError):
                self._connection.reopen()

    def candles(
        self, key: StreamKey, *, from_sequence_exclusive: int = 0, limit: int | None = None
    ) -> tuple[npt.NDArray[np.uint64], CandleArray]:
        candles, columns = self._reader.candles(
            f"SELECT sequence, {CANDLE_COLUMNS} FROM candles WHERE stream = ? AND sequence > ? ORDER BY sequence "  # noqa: S608
            + ("" if limit is None else f"LIMIT {int(limit)}"),
            [str(key), from_sequence_exclusive],
        )
        return np.asarray(columns["sequence"], np.uint64), candles

    def extra_candles(self, key: StreamKey) -> CandleArray:
        """Minutes that only revisions brought, in time order."""
        candles, _ = self._reader.candles(
            f"SELECT {CANDLE_COLUMNS} FROM extra_candles WHERE stream = ? ORDER BY ts_ms",  # noqa: S608
            [str(key)],
        )
        return candles

    def close(self) -> None:
        """Close the file; what was merged is in it already. Idempotent."""
        if self._cursor_rows is not None and self._connection.is_in_place():
            # Nothing is lost without it: the next commit makes the table anew.
            with contextlib.suppress(StoreError), self._writer.transaction():
                self._writer.rows(_CURSORS_CLOSED)
                _insert_cursors(self._writer, self._cursors)
        self._cursor_rows = None
        self._connection.close()

    def _reset(self, keys: set[StreamKey]) -> None:
        with self._writer.transaction():
            for key in keys:
                self._writer.rows("DELETE FROM candles WHERE stream = ?", [str(key)])
                self._writer.rows("DELETE FROM extra_candles WHERE stream = ?", [str(key)])
                self._writer.rows("DELETE FROM cursors WHERE name = ?", [cursor_name(key)])
        for key in keys:
            self._cursors.pop(cursor_name(key), None)

    def _read_cursors(self) -> dict[str, Cursor]:
        cursors = {}
        for name, value in self._writer.rows("SELECT name, value FROM cursors ORDER BY rowid"):
            if (name, value) == _SAID_TO_OLDER:
                continue
            try:
                cursors[name] = msgspec.json.decode(value, type=Cursor)
            except msgspec.MsgspecError as error:
                raise StoreDamaged(f"{self.path} holds no valid cursor {name}: {error}. Move the file away.") from error
        return cursors


def _after_resets(changes: Sequence[Change]) -> list[Change]:
    """Return the changes that matter after every stream reset among them was emptied."""
    last = {change.key: place for place, change in enumerate(changes) if isinstance(change, Reset)}
    return [change for place, change in enumerate(changes) if place > last.get(change.key, -1)]


def _grouped(changes: Sequence[Change]) -> list[list[Change]]:
    """Neighbours of one kind together, so that a thousand streams' candles are one insert."""
    runs: list[list[Change]] = []
    for change in changes:
        if runs and type(runs[-1][0]) is type(change):
            runs[-1].append(change)
        else:
            runs.append([change])
    return runs


def _append(writer: StoreCursor, changes: Sequence[Append]) -> None:
    sizes = [len(change.candles) for change in changes]
    numbers = [np.arange(c.start_sequence, c.start_sequence + len(c.candles), dtype=np.uint64) for c in changes]
    columns = candle_columns(joined_rows([change.candles for change in changes]))
    columns["sequence"] = np.concatenate(numbers)
    if len(changes) == 1:
        stream = _quoted(str(changes[0].key))
    else:
        stream = "stream"
        columns["stream"] = np.repeat(np.array([str(change.key) for change in changes], dtype=object), sizes)
    writer.load(f"INSERT INTO candles SELECT {stream}, sequence, {CANDLE_COLUMNS} FROM incoming", columns)  # noqa: S608


def _revise(writer: StoreCursor, changes: Sequence[Revise]) -> None:
    for change in changes:
        stream = _quoted(str(change.key))
        with_sequence = change.sequences > 0
        # Of several corrections of one candle the last counts, and an UPDATE must not meet two.
        for rows, names in ((with_sequence, change.sequences), (~with_sequence, change.candles["ts_ms"])):
            places = np.flatnonzero(rows)
            if not len(places):
                continue
            newest = {int(name): place for name, place in zip(names[places], places, strict=True)}
            kept = np.array(sorted(newest.values()))
            columns = candle_columns(change.candles[kept])
            columns["sequence"] = change.sequences[kept]
            if rows is with_sequence:
                sql = f"UPDATE candles SET {_SET} FROM incoming WHERE stream = {stream} "  # noqa: S608
                writer.load(sql + "AND candles.sequence = incoming.sequence", columns)
            else:
                sql = f"INSERT OR REPLACE INTO extra_candles SELECT {stream}, {CANDLE_COLUMNS} FROM incoming"  # noqa: S608
                writer.load(sql, columns)


def _insert_cursors(writer: StoreCursor, cursors: Mapping[str, Cursor]) -> None:
    values = [msgspec.json.encode(cursor).decode() for cursor in cursors.values()]
    columns = {"name": np.array([*cursors], dtype=object), "value": np.array(values, dtype=object)}
    writer.load("INSERT INTO cursors SELECT name, value FROM incoming", columns)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
