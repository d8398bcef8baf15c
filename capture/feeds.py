"""Which socket brings which asset, since when, and what is therefore known. Pure.

In: signs of life of sockets, ticks, history, ends, all with their time in UTC milliseconds (the platform's clock with
its offset removed). Out: per asset a ``SymbolFeed`` with its tape of ticks and the stretches of time that were covered.

Coverage is told by the socket, not by the asset: WebSockets deliver in order, so a tick of *any* asset at 12:01:00.2 on
a socket proves that every tick before it on that socket has arrived. A quiet asset on a talking socket is covered.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable, Iterable, Iterator
from typing import TypeAlias

import msgspec

from capture.coverage import Spans, union_covers
from capture.tape import TickTape
from schemas.types import Candle

SocketKey: TypeAlias = Hashable

UNSUBSCRIBED_AFTER_MS = 5_000
"""An asset the page has turned away from, silent this long on a talking socket, is not sent any more."""
SILENT_AFTER_MS = 5_000
"""Live OTC assets tick twice a second; a socket silent this long is said to be stalled."""


class BlindReason(enum.StrEnum):
    """Why a feed ended; stored with the gap."""

    CHROME_GONE = "chrome gone"
    TAB_CLOSED = "tab closed"
    TAB_CRASHED = "tab crashed"
    TAB_FROZEN = "tab frozen"
    NAVIGATED = "navigated away"
    RELOADED = "page reloaded"
    SOCKET_CLOSED = "socket closed"
    SOCKET_SILENT = "socket silent"
    UNSUBSCRIBED = "page turned to another asset"
    CLOCK_STEP = "platform clock changed"
    DAEMON_DOWN = "fluxcap was not running"


class GapNews(msgspec.Struct, frozen=True):
    """An asset's feed ended (``to_ms`` 0) or began again.

    ``to_ms`` = ``from_ms`` takes an opened gap back: the socket was only quiet, and in-order delivery proves that
    nothing was missed.
    """

    symbol: str
    from_ms: int
    to_ms: int
    reason: BlindReason


class _SocketFeed:
    __slots__ = ("heard_until_ms", "symbols")

    def __init__(self) -> None:
        self.heard_until_ms = 0
        self.symbols: set[str] = set()


class SymbolFeed:
    """All that is known of one asset: its recent ticks, history rows and coverage."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.tape = TickTape()
        self.live = Spans()
        self.history = Spans()
        self.rows: dict[int, dict[int, Candle]] = {}
        """Server candles by interval (ms) and start; volume 0, since the platform does not tell it."""
        self.carriers: dict[SocketKey, int] = {}
        self.doubts: dict[SocketKey, int] = {}
        self.hold_until_ms = 0
        self.blind_from_ms: int | None = None
        self.blind_reason: BlindReason | None = None
        self.suspect = False
        self.review_version = 0
        """Changes when past buckets may be better known than when they were sealed."""

    @property
    def last_tick_ts_ms(self) -> int:
        return max(self.tape.last_ts_ms, 0)

    def covers(self, from_ms: int, to_ms: int) -> bool:
        """Whether every tick of the stretch is known, live or from history. Call ``Feeds.settle`` first."""
        return union_covers(self.live, self.history, from_ms, to_ms)

    def row(self, interval_ms: int, start_ms: int) -> Candle | None:
        return self.rows.get(interval_ms, {}).get(start_ms)


class Feeds:
    """All sockets and assets. ``history_wait_ms``: how long after a break newer candles wait for the page's history."""

    def __init__(self, history_wait_ms: int = 10_000) -> None:
        self._history_wait_ms = history_wait_ms
        self._sockets: dict[SocketKey, _SocketFeed] = {}
        self._symbols: dict[str, SymbolFeed] = {}
        self._news: list[GapNews] = []

    def __iter__(self) -> Iterator[SymbolFeed]:
        return iter(self._symbols.values())

    def get(self, symbol: str) -> SymbolFeed | None:
        return self._symbols.get(symbol)

    def feed(self, symbol: str) -> SymbolFeed:
        """The asset's feed, made on first use."""
        found = self._symbols.get(symbol)
        if found is None:
            found = self._symbols[symbol] = SymbolFeed(symbol)
        return found

    def tick(self, socket: SocketKey, symbol: str, ts_ms: int, price: float, now_ms: int) -> bool:
        """Take one tick. False when it was known already (a second tab, a socket that repeats itself)."""
        feed = self._symbols.get(symbol) or self.feed(symbol)
        if socket not in feed.carriers:
            self._begin(socket, feed, ts_ms, now_ms, holds=True)
        elif socket in feed.doubts:
            del feed.doubts[socket]
        source = self._sockets[socket]
        if ts_ms > source.heard_until_ms:
            source.heard_until_ms = ts_ms
        return feed.tape.add(ts_ms, price)

    def heard(self, socket: SocketKey, until_ms: int) -> None:
        """A socket that carries ticks said something: all it sent before ``until_ms`` has arrived."""
        source = self._sockets.get(socket)
        if source is not None and until_ms > source.heard_until_ms:
            source.heard_until_ms = until_ms

    def add_history(self, socket: SocketKey, symbol: str, ticks: Iterable[tuple[int, float]], now_ms: int) -> int:
        """The page's history of raw ticks, ascending. Returns how many were not known yet.

        The payload is a snapshot on the same socket the live ticks follow on: when it comes before the first of them,
        nothing lies between its end and the first live tick. (Recorded: history ends 785.484, live begins 786.001.)
        """
        feed = self.feed(symbol)
        first = last = added = 0
        for ts_ms, price in ticks:
            first = first or ts_ms
            last = ts_ms
            added += feed.tape.add(ts_ms, price)
        if last:
            feed.history.add(first, last)
            if socket not in feed.carriers:
                self._begin(socket, feed, last, now_ms, holds=False)
        feed.hold_until_ms = 0
        feed.review_version += 1
        return added

    def add_rows(self, symbol: str, interval_ms: int, rows: Iterable[Candle]) -> None:
        """The platform's own candles of an asset, for stretches older than its raw ticks."""
        feed = self.feed(symbol)
        feed.rows.setdefault(interval_ms, {}).update((row.ts_ms, row) for row in rows)
        feed.review_version += 1

    def turned(self, socket: SocketKey, symbol: str) -> None:
        """The page asked for another asset: the others of this socket may end here, unless they tick again."""
        source = self._sockets.get(socket)
        if source is None:
            return
        for other in source.symbols:
            if other != symbol:
                self._symbols[other].doubts.setdefault(socket, source.heard_until_ms)

    def lost(self, socket: SocketKey, reason: BlindReason) -> None:
        """The socket is gone."""
        source = self._sockets.get(socket)
        if source is None:
            return
        for symbol in list(source.symbols):
            self._end(socket, self._symbols[symbol], reason)
        del self._sockets[socket]

    def expire(self, now_ms: int) -> None:
        """Let doubts come true: assets the page turned away from that stayed silent, sockets that say nothing."""
        for feed in self._symbols.values():
            self._suspect(feed, now_ms)
        for socket, source in self._sockets.items():
            for symbol in list(source.symbols):
                feed = self._symbols[symbol]
                since = feed.doubts.get(socket)
                if since is not None and min(now_ms, source.heard_until_ms) - since >= UNSUBSCRIBED_AFTER_MS:
                    self._end(socket, feed, BlindReason.UNSUBSCRIBED)

    def settle(self, feed: SymbolFeed) -> int:
        """Bring the asset's live coverage up to date. Returns how far its feed is proven, 0 without a live socket."""
        proven = 0
        for socket, since_ms in feed.carriers.items():
            until_ms = self._until(socket, feed)
            feed.live.add(since_ms, until_ms)
            proven = max(proven, until_ms)
        return proven

    def silent_ms(self, feed: SymbolFeed, now_ms: int) -> int | None:
        """How long the asset's best socket has been silent; None without a live socket."""
        heard = [self._sockets[socket].heard_until_ms for socket in feed.carriers]
        return max(0, now_ms - max(heard)) if heard else None

    def take_news(self) -> list[GapNews]:
        """Gaps opened and closed since the last call."""
        news, self._news = self._news, []
        return news

    def forget_before(self, ts_ms: int) -> None:
        """Keep memory bounded over days."""
        for feed in self._symbols.values():
            feed.live.forget_before(ts_ms)
            feed.history.forget_before(ts_ms)
            for rows in feed.rows.values():
                for start in [start for start in rows if start < ts_ms]:
                    del rows[start]

    def _suspect(self, feed: SymbolFeed, now_ms: int) -> None:
        silent_ms = self.silent_ms(feed, now_ms)
        if silent_ms is None:
            return
        if silent_ms >= SILENT_AFTER_MS and not feed.suspect:
            feed.suspect = True
            feed.blind_from_ms, feed.blind_reason = self.settle(feed), BlindReason.SOCKET_SILENT
            self._news.append(GapNews(feed.symbol, feed.blind_from_ms, 0, feed.blind_reason))
        elif silent_ms < SILENT_AFTER_MS and feed.suspect:
            self._clear_suspicion(feed)

    def _clear_suspicion(self, feed: SymbolFeed) -> None:
        feed.suspect = False
        if feed.blind_from_ms is not None and feed.blind_reason is not None:
            self._news.append(GapNews(feed.symbol, feed.blind_from_ms, feed.blind_from_ms, feed.blind_reason))
        feed.blind_from_ms = feed.blind_reason = None
        feed.review_version += 1

    def _until(self, socket: SocketKey, feed: SymbolFeed) -> int:
        return feed.doubts.get(socket, self._sockets[socket].heard_until_ms)

    def _begin(self, socket: SocketKey, feed: SymbolFeed, since_ms: int, now_ms: int, *, holds: bool) -> None:
        source = self._sockets.get(socket)
        if source is None:
            source = self._sockets[socket] = _SocketFeed()
        first = not feed.carriers
        source.symbols.add(feed.symbol)
        source.heard_until_ms = max(source.heard_until_ms, since_ms)
        feed.carriers[socket] = since_ms
        if not first:
            return
        if holds:
            feed.hold_until_ms = now_ms + self._history_wait_ms
        if feed.blind_from_ms is not None and feed.blind_reason is not None:
            self._news.append(GapNews(feed.symbol, feed.blind_from_ms, since_ms, feed.blind_reason))
            feed.blind_from_ms = feed.blind_reason = None

    def _end(self, socket: SocketKey, feed: SymbolFeed, reason: BlindReason) -> None:
        until_ms = self._until(socket, feed)
        since_ms = feed.carriers.pop(socket)
        feed.live.add(since_ms, until_ms)
        feed.doubts.pop(socket, None)
        self._sockets[socket].symbols.discard(feed.symbol)
        if not feed.carriers:
            if feed.suspect:
                self._clear_suspicion(feed)
            feed.blind_from_ms, feed.blind_reason = until_ms, reason
            self._news.append(GapNews(feed.symbol, until_ms, 0, reason))
