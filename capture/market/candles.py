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
- A clock that was wrong has published candles under wrong times, also of times yet to come. A candle for a bucket at or
  before the newest published one is a revision, too: of the sequence that has its time, or of none. What stands under a
  wrong time and is not known any better is revised to BLIND.
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


def _extend(stretches: list[tuple[int, int]], from_ms: int, to_ms: int) -> None:
    """Add a stretch behind the others, joined with the last where they touch."""
    if stretches and stretches[-1][1] == from_ms:
        from_ms = stretches.pop()[0]
    stretches.append((from_ms, to_ms))


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
    watermark_ms
        Start of the newest candle of the stream, where that is later still: what is sealed up to it is a revision.
    wrong
        Candles that the stream has under wrong times. They are BLIND at once, and revised when their bucket is known.

    What is known of the asset's time comes with each call as a ``FeedCoverage`` of that moment.
    """

    def __init__(
        self,
        tape: TickTape,
        server_candles: Mapping[int, Candle],
        timeouts: CandleTimeouts,
        published_ts_ms: int = 0,
        watermark_ms: int = 0,
        wrong: Sequence[Candle] = (),
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
        self._watermark_ms = watermark_ms
        self._wrong: set[int] = set()
        """Starts under which the stream has a candle of another time, while the true one is not known."""
        self._behind: list[Revision] = []
        """What was sealed at or before the watermark, and is to go out as a revision."""
        for candle in wrong:
            self._mark_wrong(candle)
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
                if start_ms > self._watermark_ms:
                    found.append(candle)
                else:
                    self._behind.append(Revision(candle, start_ms in self._published))
                    self._wrong.discard(start_ms)
                _remember(self._published, start_ms, candle)
            self.next_ms = end_ms
        self._bucket_end_ms = self._current_bucket_end_ms()
        return found

    @property
    def is_in_doubt(self) -> bool:
        """Return whether a bucket was sealed at its idle timeout, and its feed may yet prove that it was whole."""
        return self._timed_out_end_ms > 0

    @property
    def is_behind(self) -> bool:
        """Return whether the stream has candles of times that are not sealed yet."""
        return bool(self._watermark_ms) and self._watermark_ms >= self.next_ms

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
        behind, self._behind = self._behind, []
        if not self._dirty and not self._timed_out_end_ms and self._review_version == coverage.version:
            return behind
        if proven_late := self._is_proven_late(coverage):
            self._timed_out_end_ms = 0
        review = proven_late or self._review_version != coverage.version
        self._review_version = coverage.version
        better = self._completed(coverage) if review else {}
        for start_ms in self._dirty:
            if start_ms not in better and (revision := self._amended(start_ms, coverage)) is not None:
                better[start_ms] = revision
        self._dirty.clear()
        return [*behind, *(better[start_ms] for start_ms in sorted(better))]

    def shift(
        self,
        by_ms: int,
        coverage: FeedCoverage,
        stored: Sequence[Candle],
        unpublished: Sequence[Candle],
        wrong: Sequence[Candle] = (),
    ) -> tuple[list[Revision], list[tuple[int, int]]]:
        """Everything was stamped with the wrong offset: its true time is ``by_ms`` later. Call after the tape's shift.

        Parameters
        ----------
        by_ms
            A multiple of 15 minutes, earlier if negative.
        coverage
            Of the feed, stamped anew.
        stored
            What the stream has of this run, ascending, as far as it is kept there.
        unpublished
            What was sealed and is not published yet: it is nobody's, and comes back among the revisions.
        wrong
            What earlier runs published under wrong times: its true ones are not known.

        Returns
        -------
        tuple[list[Revision], list[tuple[int, int]]]
            Candles for their true times, and BLIND ones for times that are not known; and the stretches (UTC ms) of
            past times that are not known.
        """
        interval_ms = self._timeouts.interval_ms
        self._wrong.update(candle.ts_ms for candle in wrong)
        published = {candle.ts_ms: candle for candle in (*wrong, *stored)} | self._published
        mine = published | {candle.ts_ms: candle for candle in unpublished}
        mine = {ts_ms: candle for ts_ms, candle in mine.items() if ts_ms not in self._wrong}
        for candle in unpublished:
            published.pop(candle.ts_ms, None)
        is_whole = by_ms % interval_ms == 0
        self._watermark_ms = max([self._watermark_ms, *published])
        self._move(by_ms)
        moved = {ts_ms + by_ms: msgspec.structs.replace(c, ts_ms=ts_ms + by_ms) for ts_ms, c in mine.items()}
        known = moved if is_whole else self._folded_again(coverage)
        self._published.clear()
        self._wrong.clear()
        revisions: list[Revision] = []
        gaps: list[tuple[int, int]] = []
        for ts_ms in sorted(known.keys() | published.keys()):
            true = known.get(ts_ms) or (self._known_again(ts_ms, coverage) if ts_ms < self.next_ms else None)
            if true is not None:
                true = msgspec.structs.replace(true, flags=true.flags & ~CandleFlags.REVISED)
                _remember(self._published, ts_ms, true)
            else:
                true = self._mark_wrong(published[ts_ms])
                if ts_ms < self.next_ms:
                    _extend(gaps, ts_ms, ts_ms + interval_ms)
            revisions.append(Revision(true, ts_ms in published))
        self._behind.clear()
        return revisions, gaps

    def _known_again(self, start_ms: int, coverage: FeedCoverage) -> Candle | None:
        known = self._complete_bucket(start_ms, coverage)
        if known is None or known.candle is None:
            return None
        return msgspec.structs.replace(known.candle, flags=int(known.flags))

    def _mark_wrong(self, candle: Candle) -> Candle:
        """The stream has a candle of another time here: it says so until the true one is known."""
        blind = msgspec.structs.replace(candle, flags=int(CandleFlags.BLIND))
        _remember(self._published, candle.ts_ms, blind)
        _remember(self._incomplete, candle.ts_ms, None)
        self._wrong.add(candle.ts_ms)
        return blind

    def wrong(self) -> list[Revision]:
        """Return the candles that the stream has under wrong times, as BLIND ones."""
        return [Revision(candle, published=True) for candle in self._published.values()]

    def _move(self, by_ms: int) -> None:
        interval_ms = self._timeouts.interval_ms
        self.next_ms = bucket_start(self.next_ms + by_ms, interval_ms) if self.next_ms else 0
        self._first_ms = bucket_start(self._first_ms + by_ms, interval_ms) if self._first_ms else 0
        self._incomplete = dict.fromkeys(bucket_start(ts_ms + by_ms, interval_ms) for ts_ms in self._incomplete)
        self._dirty = {bucket_start(ts_ms + by_ms, interval_ms) for ts_ms in self._dirty}
        self._timed_out_end_ms = self._open_end_ms = 0
        self._sealed_version = self._review_version = -1
        self._bucket_end_ms = self._current_bucket_end_ms()

    def _folded_again(self, coverage: FeedCoverage) -> dict[int, Candle]:
        """Buckets that the shift cuts elsewhere, as far as the ticks are still there."""
        found: dict[int, Candle] = {}
        at_ms = self._tape.next_tick_ts_ms(0)
        while at_ms is not None and (start_ms := bucket_start(at_ms, self._timeouts.interval_ms)) < self.next_ms:
            if (candle := self._known_again(start_ms, coverage)) is not None:
                found[start_ms] = candle
            at_ms = self._tape.next_tick_ts_ms(start_ms + self._timeouts.interval_ms)
        return found

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
            known = self._complete_bucket(start_ms, coverage) if start_ms < self.next_ms else None
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

    def is_over_before(self, ts_ms: int, now_ms: int, coverage: FeedCoverage) -> bool:
        """Return whether all before ``ts_ms``, the start of a bucket, is over at ``now_ms``. Call after ``sealed``."""
        if not self.next_ms or self.next_ms >= ts_ms:
            return self.next_ms > 0
        if 0 < self._open_end_ms <= ts_ms:
            return False
        return self.is_over(ts_ms - self._timeouts.interval_ms, now_ms, coverage)

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
            if self._wrong:
                self._incomplete.pop(start_ms, None)
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
        first_ms = self._tape.next_tick_ts_ms(start_ms)
        if first_ms is not None and coverage.live.reaches(start_ms, first_ms):
            return CandleFlags.BLIND
        touched = coverage.live.touches(start_ms, start_ms + self._timeouts.interval_ms)
        return CandleFlags.JOINED_LATE if touched else CandleFlags.NONE

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
        self._wrong.discard(start_ms)
        return Revision(candle, was is not None)

    def _current_bucket_end_ms(self) -> int:
        last_ms = self._tape.last_tick_ts_ms
        return bucket_start(last_ms, self._timeouts.interval_ms) + self._timeouts.interval_ms if last_ms else 0
