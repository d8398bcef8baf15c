"""Sets of covered time ranges. Pure.

``TimeRanges`` is a set of disjoint stretches ``[from_ms, to_ms)`` in UTC milliseconds: the times during which one
asset's ticks were being received, or are known from the platform's history. A quiet market on a working feed is
covered; a feed that was not there is not.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

import msgspec

SPANS_MAX = 10_000


class TimeRanges:
    """A sorted set of disjoint half-open stretches of time; the oldest go when there are more than ``SPANS_MAX``."""

    __slots__ = ("_ends", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, from_ms: int, to_ms: int) -> None:
        """Add ``[from_ms, to_ms)``, joined with what touches it. Empty stretches are ignored."""
        if to_ms <= from_ms:
            return
        ends = self._ends
        if not ends or from_ms > ends[-1]:
            self._starts.append(from_ms)
            ends.append(to_ms)
            if len(ends) > SPANS_MAX:
                del self._starts[0], ends[0]
            return
        if from_ms >= self._starts[-1]:  # the newest stretch goes on: what happens nearly always
            ends[-1] = max(ends[-1], to_ms)
            return
        first = bisect_right(ends, from_ms - 1)
        last = bisect_right(self._starts, to_ms)
        if first < last:
            from_ms = min(from_ms, self._starts[first])
            to_ms = max(to_ms, ends[last - 1])
        self._starts[first:last] = [from_ms]
        ends[first:last] = [to_ms]

    def covered_since(self, ts_ms: int) -> int:
        """Start of the stretch that holds ``ts_ms`` or ends there; ``ts_ms`` itself when none does."""
        at = bisect_right(self._starts, ts_ms) - 1
        return self._starts[at] if at >= 0 and self._ends[at] >= ts_ms else ts_ms

    def covered_until(self, ts_ms: int) -> int:
        """End of the stretch that holds ``ts_ms``; ``ts_ms`` itself when none does."""
        at = bisect_right(self._starts, ts_ms) - 1
        return self._ends[at] if at >= 0 and self._ends[at] > ts_ms else ts_ms

    def covers(self, from_ms: int, to_ms: int) -> bool:
        """Return whether all of ``[from_ms, to_ms)`` is in the set."""
        return self.covered_until(from_ms) >= to_ms

    def touches(self, from_ms: int, to_ms: int) -> bool:
        """Return whether any part of ``[from_ms, to_ms)`` is in the set."""
        at = bisect_right(self._starts, to_ms - 1) - 1
        return from_ms < to_ms and at >= 0 and self._ends[at] > from_ms

    def reaches(self, from_ms: int, to_ms: int) -> bool:
        """Return whether one stretch reaches from ``from_ms`` or earlier up to ``to_ms``, where it may end.

        A stretch ends at the newest stamp of its socket. That tick is not within it, but all before it is.
        """
        at = bisect_right(self._starts, from_ms) - 1
        return at >= 0 and self._ends[at] >= to_ms

    def uncovered(self, from_ms: int, to_ms: int) -> list[tuple[int, int]]:
        """Return the ranges of ``[from_ms, to_ms)`` that are not in the set, ascending."""
        found = []
        at = bisect_right(self._ends, from_ms)
        while from_ms < to_ms:
            starts_ms = self._starts[at] if at < len(self._starts) else to_ms
            if from_ms < starts_ms:
                found.append((from_ms, min(starts_ms, to_ms)))
            from_ms = self._ends[at] if at < len(self._ends) else to_ms
            at += 1
        return found

    def shift(self, by_ms: int, from_ms: int = 0) -> None:
        """Move what lies at or after ``from_ms`` by so much: it was stamped with the wrong offset."""
        stretches = list(self)
        self._starts.clear()
        self._ends.clear()
        for start_ms, end_ms in stretches:
            self.add(start_ms, min(end_ms, from_ms))
        for start_ms, end_ms in stretches:
            self.add(max(start_ms, from_ms) + by_ms, end_ms + by_ms)

    def drop_after(self, ts_ms: int) -> None:
        """Forget what lies after a time."""
        while self._starts and self._starts[-1] > ts_ms:
            del self._starts[-1], self._ends[-1]
        if self._ends:
            self._ends[-1] = min(self._ends[-1], ts_ms)

    def prune_before(self, ts_ms: int) -> None:
        """Drop stretches that ended before ``ts_ms``: memory stays bounded over days."""
        cut = bisect_right(self._ends, ts_ms)
        del self._starts[:cut]
        del self._ends[:cut]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self._starts, self._ends, strict=True))

    def __len__(self) -> int:
        return len(self._starts)


class FeedCoverage(msgspec.Struct, frozen=True):
    """The known parts of one asset's time, at one instant: all that the candle rule knows of its feed.

    Attributes
    ----------
    live
        Stretches whose ticks were received.
    history
        Stretches whose ticks the platform's history has.
    watermark_ms
        Up to there every live socket of the asset has spoken, so that nothing older is under way; 0 without one.
    hold_until_ms
        Until then newer candles wait for the platform's history.
    grace_until_ms
        Until then silence is held against nobody: this process itself was not running.
    version
        Changes when past buckets may be better known than when they were sealed.

    All times are UTC milliseconds. The ranges are the feed's own and go on changing: use them at once.
    """

    live: TimeRanges
    history: TimeRanges
    watermark_ms: int = 0
    hold_until_ms: int = 0
    grace_until_ms: int = 0
    version: int = 0

    def covers(self, from_ms: int, to_ms: int) -> bool:
        """Return whether every tick of ``[from_ms, to_ms)`` is known, live or from history."""
        return covered_by_either(self.live, self.history, from_ms, to_ms)


def covered_by_either(first: TimeRanges, second: TimeRanges, from_ms: int, to_ms: int) -> bool:
    """Return whether ``[from_ms, to_ms)`` is covered by the two together."""
    at = from_ms
    while at < to_ms:
        reached = max(first.covered_until(at), second.covered_until(at))
        if reached == at:
            return False
        at = reached
    return True
