"""Decoded events of all sockets, taken in once the platform's clock tells their time. Pure.

In: what the decoders made of frames, in the order in which they came. Out: ticks, histories and turns of the page to
the feeds, in UTC; ticks of focused assets to the sealing; assets and what the page shows to the focus desk. What comes
while the clock is unknown, or does not fit it, waits here until the clock has judged.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from fluxcap.capture.market.aggregator import Sealing
from fluxcap.capture.market.clock import Arrival, PlatformClock
from fluxcap.capture.market.feeds import BlindReason, Feeds, SocketKey, SymbolFeed
from fluxcap.capture.market.focus import FocusDesk
from fluxcap.capture.market.history import is_of_the_present, rows_of, ticks_of
from fluxcap.capture.platforms.base import ActiveAsset, Assets, Favourites, History, MarketEvent, RawTick

DOUBTED_MAX_MS = 20_000
"""So long nothing is sealed by time while a socket's ticks wait for a verdict on the platform's clock."""
ASSETS_MAX = 2_000
"""More assets than any platform has: beyond it names are garbage."""


class Intake:
    """See the module. ``knows(socket)``: whether its end has not been told yet."""

    def __init__(
        self, interval_ms: int, feeds: Feeds, desk: FocusDesk, sealing: Sealing, knows: Callable[[SocketKey], bool]
    ) -> None:
        self._interval_ms = interval_ms
        self._feeds = feeds
        self._desk = desk
        self._sealing = sealing
        self._knows = knows
        self.clock = PlatformClock()
        self.waiting = WaitingRoom()
        """While the clock is unknown, everything that needs it; later, what does not fit it."""
        self.favourites: tuple[str, ...] = ()
        self.counters: Counter[str] = Counter()
        self._carrier_changes = 0
        self._synchronised_before = False

    def take_in(self, socket: SocketKey, events: Sequence[MarketEvent], at: Arrival, drained: bool) -> None:
        """What one frame told. ``drained``: nothing more was waiting behind it."""
        for event in events:
            if type(event) is not RawTick:
                self._event(socket, event, at)
            elif self._fits_clock(socket, event, at):
                if self.waiting.queue:
                    self._refuse(self.waiting.take_of(socket))
                self._accepted(socket, event, at)
            else:
                self._doubt(socket, event, at, drained)

    def ended(self, socket: SocketKey, reason: BlindReason, at: Arrival) -> None:
        """A socket is gone: should waiting ticks of it be taken in yet, it ends after them."""
        if self.waiting.holds(socket) or self.clock.offset_ms is None:
            self.waiting.add(socket, reason, at)
        self._feeds.lost(socket, reason)

    def in_doubt(self, mono_ms: int) -> bool:
        """Whether the clock is judged now, so that candles had better wait. A socket that cannot be judged within
        ``DOUBTED_MAX_MS`` holds them up no longer; if it is gone, what it left was absurd or too little."""
        if not self.waiting:
            return False
        since = self.waiting.since
        for socket in [socket for socket, since_ms in since.items() if mono_ms - since_ms >= DOUBTED_MAX_MS]:
            if not self._knows(socket):
                self._refuse(self.waiting.take_of(socket))
        return any(mono_ms - since_ms < DOUBTED_MAX_MS for since_ms in since.values())

    def follow_carriers(self) -> None:
        """Assets may have begun or ended: whether one alone ticks says what the page shows."""
        if self._feeds.carrier_changes != self._carrier_changes:
            self._carrier_changes = self._feeds.carrier_changes
            ticking = [feed.symbol for feed in self._feeds if feed.carriers]
            before = self._desk.focused(self._feeds)
            self._desk.only_ticking = ticking[0] if len(ticking) == 1 else None
            self._sealing.leave(before)

    # --- within ---------------------------------------------------------------------------------------------------

    def _doubt(self, socket: SocketKey, tick: RawTick, at: Arrival, drained: bool) -> None:
        self.waiting.add(socket, tick, at)
        if drained and self.clock.observe(tick.raw_ts_ms, at):
            self._release()

    def _event(self, socket: SocketKey, event: MarketEvent, at: Arrival) -> None:
        self._sealing.wake()
        if isinstance(event, Assets):
            self._desk.learn_table(event.assets)
        elif isinstance(event, Favourites):
            self.favourites = event.symbols
        elif isinstance(event, ActiveAsset):
            before = self._desk.focused(self._feeds)
            self._desk.turn_to(event)
            self._sealing.leave(before)
            if self.clock.offset_ms is None:
                self.waiting.add(socket, event, at)
            else:
                self._feeds.turned(socket, event.symbol, self.clock.now_ms(at.mono_ms))
        elif isinstance(event, History):
            if self.clock.offset_ms is None or self.waiting.holds(socket) or not self._fits(event, at):
                self.waiting.add(socket, event, at)
            else:
                self._history(socket, event, at)

    def _release(self) -> None:
        """The clock is settled: take in what waited for it, in order."""
        self._sealing.wake()
        waiting = self.waiting.take()
        if not self._synchronised_before:
            self._synchronised_before = True
            self._feeds.hold_restored(self.clock.now_ms(waiting[-1].at.mono_ms))
        for socket, event, at in waiting:
            if isinstance(event, RawTick):
                if self._fits_clock(socket, event, at):
                    self._accepted(socket, event, at)
                else:
                    self.counters["malformed.tick time"] += 1
            elif isinstance(event, BlindReason):
                self._feeds.lost(socket, event)
            elif isinstance(event, ActiveAsset):
                self._feeds.turned(socket, event.symbol, self.clock.now_ms(at.mono_ms))
            elif isinstance(event, History):
                self._history(socket, event, at)
        self._sealing.tell_gaps()

    def _refuse(self, waiting: Sequence[Waiting]) -> None:
        """The socket's ticks fit the clock after all: those of it that did not were absurd. Another socket's may still
        be of a clock that has changed; the slower one of two tells it later."""
        if waiting:
            self._sealing.wake()
        for socket, event, at in waiting:
            if isinstance(event, RawTick):
                self.counters["malformed.tick time"] += 1
            elif isinstance(event, History) and self._knows(socket):
                self._history(socket, event, at)

    def _fits_clock(self, socket: SocketKey, tick: RawTick, at: Arrival) -> bool:
        heard_ms = self._feeds.heard_until_ms(socket)
        return self.clock.accept(tick.raw_ts_ms, at, heard_ms and heard_ms + (self.clock.offset_ms or 0))

    def _accepted(self, socket: SocketKey, raw: RawTick, at: Arrival) -> None:
        clock, feeds, symbol, price = self.clock, self._feeds, raw.symbol, raw.price
        ts_ms = raw.raw_ts_ms - (clock.offset_ms or 0)
        feed = feeds.get(symbol) or self._new_feed(symbol)
        if feed is None:
            return
        if not feeds.tick(socket, symbol, ts_ms, price, clock.now_ms(at.mono_ms)):
            self._known(feed, ts_ms, raw)
            return
        feed.tick_count += 1
        feed.last_price = price
        if feeds.carrier_changes != self._carrier_changes:
            self.follow_carriers()
        self._sealing.tick(feed, ts_ms, raw.raw_ts_ms, price)

    def _known(self, feed: SymbolFeed, ts_ms: int, raw: RawTick) -> None:
        """A tick that is on the tape already. When the history alone had told it, it has yet to go into an outcome."""
        if feed.carriers and self._feeds.carrier_changes != self._carrier_changes:
            self.follow_carriers()
        if ts_ms not in feed.only_told:
            self.counters["duplicate"] += 1
            return
        feed.only_told.remove(ts_ms)
        feed.tick_count += 1
        feed.last_price = raw.price
        self._sealing.tell(feed.symbol, ts_ms, raw.raw_ts_ms, raw.price)

    def _new_feed(self, symbol: str) -> SymbolFeed | None:
        """An asset seen for the first time. It may be one that the focus names, as people type it."""
        self._sealing.wake()
        if len(self._feeds) >= ASSETS_MAX:
            self.counters["malformed.too many assets"] += 1
            return None
        feed = self._feeds.feed(symbol)
        self._desk.learn(symbol)
        return feed

    def _fits(self, history: History, at: Arrival) -> bool:
        return is_of_the_present(history, self.clock.now_ms(at.mono_ms) + (self.clock.offset_ms or 0))

    def _history(self, socket: SocketKey, history: History, at: Arrival) -> None:
        if not self._fits(history, at):
            self.counters["malformed.history time"] += 1
            return
        feed = self._feeds.get(history.symbol) or self._new_feed(history.symbol)
        if feed is None:
            return
        offset_ms = self.clock.offset_ms or 0
        rows = rows_of(history, self._interval_ms, offset_ms, self.clock.now_ms(at.mono_ms))
        self._feeds.add_rows(history.symbol, self._interval_ms, rows)
        ticks = list(ticks_of(history, offset_ms))
        added = self._feeds.add_history(socket, history.symbol, ticks)
        self.counters["history ticks"] += len(added)
        self._sealing.history(feed, [ts_ms for ts_ms, _ in ticks], added)


WAITING_MAX = 200_000
HISTORIES_MAX = 64
"""Histories are large, and more than a few at a time do not happen."""


class Waiting(NamedTuple):
    """An event, or the end of a socket, as it came."""

    socket: SocketKey
    event: MarketEvent | BlindReason
    at: Arrival


class WaitingRoom:
    """A bounded queue of them. ``dropped`` counts what did not fit. ``queue`` is for looking at alone."""

    def __init__(self, room: int = WAITING_MAX) -> None:
        self.queue: deque[Waiting] = deque()
        self._room = room
        self._histories = 0
        self._of_socket: Counter[SocketKey] = Counter()
        self._since: dict[SocketKey, int] = {}
        self.dropped = 0

    def __len__(self) -> int:
        return len(self.queue)

    def holds(self, socket: SocketKey) -> bool:
        """Whether anything of a socket waits."""
        return self._of_socket[socket] > 0

    @property
    def since(self) -> dict[SocketKey, int]:
        """When the oldest of each socket came (monotonic, ms). To look at only."""
        return self._since

    def add(self, socket: SocketKey, event: MarketEvent | BlindReason, at: Arrival) -> None:
        """Let an event wait. Of too many ticks the oldest go; an end of a socket never outlives its ticks."""
        if type(event) is History:
            if self._histories >= HISTORIES_MAX:
                self.dropped += 1
                return
            self._histories += 1
        self.queue.append(Waiting(socket, event, at))
        self._of_socket[socket] += 1
        self._since.setdefault(socket, at.mono_ms)
        if len(self.queue) > self._room:
            self.dropped += 1
            self._left(self.queue.popleft())

    def take(self) -> list[Waiting]:
        """All of them, in order; the room is empty then."""
        waiting = list(self.queue)
        self.queue.clear()
        self._of_socket.clear()
        self._since.clear()
        self._histories = 0
        return waiting

    def take_of(self, socket: SocketKey) -> list[Waiting]:
        """Those of one socket, in order; the others go on waiting."""
        if not self.holds(socket):
            return []
        taken = [waiting for waiting in self.queue if waiting.socket == socket]
        self.queue = deque(waiting for waiting in self.queue if waiting.socket != socket)
        for waiting in taken:
            self._left(waiting)
        return taken

    def _left(self, waiting: Waiting) -> None:
        self._histories -= type(waiting.event) is History
        self._of_socket[waiting.socket] -= 1
        if not self._of_socket[waiting.socket]:
            del self._of_socket[waiting.socket], self._since[waiting.socket]
