"""The tape: the recent ticks of one asset, in time order, each as often as the platform told it. Pure.

In: ticks of the live feed and of the platform's history, in any order. Out: the candle of any stretch of time that the
tape still holds. It knows nothing of buckets, sockets or quality; ``capture/market/candles.py`` does.

Times are UTC epoch milliseconds. Ticks of one stamp: each source (a socket, a history, the journal) counts how often it
told a price at a stamp, and a tick is new if its source has now told that price more often than the tape holds it. So
two tabs that tell the same make it once, and what one of them missed the other one adds. They stand in order of
arrival; the last new one is the close.

Exact repeats (same stamp, same price, no other price of that stamp between) of one source count where the platform
means them: an exchange does, with several trades of one millisecond or of one whole second. Others send the last tick
again when they reconnect: in 1,659 recorded history ticks no stamp occurs twice. There an exact repeat is dropped.

Where a tick has the platform's own id of its trade, the id decides, and all sockets count as one source.
"""

from __future__ import annotations

import enum
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterable, Mapping, Sequence
from operator import itemgetter

import numpy as np

from fluxcap.schemas.types import Candle

HORIZON_MS = 1_800_000
NEVER_MS = 2**62
_LONG = 96
"""From so many ticks on, NumPy finds the extremes sooner than sorting does; max() and min() are slower than both."""
IDS_MAX = 8_192
"""Ids of trades that are remembered of an asset, the newest."""


class TickResult(enum.Enum):
    """The meaning of a tick to its asset."""

    NEW = "new"
    FIRST_LIVE = "first live"
    """Only the platform's history had it before."""
    KNOWN = "known"
    """A second tab, or a socket that repeats itself."""


_NEW = TickResult.NEW
"""Python 3.11 takes 0.1 µs to find a member of an enum: too long to do it for every tick."""


class _Source(enum.Enum):
    """Sources that are no socket."""

    HISTORY = enum.auto()
    JOURNAL = enum.auto()
    """What an earlier run received. All of it was new then, so its repeats count on every platform."""
    WAITING = enum.auto()
    """What an earlier run received before it knew the time."""
    TRADE_IDS = enum.auto()
    """All sockets together, where ids tell their trades apart."""


_HISTORY, _JOURNAL, _WAITING, _BY_ID = _Source.HISTORY, _Source.JOURNAL, _Source.WAITING, _Source.TRADE_IDS
_HISTORY_MARK, _JOURNAL_MARK, _WAITING_MARK, _ID_MARK, _LIVE_MARK, _FIRST_SOCKET_MARK = 1, 2, 4, 8, 16, 32
_EXACT = (_JOURNAL, _BY_ID)
"""Sources that tell nothing twice."""
_ALL_MARKS = 2**64 - 1
_LAST_TOLD_MAX = 1_024
_SOCKETS_MAX = 59
"""Marks are bits of 64. Of more sockets of one asset, the one that has told nothing for longest is forgotten."""


class TickTape:
    """Ticks as three parallel columns, 24 bytes a tick. Ascending by time; ties in order of arrival.

    The third column has a bit for each source that has told the tick, so that a source has told a price as often as
    there are ticks of it with its bit. ``_LIVE_MARK``: told by a socket, of this run or an earlier one.

    Ticks that come in order wait in lists until somebody looks: appending to a list is several times cheaper than to a
    column, and a column takes many in at once. Those in the lists are all of one source.

    ``repeats``: whether exact repeats of a socket, or of a history, are ticks of their own.
    """

    __slots__ = (
        "_forgotten_ids_ms",
        "_horizon_ms",
        "_ids",
        "_last_told",
        "_mark_of",
        "_marks",
        "_new_marks",
        "_new_price",
        "_new_source",
        "_new_ts",
        "_price",
        "_prune_at_ms",
        "_repeats",
        "_ts",
        "holds_from_ms",
        "keep_from_ms",
        "last_ts_ms",
    )

    def __init__(self, horizon_ms: int = HORIZON_MS, *, repeats: bool = False) -> None:
        self._horizon_ms = horizon_ms
        self._repeats = repeats
        self._ts = array("q")
        self._price = array("d")
        self._marks = array("Q")
        self._new_ts: list[int] = []
        self._new_price: list[float] = []
        self._new_source: Hashable = _JOURNAL
        self._new_marks = _JOURNAL_MARK | _LIVE_MARK
        self._mark_of: dict[Hashable, int] = {}
        """The bit of each socket, the one that began to tell last at the end."""
        self._last_told: dict[tuple[int, int], float] = {}
        """The price that a source (by its bit) told last of a stamp, where there was one of that stamp before."""
        self._ids: dict[str, int] = {}
        """Ids of trades and their stamps, in order of arrival."""
        self._forgotten_ids_ms = -1
        """Newest stamp of an id that is forgotten."""
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

    def take(self, ts_ms: int, price: float, socket: Hashable, trade_id: str = "") -> TickResult:
        """Put one live tick in its place, if it is new. One older than the horizon is KNOWN.

        Parameters
        ----------
        socket
            Who told it.
        trade_id
            The platform's own id of the trade, "" for none.
        """
        if trade_id:
            if not self._is_new_id(ts_ms, price, trade_id):
                return TickResult.KNOWN
            socket = _BY_ID
        if ts_ms > self.last_ts_ms:
            if socket is not self._new_source:
                self._turn_to(socket)
            self._new_ts.append(ts_ms)
            self._new_price.append(price)
            self.last_ts_ms = ts_ms
            if ts_ms > self._prune_at_ms:
                self._prune(ts_ms - self._horizon_ms)
            return _NEW
        return self._insert(ts_ms, price, socket)

    def add(self, ts_ms: int, price: float) -> bool:
        """Put one tick that an earlier run received in its place. False when it is older than the horizon.

        All of these together are one source, the journal.
        """
        return self.take(ts_ms, price, _JOURNAL) is _NEW

    def add_waiting(self, ts_ms: int, price: float) -> bool:
        """Put one tick in its place that an earlier run received before it knew the time; True if it is new.

        All of these together are one source: a kill may have left some of them in the journal, too.
        """
        return self.take(ts_ms, price, _WAITING) is _NEW

    def add_history(self, ticks: Iterable[tuple[int, float]]) -> list[int]:
        """Put the ticks ``(ts_ms, price)`` of one history in their places. Returns the times of those that are new."""
        self._flush_pending()
        self._clear(_HISTORY_MARK)
        return [ts_ms for ts_ms, price in ticks if self.take(ts_ms, price, _HISTORY) is _NEW]

    def has_told(self, socket: Hashable, ticks: Mapping[tuple[int, float], int]) -> bool:
        """Return whether a socket has told each ``(ts_ms, price)`` at least as often as it stands there."""
        self._flush_pending()
        mark = self._mark_of.get(socket, 0)
        for (ts_ms, price), count in ticks.items():
            low = bisect_left(self._ts, ts_ms)
            high = bisect_right(self._ts, ts_ms, low)
            told = zip(self._price[low:high], self._marks[low:high], strict=True)
            if sum(known == price and marks & mark > 0 for known, marks in told) < count:
                return False
        return True

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

    def live_ticks(self, start_ms: int, end_ms: int) -> list[tuple[int, float]]:
        """The ticks of ``[start_ms, end_ms)`` that sockets told, of this run or an earlier one, in their order."""
        self._flush_pending()
        low, high = bisect_left(self._ts, start_ms), bisect_left(self._ts, end_ms)
        ticks = zip(self._ts[low:high], self._price[low:high], self._marks[low:high], strict=True)
        return [(ts_ms, price) for ts_ms, price, marks in ticks if marks & _LIVE_MARK]

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
        self._replace(sorted(zip(times, self._price, self._marks, strict=True), key=itemgetter(0)))
        self._last_told = {
            (mark, ts_ms + by_ms if ts_ms >= from_ms else ts_ms): price
            for (mark, ts_ms), price in self._last_told.items()
        }
        self._ids = {trade_id: ts_ms + by_ms for trade_id, ts_ms in self._ids.items()}
        self._forgotten_ids_ms += by_ms if self._forgotten_ids_ms >= 0 else 0
        self.holds_from_ms += by_ms if self.holds_from_ms > from_ms else 0
        self.keep_from_ms += by_ms if from_ms <= self.keep_from_ms < NEVER_MS else 0

    def drop_after(self, ts_ms: int) -> None:
        """Forget the ticks later than a time: they were stamped by a wrong clock."""
        self._flush_pending()
        at = bisect_right(self._ts, ts_ms)
        self._replace(list(zip(self._ts[:at], self._price[:at], self._marks[:at], strict=True)))

    def _replace(self, ticks: Sequence[tuple[int, float, int]]) -> None:
        self._ts = array("q", [ts_ms for ts_ms, _, _ in ticks])
        self._price = array("d", [price for _, price, _ in ticks])
        self._marks = array("Q", [marks for _, _, marks in ticks])
        self.last_ts_ms = self._ts[-1] if self._ts else -1
        self._prune_at_ms = self.last_ts_ms + self._horizon_ms // 4

    def _flush_pending(self) -> None:
        """Put the ticks that came in order onto the columns."""
        if self._new_ts:
            self._ts.fromlist(self._new_ts)
            self._price.fromlist(self._new_price)
            self._marks.fromlist([self._new_marks] * len(self._new_ts))
            self._new_ts.clear()
            self._new_price.clear()

    def _turn_to(self, source: Hashable) -> None:
        """The next ticks in order are of this source."""
        if source != self._new_source:
            self._flush_pending()
            self._new_marks = self._marks_of(source)
        self._new_source = source

    def _marks_of(self, source: Hashable) -> int:
        """Return the bits of what a source tells."""
        if source is _HISTORY:
            return _HISTORY_MARK
        if source is _JOURNAL:
            return _JOURNAL_MARK | _LIVE_MARK
        if source is _WAITING:
            return _WAITING_MARK | _LIVE_MARK
        if source is _BY_ID:
            return _ID_MARK | _LIVE_MARK
        mark = self._mark_of.pop(source, 0)
        if not mark:
            if len(self._mark_of) < _SOCKETS_MAX:
                mark = _FIRST_SOCKET_MARK << len(self._mark_of)
            else:
                mark = self._mark_of.pop(next(iter(self._mark_of)))
                self._clear(mark)
                self._new_source = None  # it may be the one forgotten; nothing of it waits
        self._mark_of[source] = mark
        return mark | _LIVE_MARK

    def _clear(self, mark: int) -> None:
        """Forget what a source has told. Needs the ticks on the columns."""
        self._last_told = {key: price for key, price in self._last_told.items() if key[0] != mark}
        if self._marks:
            np.frombuffer(self._marks, np.uint64)[:] &= np.uint64(~mark & _ALL_MARKS)

    def _is_new_id(self, ts_ms: int, price: float, trade_id: str) -> bool:
        """Remember the id. One that may have been forgotten is new only where its tick is not there."""
        if trade_id in self._ids:
            return False
        self._ids[trade_id] = ts_ms
        if len(self._ids) > IDS_MAX:
            self._forgotten_ids_ms = max(self._forgotten_ids_ms, self._ids.pop(next(iter(self._ids))))
        if ts_ms >= self._forgotten_ids_ms:
            return True
        self._flush_pending()
        low = bisect_left(self._ts, ts_ms)
        return price not in self._price[low : bisect_right(self._ts, ts_ms, low)]

    def _insert(self, ts_ms: int, price: float, source: Hashable) -> TickResult:
        if ts_ms < min(self.last_ts_ms - self._horizon_ms, self.keep_from_ms):
            # Refused, so what starts before the next millisecond is not whole here any more.
            self.holds_from_ms = max(self.holds_from_ms, ts_ms + 1)
            return TickResult.KNOWN
        self._flush_pending()
        told = self._marks_of(source)
        mark = told & ~_LIVE_MARK
        low = bisect_left(self._ts, ts_ms)
        high = bisect_right(self._ts, ts_ms, low)
        if not self._repeats and source not in _EXACT:
            last_price = self._last_told.get((mark, ts_ms)) or self._newest_of(mark, low, high)
            if last_price == price:
                return TickResult.KNOWN
            self._last_told[mark, ts_ms] = price
            if len(self._last_told) > _LAST_TOLD_MAX:
                del self._last_told[next(iter(self._last_told))]
        at = self._first_untold(price, mark, low, high)
        if at < 0:
            self._ts.insert(high, ts_ms)
            self._price.insert(high, price)
            self._marks.insert(high, told)
            return _NEW
        was_live = self._marks[at] & _LIVE_MARK
        self._marks[at] |= told
        return TickResult.KNOWN if was_live or source is _HISTORY else TickResult.FIRST_LIVE

    def _newest_of(self, mark: int, low: int, high: int) -> float | None:
        """Return the price of the last tick in the places from ``low`` to before ``high`` that a source has told."""
        return next((self._price[at] for at in range(high - 1, low - 1, -1) if self._marks[at] & mark), None)

    def _first_untold(self, price: float, mark: int, low: int, high: int) -> int:
        """Return the place of the first tick of a price, within a stamp's, that a source has not told; -1 for none."""
        if high - low < _LONG:
            for at in range(low, high):
                if self._price[at] == price and not self._marks[at] & mark:
                    return at
            return -1
        prices = np.frombuffer(self._price)[low:high]
        marks = np.frombuffer(self._marks, np.uint64)[low:high]
        found = np.flatnonzero((prices == price) & ((marks & np.uint64(mark)) == 0))
        return low + int(found[0]) if found.size else -1

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
            del self._marks[:cut]
            self.holds_from_ms = max(self.holds_from_ms, before_ms)
        self._prune_at_ms = self.last_ts_ms + self._horizon_ms // 4
