"""The market as fluxcap knows it: frames and time in, sealed candles, revisions and gaps out. Pure.

This is the whole of capture without its I/O: decoding per socket, the platform's clock, coverage, focus and candles.
The live daemon and a replayed recording drive the same object, and equal input gives equal output.

One thread owns it. Every method takes the time of what happened as an ``Arrival``; nothing here reads a clock.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from capture.candles import CandleBuilder, CandleRules, Revision
from capture.feeds import BlindReason, Feeds, GapNews, SocketKey, SymbolFeed
from capture.focus import AssetNames, Focus, FocusMode
from capture.platform_clock import Arrival, PlatformClock
from capture.platforms.base import (
    ActiveAsset,
    Assets,
    Favourites,
    Greeting,
    History,
    MarketEvent,
    Platform,
    RawTick,
    SocketDecoder,
)
from schemas.errors import UnknownAsset
from schemas.types import Candle, FeedState, Tick

HELD_MAX = 200_000
"""Events kept while the platform's clock is unknown; the oldest go first."""
PASS_EVERY_MS = 50
HEARD_MARGIN_MS = 1_000
"""A ping overtakes ticks: it proves only what is older than their delivery lag and its jitter."""
RAW_HISTORY_PERIOD_MS = 60_000
"""Up to this period the history's ticks are known to be raw (recorded at 60 s)."""
CURRENT_HISTORY_MS = 1_800_000


class MarketTimes(msgspec.Struct, frozen=True):
    """The waits of the candle rules, in milliseconds."""

    grace_ms: int = 2_000
    doubt_ms: int = 10_000
    history_wait_ms: int = 10_000


class Outcome(msgspec.Struct):
    """What was decided since the last ``take``; lists by time of decision."""

    sealed: dict[str, list[Candle]] = msgspec.field(default_factory=dict)
    revised: dict[str, list[Revision]] = msgspec.field(default_factory=dict)
    gaps: list[GapNews] = msgspec.field(default_factory=list)
    ticks: list[Tick] = msgspec.field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.sealed or self.revised or self.gaps or self.ticks)


class AssetView(msgspec.Struct, frozen=True):
    """One asset for ``status``. ``lag_ms`` is now less its last tick, in platform time."""

    symbol: str
    focused: bool
    feed_state: FeedState
    last_tick_ts_ms: int
    last_price: float
    ticks: int
    blind_reason: str


class MarketView(msgspec.Struct, frozen=True):
    """An immutable snapshot for ``status``."""

    clock: str
    clock_reason: str
    platform_offset_ms: int | None
    focus_mode: FocusMode
    focus_symbols: tuple[str, ...]
    focus_unknown: tuple[str, ...]
    active_symbol: str | None
    active_period_ms: int
    favourites: tuple[str, ...]
    asset_count: int
    assets: tuple[AssetView, ...]
    counters: dict[str, int]
    now_ms: int


_Held: TypeAlias = tuple[SocketKey, MarketEvent | BlindReason, Arrival]


class Market:
    """State of the whole market side. ``published_ts_ms(symbol)``: start of the newest candle already in the store."""

    def __init__(
        self,
        platform: Platform,
        interval_ms: int,
        focus: Focus,
        published_ts_ms: Callable[[str], int] = lambda symbol: 0,
        times: MarketTimes = MarketTimes(),  # noqa: B008  frozen
    ) -> None:
        self._platform = platform
        self._rules = CandleRules(interval_ms, times.grace_ms, times.doubt_ms)
        self._published_ts_ms = published_ts_ms
        self.clock = PlatformClock()
        self.feeds = Feeds(times.history_wait_ms)
        self.names = AssetNames()
        self.focus = focus
        self._unknown_focus: tuple[str, ...] = ()
        self.active: ActiveAsset | None = None
        self.favourites: tuple[str, ...] = ()
        self._decoders: dict[SocketKey, SocketDecoder | None] = {}
        self._builders: dict[str, CandleBuilder] = {}
        self._leaving: dict[str, int] = {}
        """Assets out of focus whose bucket under way is still to be sealed: symbol → start of that bucket."""
        self._held: deque[_Held] = deque(maxlen=HELD_MAX)
        self._doubted: deque[_Held] = deque(maxlen=HELD_MAX)
        self._outcome = Outcome()
        self._passed_ms = 0
        self.counters: Counter[str] = Counter()
        self.tick_counts: Counter[str] = Counter()
        self.last_prices: dict[str, float] = {}

    # --- what happens ---------------------------------------------------------------------------------------------

    def socket_opened(self, socket: SocketKey, url: str) -> None:
        """A socket appeared. ``url`` is "" for one that was open before the attach: its frames tell what it is."""
        if socket not in self._decoders:
            self._decoders[socket] = self._platform.decoder() if not url or self._platform.is_socket(url) else None

    def received(self, socket: SocketKey, opcode: int, payload: str, at: Arrival, drained: bool) -> None:
        """A frame the page received. ``drained``: nothing more was waiting behind it."""
        decoder = self._decoder(socket)
        if decoder is not None:
            self._take_in(socket, decoder.received(opcode, payload), at, drained)
            if self.clock.offset_ms is not None:
                self.feeds.heard(socket, self.clock.now_ms(at.mono_ms) - HEARD_MARGIN_MS if drained else 0)
        if drained:
            self.pass_time(at)

    def sent(self, socket: SocketKey, opcode: int, payload: str, at: Arrival) -> None:
        """A frame the page sent."""
        decoder = self._decoder(socket)
        if decoder is not None:
            self._take_in(socket, decoder.sent(opcode, payload), at, drained=False)

    def socket_lost(self, socket: SocketKey, reason: BlindReason, at: Arrival) -> None:
        """A socket is gone. Its frames have all been seen by now."""
        decoder = self._decoders.pop(socket, None)
        if decoder is not None:
            self._count(decoder)
            self._event(socket, reason, at, drained=False)

    def pass_time(self, at: Arrival) -> None:
        """Everything that arrived before ``at`` has been taken in: let time do what it does."""
        now_ms = self.clock.now_ms(at.mono_ms)
        if not now_ms or 0 <= now_ms - self._passed_ms < PASS_EVERY_MS:
            return
        self._passed_ms = now_ms
        self.feeds.expire(now_ms)
        for feed in self.feeds:
            if self._is_focused(feed.symbol) or feed.symbol in self._leaving:
                self._settle(feed, now_ms)
        self._outcome.gaps += self.feeds.take_news()

    def set_focus(self, focus: Focus) -> Focus:
        """Take a new focus, its names as people type them. Raises UnknownAsset; then nothing has changed."""
        focus = msgspec.structs.replace(focus, symbols=tuple(self.names.resolve(name) for name in focus.symbols))
        before = self.focused_symbols()
        self.focus = focus
        self._unknown_focus = ()
        self._leave(before)
        return focus

    # --- what came of it ------------------------------------------------------------------------------------------

    def take(self) -> Outcome:
        """What was decided since the last call. The caller owns it now."""
        outcome, self._outcome = self._outcome, Outcome()
        return outcome

    def give_back(self, outcome: Outcome) -> None:
        """The outcome could not be stored: keep its candles, to be taken again before newer ones."""
        newer, self._outcome = self._outcome, outcome
        for symbol, candles in newer.sealed.items():
            outcome.sealed.setdefault(symbol, []).extend(candles)
        for symbol, revisions in newer.revised.items():
            outcome.revised.setdefault(symbol, []).extend(revisions)
        outcome.gaps += newer.gaps
        outcome.ticks = newer.ticks

    def forming(self) -> dict[str, Candle]:
        """The candle under way of every focused asset."""
        found = {}
        for symbol, builder in self._builders.items():
            if self._is_focused(symbol) and (candle := builder.forming()) is not None:
                found[symbol] = candle
        return found

    def feed_state(self, symbol: str, now_ms: int) -> FeedState:
        """What feeds an asset, as far as the market knows; whether there is a browser the caller knows."""
        if self.clock.offset_ms is None:
            return FeedState.UNSYNCHRONISED if self._decoders else FeedState.NO_SOCKET
        feed = self.feeds.get(symbol)
        if feed is None or not feed.carriers:
            if feed is not None and feed.blind_reason is BlindReason.UNSUBSCRIBED:
                return FeedState.UNSUBSCRIBED
            return FeedState.UNSUBSCRIBED if any(other.carriers for other in self.feeds) else FeedState.NO_SOCKET
        return FeedState.STALLED if feed.suspect else FeedState.LIVE

    def view(self, at: Arrival) -> MarketView:
        """A snapshot for ``status``."""
        now_ms = self.clock.now_ms(at.mono_ms)
        counters = Counter(self.counters)
        for decoder in self._decoders.values():
            if decoder is not None:
                counters.update({f"malformed.{kind}": n for kind, n in decoder.malformed.items() if n})
        for symbol, builder in self._builders.items():
            counters[f"late.{symbol}"] = builder.late_ticks
            counters[f"dropped_incomplete.{symbol}"] = builder.dropped_incomplete
        return MarketView(
            clock=self.clock.state.value,
            clock_reason=self.clock.reason,
            platform_offset_ms=self.clock.offset_ms,
            focus_mode=self.focus.mode,
            focus_symbols=self.focused_symbols(),
            focus_unknown=self._unknown_focus,
            active_symbol=self._active_symbol(),
            active_period_ms=self.active.period_ms if self.active else 0,
            favourites=self.favourites,
            asset_count=len(self.names),
            assets=tuple(self._asset_view(feed, now_ms) for feed in self.feeds),
            counters=dict(counters),
            now_ms=now_ms,
        )

    def focused_symbols(self) -> tuple[str, ...]:
        """The assets that have, or are to have, a stream now."""
        if self.focus.mode is FocusMode.ALL:
            return tuple(feed.symbol for feed in self.feeds if feed.carriers)
        return self.focus.wanted(self._active_symbol())

    # --- within ---------------------------------------------------------------------------------------------------

    def _decoder(self, socket: SocketKey) -> SocketDecoder | None:
        if socket not in self._decoders:
            self.socket_opened(socket, "")
        return self._decoders[socket]

    def _take_in(self, socket: SocketKey, events: Sequence[MarketEvent], at: Arrival, drained: bool) -> None:
        for event in events:
            if type(event) is RawTick:
                self._tick(socket, event, at, drained)
            else:
                self._event(socket, event, at, drained)

    def _tick(self, socket: SocketKey, tick: RawTick, at: Arrival, drained: bool) -> None:
        settled = drained and self.clock.observe(tick.raw_ts_ms, at)
        if self.clock.offset_ms is None:
            self._held.append((socket, tick, at))
        elif settled:
            waiting = self._held or self._doubted
            waiting.append((socket, tick, at))
            self._release(waiting)
        elif self.clock.accept(tick.raw_ts_ms, at):
            if self._doubted:
                self.counters["malformed.tick time"] += len(self._doubted)
                self._doubted.clear()
            self._accepted(socket, tick, at)
        else:
            self._doubted.append((socket, tick, at))

    def _event(self, socket: SocketKey, event: MarketEvent | BlindReason, at: Arrival, drained: bool) -> None:
        if isinstance(event, Assets):
            self._learn_assets(event)
        elif isinstance(event, Favourites):
            self.favourites = event.symbols
        elif isinstance(event, Greeting):
            return
        elif self.clock.offset_ms is None:
            self._note_active(event)
            self._held.append((socket, event, at))
        elif self._doubted and isinstance(event, History):
            self._doubted.append((socket, event, at))
        else:
            self._timed(socket, event, at)

    def _timed(self, socket: SocketKey, event: MarketEvent | BlindReason, at: Arrival) -> None:
        """Events that need the platform's clock."""
        if isinstance(event, BlindReason):
            self.feeds.lost(socket, event)
            self._outcome.gaps += self.feeds.take_news()
        elif isinstance(event, ActiveAsset):
            self._note_active(event)
            self.feeds.turned(socket, event.symbol)
        elif isinstance(event, History):
            self._history(socket, event, at)

    def _release(self, waiting: deque[_Held]) -> None:
        """The clock is settled: take in what waited for it, in order."""
        held = list(waiting)
        waiting.clear()
        for socket, event, at in held:
            if not isinstance(event, RawTick):
                self._timed(socket, event, at)
            elif self.clock.accept(event.raw_ts_ms, at):
                self._accepted(socket, event, at)
            else:
                self.counters["malformed.tick time"] += 1

    def _accepted(self, socket: SocketKey, raw: RawTick, at: Arrival) -> None:
        offset_ms = self.clock.offset_ms or 0
        ts_ms = raw.raw_ts_ms - offset_ms
        symbol = raw.symbol
        if not self.feeds.tick(socket, symbol, ts_ms, raw.price, self.clock.now_ms(at.mono_ms)):
            self.counters["duplicate"] += 1
            return
        self.tick_counts[symbol] += 1
        self.last_prices[symbol] = raw.price
        if not self._is_focused(symbol) and symbol not in self._leaving:
            return
        self._outcome.ticks.append(Tick(symbol, ts_ms, raw.raw_ts_ms, raw.price))
        builder = self._builders.get(symbol) or self._builder(self.feeds.feed(symbol))
        if ts_ms < builder.next_ms:
            builder.late(ts_ms)
        elif builder.wants_sealing(ts_ms):
            self._settle(self.feeds.feed(symbol), ts_ms)

    def _settle(self, feed: SymbolFeed, now_ms: int) -> None:
        builder = self._builders.get(feed.symbol) or self._builder(feed)
        candles = builder.sealed(now_ms)
        last_ms = self._leaving.get(feed.symbol)
        if last_ms is not None:
            candles = [candle for candle in candles if candle.ts_ms <= last_ms]
            if builder.next_ms > last_ms:
                del self._leaving[feed.symbol]
        if candles:
            self._outcome.sealed.setdefault(feed.symbol, []).extend(candles)
        if revisions := builder.revisions():
            self._outcome.revised.setdefault(feed.symbol, []).extend(revisions)

    def _builder(self, feed: SymbolFeed) -> CandleBuilder:
        published = self._published_ts_ms(feed.symbol)
        builder = self._builders[feed.symbol] = CandleBuilder(self.feeds, feed, self._rules, published)
        return builder

    def _history(self, socket: SocketKey, history: History, at: Arrival) -> None:
        offset_ms = self.clock.offset_ms or 0
        now_ms = self.clock.now_ms(at.mono_ms)
        if history.period_ms == self._rules.interval_ms:
            rows = (msgspec.structs.replace(row, ts_ms=row.ts_ms - offset_ms) for row in history.candles)
            self.feeds.add_rows(history.symbol, history.period_ms, [r for r in rows if r.ts_ms <= now_ms])
        raw = history.ticks if history.period_ms <= RAW_HISTORY_PERIOD_MS else ()
        if raw and not -CURRENT_HISTORY_MS <= raw[-1][0] - offset_ms - now_ms <= HEARD_MARGIN_MS * 60:
            self.counters["malformed.history time"] += 1
            return
        ticks = ((raw_ts_ms - offset_ms, price) for raw_ts_ms, price in raw)
        self.counters["history ticks"] += self.feeds.add_history(socket, history.symbol, ticks, now_ms)

    def _learn_assets(self, table: Assets) -> None:
        self.names.replace(table.assets)
        if self.focus.mode is not FocusMode.LOCK:
            return
        resolved, unknown = [], []
        for name in self.focus.symbols:
            try:
                resolved.append(self.names.resolve(name))
            except UnknownAsset:
                resolved.append(name)
                unknown.append(name)
        self.focus = msgspec.structs.replace(self.focus, symbols=tuple(dict.fromkeys(resolved)))
        self._unknown_focus = tuple(unknown)

    def _note_active(self, event: MarketEvent | BlindReason) -> None:
        if isinstance(event, ActiveAsset):
            before = self.focused_symbols()
            period_ms = event.period_ms or (self.active.period_ms if self.active else 0)
            self.active = ActiveAsset(event.symbol, period_ms)
            self._leave(before)

    def _leave(self, before: tuple[str, ...]) -> None:
        """Assets that lost the focus: the bucket under way is finished, so that the last candle is not lost."""
        for symbol in before:
            builder = self._builders.get(symbol)
            if builder is not None and not self._is_focused(symbol) and (forming := builder.forming()) is not None:
                self._leaving[symbol] = forming.ts_ms
        for symbol in [symbol for symbol in self._leaving if self._is_focused(symbol)]:
            del self._leaving[symbol]

    def _active_symbol(self) -> str | None:
        """The asset the page shows; when no frame told it yet (attached late), the only one that ticks."""
        if self.active is not None:
            return self.active.symbol
        ticking = [feed.symbol for feed in self.feeds if feed.carriers]
        return ticking[0] if len(ticking) == 1 else None

    def _is_focused(self, symbol: str) -> bool:
        return self.focus.takes(symbol, self._active_symbol())

    def _count(self, decoder: SocketDecoder) -> None:
        self.counters.update({f"malformed.{kind}": n for kind, n in decoder.malformed.items() if n})

    def _asset_view(self, feed: SymbolFeed, now_ms: int) -> AssetView:
        return AssetView(
            symbol=feed.symbol,
            focused=self._is_focused(feed.symbol),
            feed_state=self.feed_state(feed.symbol, now_ms),
            last_tick_ts_ms=feed.last_tick_ts_ms,
            last_price=self.last_prices.get(feed.symbol, 0.0),
            ticks=self.tick_counts[feed.symbol],
            blind_reason=feed.blind_reason.value if feed.blind_reason else "",
        )
