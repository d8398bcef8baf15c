"""Ticks of focused assets into an outcome: a builder an asset, and what becomes of those that lose the focus. Pure.

An asset that loses the focus finishes the bucket under way (``_leaving``). With that bucket's candle a gap "not in
focus" is told, open, from its end on (``_away``). Meanwhile its ticks go on its tape, as far as the page sends them,
and the gaps of its feed wait. When it comes back, the time that the tape still holds is sealed, the gap ends where that
begins, or is taken back when that is all of it, and of the feed's gaps those that it does not hold are told. So each
minute of an asset that has a stream, or had the focus, is a candle, without a trade, or in a gap that was told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from fluxcap.capture.market.candles import NEVER_MS, CandleBuilder, CandleTimeouts, Revision, bucket_start
from fluxcap.capture.market.clock import Correction
from fluxcap.capture.market.coverage import FeedCoverage
from fluxcap.capture.market.feeds import TOLD_GAPS_MAX, FeedTracker, GapReason, GapUpdate, SymbolFeed
from fluxcap.schemas.types import Candle, Tick

FAR_AHEAD_MS = 86_400_000
"""A stream whose newest candle is further ahead of now than this is not continued: a day of revisions is enough."""


class MarketUpdate(msgspec.Struct):
    """The decisions that nobody has taken yet, in order of time. Whoever carries them out takes out what is done.

    ``waiting``: ticks whose time is not known, since the clock is in question; their ``ts_ms`` is the platform's stamp
    since when their asset has been received without a break. ``settled``: they have got their time since, and stand
    among ``ticks``. ``correction``: all ticks before these were stamped with a wrong offset. ``dropped_after_ms``: what
    earlier runs had stamped later than this was stamped by a wrong clock. ``rows``: the platform's own candles, whole
    ones, to compare with ours. ``over``: by asset, the time before which all of its buckets are over, as far as candles
    of longer intervals end there.
    """

    sealed: dict[str, list[Candle]] = msgspec.field(default_factory=dict)
    revised: dict[str, list[Revision]] = msgspec.field(default_factory=dict)
    gaps: list[GapUpdate] = msgspec.field(default_factory=list)
    ticks: list[Tick] = msgspec.field(default_factory=list)
    waiting: list[Tick] = msgspec.field(default_factory=list)
    rows: dict[str, list[Candle]] = msgspec.field(default_factory=dict)
    settled: bool = False
    correction: Correction | None = None
    dropped_after_ms: int = 0
    over: dict[str, int] = msgspec.field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(
            self.sealed or self.revised or self.gaps or self.ticks or self.waiting or self.rows or self.over
            or self._of_clock
        )  # fmt: skip

    @property
    def _of_clock(self) -> bool:
        return self.settled or self.correction is not None or bool(self.dropped_after_ms)

    def take(self) -> MarketUpdate:
        """Remove and return all of it. The caller owns it."""
        taken = MarketUpdate(
            self.sealed, self.revised, self.gaps, self.ticks, self.waiting, self.rows, self.settled,
            self.correction, self.dropped_after_ms, self.over,
        )  # fmt: skip
        self.sealed, self.revised, self.gaps, self.ticks, self.waiting, self.rows = {}, {}, [], [], [], {}
        self.settled, self.correction, self.dropped_after_ms, self.over = False, None, 0, {}
        return taken

    def append(self, newer: MarketUpdate) -> None:
        """Add what was decided after this. Ticks are not kept: they are told at once, and only those of ``newer``."""
        for symbol, candles in newer.sealed.items():
            self.sealed.setdefault(symbol, []).extend(candles)
        for symbol, revisions in newer.revised.items():
            self.revised.setdefault(symbol, []).extend(revisions)
        self.gaps += newer.gaps
        self.ticks = newer.ticks
        for symbol, rows in newer.rows.items():
            self.rows.setdefault(symbol, []).extend(rows)
        self.over |= newer.over


JUDGED_AFTER_MS = 10_000
"""So long after the clock is known a start waits for what the page shows, before an asset of an earlier run is said to
have lost the focus."""


class _Away(msgspec.Struct):
    """An asset whose gap "not in focus" is told and open. ``feed_gaps``: of its feed, not told meanwhile, by begin.

    ``is_restored``: it is an earlier run's.
    """

    from_ms: int
    is_restored: bool = False
    feed_gaps: dict[int, GapUpdate] = msgspec.field(default_factory=dict)


class CandleAggregator:
    """Makes candles of the focused assets.

    ``is_focused(symbol)``: whether an asset is focused now. ``stored(symbol, from_ms)``: the candles that the store has
    of an asset from a time on, oldest first. ``longer_ms``: lengths of the intervals of which candles are made from
    these; the ends of their buckets are told.

    Attributes
    ----------
    update
        What was decided and not yet taken.
    now_ms
        Platform time (UTC ms) when it was last told.
    wrong_from_ms
        Candles of earlier runs from this time on stand under wrong times; 0: none but those of times yet to come.
    far_ahead
        Assets that are not continued, since their newest stored candle is more than a day ahead of now.
    """

    def __init__(
        self,
        feeds: FeedTracker,
        timeouts: CandleTimeouts,
        published_ts_ms: Callable[[str], int],
        is_focused: Callable[[str], bool],
        stored: Callable[[str, int], Sequence[Candle]] = lambda symbol, from_ms: (),
        longer_ms: Sequence[int] = (),
    ) -> None:
        self._stored = stored
        self._longer_ms = tuple(longer_ms)
        self._over_ms: dict[str, int] = {}
        """The end of a longer bucket that was told last to be over, by asset."""
        self._away_over_at_ms = 0
        """When it is to be told of the assets that are out of focus."""
        self.now_ms = 0
        self.wrong_from_ms = 0
        self.far_ahead: set[str] = set()
        self._out_of_focus: dict[tuple[str, int], GapUpdate] = {}
        """The times out of focus that this run has told, as they stand."""
        self._began_ms: dict[str, int] = {}
        """Since when this run has published an asset."""
        self._feeds = feeds
        self._timeouts = timeouts
        self._published_ts_ms = published_ts_ms
        self._is_focused = is_focused
        self._builders: dict[str, CandleBuilder] = {}
        self._leaving: dict[str, int] = {}
        """Assets out of focus whose bucket under way is still to be finished: symbol → start of that bucket."""
        self._away: dict[str, _Away] = {}
        self._newest_gaps: dict[str, GapUpdate] = {}
        """The gap of each asset that was told last."""
        self._unjudged: dict[str, bool] = {}
        """Assets with a stream of an earlier run of which it is not decided yet whether they lost the focus, and
        whether a gap since its end was known when the clock was."""
        self._judge_at_ms = NEVER_MS
        self._emitted_from_ms: dict[str, int] = {}
        """Since when every tick of a focused asset has gone into an outcome."""
        self._idle_until_ms = 0
        """Until then time seals nothing, as long as nothing happens but ticks in their order."""
        self._coverage_epoch = 0
        self.update = MarketUpdate()

    def invalidate_idle(self) -> None:
        """Something happened that is no tick: look at every asset when time passes next."""
        self._idle_until_ms = 0

    def tick(self, feed: SymbolFeed, ts_ms: int, raw_ts_ms: int, price: float) -> None:
        """A new tick went onto the asset's tape."""
        symbol = feed.symbol
        if not self.emit_tick(symbol, ts_ms, raw_ts_ms, price):
            if symbol in self._builders:
                self._tick_out_of_focus(feed, ts_ms)
            return
        builder = self._builders.get(symbol) or self._builder(feed)
        if symbol in self.far_ahead:
            return
        if ts_ms < builder.next_ms:
            builder.add_late_tick(ts_ms)
            self.invalidate_idle()
        elif builder.closes_bucket(ts_ms):
            self._seal(feed, ts_ms)
            self.invalidate_idle()

    def emit_tick(self, symbol: str, ts_ms: int, raw_ts_ms: int, price: float) -> bool:
        """A live tick goes into the outcome, if its asset is focused or finishes its bucket. Whether it does."""
        if not self._is_focused(symbol) and not self._is_finishing(symbol, ts_ms):
            self._emitted_from_ms.pop(symbol, None)
            return False
        if symbol not in self._emitted_from_ms:
            self._emitted_from_ms[symbol] = ts_ms
        self.update.ticks.append(Tick(symbol, ts_ms, raw_ts_ms, price))
        return True

    def _is_finishing(self, symbol: str, ts_ms: int) -> bool:
        last_ms = self._leaving.get(symbol)
        return last_ms is not None and ts_ms < last_ms + self._timeouts.interval_ms

    def _tick_out_of_focus(self, feed: SymbolFeed, ts_ms: int) -> None:
        """It ends the bucket that was still to be finished, or came late for one that is published."""
        builder = self._builders[feed.symbol]
        if ts_ms < builder.next_ms:
            builder.add_late_tick(ts_ms)
            self._revise(feed, builder, self._feeds.coverage(feed))
        elif feed.symbol in self._leaving:
            self._seal(feed, ts_ms)
            self.invalidate_idle()

    def history(self, feed: SymbolFeed, times: Sequence[int], added: Sequence[int]) -> None:
        """A history of ticks at ``times``, ascending, went onto the asset's tape; those at ``added`` were new to it."""
        builder = self._builders.get(feed.symbol)
        if builder is not None and added:
            builder.apply_history(times, added)

    def shift(self, by_ms: int, now_ms: int) -> None:
        """All that was stamped in this run had the wrong offset: its time is ``by_ms`` later. After the feeds'."""
        self.now_ms = now_ms
        self.invalidate_idle()
        self._over_ms.clear()
        self.update.over.clear()
        self._away_over_at_ms = 0
        self.update.ticks = [msgspec.structs.replace(tick, ts_ms=tick.ts_ms + by_ms) for tick in self.update.ticks]
        self._emitted_from_ms = {symbol: ts_ms + by_ms for symbol, ts_ms in self._emitted_from_ms.items()}
        interval_ms = self._timeouts.interval_ms
        self._leaving = {s: bucket_start(ts_ms + by_ms, interval_ms) for s, ts_ms in self._leaving.items()}
        self._shift_out_of_focus(by_ms)
        for symbol, builder in self._builders.items():
            unpublished = self.update.sealed.pop(symbol, [])
            self.update.revised.pop(symbol, None)
            began_ms = self._began_ms.get(symbol, 0)
            stored = self._stored(symbol, began_ms) if began_ms else ()
            wrong = self._of_earlier_runs(symbol, began_ms) if self._is_ahead(symbol) else ()
            revisions, gaps = builder.shift(by_ms, self._coverage(symbol), stored, unpublished, wrong)
            if revisions:
                self.update.revised[symbol] = revisions
            for from_ms, to_ms in gaps:
                self._feeds.tell_gap(symbol, from_ms, to_ms, GapReason.CLOCK_WRONG)
        self._began_ms = {s: bucket_start(ts_ms + by_ms, interval_ms) for s, ts_ms in self._began_ms.items()}
        self.collect_gaps()

    def advance_time(self, now_ms: int) -> None:
        """Seal what time has ended, and tell of the gaps that opened and closed."""
        self.now_ms = now_ms
        if now_ms >= self._judge_at_ms:
            self._judge(now_ms)
        if now_ms >= self._idle_until_ms or self._coverage_epoch != self._feeds.coverage_epoch:
            self._coverage_epoch = self._feeds.coverage_epoch
            self._idle_until_ms = min((self._seal(feed, now_ms) for feed in self._active_feeds()), default=NEVER_MS)
            self._finish_unheard(now_ms)
        self.collect_gaps()
        if self._longer_ms and now_ms >= self._away_over_at_ms:
            self._tell_over_away(now_ms)

    def collect_gaps(self) -> None:
        """Gaps that opened and closed go into the outcome, but for those within a time out of focus."""
        for gap in self._feeds.drain_gaps():
            away = self._away.get(gap.symbol)
            if away is None or gap.from_ms < away.from_ms:
                self._newest_gaps[gap.symbol] = gap
                self.update.gaps.append(gap)
            else:
                away.feed_gaps[gap.from_ms] = gap

    # --- what loses the focus, and what comes back ----------------------------------------------------------------

    def forget(self, symbol: str) -> None:
        """Forget an asset that has no stream."""
        self.invalidate_idle()
        for known in (self._builders, self._leaving, self._newest_gaps, self._emitted_from_ms, self._began_ms):
            known.pop(symbol, None)
        self._over_ms.pop(symbol, None)

    def on_focus_change(self, left: Iterable[str], joined: Iterable[str], now_ms: int) -> None:
        """Follow a change of the focus at ``now_ms`` (platform time, UTC ms; 0 while it is not known)."""
        self.invalidate_idle()
        for symbol in left:
            if symbol not in self._away and symbol not in self._unjudged and self._is_tracked(symbol):
                self._leave(symbol, now_ms)
        for symbol in joined:
            self._leaving.pop(symbol, None)
            if symbol in self._unjudged and self._judge_at_ms != NEVER_MS:
                self._continue_stream(symbol)

    def track(self, symbols: Iterable[str]) -> None:
        """Take the assets of which an earlier run has published candles. Before anything is heard of them."""
        self._unjudged.update(dict.fromkeys(symbols, False))

    def on_synchronised(self, now_ms: int) -> None:
        """The clock is known for the first time (platform time, UTC ms), and no tick of this run was taken in yet."""
        self._judge_at_ms = now_ms + JUDGED_AFTER_MS if self._unjudged else NEVER_MS
        for symbol in list(self._unjudged):
            self._unjudged[symbol] = symbol in self._away or self._feeds.has_open_gap(symbol)
            if self._is_focused(symbol):
                self._continue_stream(symbol)

    def restore_away(self, symbol: str, from_ms: int) -> None:
        """An earlier run told that the asset is out of focus since ``from_ms``, and it has not come back since."""
        self._away[symbol] = _Away(from_ms, is_restored=True)

    def has_left_by(self, symbol: str, ts_ms: int) -> bool:
        """Return whether the asset was out of focus at ``ts_ms`` already, as far as was told."""
        away = self._away.get(symbol)
        return away is not None and away.from_ms >= ts_ms

    def _judge(self, now_ms: int) -> None:
        """Assets of earlier runs that are not in focus by now have lost it."""
        self._judge_at_ms = NEVER_MS
        self.invalidate_idle()
        unjudged, self._unjudged = self._unjudged, {}
        for symbol, is_gap_known in unjudged.items():
            if symbol not in self._away and is_gap_known:
                self._leave(symbol, now_ms)
            elif symbol not in self._away:
                self._go_away(symbol, self._stream_end_ms(symbol))

    def _continue_stream(self, symbol: str) -> None:
        """A stream of an earlier run goes on. What is not known to be told of the time between is told now."""
        if self._unjudged.pop(symbol):
            return
        end_ms = self._stream_end_ms(symbol)
        feed = self._feeds.get(symbol)
        heard_ms = self._heard_from_ms(feed) if feed is not None else None
        if heard_ms is None:
            self._feeds.restore(symbol, (), end_ms, end_ms)
        elif end_ms < heard_ms:
            self._feeds.restore_loss(symbol, end_ms, heard_ms)

    def _is_tracked(self, symbol: str) -> bool:
        """Return whether it has a stream or was heard: of another one no time is told."""
        feed = self._feeds.get(symbol)
        return bool((feed is not None and feed.last_tick_ts_ms) or self._published_ts_ms(symbol))

    def _leave(self, symbol: str, now_ms: int) -> None:
        feed = self._feeds.get(symbol)
        newest_ms = feed.last_tick_ts_ms if feed is not None else 0
        newest_ms = max(newest_ms, min(self._published_ts_ms(symbol), self.now_ms or NEVER_MS), now_ms)
        self._leaving[symbol] = bucket_start(newest_ms, self._timeouts.interval_ms)

    def _finish_unheard(self, now_ms: int) -> None:
        """Assets that lost the focus without having been heard in this run."""
        for symbol, last_ms in list(self._leaving.items()):
            end_ms = last_ms + self._timeouts.interval_ms
            if self._feeds.get(symbol) is None:
                if now_ms >= end_ms:
                    del self._leaving[symbol]
                    self._go_away(symbol, end_ms)
                else:
                    self._idle_until_ms = min(self._idle_until_ms, end_ms)

    def _go_away(self, symbol: str, from_ms: int) -> None:
        """All before ``from_ms`` is decided: tell the gap. One of the feed that begins there waits behind it."""
        away = self._away[symbol] = _Away(from_ms)
        self.collect_gaps()
        newest = self._newest_gaps.get(symbol)
        if newest is not None and newest.from_ms >= from_ms:
            away.feed_gaps[newest.from_ms] = newest
        self._tell_out_of_focus(GapUpdate(symbol, from_ms, 0, GapReason.NOT_IN_FOCUS))

    def _come_back(self, feed: SymbolFeed, coverage: FeedCoverage, now_ms: int) -> None:
        """End the gap of an asset that is in focus again, once it is known where what is known begins."""
        away = self._away[feed.symbol]
        heard_ms = self._heard_from_ms(feed)
        if now_ms < coverage.hold_until_ms or heard_ms is None:
            return
        self.collect_gaps()
        begin_ms = away.from_ms
        known_ms = max(feed.tape.holds_from_ms, heard_ms)
        if begin_ms < known_ms and not (begin_ms >= feed.tape.holds_from_ms and coverage.covers(begin_ms, heard_ms)):
            begin_ms = self._next_bucket(known_ms)
        broken_ms = feed.gap_from_ms
        if broken_ms is not None and broken_ms >= away.from_ms:
            begin_ms = min(begin_ms, broken_ms)
        elif coverage.watermark_ms < begin_ms:
            return
        del self._away[feed.symbol]
        feed_gaps = sorted(away.feed_gaps.values(), key=lambda gap: gap.from_ms)
        for gap in feed_gaps:
            if gap.from_ms == away.from_ms < begin_ms:  # one of the two can be told of one begin
                begin_ms = max(begin_ms, self._next_bucket(gap.to_ms))
        told = [gap for gap in feed_gaps if gap.from_ms != gap.to_ms and (not gap.to_ms or gap.to_ms > begin_ms)]
        self._tell_out_of_focus(GapUpdate(feed.symbol, away.from_ms, begin_ms, GapReason.NOT_IN_FOCUS))
        self.update.gaps += told
        if told:
            self._newest_gaps[feed.symbol] = told[-1]

    def _tell_out_of_focus(self, gap: GapUpdate) -> None:
        self.update.gaps.append(gap)
        self._out_of_focus[gap.symbol, gap.from_ms] = gap
        if len(self._out_of_focus) > TOLD_GAPS_MAX:
            del self._out_of_focus[next(iter(self._out_of_focus))]

    def _shift_out_of_focus(self, by_ms: int) -> None:
        """The times out of focus of this run were stamped with the wrong offset: tell them again."""
        told = self._out_of_focus
        self._out_of_focus = {}
        restored = {(s, away.from_ms) for s, away in self._away.items() if away.is_restored}
        for key, gap in told.items():
            if key not in restored:
                self.update.gaps.append(GapUpdate(gap.symbol, gap.from_ms, gap.from_ms, gap.reason))
        for key, gap in told.items():
            by_own_ms = 0 if key in restored else by_ms
            to_ms = gap.to_ms + by_ms if gap.to_ms else 0
            from_ms = gap.from_ms + by_own_ms
            self._tell_out_of_focus(GapUpdate(gap.symbol, from_ms, max(to_ms, from_ms) if to_ms else 0, gap.reason))
        for away in self._away.values():
            away.from_ms += 0 if away.is_restored else by_ms
            away.feed_gaps.clear()
        self._newest_gaps.clear()
        self._judge_at_ms += by_ms if self._judge_at_ms != NEVER_MS else 0

    def _stream_end_ms(self, symbol: str) -> int:
        """End of an asset's newest stored candle; or now, where a wrong clock has stored later ones."""
        end_ms = self._published_ts_ms(symbol) + self._timeouts.interval_ms
        return min(end_ms, self.now_ms) if self.now_ms else end_ms

    def _heard_from_ms(self, feed: SymbolFeed) -> int | None:
        """Since when each time of the asset is either covered or in a gap that its feed told; None: never heard."""
        return next((from_ms for from_ms, _ in self._feeds.coverage(feed).live), None)

    def _next_bucket(self, ts_ms: int) -> int:
        """Start of the first bucket that does not begin before ``ts_ms``."""
        return bucket_start(ts_ms + self._timeouts.interval_ms - 1, self._timeouts.interval_ms)

    # --- what is told -----------------------------------------------------------------------------------------------

    def forming(self) -> dict[str, Candle]:
        """The candle under way of every focused asset."""
        found = {}
        for symbol, builder in self._builders.items():
            if self._is_focused(symbol) and (candle := builder.forming(self._coverage(symbol))) is not None:
                found[symbol] = candle
        return found

    def covered_since(self, feed: SymbolFeed) -> int:
        """Start of the unbroken stretch up to the asset's newest tick of which every live tick went into an outcome."""
        last_ms = feed.last_tick_ts_ms
        covered_ms = self._feeds.coverage(feed).live.covered_since(last_ms)
        return max(self._emitted_from_ms.get(feed.symbol, last_ms), covered_ms)

    def sealed_to_ms(self, symbol: str) -> int | None:
        """End of an asset's newest sealed bucket where its stream is ahead of that; None where it is not."""
        builder = self._builders.get(symbol)
        return builder.next_ms if builder is not None and builder.is_behind else None

    def counters(self) -> Iterator[tuple[str, int]]:
        """Late ticks and incomplete buckets dropped, by asset."""
        for symbol, builder in self._builders.items():
            yield f"late.{symbol}", builder.late_ticks
            yield f"dropped_incomplete.{symbol}", builder.dropped_incomplete

    def _active_feeds(self) -> Iterator[SymbolFeed]:
        for feed in self._feeds:
            if self._is_focused(feed.symbol) or feed.symbol in self._leaving:
                yield feed

    def _seal(self, feed: SymbolFeed, now_ms: int) -> int:
        """Seal what is over. Returns until when the passing of time alone changes nothing."""
        symbol = feed.symbol
        builder = self._builders.get(symbol) or self._builder(feed)
        if symbol in self.far_ahead:
            return NEVER_MS
        last_ms = self._leaving.get(symbol)
        coverage = self._feeds.coverage(feed)
        candles = builder.sealed(now_ms, coverage, NEVER_MS if last_ms is None else last_ms)
        if candles:
            self._began_ms.setdefault(symbol, candles[0].ts_ms)
            self.update.sealed.setdefault(symbol, []).extend(candles)
        self._revise(feed, builder, coverage)
        if last_ms is not None:
            if builder.next_ms <= last_ms and not builder.is_over(last_ms, now_ms, coverage):
                return 0
            if symbol not in self._away:
                self._go_away(symbol, max(last_ms + self._timeouts.interval_ms, builder.next_ms))
            # One sealed out of doubt is finished once its feed has proven it, or ended: then a gap tells what it lacks.
            if builder.is_in_doubt and feed.sockets:
                return 0
            del self._leaving[symbol]
        elif symbol in self._away:
            self._come_back(feed, coverage, now_ms)
            if symbol in self._away:
                return 0
        idle_until_ms = builder.idle_until_ms(now_ms, coverage)
        return (
            min(idle_until_ms, self._tell_over(symbol, builder, coverage, now_ms)) if self._longer_ms else idle_until_ms
        )

    def _tell_over(self, symbol: str, builder: CandleBuilder, coverage: FeedCoverage, now_ms: int) -> int:
        """Tell up to where all is over, if a longer bucket ends there. Returns until when time alone tells no more."""
        if not builder.next_ms:
            return NEVER_MS
        newest_ms, told_ms = self._last_end(now_ms), self._over_ms.get(symbol, 0)
        timed_out_ms = now_ms - max(self._timeouts.idle_timeout_ms, self._timeouts.allowed_lateness_ms)
        for end_ms in (newest_ms, self._last_end(timed_out_ms), self._last_end(builder.next_ms)):
            if end_ms > told_ms and builder.is_over_before(end_ms, now_ms, coverage):
                self._over_ms[symbol] = self.update.over[symbol] = told_ms = end_ms
                break
        return self._next_end(now_ms) if told_ms >= newest_ms else 0

    def _tell_over_away(self, now_ms: int) -> None:
        """Nothing is awaited of the assets that are out of focus, but for what the idle timeout awaits of all."""
        timed_out_ms = now_ms - self._timeouts.idle_timeout_ms
        end_ms = self._last_end(timed_out_ms)
        for symbol in self._away:
            if end_ms > self._over_ms.get(symbol, 0):
                self._over_ms[symbol] = self.update.over[symbol] = end_ms
        self._away_over_at_ms = self._next_end(timed_out_ms) + self._timeouts.idle_timeout_ms

    def _last_end(self, ts_ms: int) -> int:
        """The newest end of a longer bucket that is not after ``ts_ms``."""
        return max(bucket_start(ts_ms, length_ms) for length_ms in self._longer_ms)

    def _next_end(self, ts_ms: int) -> int:
        """The first end of a longer bucket after ``ts_ms``."""
        return min(bucket_start(ts_ms, length_ms) + length_ms for length_ms in self._longer_ms)

    def _revise(self, feed: SymbolFeed, builder: CandleBuilder, coverage: FeedCoverage) -> None:
        if revisions := builder.revisions(coverage):
            self.update.revised.setdefault(feed.symbol, []).extend(revisions)

    def _builder(self, feed: SymbolFeed) -> CandleBuilder:
        symbol, interval_ms = feed.symbol, self._timeouts.interval_ms
        rows = feed.server_candles(interval_ms)
        published_ms = self._published_ts_ms(symbol)
        if self._is_ahead(symbol):
            builder = self._builder_of_stream_ahead(feed, published_ms)
        else:
            builder = CandleBuilder(feed.tape, rows, self._timeouts, published_ms)
        self._builders[symbol] = builder
        return builder

    def _is_ahead(self, symbol: str) -> bool:
        """Return whether the stream has candles of times yet to come."""
        limit_ms = self.now_ms + self._timeouts.interval_ms + self._timeouts.allowed_lateness_ms
        return bool(self.now_ms) and self._published_ts_ms(symbol) > limit_ms

    def _of_earlier_runs(self, symbol: str, began_ms: int) -> list[Candle]:
        """Return what earlier runs published under wrong times, this one having begun at ``began_ms``, or 0."""
        now_ms = bucket_start(self.now_ms, self._timeouts.interval_ms)
        stored = self._stored(symbol, min(self.wrong_from_ms or now_ms, now_ms))
        return [candle for candle in stored if not began_ms or candle.ts_ms < began_ms]

    def _builder_of_stream_ahead(self, feed: SymbolFeed, published_ms: int) -> CandleBuilder:
        """A clock that was wrong has published candles of times yet to come."""
        symbol, interval_ms = feed.symbol, self._timeouts.interval_ms
        rows = feed.server_candles(interval_ms)
        if published_ms > self.now_ms + FAR_AHEAD_MS:
            self.far_ahead.add(symbol)
            return CandleBuilder(feed.tape, rows, self._timeouts, published_ms)
        now_ms = bucket_start(self.now_ms, interval_ms)
        wrong_from_ms = min(self.wrong_from_ms or now_ms, now_ms)
        known_from_ms = bucket_start(wrong_from_ms - FAR_AHEAD_MS, interval_ms)
        stored = self._stored(symbol, known_from_ms)
        right_ms = max((candle.ts_ms for candle in stored if candle.ts_ms < wrong_from_ms), default=known_from_ms)
        wrong = [candle for candle in stored if candle.ts_ms >= wrong_from_ms]
        builder = CandleBuilder(feed.tape, rows, self._timeouts, right_ms, published_ms, wrong)
        if wrong:
            self.update.revised.setdefault(symbol, []).extend(builder.wrong())
            past = [candle.ts_ms for candle in wrong if candle.ts_ms < now_ms]
            if past:
                self._feeds.tell_gap(symbol, past[0], past[-1] + interval_ms, GapReason.CLOCK_WRONG)
        return builder

    def _coverage(self, symbol: str) -> FeedCoverage:
        return self._feeds.coverage(self._feeds.feed(symbol))
