"""Tracks which socket brings which asset since when, and what is covered by that. Pure.

In: ticks, other messages, history and ends of sockets, all with their time in UTC milliseconds (the platform's clock
with its offset removed). Out: per asset a ``SymbolFeed`` with its tape of ticks and the stretches of time covered.

Coverage is told by the socket, not by the asset: WebSockets deliver in order, so a tick of *any* asset at 12:01:00.2 on
a socket proves that every tick before it on that socket has arrived. A quiet asset on a talking socket is covered. What
ends coverage:

- the socket is gone;
- the socket's stamps jump: it said nothing for much longer than it is used to, so its server may have dropped ticks
  ("streams that die silently"). Pings do not count as talk: they come from a layer below that goes on regardless;
- the page turned to another asset, and this one was not heard again soon, or the page came back to it before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

from fluxcap.capture.market.feed_state import (
    USUAL_PAUSE_MS,
    GapReason,
    GapUpdate,
    PendingUnsubscribe,
    SocketFeed,
    SocketKey,
    SymbolFeed,
)
from fluxcap.capture.market.tape import HORIZON_MS, NEVER_MS
from fluxcap.schemas.types import Candle

__all__ = ["FeedTracker", "GapReason", "GapUpdate", "SocketKey", "SymbolFeed"]

UNSUBSCRIBED_AFTER_MS = 5_000
"""An asset the page has turned away from, silent this long on a talking socket, is not sent any more."""
FRESH_TICK_MS = 1_000
JOIN_MIN_MS, JOIN_MAX_MS = 1_000, 10_000
"""Live ticks join the history before them when they follow within twice its usual pause; recorded OTC assets pause for
0.74 s at most. A history that ends earlier is stale: it says nothing of the ticks between."""
LIVE_AFTER_MS = 120_000
"""No live tick comes so late behind a history that has it; another tab's sockets are late by seconds at most."""
ROWS_MAX = 1_000
RESTORED_MINUTES = 3
"""So long after an asset is heard again its bucket of the run before is surely sealed."""


class FeedTracker:
    """All sockets and assets. ``history_wait_ms``: how long after a break newer candles wait for the page's history."""

    def __init__(self, history_wait_ms: int = 10_000) -> None:
        self._history_wait_ms = history_wait_ms
        self._sockets: dict[SocketKey, SocketFeed] = {}
        self._symbols: dict[str, SymbolFeed] = {}
        self._gap_updates: list[GapUpdate] = []
        self._restored_gaps: dict[str, tuple[int, GapReason]] = {}
        """Begin and reason of gaps of earlier runs, of assets not heard yet in this one."""
        self._restored: dict[str, int] = {}
        """Assets whose tape keeps what an earlier run received, and the minutes left after they are heard again."""
        self.socket_changes = 0
        """Changes whenever an asset begins or ends on a socket."""
        self.coverage_epoch = 0
        """Changes with the ``review_version`` of any asset."""
        self._doubting = False
        self._any_stalled = False
        """Whether any asset may be in doubt, or is suspect: while none is, ``expire`` need not look at each."""
        self.grace_until_ms = 0
        """Until then silence is not held against anybody: this process itself was not running."""

    def __iter__(self) -> Iterator[SymbolFeed]:
        return iter(self._symbols.values())

    def __len__(self) -> int:
        return len(self._symbols)

    def get(self, symbol: str) -> SymbolFeed | None:
        return self._symbols.get(symbol)

    def feed(self, symbol: str) -> SymbolFeed:
        """The asset's feed, made on first use."""
        found = self._symbols.get(symbol)
        if found is None:
            found = self._symbols[symbol] = SymbolFeed(symbol)
            found.gap_from_ms, found.gap_reason = self._restored_gaps.pop(symbol, (None, None))
        return found

    def watermark_ms(self, socket: SocketKey) -> int:
        """Newest stamp (UTC ms) of a socket that carries ticks; 0 for any other."""
        source = self._sockets.get(socket)
        return source.watermark_ms if source is not None else 0

    # --- what happens ---------------------------------------------------------------------------------------------

    def tick(self, socket: SocketKey, symbol: str, ts_ms: int, price: float, now_ms: int) -> bool:
        """Take one tick. False when it was known already (a second tab, a socket that repeats itself)."""
        feed = self._symbols.get(symbol) or self.feed(symbol)
        is_new = feed.tape.add(ts_ms, price)
        source = self._sockets.get(socket)
        if source is not None:
            ahead_ms = ts_ms - source.watermark_ms
            if source.pending_watermark_ms or ahead_ms > USUAL_PAUSE_MS:
                self._after_silence(socket, source, ts_ms)
        if socket not in feed.sockets:
            # A tick sent again on connecting proves nothing of the time since; of a second tab it is only as old as
            # live ticks are.
            known_and_stale = not is_new and (feed.stalled or not feed.sockets or now_ms - ts_ms > FRESH_TICK_MS)
            if known_and_stale:
                return False
            source = self._start_coverage(socket, feed, ts_ms, now_ms)
        elif (
            feed.pending_unsubscribes
            and (pending := feed.pending_unsubscribes.get(socket)) is not None
            and pending.ticked(ts_ms)
        ):
            del feed.pending_unsubscribes[socket]
        if source is not None and ts_ms > source.watermark_ms:
            source.watermark_ms = ts_ms
        return is_new

    def on_activity(self, socket: SocketKey, now_ms: int) -> None:
        """A socket said something that is neither tick nor ping."""
        source = self._sockets.get(socket)
        if source is not None and source.symbols:
            source.on_activity(now_ms)

    def add_history(self, socket: SocketKey, symbol: str, ticks: Iterable[tuple[int, float]]) -> list[int]:
        """The page's history of raw ticks, ascending. Returns the times (ms) of those not known yet.

        The payload is a snapshot on the same socket the live ticks follow on: when it comes before the first of them
        and they follow soon, nothing lies between. (Recorded: history ends 785.484, live begins 786.001.)
        """
        feed = self.feed(symbol)
        added: list[int] = []
        times: list[int] = []
        for ts_ms, price in ticks:
            times.append(ts_ms)
            if feed.tape.add(ts_ms, price):
                added.append(ts_ms)
        source = self._source(socket)
        source.history_end_ms.setdefault(symbol, (0, 0))
        if times:
            feed.history.add(times[0], times[-1])
            feed.history_only_ts_ms = {
                ts_ms for ts_ms in (*feed.history_only_ts_ms, *added) if ts_ms > times[-1] - LIVE_AFTER_MS
            }
            pauses = (after - before for before, after in pairwise(times[-100:]))
            join_ms = min(max(2 * max(pauses, default=0), JOIN_MIN_MS), JOIN_MAX_MS)
            source.history_end_ms[symbol] = (times[-1], join_ms)
        feed.hold_until_ms = 0
        self._review(feed)
        return added

    def add_server_candles(self, symbol: str, interval_ms: int, rows: Iterable[Candle]) -> None:
        """The platform's own candles of an asset, for stretches older than its raw ticks. The newest are kept."""
        told = {row.ts_ms: row for row in rows if row.ts_ms % interval_ms == 0}
        if not told:
            return
        feed = self.feed(symbol)
        known = feed.rows.setdefault(interval_ms, {})
        known.update(told)
        if len(known) > ROWS_MAX:
            for start_ms in sorted(known)[:-ROWS_MAX]:
                del known[start_ms]
        self._review(feed)

    def on_asset_change(self, socket: SocketKey, symbol: str, now_ms: int) -> None:
        """The page asked for an asset: the others of this socket may end here, unless they go on ticking.

        Coming back to one in doubt, what it missed meanwhile is unknown: it begins anew.
        """
        source = self._source(socket)
        source.active_symbol = symbol
        source.history_end_ms.pop(symbol, None)
        for other in tuple(source.symbols):
            feed = self._symbols[other]
            pending = feed.pending_unsubscribes.get(socket)
            if other == symbol:
                if pending is not None:
                    self._end_coverage(socket, feed, GapReason.UNSUBSCRIBED)
            elif pending is not None:
                pending.asset_changed_ms = now_ms
            else:
                feed.pending_unsubscribes[socket] = PendingUnsubscribe(now_ms, source.watermark_ms)
                self._doubting = True

    def on_socket_closed(self, socket: SocketKey, reason: GapReason) -> None:
        """The socket is gone."""
        source = self._sockets.get(socket)
        if source is None:
            return
        for symbol in tuple(source.symbols):
            self._end_coverage(socket, self._symbols[symbol], reason)
        del self._sockets[socket]

    def restore(self, symbol: str, ticks: Iterable[tuple[int, float]], from_ms: int, to_ms: int) -> None:
        """Restore ticks an earlier run received, which cover ``[from_ms, to_ms)``.

        Since then fluxcap was not running, unless an open gap says that nothing was received before already. Without
        ticks and coverage only the time of the asset's last tick is known.
        """
        received = list(ticks)
        left_open = self._restored_gaps.pop(symbol, None)
        if left_open is None:
            left_open = to_ms, GapReason.DAEMON_DOWN
            self._gap_updates.append(GapUpdate(symbol, to_ms, 0, GapReason.DAEMON_DOWN))
        if not received and from_ms == to_ms and symbol not in self._symbols:
            self._restored_gaps[symbol] = left_open
            return
        feed = self.feed(symbol)
        self._restored[symbol] = RESTORED_MINUTES
        feed.tape.keep_from_ms = min(from_ms - HORIZON_MS, feed.tape.keep_from_ms)
        for ts_ms, price in received:
            feed.tape.add(ts_ms, price)
        feed.live.add(from_ms, to_ms)
        feed.gap_from_ms, feed.gap_reason = left_open

    def restore_loss(self, symbol: str, from_ms: int, to_ms: int) -> None:
        """Ticks of an earlier run are missing within what is restored, and nobody has told so yet."""
        self._gap_updates.append(GapUpdate(symbol, from_ms, to_ms, GapReason.DAEMON_DOWN))

    def restore_gap(self, symbol: str, from_ms: int, to_ms: int, reason: GapReason) -> None:
        """Restore a gap that an earlier run reported without an end. Call before ``restore``.

        It ended at ``to_ms``, or (0) lasts until a tick of the asset arrives.
        """
        if to_ms:
            self._gap_updates.append(GapUpdate(symbol, from_ms, to_ms, reason))
        else:
            self._restored_gaps[symbol] = from_ms, reason

    def _let_go_of_restored(self) -> None:
        """About a minute has passed."""
        for symbol, minutes in list(self._restored.items()):
            feed = self._symbols[symbol]
            if feed.sockets:
                self._restored[symbol] = minutes - 1
            if not self._restored[symbol]:
                del self._restored[symbol]
                feed.tape.keep_from_ms = NEVER_MS

    def hold_until_history(self, now_ms: int) -> None:
        """The clock is known: restored assets wait for the page's history from now on."""
        for feed in self._symbols.values():
            if feed.gap_reason is not None:
                feed.hold_until_ms = now_ms + self._history_wait_ms

    # --- what time does -------------------------------------------------------------------------------------------

    def expire(self, now_ms: int) -> None:
        """Let doubts come true: assets the page turned away from that stayed silent, sockets that say nothing."""
        silent = False
        for socket, source in self._sockets.items():
            source.confirm_watermark(now_ms)
            if self._doubting:
                self._expire_unsubscribes(socket, source, now_ms)
            silent = silent or (bool(source.symbols) and source.is_silent(now_ms))
        if self._doubting:
            self._doubting = any(feed.pending_unsubscribes for feed in self._symbols.values())
        if (silent or self._any_stalled) and now_ms >= self.grace_until_ms:
            for feed in self._symbols.values():
                if feed.sockets:
                    self._check_stalled(feed, now_ms)
            self._any_stalled = any(feed.stalled for feed in self._symbols.values())

    def update_coverage(self, feed: SymbolFeed) -> int:
        """Bring the asset's live coverage up to date. Returns how far its feed is proven, 0 without a live socket."""
        proven = 0
        for socket, since_ms in feed.sockets.items():
            until_ms = self._until(socket, feed)
            feed.live.add(since_ms, until_ms)
            proven = max(proven, until_ms)
        return proven

    def min_watermark_ms(self, feed: SymbolFeed) -> int:
        """Return the lowest watermark of an asset's live sockets, 0 without one: no tick before it is still to come."""
        return min((self._until(socket, feed) for socket in feed.sockets), default=0)

    def drain_gaps(self) -> list[GapUpdate]:
        """Gaps opened and closed since the last call."""
        news, self._gap_updates = self._gap_updates, []
        return news

    def prune_before(self, ts_ms: int) -> None:
        """Keep memory bounded over days. Call about once a minute: sockets forget old silences by it, too."""
        for feed in self._symbols.values():
            feed.live.prune_before(ts_ms)
            feed.history.prune_before(ts_ms)
        for source in self._sockets.values():
            source.forget_pauses()
        self._let_go_of_restored()

    # --- within ---------------------------------------------------------------------------------------------------

    def _after_silence(self, socket: SocketKey, source: SocketFeed, ts_ms: int) -> None:
        """Decide whether a tick after other messages, or after a pause, continues its socket's coverage."""
        quiet_ms = source.pause_before(ts_ms)
        if quiet_ms < source.gap_threshold_ms:
            source.max_pause_ms = max(source.max_pause_ms, quiet_ms)
            return
        for symbol in tuple(source.symbols):
            self._jumped(socket, self._symbols[symbol], ts_ms)

    def _jumped(self, socket: SocketKey, feed: SymbolFeed, ts_ms: int) -> None:
        """The socket's stamps jumped to ``ts_ms``: the asset was not seen meanwhile, unless by another socket."""
        until_ms = self._until(socket, feed)
        feed.live.add(feed.sockets[socket], until_ms)
        feed.sockets[socket] = ts_ms
        if socket in feed.pending_unsubscribes:
            feed.pending_unsubscribes[socket].since_ms = ts_ms
        if feed.stalled and feed.gap_from_ms is not None:
            told_from_ms = feed.gap_from_ms
            self._close_gap(feed, ts_ms)
            ts_ms = told_from_ms
        self._emit_gap(feed, until_ms, ts_ms, GapReason.SOCKET_SILENT, but=socket)

    def _expire_unsubscribes(self, socket: SocketKey, source: SocketFeed, now_ms: int) -> None:
        until_ms = min(now_ms, source.watermark_ms) - UNSUBSCRIBED_AFTER_MS
        for symbol in tuple(source.symbols):
            pending = self._symbols[symbol].pending_unsubscribes.get(socket)
            if pending is not None and pending.since_ms <= until_ms:
                self._end_coverage(socket, self._symbols[symbol], GapReason.UNSUBSCRIBED)

    def _check_stalled(self, feed: SymbolFeed, now_ms: int) -> None:
        silent = all(self._sockets[socket].is_silent(now_ms) for socket in feed.sockets)
        if silent and not feed.stalled:
            feed.stalled = True
            self._open_gap(feed, self.update_coverage(feed), GapReason.SOCKET_SILENT)
        elif feed.stalled and not silent:
            self._close_gap(feed, feed.gap_from_ms or 0)

    def _until(self, socket: SocketKey, feed: SymbolFeed) -> int:
        pending = feed.pending_unsubscribes.get(socket)
        return pending.since_ms if pending is not None else self._sockets[socket].watermark_ms

    def _source(self, socket: SocketKey) -> SocketFeed:
        source = self._sockets.get(socket)
        if source is None:
            source = self._sockets[socket] = SocketFeed()
        return source

    def _start_coverage(self, socket: SocketKey, feed: SymbolFeed, since_ms: int, now_ms: int) -> SocketFeed:
        source = self._source(socket)
        source.watermark_ms = max(source.watermark_ms, since_ms)
        told = source.history_end_ms.get(feed.symbol)
        if told is not None and 0 < since_ms - told[0] <= told[1]:
            since_ms = told[0]
        resumes = feed.stalled or not feed.sockets
        source.symbols.add(feed.symbol)
        feed.sockets[socket] = since_ms
        if source.active_symbol is not None and source.active_symbol != feed.symbol:
            feed.pending_unsubscribes[socket] = PendingUnsubscribe(
                since_ms, since_ms
            )  # perhaps only under way when the page turned away
            self._doubting = True
        self.socket_changes += 1
        if resumes:
            if told is None:
                feed.hold_until_ms = now_ms + self._history_wait_ms
            self._close_gap(feed, since_ms)
        return source

    def _end_coverage(self, socket: SocketKey, feed: SymbolFeed, reason: GapReason) -> None:
        until_ms = self._until(socket, feed)
        feed.live.add(feed.sockets.pop(socket), until_ms)
        feed.pending_unsubscribes.pop(socket, None)
        self._sockets[socket].symbols.discard(feed.symbol)
        self.socket_changes += 1
        if not feed.sockets:
            if feed.stalled and feed.gap_from_ms != until_ms:
                self._close_gap(feed, feed.gap_from_ms or 0)
            feed.stalled = False
            self._open_gap(feed, feed.live.covered_until(until_ms), reason)
        else:
            self._emit_gap(feed, until_ms, max(feed.sockets.values()), reason)

    def _emit_gap(self, feed: SymbolFeed, from_ms: int, to_ms: int, reason: GapReason, but: SocketKey = None) -> None:
        """A socket (``but``) has not seen a stretch: tell what of it no other one saw, or goes on to see."""
        self.update_coverage(feed)
        others = [(since_ms, other) for other, since_ms in feed.sockets.items() if other != but]
        for begin_ms, end_ms in feed.live.uncovered(from_ms, to_ms):
            end_ms = min([end_ms, *(since_ms for since_ms, _ in others if since_ms > begin_ms)])
            goes_on = any(
                since_ms <= begin_ms and end_ms - self._until(other, feed) < self._sockets[other].gap_threshold_ms
                for since_ms, other in others
            )
            if not goes_on:
                self._gap_updates.append(GapUpdate(feed.symbol, begin_ms, end_ms, reason))

    def _open_gap(self, feed: SymbolFeed, from_ms: int, reason: GapReason) -> None:
        feed.gap_from_ms, feed.gap_reason = from_ms, reason
        self._gap_updates.append(GapUpdate(feed.symbol, from_ms, 0, reason))

    def _review(self, feed: SymbolFeed) -> None:
        """Past buckets of the asset may be better known than when they were sealed."""
        feed.review_version += 1
        self.coverage_epoch += 1

    def _close_gap(self, feed: SymbolFeed, since_ms: int) -> None:
        """Close the asset's gap.

        The gap is taken back when ``since_ms`` is at or before its begin, or when another socket's late ticks cover
        its begin.
        """
        feed.stalled = False
        if feed.gap_from_ms is not None and feed.gap_reason is not None:
            self.update_coverage(feed)
            from_ms = feed.gap_from_ms
            unseen = feed.live.uncovered(from_ms, since_ms)
            if not unseen or unseen[0][0] > from_ms:
                unseen = [(from_ms, from_ms), *unseen]
            self._gap_updates += [
                GapUpdate(feed.symbol, begin_ms, end_ms, feed.gap_reason) for begin_ms, end_ms in unseen
            ]
            self._review(feed)
        feed.gap_from_ms = feed.gap_reason = None
