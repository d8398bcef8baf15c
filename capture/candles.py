"""The rule for a candle, and nowhere else. Pure: time and ticks in, sealed candles with their quality out.

- Bucket ``[start, start + interval)`` in true UTC; ``ts_ms`` is the start. Open is the first tick, close the last, high
  and low over all, volume the number of ticks. A tick belongs to the bucket of its own time stamp and touches no other.
- A bucket is sealed once a tick of a later bucket of that asset has come, or platform time has passed its end by the
  grace; and only when the feed is proven beyond its end, or has stayed silent for the doubt time after it.
- After a break nothing is sealed until the page's history has come or the wait for it is over (``SymbolFeed``), so that
  missing buckets are filled in time order.
- Quality: whole live coverage is 0. Else JOINED_LATE when its start was not seen live, BLIND when it was but a part
  after it was not; FILLED when history made it whole. JOINED_LATE without FILLED is never published.
- What changes a published candle later is a revision: a late tick, or history that completes it.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from capture.feeds import Feeds, SymbolFeed
from schemas.types import Candle, CandleFlags


class CandleRules(msgspec.Struct, frozen=True):
    """Times of the rule, in milliseconds."""

    interval_ms: int
    grace_ms: int = 2_000
    """After a bucket's end, for ticks under way; the delivery lag seen is 700-800 ms."""
    doubt_ms: int = 10_000
    """After a bucket's end, for a feed whose end is not proven."""


class Revision(msgspec.Struct, frozen=True):
    """A better candle for a published bucket, or one for a bucket that never was (``published`` False)."""

    candle: Candle
    published: bool


def bucket_start(ts_ms: int, interval_ms: int) -> int:
    """Start of the bucket that holds ``ts_ms``."""
    return ts_ms - ts_ms % interval_ms


def _is_whole(flags: CandleFlags) -> bool:
    """Whether every tick of the bucket is known."""
    return not flags or bool(flags & CandleFlags.FILLED)


class CandleBuilder:
    """Seals the buckets of one asset at one interval, in time order, each once.

    ``published_ts_ms``: start of the newest candle already published, 0 for none; nothing at or before it is sealed
    again.
    """

    def __init__(self, feeds: Feeds, feed: SymbolFeed, rules: CandleRules, published_ts_ms: int = 0) -> None:
        self._feeds = feeds
        self._feed = feed
        self._rules = rules
        self._next_ms = published_ts_ms + rules.interval_ms if published_ts_ms else 0
        self._bucket_end_ms = 0
        self._incomplete: dict[int, Candle | None] = {}
        self._review_version = 0
        self._dirty: set[int] = set()
        self._first_sealed_ms: int | None = None
        self.dropped_incomplete = 0
        self.late_ticks = 0
        feed.tape.keep_at_least(2 * rules.interval_ms + 600_000)

    @property
    def next_ms(self) -> int:
        """Start of the earliest bucket not sealed yet, 0 when nothing is known."""
        return self._next_ms

    def sealed(self, now_ms: int) -> list[Candle]:
        """All that can be sealed at ``now_ms`` (platform time, UTC ms), oldest first."""
        if now_ms < self._feed.hold_until_ms:
            return []
        proven_ms = self._feeds.settle(self._feed)
        found: list[Candle] = []
        for start_ms in self._open_buckets():
            if not self._is_over(start_ms + self._rules.interval_ms, now_ms, proven_ms):
                break
            candle = self._seal(start_ms)
            if candle is not None:
                found.append(candle)
            if self._first_sealed_ms is None:
                self._first_sealed_ms = start_ms
            self._next_ms = start_ms + self._rules.interval_ms
        self._bucket_end_ms = self._end_of_bucket_under_way()
        return found

    def wants_sealing(self, ts_ms: int) -> bool:
        """Whether a tick at ``ts_ms`` ends the bucket under way: cheap enough for every tick."""
        return ts_ms >= self._bucket_end_ms

    def late(self, ts_ms: int) -> None:
        """A tick came for a sealed bucket. Call after it went onto the tape; ``revisions`` tells what became of it."""
        self.late_ticks += 1
        self._dirty.add(bucket_start(ts_ms, self._rules.interval_ms))

    def revisions(self) -> list[Revision]:
        """What late ticks, and history or proof that came after the fact, make of sealed buckets."""
        if not self._dirty and self._review_version == self._feed.review_version:
            return []
        self._feeds.settle(self._feed)
        better = {revision.candle.ts_ms: revision for revision in self._completed()}
        for start_ms in self._dirty:
            if start_ms not in better and (revision := self._amended(start_ms)) is not None:
                better[start_ms] = revision
        self._dirty.clear()
        return [better[start_ms] for start_ms in sorted(better)]

    def _completed(self) -> Iterator[Revision]:
        if self._review_version == self._feed.review_version:
            return
        self._review_version = self._feed.review_version
        for start_ms, published in list(self._incomplete.items()):
            flags = self._flags(start_ms)
            candle = self._fold(start_ms) if _is_whole(flags) else None
            if candle is None and (row := self._feed.row(self._rules.interval_ms, start_ms)) is not None:
                candle, flags = row, flags | CandleFlags.FILLED
            if candle is not None:
                del self._incomplete[start_ms]
                yield self._revision(start_ms, candle, flags, published=published is not None)

    def _amended(self, start_ms: int) -> Revision | None:
        """A sealed bucket with its late ticks. Buckets of an earlier run are not on this tape: left as they are."""
        if self._first_sealed_ms is None or start_ms < self._first_sealed_ms:
            return None
        if start_ms in self._incomplete and self._incomplete[start_ms] is None:
            return None
        candle = self._fold(start_ms)
        if candle is None:
            return None
        return self._revision(start_ms, candle, self._flags(start_ms), published=True)

    def forming(self) -> Candle | None:
        """The candle under way, as far as it has come."""
        last_ms = self._feed.last_tick_ts_ms
        start_ms = bucket_start(last_ms, self._rules.interval_ms)
        if not last_ms or start_ms < self._next_ms:
            return None
        candle = self._feed.tape.fold(start_ms, start_ms + self._rules.interval_ms)
        return candle and msgspec.structs.replace(candle, flags=int(self._forming_flags(start_ms)))

    def _open_buckets(self) -> Iterator[int]:
        """Starts of the buckets not sealed yet that hold a tick or a server candle, oldest first."""
        interval_ms = self._rules.interval_ms
        rows = sorted(start for start in self._feed.rows.get(interval_ms, ()) if start >= self._next_ms)
        start_ms = self._next_ms
        while True:
            tick_ms = self._feed.tape.next_tick_ts_ms(start_ms)
            starts = [bucket_start(tick_ms, interval_ms)] if tick_ms is not None else []
            while rows and rows[0] < start_ms:
                rows.pop(0)
            if rows:
                starts.append(rows[0])
            if not starts:
                return
            start_ms = min(starts)
            yield start_ms
            start_ms += interval_ms

    def _is_over(self, end_ms: int, now_ms: int, proven_ms: int) -> bool:
        if self._feed.last_tick_ts_ms < end_ms and now_ms < end_ms + self._rules.grace_ms:
            return False
        return proven_ms >= end_ms or now_ms >= end_ms + self._rules.doubt_ms

    def _seal(self, start_ms: int) -> Candle | None:
        """The bucket's candle, or None for one that may not be published."""
        flags = self._flags(start_ms)
        row = self._feed.row(self._rules.interval_ms, start_ms)
        whole = _is_whole(flags)
        if not whole and row is not None:
            # The first partial minute of the raw history does not reproduce the server's candle; there its row wins.
            return msgspec.structs.replace(row, flags=int(flags | CandleFlags.FILLED))
        candle = self._fold(start_ms) if whole or not flags & CandleFlags.JOINED_LATE else None
        if not whole:
            self._remember_incomplete(start_ms, candle)
        if candle is None:
            self.dropped_incomplete += 1
            return None
        return msgspec.structs.replace(candle, flags=int(flags))

    def _flags(self, start_ms: int) -> CandleFlags:
        end_ms = start_ms + self._rules.interval_ms
        live, history = self._feed.live, self._feed.history
        if live.covers(start_ms, end_ms):
            return CandleFlags.NONE
        flags = CandleFlags.NONE
        if live.touches(start_ms, end_ms):
            seen_from_start = live.covered_until(start_ms) > start_ms
            flags = CandleFlags.BLIND if seen_from_start else CandleFlags.JOINED_LATE
        elif not history.touches(start_ms, end_ms):
            flags = CandleFlags.JOINED_LATE
        if self._feed.covers(start_ms, end_ms):
            flags |= CandleFlags.FILLED
        elif flags == CandleFlags.NONE:
            flags = CandleFlags.JOINED_LATE
        return flags

    def _forming_flags(self, start_ms: int) -> CandleFlags:
        self._feeds.settle(self._feed)
        seen_ms = self._feed.last_tick_ts_ms
        if self._feed.live.covers(start_ms, seen_ms) or self._feed.covers(start_ms, seen_ms):
            return CandleFlags.NONE
        seen_from_start = self._feed.live.covered_until(start_ms) > start_ms
        return CandleFlags.BLIND if seen_from_start else CandleFlags.JOINED_LATE

    def _fold(self, start_ms: int) -> Candle | None:
        if start_ms < self._feed.tape.holds_from_ms:
            return None
        return self._feed.tape.fold(start_ms, start_ms + self._rules.interval_ms)

    def _revision(self, start_ms: int, candle: Candle, flags: CandleFlags, *, published: bool) -> Revision:
        if published:
            flags |= CandleFlags.REVISED
        return Revision(msgspec.structs.replace(candle, ts_ms=start_ms, flags=int(flags)), published)

    def _remember_incomplete(self, start_ms: int, candle: Candle | None) -> None:
        self._incomplete[start_ms] = candle
        while len(self._incomplete) > 1_000:
            del self._incomplete[next(iter(self._incomplete))]

    def _end_of_bucket_under_way(self) -> int:
        last_ms = self._feed.last_tick_ts_ms
        return bucket_start(last_ms, self._rules.interval_ms) + self._rules.interval_ms if last_ms else 0
