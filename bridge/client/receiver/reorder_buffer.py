"""A reorder buffer: numbered rows arrive in any order, more than once or not at all, and leave in order, once each.

Pure. Rows come in chunks of consecutive numbers (a live batch, a backfill page, a run of revisions). The buffer keeps
what cannot leave yet, bounded: when it is full the chunks furthest ahead are dropped, and asked for again later.
"""

from __future__ import annotations

import enum
from bisect import bisect_left
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
import numpy.typing as npt

from fluxcap.schemas.candles import joined_rows

Rows: TypeAlias = npt.NDArray[Any]
"""Shape ``(n,)``; any dtype: the buffer only cuts and joins."""


class Offer(enum.Enum):
    """The outcome of an offered chunk."""

    KEPT = enum.auto()
    DUPLICATE = enum.auto()
    """Every number of it has left, or waits, already."""
    EVICTED = enum.auto()
    """The buffer was full of chunks that come sooner; it will be requested again."""


class Chunk(msgspec.Struct, frozen=True, eq=False):
    """Consecutive rows: ``rows[i]`` has number ``start + i``."""

    start: int
    rows: Rows
    is_backfill: bool

    @property
    def end(self) -> int:
        """Number of the last row."""
        return self.start + len(self.rows) - 1


class ReorderBuffer:
    """One dense numbering, from 1.

    position: number of the last row that left.
    target: highest number known to exist.
    limit_rows: most rows kept waiting.
    """

    def __init__(self, position: int, *, limit_rows: int = 50_000) -> None:
        self.position = position
        self.target = position
        self._limit_rows = limit_rows
        self._starts: list[int] = []
        self._chunks: list[Chunk] = []
        self.buffered_rows = 0

    def pass_next(self, start: int, rows: Rows) -> bool:
        """Return whether rows are the next ones while none wait, which is nearly always: then they have left with this.

        As ``offer`` and ``drain`` in one; False has changed nothing.
        """
        if self._chunks or start != self.position + 1:
            return False
        self.position += len(rows)
        self.target = max(self.target, self.position)
        return True

    def offer(self, start: int, rows: Rows, *, is_backfill: bool) -> Offer:
        """Take in rows ``start``, ``start + 1``, …; nothing leaves before ``drain``."""
        run = Chunk(start, rows, is_backfill)
        if not len(rows) or run.end <= self.position:
            return Offer.DUPLICATE
        self.target = max(self.target, run.end)
        place = bisect_left(self._starts, start)
        if place and self._chunks[place - 1].end >= run.end:
            return Offer.DUPLICATE
        if place < len(self._chunks) and self._starts[place] == start:
            if self._chunks[place].end >= run.end:
                return Offer.DUPLICATE
            self._drop(place)
        self._keep(place, run)
        return Offer.KEPT if self._evict(run) else Offer.EVICTED

    def drain(self, max_rows: Callable[[Rows], int] = len) -> list[Chunk]:
        """The rows that may leave now, in order, joined where they came the same way; moves ``position``.

        permitted: how many leading rows of a chunk may leave (all by default).
        """
        if not self._chunks:
            return []
        ready: list[Chunk] = []
        while self._chunks and self._starts[0] <= self.position + 1:
            run = self._drop(0)
            rows = run.rows[self.position + 1 - run.start :]
            if not len(rows):
                continue
            start, count = self.position + 1, max_rows(rows)
            if count:
                self.position += count
                ready.append(Chunk(start, rows[:count], run.is_backfill))
            if count < len(rows):
                self._keep(0, Chunk(start + count, rows[count:], run.is_backfill))
                break
        return _joined(ready)

    def missing(self, page_limit: int) -> tuple[int, int] | None:
        """The next rows to ask for as (number to start after, how many), or None when nothing is missing."""
        have = self.position
        if not self._chunks and self.target <= have:  # nearly always
            return None
        for run in self._chunks:
            if run.start > have + 1:
                return have, min(page_limit, run.start - have - 1)
            have = max(have, run.end)
        return (have, min(page_limit, self.target - have)) if self.target > have else None

    def skip_to(self, position: int) -> None:
        """Give up what lies up to ``position``."""
        self.position = max(self.position, position)
        self.target = max(self.target, self.position)

    def clear(self, target: int | None = None) -> None:
        """Drop what waits; ``target`` replaces the highest number known to exist."""
        self._starts.clear()
        self._chunks.clear()
        self.buffered_rows = 0
        if target is not None:
            self.target = max(target, self.position)

    def restart(self, position: int = 0) -> None:
        """Begin a new numbering."""
        self.position = position
        self.target = position
        self.clear()

    def _keep(self, place: int, run: Chunk) -> None:
        self._starts.insert(place, run.start)
        self._chunks.insert(place, run)
        self.buffered_rows += len(run.rows)

    def _drop(self, place: int) -> Chunk:
        del self._starts[place]
        run = self._chunks.pop(place)
        self.buffered_rows -= len(run.rows)
        return run

    def _evict(self, newest: Chunk) -> bool:
        """Bring the buffer back to its bound, furthest chunks first; whether ``newest`` is still in it."""
        kept = True
        while self.buffered_rows > self._limit_rows and len(self._chunks) > 1:
            kept = self._drop(len(self._chunks) - 1) is not newest and kept
        return kept


def _joined(runs: list[Chunk]) -> list[Chunk]:
    if len(runs) < 2:
        return runs
    joined: list[list[Chunk]] = []
    for run in runs:
        if joined and joined[-1][-1].is_backfill == run.is_backfill:
            joined[-1].append(run)
        else:
            joined.append([run])
    return [
        group[0]
        if len(group) == 1
        else Chunk(group[0].start, joined_rows([r.rows for r in group]), group[0].is_backfill)
        for group in joined
    ]
