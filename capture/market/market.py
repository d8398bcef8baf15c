"""The market as fluxcap knows it: frames and time in, sealed candles, revisions and gaps out. Pure.

This is the whole of capture without its I/O: decoding per socket, the platform's clock, coverage, focus and candles.
The live daemon and a replayed recording drive the same object, and equal input gives equal output.

The way of a tick: a frame comes (``received``), its socket's decoder makes events of it, the clock tells their time or
lets them wait (``PendingEvents``), the tracker puts them on their asset's tape, the aggregator makes candles of them.
Time passes by ``advance_time`` alone: whoever drives the market calls it when all that had arrived was taken in.

One thread owns it. Every method takes the time of what happened as an ``ArrivalTime``; nothing here reads a clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec

from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.capture.market.accounts import Accounts
from fluxcap.capture.market.aggregator import CandleAggregator, MarketUpdate
from fluxcap.capture.market.candles import CandleTimeouts
from fluxcap.capture.market.clock import ClockEvent, ClockPrior, ClockState, PlatformClock, Trust
from fluxcap.capture.market.feeds import AssetSnapshot, FeedTracker, GapReason, SocketKey, SymbolFeed
from fluxcap.capture.market.focus import AssetNames, Focus, FocusMode, FocusSnapshot, FocusState
from fluxcap.capture.market.history import is_current, raw_ticks, server_candles
from fluxcap.capture.market.pending_events import PendingEvent, PendingEvents
from fluxcap.capture.market.tape import HORIZON_MS, TickResult
from fluxcap.capture.platforms.base import (
    ActiveAsset,
    Asset,
    Assets,
    Favourites,
    History,
    LoggedOut,
    MarketEvent,
    Platform,
    PlatformHints,
    RawTick,
    SocketDecoder,
)
from fluxcap.schemas.types import Candle, FeedState, Tick

__all__ = ["AssetSnapshot", "Market", "MarketSnapshot", "MarketTimeouts", "MarketUpdate"]

ADVANCE_EVERY_MS = 50
PRUNE_EVERY_MS = 60_000
COVERAGE_RETENTION_MS = 21_600_000
STALL_MS = 2_000
RESUME_GRACE_MS = 3_000
"""After this process itself stood still, frames are waiting: so long silence is not held against anybody."""
CLOCK_PENDING_MAX_MS = 20_000
"""So long nothing is sealed by time while a socket's ticks wait for a decision on the platform's clock."""
SOLE_AFTER_MS = 3_000
"""An asset that ticks alone for so long is what the page shows, as long as no frame tells another."""
WAITING_MAX_MS = 604_800_000
"""What seems to have waited for the clock for longer was stamped absurdly."""
ASSETS_MAX = 2_000
"""More assets than any platform has: beyond it the oldest are forgotten."""
FORGOTTEN_AT_ONCE = 100

_WAITING_STATES = (ClockState.IN_QUESTION, ClockState.AMBIGUOUS)
_NEW = TickResult.NEW
"""Python 3.11 takes 0.1 µs to find a member of an enum: too long to do it for every tick."""


class MarketTimeouts(msgspec.Struct, frozen=True):
    """The waits of the candle rules, in milliseconds."""

    allowed_lateness_ms: int = msgspec.field(default=2_000, name="grace_ms")
    idle_timeout_ms: int = msgspec.field(default=10_000, name="doubt_ms")
    history_wait_ms: int = 10_000


class WaitingSpan(msgspec.Struct, frozen=True):
    """Ticks of an asset whose time is not known: ``(raw_ts_ms, price)`` by the platform's stamps, ascending.

    They were received without a break from ``from_raw_ms`` to the last of them.
    """

    symbol: str
    from_raw_ms: int
    ticks: tuple[tuple[int, float], ...]


class MarketSnapshot(msgspec.Struct, frozen=True):
    """All of the market."""

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
    assets: tuple[AssetSnapshot, ...]
    counters: dict[str, int]
    now_ms: int
    focus_unchecked: tuple[str, ...] = ()
    clock_basis: str = ""
    """What the offset stands on, see ``ClockBasis``; "" while it is not known."""
    clock_in_question: bool = False
    wall_off_ms: int = 0
    """How far this computer's clock is ahead of the platform's own; 0 while right, or while nobody knows."""
    logged_out: bool = False
    accounts: dict[str, str] = {}
    """Assets of which another kind of account brings prices, too: the kind that counts."""
    wanted: tuple[str, ...] = ()
    """Assets that the user wants to be captured now, but for those whose market the platform's table calls closed."""


class Market:
    """State of the whole market side.

    Parameters
    ----------
    platform
        What its sockets are and how they speak.
    interval_ms
        Of the candles.
    focus
        Which assets become candles at first.
    published_ts_ms
        Start (UTC ms) of an asset's newest candle already in the store, 0 for none.
    times
        The waits of the candle rules.
    prior
        What earlier runs know of the clock.
    stored
        The candles that the store has of an asset from a time (UTC ms) on, oldest first.
    longer_ms
        Lengths of the intervals of which candles are made from these: ``pending.over`` tells of their ends.

    Attributes
    ----------
    clock
        The platform's clock.
    feeds
        What is known of each socket and asset.
    pending
        What is decided and nobody has taken yet. Always the same object: what is done is taken out of it.
    counters
        What was not understood or came twice, by kind.
    """

    def __init__(
        self,
        platform: Platform,
        interval_ms: int,
        focus: Focus,
        published_ts_ms: Callable[[str], int] = lambda symbol: 0,
        times: MarketTimeouts = MarketTimeouts(),  # noqa: B008  frozen
        prior: ClockPrior = ClockPrior(),  # noqa: B008  frozen
        stored: Callable[[str, int], Sequence[Candle]] = lambda symbol, from_ms: (),
        longer_ms: Sequence[int] = (),
    ) -> None:
        self._platform = platform
        self._prior = prior
        self._lateness_ms = times.allowed_lateness_ms
        self._account_of = PlatformHints(platform).account
        self._accounts = Accounts(interval_ms)
        self._interval_ms = interval_ms
        self._longest_ms = max((interval_ms, *longer_ms))
        self._published_ts_ms = published_ts_ms
        self._focus = FocusState(focus)
        self.clock = PlatformClock(prior)
        self._repeats = bool(getattr(platform, "repeats", False))
        self.feeds = FeedTracker(times.history_wait_ms, repeats=self._repeats)
        timeouts = CandleTimeouts(interval_ms, times.allowed_lateness_ms, times.idle_timeout_ms)
        self._focused: set[str] = set()
        """The assets that become candles now: looked up for every tick, so it is kept up with what ``_focus`` tells."""
        self._aggregator = CandleAggregator(
            self.feeds, timeouts, published_ts_ms, self._focused.__contains__, stored, longer_ms
        )
        self.pending = self._aggregator.update
        self._decoders: dict[SocketKey, SocketDecoder | None] = {}
        """Of the sockets whose end has not been reported yet; None for one that is not the platform's."""
        self._pending_events = PendingEvents()
        """While the clock is unknown, everything that needs it; later, what does not fit it."""
        self._waiting_since: dict[str, int] = {}
        """The platform's stamps since when assets have been received without a break while the clock is in question."""
        self._waiting = False
        self._waiting_spans: list[WaitingSpan] = []
        """What an earlier run received while its clock was in question: stamped with the others."""
        self._favourites: tuple[str, ...] = ()
        self.counters: Counter[str] = Counter()
        self._socket_changes = 0
        self._sole_since: tuple[str, int] | None = None
        """The one asset that ticks, and since when (UTC ms)."""
        self._synchronised_before = False
        self._told_rows: dict[str, list[Candle]] = {}
        """The platform's own candles since time was advanced."""
        self.logged_out = False
        """Whether the platform refused the page's session, and no tick has come since."""
        self._advanced_ms = 0
        self._prune_at_ms = 0
        self._stalled = False
        self._update_focused()

    # --- what happens ---------------------------------------------------------------------------------------------

    def socket_opened(self, socket: SocketKey, url: str, page_url: str = "") -> None:
        """A socket appeared. ``url`` is "" for one that was open before the attach: its frames tell what it is."""
        if socket in self._decoders:
            return
        self._decoders[socket] = self._platform.decoder() if not url or self._platform.is_socket(url) else None
        self.note_account(socket, url, page_url)

    def note_account(self, socket: SocketKey, url: str, page_url: str) -> None:
        """Take from the addresses of a socket and its page which kind of account it is of. Either may be ""."""
        self._accounts.opened(socket, self._account_of(url, page_url), self.feeds.symbols())

    def received(self, socket: SocketKey, opcode: int, payload: str, at: ArrivalTime) -> None:
        """A frame the page received."""
        try:
            decoder = self._decoders[socket]
        except KeyError:
            decoder = self._new_decoder(socket)
        if decoder is None:
            return
        events = decoder.received(opcode, payload)
        if events:
            self._ingest(socket, events, at)

    def received_withheld(self, socket: SocketKey) -> None:
        """A frame came of which a recording keeps nothing, since it had no market event: the socket is there."""
        if socket not in self._decoders:
            self._new_decoder(socket)

    def sent(self, socket: SocketKey, opcode: int, payload: str, at: ArrivalTime) -> None:
        """A frame the page sent."""
        decoder = self._decoders[socket] if socket in self._decoders else self._new_decoder(socket)
        if decoder is not None:
            self._ingest(socket, decoder.sent(opcode, payload), at)

    def on_socket_closed(self, socket: SocketKey, reason: GapReason, at: ArrivalTime) -> None:
        """A socket is gone. Its frames have all been seen; should some wait for the clock, it ends after them."""
        decoder = self._decoders.pop(socket, None)
        self._accounts.closed(socket)
        if reason in (GapReason.TAB_CLOSED, GapReason.CHROME_GONE):
            self.logged_out = False
        if decoder is None:
            return
        self.counters.update({f"malformed.{kind}": n for kind, n in decoder.malformed.items() if n})
        if self._pending_events.has(socket) or self.clock.offset_ms is None:
            self._pending_events.add(socket, reason, at)
            self._waiting_since.clear()
        self.feeds.on_socket_closed(socket, reason)
        self._aggregator.collect_gaps()

    def advance_time(self, at: ArrivalTime) -> None:
        """Everything that arrived before ``at`` has been taken in: let time do what it does."""
        mono_ms = at.mono_ms
        now_ms = self.clock.now_ms(mono_ms)
        elapsed_ms = now_ms - self._advanced_ms
        if not now_ms:
            self.clock.observe(at)
            return
        if 0 <= elapsed_ms < ADVANCE_EVERY_MS:
            return
        self.clock.observe(at)
        if self.clock.correction is not None:
            self._correct(at)
            return
        if self._is_clock_pending(mono_ms):
            return
        stalled = elapsed_ms > STALL_MS
        if stalled and not self._stalled:
            self.feeds.grace_until_ms = now_ms + RESUME_GRACE_MS
        self._stalled = stalled
        self._advanced_ms = now_ms
        if now_ms >= self._prune_at_ms:
            self._prune_at_ms = now_ms + PRUNE_EVERY_MS
            self.feeds.prune_before(now_ms - COVERAGE_RETENTION_MS - 2 * self._longest_ms)
        self.feeds.expire(now_ms)
        self._update_sole_active(now_ms)
        self._aggregator.advance_time(now_ms)
        # Now that the history has done what it does to candles, they can be compared with its rows.
        for symbol, rows in self._told_rows.items():
            self.pending.rows.setdefault(symbol, []).extend(rows)
        self._told_rows.clear()

    def on_platform_date(self, date_ms: int, at: ArrivalTime, socket: SocketKey | None) -> None:
        """A response of the platform's told UTC in ms: the answer to a socket's handshake, or (None) another one."""
        if socket is not None:
            decoder = self._decoders[socket] if socket in self._decoders else self._new_decoder(socket)
            if decoder is None:
                return
        self.clock.add_date(date_ms, at, is_handshake=socket is not None)

    def trust_clock(self, word: Trust, at: ArrivalTime) -> None:
        """Let the user decide between this computer's clock and earlier runs. Raises ConfigError."""
        was_known = self.clock.offset_ms is not None
        self.clock.trust(word)
        if self.clock.correction is not None:
            self._correct(at)
        elif not was_known and self.clock.offset_ms is not None:
            self._release()

    def restore_waiting(self, span: WaitingSpan) -> None:
        """Take what an earlier run received while its clock was in question. Before anything else happens."""
        self._waiting_spans.append(span)

    def restore(
        self, symbol: str, ticks: Iterable[tuple[int, float]], covered_from_ms: int, covered_to_ms: int
    ) -> None:
        """Take what an earlier run of this process received and had not sealed, before anything else happens.

        ``ticks``: ``(ts_ms, price)`` in UTC, all there were in ``[covered_from_ms, covered_to_ms)``. From its end on
        the daemon was down: the bucket under way then is BLIND for that time, unless history fills it. An asset that
        was out of focus by then had nothing to be sealed, and its gap goes on.
        """
        self._focus.add_observed(symbol)
        if self._aggregator.has_left_by(symbol, covered_to_ms):
            self._update_focused()
            return
        self.feeds.restore(symbol, ticks, covered_from_ms, covered_to_ms)
        self._aggregator.track((symbol,))
        self._update_focused()
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
        if reason is GapReason.NOT_IN_FOCUS and not to_ms:
            self._aggregator.restore_away(symbol, from_ms)
            return
        self.feeds.restore_gap(symbol, from_ms, to_ms, reason)
        self._aggregator.collect_gaps()

    def track(self, symbols: Iterable[str]) -> None:
        """Take the assets that have candles in the store. Before anything is heard of them.

        Those that turn out not to be in focus are told to be so, and of those that are no time is left out.
        """
        symbols = tuple(symbols)
        for symbol in symbols:
            self._focus.add_observed(symbol)
        self._aggregator.track(symbols)
        if (keep_names := getattr(self._platform, "keep_names", None)) is not None:
            keep_names(symbols)
        self._update_focused()

    def restore_followed(self, symbols: Sequence[str]) -> None:
        """Take what the page showed in an earlier run, the newest first. Before anything is heard."""
        self._focus.restore_followed(symbols)
        self._update_focused()

    # --- focus ------------------------------------------------------------------------------------------------------

    @property
    def focus(self) -> Focus:
        """The user's focus with all leases; its names resolved as far as they could be."""
        return self._focus.focus

    @property
    def names(self) -> AssetNames:
        """The platform's assets."""
        return self._focus.names

    @property
    def active(self) -> ActiveAsset | None:
        """The asset the page shows, once a frame named it."""
        return self._focus.active

    @property
    def active_symbol(self) -> str | None:
        """The asset the page shows, as far as a frame, a look at the page, or a single asset that ticks tells it."""
        return self._focus.active_symbol

    @property
    def followed(self) -> tuple[str, ...]:
        """The assets that the page showed while it was followed, the newest first."""
        return self._focus.followed

    def focused_symbols(self) -> tuple[str, ...]:
        """The assets that have, or are to have, a stream now: those in force whose names are understood."""
        return tuple(symbol for symbol in self._symbols_in_force() if self.names.contains(symbol))

    def focus_snapshot(self) -> FocusSnapshot:
        """The focus as it is now."""
        return self._focus.snapshot(self._symbols_in_force())

    def keep_names(self, assets: Iterable[Asset]) -> None:
        """Take the platform's assets as an earlier run was told them: names are understood by them until they come."""
        self._focus.keep_catalogue(assets)
        self._update_focused()

    def set_focus(self, focus: Focus, *, is_checked: bool = True) -> bool:
        """Take a focus of the user's, its names as people type them. Returns whether the focus in force changed.

        Raises UnknownAsset, unless ``is_checked`` is False (a focus that was in force already, played back); then
        nothing has changed.
        """
        return self._focus_changed(self._focus.set_user_focus(focus, is_checked=is_checked))

    def acquire_lease(self, holder: str, asset: str, until_ms: int | None = None) -> tuple[str, bool]:
        """Let ``holder`` look at an asset beside the user's focus, as ``FocusState.acquire``.

        Returns the asset's symbol, and whether the focus in force changed. Raises UnknownAsset; then nothing has
        changed.
        """
        symbol, changed = self._focus.acquire(holder, asset, until_ms)
        return symbol, self._focus_changed(changed)

    def release_lease(self, holder: str) -> bool:
        """End the lease of ``holder``, if it has one. Returns whether the focus in force changed."""
        return self._focus_changed(self._focus.release(holder))

    def expire_leases(self, mono_ms: int) -> bool:
        """End the leases whose time is over. Returns whether the focus in force changed."""
        return self._focus_changed(self._focus.expire(mono_ms))

    @property
    def active_asset_query(self) -> str:
        """The query for the page, when ticks arrive and its shown asset is unknown; else ""."""
        unknown = not self.feeds.is_live(self._focus.active_symbol) and self.feeds.live_symbols()
        return self._platform.shown_asset_js if unknown else ""

    def on_active_asset_label(self, label: str) -> None:
        """Set the shown asset from the label the page answered to the page query.

        An asset named by frames has priority, unless it is from a page that is gone: it has no ticks, and this one has.
        """
        self._focus.set_page_label(label, self.feeds.is_live)
        self._update_focused()

    # --- what came of it --------------------------------------------------------------------------------------------

    def drain(self) -> MarketUpdate:
        """Remove and return all that is ``pending``. The caller owns it."""
        return self.pending.take()

    def forming(self) -> dict[str, Candle]:
        """The candle under way of every focused asset."""
        return self._aggregator.forming()

    def covered_since(self, symbol: str) -> int:
        """Return the start (UTC ms) of the unbroken range up to an asset's newest tick, 0 for an asset never seen.

        Every live tick of the range is in a market update: a journal needs this to rebuild the current bucket.
        """
        feed = self.feeds.get(symbol)
        return self._aggregator.covered_since(feed) if feed is not None else 0

    def sealed_to_ms(self, symbol: str) -> int | None:
        """End (UTC ms) of an asset's newest sealed bucket where its stream is ahead of that; None where it is not."""
        return self._aggregator.sealed_to_ms(symbol)

    def last_tick_ts_ms(self, symbol: str) -> int:
        """Time (UTC ms) of an asset's newest tick, 0 without one."""
        feed = self.feeds.get(symbol)
        return feed.last_tick_ts_ms if feed is not None else 0

    def server_candles(self, symbol: str) -> list[Candle]:
        """The platform's own candles of an asset, as far as it sent them, oldest first."""
        feed = self.feeds.get(symbol)
        known = feed.server_candles(self._interval_ms) if feed is not None else {}
        return [known[ts_ms] for ts_ms in sorted(known)]

    def ticks(self, symbol: str, start_ms: int) -> list[tuple[int, float]]:
        """The ticks of the bucket from ``start_ms`` on, ``(ts_ms, price)`` in their order; none if some are gone."""
        feed = self.feeds.get(symbol)
        return feed.tape.ticks(start_ms, start_ms + self._interval_ms) if feed is not None else []

    def is_covered(self, symbol: str, from_ms: int, to_ms: int) -> bool:
        """Return whether a feed or the history covers ``[from_ms, to_ms)`` (UTC ms) of an asset, as far as is known."""
        feed = self.feeds.get(symbol)
        return feed is not None and self.feeds.coverage(feed).covers(from_ms, to_ms)

    def feed_state(self, symbol: str) -> FeedState:
        """Return the state of a stream's feed as the market knows it; the caller knows whether there is a browser."""
        return FeedState.NOT_IN_FOCUS if self.is_out_of_focus(symbol) else self._feed_state(symbol)

    def is_out_of_focus(self, symbol: str) -> bool:
        """Return whether no candles are made of an asset at present, as far as it is known what the page shows."""
        return self._focus.mode is not FocusMode.ALL and self._focus.is_decided and symbol not in self._focused

    def view(self, at: ArrivalTime) -> MarketSnapshot:
        """A snapshot for ``status``."""
        counters = Counter(self.counters)
        counters["held_dropped"] = self._pending_events.dropped
        for decoder in self._decoders.values():
            if decoder is not None:
                counters.update({f"malformed.{kind}": n for kind, n in decoder.malformed.items() if n})
        counters.update(dict(self._aggregator.counters()))
        counters.update({f"other_account.{symbol}": n for symbol, n in self._accounts.refused.items()})
        return MarketSnapshot(
            clock=(ClockState.IN_QUESTION if self.clock.in_question else self.clock.state).value,
            clock_reason=self.clock.reason,
            platform_offset_ms=self.clock.offset_ms,
            focus_mode=self._focus.mode,
            focus_symbols=self._symbols_in_force(),
            focus_unknown=self._focus.unknown,
            active_symbol=self._focus.active_symbol,
            active_period_ms=self.active.period_ms if self.active else 0,
            favourites=self._favourites,
            asset_count=len(self.names),
            assets=tuple(
                feed.snapshot(self._feed_state(feed.symbol), is_focused=feed.symbol in self._focused)
                for feed in self.feeds
            ),
            counters=dict(counters),
            now_ms=self.clock.now_ms(at.mono_ms),
            focus_unchecked=self._focus.unverified,
            clock_basis=self.clock.basis.value if self.clock.basis is not None else "",
            clock_in_question=self.clock.in_question,
            wall_off_ms=self.clock.wall_off_ms,
            logged_out=self.logged_out,
            accounts=self.accounts,
            wanted=tuple(
                symbol for symbol in self._focus.wanted(self._symbols_in_force()) if self._can_be_traded(symbol)
            ),
        )

    def _can_be_traded(self, symbol: str) -> bool:
        """Return whether an asset can be traded now, as far as the platform's table of this run tells."""
        asset = self.names.get(symbol)
        return asset is None or asset.active

    @property
    def accounts(self) -> dict[str, str]:
        """Assets of which another kind of account brings prices, too, which are left out: the kind that counts."""
        return {symbol: self._accounts.kind_of(symbol) for symbol in self._accounts.refused}

    # --- events of a socket, once the clock tells their time ----------------------------------------------------------

    def _ingest(self, socket: SocketKey, events: Sequence[MarketEvent], at: ArrivalTime) -> None:
        """Take in the events of one frame."""
        if events and type(events[0]) is RawTick and self._is_resent(socket, events):
            self.counters["duplicate"] += len(events)
            return
        for event in events:
            if type(event) is not RawTick:
                self._event(socket, event, at)
            elif self._fits_clock(socket, event, at):
                if self._pending_events.queue:
                    self._reject_pending(self._pending_events.take_socket(socket))
                self._accepted(socket, event, at)
            else:
                self._hold_for_clock(socket, event, at)

    def _is_clock_pending(self, mono_ms: int) -> bool:
        """Return whether the clock is being checked now, so that candles should wait.

        A socket whose clock is not decided within ``CLOCK_PENDING_MAX_MS`` delays them no longer. If it is gone, its
        ticks were absurd or too few.
        """
        if not self._pending_events:
            return False
        since = self._pending_events.oldest_ms
        for socket in [socket for socket, since_ms in since.items() if mono_ms - since_ms >= CLOCK_PENDING_MAX_MS]:
            if socket not in self._decoders:
                self._reject_pending(self._pending_events.take_socket(socket))
        return any(mono_ms - since_ms < CLOCK_PENDING_MAX_MS for since_ms in since.values())

    def _update_sole_active(self, now_ms: int) -> None:
        """Assets may have begun or ended: whether one alone ticks says what the page shows."""
        if self.feeds.socket_changes != self._socket_changes:
            self._socket_changes = self.feeds.socket_changes
            ticking = self.feeds.live_symbols()
            if len(ticking) != 1:
                self._sole_since = None
            elif self._sole_since is None or self._sole_since[0] != ticking[0]:
                self._sole_since = ticking[0], now_ms
        alone, since_ms = self._sole_since or (None, 0)
        sole = alone if now_ms - since_ms >= SOLE_AFTER_MS else None
        if sole != self._focus.sole_active:
            self._focus.sole_active = sole
            self._update_focused()

    def _hold_for_clock(self, socket: SocketKey, tick: RawTick, at: ArrivalTime) -> None:
        self._pending_events.add(socket, tick, at)
        if at.drained and self.clock.add_sample(tick.raw_ts_ms, at):
            self._release()
        elif self.clock.state in _WAITING_STATES and self.clock.offset_ms is None:
            self._keep_waiting(tick)

    def _keep_waiting(self, tick: RawTick) -> None:
        """Nobody knows when the clock will be settled: what waits for it goes into the journal, too."""
        ticks = [tick]
        if not self._waiting:
            self._waiting = True
            ticks = [event for _, event, _ in self._pending_events.queue if isinstance(event, RawTick)]
        for raw in ticks:
            since_ms = self._waiting_since.setdefault(raw.symbol, raw.raw_ts_ms)
            self.pending.waiting.append(Tick(raw.symbol, since_ms, raw.raw_ts_ms, raw.price))

    def _correct(self, at: ArrivalTime) -> None:
        """The offset was wrong: what was stamped by it is stamped again, and published again for its true time."""
        found = self.clock.take_correction()
        if found is None:
            return
        by_ms = found.wrong_ms - found.right_ms
        if self._prior.offset_ms == found.wrong_ms:
            self._aggregator.wrong_from_ms = self._prior.kept_ms
        self.feeds.shift(by_ms)
        self._accounts.shift(by_ms)
        self._aggregator.shift(by_ms, self.clock.now_ms(at.mono_ms))
        self.pending.correction = found
        self._told_rows, self.pending.rows = {}, {}  # they stand under wrong times
        self._prune_at_ms = 0
        self._advanced_ms = self.clock.now_ms(at.mono_ms)

    def _meet_store(self, now_ms: int) -> None:
        """The clock is known for the first time: what earlier runs left is held to it."""
        limit_ms = now_ms + self._interval_ms + self._lateness_ms
        self._aggregator.now_ms = now_ms
        if self._prior.stored_to_ms > limit_ms:
            ahead_s = (self._prior.stored_to_ms - now_ms) / 1_000
            self.clock.events.append((ClockEvent.STORE_AHEAD, {"seconds": round(ahead_s)}))
        self.pending.dropped_after_ms = limit_ms
        kept_ms, offset_ms = self._prior.offset_ms, self.clock.offset_ms or 0
        moved_by_ms = None if kept_ms in (None, offset_ms) else (kept_ms or 0) - offset_ms
        self.feeds.drop_after(limit_ms, moved_by_ms)
        if moved_by_ms is not None:
            self._aggregator.wrong_from_ms = self._prior.kept_ms
        for span in self._waiting_spans:
            self._focus.add_observed(span.symbol)
            ticks = [(raw_ms - offset_ms, price) for raw_ms, price in span.ticks]
            added = self.feeds.restore_waiting(span.symbol, ticks, span.from_raw_ms - offset_ms)
            self._update_focused()
            for ts_ms, price in added:
                self._aggregator.emit_tick(span.symbol, ts_ms, ts_ms + offset_ms, price)
        self._waiting_spans.clear()

    def _event(self, socket: SocketKey, event: MarketEvent, at: ArrivalTime) -> None:
        self._aggregator.invalidate_idle()
        if isinstance(event, Assets):
            self._focus.set_catalogue(event.assets)
            self._update_focused()
        elif isinstance(event, LoggedOut):
            self._on_logged_out(socket)
        elif isinstance(event, Favourites):
            self._favourites = event.symbols
        elif isinstance(event, ActiveAsset) and not event.turned:
            shown = self._focus.active
            if shown is None or not self.feeds.is_live(shown.symbol):  # a page of several charts asks for each
                self._focus.set_active(event)
                self._update_focused()
        elif isinstance(event, ActiveAsset):
            self._focus.set_active(event)
            self._update_focused()
            if self.clock.offset_ms is None:
                self._pending_events.add(socket, event, at)
            else:
                self.feeds.on_asset_change(socket, event.symbol, self.clock.now_ms(at.mono_ms))
        elif isinstance(event, History):
            if self.clock.offset_ms is None or self._pending_events.has(socket) or not self._fits(event, at):
                self._pending_events.add(socket, event, at)
            else:
                self._history(socket, event, at)

    def _on_logged_out(self, socket: SocketKey) -> None:
        """The platform refused a socket: one that brought ticks, or any while none does. Chat may end by itself."""
        if self.feeds.carries(socket) or not self.feeds.live_symbols():
            self.logged_out = True

    def _release(self) -> None:
        """The clock is settled: take in what waited for it, in order."""
        self._aggregator.invalidate_idle()
        pending = self._pending_events.take_all()
        now_ms = self.clock.now_ms(pending[-1].at.mono_ms) if pending else 0
        if not self._synchronised_before and pending:
            self._synchronised_before = True
            self._meet_store(now_ms)
            self.feeds.hold_until_history(now_ms)
            self._aggregator.on_synchronised(now_ms)
            self._keep_old(pending, now_ms)
            self.pending.settled = True
        self._waiting = False
        for socket, event, at in pending:
            if isinstance(event, RawTick):
                if not self._fits_clock(socket, event, at):
                    self.counters["malformed.tick time"] += 1
                elif self._is_resent(socket, (event,)):
                    self.counters["duplicate"] += 1
                else:
                    self._accepted(socket, event, at)
            elif isinstance(event, GapReason):
                self.feeds.on_socket_closed(socket, event)
            elif isinstance(event, ActiveAsset):
                self.feeds.on_asset_change(socket, event.symbol, self.clock.now_ms(at.mono_ms))
            elif isinstance(event, History):
                self._history(socket, event, at)
        self._aggregator.collect_gaps()

    def _keep_old(self, pending: Sequence[PendingEvent], now_ms: int) -> None:
        """Keep what has waited for nearly as long as a tape goes back until it is sealed."""
        oldest: dict[str, int] = {}
        for _, event, _ in pending:
            if isinstance(event, RawTick):
                oldest.setdefault(event.symbol, event.raw_ts_ms - (self.clock.offset_ms or 0))
        for symbol, ts_ms in oldest.items():
            if HORIZON_MS // 2 < now_ms - ts_ms < WAITING_MAX_MS:
                self.feeds.keep_from(symbol, ts_ms)

    def _reject_pending(self, pending: Sequence[PendingEvent]) -> None:
        """Reject the pending ticks of a socket whose other ticks fit the clock: they were absurd.

        Ticks of another socket may still belong to a clock that has changed; a slower socket shows that later.
        """
        if pending:
            self._aggregator.invalidate_idle()
        for socket, event, at in pending:
            if isinstance(event, RawTick):
                self.counters["malformed.tick time"] += 1
            elif isinstance(event, History) and socket in self._decoders:
                self._history(socket, event, at)

    def _is_resent(self, socket: SocketKey, events: Sequence[MarketEvent]) -> bool:
        """Return whether a frame of ticks is an older one, sent again whole. Where trades have ids, those tell it."""
        first, offset_ms = events[0], self.clock.offset_ms
        if offset_ms is None or not isinstance(first, RawTick):
            return False
        if first.raw_ts_ms - offset_ms >= self.feeds.newest_stamp_ms(socket):  # nearly always
            return False
        ticks = [event for event in events if isinstance(event, RawTick) and not event.trade_id]
        told = [(tick.symbol, tick.raw_ts_ms - offset_ms, tick.price) for tick in ticks]
        return len(ticks) == len(events) and self.feeds.is_resent(socket, told)

    def _fits_clock(self, socket: SocketKey, tick: RawTick, at: ArrivalTime) -> bool:
        heard_ms = self.feeds.watermark_ms(socket)
        return self.clock.accept(tick.raw_ts_ms, at, heard_ms and heard_ms + (self.clock.offset_ms or 0))

    def _accepted(self, socket: SocketKey, raw: RawTick, at: ArrivalTime) -> None:
        clock, feeds, symbol, price = self.clock, self.feeds, raw.symbol, raw.price
        ts_ms = raw.raw_ts_ms - (clock.offset_ms or 0)
        feed = feeds.get(symbol) or self._new_feed(symbol)
        if feed is None:
            return
        if self._accounts.is_mixed and self._account_from_ms(socket, feed, ts_ms) is None:
            return
        if self.logged_out:
            self.logged_out = False
        result = feeds.tick(socket, symbol, ts_ms, price, clock.now_ms(at.mono_ms), raw.trade_id)
        if result is _NEW:
            self._aggregator.tick(feed, ts_ms, raw.raw_ts_ms, price)
        elif result is TickResult.FIRST_LIVE:  # it has yet to go into an update
            self._aggregator.emit_tick(symbol, ts_ms, raw.raw_ts_ms, price)
        else:
            self.counters["duplicate"] += 1

    def _account_from_ms(self, socket: SocketKey, feed: SymbolFeed, ts_ms: int) -> int | None:
        """Return since when what a socket tells of an asset counts; None: another kind of account brings it."""
        from_ms = self._accounts.from_ms(socket, feed, ts_ms)
        if from_ms:
            for other in self._accounts.others(feed):
                self.feeds.end(other, feed.symbol, GapReason.OTHER_ACCOUNT)
        return from_ms

    def _new_feed(self, symbol: str) -> SymbolFeed | None:
        """An asset seen for the first time. It may be one that the focus names, as people type it."""
        self._aggregator.invalidate_idle()
        if len(self.feeds) >= ASSETS_MAX and not self._forget_oldest():
            self.counters["malformed.too many assets"] += 1
            return None
        feed = self.feeds.feed(symbol)
        self._focus.add_observed(symbol)
        self._update_focused()
        return feed

    def _forget_oldest(self) -> bool:
        """Make room for an asset: those silent for longest go, but for what is in focus or has a stream."""

        def is_kept(symbol: str) -> bool:
            named = symbol in self._focused and self._focus.mode is not FocusMode.ALL
            return named or bool(self._published_ts_ms(symbol))

        forgotten = self.feeds.oldest(FORGOTTEN_AT_ONCE, is_kept)
        for symbol in forgotten:
            self.feeds.forget(symbol)
            self._aggregator.forget(symbol)
        self._focus.forget(forgotten)
        self.counters["forgotten assets"] += len(forgotten)
        return bool(forgotten)

    def _fits(self, history: History, at: ArrivalTime) -> bool:
        return is_current(history, self.clock.now_ms(at.mono_ms) + (self.clock.offset_ms or 0))

    def _history(self, socket: SocketKey, history: History, at: ArrivalTime) -> None:
        if not self._fits(history, at):
            self.counters["malformed.history time"] += 1
            return
        feed = self.feeds.get(history.symbol) or self._new_feed(history.symbol)
        if feed is None:
            return
        offset_ms = self.clock.offset_ms or 0
        from_ms = 0
        if self._accounts.is_mixed:
            newest_ms = max((raw_ms for raw_ms, _ in history.ticks[-1:]), default=offset_ms) - offset_ms
            counts = self._account_from_ms(socket, feed, newest_ms)
            if counts is None:
                return
            from_ms = counts
        now_ms, heard_ms = self.clock.now_ms(at.mono_ms), self.feeds.newest_stamp_ms(socket)
        rows = server_candles(history, self._interval_ms, offset_ms, now_ms, heard_ms)
        ticks = raw_ticks(history, offset_ms, feed.tape.live_ticks, repeats=self._repeats)
        if from_ms:
            rows = [row for row in rows if row.ts_ms >= from_ms]
            ticks = [tick for tick in ticks if tick[0] >= from_ms]
        self.feeds.add_server_candles(history.symbol, self._interval_ms, rows)
        if rows:
            self._told_rows.setdefault(history.symbol, []).extend(rows)
        added = self.feeds.add_history(
            socket, history.symbol, ticks, [raw_ms - offset_ms for raw_ms in history.breaks_ms]
        )
        self.counters["history ticks"] += len(added)
        self._aggregator.history(feed, [ts_ms for ts_ms, _ in ticks], added)

    def _feed_state(self, symbol: str) -> FeedState:
        if self.logged_out:
            return FeedState.LOGGED_OUT
        if not self.clock.synchronised:
            if not self._decoders:
                return FeedState.NO_SOCKET
            in_question = self.clock.state is ClockState.IN_QUESTION
            return FeedState.CLOCK_IN_QUESTION if in_question else FeedState.UNSYNCHRONISED
        state = self.feeds.state(symbol)
        if state is FeedState.LIVE and (self.clock.in_question or symbol in self._aggregator.far_ahead):
            return FeedState.CLOCK_IN_QUESTION
        return state

    def _symbols_in_force(self) -> tuple[str, ...]:
        return self._focus.shown(self.feeds.live_symbols, self.feeds.is_live)

    def _focus_changed(self, changed: bool) -> bool:
        if changed:
            self._update_focused()
        return changed

    def _update_focused(self) -> None:
        """Call when the focus, what the page shows, or the known assets may have changed."""
        members = set(self._focus.members(self.feeds.symbols))
        if members == self._focused:
            return
        left, joined = self._focused - members, members - self._focused
        self._focused.clear()
        self._focused.update(members)
        self._aggregator.on_focus_change(sorted(left), sorted(joined), self._advanced_ms)

    def _new_decoder(self, socket: SocketKey) -> SocketDecoder | None:
        self.socket_opened(socket, "")
        return self._decoders[socket]
