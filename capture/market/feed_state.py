"""The state of one socket and of one asset, as kept by ``capture/market/feeds.py``. Pure.

Times are UTC milliseconds (the platform's clock with its offset removed).
"""

from __future__ import annotations

import enum
from collections.abc import Hashable
from typing import TypeAlias

import msgspec

from fluxcap.capture.market.coverage import TimeRanges, covered_by_either
from fluxcap.capture.market.tape import TickTape
from fluxcap.schemas.types import Candle

SocketKey: TypeAlias = Hashable

GAP_THRESHOLD_MIN_MS = 3_000
GAP_THRESHOLD_MAX_MS = 60_000
"""Bounds of the silence between two stamps of a socket that ends coverage: three times what it is used to. Recorded OTC
assets never pause longer than 2 s; ordinary ones did for 5 s."""
USUAL_PAUSE_MS = 1_000
GAPPY_MS = 2_000
"""A socket whose ticks pause as long as this in the ordinary way: there its other messages tell whether it lives."""
SILENT_AFTER_MS = 5_000
"""Live OTC assets tick twice a second; a socket silent this long is said to be stalled."""
ACTIVITY_MARGIN_MS = 1_000
"""Other messages overtake ticks: they prove only what is older than the ticks' delivery lag and its jitter."""
ACTIVITY_CONFIRMED_MS = 2_000
"""A message counts as proof once so long has passed in which no older tick followed: it was not in a backlog."""
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
    CLOCK_STEP = "platform clock changed"
    DAEMON_DOWN = "fluxcap was not running"


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
    """The page turned away from an asset at ``asset_changed_ms``; until ``since_ms`` it was certainly sent."""

    __slots__ = ("asset_changed_ms", "since_ms")

    def __init__(self, turned_ms: int, since_ms: int) -> None:
        self.asset_changed_ms = turned_ms
        self.since_ms = since_ms

    def ticked(self, ts_ms: int) -> bool:
        """Take a tick of the asset. True when it proves that the asset is still sent."""
        self.since_ms = max(self.since_ms, ts_ms)
        return ts_ms - self.asset_changed_ms >= CONFIRMED_AFTER_MS


class SocketFeed:
    """One socket: how far it has spoken, and how silent it is used to be.

    Ticks speak for themselves. On a socket of gappy markets its other messages (signals and the like) speak for it,
    too, as long as they come as steadily as they used to; pings never do, since they come from a layer below.
    """

    __slots__ = (
        "_activity_interval_ms",
        "_last_activity_ms",
        "_pending_due_ms",
        "_steady_since_ms",
        "active_symbol",
        "history_end_ms",
        "max_pause_ms",
        "pending_watermark_ms",
        "symbols",
        "watermark_ms",
    )

    def __init__(self) -> None:
        self.watermark_ms = 0
        self.max_pause_ms = USUAL_PAUSE_MS
        """The longest silence between its stamps of late."""
        self.pending_watermark_ms = 0
        """A message that is no tick claims that all before this time has arrived; 0 for none."""
        self._pending_due_ms = 0
        self._activity_interval_ms = 0
        self._last_activity_ms = 0
        self._steady_since_ms = 0
        self.active_symbol: str | None = None
        """The asset its page turned to last."""
        self.symbols: set[str] = set()
        self.history_end_ms: dict[str, tuple[int, int]] = {}
        """Assets whose history came on this socket since the page turned to them: its end, and how soon the first live
        tick must follow to join it (ms)."""

    @property
    def gap_threshold_ms(self) -> int:
        """A silence of so long between two stamps is not the market's."""
        return min(max(3 * self.max_pause_ms, GAP_THRESHOLD_MIN_MS), GAP_THRESHOLD_MAX_MS)

    def is_silent(self, now_ms: int) -> bool:
        """Return whether it has said nothing for longer than it should."""
        allowed_ms = max(SILENT_AFTER_MS, self.gap_threshold_ms)
        if self.max_pause_ms >= GAPPY_MS:
            allowed_ms = max(allowed_ms, 2 * self._activity_interval_ms)
        return now_ms - max(self.watermark_ms, self.pending_watermark_ms) >= allowed_ms

    def on_activity(self, now_ms: int) -> None:
        """A message that is neither tick nor ping came at ``now_ms``."""
        pause_ms = now_ms - self._last_activity_ms
        if pause_ms > max(self._activity_interval_ms * 3 // 2, GAP_THRESHOLD_MIN_MS):
            self._steady_since_ms = now_ms
        if 0 < pause_ms < GAP_THRESHOLD_MAX_MS:
            self._activity_interval_ms = max(self._activity_interval_ms, pause_ms)
        self._last_activity_ms = now_ms
        until_ms = now_ms - ACTIVITY_MARGIN_MS
        speaks = self.max_pause_ms >= GAPPY_MS and self._steady_since_ms <= self.watermark_ms < until_ms
        if speaks and not self.pending_watermark_ms:
            self.pending_watermark_ms = until_ms
            self._pending_due_ms = now_ms + ACTIVITY_CONFIRMED_MS

    def confirm_watermark(self, now_ms: int) -> None:
        """Time passed: no older tick followed the message, so all before it has arrived."""
        if self.pending_watermark_ms and now_ms >= self._pending_due_ms:
            self.watermark_ms = max(self.watermark_ms, self.pending_watermark_ms)
            self.pending_watermark_ms = 0

    def pause_before(self, ts_ms: int) -> int:
        """Return the ms of silence before a tick at ``ts_ms``; this also settles a claim by other messages."""
        if ts_ms >= self.pending_watermark_ms:
            self.watermark_ms = max(self.watermark_ms, self.pending_watermark_ms)
        self.pending_watermark_ms = 0
        return ts_ms - self.watermark_ms

    def forget_pauses(self) -> None:
        """About a minute has passed: what was long ago is not usual any more."""
        self.max_pause_ms = max(USUAL_PAUSE_MS, self.max_pause_ms * 3 // 4)
        self._activity_interval_ms = self._activity_interval_ms * 3 // 4


class SymbolFeed:
    """All that is known of one asset: its recent ticks, history rows and coverage."""

    __slots__ = (
        "gap_from_ms",
        "gap_reason",
        "history",
        "history_only_ts_ms",
        "hold_until_ms",
        "last_price",
        "live",
        "pending_unsubscribes",
        "review_version",
        "rows",
        "sockets",
        "stalled",
        "symbol",
        "tape",
        "tick_count",
    )

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.tape = TickTape()
        self.live = TimeRanges()
        self.history = TimeRanges()
        self.rows: dict[int, dict[int, Candle]] = {}
        """Server candles by interval (ms) and start; volume 0, since the platform does not tell it."""
        self.history_only_ts_ms: set[int] = set()
        """Times of the history's newest ticks that have not come live."""
        self.sockets: dict[SocketKey, int] = {}
        self.pending_unsubscribes: dict[SocketKey, PendingUnsubscribe] = {}
        self.hold_until_ms = 0
        self.gap_from_ms: int | None = None
        self.gap_reason: GapReason | None = None
        self.stalled = False
        self.review_version = 0
        """Changes when past buckets may be better known than when they were sealed."""
        self.tick_count = 0
        self.last_price = 0.0

    @property
    def last_tick_ts_ms(self) -> int:
        return max(self.tape.last_ts_ms, 0)

    def covers(self, from_ms: int, to_ms: int) -> bool:
        """Return whether every tick of ``[from_ms, to_ms)`` is known, live or from history.

        Call ``FeedTracker.update_coverage`` first.
        """
        return covered_by_either(self.live, self.history, from_ms, to_ms)

    def row(self, interval_ms: int, start_ms: int) -> Candle | None:
        """The platform's own candle of a bucket, if it told it."""
        return self.rows.get(interval_ms, {}).get(start_ms)
