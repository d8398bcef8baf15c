"""Reads the store from a thread of its own, beside the writer: pages of candles and revisions, gaps, the universe.

A reader sees what was committed when its query began. Everything comes as NumPy arrays, never as a Python object per
candle. Sequences are dense, so a page is a range of sequences: no sort and no LIMIT over a long tail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fluxcap.bridge.store.as_of import NEVER_MS, with_passed_over
from fluxcap.bridge.store.connection import StoreCursor
from fluxcap.bridge.store.history import NO_HISTORY, HistoryPage, KnownFrom, read_gaps, read_page
from fluxcap.bridge.store.schema import CANDLE_COLUMNS
from fluxcap.bridge.store.universe import UNIVERSE_COLUMNS, Listing
from fluxcap.schemas.candles import CandlePage, RevisionPage
from fluxcap.schemas.types import (
    CANDLE_DTYPE,
    Candle,
    CandleArray,
    Gap,
    GapChange,
    StreamKey,
    Watermark,
    candles_from,
)


class StoreIndex(msgspec.Struct, frozen=True):
    """The writer's index in memory; replaced as a whole after each commit."""

    stream_ids: MappingProxyType[StreamKey, int]
    watermarks: MappingProxyType[StreamKey, Watermark]


_NOTHING = Watermark()
_NO_CANDLES = np.empty(0, dtype=CANDLE_DTYPE)
_NO_SEQUENCES = np.empty(0, dtype=np.uint64)

_PAGE = {
    table: f"SELECT sequence, {CANDLE_COLUMNS} FROM {table} WHERE stream_id = ? AND sequence > ? AND sequence <= ?"  # noqa: S608
    for table in ("candles", "candles_fresh", "candles_settled")
}
_REVISIONS = (
    f"SELECT revision, sequence, {CANDLE_COLUMNS} FROM revisions WHERE stream_id = ? AND revision > ? AND revision <= ?"  # noqa: S608
)
_BETWEEN = f"SELECT sequence, {CANDLE_COLUMNS} FROM candles WHERE stream_id = ? AND ts_ms >= ? AND ts_ms < ?"  # noqa: S608
_PASSED_OVER_BETWEEN = (
    f"SELECT revision, sequence, {CANDLE_COLUMNS} FROM revisions "  # noqa: S608
    "WHERE stream_id = ? AND sequence = 0 AND ts_ms >= ? AND ts_ms < ?"
)


class StoreReader:
    """One thread's read access; made by ``Store.reader()``.

    Every method raises StoreError when the store cannot answer; the next call may succeed.
    """

    def __init__(self, cursor: StoreCursor, index: Callable[[], StoreIndex]) -> None:
        self._cursor = cursor
        self._index = index
        self._known_from = KnownFrom()
        self._first_fresh: dict[int, int] | None = None
        """Lowest sequence of each stream in ``candles_fresh`` when it was last looked up; rows may have moved since."""

    def watermarks(self) -> Mapping[StreamKey, Watermark]:
        """The newest committed, per stream."""
        return self._index().watermarks

    def page(
        self, key: StreamKey, after_sequence: int | None = None, end_ts_ms: int | None = None, limit: int = 10_000
    ) -> CandlePage:
        """Up to ``limit`` candles after a sequence (None: from the oldest), none later than ``end_ts_ms``.

        A stream without candles, or nothing after the sequence, gives an empty page.
        """
        index = self._index()
        mark = index.watermarks.get(key, _NOTHING)
        after = max(after_sequence or 0, mark.first_sequence - 1, 0)
        if after >= mark.latest_sequence or limit <= 0:
            start = after if after_sequence is None else after_sequence
            return CandlePage(start + 1, _NO_CANDLES, has_more=after < mark.latest_sequence)
        last = min(after + limit, mark.latest_sequence)
        candles, sequences = self._range(index.stream_ids[key], after, last)
        more = after + limit < mark.latest_sequence
        if end_ts_ms is not None:
            within = int(np.searchsorted(candles["ts_ms"], end_ts_ms, side="right"))
            more = (
                more
                and within == len(candles)
                and self._next_starts_by(index.stream_ids[key], after + limit, end_ts_ms)
            )
            candles = candles[:within]
        start = int(sequences[0]) if len(sequences) else after + 1
        return CandlePage(start, candles, more)

    def _range(self, stream_id: int, after: int, last: int) -> tuple[CandleArray, npt.NDArray[np.uint64]]:
        """Candles of sequences in ``(after, last]``, and these.

        Sequences are dense, so that a table that has as many rows has all of them: a query of one table costs half of
        one of the view, most of which is planning.
        """
        bounds = (stream_id, after, last)
        table = self._table_of(*bounds)
        found = self._in_order(_PAGE[table], "sequence", bounds)
        if table == "candles" or len(found[0]) == last - after:
            return found
        in_either = self._in_order(_PAGE["candles"], "sequence", bounds)
        if len(in_either[0]) > len(found[0]):
            self._first_fresh = None
        return in_either

    def _table_of(self, stream_id: int, after: int, last: int) -> str:
        """Return the table that has these sequences, as far as is known, or the view of both."""
        if self._first_fresh is None:
            rows = self._cursor.rows("SELECT stream_id, min(sequence) FROM candles_fresh GROUP BY stream_id")
            self._first_fresh = dict(rows)
        first = self._first_fresh.get(stream_id, last + 1)
        if first <= after + 1:
            return "candles_fresh"
        return "candles_settled" if last < first else "candles"

    def _next_starts_by(self, stream_id: int, after: int, end_ts_ms: int) -> bool:
        times = self._cursor.rows(
            "SELECT ts_ms FROM candles WHERE stream_id = ? AND sequence = ?", (stream_id, after + 1)
        )
        return bool(times) and int(times[0][0]) <= end_ts_ms

    def passed_over(self, key: StreamKey, from_ms: int) -> CandleArray:
        """Candles of times from ``from_ms`` on that the main stream passed over, in the order of their revisions."""
        stream_id = self._index().stream_ids.get(key, 0)
        sql = (
            f"SELECT revision, sequence, {CANDLE_COLUMNS} FROM revisions "  # noqa: S608
            "WHERE stream_id = ? AND sequence = 0 AND ts_ms >= ?"
        )
        return self._in_order(sql, "revision", (stream_id, from_ms))[0]

    def between(self, key: StreamKey, from_ms: int, to_ms: int) -> CandleArray:
        """Candles of times in ``[from_ms, to_ms)`` as they stand, oldest first; of passed over minutes, too."""
        stream_id = self._index().stream_ids.get(key)
        if stream_id is None:
            return _NO_CANDLES
        bounds = (stream_id, from_ms, to_ms)
        found, sequences = self._in_order(_BETWEEN, "sequence", bounds)
        passed_over, _ = self._in_order(_PASSED_OVER_BETWEEN, "revision", bounds)
        return with_passed_over(found, sequences, passed_over)[0]

    def history(
        self, key: StreamKey, from_ms: int, to_ms: int | None, as_of_ms: int | None = None, limit: int = 10_000
    ) -> HistoryPage:
        """Candles that begin in ``[from_ms, to_ms)``, as they stand or as they had been told by ``as_of_ms`` (UTC ms).

        As many as begin within ``limit`` intervals. ``to_ms`` None: up to the newest. Raises NotKnown.
        """
        if as_of_ms is not None:
            self._known_from.require(self._cursor, as_of_ms)
        index = self._index()
        stream_id = index.stream_ids.get(key)
        mark = index.watermarks.get(key, _NOTHING)
        end_ms = mark.latest_ts_ms + 1 if to_ms is None else min(to_ms, mark.latest_ts_ms + 1)
        if stream_id is None or from_ms >= end_ms:
            return NO_HISTORY
        span = (key.interval_ms, from_ms, end_ms, as_of_ms, limit)
        return read_page(self._cursor, stream_id, *span, has_revisions=mark.latest_revision > 0)

    def told_gaps(
        self, source_id: str, symbol: str, from_ms: int, to_ms: int | None, as_of_ms: int | None = None
    ) -> list[GapChange]:
        """Gaps that touch ``[from_ms, to_ms)``, as they stand or as they had been told by ``as_of_ms`` (UTC ms).

        By their begin, without those that were taken back. ``symbol`` "": of every symbol; those of the whole source
        count for each. ``to_ms`` None: without an end. Raises NotKnown.
        """
        if as_of_ms is not None:
            self._known_from.require(self._cursor, as_of_ms)
        return read_gaps(self._cursor, source_id, symbol, from_ms, NEVER_MS if to_ms is None else to_ms, as_of_ms)

    def oldest_ms(self, key: StreamKey) -> int | None:
        """Time of the oldest candle kept of a stream, passed over ones included; None without any."""
        stream_id = self._index().stream_ids.get(key)
        first = self._index().watermarks.get(key, _NOTHING).first_sequence
        oldest = self._cursor.rows(
            "SELECT min(ts_ms) FROM (SELECT ts_ms FROM candles WHERE stream_id = $1 AND sequence = $2 UNION ALL "
            "SELECT ts_ms FROM revisions WHERE stream_id = $1 AND sequence = 0)",
            (stream_id, first),
        )
        return None if oldest[0][0] is None else int(oldest[0][0])

    def newest(self, key: StreamKey, count: int) -> CandlePage:
        """The newest ``count`` candles of a stream, oldest first."""
        latest = self._index().watermarks.get(key, _NOTHING).latest_sequence
        return self.page(key, max(latest - count, 0), None, count)

    def published(self, key: StreamKey, ts_ms: Sequence[int]) -> dict[int, tuple[int, Candle]]:
        """Return the times with a candle on the main stream: ``{ts_ms: (sequence, candle)}``."""
        stream_id = self._index().stream_ids.get(key)
        if stream_id is None or not ts_ms:
            return {}
        candles, columns = self._cursor.candles(
            f"SELECT sequence, {CANDLE_COLUMNS} FROM candles WHERE stream_id = ? AND ts_ms BETWEEN ? AND ? "  # noqa: S608
            "AND list_contains(?::BIGINT[], ts_ms)",
            (stream_id, min(ts_ms), max(ts_ms), [int(time) for time in ts_ms]),
        )
        sequences = columns["sequence"].tolist()
        return {c.ts_ms: (sequence, c) for sequence, c in zip(sequences, candles_from(candles), strict=True)}

    def revisions(self, key: StreamKey, after_revision: int | None = None, limit: int = 10_000) -> RevisionPage:
        """Up to ``limit`` revisions after one (None: from the oldest kept). Old ones go with their candles."""
        index = self._index()
        latest = index.watermarks.get(key, _NOTHING).latest_revision
        after = after_revision or 0
        if after >= latest or limit <= 0:
            return RevisionPage(after + 1, _NO_SEQUENCES, _NO_CANDLES, has_more=after < latest)
        stream_id = index.stream_ids[key]
        oldest = self._cursor.rows("SELECT min(revision) FROM revisions WHERE stream_id = ?", (stream_id,))[0][0]
        after = max(after, int(oldest or 1) - 1)
        candles, sequences = self._in_order(_REVISIONS, "revision", (stream_id, after, after + limit))
        return RevisionPage(after + 1, sequences.astype(np.uint64), candles, has_more=after + limit < latest)

    def _in_order(self, sql: str, number: str, parameters: Sequence[Any]) -> tuple[CandleArray, npt.NDArray[np.uint64]]:
        """Candles and their sequences, in the order of the column ``number``."""
        candles, columns = self._cursor.candles(sql, parameters)
        numbers, sequences = columns[number], columns["sequence"]
        # Rows come as they were committed, so sorting is hardly ever needed; asking SQL for it costs 1 ms each time.
        if len(numbers) > 1 and not (numbers[1:] > numbers[:-1]).all():
            order = np.argsort(numbers, kind="stable")
            return candles[order], sequences[order]
        return candles, sequences

    def gaps(
        self, source_id: str | None = None, symbol: str | None = None, from_ms: int = 0, to_ms: int | None = None
    ) -> list[Gap]:
        """Blind times that touch ``[from_ms, to_ms)``, oldest first; those of the whole source count for a symbol."""
        rows = self._cursor.rows(
            "SELECT source_id, symbol, from_ms, to_ms, reason FROM gaps "
            "WHERE ($1::VARCHAR IS NULL OR source_id = $1) AND ($2::VARCHAR IS NULL OR symbol IN ('', $2)) "
            "AND (to_ms = 0 OR to_ms > $3) AND ($4::BIGINT IS NULL OR from_ms < $4) ORDER BY from_ms, symbol",
            (source_id, symbol, from_ms, to_ms),
        )
        return [Gap(*row) for row in rows]

    def sealed_ms(self, key: StreamKey, after_sequence: int = 0, limit: int = 10_000) -> npt.NDArray[np.int64]:
        """Return when each of ``page(key, after_sequence, None, limit)`` was sealed and stored: UTC ms, shape ``(n,)``.

        ``NOT_KNOWN_MS`` for candles that a fluxcap of store version 1 has stored.
        """
        index = self._index()
        after = max(after_sequence, index.watermarks.get(key, _NOTHING).first_sequence - 1, 0)
        sql = "SELECT sequence, sealed_ms FROM candles WHERE stream_id = ? AND sequence > ? AND sequence <= ?"
        columns = self._cursor.columns(sql, (index.stream_ids.get(key, 0), after, after + limit))
        return np.asarray(columns["sealed_ms"][np.argsort(columns["sequence"], kind="stable")], dtype=np.int64)

    def first_versions(
        self, key: StreamKey, after_sequence: int = 0, limit: int = 10_000
    ) -> tuple[npt.NDArray[np.uint64], CandleArray]:
        """Revised candles as they were first published: their sequences, ascending, and the candles.

        Only of sequences in ``(after_sequence, after_sequence + limit]``, and none that were revised under version 1.
        """
        sql = (
            f"SELECT sequence, {CANDLE_COLUMNS} FROM first_versions "  # noqa: S608
            "WHERE stream_id = ? AND sequence > ? AND sequence <= ?"
        )
        stream_id = self._index().stream_ids.get(key, 0)
        candles, sequences = self._in_order(sql, "sequence", (stream_id, after_sequence, after_sequence + limit))
        return sequences.astype(np.uint64), candles

    def revised_ms(self, key: StreamKey, after_revision: int = 0, limit: int = 10_000) -> npt.NDArray[np.int64]:
        """Return when each revision of ``revisions(key, after_revision, limit)`` was made: UTC ms, shape ``(n,)``."""
        sql = "SELECT revision, made_ms FROM revisions WHERE stream_id = ? AND revision > ? AND revision <= ?"
        stream_id = self._index().stream_ids.get(key, 0)
        oldest = self._cursor.rows("SELECT min(revision) FROM revisions WHERE stream_id = ?", (stream_id,))[0][0]
        after = max(after_revision, int(oldest or 1) - 1)
        columns = self._cursor.columns(sql, (stream_id, after, after + limit))
        return np.asarray(columns["made_ms"][np.argsort(columns["revision"], kind="stable")], dtype=np.int64)

    def gap_changes(self, source_id: str | None = None, symbol: str | None = None) -> list[GapChange]:
        """Each state that gaps went through, in the order it was told; those of the whole source count for a symbol."""
        rows = self._cursor.rows(
            "SELECT source_id, symbol, from_ms, to_ms, reason, at_ms FROM gap_states "
            "WHERE ($1::VARCHAR IS NULL OR source_id = $1) AND ($2::VARCHAR IS NULL OR symbol IN ('', $2)) "
            "ORDER BY rowid",
            (source_id, symbol),
        )
        return [GapChange(Gap(*row[:5]), row[5]) for row in rows]

    def kept_ticks(self, key: StreamKey, sequence: int) -> list[tuple[int, float]]:
        """The ticks of a candle that differs from the platform's row: ``(ts_ms, price)`` in their order, if known."""
        rows = self._cursor.rows(
            "SELECT ts_ms, price FROM agreement_ticks WHERE stream_id = ? AND sequence = ? ORDER BY place",
            (self._index().stream_ids.get(key, 0), sequence),
        )
        return [(ts_ms, price) for ts_ms, price in rows]

    def universe(self) -> list[Listing]:
        """The listings in the order of their file."""
        rows = self._cursor.rows(f"SELECT {', '.join(UNIVERSE_COLUMNS)} FROM universe ORDER BY rowid")  # noqa: S608
        return [Listing(*row) for row in rows]
