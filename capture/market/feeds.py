"""Tracks which socket brings which asset since when, and what is covered by that. Pure.

In: ticks, other messages, history and ends of sockets, all with their time in UTC milliseconds (the platform's clock
with its offset removed). Out: per asset a ``SymbolFeed`` with its tape of ticks and the stretches of time covered.

Coverage is proven by the socket, not by the asset: WebSockets deliver in order, so a tick of *any* asset at 12:01:00.2
on a socket proves that every tick before it on that socket has arrived. A quiet asset on a talking socket is covered.
What ends coverage:

- the socket is gone;
- the socket is silent: it brought no tick for much longer than it is used to (``silent_after_ms``), so its server may
  have dropped ticks ("streams that die silently"). Only ticks prove a feed. Pings come from a layer below that goes on
  regardless, and messages of other kinds from another part of the server;
- the page turned to another asset, and this one did not tick again soon, or the page came back to it before.

``FeedTracker`` owns what is known of a socket (``SocketFeed``) and of an asset (``SymbolFeed``): nobody else changes
them. What the candle rule needs of an asset leaves as one value, ``coverage()``.
"""

from __future__ import annotations

import enum
import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TypeAlias

import msgspec

from fluxcap.capture.market.coverage import FeedCoverage, TimeRanges
from fluxcap.capture.market.history import covered
from fluxcap.capture.market.tape import HORIZON_MS, NEVER_MS, TickResult, TickTape
from fluxcap.schemas.types import Candle, FeedState

SocketKey: TypeAlias = Hashable

SILENT_MIN_MS = 5_000
"""No socket is called silent earlier. Recorded OTC assets never pause longer than 2 s."""
DAY_MS = 86_400_000
WAIT_MAX_MS = DAY_MS / math.e
"""A longer wait is taken as this one: the rule has its maximum here, a silence of 8.8 hours."""
PAUSES_REMEMBERED = 200
REMEMBERED_MS = 120_000
"""About so many pauses of a socket, and those of so long a time, tell what it is used to: enough to know it to a tenth,
and that a dead stream of a fast one weighs little; few enough to forget."""
SHORT_PAUSE_MS = 1_000
"""Shorter pauses are learnt ``PAUSES_AT_ONCE`` together: what a tick costs is what a computer can follow."""
PAUSES_AT_ONCE = 16
CONFIRMED_AFTER_MS = 3_000
"""A tick this long after the page turned away was not merely under way then: the asset is still sent."""


class GapReason(enum.StrEnum):
    """The reason why a feed ended; stored with the gap."""

    CHROME_GONE = "chrome gone"
    TAB_CLOSED = "tab closed"
    TAB_CRASHED = "tab crashed"
    TAB_FROZEN = "tab frozen"
    NAVIGATED = "navigated away"
    RELOADED = "page reloaded"
    SOCKET_CLOSED = "socket closed"
    SOCKET_BROKEN = "socket broken"
    SOCKET_SILENT = "socket silent"
    UNSUBSCRIBED = "page turned to another asset"
    OTHER_ACCOUNT = "page turned to another account"
    CLOCK_STEP = "platform clock changed"
    CLOCK_WRONG = "clock was wrong"
    DAEMON_DOWN = "fluxcap was not running"
    NOT_IN_FOCUS = "not in focus"
    """Told by the aggregator: the asset was neither locked, followed nor looked at."""


class GapUpdate(msgspec.Struct, frozen=True):
    """An asset's feed ended (``to_ms`` 0) or began again.

    ``to_ms`` = ``from_ms`` takes an opened gap back: the socket was only late, and in-order delivery proves that
    nothing was missed.
    """

    symbol: str
    from_ms: int
    to_ms: int
    reason: GapReason


class PendingUnsubscribe:
    """The page turned away from an asset at ``turned_ms``; until ``since_ms`` it was certainly sent."""

    __slots__ = ("asset_changed_ms", "since_ms")

    def __init__(self, turned_ms: int, since_ms: int) -> None:
        self.asset_changed_ms = turned_ms
        self.since_ms = since_ms

    def ticked(self, ts_ms: int) -> bool:
        """Take a tick of the asset. True when it proves that the asset is still sent."""
        self.since_ms = max(self.since_ms, ts_ms)
        return ts_ms - self.asset_changed_ms >= CONFIRMED_AFTER_MS


def silent_after_ms(wait_ms: float) -> int:
    """Return after how long without a tick a socket is silent: ``max(5 s, wait x ln(86,400 s / wait))``, in ms.

    ``wait_ms`` is the mean wait for its next tick. Where trades come at random that is their mean pause, and a pause
    longer than this happens once a day. It is half the pause where ticks come regularly, and longer than the mean pause
    where they come in bursts.
    """
    wait_ms = min(wait_ms, WAIT_MAX_MS)
    return max(SILENT_MIN_MS, int(wait_ms * math.log(DAY_MS / wait_ms))) if wait_ms > 0 else SILENT_MIN_MS


class Pauses:
    """The pauses between stamps that a socket is used to, over all its assets.

    The mean wait for the next tick, seen from any moment, is half the mean square of the pauses by their mean. A pause
    that was silence teaches nothing where the socket had talked for as long before: then the stream was dead. Where it
    had not, the market is thin, and the pause counts as that silence: a new socket knows such a market after three or
    four of them. The newest ``PAUSES_REMEMBERED`` count, or those of ``REMEMBERED_MS`` where they are more.
    """

    __slots__ = ("_count", "_squares_ms2", "_sum_ms", "_talked_ms", "silent_after_ms")

    def __init__(self) -> None:
        self._count = 0.0
        self._sum_ms = 0.0
        self._squares_ms2 = 0.0
        self._talked_ms = 0
        """So long it has talked since it was silent last, or since it began."""
        self.silent_after_ms = SILENT_MIN_MS
        """A silence of so long is not the market's."""

    def add(self, pause_ms: int) -> None:
        """Take one pause."""
        silence_ms = self.silent_after_ms
        if pause_ms < silence_ms:
            self.add_sums(1, pause_ms, pause_ms * pause_ms)
            return
        if self._talked_ms < silence_ms:
            self.add_sums(1, silence_ms, silence_ms * silence_ms)
        self._talked_ms = 0

    def add_sums(self, count: int, sum_ms: int, squares_ms2: int) -> None:
        """Take several pauses, none of them long: their number, their sum and the sum of their squares."""
        self._count += count
        self._talked_ms += sum_ms
        self._sum_ms += sum_ms
        self._squares_ms2 += squares_ms2
        if self._count > PAUSES_REMEMBERED and self._sum_ms > REMEMBERED_MS:
            kept = max(PAUSES_REMEMBERED / self._count, REMEMBERED_MS / self._sum_ms)
            self._count *= kept
            self._sum_ms *= kept
            self._squares_ms2 *= kept
        self.silent_after_ms = silent_after_ms(self._squares_ms2 / (2 * self._sum_ms))


class SocketFeed:
    """One socket: how far it has spoken, and how silent it is used to be."""

    __slots__ = (
        "_pauses",
        "_short_count",
        "_short_squares_ms2",
        "_short_sum_ms",
        "active_symbol",
        "history_end_ms",
        "silent_after_ms",
        "stale_ts_ms",
        "symbols",
        "watermark_ms",
    )

    def __init__(self) -> None:
        self.watermark_ms = 0
        self.stale_ts_ms = 0
        """Newest stamp of the ticks, sent again on connecting, that proved nothing."""
        self.active_symbol: str | None = None
        """The asset its page turned to last."""
        self.symbols: set[str] = set()
        self.history_end_ms: dict[str, tuple[int, int]] = {}
        """Assets whose history came on this socket since the page turned to them: its end, and how soon the first live
        tick must follow to join it (ms)."""
        self._pauses = Pauses()
        self._short_count = self._short_sum_ms = self._short_squares_ms2 = 0
        """Short pauses that have yet to be learnt."""
        self.silent_after_ms = SILENT_MIN_MS
        """A silence of so long between two stamps is not the market's."""

    def is_silent(self, now_ms: int) -> bool:
        """Return whether it has brought no tick for longer than it should."""
        return now_ms - self.watermark_ms >= self.silent_after_ms

    def learn(self, pause_ms: int) -> None:
        """Learn a pause between two of its stamps."""
        if pause_ms < SHORT_PAUSE_MS:
            self._short_count += 1
            self._short_sum_ms += pause_ms
            self._short_squares_ms2 += pause_ms * pause_ms
            if self._short_count < PAUSES_AT_ONCE:
                return
        pauses = self._pauses
        if self._short_count:
            pauses.add_sums(self._short_count, self._short_sum_ms, self._short_squares_ms2)
            self._short_count = self._short_sum_ms = self._short_squares_ms2 = 0
        if pause_ms >= SHORT_PAUSE_MS:
            pauses.add(pause_ms)
        self.silent_after_ms = pauses.silent_after_ms

    def shift(self, by_ms: int) -> None:
        """Its stamps had the wrong offset."""
        self.watermark_ms += by_ms
        self.stale_ts_ms += by_ms if self.stale_ts_ms else 0
        self.history_end_ms = {
            symbol: (end_ms + by_ms if end_ms else 0, join_ms)
            for symbol, (end_ms, join_ms) in self.history_end_ms.items()
        }

    def forget_pauses(self) -> None:
        """Another market begins on the socket: what the old one was used to says nothing of it."""
        self._pauses = Pauses()
        self._short_count = self._short_sum_ms = self._short_squares_ms2 = 0
        self.silent_after_ms = SILENT_MIN_MS


class SymbolFeed:
    """All that is known of one asset: its recent ticks, history rows and coverage."""

    __slots__ = (
        "gap_from_ms",
        "gap_reason",
        "history",
        "hold_until_ms",
        "last_price",
        "live",
        "pending_unsubscribes",
        "restored_to_ms",
        "review_version",
        "rows",
        "sockets",
        "stalled",
        "symbol",
        "tape",
        "tick_count",
    )

    def __init__(self, symbol: str, *, repeats: bool = False) -> None:
        self.symbol = symbol
        self.tape = TickTape(repeats=repeats)
        self.live = TimeRanges()
        self.history = TimeRanges()
        self.rows: dict[int, dict[int, Candle]] = {}
        """Server candles by interval (ms) and start; volume 0, since the platform does not send it."""
        self.sockets: dict[SocketKey, int] = {}
        self.pending_unsubscribes: dict[SocketKey, PendingUnsubscribe] = {}
        self.hold_until_ms = 0
        self.restored_to_ms = 0
        """So far an earlier run had stamped; this one has stamped what is later."""
        self.gap_from_ms: int | None = None
        self.gap_reason: GapReason | None = None
        self.stalled = False
        self.review_version = 0
        """Changes when past buckets may be better known than when they were sealed."""
        self.tick_count = 0
        self.last_price = 0.0

    @property
    def last_tick_ts_ms(self) -> int:
        return self.tape.last_tick_ts_ms

    @property
    def is_live(self) -> bool:
        """Return whether a socket brings the asset."""
        return bool(self.sockets)

    def server_candles(self, interval_ms: int) -> dict[int, Candle]:
        """The platform's own candles of an interval by start, as far as it sent them; goes on changing."""
        return self.rows.setdefault(interval_ms, {})

    def shift(self, by_ms: int) -> None:
        """Stamp again what this run has stamped with the wrong offset."""
        from_ms = self.restored_to_ms
        self.tape.shift(by_ms, from_ms)
        self.live.shift(by_ms, from_ms)
        self.history.shift(by_ms)
        self.rows = {
            interval_ms: {
                start_ms + by_ms: msgspec.structs.replace(row, ts_ms=start_ms + by_ms)
                for start_ms, row in rows.items()
                if by_ms % interval_ms == 0
            }
            for interval_ms, rows in self.rows.items()
        }
        self.sockets = {socket: since_ms + by_ms for socket, since_ms in self.sockets.items()}
        for pending in self.pending_unsubscribes.values():
            pending.asset_changed_ms += by_ms
            pending.since_ms += by_ms
        if self.gap_from_ms is not None and self.gap_from_ms > from_ms:
            self.gap_from_ms += by_ms
        self.hold_until_ms += by_ms if self.hold_until_ms else 0
        self.review_version += 1

    def snapshot(self, state: FeedState, *, is_focused: bool) -> AssetSnapshot:
        """The asset as ``status`` tells it."""
        return AssetSnapshot(
            symbol=self.symbol,
            focused=is_focused,
            feed_state=state,
            last_tick_ts_ms=self.last_tick_ts_ms,
            last_price=self.last_price,
            ticks=self.tick_count,
            gap_reason=self.gap_reason.value if self.gap_reason else "",
        )


class AssetSnapshot(msgspec.Struct, frozen=True):
    """One asset, for ``status``."""

    symbol: str
    focused: bool
    feed_state: FeedState
    last_tick_ts_ms: int
    last_price: float
    ticks: int
    gap_reason: str


_NEW, _KNOWN = TickResult.NEW, TickResult.KNOWN
"""Python 3.11 takes 0.1 µs to find a member of an enum: too long to do it for every tick."""

UNSUBSCRIBED_AFTER_MS = 5_000
"""An asset the page has turned away from, silent this long on a talking socket, is not sent any more."""
FRESH_TICK_MS = 1_000
JOIN_MIN_MS = 1_000
"""Live ticks join the history before them when they follow within twice its longest pause, and no silence lies between;
recorded OTC assets pause for 0.74 s at most. A history that ends earlier is stale: it says nothing of the ticks
between."""
JOIN_PAUSES = 100
"""So many pauses at the end of a history are looked at."""
ROWS_MAX = 1_000
TOLD_GAPS_MAX = 2_000
RESTORED_MINUTES = 3
"""So long after an asset ticks again its bucket of the run before is surely sealed."""


class FeedTracker:
    """All sockets and assets.

    ``history_wait_ms``: how long after a break newer candles wait for the page's history. ``repeats``: whether exact
    repeats of a tick are ticks of their own, see ``TickTape``.
    """

    def __init__(self, history_wait_ms: int = 10_000, *, repeats: bool = False) -> None:
        self._history_wait_ms = history_wait_ms
        self._repeats = repeats
        self._whole_after_ms = int(repeats)
        """Of the stamp with which a feed begins, trades may have been sent before: where trades share stamps, what is
        whole begins after it."""
        self._sockets: dict[SocketKey, SocketFeed] = {}
        self._symbols: dict[str, SymbolFeed] = {}
        self._gap_updates: list[GapUpdate] = []
        self._told_gaps: dict[tuple[str, int], GapUpdate] = {}
        """Those of this run, as they stand: should its clock turn out wrong, they are told again."""
        self._restored_gaps: dict[str, tuple[int, GapReason]] = {}
        """Begin and reason of gaps of earlier runs, of assets that have not ticked yet in this one."""
        self._restored: dict[str, int] = {}
        """Assets whose tape keeps what an earlier run received, and the minutes left after they tick again."""
        self.socket_changes = 0
        """Changes whenever an asset begins or ends on a socket."""
        self.coverage_epoch = 0
        """Changes with the ``review_version`` of any asset."""
        self._any_unsubscribing = False
        self._any_stalled = False
        """Whether any asset may be stalled: while none is, and none unsubscribing, ``expire`` need not look at each."""
        self.grace_until_ms = 0
        """Until then silence is not held against anybody: this process itself was not running."""

    def __iter__(self) -> Iterator[SymbolFeed]:
        return iter(self._symbols.values())

    def __len__(self) -> int:
        return len(self._symbols)

    def oldest(self, count: int, is_kept: Callable[[str], bool]) -> list[str]:
        """The assets that have not ticked for longest, but for those to be kept."""
        found = [feed for feed in self._symbols.values() if not is_kept(feed.symbol)]
        found.sort(key=lambda feed: feed.last_tick_ts_ms)
        return [feed.symbol for feed in found[:count]]

    def forget(self, symbol: str) -> None:
        """Forget an asset. Nothing is told of it: that is for assets without a stream."""
        feed = self._symbols.pop(symbol)
        for socket in feed.sockets:
            self._sockets[socket].symbols.discard(symbol)
        self._restored.pop(symbol, None)
        self.socket_changes += 1

    def get(self, symbol: str) -> SymbolFeed | None:
        return self._symbols.get(symbol)

    def feed(self, symbol: str) -> SymbolFeed:
        """The asset's feed, made on first use."""
        found = self._symbols.get(symbol)
        if found is None:
            found = self._symbols[symbol] = SymbolFeed(symbol, repeats=self._repeats)
            found.gap_from_ms, found.gap_reason = self._restored_gaps.pop(symbol, (None, None))
        return found

    @property
    def tick_count(self) -> int:
        """Live ticks of all assets."""
        return sum(feed.tick_count for feed in self._symbols.values())

    def symbols(self) -> tuple[str, ...]:
        """The assets that are known."""
        return tuple(self._symbols)

    def live_symbols(self) -> tuple[str, ...]:
        """The assets that some socket brings."""
        return tuple(feed.symbol for feed in self._symbols.values() if feed.sockets)

    def is_live(self, symbol: str | None) -> bool:
        """Return whether a socket brings the asset. None: no asset."""
        feed = self._symbols.get(symbol) if symbol is not None else None
        return feed is not None and bool(feed.sockets)

    def state(self, symbol: str) -> FeedState:
        """Return the state of an asset's feed, once the platform's clock is known."""
        feed = self._symbols.get(symbol)
        if feed is not None and feed.sockets:
            return FeedState.STALLED if feed.stalled else FeedState.LIVE
        unsubscribed = feed is not None and feed.gap_reason is GapReason.UNSUBSCRIBED
        return FeedState.UNSUBSCRIBED if unsubscribed or self.live_symbols() else FeedState.NO_SOCKET

    def has_open_gap(self, symbol: str) -> bool:
        """Return whether a gap of the asset is told that goes on until the asset is heard."""
        feed = self._symbols.get(symbol)
        return symbol in self._restored_gaps or (feed is not None and feed.gap_reason is not None)

    def newest_stamp_ms(self, socket: SocketKey) -> int:
        """Newest stamp (UTC ms) that a socket has told, also where it proves nothing; 0 for any that told none."""
        source = self._sockets.get(socket)
        return max(source.watermark_ms, source.stale_ts_ms) if source is not None else 0

    def carries(self, socket: SocketKey) -> bool:
        """Return whether a socket brings any asset."""
        source = self._sockets.get(socket)
        return source is not None and bool(source.symbols)

    def watermark_ms(self, socket: SocketKey) -> int:
        """Newest stamp (UTC ms) of a socket that carries ticks; 0 for any other."""
        source = self._sockets.get(socket)
        return source.watermark_ms if source is not None else 0

    # --- what happens ---------------------------------------------------------------------------------------------

    def tick(
        self, socket: SocketKey, symbol: str, ts_ms: int, price: float, now_ms: int, trade_id: str = ""
    ) -> TickResult:
        """Take one tick, and say what it is to its asset. ``trade_id``: the platform's own id of it, "" for none."""
        feed = self._symbols.get(symbol) or self.feed(symbol)
        result = feed.tape.take(ts_ms, price, socket, trade_id)
        source = self._sockets.get(socket)
        if source is not None:
            pause_ms = ts_ms - source.watermark_ms
            if pause_ms > 0 and source.symbols:
                if pause_ms >= source.silent_after_ms:
                    for each in tuple(source.symbols):
                        self._jumped(socket, self._symbols[each], ts_ms)
                source.learn(pause_ms)
        if socket not in feed.sockets:
            # A tick sent again on connecting proves nothing of the time since; of a second tab it is only as old as
            # live ticks are.
            is_stale = feed.stalled or not feed.sockets or now_ms - ts_ms > FRESH_TICK_MS
            if is_stale and result is not _NEW:
                source = self._source(socket)
                source.stale_ts_ms = max(source.stale_ts_ms, ts_ms)
                return self._counted(feed, price, result)
            source = self._start_coverage(socket, feed, ts_ms, now_ms)
        elif (
            feed.pending_unsubscribes
            and (pending := feed.pending_unsubscribes.get(socket)) is not None
            and pending.ticked(ts_ms)
        ):
            del feed.pending_unsubscribes[socket]
        if source is not None and ts_ms > source.watermark_ms:
            source.watermark_ms = ts_ms
        return self._counted(feed, price, result)

    def _counted(self, feed: SymbolFeed, price: float, result: TickResult) -> TickResult:
        if result is not _KNOWN:
            feed.tick_count += 1
            feed.last_price = price
        return result

    def is_resent(self, socket: SocketKey, ticks: Sequence[tuple[str, int, float]]) -> bool:
        """Return whether a frame of ticks ``(symbol, ts_ms, price)`` is an older one of its socket, sent again whole.

        Each of them is older than the socket's newest stamp, and the socket has told it before.
        """
        newest_ms = self.newest_stamp_ms(socket)
        frame: dict[str, Counter[tuple[int, float]]] = {}
        for symbol, ts_ms, price in ticks:
            if ts_ms >= newest_ms or symbol not in self._symbols:
                return False
            frame.setdefault(symbol, Counter())[ts_ms, price] += 1
        return all(self._symbols[symbol].tape.has_told(socket, told) for symbol, told in frame.items())

    def add_history(
        self, socket: SocketKey, symbol: str, ticks: Iterable[tuple[int, float]], breaks_ms: Sequence[int] = ()
    ) -> list[int]:
        """The page's history of raw ticks, ascending. Returns the times (ms) of those not known yet.

        The payload is a snapshot on the same socket the live ticks follow on: when it comes before the first of them
        and they follow soon, nothing lies between. (Recorded: history ends 785.484, live begins 786.001.)
        """
        feed = self.feed(symbol)
        sent = list(ticks)
        times = [ts_ms for ts_ms, _ in sent]
        added = feed.tape.add_history(sent)
        source = self._source(socket)
        source.history_end_ms.setdefault(symbol, (0, 0))
        if times:
            for from_ms, to_ms in covered(times, breaks_ms):
                feed.history.add(from_ms, to_ms)
            if times[-1] >= source.history_end_ms[symbol][0]:  # not an older page of the chart
                is_end_known = not breaks_ms or breaks_ms[-1] <= times[-1]
                source.history_end_ms[symbol] = (times[-1], _join_within_ms(times)) if is_end_known else (0, 0)
        feed.hold_until_ms = 0
        self._review(feed)
        return added

    def add_server_candles(self, symbol: str, interval_ms: int, rows: Iterable[Candle]) -> None:
        """The platform's own candles of an asset, for stretches older than its raw ticks. The newest are kept."""
        sent = {row.ts_ms: row for row in rows if row.ts_ms % interval_ms == 0}
        if not sent:
            return
        feed = self.feed(symbol)
        known = feed.server_candles(interval_ms)
        known.update(sent)
        if len(known) > ROWS_MAX:
            for start_ms in sorted(known)[:-ROWS_MAX]:
                del known[start_ms]
        self._review(feed)

    def on_asset_change(self, socket: SocketKey, symbol: str, now_ms: int) -> None:
        """The page asked for an asset: the others of this socket may end here, unless they go on ticking.

        When an unproven one returns, what it missed meanwhile is unknown: its coverage starts again.
        """
        source = self._source(socket)
        if symbol not in source.symbols and len(source.symbols) <= 1:
            source.forget_pauses()
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
                self._any_unsubscribing = True

    def on_socket_closed(self, socket: SocketKey, reason: GapReason) -> None:
        """The socket is gone."""
        source = self._sockets.get(socket)
        if source is None:
            return
        for symbol in tuple(source.symbols):
            self._end_coverage(socket, self._symbols[symbol], reason)
        del self._sockets[socket]

    def end(self, socket: SocketKey, symbol: str, reason: GapReason) -> None:
        """End an asset's coverage by a socket: whatever else that brings of it does not count."""
        self._end_coverage(socket, self._symbols[symbol], reason)

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
        feed.restored_to_ms = max(feed.restored_to_ms, to_ms + 1)
        feed.gap_from_ms, feed.gap_reason = left_open

    def restore_waiting(self, symbol: str, ticks: Iterable[tuple[int, float]], from_ms: int) -> list[tuple[int, float]]:
        """Restore ticks that an earlier run received without knowing their time; they cover ``from_ms`` to the last.

        Returns those that were not known yet.
        """
        feed = self.feed(symbol)
        self.keep_from(symbol, from_ms)
        added = [(ts_ms, price) for ts_ms, price in ticks if feed.tape.add_waiting(ts_ms, price)]
        to_ms = feed.tape.last_tick_ts_ms
        feed.live.add(from_ms, to_ms)
        feed.restored_to_ms = max(feed.restored_to_ms, to_ms + 1)
        if feed.gap_from_ms is not None and feed.gap_reason is not None and feed.gap_from_ms < from_ms:
            self._gap_updates.append(GapUpdate(symbol, feed.gap_from_ms, from_ms, feed.gap_reason))
        self._open_gap(feed, to_ms, GapReason.DAEMON_DOWN)
        return added

    def keep_from(self, symbol: str, ts_ms: int) -> None:
        """Keep an asset's ticks from a time on, however old, until it was heard again for some minutes."""
        feed = self.feed(symbol)
        self._restored[symbol] = RESTORED_MINUTES
        feed.tape.keep_from_ms = min(ts_ms - HORIZON_MS, feed.tape.keep_from_ms)

    def restore_loss(self, symbol: str, from_ms: int, to_ms: int) -> None:
        """Ticks of an earlier run are missing within what is restored, and nobody has reported it yet."""
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
        """End what is overdue: assets the page turned away from that stayed silent, sockets that say nothing."""
        silent = False
        for socket, source in self._sockets.items():
            if self._any_unsubscribing:
                self._expire_unsubscribes(socket, source, now_ms)
            silent = silent or (bool(source.symbols) and source.is_silent(now_ms))
        if self._any_unsubscribing:
            self._any_unsubscribing = any(feed.pending_unsubscribes for feed in self._symbols.values())
        if (silent or self._any_stalled) and now_ms >= self.grace_until_ms:
            for feed in self._symbols.values():
                if feed.sockets:
                    self._check_stalled(feed, now_ms)
            self._any_stalled = any(feed.stalled for feed in self._symbols.values())

    def coverage(self, feed: SymbolFeed) -> FeedCoverage:
        """Return the known parts of the asset's time, as of now."""
        self._update_live(feed)
        return FeedCoverage(
            live=feed.live,
            history=feed.history,
            watermark_ms=min((self._until(socket, feed) for socket in feed.sockets), default=0),
            hold_until_ms=feed.hold_until_ms,
            grace_until_ms=self.grace_until_ms,
            version=feed.review_version,
        )

    def drain_gaps(self) -> list[GapUpdate]:
        """Gaps opened and closed since the last call."""
        updates, self._gap_updates = self._gap_updates, []
        for update in updates:
            self._told_gaps[update.symbol, update.from_ms] = update
        while len(self._told_gaps) > TOLD_GAPS_MAX:
            del self._told_gaps[next(iter(self._told_gaps))]
        return updates

    def shift(self, by_ms: int) -> None:
        """All that this run has stamped had the wrong offset: its time is ``by_ms`` later. Its gaps are told again."""
        told = [*self._told_gaps.values(), *self._gap_updates]
        starts = {symbol: feed.restored_to_ms for symbol, feed in self._symbols.items()}
        self._told_gaps.clear()
        withdrawn = {
            (gap.symbol, gap.from_ms): GapUpdate(gap.symbol, gap.from_ms, gap.from_ms, gap.reason) for gap in told
        }
        moved: dict[tuple[str, int], GapUpdate] = {}
        for gap in told:
            start_ms = starts.get(gap.symbol, gap.from_ms + 1)
            from_ms = gap.from_ms + (by_ms if gap.from_ms > start_ms else 0)
            to_ms = max(gap.to_ms + by_ms, from_ms) if gap.to_ms > start_ms else gap.to_ms
            moved[gap.symbol, from_ms] = GapUpdate(gap.symbol, from_ms, to_ms, gap.reason)
        self._gap_updates = [*(gap for key, gap in withdrawn.items() if key not in moved), *moved.values()]
        for feed in self._symbols.values():
            feed.shift(by_ms)
        for source in self._sockets.values():
            source.shift(by_ms)
        self.grace_until_ms += by_ms if self.grace_until_ms else 0
        self.coverage_epoch += 1

    def tell_gap(self, symbol: str, from_ms: int, to_ms: int, reason: GapReason) -> None:
        """Tell of a time that is known to be blind for another reason than a socket's."""
        self._gap_updates.append(GapUpdate(symbol, from_ms, to_ms, reason))

    def drop_after(self, ts_ms: int, moved_by_ms: int | None) -> None:
        """Forget what an earlier run had stamped later than a time, by a wrong clock.

        Its gaps that have not begun yet are withdrawn; with ``moved_by_ms`` they begin so much later instead.
        """
        for feed in self._symbols.values():
            feed.tape.drop_after(ts_ms)
            feed.live.drop_after(ts_ms)
            if feed.restored_to_ms > ts_ms:
                feed.restored_to_ms = feed.tape.last_tick_ts_ms + 1
            if feed.gap_from_ms is not None and feed.gap_reason is not None and feed.gap_from_ms > ts_ms:
                begin_ms = self._withdrawn(feed.symbol, feed.gap_from_ms, feed.gap_reason, moved_by_ms, ts_ms)
                feed.gap_from_ms, feed.gap_reason = begin_ms, feed.gap_reason if begin_ms is not None else None
        for symbol, (from_ms, reason) in list(self._restored_gaps.items()):
            if from_ms > ts_ms:
                del self._restored_gaps[symbol]
                begin_ms = self._withdrawn(symbol, from_ms, reason, moved_by_ms, ts_ms)
                if begin_ms is not None:
                    self._restored_gaps[symbol] = begin_ms, reason

    def _withdrawn(
        self, symbol: str, from_ms: int, reason: GapReason, moved_by_ms: int | None, ts_ms: int
    ) -> int | None:
        """Withdraw an open gap that begins in the future. Return when it begins instead, None if that is not known."""
        self._gap_updates.append(GapUpdate(symbol, from_ms, from_ms, reason))
        if moved_by_ms is None or from_ms + moved_by_ms > ts_ms:
            return None
        self._gap_updates.append(GapUpdate(symbol, from_ms + moved_by_ms, 0, reason))
        return from_ms + moved_by_ms

    def prune_before(self, ts_ms: int) -> None:
        """Keep memory bounded over days. Call about once a minute."""
        for feed in self._symbols.values():
            feed.live.prune_before(ts_ms)
            feed.history.prune_before(ts_ms)
        self._let_go_of_restored()

    # --- within ---------------------------------------------------------------------------------------------------

    def _update_live(self, feed: SymbolFeed) -> int:
        """Bring the asset's live coverage up to date. Returns how far its feed is proven, 0 without a live socket."""
        proven_ms = 0
        for socket, since_ms in feed.sockets.items():
            until_ms = self._until(socket, feed)
            feed.live.add(since_ms, until_ms)
            proven_ms = max(proven_ms, until_ms)
        return proven_ms

    def _jumped(self, socket: SocketKey, feed: SymbolFeed, ts_ms: int) -> None:
        """The socket's stamps jumped to ``ts_ms``: the asset was not seen meanwhile, unless by another socket."""
        until_ms = self._until(socket, feed)
        feed.live.add(feed.sockets[socket], until_ms)
        ts_ms += self._whole_after_ms
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
            self._open_gap(feed, self._update_live(feed), GapReason.SOCKET_SILENT)
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
        joined = source.history_end_ms.get(feed.symbol)
        if joined is not None and 0 < since_ms - joined[0] <= joined[1]:
            since_ms = joined[0]
        else:
            since_ms += self._whole_after_ms
        resumes = feed.stalled or not feed.sockets
        source.symbols.add(feed.symbol)
        feed.sockets[socket] = since_ms
        if source.active_symbol is not None and source.active_symbol != feed.symbol:
            feed.pending_unsubscribes[socket] = PendingUnsubscribe(
                since_ms, since_ms
            )  # perhaps only under way when the page turned away
            self._any_unsubscribing = True
        self.socket_changes += 1
        if resumes:
            if joined is None:
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
        self._update_live(feed)
        others = [(since_ms, other) for other, since_ms in feed.sockets.items() if other != but]
        for begin_ms, end_ms in feed.live.uncovered(from_ms, to_ms):
            end_ms = min([end_ms, *(since_ms for since_ms, _ in others if since_ms > begin_ms)])
            goes_on = any(
                since_ms <= begin_ms and end_ms - self._until(other, feed) < self._sockets[other].silent_after_ms
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
            self._update_live(feed)
            from_ms = feed.gap_from_ms
            unseen = feed.live.uncovered(from_ms, since_ms)
            if not unseen or unseen[0][0] > from_ms:
                unseen = [(from_ms, from_ms), *unseen]
            self._gap_updates += [
                GapUpdate(feed.symbol, begin_ms, end_ms, feed.gap_reason) for begin_ms, end_ms in unseen
            ]
            self._review(feed)
        feed.gap_from_ms = feed.gap_reason = None


def _join_within_ms(times: list[int]) -> int:
    """Return how soon the first live tick must follow a history of ticks at ``times`` (ms, ascending) to join it."""
    pauses, longest_ms = Pauses(), 0
    for before_ms, after_ms in pairwise(times[-JOIN_PAUSES - 1 :]):
        if after_ms > before_ms:
            pauses.add(after_ms - before_ms)
            longest_ms = max(longest_ms, after_ms - before_ms)
    return min(max(2 * longest_ms, JOIN_MIN_MS), pauses.silent_after_ms)
