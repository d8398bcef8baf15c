"""Which socket brings which asset, since when, and what is therefore known. Pure.

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
    USUAL_QUIET_MS,
    BlindReason,
    Doubt,
    GapNews,
    SocketFeed,
    SocketKey,
    SymbolFeed,
)
from fluxcap.capture.market.tape import HORIZON_MS, NEVER_MS
from fluxcap.schemas.types import Candle

__all__ = ["BlindReason", "Feeds", "GapNews", "SocketKey", "SymbolFeed"]

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


class Feeds:
    """All sockets and assets. ``history_wait_ms``: how long after a break newer candles wait for the page's history."""

    def __init__(self, history_wait_ms: int = 10_000) -> None:
        self._history_wait_ms = history_wait_ms
        self._sockets: dict[SocketKey, SocketFeed] = {}
        self._symbols: dict[str, SymbolFeed] = {}
        self._news: list[GapNews] = []
        self._left_open: dict[str, tuple[int, BlindReason]] = {}
        """Begin and reason of gaps of earlier runs, of assets not heard yet in this one."""
        self._restored: dict[str, int] = {}
        """Assets whose tape keeps what an earlier run received, and the minutes left after they are heard again."""
        self.carrier_changes = 0
        """Changes whenever an asset begins or ends on a socket."""
        self.reviews = 0
        """Changes with the ``review_version`` of any asset."""
        self._doubting = False
        self._suspecting = False
        """Whether any asset may be in doubt, or is suspect: while none is, ``expire`` need not look at each."""
        self.patient_until_ms = 0
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
            found.blind_from_ms, found.blind_reason = self._left_open.pop(symbol, (None, None))
        return found

    def heard_until_ms(self, socket: SocketKey) -> int:
        """Newest stamp (UTC ms) of a socket that carries ticks; 0 for any other."""
        source = self._sockets.get(socket)
        return source.heard_until_ms if source is not None else 0

    # --- what happens ---------------------------------------------------------------------------------------------

    def tick(self, socket: SocketKey, symbol: str, ts_ms: int, price: float, now_ms: int) -> bool:
        """Take one tick. False when it was known already (a second tab, a socket that repeats itself)."""
        feed = self._symbols.get(symbol) or self.feed(symbol)
        is_new = feed.tape.add(ts_ms, price)
        source = self._sockets.get(socket)
        if source is not None:
            ahead_ms = ts_ms - source.heard_until_ms
            if source.talk_ms or ahead_ms > USUAL_QUIET_MS:
                self._after_silence(socket, source, ts_ms)
        if socket not in feed.carriers:
            # A tick sent again on connecting proves nothing of the time since; of a second tab it is only as old as
            # live ticks are.
            known_and_stale = not is_new and (feed.suspect or not feed.carriers or now_ms - ts_ms > FRESH_TICK_MS)
            if known_and_stale:
                return False
            source = self._begin(socket, feed, ts_ms, now_ms)
        elif feed.doubts and (doubt := feed.doubts.get(socket)) is not None and doubt.ticked(ts_ms):
            del feed.doubts[socket]
        if source is not None and ts_ms > source.heard_until_ms:
            source.heard_until_ms = ts_ms
        return is_new

    def talked(self, socket: SocketKey, now_ms: int) -> None:
        """A socket said something that is neither tick nor ping."""
        source = self._sockets.get(socket)
        if source is not None and source.symbols:
            source.talked(now_ms)

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
        source.told.setdefault(symbol, (0, 0))
        if times:
            feed.history.add(times[0], times[-1])
            feed.only_told = {ts_ms for ts_ms in (*feed.only_told, *added) if ts_ms > times[-1] - LIVE_AFTER_MS}
            pauses = (after - before for before, after in pairwise(times[-100:]))
            join_ms = min(max(2 * max(pauses, default=0), JOIN_MIN_MS), JOIN_MAX_MS)
            source.told[symbol] = (times[-1], join_ms)
        feed.hold_until_ms = 0
        self._review(feed)
        return added

    def add_rows(self, symbol: str, interval_ms: int, rows: Iterable[Candle]) -> None:
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

    def turned(self, socket: SocketKey, symbol: str, now_ms: int) -> None:
        """The page asked for an asset: the others of this socket may end here, unless they go on ticking.

        Coming back to one in doubt, what it missed meanwhile is unknown: it begins anew.
        """
        source = self._source(socket)
        source.shown = symbol
        source.told.pop(symbol, None)
        for other in tuple(source.symbols):
            feed = self._symbols[other]
            doubt = feed.doubts.get(socket)
            if other == symbol:
                if doubt is not None:
                    self._end(socket, feed, BlindReason.UNSUBSCRIBED)
            elif doubt is not None:
                doubt.turned_ms = now_ms
            else:
                feed.doubts[socket] = Doubt(now_ms, source.heard_until_ms)
                self._doubting = True

    def lost(self, socket: SocketKey, reason: BlindReason) -> None:
        """The socket is gone."""
        source = self._sockets.get(socket)
        if source is None:
            return
        for symbol in tuple(source.symbols):
            self._end(socket, self._symbols[symbol], reason)
        del self._sockets[socket]

    def restore(self, symbol: str, ticks: Iterable[tuple[int, float]], from_ms: int, to_ms: int) -> None:
        """Ticks an earlier run of this process received, covered over ``[from_ms, to_ms)``; since then it was down,
        unless a gap that was left open says that nothing was received anyway. Neither ticks nor coverage: only when the
        asset was received last is known."""
        received = list(ticks)
        left_open = self._left_open.pop(symbol, None)
        if left_open is None:
            left_open = to_ms, BlindReason.DAEMON_DOWN
            self._news.append(GapNews(symbol, to_ms, 0, BlindReason.DAEMON_DOWN))
        if not received and from_ms == to_ms and symbol not in self._symbols:
            self._left_open[symbol] = left_open
            return
        feed = self.feed(symbol)
        self._restored[symbol] = RESTORED_MINUTES
        feed.tape.keep_from_ms = min(from_ms - HORIZON_MS, feed.tape.keep_from_ms)
        for ts_ms, price in received:
            feed.tape.add(ts_ms, price)
        feed.live.add(from_ms, to_ms)
        feed.blind_from_ms, feed.blind_reason = left_open

    def restore_loss(self, symbol: str, from_ms: int, to_ms: int) -> None:
        """Ticks of an earlier run are missing within what is restored, and nobody has told so yet."""
        self._news.append(GapNews(symbol, from_ms, to_ms, BlindReason.DAEMON_DOWN))

    def restore_gap(self, symbol: str, from_ms: int, to_ms: int, reason: BlindReason) -> None:
        """A gap that an earlier run told without an end: it ended at ``to_ms``, or (0) goes on until the asset is heard
        again. Before ``restore``."""
        if to_ms:
            self._news.append(GapNews(symbol, from_ms, to_ms, reason))
        else:
            self._left_open[symbol] = from_ms, reason

    def _let_go_of_restored(self) -> None:
        """About a minute has passed."""
        for symbol, minutes in list(self._restored.items()):
            feed = self._symbols[symbol]
            if feed.carriers:
                self._restored[symbol] = minutes - 1
            if not self._restored[symbol]:
                del self._restored[symbol]
                feed.tape.keep_from_ms = NEVER_MS

    def hold_restored(self, now_ms: int) -> None:
        """The clock is known: restored assets wait for the page's history from now on."""
        for feed in self._symbols.values():
            if feed.blind_reason is not None:
                feed.hold_until_ms = now_ms + self._history_wait_ms

    # --- what time does -------------------------------------------------------------------------------------------

    def expire(self, now_ms: int) -> None:
        """Let doubts come true: assets the page turned away from that stayed silent, sockets that say nothing."""
        silent = False
        for socket, source in self._sockets.items():
            source.trust_talk(now_ms)
            if self._doubting:
                self._expire_doubts(socket, source, now_ms)
            silent = silent or (bool(source.symbols) and source.is_silent(now_ms))
        if self._doubting:
            self._doubting = any(feed.doubts for feed in self._symbols.values())
        if (silent or self._suspecting) and now_ms >= self.patient_until_ms:
            for feed in self._symbols.values():
                if feed.carriers:
                    self._suspect(feed, now_ms)
            self._suspecting = any(feed.suspect for feed in self._symbols.values())

    def settle(self, feed: SymbolFeed) -> int:
        """Bring the asset's live coverage up to date. Returns how far its feed is proven, 0 without a live socket."""
        proven = 0
        for socket, since_ms in feed.carriers.items():
            until_ms = self._until(socket, feed)
            feed.live.add(since_ms, until_ms)
            proven = max(proven, until_ms)
        return proven

    def proven_by_all(self, feed: SymbolFeed) -> int:
        """How far every live socket of an asset has spoken, 0 without one: up to there nothing is under way."""
        return min((self._until(socket, feed) for socket in feed.carriers), default=0)

    def take_news(self) -> list[GapNews]:
        """Gaps opened and closed since the last call."""
        news, self._news = self._news, []
        return news

    def forget_before(self, ts_ms: int) -> None:
        """Keep memory bounded over days. Call about once a minute: sockets forget old silences by it, too."""
        for feed in self._symbols.values():
            feed.live.forget_before(ts_ms)
            feed.history.forget_before(ts_ms)
        for source in self._sockets.values():
            source.forget_pauses()
        self._let_go_of_restored()

    # --- within ---------------------------------------------------------------------------------------------------

    def _after_silence(self, socket: SocketKey, source: SocketFeed, ts_ms: int) -> None:
        """A tick after other messages, or after a pause: does it still continue what its socket said before?"""
        quiet_ms = source.pause_before(ts_ms)
        if quiet_ms < source.jump_ms:
            source.quiet_ms = max(source.quiet_ms, quiet_ms)
            return
        for symbol in tuple(source.symbols):
            self._jumped(socket, self._symbols[symbol], ts_ms)

    def _jumped(self, socket: SocketKey, feed: SymbolFeed, ts_ms: int) -> None:
        """The socket's stamps jumped to ``ts_ms``: the asset was not seen meanwhile, unless by another socket."""
        until_ms = self._until(socket, feed)
        feed.live.add(feed.carriers[socket], until_ms)
        feed.carriers[socket] = ts_ms
        if socket in feed.doubts:
            feed.doubts[socket].since_ms = ts_ms
        if feed.suspect and feed.blind_from_ms is not None:
            told_from_ms = feed.blind_from_ms
            self._seen_again(feed, ts_ms)
            ts_ms = told_from_ms
        self._tell_unseen(feed, until_ms, ts_ms, BlindReason.SOCKET_SILENT, but=socket)

    def _expire_doubts(self, socket: SocketKey, source: SocketFeed, now_ms: int) -> None:
        until_ms = min(now_ms, source.heard_until_ms) - UNSUBSCRIBED_AFTER_MS
        for symbol in tuple(source.symbols):
            doubt = self._symbols[symbol].doubts.get(socket)
            if doubt is not None and doubt.since_ms <= until_ms:
                self._end(socket, self._symbols[symbol], BlindReason.UNSUBSCRIBED)

    def _suspect(self, feed: SymbolFeed, now_ms: int) -> None:
        silent = all(self._sockets[socket].is_silent(now_ms) for socket in feed.carriers)
        if silent and not feed.suspect:
            feed.suspect = True
            self._blind(feed, self.settle(feed), BlindReason.SOCKET_SILENT)
        elif feed.suspect and not silent:
            self._seen_again(feed, feed.blind_from_ms or 0)

    def _until(self, socket: SocketKey, feed: SymbolFeed) -> int:
        doubt = feed.doubts.get(socket)
        return doubt.since_ms if doubt is not None else self._sockets[socket].heard_until_ms

    def _source(self, socket: SocketKey) -> SocketFeed:
        source = self._sockets.get(socket)
        if source is None:
            source = self._sockets[socket] = SocketFeed()
        return source

    def _begin(self, socket: SocketKey, feed: SymbolFeed, since_ms: int, now_ms: int) -> SocketFeed:
        source = self._source(socket)
        source.heard_until_ms = max(source.heard_until_ms, since_ms)
        told = source.told.get(feed.symbol)
        if told is not None and 0 < since_ms - told[0] <= told[1]:
            since_ms = told[0]
        resumes = feed.suspect or not feed.carriers
        source.symbols.add(feed.symbol)
        feed.carriers[socket] = since_ms
        if source.shown is not None and source.shown != feed.symbol:
            feed.doubts[socket] = Doubt(since_ms, since_ms)  # perhaps only under way when the page turned away
            self._doubting = True
        self.carrier_changes += 1
        if resumes:
            if told is None:
                feed.hold_until_ms = now_ms + self._history_wait_ms
            self._seen_again(feed, since_ms)
        return source

    def _end(self, socket: SocketKey, feed: SymbolFeed, reason: BlindReason) -> None:
        until_ms = self._until(socket, feed)
        feed.live.add(feed.carriers.pop(socket), until_ms)
        feed.doubts.pop(socket, None)
        self._sockets[socket].symbols.discard(feed.symbol)
        self.carrier_changes += 1
        if not feed.carriers:
            if feed.suspect and feed.blind_from_ms != until_ms:
                self._seen_again(feed, feed.blind_from_ms or 0)
            feed.suspect = False
            self._blind(feed, feed.live.covered_until(until_ms), reason)
        else:
            self._tell_unseen(feed, until_ms, max(feed.carriers.values()), reason)

    def _tell_unseen(
        self, feed: SymbolFeed, from_ms: int, to_ms: int, reason: BlindReason, but: SocketKey = None
    ) -> None:
        """A socket (``but``) has not seen a stretch: tell what of it no other one saw, or goes on to see."""
        self.settle(feed)
        others = [(since_ms, other) for other, since_ms in feed.carriers.items() if other != but]
        for begin_ms, end_ms in feed.live.uncovered(from_ms, to_ms):
            end_ms = min([end_ms, *(since_ms for since_ms, _ in others if since_ms > begin_ms)])
            goes_on = any(
                since_ms <= begin_ms and end_ms - self._until(other, feed) < self._sockets[other].jump_ms
                for since_ms, other in others
            )
            if not goes_on:
                self._news.append(GapNews(feed.symbol, begin_ms, end_ms, reason))

    def _blind(self, feed: SymbolFeed, from_ms: int, reason: BlindReason) -> None:
        feed.blind_from_ms, feed.blind_reason = from_ms, reason
        self._news.append(GapNews(feed.symbol, from_ms, 0, reason))

    def _review(self, feed: SymbolFeed) -> None:
        """Past buckets of the asset may be better known than when they were sealed."""
        feed.review_version += 1
        self.reviews += 1

    def _seen_again(self, feed: SymbolFeed, since_ms: int) -> None:
        """Close the asset's gap. ``since_ms`` at or before its begin takes it back; so does what another socket, only
        late, has told of its begin."""
        feed.suspect = False
        if feed.blind_from_ms is not None and feed.blind_reason is not None:
            self.settle(feed)
            from_ms = feed.blind_from_ms
            unseen = feed.live.uncovered(from_ms, since_ms)
            if not unseen or unseen[0][0] > from_ms:
                unseen = [(from_ms, from_ms), *unseen]
            self._news += [GapNews(feed.symbol, begin_ms, end_ms, feed.blind_reason) for begin_ms, end_ms in unseen]
            self._review(feed)
        feed.blind_from_ms = feed.blind_reason = None
