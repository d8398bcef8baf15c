"""The market as fluxcap knows it: frames and time in, sealed candles, revisions and gaps out. Pure.

This is the whole of capture without its I/O: decoding per socket, the platform's clock, coverage, focus and candles.
The live daemon and a replayed recording drive the same object, and equal input gives equal output.

One thread owns it. Every method takes the time of what happened as an ``ArrivalTime``; nothing here reads a clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from fluxcap.capture.market.aggregator import CandleAggregator
from fluxcap.capture.market.candles import CandleTimeouts
from fluxcap.capture.market.clock import ArrivalTime
from fluxcap.capture.market.feeds import FeedTracker, GapReason, SocketKey, SymbolFeed
from fluxcap.capture.market.focus import AssetNames, Focus, FocusState
from fluxcap.capture.market.ingest import TickIngest
from fluxcap.capture.market.updates import AssetSnapshot, MarketSnapshot, MarketUpdate
from fluxcap.capture.platforms.base import ActiveAsset, Platform, SocketDecoder
from fluxcap.schemas.types import Candle, FeedState

__all__ = ["AssetSnapshot", "Market", "MarketSnapshot", "MarketTimeouts", "MarketUpdate"]

ADVANCE_EVERY_MS = 50
PRUNE_EVERY_MS = 60_000
COVERAGE_RETENTION_MS = 21_600_000
STALL_MS = 2_000
RESUME_GRACE_MS = 3_000
"""After this process itself stood still, frames are waiting: so long silence is not held against anybody."""


class MarketTimeouts(msgspec.Struct, frozen=True):
    """The waits of the candle rules, in milliseconds."""

    allowed_lateness_ms: int = msgspec.field(default=2_000, name="grace_ms")
    idle_timeout_ms: int = msgspec.field(default=10_000, name="doubt_ms")
    history_wait_ms: int = 10_000


class Market:
    """State of the whole market side. ``published_ts_ms(symbol)``: start of the newest candle already in the store."""

    def __init__(
        self,
        platform: Platform,
        interval_ms: int,
        focus: Focus,
        published_ts_ms: Callable[[str], int] = lambda symbol: 0,
        times: MarketTimeouts = MarketTimeouts(),  # noqa: B008  frozen
    ) -> None:
        self._platform = platform
        self._interval_ms = interval_ms
        self.feeds = FeedTracker(times.history_wait_ms)
        self._focus = FocusState(focus)
        timeouts = CandleTimeouts(interval_ms, times.allowed_lateness_ms, times.idle_timeout_ms)
        self._aggregator = CandleAggregator(self.feeds, timeouts, published_ts_ms, self._focus.includes)
        self._published_ts_ms = published_ts_ms
        self._decoders: dict[SocketKey, SocketDecoder | None] = {}
        self._ingest = TickIngest(interval_ms, self.feeds, self._focus, self._aggregator, self._decoders.__contains__)
        self.clock = self._ingest.clock
        self.counters = self._ingest.counters
        self._advanced_ms = 0
        self._prune_at_ms = 0
        self._stalled = False

    @property
    def focus(self) -> Focus:
        """The focus, its names resolved as far as they could be."""
        return self._focus.focus

    @property
    def names(self) -> AssetNames:
        """The platform's assets."""
        return self._focus.names

    @property
    def unverified(self) -> tuple[str, ...]:
        """Locked names that were taken as typed, since the platform has not told its assets yet."""
        return self._focus.unverified

    @property
    def unknown(self) -> tuple[str, ...]:
        """Locked names that the platform does not know."""
        return self._focus.unknown

    @property
    def active(self) -> ActiveAsset | None:
        """The asset the page shows, once a frame named it."""
        return self._focus.active

    # --- what happens ---------------------------------------------------------------------------------------------

    def socket_opened(self, socket: SocketKey, url: str) -> None:
        """A socket appeared. ``url`` is "" for one that was open before the attach: its frames tell what it is."""
        if socket not in self._decoders:
            self._decoders[socket] = self._platform.decoder() if not url or self._platform.is_socket(url) else None

    def received(self, socket: SocketKey, opcode: int, payload: str, at: ArrivalTime, drained: bool) -> None:
        """A frame the page received. ``drained``: nothing more was waiting behind it."""
        try:
            decoder = self._decoders[socket]
        except KeyError:
            decoder = self._new_decoder(socket)
        if decoder is not None:
            events = decoder.received(opcode, payload)
            if events:
                self._ingest.ingest(socket, events, at, drained)
            elif drained and len(payload) > 1 and self.clock.synchronised:  # a ping is one character
                self.feeds.on_activity(socket, self.clock.now_ms(at.mono_ms))
        if drained:
            self.advance_time(at)

    def record_activity(self, socket: SocketKey, at: ArrivalTime, drained: bool, *, talks: bool) -> None:
        """Record that a frame without market events arrived; a recording keeps no more of it.

        ``talks``: it was neither a ping nor a greeting, so it shows that the feed behind the socket is alive.
        """
        decoder = self._decoders[socket] if socket in self._decoders else self._new_decoder(socket)
        if talks and drained and decoder is not None and self.clock.synchronised:
            self.feeds.on_activity(socket, self.clock.now_ms(at.mono_ms))
        if drained:
            self.advance_time(at)

    def sent(self, socket: SocketKey, opcode: int, payload: str, at: ArrivalTime) -> None:
        """A frame the page sent."""
        decoder = self._decoders[socket] if socket in self._decoders else self._new_decoder(socket)
        if decoder is not None:
            self._ingest.ingest(socket, decoder.sent(opcode, payload), at, drained=False)

    def on_socket_closed(self, socket: SocketKey, reason: GapReason, at: ArrivalTime) -> None:
        """A socket is gone. Its frames have all been seen by now."""
        decoder = self._decoders.pop(socket, None)
        if decoder is None:
            return
        self._count(decoder)
        self._ingest.on_socket_closed(socket, reason, at)
        self._aggregator.collect_gaps()

    def advance_time(self, at: ArrivalTime) -> None:
        """Everything that arrived before ``at`` has been taken in: let time do what it does."""
        now_ms = self.clock.now_ms(at.mono_ms)
        elapsed_ms = now_ms - self._advanced_ms
        if not now_ms or 0 <= elapsed_ms < ADVANCE_EVERY_MS:
            return
        if self._ingest.is_clock_pending(at.mono_ms):
            return
        stalled = elapsed_ms > STALL_MS
        if stalled and not self._stalled:
            self.feeds.grace_until_ms = now_ms + RESUME_GRACE_MS
        self._stalled = stalled
        self._advanced_ms = now_ms
        if now_ms >= self._prune_at_ms:
            self._prune_at_ms = now_ms + PRUNE_EVERY_MS
            self.feeds.prune_before(now_ms - COVERAGE_RETENTION_MS - 2 * self._interval_ms)
        self.feeds.expire(now_ms)
        self._ingest.update_sole_active()
        self._aggregator.advance_time(now_ms)

    def restore(
        self, symbol: str, ticks: Iterable[tuple[int, float]], covered_from_ms: int, covered_to_ms: int
    ) -> None:
        """Take what an earlier run of this process received and had not sealed, before anything else happens.

        ``ticks``: ``(ts_ms, price)`` in UTC, all there were in ``[covered_from_ms, covered_to_ms)``. From its end on
        the daemon was down: the bucket under way then is BLIND for that time, unless history fills it.
        """
        self.feeds.restore(symbol, ticks, covered_from_ms, covered_to_ms)
        self._aggregator.collect_gaps()

    def restore_loss(self, symbol: str, from_ms: int, to_ms: int) -> None:
        """Restore a gap of ticks that the earlier run received between two restored ranges and could not keep.

        Candles it had published by then are not part of the gap.
        """
        published_ms = self._published_ts_ms(symbol)
        from_ms = max(from_ms, published_ms + self._interval_ms if published_ms else 0)
        if from_ms < to_ms:
            self.feeds.restore_loss(symbol, from_ms, to_ms)
            self._aggregator.collect_gaps()

    def restore_gap(self, symbol: str, from_ms: int, to_ms: int, reason: GapReason) -> None:
        """A gap that an earlier run left open: it ended at ``to_ms``, or (0) goes on. Before its ``restore``."""
        self.feeds.restore_gap(symbol, from_ms, to_ms, reason)
        self._aggregator.collect_gaps()

    @property
    def active_asset_query(self) -> str:
        """The query for the page, when ticks arrive and its shown asset is unknown; else ""."""
        unknown = not self._ticks(self._focus.active_symbol) and any(feed.sockets for feed in self.feeds)
        return self._platform.shown_asset_js if unknown else ""

    def on_active_asset_label(self, label: str) -> None:
        """Set the shown asset from the label the page answered to the page query.

        An asset named by frames has priority, unless it is from a page that is gone: it has no ticks, and this one has.
        """
        before = self.focused_symbols()
        self._focus.set_page_label(label)
        if not self._ticks(self._focus.active_symbol) and self._ticks(self._focus.page_label_symbol):
            self._focus.active = None
        self._aggregator.on_focus_change(before)

    def set_focus(self, focus: Focus) -> Focus:
        """Take a new focus, its names as people type them. Raises UnknownAsset; then nothing has changed."""
        before = self.focused_symbols()
        focus = self._focus.set(focus)
        self._aggregator.on_focus_change(before)
        return focus

    # --- what came of it ------------------------------------------------------------------------------------------

    @property
    def pending(self) -> MarketUpdate:
        """The decisions since the last ``drain``. Read-only."""
        return self._aggregator.update

    def drain(self) -> MarketUpdate:
        """Remove and return what was decided since the last call. The caller owns it."""
        return self._aggregator.drain()

    def requeue(self, update: MarketUpdate) -> None:
        """The outcome could not be stored: keep its candles, to be taken again before newer ones."""
        self._aggregator.requeue(update)

    def forming(self) -> dict[str, Candle]:
        """The candle under way of every focused asset."""
        return self._aggregator.forming()

    def covered_since(self, symbol: str) -> int:
        """Return the start (UTC ms) of the unbroken range up to an asset's newest tick, 0 for an asset never seen.

        Every live tick of the range is in a market update: a journal needs this to rebuild the current bucket.
        """
        feed = self.feeds.get(symbol)
        return self._aggregator.covered_since(feed) if feed is not None else 0

    def feed_state(self, symbol: str, now_ms: int) -> FeedState:
        """Return the state of an asset's feed as the market knows it; the caller knows whether there is a browser."""
        if not self.clock.synchronised:
            return FeedState.UNSYNCHRONISED if self._decoders else FeedState.NO_SOCKET
        feed = self.feeds.get(symbol)
        if feed is None or not feed.sockets:
            if feed is not None and feed.gap_reason is GapReason.UNSUBSCRIBED:
                return FeedState.UNSUBSCRIBED
            return FeedState.UNSUBSCRIBED if any(other.sockets for other in self.feeds) else FeedState.NO_SOCKET
        return FeedState.STALLED if feed.stalled else FeedState.LIVE

    def view(self, at: ArrivalTime) -> MarketSnapshot:
        """A snapshot for ``status``."""
        now_ms = self.clock.now_ms(at.mono_ms)
        counters = Counter(self.counters)
        counters["held_dropped"] = self._ingest.pending.dropped
        for decoder in self._decoders.values():
            if decoder is not None:
                counters.update({f"malformed.{kind}": n for kind, n in decoder.malformed.items() if n})
        counters.update(dict(self._aggregator.counters()))
        return MarketSnapshot(
            clock=self.clock.state.value,
            clock_reason=self.clock.reason,
            platform_offset_ms=self.clock.offset_ms,
            focus_mode=self.focus.mode,
            focus_symbols=self.focused_symbols(),
            focus_unknown=self._focus.unknown,
            active_symbol=self._focus.active_symbol,
            active_period_ms=self.active.period_ms if self.active else 0,
            favourites=self._ingest.favourites,
            asset_count=len(self.names),
            assets=tuple(self._asset_view(feed, now_ms) for feed in self.feeds),
            counters=dict(counters),
            now_ms=now_ms,
            focus_unchecked=self._focus.unverified,
        )

    def focused_symbols(self) -> tuple[str, ...]:
        """The assets that have, or are to have, a stream now."""
        return self._focus.focused(self.feeds)

    # --- within ---------------------------------------------------------------------------------------------------

    def _ticks(self, symbol: str | None) -> bool:
        feed = self.feeds.get(symbol) if symbol is not None else None
        return feed is not None and bool(feed.sockets)

    def _new_decoder(self, socket: SocketKey) -> SocketDecoder | None:
        self.socket_opened(socket, "")
        return self._decoders[socket]

    def _count(self, decoder: SocketDecoder) -> None:
        self.counters.update({f"malformed.{kind}": n for kind, n in decoder.malformed.items() if n})

    def _asset_view(self, feed: SymbolFeed, now_ms: int) -> AssetSnapshot:
        return AssetSnapshot(
            symbol=feed.symbol,
            focused=self._focus.includes(feed.symbol),
            feed_state=self.feed_state(feed.symbol, now_ms),
            last_tick_ts_ms=feed.last_tick_ts_ms,
            last_price=feed.last_price,
            ticks=feed.tick_count,
            gap_reason=feed.gap_reason.value if feed.gap_reason else "",
        )
