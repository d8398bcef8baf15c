"""Which stretches of time were seen. Pure.

``Spans`` is a set of disjoint stretches ``[from_ms, to_ms)`` in UTC milliseconds: the times during which one asset's
ticks were being received, or are known from the platform's history. A quiet market on a working feed is covered; a
feed that was not there is not.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator


class Spans:
    """A sorted set of disjoint half-open stretches of time."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, from_ms: int, to_ms: int) -> None:
        """Add ``[from_ms, to_ms)``, joined with what touches it. Empty stretches are ignored."""
        if to_ms <= from_ms:
            return
        if self._ends and from_ms > self._ends[-1]:
            self._starts.append(from_ms)
            self._ends.append(to_ms)
            return
        first = bisect_right(self._ends, from_ms - 1)
        last = bisect_right(self._starts, to_ms)
        if first < last:
            from_ms = min(from_ms, self._starts[first])
            to_ms = max(to_ms, self._ends[last - 1])
        self._starts[first:last] = [from_ms]
        self._ends[first:last] = [to_ms]

    def covered_until(self, ts_ms: int) -> int:
        """End of the stretch that holds ``ts_ms``; ``ts_ms`` itself when none does."""
        at = bisect_right(self._starts, ts_ms) - 1
        return self._ends[at] if at >= 0 and self._ends[at] > ts_ms else ts_ms

    def covers(self, from_ms: int, to_ms: int) -> bool:
        return self.covered_until(from_ms) >= to_ms

    def touches(self, from_ms: int, to_ms: int) -> bool:
        """Whether any part of ``[from_ms, to_ms)`` is in the set."""
        at = bisect_right(self._starts, to_ms - 1) - 1
        return at >= 0 and self._ends[at] > from_ms

    def forget_before(self, ts_ms: int) -> None:
        """Drop stretches that ended before ``ts_ms``: memory stays bounded over days."""
        cut = bisect_right(self._ends, ts_ms)
        del self._starts[:cut]
        del self._ends[:cut]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self._starts, self._ends, strict=True))

    def __len__(self) -> int:
        return len(self._starts)


def union_covers(first: Spans, second: Spans, from_ms: int, to_ms: int) -> bool:
    """Whether ``[from_ms, to_ms)`` is covered by the two together."""
    at = from_ms
    while at < to_ms:
        reached = max(first.covered_until(at), second.covered_until(at))
        if reached == at:
            return False
        at = reached
    return True
