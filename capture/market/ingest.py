"""Decoded events of all sockets, taken in once the platform's clock tells their time. Pure.

In: what the decoders made of frames, in the order in which they came. Out: ticks, histories and turns of the page to
the feeds, in UTC; ticks of focused assets to the sealing; assets and what the page shows to the focus desk. What comes
while the clock is unknown, or does not fit it, waits here until the clock has judged.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from fluxcap.capture.market.aggregator import CandleAggregator
from fluxcap.capture.market.clock import ArrivalTime, PlatformClock
from fluxcap.capture.market.feeds import FeedTracker, GapReason, SocketKey, SymbolFeed
from fluxcap.capture.market.focus import FocusState
from fluxcap.capture.market.history import is_current, raw_ticks, server_candles
from fluxcap.capture.platforms.base import ActiveAsset, Assets, Favourites, History, MarketEvent, RawTick

CLOCK_PENDING_MAX_MS = 20_000
"""So long nothing is sealed by time while a socket's ticks wait for a verdict on the platform's clock."""
ASSETS_MAX = 2_000
"""More assets than any platform has: beyond it names are garbage."""


class TickIngest:
    """See the module. ``is_live(socket)``: whether its end has not been told yet."""

    def __init__(
        self,
        interval_ms: int,
        feeds: FeedTracker,
        focus: FocusState,
        aggregator: CandleAggregator,
        is_live: Callable[[SocketKey], bool],
    ) -> None:
        self._interval_ms = interval_ms
        self._feeds = feeds
        self._focus = focus
        self._aggregator = aggregator
        self._is_live = is_live
        self.clock = PlatformClock()
        self.pending = PendingEvents()
        """While the clock is unknown, everything that needs it; later, what does not fit it."""
        self.favourites: tuple[str, ...] = ()
        self.counters: Counter[str] = Counter()
        self._socket_changes = 0
        self._synchronised_before = False

    def ingest(self, socket: SocketKey, events: Sequence[MarketEvent], at: ArrivalTime, drained: bool) -> None:
        """Take in the events of one frame. ``drained``: no further frame was waiting."""
        for event in events:
            if type(event) is not RawTick:
                self._event(socket, event, at)
            elif self._fits_clock(socket, event, at):
                if self.pending.queue:
                    self._reject_pending(self.pending.take_socket(socket))
                self._accepted(socket, event, at)
            else:
                self._hold_for_clock(socket, event, at, drained)

    def on_socket_closed(self, socket: SocketKey, reason: GapReason, at: ArrivalTime) -> None:
        """A socket is gone: should waiting ticks of it be taken in yet, it ends after them."""
        if self.pending.has(socket) or self.clock.offset_ms is None:
            self.pending.add(socket, reason, at)
        self._feeds.on_socket_closed(socket, reason)

    def is_clock_pending(self, mono_ms: int) -> bool:
        """Return whether the clock is being checked now, so that candles should wait.

        A socket whose clock is not decided within ``CLOCK_PENDING_MAX_MS`` delays them no longer. If it is gone, its
        ticks were absurd or too few.
        """
        if not self.pending:
            return False
        since = self.pending.oldest_ms
        for socket in [socket for socket, since_ms in since.items() if mono_ms - since_ms >= CLOCK_PENDING_MAX_MS]:
            if not self._is_live(socket):
                self._reject_pending(self.pending.take_socket(socket))
        return any(mono_ms - since_ms < CLOCK_PENDING_MAX_MS for since_ms in since.values())

    def update_sole_active(self) -> None:
        """Assets may have begun or ended: whether one alone ticks says what the page shows."""
        if self._feeds.socket_changes != self._socket_changes:
            self._socket_changes = self._feeds.socket_changes
            ticking = [feed.symbol for feed in self._feeds if feed.sockets]
            before = self._focus.focused(self._feeds)
            self._focus.sole_active = ticking[0] if len(ticking) == 1 else None
            self._aggregator.on_focus_change(before)

    # --- within ---------------------------------------------------------------------------------------------------

    def _hold_for_clock(self, socket: SocketKey, tick: RawTick, at: ArrivalTime, drained: bool) -> None:
        self.pending.add(socket, tick, at)
        if drained and self.clock.add_sample(tick.raw_ts_ms, at):
            self._release()

    def _event(self, socket: SocketKey, event: MarketEvent, at: ArrivalTime) -> None:
        self._aggregator.invalidate_idle()
        if isinstance(event, Assets):
            self._focus.set_catalogue(event.assets)
        elif isinstance(event, Favourites):
            self.favourites = event.symbols
        elif isinstance(event, ActiveAsset):
            before = self._focus.focused(self._feeds)
            self._focus.set_active(event)
            self._aggregator.on_focus_change(before)
            if self.clock.offset_ms is None:
                self.pending.add(socket, event, at)
            else:
                self._feeds.on_asset_change(socket, event.symbol, self.clock.now_ms(at.mono_ms))
        elif isinstance(event, History):
            if self.clock.offset_ms is None or self.pending.has(socket) or not self._fits(event, at):
                self.pending.add(socket, event, at)
            else:
                self._history(socket, event, at)

    def _release(self) -> None:
        """The clock is settled: take in what waited for it, in order."""
        self._aggregator.invalidate_idle()
        pending = self.pending.take_all()
        if not self._synchronised_before:
            self._synchronised_before = True
            self._feeds.hold_until_history(self.clock.now_ms(pending[-1].at.mono_ms))
        for socket, event, at in pending:
            if isinstance(event, RawTick):
                if self._fits_clock(socket, event, at):
                    self._accepted(socket, event, at)
                else:
                    self.counters["malformed.tick time"] += 1
            elif isinstance(event, GapReason):
                self._feeds.on_socket_closed(socket, event)
            elif isinstance(event, ActiveAsset):
                self._feeds.on_asset_change(socket, event.symbol, self.clock.now_ms(at.mono_ms))
            elif isinstance(event, History):
                self._history(socket, event, at)
        self._aggregator.collect_gaps()

    def _reject_pending(self, pending: Sequence[PendingEvent]) -> None:
        """Reject the pending ticks of a socket whose other ticks fit the clock: they were absurd.

        Ticks of another socket may still belong to a clock that has changed; a slower socket shows that later.
        """
        if pending:
            self._aggregator.invalidate_idle()
        for socket, event, at in pending:
            if isinstance(event, RawTick):
                self.counters["malformed.tick time"] += 1
            elif isinstance(event, History) and self._is_live(socket):
                self._history(socket, event, at)

    def _fits_clock(self, socket: SocketKey, tick: RawTick, at: ArrivalTime) -> bool:
        heard_ms = self._feeds.watermark_ms(socket)
        return self.clock.accept(tick.raw_ts_ms, at, heard_ms and heard_ms + (self.clock.offset_ms or 0))

    def _accepted(self, socket: SocketKey, raw: RawTick, at: ArrivalTime) -> None:
        clock, feeds, symbol, price = self.clock, self._feeds, raw.symbol, raw.price
        ts_ms = raw.raw_ts_ms - (clock.offset_ms or 0)
        feed = feeds.get(symbol) or self._new_feed(symbol)
        if feed is None:
            return
        if not feeds.tick(socket, symbol, ts_ms, price, clock.now_ms(at.mono_ms)):
            self._on_duplicate(feed, ts_ms, raw)
            return
        feed.tick_count += 1
        feed.last_price = price
        if feeds.socket_changes != self._socket_changes:
            self.update_sole_active()
        self._aggregator.tick(feed, ts_ms, raw.raw_ts_ms, price)

    def _on_duplicate(self, feed: SymbolFeed, ts_ms: int, raw: RawTick) -> None:
        """A tick that is on the tape already. When the history alone had told it, it has yet to go into an outcome."""
        if feed.sockets and self._feeds.socket_changes != self._socket_changes:
            self.update_sole_active()
        if ts_ms not in feed.history_only_ts_ms:
            self.counters["duplicate"] += 1
            return
        feed.history_only_ts_ms.remove(ts_ms)
        feed.tick_count += 1
        feed.last_price = raw.price
        self._aggregator.emit_tick(feed.symbol, ts_ms, raw.raw_ts_ms, raw.price)

    def _new_feed(self, symbol: str) -> SymbolFeed | None:
        """An asset seen for the first time. It may be one that the focus names, as people type it."""
        self._aggregator.invalidate_idle()
        if len(self._feeds) >= ASSETS_MAX:
            self.counters["malformed.too many assets"] += 1
            return None
        feed = self._feeds.feed(symbol)
        self._focus.add_observed(symbol)
        return feed

    def _fits(self, history: History, at: ArrivalTime) -> bool:
        return is_current(history, self.clock.now_ms(at.mono_ms) + (self.clock.offset_ms or 0))

    def _history(self, socket: SocketKey, history: History, at: ArrivalTime) -> None:
        if not self._fits(history, at):
            self.counters["malformed.history time"] += 1
            return
        feed = self._feeds.get(history.symbol) or self._new_feed(history.symbol)
        if feed is None:
            return
        offset_ms = self.clock.offset_ms or 0
        rows = server_candles(history, self._interval_ms, offset_ms, self.clock.now_ms(at.mono_ms))
        self._feeds.add_server_candles(history.symbol, self._interval_ms, rows)
        ticks = list(raw_ticks(history, offset_ms))
        added = self._feeds.add_history(socket, history.symbol, ticks)
        self.counters["history ticks"] += len(added)
        self._aggregator.history(feed, [ts_ms for ts_ms, _ in ticks], added)


PENDING_MAX = 200_000
HISTORIES_MAX = 64
"""Histories are large, and more than a few at a time do not happen."""


class PendingEvent(NamedTuple):
    """An event, or the end of a socket, as it came."""

    socket: SocketKey
    event: MarketEvent | GapReason
    at: ArrivalTime


class PendingEvents:
    """A bounded queue of them. ``dropped`` counts what did not fit. ``queue`` is for looking at alone."""

    def __init__(self, capacity: int = PENDING_MAX) -> None:
        self.queue: deque[PendingEvent] = deque()
        self._capacity = capacity
        self._histories = 0
        self._of_socket: Counter[SocketKey] = Counter()
        self._since: dict[SocketKey, int] = {}
        self.dropped = 0

    def __len__(self) -> int:
        return len(self.queue)

    def has(self, socket: SocketKey) -> bool:
        """Return whether anything of a socket waits."""
        return self._of_socket[socket] > 0

    @property
    def oldest_ms(self) -> dict[SocketKey, int]:
        """Return the arrival of each socket's oldest event (monotonic, ms). Read-only."""
        return self._since

    def add(self, socket: SocketKey, event: MarketEvent | GapReason, at: ArrivalTime) -> None:
        """Let an event wait. Of too many ticks the oldest go; an end of a socket never outlives its ticks."""
        if type(event) is History:
            if self._histories >= HISTORIES_MAX:
                self.dropped += 1
                return
            self._histories += 1
        self.queue.append(PendingEvent(socket, event, at))
        self._of_socket[socket] += 1
        self._since.setdefault(socket, at.mono_ms)
        if len(self.queue) > self._capacity:
            self.dropped += 1
            self._on_removed(self.queue.popleft())

    def take_all(self) -> list[PendingEvent]:
        """All of them, in order; the room is empty then."""
        pending = list(self.queue)
        self.queue.clear()
        self._of_socket.clear()
        self._since.clear()
        self._histories = 0
        return pending

    def take_socket(self, socket: SocketKey) -> list[PendingEvent]:
        """Those of one socket, in order; the others go on waiting."""
        if not self.has(socket):
            return []
        taken = [pending for pending in self.queue if pending.socket == socket]
        self.queue = deque(pending for pending in self.queue if pending.socket != socket)
        for pending in taken:
            self._on_removed(pending)
        return taken

    def _on_removed(self, pending: PendingEvent) -> None:
        self._histories -= type(pending.event) is History
        self._of_socket[pending.socket] -= 1
        if not self._of_socket[pending.socket]:
            del self._of_socket[pending.socket], self._since[pending.socket]
