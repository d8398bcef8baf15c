"""Where an export reads candles, revisions and gaps from: a store that nobody has open, or a running server.

Both give pages of arrays, so that no amount of candles needs memory. Ticks are in neither: they are not stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from bridge.client.fetch import candle_pages, list_streams, revision_pages
from bridge.curve import ClientCurve
from bridge.store_connection import StoreConnection
from bridge.store_file import check_store
from bridge.store_schema import CANDLE_COLUMNS, candles_from_columns
from schemas.types import CandleArray, Gap, StreamKey

PAGE_ROWS = 100_000


class Held(msgspec.Struct, frozen=True):
    """A stream and how many candles and revisions of it there are."""

    key: StreamKey
    candles: int
    revisions: int


class CandlePage(msgspec.Struct, frozen=True, eq=False):
    """Candles with dense sequences from ``start_sequence``."""

    start_sequence: int
    candles: CandleArray


class RevisionPage(msgspec.Struct, frozen=True, eq=False):
    """Revisions, dense from ``start_revision``; ``sequences`` 0: a minute the main stream never had."""

    start_revision: int
    sequences: npt.NDArray[np.uint64]
    candles: CandleArray


class Archive(Protocol):
    """All methods raise StoreError; of a server WireError, WireTimeout, CodecError."""

    def streams(self) -> list[Held]: ...

    def candles(self, key: StreamKey) -> Iterator[CandlePage]:
        """All of a stream, oldest first."""

    def revisions(self, key: StreamKey) -> Iterator[RevisionPage]:
        """All that are kept, oldest first."""

    def gaps(self) -> list[Gap]:
        """All, oldest first; raises NotAnswering where the server's control endpoint does not answer."""


class StoppedStore:
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

    def streams(self) -> list[Held]:
        count = "SELECT stream_id, count(*) FROM {} GROUP BY stream_id"
        candles = dict(self._cursor.rows(count.format("candles")))
        revisions = dict(self._cursor.rows(count.format("revisions")))
        return [Held(key, candles.get(i, 0), revisions.get(i, 0)) for key, i in self._ids.items()]

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
            columns = self._cursor.columns(page, (stream_id, start, start + PAGE_ROWS - 1))
            if len(columns["number"]):
                yield int(columns["number"][0]), columns["sequence"], candles_from_columns(columns)

    def gaps(self) -> list[Gap]:
        rows = self._cursor.rows("SELECT source_id, symbol, from_ms, to_ms, reason FROM gaps ORDER BY from_ms, symbol")
        return [Gap(*row) for row in rows]

    def close(self) -> None:
        """Idempotent."""
        self._connection.close()

    def __enter__(self) -> StoppedStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class RunningServer:
    """A server over the wire. ``gaps``: how to ask for them, since the wire has no such question."""

    def __init__(
        self, rep: str | None, gaps: Callable[[], list[Gap]], *, timeout: float = 5.0, curve: ClientCurve | None = None
    ) -> None:
        self._rep = rep
        self._gaps = gaps
        self._timeout = timeout
        self._curve = curve

    def streams(self) -> list[Held]:
        found = list_streams(self._rep, timeout=self._timeout, curve=self._curve)
        return [
            Held(s.key, s.latest_sequence - s.first_sequence + 1 if s.first_sequence else 0, s.latest_revision)
            for s in found
        ]

    def candles(self, key: StreamKey) -> Iterator[CandlePage]:
        for page, _ in candle_pages(key, self._rep, timeout=self._timeout, curve=self._curve):
            yield CandlePage(page.start_sequence, page.candles)

    def revisions(self, key: StreamKey) -> Iterator[RevisionPage]:
        for page in revision_pages(key, self._rep, timeout=self._timeout, curve=self._curve):
            yield RevisionPage(page.start_revision, page.sequences, page.candles)

    def gaps(self) -> list[Gap]:
        return self._gaps()
