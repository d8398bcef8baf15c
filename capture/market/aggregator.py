"""Ticks of focused assets into an outcome: a builder an asset, and what becomes of those that lose the focus. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from fluxcap.capture.market.candles import NEVER_MS, CandleBuilder, CandleTimeouts, Revision
from fluxcap.capture.market.coverage import FeedCoverage
from fluxcap.capture.market.feeds import FeedTracker, GapUpdate, SymbolFeed
from fluxcap.schemas.types import Candle, Tick


class MarketUpdate(msgspec.Struct):
    """The decisions that nobody has taken yet, in order of time. Whoever carries them out takes out what is done."""

    sealed: dict[str, list[Candle]] = msgspec.field(default_factory=dict)
    revised: dict[str, list[Revision]] = msgspec.field(default_factory=dict)
    gaps: list[GapUpdate] = msgspec.field(default_factory=list)
    ticks: list[Tick] = msgspec.field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.sealed or self.revised or self.gaps or self.ticks)

    def take(self) -> MarketUpdate:
        """Remove and return all of it. The caller owns it."""
        taken = MarketUpdate(self.sealed, self.revised, self.gaps, self.ticks)
        self.sealed, self.revised, self.gaps, self.ticks = {}, {}, [], []
        return taken

    def append(self, newer: MarketUpdate) -> None:
        """Add what was decided after this. Ticks are not kept: they are told at once, and only those of ``newer``."""
        for symbol, candles in newer.sealed.items():
            self.sealed.setdefault(symbol, []).extend(candles)
        for symbol, revisions in newer.revised.items():
            self.revised.setdefault(symbol, []).extend(revisions)
        self.gaps += newer.gaps
        self.ticks = newer.ticks


class CandleAggregator:
    """``is_focused(symbol)``: whether an asset is focused now. ``update`` is what was decided and not yet taken."""

    def __init__(
        self,
        feeds: FeedTracker,
        timeouts: CandleTimeouts,
        published_ts_ms: Callable[[str], int],
        is_focused: Callable[[str], bool],
    ) -> None:
        self._feeds = feeds
        self._timeouts = timeouts
        self._published_ts_ms = published_ts_ms
        self._is_focused = is_focused
        self._builders: dict[str, CandleBuilder] = {}
        self._leaving: dict[str, int] = {}
        """Assets out of focus whose bucket under way is still to be finished: symbol → start of that bucket."""
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
            return
        builder = self._builders.get(symbol) or self._builder(feed)
        if ts_ms < builder.next_ms:
            builder.add_late_tick(ts_ms)
            self.invalidate_idle()
        elif builder.closes_bucket(ts_ms):
            self._seal(feed, ts_ms)
            self.invalidate_idle()

    def emit_tick(self, symbol: str, ts_ms: int, raw_ts_ms: int, price: float) -> bool:
        """A live tick goes into the outcome, if its asset is focused or leaving. Whether it is."""
        if not self._is_focused(symbol) and symbol not in self._leaving:
            self._emitted_from_ms.pop(symbol, None)
            return False
        if symbol not in self._emitted_from_ms:
            self._emitted_from_ms[symbol] = ts_ms
        self.update.ticks.append(Tick(symbol, ts_ms, raw_ts_ms, price))
        return True

    def history(self, feed: SymbolFeed, times: Sequence[int], added: Sequence[int]) -> None:
        """A history of ticks at ``times``, ascending, went onto the asset's tape; those at ``added`` were new to it."""
        builder = self._builders.get(feed.symbol)
        if builder is not None and added:
            builder.apply_history(times, added)

    def advance_time(self, now_ms: int) -> None:
        """Seal what time has ended, and tell of the gaps that opened and closed."""
        if now_ms >= self._idle_until_ms or self._coverage_epoch != self._feeds.coverage_epoch:
            self._coverage_epoch = self._feeds.coverage_epoch
            self._idle_until_ms = min((self._seal(feed, now_ms) for feed in self._active_feeds()), default=NEVER_MS)
        self.collect_gaps()

    def collect_gaps(self) -> None:
        """Gaps that opened and closed go into the outcome."""
        self.update.gaps += self._feeds.drain_gaps()

    def on_focus_change(self, before: Iterable[str]) -> None:
        """Follow a change of the focus; ``before``: the symbols it had.

        The current bucket of those it lost is still finished, so that their last candle is not lost.
        """
        self.invalidate_idle()
        for symbol in before:
            builder = self._builders.get(symbol)
            if builder is None or self._is_focused(symbol):
                continue
            if (candle := builder.forming(self._coverage(symbol))) is not None:
                self._leaving[symbol] = candle.ts_ms
        for symbol in [symbol for symbol in self._leaving if self._is_focused(symbol)]:
            del self._leaving[symbol]

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
        last_ms = self._leaving.get(symbol, NEVER_MS)
        coverage = self._feeds.coverage(feed)
        candles = builder.sealed(now_ms, coverage, last_ms)
        if candles:
            self.update.sealed.setdefault(symbol, []).extend(candles)
        if revisions := builder.revisions(coverage):
            self.update.revised.setdefault(symbol, []).extend(revisions)
        # One sealed out of doubt is finished once its feed has proven it, or ended: then a gap tells what it lacks.
        if builder.next_ms > last_ms and not (builder.is_in_doubt and feed.sockets):
            del self._leaving[symbol]
        return builder.idle_until_ms(now_ms, coverage)

    def _builder(self, feed: SymbolFeed) -> CandleBuilder:
        published_ms = self._published_ts_ms(feed.symbol)
        builder = self._builders[feed.symbol] = CandleBuilder(
            feed.tape, feed.server_candles(self._timeouts.interval_ms), self._timeouts, published_ms
        )
        return builder

    def _coverage(self, symbol: str) -> FeedCoverage:
        return self._feeds.coverage(self._feeds.feed(symbol))
