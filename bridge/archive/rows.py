"""Messages of JetStream as rows for files, and what is missing between them. Pure.

A row knows its revision: 0 as first published, else the number of the revision that brought it. Of the rows of one
candle the one with the highest revision counts, so that it does not matter in which order, or how often, rows come.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeGuard

import msgspec
import numpy as np
import numpy.typing as npt

from fluxcap.bridge.archive.partition import DAY_MS, Partition
from fluxcap.bridge.jetstream.subjects import Position
from fluxcap.schemas.candles import MAX_SEQUENCE
from fluxcap.schemas.types import CANDLE_DTYPE, CandleArray, CandleBatch, CandleRevision, StreamKey

ROW_DTYPE = np.dtype([("store", "<u2"), ("sequence", "<u8"), ("revision", "<u8"), ("candle", CANDLE_DTYPE)])
"""``store``: place in ``RowBuffer.stores``. ``sequence`` 0: a minute that only a revision brought."""


_YEAR_9999_MS = 253_370_764_800_000


class ReadPosition(msgspec.Struct, frozen=True):
    """The position up to which a stream of one store has been read."""

    latest_sequence: int = 0
    latest_revision: int = 0


class MissingRange(msgspec.Struct, frozen=True):
    """Numbers ``first`` to ``last`` that JetStream discarded before they were read. ``what``: candles, revisions."""

    key: StreamKey
    store_id: str
    what: str
    first: int
    last: int


def is_sound(message: object) -> TypeGuard[CandleBatch | CandleRevision]:
    """Return whether a message has candles, of times that have a date, under numbers that a file can hold."""
    numbers: tuple[int, ...]
    if isinstance(message, CandleBatch):
        numbers = (message.start_sequence, message.start_sequence + len(message.candles))
    elif isinstance(message, CandleRevision):
        newest = int(message.sequences.max()) if len(message.sequences) else 0
        numbers = (message.start_revision, message.start_revision + len(message.candles), newest + 1)
    else:
        return False
    times = message.candles["ts_ms"]
    return (
        len(times) > 0
        and min(numbers) > 0
        and max(numbers) < MAX_SEQUENCE
        and 0 <= times.min() <= times.max() < _YEAR_9999_MS
    )


class _Chunk(NamedTuple):
    """A message's rows: of a batch from ``first_sequence``, or revisions ``first_revision`` and so on."""

    store: int
    first_sequence: int
    sequences: npt.NDArray[np.uint64] | None
    first_revision: int
    candles: CandleArray


def _rows(chunks: list[_Chunk]) -> npt.NDArray[np.void]:
    """Of ROW_DTYPE, made all at once: most messages hold one candle, and an array for each would cost far more."""
    lengths = np.array([len(chunk.candles) for chunk in chunks])
    ends = np.cumsum(lengths)
    within = (np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)).astype(np.uint64)
    rows = np.empty(ends[-1], ROW_DTYPE)
    rows["candle"] = np.frombuffer(b"".join(chunk.candles.tobytes() for chunk in chunks), CANDLE_DTYPE)
    rows["store"] = np.repeat(np.array([chunk.store for chunk in chunks], np.uint16), lengths)
    rows["sequence"] = np.repeat(np.array([chunk.first_sequence for chunk in chunks], np.uint64), lengths) + within
    first_revisions = np.repeat(np.array([chunk.first_revision for chunk in chunks], np.uint64), lengths)
    rows["revision"] = np.where(first_revisions > 0, first_revisions + within, 0)
    for chunk, end in zip(chunks, ends, strict=True):
        if chunk.sequences is not None:
            rows["sequence"][end - len(chunk.candles) : end] = chunk.sequences
    return rows


class RowBuffer:
    """Rows that wait to be written.

    Attributes
    ----------
    rows
        How many wait.
    standings
        How far each stream was read, rows that wait included, by stream and ``store_id``; only those that changed since
        ``clear``.
    missing
        What was found missing since ``clear``.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.stores: list[str] = []
        self.positions: dict[tuple[StreamKey, str], ReadPosition] = {}
        self.missing: list[MissingRange] = []
        self._chunks: dict[StreamKey, list[_Chunk]] = {}

    def add(self, message: CandleBatch | CandleRevision, position: Position, before: ReadPosition | None) -> None:
        """Add one message.

        ``position`` is that in its headers; ``before``: how far its stream of that store was read before, None:
        never.
        """
        name = message.key, position.store_id
        before = self.positions.get(name) or before or ReadPosition(max(position.first_sequence - 1, 0))
        store = self._store(position.store_id)
        if isinstance(message, CandleBatch):
            self._note_missing(*name, "candles", before.latest_sequence, message.start_sequence)
            chunk = _Chunk(store, message.start_sequence, None, 0, message.candles)
            now = ReadPosition(max(before.latest_sequence, message.next_sequence - 1), before.latest_revision)
        else:
            first, last = message.start_revision, message.start_revision + len(message.candles) - 1
            self._note_missing(*name, "revisions", before.latest_revision, first)
            chunk = _Chunk(store, 0, message.sequences, first, message.candles)
            now = ReadPosition(before.latest_sequence, max(before.latest_revision, last))
        self.positions[name] = now
        self._chunks.setdefault(message.key, []).append(chunk)
        self.rows += len(message.candles)

    def partitions(self) -> Iterator[tuple[Partition, npt.NDArray[np.void]]]:
        """The rows by file, in the order they came."""
        for key in sorted(self._chunks):
            rows = _rows(self._chunks[key])
            days = rows["candle"]["ts_ms"] // DAY_MS
            for day in np.unique(days).tolist():
                yield Partition(key, day), rows[days == day]

    def clear(self) -> None:
        """All is written."""
        self.rows = 0
        self.stores.clear()
        self.positions.clear()
        self.missing.clear()
        self._chunks.clear()

    def _store(self, store_id: str) -> int:
        if store_id not in self.stores:
            self.stores.append(store_id)
        return self.stores.index(store_id)

    def _note_missing(self, key: StreamKey, store_id: str, what: str, before: int, first: int) -> None:
        if first > before + 1:
            self.missing.append(MissingRange(key, store_id, what, before + 1, first - 1))
