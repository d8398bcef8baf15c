"""Keeps what is sound of a damaged store, in a new one with an identity of its own. For `fluxcap verify --repair`.

Sequences are given anew, from 1 and without holes: clients see another store and start over. Where a candle is lost
that had a sequence, a gap says so; where the newest may be lost, an open one does, which the next start closes. The
damaged file is put aside, and never changed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from bisect import bisect_left
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fluxcap.bridge.store.connection import StoreConnection, StoreCursor
from fluxcap.bridge.store.file import ensure_store, now_ms, quarantine
from fluxcap.bridge.store.high_water_mark import MARK_ENDING, assigned_beside
from fluxcap.bridge.store.schema import SCHEMA_VERSION, candle_columns
from fluxcap.bridge.store.store import Store
from fluxcap.schemas.candles import first_invalid_candle, joined_rows
from fluxcap.schemas.errors import ConfigError, StoreDamaged, StoreError, StoreLocked
from fluxcap.schemas.types import CANDLE_DTYPE, CandleArray, StreamKey

LOST = "lost from a damaged store"
"""The reason of gaps where candles could not be kept."""

Columns = dict[str, npt.NDArray[Any]]
_FIELDS = tuple(str(name) for name in CANDLE_DTYPE.names or ())
_SMALLEST = 2_048
"""Rows that are given up together when a block cannot be read: DuckDB reads no fewer at a time."""


class RepairReport(msgspec.Struct, frozen=True):
    """The result of a repair: what the new store holds, and how many candles with a sequence are not in it.

    ``unread``: tables of which rows could not be read. ``newest_may_be_lost``: the write-ahead log was of no use, or
    more candles had been numbered than the file knows of. ``set_aside``: where the damaged file is now.
    """

    store_id: str
    streams: int
    candles: int
    lost_candles: int
    revisions: int
    gaps: int
    unread: tuple[str, ...]
    newest_may_be_lost: bool
    set_aside: str


def repair(path: Path, clock_ms: Callable[[], int] = now_ms) -> RepairReport:
    """Put a new store with all that is sound in the place of the one at ``path``, which is put aside.

    Raises StoreLocked when a process has it, StoreDamaged when nothing can be read of it, StoreFull, StoreError; then
    nothing was changed.
    """
    target = path.with_name(f"{path.name}.repaired")
    _remove(target)
    with contextlib.ExitStack() as closing:
        source, has_log = _opened(path, closing)
        made = StoreConnection(target)
        with contextlib.ExitStack() as failing:
            failing.callback(made.discard)
            salvage = _Salvage(source, made.cursor(), clock_ms())
            store_id = ensure_store(made.cursor(), target, clock_ms)
            salvage.run(newest_may_be_lost=not has_log, assigned=assigned_beside(path))
            failing.pop_all()
        made.close()
    Store.open(target, clock_ms).close()  # as strict as any start
    aside = quarantine(path, clock_ms)
    target.rename(path)
    _remove(target)
    return msgspec.structs.replace(salvage.report(), store_id=store_id, set_aside=str(aside))


def _remove(path: Path) -> None:
    for ending in (".wal", MARK_ENDING, ""):
        path.with_name(path.name + ending).unlink(missing_ok=True)


def _opened(path: Path, closing: contextlib.ExitStack) -> tuple[StoreConnection, bool]:
    """Open a damaged store read-only; without its write-ahead log (then False) where that is what cannot be read."""
    log = path.with_name(f"{path.name}.wal")
    try:
        return _readable(path, closing), True
    except StoreLocked:
        raise
    except StoreError as error:
        if not log.exists():
            raise _unreadable(path, error) from error
    bare = path.with_name(f"{path.name}.without-log")
    bare.unlink(missing_ok=True)
    try:
        os.link(path, bare)
    except OSError:
        shutil.copyfile(path, bare)
    closing.callback(bare.unlink, missing_ok=True)
    try:
        return _readable(bare, closing), False
    except StoreError as error:
        raise _unreadable(path, error) from error


def _readable(path: Path, closing: contextlib.ExitStack) -> StoreConnection:
    connection = StoreConnection(path, read_only=True)
    closing.callback(connection.close)
    cursor = connection.cursor()
    cursor.rows("SELECT * FROM streams")
    with contextlib.suppress(StoreDamaged):
        found = cursor.rows("SELECT value FROM meta WHERE name = 'schema_version'")
        if found and str(found[0][0]).isdecimal() and int(found[0][0]) > SCHEMA_VERSION:
            raise StoreError(f"{path} was written by a newer fluxcap (store version {found[0][0]}); upgrade fluxcap.")
    return connection


def _unreadable(path: Path, error: StoreError) -> StoreError:
    if "newer fluxcap" in str(error):
        return error
    return StoreDamaged(
        f"Nothing can be read of {path}, so there is nothing to keep; `fluxcap verify --set-aside` renames it, and the "
        f"next start begins an empty store. ({error})"
    )


class _Salvage:
    """Reads what can be read of ``source``, and writes what is sound of it by ``target``, in one transaction."""

    def __init__(self, source: StoreConnection, target: StoreCursor, now_ms: int) -> None:
        self._connection = source
        self._source = source.cursor()
        self._target = target
        self._now_ms = now_ms
        self._unread: set[str] = set()
        self._streams = self._candles = self._lost = self._revisions = 0
        self._gaps: dict[tuple[str, str, int], tuple[int, str]] = {}
        self._ends: dict[tuple[str, str], int] = {}
        """Of each asset the end of its newest kept candle."""
        self._newest_may_be_lost = False

    def report(self) -> RepairReport:
        return RepairReport(
            store_id="",
            streams=self._streams,
            candles=self._candles,
            lost_candles=self._lost,
            revisions=self._revisions,
            gaps=len(self._gaps),
            unread=tuple(sorted(self._unread)),
            newest_may_be_lost=self._newest_may_be_lost,
            set_aside="",
        )

    def run(self, *, newest_may_be_lost: bool, assigned: int) -> None:
        """``assigned``: how many numbers the store had given, as its mark says. Raises StoreError."""
        known = 0
        with self._target.transaction():
            for source_id, symbol, from_ms, to_ms, reason in self._small("gaps", 5):
                if not to_ms or to_ms >= from_ms:
                    self._gaps[source_id, symbol, from_ms] = (to_ms, reason)
            for stream_id, *key in self._small("streams", 4):
                known += self._stream(int(stream_id), StreamKey(*key))
            self._newest_may_be_lost = self._newest_may_be_lost or newest_may_be_lost or assigned > known
            if self._newest_may_be_lost:
                self._open_gaps()
            for (source_id, symbol, from_ms), (to_ms, reason) in self._gaps.items():
                self._target.rows(
                    "INSERT INTO gaps VALUES (?, ?, ?, ?, ?)", (source_id, symbol, from_ms, to_ms, reason)
                )
            for insert, table, columns in (
                ("INSERT", "gap_states", 7),
                ("INSERT OR IGNORE", "kept_facts", 4),
                ("INSERT OR IGNORE", "universe", 6),
            ):
                marks = ", ".join("?" * columns)
                for row in self._small(table, columns):
                    self._target.rows(f"{insert} INTO {table} VALUES ({marks})", row)

    def _open_gaps(self) -> None:
        open_ones = {(source_id, symbol) for (source_id, symbol, _), (to_ms, _) in self._gaps.items() if not to_ms}
        for (source_id, symbol), end_ms in self._ends.items():
            if not open_ones & {(source_id, symbol), (source_id, "")}:
                self._gaps[source_id, symbol, end_ms] = (0, LOST)

    def _stream(self, stream_id: int, key: StreamKey) -> int:
        """Keep one stream. Returns how many numbers it is known to have given."""
        try:
            interval_ms = key.interval_ms
        except ConfigError:
            self._unread.add("streams")
            return 0
        fields = ("sequence", *_FIELDS)
        rows = self._rows("candles_settled", stream_id, (*fields, "sealed_ms"))
        fresh = self._rows("candles_fresh", stream_id, (*fields, "sealed_ms"))
        revised = self._rows("revisions", stream_id, ("revision", *fields, "made_ms"))
        seen = np.concatenate([rows["sequence"], fresh["sequence"]])
        candles = joined_rows([_as_candles(rows), _as_candles(fresh), _as_candles(revised)])
        sequences = np.concatenate([seen, revised["sequence"]])
        sealed_ms = np.concatenate([rows["sealed_ms"], fresh["sealed_ms"], np.zeros(len(revised["sequence"]))])
        # Of one sequence the newest revision counts, which is what the candle was replaced by.
        order = np.concatenate([np.zeros(len(seen)), revised["revision"]])
        kept = _sound(sequences, candles, order)
        if len(kept):
            sealed_ms = _sealing_times(sequences, sealed_ms, kept)
            self._keep(stream_id, key, sequences[kept], candles[kept], sealed_ms, interval_ms)
        newest_revision = self._keep_revisions(stream_id, revised, sequences[kept])
        first, last = (int(seen.min()), int(seen.max())) if len(seen) else (0, 0)
        self._lost += last - first + 1 - len(kept) if last else 0
        self._newest_may_be_lost |= bool(last) and (not len(kept) or int(sequences[kept][-1]) < last)
        self._streams += 1
        row = (stream_id, key.source_id, key.symbol, key.interval)
        self._target.rows("INSERT INTO streams VALUES (?, ?, ?, ?)", row)
        return last + newest_revision

    def _keep(
        self,
        stream_id: int,
        key: StreamKey,
        sequences: npt.NDArray[Any],
        candles: CandleArray,
        sealed_ms: npt.NDArray[Any],
        interval_ms: int,
    ) -> None:
        ends = candles["ts_ms"] + interval_ms
        for at in np.flatnonzero(np.diff(sequences) > 1):
            self._gaps[key.source_id, key.symbol, int(ends[at])] = (int(candles["ts_ms"][at + 1]), LOST)
        asset = (key.source_id, key.symbol)
        self._ends[asset] = max(self._ends.get(asset, 0), int(ends[-1]))
        self._candles += len(candles)
        self._load(
            "candles_fresh",
            stream_id,
            {
                "sequence": np.arange(1, len(candles) + 1, dtype=np.uint64),
                **candle_columns(candles),
                "sealed_ms": sealed_ms.astype(np.int64),
            },
        )
        first = self._rows("first_versions", stream_id, ("sequence", *_FIELDS))
        self._load("first_versions", stream_id, _renumbered(first, sequences))
        for table, columns in (
            ("agreement", "ts_ms, equal, open, high, low, close, kept_ticks, compared_ms"),
            ("agreement_ticks", "place, ts_ms, price"),
        ):
            marks = ", ".join("?" * (columns.count(",") + 3))
            sql = f"SELECT sequence, {columns} FROM {table} WHERE stream_id = ?"  # noqa: S608
            for sequence, *rest in self._few(sql, stream_id):
                place = bisect_left(sequences, sequence)
                if place < len(sequences) and sequences[place] == sequence:
                    row = (stream_id, place + 1, *rest)
                    self._target.rows(f"INSERT INTO {table} VALUES ({marks})", row)  # noqa: S608

    def _keep_revisions(self, stream_id: int, revised: Columns, kept: npt.NDArray[Any]) -> int:
        """Keep the revisions of kept candles, numbered anew. Returns the newest number there was."""
        numbers = revised["revision"]
        if not len(numbers):
            return 0
        _, first = np.unique(numbers, return_index=True)
        rows = {name: column[first] for name, column in revised.items()}
        candles = _as_candles(rows)
        sane = np.ones(len(candles), dtype=bool)
        sane[_insane(candles)] = False
        newer = candles["ts_ms"] > self._newest_ts_ms(stream_id)
        rows = {name: column[sane & ~newer] for name, column in rows.items()}
        rows = _renumbered(rows, kept)
        rows["revision"] = np.arange(1, len(rows["revision"]) + 1, dtype=np.uint64)
        self._revisions += len(rows["revision"])
        self._load("revisions", stream_id, rows)
        return int(numbers.max())

    def _newest_ts_ms(self, stream_id: int) -> int:
        return int(
            self._target.rows("SELECT coalesce(max(ts_ms), 0) FROM candles WHERE stream_id = ?", (stream_id,))[0][0]
        )

    def _load(self, table: str, stream_id: int, columns: Columns) -> None:
        count = len(next(iter(columns.values())))
        if count:
            ids = np.full(count, stream_id, dtype=np.int32)
            self._target.load(f"INSERT INTO {table} BY NAME SELECT * FROM incoming", {"stream_id": ids, **columns})  # noqa: S608

    # --- reading what may be damaged ---

    def _rows(self, table: str, stream_id: int, names: tuple[str, ...]) -> Columns:
        """The rows of one stream, as far as they can be read; times that version 1 did not keep are 0."""
        kinds = {name: CANDLE_DTYPE[name] if name in _FIELDS else np.dtype(np.int64) for name in names}
        empty: Columns = {name: np.empty(0, dtype=kind) for name, kind in kinds.items()}
        try:
            has = {name for (name,) in self._source.rows(f"SELECT column_name FROM (DESCRIBE {table})")}  # noqa: S608
            low, high = self._source.rows(f"SELECT min(rowid), max(rowid) FROM {table}")[0]  # noqa: S608
        except StoreError:
            if table != "first_versions":
                self._unread.add(table)
            return empty
        if low is None:
            return empty
        wanted = ", ".join(name if name in has else f"0 AS {name}" for name in names)
        sql = f"SELECT {wanted} FROM {table} WHERE stream_id = {stream_id}"  # noqa: S608
        parts = list(self._parts(table, sql, int(low), int(high) + 1))
        return {
            name: np.concatenate([empty[name], *(part[name].astype(kind) for part in parts)])
            for name, kind in kinds.items()
        }

    def _parts(self, table: str, sql: str, low: int, high: int) -> Iterator[Columns]:
        try:
            yield self._source.columns(f"{sql} AND rowid >= {low} AND rowid < {high}")
            return
        except StoreError:
            if not self._source.is_served():
                self._connection.reopen()
        if high - low <= _SMALLEST:
            self._unread.add(table)
            return
        middle = (low + high) // 2
        yield from self._parts(table, sql, low, middle)
        yield from self._parts(table, sql, middle, high)

    def _small(self, table: str, columns: int) -> list[tuple[Any, ...]]:
        """All rows of a table that holds few; none when it cannot be read."""
        rows = self._few(f"SELECT * FROM {table}", table=table)  # noqa: S608
        return [row for row in rows if len(row) == columns]

    def _few(self, sql: str, *parameters: Any, table: str = "") -> list[tuple[Any, ...]]:
        try:
            return self._source.rows(sql, parameters)
        except StoreError as error:
            if not self._source.is_served():
                self._connection.reopen()
            if (table and "does not exist" not in str(error)) or table in ("streams", "gaps"):
                self._unread.add(table)
            return []


def _as_candles(columns: Columns) -> CandleArray:
    candles = np.empty(len(columns["ts_ms"]), dtype=CANDLE_DTYPE)
    for name in _FIELDS:
        candles[name] = columns[name]
    return candles


def _insane(candles: CandleArray) -> list[int]:
    """Places of rows that are no candles."""
    found: list[int] = []
    start = 0
    while (bad := first_invalid_candle(candles[start:])) is not None:
        found.append(start + int(bad))
        start += int(bad) + 1
    return found


def _sound(sequences: npt.NDArray[Any], candles: CandleArray, order: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Places of the rows to keep, by sequence: of each the one of highest ``order``, in increasing time."""
    sane = np.ones(len(sequences), dtype=bool)
    sane[_insane(candles)] = False
    places = np.flatnonzero(sane & (sequences > 0))
    places = places[np.lexsort((order[places], sequences[places]))]
    numbers = sequences[places]
    last = np.ones(len(places), dtype=bool)
    last[:-1] = numbers[1:] != numbers[:-1]
    places = places[last]
    return places[_increasing(candles["ts_ms"][places])]


def _increasing(times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Places of the longest part whose times strictly increase: a single wild one costs itself alone."""
    if len(times) < 2 or bool((times[1:] > times[:-1]).all()):
        return np.arange(len(times))
    tails: list[int] = []
    at: list[int] = []
    before = np.full(len(times), -1)
    for place, ts_ms in enumerate(times.tolist()):
        length = bisect_left(tails, ts_ms)
        before[place] = at[length - 1] if length else -1
        tails[length : length + 1] = [ts_ms]
        at[length : length + 1] = [place]
    kept = [at[-1]]
    while before[kept[-1]] >= 0:
        kept.append(int(before[kept[-1]]))
    return np.array(kept[::-1])


def _sealing_times(
    sequences: npt.NDArray[Any], sealed_ms: npt.NDArray[Any], kept: npt.NDArray[np.int64]
) -> npt.NDArray[Any]:
    """Return when the kept candles were sealed; a revision that stands for one knows only its own time."""
    known = {int(n): int(ms) for n, ms in zip(sequences.tolist(), sealed_ms.tolist(), strict=True) if ms}
    return np.array([known.get(int(number), 0) for number in sequences[kept].tolist()], dtype=np.int64)


def _renumbered(rows: Columns, kept: npt.NDArray[Any]) -> Columns:
    """Rows of kept sequences under their new numbers; 0, a minute without one, stays 0."""
    sequences = rows["sequence"].astype(np.int64)
    kept = kept.astype(np.int64)
    at = np.searchsorted(kept, sequences)
    is_kept = np.zeros(len(sequences), dtype=bool)
    inside = at < len(kept)
    is_kept[inside] = kept[at[inside]] == sequences[inside]
    found = is_kept | (sequences == 0)
    renumbered = {name: column[found] for name, column in rows.items()}
    renumbered["sequence"] = np.where(sequences == 0, 0, at + 1)[found].astype(np.uint64)
    return renumbered
