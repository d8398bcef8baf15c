"""The rule for a candle, and nowhere else. Pure: ticks, time and coverage in, sealed candles with their quality out.

- Bucket ``[start, start + interval)`` in true UTC; ``ts_ms`` is the start. Open is the first tick, close the last, high
  and low over all, volume the number of ticks. A tick belongs to the bucket of its own time stamp and touches no other.
- A bucket is sealed once a tick of a later bucket of that asset has come, or platform time has passed its end by the
  allowed lateness; and only when the feed is proven beyond its end, or has stayed silent for the idle timeout after it.
- After a break nothing is sealed until the page's history has come or the wait for it is over (``hold_until_ms``), so
  that missing buckets are filled in time order.
- Quality: whole live coverage is 0. Else BLIND when it was seen live from its start up to its first tick, so that the
  open is true, but not throughout; JOINED_LATE when not even that; FILLED when history made it whole. JOINED_LATE
  without FILLED is never published.
- What changes a published candle later is a revision: a late tick, history that completes it, or a tick of it that the
  history has and the feed lost; so is a candle for a bucket that had to be passed over. Candles that an earlier run of
  this process published are left as they are.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import msgspec

from fluxcap.capture.market.coverage import FeedCoverage
from fluxcap.capture.market.tape import HORIZON_MS, TickTape
from fluxcap.schemas.types import Candle, CandleFlags

REMEMBERED_MAX = 2_000
"""Sealed buckets that may still be revised."""
NEVER_MS = 2**62
SKIPPED_MAX = 500
"""Buckets without a tick that are remembered after one outage, the newest of them."""


class CandleTimeouts(msgspec.Struct, frozen=True):
    """Times of the rule, in milliseconds."""

    interval_ms: int
    allowed_lateness_ms: int = 2_000
    """After a bucket's end, for ticks under way; the delivery lag seen is 700-800 ms."""
    idle_timeout_ms: int = 10_000
    """After a bucket's end, for a feed whose end is not proven."""


class Revision(msgspec.Struct, frozen=True):
    """A better candle for a published bucket, or one for a bucket that never was (``published`` False)."""

    candle: Candle
    published: bool


def bucket_start(ts_ms: int, interval_ms: int) -> int:
    """Start of the bucket that holds ``ts_ms``."""
    return ts_ms - ts_ms % interval_ms


class _CompleteBucket(msgspec.Struct, frozen=True):
    """A bucket of which all is known. ``candle`` None: nothing was traded in it."""

    candle: Candle | None
    flags: CandleFlags


_V = TypeVar("_V")


def _remember(buckets: dict[int, _V], start_ms: int, what: _V) -> None:
    buckets[start_ms] = what
    if len(buckets) > REMEMBERED_MAX:
        del buckets[next(iter(buckets))]


class CandleBuilder:
    """Seals the buckets of one asset at one interval, in time order, each once.

    Parameters
    ----------
    tape
        The asset's ticks; somebody else puts them there.
    server_candles
        The platform's own candles of this interval by start, as far as it sent them; somebody else adds to them.
    timeouts
        The times of the rule.
    published_ts_ms
        Start of the newest candle already published, 0 for none; nothing at or before it is sealed again.

    What is known of the asset's time comes with each call as a ``FeedCoverage`` of that moment.
    """

    def __init__(
        self,
        tape: TickTape,
        server_candles: Mapping[int, Candle],
        timeouts: CandleTimeouts,
        published_ts_ms: int = 0,
    ) -> None:
        self._tape = tape
        self._server_candles = server_candles
        self._timeouts = timeouts
        self.next_ms = published_ts_ms + timeouts.interval_ms if published_ts_ms else 0
        """Start of the earliest bucket not sealed yet, 0 when nothing is known."""
        self._bucket_end_ms = 0
        self._published: dict[int, Candle] = {}
        """What this builder published, as it stands, by start."""
        self._incomplete: dict[int, None] = {}
        """Starts of the buckets sealed or passed over of which not every tick was known."""
        self._first_ms = 0
        """Start of the first bucket that this builder sealed; 0 for none."""
        self._timed_out_end_ms = 0
        """End of the newest bucket sealed after the idle timeout: its feed may still prove that it was whole."""
        self._open_end_ms = 0
        """End of the oldest bucket that is not over, as far as is known."""
        self._sealed_version = -1
        self._review_version = -1
        self._dirty: set[int] = set()
        self.dropped_incomplete = 0
        self.late_ticks = 0
        tape.keep_at_least(timeouts.interval_ms + HORIZON_MS)

    def sealed(self, now_ms: int, coverage: FeedCoverage, last_ms: int = NEVER_MS) -> list[Candle]:
        """Return all candles that can be sealed at ``now_ms`` (platform time, UTC ms), oldest first.

        None of them starts after ``last_ms``.
        """
        if now_ms < coverage.hold_until_ms:
            return []
        is_open = max(self._tape.last_ts_ms, now_ms - self._timeouts.allowed_lateness_ms) < self._open_end_ms
        if is_open and self._sealed_version == coverage.version:
            return []
        self._sealed_version = coverage.version
        self._open_end_ms = 0
        found: list[Candle] = []
        for start_ms in self._open_buckets():
            if start_ms > last_ms:
                break
            end_ms = start_ms + self._timeouts.interval_ms
            if not self._is_over(start_ms, end_ms, now_ms, coverage):
                self._open_end_ms = end_ms
                break
            self._skip_empty(start_ms, coverage)
            candle = self._seal(start_ms, coverage)
            if coverage.watermark_ms < end_ms and start_ms in self._incomplete:
                self._timed_out_end_ms = end_ms
            if candle is not None:
                found.append(candle)
                _remember(self._published, start_ms, candle)
            self.next_ms = end_ms
        self._bucket_end_ms = self._current_bucket_end_ms()
        return found

    @property
    def is_in_doubt(self) -> bool:
        """Return whether a bucket was sealed at its idle timeout, and its feed may yet prove that it was whole."""
        return self._timed_out_end_ms > 0

    def closes_bucket(self, ts_ms: int) -> bool:
        """Return whether a tick at ``ts_ms`` ends the bucket under way: cheap enough for every tick."""
        return ts_ms >= self._bucket_end_ms

    def idle_until_ms(self, now_ms: int, coverage: FeedCoverage) -> int:
        """Until then, after ``sealed`` and ``revisions`` at ``now_ms``, the passing of time alone changes nothing."""
        if self._dirty or self._timed_out_end_ms:
            return 0
        if now_ms < coverage.hold_until_ms:
            return coverage.hold_until_ms
        return self._open_end_ms or NEVER_MS

    def add_late_tick(self, ts_ms: int) -> None:
        """A tick came for a sealed bucket. Call after it went onto the tape; ``revisions`` tells what became of it."""
        self.late_ticks += 1
        self._dirty.add(bucket_start(ts_ms, self._timeouts.interval_ms))

    def apply_history(self, times: Sequence[int], added: Sequence[int]) -> None:
        """A history of ticks at ``times``, ascending, went onto the tape; ``added``: what had not been received of it.

        A tick that others overtook can be lost with its socket, though its bucket was seen throughout. The history
        proves it where it holds all that was received; where it lacks some of that, it is another sampling of the
        market, and the bucket is left as it was received.
        """
        interval_ms = self._timeouts.interval_ms
        sealed = {bucket_start(ts_ms, interval_ms) for ts_ms in added if ts_ms < self.next_ms}
        for start_ms in sealed - self._incomplete.keys():
            sent = bisect_left(times, start_ms + interval_ms) - bisect_left(times, start_ms)
            candle = self._fold(start_ms)
            if candle is not None and candle.tick_count == sent:
                self._dirty.add(start_ms)

    def revisions(self, coverage: FeedCoverage) -> list[Revision]:
        """Return the revisions of sealed buckets, by late ticks, history and late proof."""
        if not self._dirty and not self._timed_out_end_ms and self._review_version == coverage.version:
            return []
        if proven_late := self._is_proven_late(coverage):
            self._timed_out_end_ms = 0
        review = proven_late or self._review_version != coverage.version
        self._review_version = coverage.version
        better = self._completed(coverage) if review else {}
        for start_ms in self._dirty:
            if start_ms not in better and (revision := self._amended(start_ms, coverage)) is not None:
                better[start_ms] = revision
        self._dirty.clear()
        return [better[start_ms] for start_ms in sorted(better)]

    def _is_proven_late(self, coverage: FeedCoverage) -> bool:
        """Return whether the bucket sealed at its idle timeout is proven now: by every feed, or by a complete feed."""
        end_ms = self._timed_out_end_ms
        if not end_ms:
            return False
        return coverage.watermark_ms >= end_ms or coverage.live.covers(end_ms - self._timeouts.interval_ms, end_ms)

    def _completed(self, coverage: FeedCoverage) -> dict[int, Revision]:
        """Buckets of which every tick is known by now, or for which the platform sent its own candle."""
        better = {}
        for start_ms in list(self._incomplete):
            known = self._complete_bucket(start_ms, coverage)
            if known is not None:
                del self._incomplete[start_ms]
                if (revision := self._revision(start_ms, known.candle, known.flags)) is not None:
                    better[start_ms] = revision
        return better

    def _amended(self, start_ms: int, coverage: FeedCoverage) -> Revision | None:
        """A bucket with its late ticks. Of one that this builder never sealed, ticks may lack here: left as it is."""
        if start_ms < self._first_ms:
            return None
        known = self._complete_bucket(start_ms, coverage)
        if known is not None:
            return self._revision(start_ms, known.candle, known.flags)
        candle = self._fold(start_ms) if start_ms in self._published else None
        return self._revision(start_ms, candle, CandleFlags.BLIND)

    def forming(self, coverage: FeedCoverage) -> Candle | None:
        """The candle under way, as far as it has come."""
        last_ms = self._tape.last_tick_ts_ms
        start_ms = bucket_start(last_ms, self._timeouts.interval_ms)
        if not last_ms or start_ms < self.next_ms:
            return None
        candle = self._fold(start_ms)
        return candle and msgspec.structs.replace(candle, flags=int(self._forming_flags(start_ms, coverage)))

    def is_over(self, start_ms: int, now_ms: int, coverage: FeedCoverage) -> bool:
        """Return whether the bucket at ``start_ms`` would be sealed at ``now_ms``, had it a tick."""
        if now_ms < coverage.hold_until_ms:
            return False
        return self._is_over(start_ms, start_ms + self._timeouts.interval_ms, now_ms, coverage)

    def _open_buckets(self) -> Iterator[int]:
        """Starts of the buckets not sealed yet that hold a tick or a server candle, oldest first."""
        interval_ms = self._timeouts.interval_ms
        rows = deque(sorted(start for start in self._server_candles if start >= self.next_ms))
        start_ms = self.next_ms
        while True:
            while rows and rows[0] < start_ms:
                rows.popleft()
            tick_ms = self._tape.next_tick_ts_ms(start_ms)
            if tick_ms is not None and (not rows or tick_ms < rows[0]):
                start_ms = bucket_start(tick_ms, interval_ms)
            elif rows:
                start_ms = rows[0]
            else:
                return
            yield start_ms
            start_ms += interval_ms

    def _is_over(self, start_ms: int, end_ms: int, now_ms: int, coverage: FeedCoverage) -> bool:
        if self._tape.last_tick_ts_ms < end_ms and now_ms < end_ms + self._timeouts.allowed_lateness_ms:
            return False
        if coverage.watermark_ms >= end_ms or coverage.covers(start_ms, end_ms):
            return True
        return now_ms >= max(end_ms + self._timeouts.idle_timeout_ms, coverage.grace_until_ms)

    def _skip_empty(self, until_ms: int, coverage: FeedCoverage) -> None:
        """Between the last sealed bucket and this one no tick is known: where nothing was seen, some may yet come."""
        interval_ms = self._timeouts.interval_ms
        if not self._first_ms:
            self._first_ms = self.next_ms or until_ms
        if self.next_ms:
            for start_ms in range(max(self.next_ms, until_ms - SKIPPED_MAX * interval_ms), until_ms, interval_ms):
                if not coverage.covers(start_ms, start_ms + interval_ms):
                    _remember(self._incomplete, start_ms, None)

    def _seal(self, start_ms: int, coverage: FeedCoverage) -> Candle | None:
        """The bucket's candle, or None for one that may not be published."""
        known = self._complete_bucket(start_ms, coverage)
        if known is not None:
            return known.candle and msgspec.structs.replace(known.candle, flags=int(known.flags))
        _remember(self._incomplete, start_ms, None)
        flags = self._coverage_flags(start_ms, coverage)
        candle = self._fold(start_ms) if flags == CandleFlags.BLIND else None
        if candle is None:
            self.dropped_incomplete += 1
            return None
        return msgspec.structs.replace(candle, flags=int(flags))

    def _complete_bucket(self, start_ms: int, coverage: FeedCoverage) -> _CompleteBucket | None:
        """The bucket, when each of its ticks is known or the platform sent its own candle; None while incomplete."""
        end_ms = start_ms + self._timeouts.interval_ms
        if start_ms >= self._tape.holds_from_ms:
            if coverage.live.covers(start_ms, end_ms):
                return _CompleteBucket(self._fold(start_ms), CandleFlags.NONE)
            if coverage.covers(start_ms, end_ms):
                return _CompleteBucket(
                    self._fold(start_ms), self._coverage_flags(start_ms, coverage) | CandleFlags.FILLED
                )
        # The first partial minute of the raw history does not reproduce the server's candle; there its row wins.
        row = self._server_candles.get(start_ms)
        return (
            None if row is None else _CompleteBucket(row, self._coverage_flags(start_ms, coverage) | CandleFlags.FILLED)
        )

    def _coverage_flags(self, start_ms: int, coverage: FeedCoverage) -> CandleFlags:
        """Return the flag of a bucket that was not seen live throughout.

        BLIND if its true open was seen, JOINED_LATE if not, 0 if nothing of it was seen.
        """
        if not coverage.live.touches(start_ms, start_ms + self._timeouts.interval_ms):
            return CandleFlags.NONE
        first_ms = self._tape.next_tick_ts_ms(start_ms)
        opened = first_ms is not None and first_ms < coverage.live.covered_until(start_ms)
        return CandleFlags.BLIND if opened else CandleFlags.JOINED_LATE

    def _forming_flags(self, start_ms: int, coverage: FeedCoverage) -> CandleFlags:
        seen_ms = self._tape.last_tick_ts_ms
        if coverage.live.covers(start_ms, seen_ms):
            return CandleFlags.NONE
        seen = self._coverage_flags(start_ms, coverage) or CandleFlags.JOINED_LATE
        return seen | CandleFlags.FILLED if coverage.covers(start_ms, seen_ms) else seen

    def _fold(self, start_ms: int) -> Candle | None:
        if start_ms < self._tape.holds_from_ms:
            return None
        return self._tape.fold(start_ms, start_ms + self._timeouts.interval_ms)

    def _revision(self, start_ms: int, candle: Candle | None, flags: CandleFlags) -> Revision | None:
        """None when it says nothing new."""
        if candle is None:
            return None
        was = self._published.get(start_ms)
        if was is not None:
            flags |= CandleFlags.REVISED
        candle = msgspec.structs.replace(candle, flags=int(flags))
        if was is not None and candle == msgspec.structs.replace(was, flags=was.flags | CandleFlags.REVISED):
            return None
        _remember(self._published, start_ms, candle)
        return Revision(candle, was is not None)

    def _current_bucket_end_ms(self) -> int:
        last_ms = self._tape.last_tick_ts_ms
        return bucket_start(last_ms, self._timeouts.interval_ms) + self._timeouts.interval_ms if last_ms else 0
