"""Candles of longer intervals, folded from those of the base interval: what a commit means for them. Pure.

A derived stream is made of the candles of its base stream. ``DerivedStreams.fold`` takes what is about to be committed
of base streams, and tells what is to be committed with it: so no kill can come between a candle and those made of it.

- A bucket of a longer interval is finished when all of the base buckets within are over, whether they have a candle or
  not. One without any candle is none. Buckets begin at multiples of the interval since 1970-01-01 in UTC: days at
  midnight UTC.
- Open is that of the first candle, close that of the last, high and low over all, volume and ticks are the sum. The
  number of ticks is 0, which is not known, where it is not known of one of them.
- BLIND: a base candle is BLIND without FILLED, or a base bucket without a candle lies in a gap that history did not
  cover. FILLED: one is FILLED, and it is not BLIND. JOINED_LATE: its first candle is.
- A bucket that began before its base stream did is joined late, and as with every candle that is not published.
- What changes a base candle, or the gaps, of a finished bucket later revises its candle. A candle that somebody else
  put there, which is one collected from the page, stands unless the one made of the base is not BLIND.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from fluxcap.schemas.candles import joined_rows
from fluxcap.schemas.errors import ConfigError
from fluxcap.schemas.types import (
    CANDLE_DTYPE,
    Candle,
    CandleArray,
    CandleBatch,
    CandleFlags,
    CandleRevision,
    Gap,
    StreamKey,
    Watermark,
    candles_from,
    interval_ms,
)

NEVER_MS = 2**62
_BLIND, _FILLED = int(CandleFlags.BLIND), int(CandleFlags.FILLED)
_JOINED_LATE, _REVISED = int(CandleFlags.JOINED_LATE), int(CandleFlags.REVISED)


class StoredCandles(Protocol):
    """The store's content, without what is about to be committed."""

    def watermark(self, key: StreamKey) -> Watermark:
        """The newest of a stream; all 0 for one that has nothing."""

    def between(self, key: StreamKey, from_ms: int, to_ms: int) -> list[Candle]:
        """The candles of ``[from_ms, to_ms)`` as they stand, oldest first; of passed over buckets, too."""

    def began_ms(self, key: StreamKey) -> int:
        """Start of the oldest candle kept of a stream, passed over ones included; ``NEVER_MS`` without any."""

    def gaps(self, source_id: str, from_ms: int) -> list[Gap]:
        """The gaps of a source that end after ``from_ms`` or have not ended."""


class Timeframes(msgspec.Struct, frozen=True):
    """The streams to derive from those of one source and interval; ``longer`` empty: none."""

    source_id: str = ""
    interval: str = "1m"
    longer: tuple[str, ...] = ()


class Bucket(msgspec.Struct, frozen=True, gc=False):
    """Base candles of one bucket folded so far.

    ``seen``: which base buckets have a candle, the first one's bit the lowest. ``tick_count``: -1 once it is not known.
    """

    start_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    tick_count: int
    joined_late: bool
    filled: bool
    blind: bool
    seen: int

    def plus(self, candles: Sequence[Candle], base_ms: int) -> Bucket:
        """Return it with more candles, oldest first and later than those it has; at least one."""
        later = begin_bucket(candles, candles[0].ts_ms, base_ms)
        return self.joined(later, [candle.volume for candle in candles], base_ms)

    def joined(self, later: Bucket, volumes: Iterable[float], base_ms: int) -> Bucket:
        """Return it with later candles within it, which were folded once for all timeframes, and had these volumes."""
        volume = self.volume
        for one in volumes:  # in this order always: sums of floats differ by it, and candles are compared
            volume += one
        return Bucket(
            self.start_ms,
            self.open,
            later.high if later.high > self.high else self.high,
            later.low if later.low < self.low else self.low,
            later.close,
            volume,
            self.tick_count + later.tick_count if self.tick_count >= 0 and later.tick_count >= 0 else -1,
            self.joined_late,
            self.filled or later.filled,
            self.blind or later.blind,
            self.seen | later.seen << (later.start_ms - self.start_ms) // base_ms,
        )

    def candle(self, *, blind_between: bool = False, joined_late: bool = False) -> Candle:
        """The bucket as a candle. ``blind_between``: base buckets without a candle were not seen."""
        flags = _JOINED_LATE if joined_late or self.joined_late else 0
        if self.blind or blind_between:
            flags |= _BLIND
        elif self.filled:
            flags |= _FILLED
        return Candle(
            self.start_ms,
            self.open,
            self.high,
            self.low,
            self.close,
            self.volume,
            max(self.tick_count, 0),
            flags,
        )

    def unseen(self, length_ms: int, base_ms: int) -> Iterator[int]:
        """Starts of the base buckets without a candle."""
        missing = ~self.seen & (1 << length_ms // base_ms) - 1
        for number, bit in enumerate(reversed(f"{missing:b}")):
            if bit == "1":
                yield self.start_ms + number * base_ms


def begin_bucket(candles: Sequence[Candle], start_ms: int, base_ms: int) -> Bucket:
    """A bucket with its first candles, oldest first; at least one."""
    first = candles[0]
    high, low, volume, ticks = first.high, first.low, 0.0, 0
    filled = blind = False
    seen = 0
    for candle in candles:
        # Plain comparisons: max and min of two take ten times as long, for each candle and timeframe.
        high = candle.high if candle.high > high else high
        low = candle.low if candle.low < low else low
        volume += candle.volume
        ticks = ticks + candle.tick_count if ticks >= 0 and candle.tick_count else -1
        if candle.flags:
            filled = filled or bool(candle.flags & _FILLED)
            blind = blind or candle.flags & (_BLIND | _FILLED) == _BLIND
        seen |= 1 << (candle.ts_ms - start_ms) // base_ms
    joined_late = bool(first.flags & _JOINED_LATE)
    return Bucket(start_ms, first.open, high, low, candles[-1].close, volume, ticks, joined_late, filled, blind, seen)


def fold_buckets(candles: Iterable[Candle], length_ms: int, base_ms: int) -> dict[int, Bucket]:
    """Base candles, oldest first, as buckets of a longer interval, by start."""
    return {
        start_ms: begin_bucket(own, start_ms, base_ms)
        for start_ms, own in _by_bucket(tuple(candles), length_ms).items()
    }


def _by_bucket(candles: Sequence[Candle], length_ms: int) -> dict[int, Sequence[Candle]]:
    """Candles, oldest first, by the start of the bucket that they lie in."""
    if not candles:
        return {}
    first_ms = candles[0].ts_ms - candles[0].ts_ms % length_ms
    if candles[-1].ts_ms < first_ms + length_ms:  # nearly always: what came since the last time lies in one
        return {first_ms: candles}
    found: dict[int, list[Candle]] = {}
    for candle in candles:
        found.setdefault(candle.ts_ms - candle.ts_ms % length_ms, []).append(candle)
    return dict(found)


class _Progress(msgspec.Struct, frozen=True, gc=False):
    """The progress of one base stream.

    Attributes
    ----------
    over_ms
        Every base bucket before this is over.
    began_ms
        Start of the oldest base candle.
    forming
        By timeframe, the bucket under way; None while it has no candle.
    waiting
        By timeframe, starts of other buckets that changed and are not over yet: a clock that was wrong has made a
        stream ahead of its time.
    until_ms
        What comes before this neither begins nor ends a bucket of any timeframe; 0 where that is not known.
    unfolded
        Candles that ``forming`` lacks yet, oldest first: they are folded together once a bucket ends, or when its
        candle under way is asked for.
    """

    over_ms: int
    began_ms: int
    forming: tuple[Bucket | None, ...]
    waiting: tuple[frozenset[int], ...]
    until_ms: int = 0
    unfolded: tuple[Candle, ...] = ()


class FoldedCandles(NamedTuple):
    """Candles of derived streams that are to be committed, by stream and oldest first.

    ``sealed`` come next on their streams, ``revised`` are better candles for times at or before their watermarks.
    ``progress`` is for ``DerivedStreams.confirm``.
    """

    sealed: dict[StreamKey, list[Candle]]
    revised: dict[StreamKey, list[Candle]]
    progress: dict[str, _Progress]


class _Finished(msgspec.Struct, gc=False):
    """A bucket whose candle is to be told."""

    symbol: str
    at: int
    """Which timeframe."""
    bucket: Bucket
    was: Bucket | None = None
    """As it was before; of a bucket that is not new."""


def longer_intervals(interval: str, timeframes: Iterable[str]) -> tuple[str, ...]:
    """Return the timeframes that are longer than the base interval and a multiple of it, each once, shortest first.

    Raises ConfigError for what is no interval.
    """
    base_ms = interval_ms(interval)
    lengths = {interval_ms(timeframe): timeframe for timeframe in timeframes}
    return tuple(lengths[ms] for ms in sorted(lengths) if ms > base_ms and ms % base_ms == 0)


def check_timeframes(interval: str, timeframes: Sequence[str]) -> None:
    """Raise ConfigError for timeframes that cannot be made of the base interval, or of which two are the same."""
    fitting = longer_intervals(interval, timeframes)
    for timeframe in timeframes:
        if interval_ms(timeframe) not in [interval_ms(one) for one in fitting]:
            raise ConfigError(f"{timeframe} is not a multiple of {interval}, from which it would be made.")
    if len(fitting) < len(timeframes):
        raise ConfigError("two timeframes are of the same length")


class DerivedStreams:
    """Folds the base streams of one source into those of longer intervals.

    Parameters
    ----------
    timeframes
        What to derive; those that are no multiple of the base interval are left out.
    stored
        What the store holds.
    is_covered
        Whether history or a feed covers a time of an asset, ``[from_ms, to_ms)`` in UTC; as far as that is known.
    now_ms
        Wall clock, UTC epoch milliseconds.
    """

    def __init__(
        self,
        timeframes: Timeframes,
        stored: StoredCandles,
        is_covered: Callable[[str, int, int], bool] = lambda symbol, from_ms, to_ms: False,
        now_ms: Callable[[], int] = lambda: NEVER_MS,
    ) -> None:
        self.timeframes = longer_intervals(timeframes.interval, timeframes.longer)
        self.is_covered = is_covered
        self._source_id = timeframes.source_id
        self._interval = timeframes.interval
        self._base_ms = interval_ms(timeframes.interval)
        self._lengths_ms = tuple(interval_ms(timeframe) for timeframe in self.timeframes)
        self._all_seen = tuple((1 << length_ms // self._base_ms) - 1 for length_ms in self._lengths_ms)
        """By timeframe, ``Bucket.seen`` of one in which every base bucket has a candle."""
        self._stored = stored
        self._now_ms = now_ms
        self._keys: dict[str, tuple[StreamKey, ...]] = {}
        """By asset, what is derived of it: a key is made once, since one that is known is found sooner."""
        self._progress: dict[str, _Progress] = {}
        self._blind_under_way: dict[str, tuple[_Progress, dict[tuple[int, int], bool]]] = {}
        """By asset, whether base buckets that are over and have no candle were not seen; as of its progress."""
        self._gaps_under_way: tuple[int, list[Gap]] | None = None
        """The gaps that end after a time (UTC ms), and that time; None until they are asked for after a commit."""
        self._under_way: dict[str, dict[int, Candle]] = {}
        """The newest forming base candles of each asset, by start: those of the buckets that are not sealed yet."""

    def is_base(self, key: StreamKey) -> bool:
        """Return whether other streams are derived from this one."""
        return bool(self.timeframes) and key.interval == self._interval and key.source_id == self._source_id

    def is_derived(self, key: StreamKey) -> bool:
        """Return whether this stream is derived from another."""
        return key.interval in self.timeframes and key.source_id == self._source_id

    def keys(self, base: StreamKey) -> tuple[StreamKey, ...]:
        """The streams derived from a base stream, shortest interval first."""
        return self._derived_keys(base.symbol) if self.is_base(base) else ()

    def needed_from_ms(self) -> int:
        """Base candles from this time on (UTC ms) are still to be folded; ``NEVER_MS`` where nothing is derived."""
        now_ms = self._now_ms()
        return min((now_ms - now_ms % length_ms for length_ms in self._lengths_ms), default=NEVER_MS)

    def forget_progress(self) -> None:
        """Something else has changed the store, or the clock was corrected: what is known is read again when needed."""
        self._progress.clear()
        self._blind_under_way.clear()
        self._gaps_under_way = None
        self._under_way.clear()

    def fold(
        self,
        batches: Sequence[CandleBatch] = (),
        revisions: Sequence[CandleRevision] = (),
        gaps: Sequence[Gap] = (),
        over: Mapping[StreamKey, int] = {},
    ) -> FoldedCandles:
        """Return what is to be committed together with candles, revisions and gaps of base streams.

        Changes nothing: ``confirm`` does, once it is committed.

        Parameters
        ----------
        batches, revisions, gaps
            What is about to be committed, of any stream.
        over
            By base stream, the time (UTC ms) before which every base bucket is over.
        """
        if not self.timeframes:
            return FoldedCandles({}, {}, {})
        work = _Fold(self._stored, batches, revisions, gaps)
        base: dict[str, StreamKey] = {}
        for key in [*work.candles, *work.revised, *over]:
            if self.is_base(key):
                base[key.symbol] = key
        touching = [gap for gap in gaps if gap.source_id == self._source_id]
        everyone = any(not gap.symbol for gap in touching)
        for symbol in [*(gap.symbol for gap in touching if gap.symbol), *(self._progress if everyone else ())]:
            base.setdefault(symbol, StreamKey(self._source_id, symbol, self._interval))
        progress: dict[str, _Progress] = {}
        finished: list[_Finished] = []
        for symbol, key in base.items():
            known = self._known(key, bool(work.candles.get(key)))
            if known is not None:
                own_gaps = [gap for gap in touching if gap.symbol in ("", symbol)] if touching else ()
                progress[symbol] = self._advance(key, known, work, own_gaps, over.get(key, 0), finished)
        sealed, revised = self._told(finished, work, progress)
        return FoldedCandles(sealed, revised, progress)

    def confirm(self, folded: FoldedCandles) -> None:
        """Take as done what ``fold`` returned: it is committed."""
        self._gaps_under_way = None
        for symbol, progress in folded.progress.items():
            self._progress[symbol] = progress
            if under_way := self._under_way.get(symbol):
                self._under_way[symbol] = {ts: candle for ts, candle in under_way.items() if ts >= progress.over_ms}

    def forming(
        self, base: StreamKey, candle: Candle, is_wanted: Callable[[StreamKey], bool] = lambda key: True
    ) -> list[tuple[StreamKey, Candle]]:
        """The candles under way of the streams derived from ``base``, whose own candle under way is ``candle``.

        Of those that are wanted: the others cost nothing. One is BLIND as it will be when it is sealed, as far as that
        is known now.
        """
        wanted = [
            (at, key, length_ms)
            for at, (key, length_ms) in enumerate(zip(self.keys(base), self._lengths_ms, strict=True))
            if is_wanted(key)
        ]
        known = self._known(base, has_candles=False)
        if wanted and known is not None:
            known = self._progress[base.symbol] = self._all_folded(known)
        over_ms = known.over_ms if known is not None else 0
        under_way = self._under_way.setdefault(base.symbol, {})
        under_way[candle.ts_ms] = candle
        for ts_ms in [ts_ms for ts_ms in under_way if ts_ms < over_ms]:
            del under_way[ts_ms]
        began_ms = min(known.began_ms if known is not None else NEVER_MS, *under_way, candle.ts_ms)
        found = []
        for at, key, length_ms in wanted:
            start_ms = candle.ts_ms - candle.ts_ms % length_ms
            bucket = known.forming[at] if known is not None else None
            if bucket is not None and bucket.start_ms != start_ms:
                bucket = None
            own = [under_way[ts_ms] for ts_ms in sorted(under_way) if start_ms <= ts_ms <= candle.ts_ms]
            if own:
                bucket = bucket.plus(own, self._base_ms) if bucket else begin_bucket(own, start_ms, self._base_ms)
            if bucket is not None:
                is_blind = known is not None and self._is_blind_so_far(base.symbol, bucket, known)
                found.append((key, bucket.candle(blind_between=is_blind, joined_late=start_ms < began_ms)))
        return found

    # --- within ---------------------------------------------------------------------------------------------------

    def _derived_keys(self, symbol: str) -> tuple[StreamKey, ...]:
        """The streams derived of an asset, shortest interval first."""
        keys = self._keys.get(symbol)
        if keys is None:
            keys = tuple(StreamKey(self._source_id, symbol, timeframe) for timeframe in self.timeframes)
            self._keys[symbol] = keys
        return keys

    def _is_blind_so_far(self, symbol: str, bucket: Bucket, known: _Progress) -> bool:
        """Return whether a base bucket that is over and has no candle was not seen. Asked once for each commit."""
        over = max(known.over_ms - bucket.start_ms, 0) // self._base_ms
        missing = ~bucket.seen & (1 << over) - 1
        if not missing:
            return False
        as_of, answers = self._blind_under_way.get(symbol, (None, {}))
        if as_of is not known:
            answers = {}
            self._blind_under_way[symbol] = known, answers
        asked = bucket.start_ms, missing
        if asked not in answers:
            gaps = self._standing_gaps(symbol, bucket.start_ms)
            unseen = bucket.unseen(over * self._base_ms, self._base_ms)
            answers[asked] = bool(gaps) and self._lies_in(symbol, unseen, gaps)
        return answers[asked]

    def _standing_gaps(self, symbol: str, from_ms: int) -> list[Gap]:
        """The gaps of an asset that end after a time and were not taken back. Read once for all assets and timeframes.

        Only a commit changes them.
        """
        if self._gaps_under_way is None or self._gaps_under_way[0] > from_ms:
            oldest_ms = from_ms - from_ms % self._lengths_ms[-1]
            self._gaps_under_way = oldest_ms, self._stored.gaps(self._source_id, oldest_ms)
        return [
            gap
            for gap in self._gaps_under_way[1]
            if gap.symbol in ("", symbol) and gap.to_ms != gap.from_ms and (not gap.to_ms or gap.to_ms > from_ms)
        ]

    def _lies_in(self, symbol: str, unseen: Iterable[int], gaps: Sequence[Gap]) -> bool:
        """Return whether one of these base buckets lies in a gap, and history did not cover it."""
        for unseen_ms in unseen:
            end_ms = unseen_ms + self._base_ms
            if any(gap.from_ms < end_ms and (not gap.to_ms or gap.to_ms > unseen_ms) for gap in gaps) and not (
                self.is_covered(symbol, unseen_ms, end_ms)
            ):
                return True
        return False

    def _known(self, key: StreamKey, has_candles: bool) -> _Progress | None:
        """The progress of a stream; None for one without candles, unless it is about to have some."""
        if (known := self._progress.get(key.symbol)) is not None:
            return known
        latest_ms = self._stored.watermark(key).latest_ts_ms
        nothing = _Progress(0, NEVER_MS, (None,) * len(self.timeframes), (frozenset(),) * len(self.timeframes))
        if not latest_ms:
            return nothing if has_candles else None
        over_ms = latest_ms + self._base_ms
        for derived, length_ms in zip(self.keys(key), self._lengths_ms, strict=True):
            finished_ms = self._stored.watermark(derived).latest_ts_ms
            over_ms = max(over_ms, finished_ms + length_ms if finished_ms else 0)
        over_ms = min(over_ms, self._now_ms())
        starts = [latest_ms - latest_ms % length_ms for length_ms in self._lengths_ms]
        candles = self._stored.between(key, min(starts), latest_ms + self._base_ms)
        forming = []
        for start_ms, length_ms in zip(starts, self._lengths_ms, strict=True):
            is_over = start_ms + length_ms <= over_ms
            own = [candle for candle in candles if candle.ts_ms >= start_ms]
            forming.append(None if is_over else fold_buckets(own, length_ms, self._base_ms).get(start_ms))
        known = _Progress(over_ms, self._stored.began_ms(key), tuple(forming), nothing.waiting)
        self._progress[key.symbol] = known
        return known

    def _advance(
        self,
        key: StreamKey,
        known: _Progress,
        work: _Fold,
        gaps: Sequence[Gap],
        told_over_ms: int,
        finished: list[_Finished],
    ) -> _Progress:
        """Take what is new of one base stream. What is finished by it, or changes what was, goes to ``finished``."""
        base_ms, before_ms = self._base_ms, known.over_ms
        sealed, better = work.candles.get(key, ()), work.revised.get(key, ())
        over_ms = max(before_ms, told_over_ms, sealed[-1].ts_ms + base_ms if sealed else 0)
        is_next = not sealed or sealed[0].ts_ms >= before_ms
        new = (*known.unfolded, *sealed)
        if over_ms <= known.until_ms and is_next and not better and not gaps:  # nearly always: the next candles
            if over_ms < known.until_ms:
                return _Progress(over_ms, known.began_ms, known.forming, known.waiting, known.until_ms, new)
            return self._ended(key, known, new, finished)
        began_ms = min([known.began_ms, *(candle.ts_ms for candle in (*sealed, *better))])
        changed = [(candle.ts_ms, candle.ts_ms + base_ms) for candle in better]
        if began_ms < known.began_ms < NEVER_MS:  # the bucket that the stream began in is known from its start on
            changed.append((began_ms, known.began_ms + 1))
        gap_times = [(gap.from_ms, over_ms) for gap in gaps if gap.from_ms < over_ms]
        forming, waiting = [], []
        for at, length_ms in enumerate(self._lengths_ms):
            bucket, others = known.forming[at], known.waiting[at]
            own = [*changed, *gap_times]
            for start_ms, within in _by_bucket(new, length_ms).items():
                if start_ms + length_ms <= before_ms:  # its bucket was finished without them
                    own += [(candle.ts_ms, candle.ts_ms + base_ms) for candle in within]
                elif bucket is not None and bucket.start_ms == start_ms:
                    bucket = bucket.plus(within, base_ms)
                else:
                    if bucket is not None:
                        finished.append(_Finished(key.symbol, at, bucket))
                    bucket = begin_bucket(within, start_ms, base_ms)
            over_here_ms = over_ms - over_ms % length_ms
            if not own and not others:  # nearly always: nothing but the next candle
                if bucket is not None and bucket.start_ms < over_here_ms:
                    finished.append(_Finished(key.symbol, at, bucket))
                    bucket = None
                forming.append(bucket)
                waiting.append(others)
                continue
            again = {from_ms - from_ms % length_ms for from_ms, _ in changed} | others
            if bucket is not None and bucket.start_ms in again:
                bucket = work.folded(key, bucket.start_ms, bucket.start_ms + length_ms, length_ms, base_ms)[0].get(
                    bucket.start_ms
                )
            forming_ms = bucket.start_ms if bucket is not None else 0
            if bucket is not None and bucket.start_ms + length_ms <= over_here_ms:
                finished.append(_Finished(key.symbol, at, bucket))
                bucket = None
            own += [(start_ms, start_ms + length_ms) for start_ms in others if start_ms < over_here_ms]
            done = {one.bucket.start_ms for one in finished if one.symbol == key.symbol and one.at == at}
            finished += self._changed(key, at, own, over_here_ms, done, work)
            forming.append(bucket)
            waiting.append(frozenset(start_ms for start_ms in again if start_ms >= over_here_ms) - {forming_ms})
        until_ms = self._until_ms(over_ms, forming, waiting)
        return _Progress(over_ms, began_ms, tuple(forming), tuple(waiting), until_ms)

    def _until_ms(self, over_ms: int, forming: Iterable[Bucket | None], waiting: Iterable[frozenset[int]]) -> int:
        """The first end of a bucket under way; 0 where one is not that of ``over_ms``, or others wait."""
        until_ms = NEVER_MS
        for bucket, others, length_ms in zip(forming, waiting, self._lengths_ms, strict=True):
            start_ms = over_ms - over_ms % length_ms
            if others or (bucket is not None and bucket.start_ms != start_ms):
                return 0
            until_ms = min(until_ms, start_ms + length_ms)
        return until_ms

    def _all_folded(self, known: _Progress) -> _Progress:
        """The same progress with every candle in its buckets."""
        if not known.unfolded:
            return known
        forming = tuple(self._with(known.forming, known.unfolded))
        return _Progress(known.over_ms, known.began_ms, forming, known.waiting, known.until_ms)

    def _with(self, forming: Sequence[Bucket | None], candles: Sequence[Candle]) -> list[Bucket]:
        """The buckets under way with more candles, all of which lie in them, oldest first; at least one."""
        base_ms, first_ms = self._base_ms, candles[0].ts_ms
        part = begin_bucket(candles, first_ms, base_ms)
        volumes = [candle.volume for candle in candles]
        found = []
        for bucket, length_ms in zip(forming, self._lengths_ms, strict=True):
            if bucket is not None:
                found.append(bucket.joined(part, volumes, base_ms))
            elif first_ms % length_ms:
                found.append(begin_bucket(candles, first_ms - first_ms % length_ms, base_ms))
            else:
                found.append(part)
        return found

    def _ended(
        self, key: StreamKey, known: _Progress, candles: Sequence[Candle], finished: list[_Finished]
    ) -> _Progress:
        """The progress of one base stream as the first of its buckets under way end, which go to ``finished``.

        ``candles``: what the buckets lack.
        """
        over_ms, until_ms = known.until_ms, NEVER_MS
        forming: list[Bucket | None] = list(self._with(known.forming, candles) if candles else known.forming)
        for at, length_ms in enumerate(self._lengths_ms):
            passed_ms, bucket = over_ms % length_ms, forming[at]
            if not passed_ms and bucket is not None:
                finished.append(_Finished(key.symbol, at, bucket))
                forming[at] = None
            if over_ms - passed_ms + length_ms < until_ms:
                until_ms = over_ms - passed_ms + length_ms
        return _Progress(over_ms, known.began_ms, tuple(forming), known.waiting, until_ms)

    def _changed(
        self,
        key: StreamKey,
        at: int,
        times: Sequence[tuple[int, int]],
        over_ms: int,
        done: set[int],
        work: _Fold,
    ) -> list[_Finished]:
        """The finished buckets that these times touch, as they are now and as they were."""
        length_ms = self._lengths_ms[at]
        times = [(from_ms, min(to_ms, over_ms)) for from_ms, to_ms in times if from_ms < over_ms]
        if not times:
            return []
        lowest_ms = min(from_ms for from_ms, _ in times)
        from_ms, to_ms = lowest_ms - lowest_ms % length_ms, max(to_ms for _, to_ms in times)
        to_ms += -to_ms % length_ms
        now, was = work.folded(key, from_ms, to_ms, length_ms, self._base_ms)
        return [
            _Finished(key.symbol, at, bucket, was.get(start_ms))
            for start_ms, bucket in now.items()
            if start_ms not in done and any(f < start_ms + length_ms and t > start_ms for f, t in times)
        ]

    def _told(
        self, finished: Sequence[_Finished], work: _Fold, progress: Mapping[str, _Progress]
    ) -> tuple[dict[StreamKey, list[Candle]], dict[StreamKey, list[Candle]]]:
        """Finished buckets as candles: those that come next, and those that are revisions."""
        sealed: dict[StreamKey, list[Candle]] = {}
        revised: dict[StreamKey, list[Candle]] = {}
        if not finished:
            return sealed, revised
        if incomplete := [one.bucket.start_ms for one in finished if one.bucket.seen != self._all_seen[one.at]]:
            work.load_gaps(self._source_id, min(incomplete))
        by_stream: dict[StreamKey, list[_Finished]] = {}
        for one in finished:
            if one.bucket.start_ms >= progress[one.symbol].began_ms:
                by_stream.setdefault(self._derived_keys(one.symbol)[one.at], []).append(one)
        for key, ones in by_stream.items():
            latest_ms = self._stored.watermark(key).latest_ts_ms
            if len(ones) == 1 and ones[0].bucket.start_ms > latest_ms:  # nearly always: the next one
                sealed[key] = [ones[0].bucket.candle(blind_between=self._is_blind(ones[0], work, None))]
                continue
            if len(ones) > 1:
                ones.sort(key=lambda one: one.bucket.start_ms)
            published: dict[int, Candle] = {}
            if old := [one.bucket.start_ms for one in ones if one.bucket.start_ms <= latest_ms]:
                published = {candle.ts_ms: candle for candle in self._stored.between(key, old[0], old[-1] + 1)}
            for one in ones:
                standing = published.get(one.bucket.start_ms)
                candle = one.bucket.candle(blind_between=self._is_blind(one, work, standing))
                if one.bucket.start_ms > latest_ms:
                    sealed.setdefault(key, []).append(candle)
                elif self._is_better(candle, one.was, standing):
                    revised.setdefault(key, []).append(candle)
        return sealed, revised

    @staticmethod
    def _is_better(candle: Candle, was: Bucket | None, standing: Candle | None) -> bool:
        """Return whether it takes the place of the one that stands. One from elsewhere yields to a whole one only."""
        if standing is None:
            return True
        if msgspec.structs.replace(standing, flags=standing.flags & ~_REVISED) == candle:
            return False
        is_ours = was is not None and _values(was.candle()) == _values(standing)
        return is_ours or not candle.flags & _BLIND

    def _is_blind(self, one: _Finished, work: _Fold, standing: Candle | None) -> bool:
        """Return whether a base bucket without a candle lies in a gap that history did not cover.

        Where the candle that stands is not BLIND, that was so for the gaps known by then, and new ones alone count.
        """
        length_ms, base_ms = self._lengths_ms[one.at], self._base_ms
        if one.bucket.seen == self._all_seen[one.at]:
            return False
        only_new = standing is not None and not standing.flags & _BLIND
        gaps = work.gaps_of(one.symbol, only_new=only_new)
        start_ms = one.bucket.start_ms
        gaps = [gap for gap in gaps if gap.from_ms < start_ms + length_ms and (not gap.to_ms or gap.to_ms > start_ms)]
        if not gaps:
            return False
        return self._lies_in(one.symbol, one.bucket.unseen(length_ms, base_ms), gaps)


def _values(candle: Candle) -> tuple[float, ...]:
    return candle.open, candle.high, candle.low, candle.close, candle.volume


def _candles_of(batches: Sequence[CandleBatch]) -> dict[StreamKey, list[Candle]]:
    """The candles of each batch, all made at once: NumPy takes longer for each array than for its candle."""
    candles = list(candles_from(joined_rows([batch.candles for batch in batches]))) if batches else []
    ends = accumulate(len(batch.candles) for batch in batches)
    return {batch.key: candles[end - len(batch.candles) : end] for batch, end in zip(batches, ends, strict=True)}


class _Fold:
    """The content of a commit to come, laid over what the store holds."""

    def __init__(
        self,
        stored: StoredCandles,
        batches: Sequence[CandleBatch],
        revisions: Sequence[CandleRevision],
        gaps: Sequence[Gap],
    ) -> None:
        self._stored = stored
        self.candles = _candles_of(batches)
        self.revised = {revision.key: list(candles_from(revision.candles)) for revision in revisions}
        self._new_gaps = {(gap.symbol, gap.from_ms): gap for gap in gaps}
        self._gaps: dict[tuple[str, int], Gap] = {}

    def all_candles(self, key: StreamKey) -> list[Candle]:
        """The new candles of a stream."""
        return [*self.candles.get(key, ()), *self.revised.get(key, ())]

    def folded(
        self, key: StreamKey, from_ms: int, to_ms: int, length_ms: int, base_ms: int
    ) -> tuple[dict[int, Bucket], dict[int, Bucket]]:
        """The buckets of a time as they will be, and as they are."""
        stored = self._stored.between(key, from_ms, to_ms)
        new = {candle.ts_ms: candle for candle in stored}
        new |= {candle.ts_ms: candle for candle in self.all_candles(key) if from_ms <= candle.ts_ms < to_ms}
        ordered = [new[ts_ms] for ts_ms in sorted(new)]
        return fold_buckets(ordered, length_ms, base_ms), fold_buckets(stored, length_ms, base_ms)

    def load_gaps(self, source_id: str, from_ms: int) -> None:
        """Read the gaps that end after a time; the new ones take the place of those of the same begin."""
        self._gaps = {(gap.symbol, gap.from_ms): gap for gap in self._stored.gaps(source_id, from_ms)} | self._new_gaps

    def gaps_of(self, symbol: str, *, only_new: bool) -> list[Gap]:
        """The gaps of an asset that were not taken back."""
        gaps = self._new_gaps if only_new else self._gaps
        return [gap for gap in gaps.values() if gap.symbol in ("", symbol) and gap.to_ms != gap.from_ms]


def fold_array(candles: CandleArray, length_ms: int, base_ms: int, gaps: Sequence[Gap]) -> CandleArray:
    """Base candles in time order, shape ``(n,)``, as candles of a longer interval.

    ``gaps``: those of their time; a base bucket without a candle within one was not seen.
    """
    starts = candles["ts_ms"] - candles["ts_ms"] % length_ms
    firsts = np.flatnonzero(np.concatenate([[True], starts[1:] != starts[:-1]]))
    lasts = np.concatenate([firsts[1:], [len(candles)]]) - 1
    flags = candles["flags"]
    blind = np.logical_or.reduceat((flags & (_BLIND | _FILLED)) == _BLIND, firsts)
    blind |= _blind_between(candles["ts_ms"], starts[firsts], firsts, lasts, length_ms, base_ms, gaps)
    filled = np.logical_or.reduceat((flags & _FILLED) > 0, firsts) & ~blind
    known = np.logical_and.reduceat(candles["tick_count"] > 0, firsts)
    found = np.zeros(len(firsts), dtype=CANDLE_DTYPE)
    found["ts_ms"] = starts[firsts]
    found["open"] = candles["open"][firsts]
    found["high"] = np.maximum.reduceat(candles["high"], firsts)
    found["low"] = np.minimum.reduceat(candles["low"], firsts)
    found["close"] = candles["close"][lasts]
    found["volume"] = np.add.reduceat(candles["volume"], firsts)
    found["tick_count"] = np.where(known, np.add.reduceat(candles["tick_count"], firsts), 0)
    found["flags"] = (flags[firsts] & _JOINED_LATE) | np.where(blind, _BLIND, 0) | np.where(filled, _FILLED, 0)
    return found


def _blind_between(
    times: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    firsts: npt.NDArray[np.intp],
    lasts: npt.NDArray[np.intp],
    length_ms: int,
    base_ms: int,
    gaps: Sequence[Gap],
) -> npt.NDArray[np.bool_]:
    """Tell of each bucket whether a base bucket of it has no candle and lies in a gap."""
    blind = np.zeros(len(starts), dtype=bool)
    lacking = lasts - firsts + 1 < length_ms // base_ms
    for gap in gaps:
        to_ms = gap.to_ms or int(starts[-1]) + length_ms
        low = int(np.searchsorted(starts, gap.from_ms - length_ms, side="right"))
        high = int(np.searchsorted(starts, to_ms, side="left"))
        for at in np.flatnonzero(lacking[low:high] & ~blind[low:high]) + low:
            begin_ms = max(int(starts[at]), gap.from_ms - gap.from_ms % base_ms)
            end_ms = min(int(starts[at]) + length_ms, to_ms + -to_ms % base_ms)
            seen = times[firsts[at] : lasts[at] + 1]
            blind[at] = int(((seen >= begin_ms) & (seen < end_ms)).sum()) < (end_ms - begin_ms) // base_ms
    return blind
