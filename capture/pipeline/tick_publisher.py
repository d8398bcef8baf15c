"""Ticks on the wire, for who asked for them: ``ticks.<source>.<symbol>.<interval>``, one TickBatch an asset and flush.

A listener of the pipeline. Best effort: ticks are not stored and cannot be fetched, so their sequences, dense per
stream from 1, start again with each run; who sees one missing knows that ticks were lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from fluxcap.capture.pipeline.listeners import Listener, PublishedUpdate
from fluxcap.schemas.types import StreamKey, Tick, TickBatch


class TickOutput(Protocol):
    """The part of the wire server used here; see there."""

    def ticks(self, ticks: TickBatch) -> None: ...


class TickPublisher(Listener):
    """Sends the ticks that went into published state. On the pipeline's thread."""

    def __init__(self, server: TickOutput, key_of: Callable[[str], StreamKey]) -> None:
        self._server = server
        self._key_of = key_of
        self._next: dict[str, int] = {}

    def published(self, update: PublishedUpdate) -> None:
        by_symbol: dict[str, list[Tick]] = {}
        for tick in update.ticks:
            by_symbol.setdefault(tick.symbol, []).append(tick)
        for symbol, ticks in by_symbol.items():
            start = self._next.get(symbol, 1)
            self._next[symbol] = start + len(ticks)
            times = np.fromiter((tick.ts_ms for tick in ticks), np.int64, len(ticks))
            prices = np.fromiter((tick.price for tick in ticks), np.float64, len(ticks))
            self._server.ticks(TickBatch(self._key_of(symbol), start, times, prices))
