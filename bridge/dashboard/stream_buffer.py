"""Keeps the newest candles of one stream for the charts, and what changed since a version. Pure.

Each page remembers the version it has drawn and gets the rows that changed after it, or all of them when that was too
long ago. So a page that sleeps costs nothing and one that looks often gets little.
"""

from __future__ import annotations

from collections import deque

import msgspec

from fluxcap.bridge.client.latest import LatestCandle
from fluxcap.bridge.dashboard.rows import Row, row_of, rows_of
from fluxcap.schemas.types import Candle, CandleArray

MAX_CANDLES = 5_000


class Changes(msgspec.Struct, frozen=True):
    """Rows to draw: in place of all (``is_all``) or of those with the same time. ``forming``: the unsealed candle.

    ``version`` is what the page has after it.
    """

    version: int
    is_all: bool
    rows: list[Row]
    forming: Row | None


class StreamBuffer:
    """One stream. One thread at a time."""

    def __init__(self, kept: int = MAX_CANDLES) -> None:
        self._kept = kept
        self._rows: dict[int, Row] = {}
        self._changed: deque[int] = deque(maxlen=kept)
        self._version = 0
        self._reset_version = 0
        self._latest = LatestCandle()
        self.revisions_seen = 0

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def first_ms(self) -> int:
        """Start of the oldest candle; 0 without one."""
        return int(next(iter(self._rows), 0))

    @property
    def last_ms(self) -> int:
        return int(next(reversed(self._rows), 0))

    @property
    def forming(self) -> Candle | None:
        """The candle under way."""
        return self._latest.forming

    @property
    def latest_sequence(self) -> int:
        """Of the newest candle; 0 without one."""
        return self._latest.sequence

    @property
    def candles_seen(self) -> int:
        return self._latest.count

    def add(self, start_sequence: int, candles: CandleArray) -> None:
        """The next candles of the stream."""
        self._latest.add(start_sequence, candles)
        self._put(rows_of(candles))

    def revise(self, candles: CandleArray) -> None:
        """Better candles, of minutes that are here or lie between such; older ones are of no interest any more."""
        self.revisions_seen += len(candles)
        self._put([row for row in rows_of(candles) if row[0] >= self.first_ms or len(self._rows) < self._kept])

    def set_forming(self, candle: Candle) -> None:
        """The candle under way has changed."""
        if self._latest.set_forming(candle):
            self._version += 1
            self._changed.append(0)

    def reset(self) -> None:
        """The stream starts over."""
        self._rows.clear()
        self._latest.reset()
        self._version += 1
        self._changed.append(0)
        self._reset_version = self._version

    def changes(self, version: int) -> Changes | None:
        """Return the changes after ``version`` (0: everything), None when there are none."""
        missed = self._version - version
        if missed <= 0 and version:
            return None
        forming = row_of(self.forming) if self.forming is not None else None
        if version == 0 or version < self._reset_version or missed > len(self._changed):
            return Changes(self._version, True, list(self._rows.values()), forming)
        changed = dict.fromkeys(list(self._changed)[-missed:])
        rows = [self._rows[ts_ms] for ts_ms in sorted(changed) if ts_ms in self._rows]
        return Changes(self._version, False, rows, forming)

    def _put(self, rows: list[Row]) -> None:
        is_unordered = False
        for row in rows:
            ts_ms = int(row[0])
            is_unordered = is_unordered or (ts_ms < self.last_ms and ts_ms not in self._rows)
            self._rows[ts_ms] = row
            self._changed.append(ts_ms)
            self._version += 1
        if is_unordered:
            self._rows = dict(sorted(self._rows.items()))
        for ts_ms in list(self._rows)[: max(0, len(self._rows) - self._kept)]:
            del self._rows[ts_ms]
