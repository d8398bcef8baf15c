"""The tape: the recent ticks of one asset, in time order, each once. Pure.

In: ticks of the live feed and of the platform's history, in any order. Out: the candle of any stretch of time that the
tape still holds. It knows nothing of buckets, sockets or quality; ``capture/market/candles.py`` does.

Times are UTC epoch milliseconds. Two ticks of one asset at the same millisecond and price are one tick: in 1,659
recorded history ticks no time stamp occurs twice, while reconnecting sockets do send the last tick again.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import itemgetter

import numpy as np

from fluxcap.schemas.types import Candle

HORIZON_MS = 1_800_000
NEVER_MS = 2**62
_LONG = 96
"""From so many ticks on, NumPy finds the extremes sooner than sorting does; max() and min() are slower than both."""


class TickTape:
    """Ticks as two parallel columns, 16 bytes a tick. Ascending by time; ties in order of arrival.

    Ticks that come in order wait in lists until somebody looks: appending to a list is several times cheaper than to a
    column, and a column takes many in at once.
    """

    __slots__ = (
        "_horizon_ms",
        "_new_price",
        "_new_ts",
        "_price",
        "_prune_at_ms",
        "_ts",
        "holds_from_ms",
        "keep_from_ms",
        "last_ts_ms",
    )

    def __init__(self, horizon_ms: int = HORIZON_MS) -> None:
        self._horizon_ms = horizon_ms
        self._ts = array("q")
        self._price = array("d")
        self._new_ts: list[int] = []
        self._new_price: list[float] = []
        self._prune_at_ms = 0
        self.last_ts_ms = -1
        self.holds_from_ms = 0
        """Older ticks than this were dropped or refused: a bucket that starts before it cannot be folded any more."""
        self.keep_from_ms = NEVER_MS
        """Ticks from here on are kept, however old: a bucket of an earlier run waits to be sealed."""

    def __len__(self) -> int:
        return len(self._ts) + len(self._new_ts)

    @property
    def last_tick_ts_ms(self) -> int:
        """Time of the newest tick, 0 without one."""
        return max(self.last_ts_ms, 0)

    @property
    def first_ts_ms(self) -> int | None:
        self._flush_pending()
        return self._ts[0] if self._ts else None

    def add(self, ts_ms: int, price: float) -> bool:
        """Put one tick in its place. False when it is there already or older than the horizon."""
        if ts_ms > self.last_ts_ms:
            self._new_ts.append(ts_ms)
            self._new_price.append(price)
            self.last_ts_ms = ts_ms
            if ts_ms > self._prune_at_ms:
                self._prune(ts_ms - self._horizon_ms)
            return True
        return self._insert(ts_ms, price)

    def fold(self, start_ms: int, end_ms: int) -> Candle | None:
        """The candle of ``[start_ms, end_ms)`` with ``ts_ms = start_ms``; None without a tick."""
        self._flush_pending()
        low = bisect_left(self._ts, start_ms)
        high = len(self._ts) if self.last_ts_ms < end_ms else bisect_left(self._ts, end_ms, low)
        count = high - low
        if not count:
            return None
        if count >= _LONG:
            column = np.frombuffer(self._price)[low:high]
            return Candle(
                start_ms,
                self._price[low],
                float(column.max()),
                float(column.min()),
                self._price[high - 1],
                float(count),
                count,
            )
        prices = self._price[low:high].tolist()
        first, last = prices[0], prices[-1]
        prices.sort()
        return Candle(start_ms, first, prices[-1], prices[0], last, float(count), count)

    def ticks(self, start_ms: int, end_ms: int) -> list[tuple[int, float]]:
        """The ticks of ``[start_ms, end_ms)`` as ``(ts_ms, price)``, in their order; none where some were dropped."""
        if start_ms < self.holds_from_ms:
            return []
        self._flush_pending()
        low, high = bisect_left(self._ts, start_ms), bisect_left(self._ts, end_ms)
        return list(zip(self._ts[low:high].tolist(), self._price[low:high].tolist(), strict=True))

    def next_tick_ts_ms(self, from_ms: int) -> int | None:
        """Time of the first tick at or after ``from_ms``."""
        if from_ms > self.last_ts_ms:
            return None
        self._flush_pending()
        at = bisect_left(self._ts, from_ms)
        return self._ts[at] if at < len(self._ts) else None

    def keep_at_least(self, horizon_ms: int) -> None:
        """Widen the horizon: a builder of a longer interval reads this tape too."""
        if horizon_ms > self._horizon_ms:
            self._prune_at_ms += horizon_ms - self._horizon_ms
            self._horizon_ms = horizon_ms

    def shift(self, by_ms: int, from_ms: int = 0) -> None:
        """Stamp the ticks from ``from_ms`` on again, ``by_ms`` later: they had the wrong offset."""
        self._flush_pending()
        at = bisect_left(self._ts, from_ms)
        times = [ts_ms if place < at else ts_ms + by_ms for place, ts_ms in enumerate(self._ts)]
        self._replace(sorted(zip(times, self._price, strict=True), key=itemgetter(0)))
        self.holds_from_ms += by_ms if self.holds_from_ms > from_ms else 0
        self.keep_from_ms += by_ms if from_ms <= self.keep_from_ms < NEVER_MS else 0

    def drop_after(self, ts_ms: int) -> None:
        """Forget the ticks later than a time: they were stamped by a wrong clock."""
        self._flush_pending()
        at = bisect_right(self._ts, ts_ms)
        self._replace(list(zip(self._ts[:at], self._price[:at], strict=True)))

    def _replace(self, ticks: Sequence[tuple[int, float]]) -> None:
        self._ts = array("q", [ts_ms for ts_ms, _ in ticks])
        self._price = array("d", [price for _, price in ticks])
        self.last_ts_ms = self._ts[-1] if self._ts else -1
        self._prune_at_ms = self.last_ts_ms + self._horizon_ms // 4

    def _flush_pending(self) -> None:
        """Put the ticks that came in order onto the columns."""
        if self._new_ts:
            self._ts.fromlist(self._new_ts)
            self._price.fromlist(self._new_price)
            self._new_ts.clear()
            self._new_price.clear()

    def _insert(self, ts_ms: int, price: float) -> bool:
        if ts_ms < min(self.last_ts_ms - self._horizon_ms, self.keep_from_ms):
            # Refused, so what starts before the next millisecond is not whole here any more.
            self.holds_from_ms = max(self.holds_from_ms, ts_ms + 1)
            return False
        self._flush_pending()
        low = bisect_left(self._ts, ts_ms)
        high = bisect_right(self._ts, ts_ms, low)
        if price in self._price[low:high]:
            return False
        self._ts.insert(high, ts_ms)
        self._price.insert(high, price)
        return True

    def _prune(self, before_ms: int) -> None:
        """Drop ticks older than the horizon.

        A quarter of the horizon may accumulate first, so that pruning costs next to nothing per tick.
        """
        self._flush_pending()
        before_ms = min(before_ms, self.keep_from_ms)
        cut = bisect_left(self._ts, before_ms)
        if cut:
            del self._ts[:cut]
            del self._price[:cut]
            self.holds_from_ms = max(self.holds_from_ms, before_ms)
        self._prune_at_ms = self.last_ts_ms + self._horizon_ms // 4
