"""Messages of the log as rows for files, and what is missing between them. Pure.

A row knows its revision: 0 as first published, else the number of the revision that brought it. Of the rows of one
candle the one with the highest revision counts, so that it does not matter in which order, or how often, rows come.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
import numpy.typing as npt

from bridge.jetstream.subjects import Position
from bridge.parquet_archive.partition import DAY_MS, Partition
from schemas.types import CANDLE_DTYPE, CandleBatch, CandleRevision, StreamKey

ROW_DTYPE = np.dtype([("store", "<u2"), ("sequence", "<u8"), ("revision", "<u8"), ("candle", CANDLE_DTYPE)])
"""``store``: place in ``Gathered.stores``. ``sequence`` 0: a minute that only a revision brought."""


class Standing(msgspec.Struct, frozen=True):
    """How far a stream has been read."""

    store_id: str = ""
    latest_sequence: int = 0
    latest_revision: int = 0


class Missing(msgspec.Struct, frozen=True):
    """Numbers ``first`` to ``last`` that the log had forgotten before they were read. ``what``: candles, revisions."""

    key: StreamKey
    store_id: str
    what: str
    first: int
    last: int


class Gathered:
    """Rows that wait to be written.

    Attributes
    ----------
    rows
        How many wait.
    standings
        How far each stream was read, rows that wait included; only those that changed since ``clear``.
    missing
        What was found missing since ``clear``.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.stores: list[str] = []
        self.standings: dict[StreamKey, Standing] = {}
        self.missing: list[Missing] = []
        self._rows: dict[StreamKey, list[npt.NDArray[np.void]]] = {}

    def add(self, message: CandleBatch | CandleRevision, told: Position, before: Standing) -> None:
        """One message, with what its headers tell, and how far its stream was read before."""
        before = self.standings.get(message.key, before)
        if before.store_id != told.store_id:
            before = Standing(told.store_id, max(told.first_sequence - 1, 0), 0)
        rows = np.empty(len(message.candles), ROW_DTYPE)
        rows["store"], rows["candle"] = self._store(told.store_id), message.candles
        if isinstance(message, CandleBatch):
            self._note_missing(message.key, before.store_id, "candles", before.latest_sequence, message.start_sequence)
            rows["sequence"] = np.arange(message.start_sequence, message.next_sequence, dtype=np.uint64)
            rows["revision"] = 0
            latest = max(before.latest_sequence, message.next_sequence - 1)
            now = Standing(before.store_id, latest, before.latest_revision)
        else:
            first, last = message.start_revision, message.start_revision + len(message.candles) - 1
            self._note_missing(message.key, before.store_id, "revisions", before.latest_revision, first)
            rows["sequence"] = message.sequences
            rows["revision"] = np.arange(first, last + 1, dtype=np.uint64)
            now = Standing(before.store_id, before.latest_sequence, max(before.latest_revision, last))
        self.standings[message.key] = now
        self._rows.setdefault(message.key, []).append(rows)
        self.rows += len(rows)

    def partitions(self) -> Iterator[tuple[Partition, npt.NDArray[np.void]]]:
        """The rows by file, in the order they came."""
        for key in sorted(self._rows):
            chunks = self._rows[key]
            rows = np.frombuffer(b"".join(chunk.tobytes() for chunk in chunks), ROW_DTYPE)
            days = rows["candle"]["ts_ms"] // DAY_MS
            for day in np.unique(days).tolist():
                yield Partition(key, day), rows[days == day]

    def clear(self) -> None:
        """All is written."""
        self.rows = 0
        self.stores.clear()
        self.standings.clear()
        self.missing.clear()
        self._rows.clear()

    def _store(self, store_id: str) -> int:
        if store_id not in self.stores:
            self.stores.append(store_id)
        return self.stores.index(store_id)

    def _note_missing(self, key: StreamKey, store_id: str, what: str, before: int, first: int) -> None:
        if first > before + 1:
            self.missing.append(Missing(key, store_id, what, before + 1, first - 1))
