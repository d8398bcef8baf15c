"""The newest candles of every stream in memory, so that most pages never touch DuckDB.

``RecentCandles`` is written by the pipeline's thread after each commit and read by the responder's, without a lock. It
holds one immutable view per stream: rows behind a view are never written again, an append writes rows beyond it and
then swaps in a longer view. ``CachedReader`` is the responder's: it answers from these views, fills what is older from
the store once per stream, and asks the store for the rest.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec
import numpy as np

from fluxcap.bridge.store.history import HistoryPage
from fluxcap.bridge.store.reader import StoreReader
from fluxcap.schemas.candles import WHOLE_CANDLE, CandlePage, RevisionPage, joined_rows
from fluxcap.schemas.types import (
    CANDLE_DTYPE,
    CandleArray,
    CandleBatch,
    CandleRevision,
    GapChange,
    StreamKey,
    Watermark,
)

DEPTH = 10_000
"""Candles kept per stream: one full page, a week of minutes."""
BUDGET_ROWS = 2_000_000
"""Candles kept of all streams together: 108 MB. With many streams each keeps fewer."""
SPARE_PART = 8
"""An eighth of the depth is room for growth: what is held stays close to what is asked for, and moves seldom."""
_LEAST_DEPTH = 64
_LEAST_CAPACITY = 64


class _View(msgspec.Struct, frozen=True, gc=False, eq=False):
    """Rows ``buffer[start:stop]`` have the sequences from ``first_sequence`` on."""

    buffer: CandleArray
    start: int
    stop: int
    first_sequence: int

    @property
    def candles(self) -> CandleArray:
        return self.buffer[self.start : self.stop]

    @property
    def next_sequence(self) -> int:
        return self.first_sequence + self.stop - self.start


class RecentCandles:
    """The newest candles per stream, of those committed since this process began.

    Parameters
    ----------
    depth
        Candles to keep per stream, at least; up to an eighth more stay until they are trimmed.
    budget_rows
        Candles to keep of all streams together.
    """

    def __init__(self, depth: int = DEPTH, budget_rows: int = BUDGET_ROWS) -> None:
        self._depth = depth
        self._budget_rows = budget_rows
        self._views: dict[StreamKey, _View] = {}

    def append(self, batch: CandleBatch) -> None:
        """Committed candles, next in sequence. If they do not follow what is held, that is dropped."""
        view = self._views.get(batch.key)
        if view is None or view.next_sequence != batch.start_sequence:
            view = _View(np.empty(0, dtype=CANDLE_DTYPE), 0, 0, batch.start_sequence)
        count = len(batch.candles)
        if view.stop + count > len(view.buffer):
            view = self._moved(view, count)
        _copy_rows(batch.candles, view.buffer, view.stop)
        self._views[batch.key] = _View(view.buffer, view.start, view.stop + count, view.first_sequence)

    def _moved(self, view: _View, more: int) -> _View:
        """The newest rows in a new buffer with room for ``more`` and for growth."""
        depth = max(_LEAST_DEPTH, min(self._depth, self._budget_rows // (2 * max(len(self._views), 1))))
        keep = min(view.stop - view.start, max(depth - more, 0))
        room = max(more, min(keep + more, depth // SPARE_PART), _LEAST_CAPACITY)
        buffer = np.empty(keep + room, dtype=CANDLE_DTYPE)
        _copy_rows(view.buffer[view.stop - keep : view.stop], buffer, 0)
        return _View(buffer, 0, keep, view.next_sequence - keep)

    def revise(self, revision: CandleRevision) -> None:
        """Committed revisions: put the better candles in place, in a copy."""
        view = self._views.get(revision.key)
        if view is None:
            return
        at = revision.sequences.astype(np.int64) - view.first_sequence
        held = (revision.sequences > 0) & (at >= 0) & (at < view.stop - view.start)
        if held.any():
            candles = view.candles.copy()
            candles[at[held]] = revision.candles[held]
            self._views[revision.key] = _View(candles, 0, len(candles), view.first_sequence)

    def view(self, key: StreamKey) -> tuple[int, CandleArray] | None:
        """First sequence and rows held of a stream, or None. The rows never change."""
        view = self._views.get(key)
        return None if view is None else (view.first_sequence, view.candles)

    @property
    def rows(self) -> int:
        """Rows of memory in use, spare ones included."""
        return sum(len(view.buffer) for view in self._views.values())


def _copy_rows(rows: CandleArray, buffer: CandleArray, at: int) -> None:
    """Copy rows to a place of a buffer, each as one piece: NumPy would copy field by field, up to 15 times as long."""
    if len(rows) == 1:  # nearly always, and quicker by half
        buffer[at] = rows[0]
    else:
        buffer.view(WHOLE_CANDLE)[at : at + len(rows)] = rows.view(WHOLE_CANDLE)


class _BackfilledRows(msgspec.Struct, frozen=True, eq=False):
    """Rows read from the store once: dense from ``first_sequence``, as of ``latest_revision``."""

    first_sequence: int
    candles: CandleArray
    latest_revision: int


_NOTHING = Watermark()


class CachedReader:
    """Pages for the responder's thread: from memory where it can be, from the store where it must.

    Parameters
    ----------
    recent
        Shared with the pipeline's thread, read only here.
    reader
        This thread's own way into the store.
    depth
        How far behind the newest candle a page may begin to be worth filling from the store at once.
    budget_rows
        Rows of older candles to hold; the stream asked for longest ago goes first.

    Attributes
    ----------
    hits, misses
        Pages served from memory, and with a query.
    """

    def __init__(
        self, recent: RecentCandles, reader: StoreReader, depth: int = DEPTH, budget_rows: int = BUDGET_ROWS // 2
    ) -> None:
        self._recent = recent
        self._reader = reader
        self._depth = depth
        self._budget_rows = budget_rows
        self._older: OrderedDict[StreamKey, _BackfilledRows] = OrderedDict()
        self._older_rows = 0
        self.hits = 0
        self.misses = 0

    def page(
        self, key: StreamKey, after_sequence: int | None = None, end_ts_ms: int | None = None, limit: int = 10_000
    ) -> CandlePage:
        """As ``StoreReader.page``. Raises StoreError."""
        mark = self._reader.watermarks().get(key, _NOTHING)
        after = max(after_sequence or 0, mark.first_sequence - 1)
        if after < mark.latest_sequence and limit > 0:
            page = self._from_memory(key, mark, after + 1, end_ts_ms, limit)
            if page is not None:
                return page
            self.misses += 1
        return self._reader.page(key, after_sequence, end_ts_ms, limit)

    def revisions(self, key: StreamKey, after_revision: int | None = None, limit: int = 10_000) -> RevisionPage:
        """As ``StoreReader.revisions``. Raises StoreError."""
        return self._reader.revisions(key, after_revision, limit)

    def history(self, key: StreamKey, from_ms: int, to_ms: int | None, as_of_ms: int | None, limit: int) -> HistoryPage:
        """As ``StoreReader.history``. Raises NotKnown, StoreError."""
        return self._reader.history(key, from_ms, to_ms, as_of_ms, limit)

    def told_gaps(
        self, source_id: str, symbol: str, from_ms: int, to_ms: int | None, as_of_ms: int | None
    ) -> list[GapChange]:
        """As ``StoreReader.told_gaps``. Raises NotKnown, StoreError."""
        return self._reader.told_gaps(source_id, symbol, from_ms, to_ms, as_of_ms)

    def _from_memory(
        self, key: StreamKey, mark: Watermark, first: int, end_ts_ms: int | None, limit: int
    ) -> CandlePage | None:
        view = self._recent.view(key)
        if view is None or first < view[0]:
            if first <= mark.latest_sequence - self._depth:
                return None
            view = self._with_older(key, mark, view, first)
            if view is None or first < view[0]:
                return None
        start, candles = view
        # The view may be a commit behind the watermark or ahead of it; only what both know is served.
        after = candles[first - start : min(len(candles), mark.latest_sequence - start + 1)]
        if len(after) == 0:
            return None
        if end_ts_ms is not None:
            after = after[: int(np.searchsorted(after["ts_ms"], end_ts_ms, side="right"))]
        self.hits += 1
        return CandlePage(first, after[:limit], has_more=len(after) > limit)

    def _with_older(
        self, key: StreamKey, mark: Watermark, view: tuple[int, CandleArray] | None, first: int
    ) -> tuple[int, CandleArray] | None:
        """Return a stream's cached rows, extended backwards to at least ``first`` with rows from the store."""
        older = self._older.pop(key, None)
        self._older_rows -= len(older.candles) if older is not None else 0
        if (
            older is None
            or older.latest_revision != mark.latest_revision
            or first < older.first_sequence
            or not _is_contiguous(older, view, mark)
        ):
            self.misses += 1
            page = self._reader.newest(key, max(self._rows_per_stream(), mark.latest_sequence - first + 1))
            if len(page.candles) == 0:
                return view
            # The mark was read before the rows: a revision in between makes them be read once more, never served old.
            older = _BackfilledRows(page.start_sequence, page.candles, mark.latest_revision)
        self._older[key] = older
        self._older_rows += len(older.candles)
        while self._older_rows > self._budget_rows and len(self._older) > 1:
            self._older_rows -= len(self._older.popitem(last=False)[1].candles)
        if view is None or view[0] < older.first_sequence:
            return older.first_sequence, older.candles
        return older.first_sequence, joined_rows([older.candles[: view[0] - older.first_sequence], view[1]])

    def _rows_per_stream(self) -> int:
        """Rows worth reading at once: so many that the budget lasts for every stream's newest."""
        return max(_LEAST_DEPTH, min(self._depth, self._budget_rows // max(len(self._reader.watermarks()), 1)))


def _is_contiguous(older: _BackfilledRows, view: tuple[int, CandleArray] | None, mark: Watermark) -> bool:
    """Return whether older rows reach up to the view, or to the newest candle where there is none."""
    wanted = mark.latest_sequence + 1 if view is None else view[0]
    return older.first_sequence <= wanted <= older.first_sequence + len(older.candles)
