"""A store file that nobody has open: its streams, candles, revisions and gaps as arrays, read-only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from fluxcap.bridge.store.as_of import NEVER_MS, require_known
from fluxcap.bridge.store.connection import StoreConnection
from fluxcap.bridge.store.file import check_store, stored_version
from fluxcap.bridge.store.history import NO_HISTORY, HistoryPage, KnownFrom, read_candles, read_gaps, read_page
from fluxcap.bridge.store.schema import CANDLE_COLUMNS
from fluxcap.schemas.candles import CandlePage, RevisionPage, StreamSize
from fluxcap.schemas.types import CandleArray, Gap, GapChange, StreamKey

PAGE_ROWS = 100_000


class OfflineStore:
    """A store file that nobody has open; read-only, a context manager.

    Raises StoreLocked, StoreDamaged, StoreError.
    """

    def __init__(self, path: Path) -> None:
        self._connection = StoreConnection(path, read_only=True)
        try:
            self._cursor = self._connection.cursor()
            check_store(self._cursor, path)
            self._has_states = stored_version(self._cursor) > 1
            rows = self._cursor.rows("SELECT stream_id, source_id, symbol, interval FROM streams ORDER BY stream_id")
        except BaseException:
            self._connection.close()
            raise
        self._ids = {StreamKey(*key): stream_id for stream_id, *key in rows}
        self._known_from = KnownFrom()

    def streams(self) -> list[StreamSize]:
        count = "SELECT stream_id, count(*) FROM {} GROUP BY stream_id"
        candles = dict(self._cursor.rows(count.format("candles")))
        revisions = dict(self._cursor.rows(count.format("revisions")))
        return [StreamSize(key, candles.get(i, 0), revisions.get(i, 0)) for key, i in self._ids.items()]

    def candles(self, key: StreamKey) -> Iterator[CandlePage]:
        for number, _, candles in self._pages("candles", "sequence", key):
            yield CandlePage(number, candles)

    def revisions(self, key: StreamKey) -> Iterator[RevisionPage]:
        for number, sequences, candles in self._pages("revisions", "revision", key):
            yield RevisionPage(number, sequences.astype(np.uint64), candles)

    def _pages(
        self, table: str, number: str, key: StreamKey
    ) -> Iterator[tuple[int, npt.NDArray[np.uint64], CandleArray]]:
        stream_id = self._ids[key]
        bounds = f"SELECT min({number}), max({number}) FROM {table} WHERE stream_id = ?"  # noqa: S608
        first, last = self._cursor.rows(bounds, (stream_id,))[0]
        page = (
            f"SELECT {number} AS number, sequence, {CANDLE_COLUMNS} FROM {table} "  # noqa: S608
            f"WHERE stream_id = ? AND {number} BETWEEN ? AND ? ORDER BY {number}"
        )
        for start in range(first or 0, (last or -1) + 1, PAGE_ROWS):
            candles, columns = self._cursor.candles(page, (stream_id, start, start + PAGE_ROWS - 1))
            if len(columns["number"]):
                yield int(columns["number"][0]), columns["sequence"], candles

    def gaps(self) -> list[Gap]:
        rows = self._cursor.rows("SELECT source_id, symbol, from_ms, to_ms, reason FROM gaps ORDER BY from_ms, symbol")
        return [Gap(*row) for row in rows]

    def history(
        self, key: StreamKey, from_ms: int = 0, to_ms: int | None = None, as_of_ms: int | None = None
    ) -> HistoryPage:
        """All that ``StoreReader.history`` gives in pages. Raises NotKnown."""
        self._require_known(as_of_ms)
        stream_id = self._ids.get(key)
        if stream_id is None:
            return NO_HISTORY
        bounds = (from_ms, NEVER_MS if to_ms is None else to_ms)
        return HistoryPage(*read_candles(self._cursor, stream_id, *bounds, as_of_ms))

    def told_gaps(
        self, source_id: str, symbol: str, from_ms: int, to_ms: int | None, as_of_ms: int | None = None
    ) -> list[GapChange]:
        """As ``StoreReader.told_gaps``. Raises NotKnown."""
        self._require_known(as_of_ms)
        bounds = (from_ms, NEVER_MS if to_ms is None else to_ms)
        return read_gaps(self._cursor, source_id, symbol, *bounds, as_of_ms, has_states=self._has_states)

    def first_from(self, key: StreamKey, from_ms: int, as_of_ms: int | None = None) -> int | None:
        """Begin (UTC ms) of the first candle of ``StoreReader.history`` from a time on; None without any."""
        self._require_known(as_of_ms)
        page = read_page(self._cursor, self._ids[key], key.interval_ms, from_ms, NEVER_MS, as_of_ms, 1)
        while not len(page.candles) and page.next_ms:
            page = read_page(self._cursor, self._ids[key], key.interval_ms, page.next_ms, NEVER_MS, as_of_ms, 1)
        return int(page.candles["ts_ms"][0]) if len(page.candles) else None

    def _require_known(self, as_of_ms: int | None) -> None:
        if as_of_ms is None:
            return
        if not self._has_states:
            require_known(as_of_ms, NEVER_MS)
        self._known_from.require(self._cursor, as_of_ms)

    def close(self) -> None:
        """Idempotent."""
        self._connection.close()

    def __enter__(self) -> OfflineStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
