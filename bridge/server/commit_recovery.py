"""Commits whose fate is unknown for a while.

DuckDB can fail after a commit was written, and then be unable to open its file for some time. Once it can, the store
says what it holds, and that is committed whatever was raised: it is made public as it was numbered, and who tries again
with the same candles is told so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fluxcap.bridge.store.store import Store
from fluxcap.schemas.candles import as_candle_array
from fluxcap.schemas.errors import StoreError
from fluxcap.schemas.types import Candle, CandleArray, CandleBatch, CandleRevision, StreamKey, Watermark

_NOTHING = Watermark()


class RecoveredCommits(NamedTuple):
    """Candles the store has although their commit failed."""

    batches: list[CandleBatch]
    revisions: list[CandleRevision]


class UnresolvedCommits:
    """Commits to ``store``, and finds out what became of what failed. For the thread of the store's owner."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loads = store.load_count
        self._batches: Sequence[CandleBatch] = ()
        self._revisions: Sequence[CandleRevision] = ()
        self._untold: dict[StreamKey, CandleBatch] = {}

    def commit(self, batches: Sequence[CandleBatch] = (), revisions: Sequence[CandleRevision] = ()) -> None:
        """As ``Store.commit``; remembers what failed when the store was lost with it."""
        try:
            self._store.commit(batches, revisions)
        except StoreError:
            if self._store.is_lost:
                self._batches, self._revisions = batches, revisions
            raise

    def resolve(self) -> RecoveredCommits | None:
        """Return what the store has, if it was reopened since the last call, else None.

        Raises StoreError while the store cannot be opened.
        """
        self._store.recover()
        if self._store.load_count == self._loads:
            return None
        self._loads = self._store.load_count
        marks = self._store.watermarks()
        # Of a batch or revision all is there or nothing: it was one transaction.
        batches = [b for b in self._batches if b.start_sequence <= marks.get(b.key, _NOTHING).latest_sequence]
        revisions = [r for r in self._revisions if r.start_revision <= marks.get(r.key, _NOTHING).latest_revision]
        self._batches = self._revisions = ()
        self._untold.update((batch.key, batch) for batch in batches)
        return RecoveredCommits(batches, revisions)

    def recovered_batch(self, key: StreamKey) -> CandleBatch | None:
        """The batch that turned out to be held, until ``acknowledge``."""
        return self._untold.get(key)

    def acknowledge(self, key: StreamKey) -> None:
        """Mark a stream as resolved: its retry has seen the result."""
        self._untold.pop(key, None)

    def without_recovered(
        self, key: StreamKey, candles: Sequence[Candle] | CandleArray
    ) -> Sequence[Candle] | CandleArray:
        """The candles without those of ``recovered_batch``."""
        batch = self._untold.get(key)
        if batch is None:
            return candles
        array = as_candle_array(candles)
        return array[~np.isin(array["ts_ms"], batch.candles["ts_ms"])]
