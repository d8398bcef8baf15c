"""A store file that nobody has open: its streams, candles, revisions and gaps in pages of arrays, read-only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from fluxcap.bridge.store.connection import StoreConnection
from fluxcap.bridge.store.file import check_store
from fluxcap.bridge.store.schema import CANDLE_COLUMNS
from fluxcap.schemas.candles import CandlePage, RevisionPage, StreamSize
from fluxcap.schemas.types import CandleArray, Gap, StreamKey

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
            rows = self._cursor.rows("SELECT stream_id, source_id, symbol, interval FROM streams ORDER BY stream_id")
        except BaseException:
            self._connection.close()
            raise
        self._ids = {StreamKey(*key): stream_id for stream_id, *key in rows}

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

    def close(self) -> None:
        """Idempotent."""
        self._connection.close()

    def __enter__(self) -> OfflineStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
