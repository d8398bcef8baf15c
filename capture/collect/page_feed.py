"""Reads what the platform sends the page, over a separate browser connection: histories, asset, platform clock.

Frames are stamped and queued by the connection's reader while the page is being driven; they are looked at within the
waits, on the caller's thread. Nothing here sleeps, and nothing is sent to the page.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, TypeVar

import msgspec

from fluxcap.capture.chrome.connection import Connection
from fluxcap.capture.chrome.events import (
    ArrivalTime,
    ChromeEvent,
    FrameReceived,
    FrameSent,
    PlatformDate,
    SocketClosed,
    SocketId,
    SocketOpened,
)
from fluxcap.capture.chrome.session import CdpSession
from fluxcap.capture.market.clock import ClockPrior, ClockState, PlatformClock
from fluxcap.capture.market.history import whole_rows
from fluxcap.capture.platforms.base import (
    ActiveAsset,
    Asset,
    Assets,
    History,
    LoggedOut,
    MarketEvent,
    Platform,
    PlatformHints,
    RawTick,
    SocketDecoder,
)
from fluxcap.capture.platforms.pages import WatchedPages
from fluxcap.schemas.errors import BrowserGone, PageUnavailable


class BrowserConnection(Protocol):
    """The part of ``Connection`` used here."""

    def send(self, text: str) -> None: ...

    def close(self) -> None: ...


Connect: TypeAlias = Callable[
    [str, Callable[[bytes, ArrivalTime], None], Callable[[str], None], Callable[[ArrivalTime], None]], BrowserConnection
]
"""Opens a browser connection: address, on_message, on_end, on_idle; as ``Connection``."""
_Item: TypeAlias = tuple[bytes, ArrivalTime] | ArrivalTime | str

T = TypeVar("T")


class ReceivedHistory(msgspec.Struct, frozen=True):
    """A history of an asset that the page turned to, and when it had arrived."""

    history: History
    mono_ns: int


class HistoryFeed:
    """Attached from construction until ``close``. Raises BrowserGone. ``connect``: opens the browser connection.

    ``prior``: what earlier runs knew of the clock.

    Attributes
    ----------
    asked
        What the page asked for since ``reset``, or showed.
    assets
        The platform's asset table, once it was received.
    frames
        How many of the platform's frames have been looked at.
    logged_out
        Whether the platform refused the page's session.
    """

    def __init__(
        self,
        websocket_url: str,
        platform: Platform,
        *,
        connect: Connect = Connection,
        prior: ClockPrior = ClockPrior(),  # noqa: B008  frozen
    ) -> None:
        self._platform = platform
        self._session = CdpSession(platform.is_page)
        self._queue: queue.Queue[_Item] = queue.Queue()
        self._decoders: dict[SocketId, SocketDecoder | None] = {}
        self._heard_raw_ms: dict[SocketId, int] = {}
        """Newest stamp of the ticks that each socket has told."""
        self._received: list[ReceivedHistory] = []
        self._reset_ns = 0
        self._ahead_ms: float | None = None
        self._pages = WatchedPages(PlatformHints(platform))
        self.frames = 0
        self.logged_out = False
        self.clock = PlatformClock(prior)
        self.requested_asset: ActiveAsset | None = None
        self.assets: tuple[Asset, ...] = ()
        self._connection = connect(
            websocket_url, lambda data, stamp: self._queue.put((data, stamp)), self._queue.put, self._queue.put
        )
        self._session.start(time.monotonic_ns())
        self._send()

    def reset(self) -> None:
        """The page is about to be turned: what it received before this does not count any more."""
        self._reset_ns = time.monotonic_ns()
        self._received.clear()
        self.requested_asset = None

    def await_history(self, fits: Callable[[History, str | None], bool], timeout_s: float) -> History | None:
        """The first history since ``reset`` that ``fits(history, symbol asked for)``; None if none comes in time.

        Raises BrowserGone, and PageUnavailable once the platform's own clock has shown that the one taken was wrong.
        """
        seen = 0

        def found() -> History | None:
            nonlocal seen
            fresh, seen = self._received[seen:], len(self._received)
            requested_asset = self.requested_asset.symbol if self.requested_asset else None
            return next((one.history for one in fresh if fits(one.history, requested_asset)), None)

        history = self._until(found, timeout_s)
        if self.clock.correction is not None:
            off_h = (self.clock.correction.right_ms - self.clock.correction.wrong_ms) / 3_600_000
            raise PageUnavailable(
                f"The platform's own clock shows that this computer's is {off_h:+g} h off. What was collected stands "
                "under a wrong time: set the clock (NTP), and collect all of it again with --restart."
            )
        return history

    @property
    def clock_basis(self) -> str:
        """The witness that the platform's offset stands on; "" until it is known."""
        return str(self.clock.basis or "")

    def await_offset_ms(self, timeout_s: float) -> int:
        """The platform's clock less UTC. Raises PageUnavailable when it cannot be measured in time, BrowserGone."""
        offset_ms = self._until(lambda: self.clock.offset_ms, timeout_s)
        if offset_ms is not None:
            return offset_ms
        if not self.frames:
            raise PageUnavailable(
                f"The page has received nothing from the platform for {timeout_s:g} s; is it loaded and logged in?"
            )
        if self.clock.state is ClockState.AMBIGUOUS:
            raise PageUnavailable(self.clock.reason)
        if self.clock.question:
            raise PageUnavailable(
                f"{self.clock.question} Set this computer's clock (NTP), or reload the trading page while fluxcap "
                "waits for its clock: that tells the platform's own time. Then try again."
            )
        raise PageUnavailable(
            f"The platform's clock could not be measured: no ticks, or too few, in {timeout_s:g} s. "
            "Choose an asset on the page whose price moves, and try again."
        )

    def await_tick_ahead_ms(self, timeout_s: float) -> float | None:
        """Return the ms a tick's timestamp was ahead of the wall clock; None if no tick comes. Raises BrowserGone."""
        return self._until(lambda: self._ahead_ms, timeout_s)

    def now_ms(self) -> int:
        """UTC by the platform's clock; 0 while its offset is unknown."""
        return self.clock.now_ms(time.monotonic_ns() // 1_000_000)

    def close(self) -> None:
        self._connection.close()

    # --- within ---------------------------------------------------------------------------------------------------

    def _until(self, found: Callable[[], T | None], timeout_s: float) -> T | None:
        """Take in what comes until there is something."""
        deadline_s = time.monotonic() + timeout_s
        while (value := found()) is None:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return None
            try:
                item = self._queue.get(timeout=left_s)
            except queue.Empty:
                return None
            self._take(item)
        return value

    def _take(self, item: _Item) -> None:
        if isinstance(item, str):
            raise BrowserGone(f"The connection to Chrome ended: {item}.")
        if isinstance(item, ArrivalTime):
            self._session.expire(item.mono_ns)
            self.clock.observe(item)
        else:
            for event in self._session.receive(*item):
                self._on_event(event)
            if item[1].drained:
                self.clock.observe(item[1])
        self._send()

    def _send(self) -> None:
        for command in self._session.outgoing():
            self._connection.send(command)

    def _on_event(self, event: ChromeEvent) -> None:
        self._pages.on_event(event)
        if isinstance(event, SocketOpened):
            url = self._pages.socket_url(event)
            ours = not url or self._platform.is_socket(url)
            self._decoders[event.socket] = self._platform.decoder() if ours else None
        elif isinstance(event, SocketClosed):
            self._decoders.pop(event.socket, None)
            self._heard_raw_ms.pop(event.socket, None)
        elif isinstance(event, PlatformDate):
            if event.socket is None or self._decoders.get(event.socket) is not None:
                self.clock.add_date(event.date_ms, event.stamp, is_handshake=event.socket is not None)
        elif isinstance(event, FrameReceived | FrameSent):
            decoder = self._decoders.get(event.socket)
            if decoder is not None:
                decode = decoder.received if isinstance(event, FrameReceived) else decoder.sent
                self.frames += 1
                self._take_in(event.socket, decode(event.opcode, event.payload), event.stamp)

    def _take_in(self, socket: SocketId, events: Sequence[MarketEvent], stamp: ArrivalTime) -> None:
        current = stamp.mono_ns >= self._reset_ns
        for event in events:
            if isinstance(event, RawTick):
                self._heard_raw_ms[socket] = max(event.raw_ts_ms, self._heard_raw_ms.get(socket, 0))
                self._tick(event, stamp)
            elif isinstance(event, LoggedOut):
                self.logged_out = True
            elif isinstance(event, Assets):
                self.assets = event.assets
            elif isinstance(event, ActiveAsset) and current:
                if event.turned or self.requested_asset is None:
                    self.requested_asset = event
            elif isinstance(event, History) and current and _is_turned_to(event, events):
                self._received.append(ReceivedHistory(self._whole(socket, event, stamp), stamp.mono_ns))

    def _whole(self, socket: SocketId, history: History, stamp: ArrivalTime) -> History:
        """Leave out the rows of which nothing proves that they were over when the platform sent them."""
        offset_ms = self.clock.offset_ms
        raw_now_ms = self.clock.now_ms(stamp.mono_ms) + offset_ms if offset_ms is not None else 0
        rows = whole_rows(history, self._heard_raw_ms.get(socket, 0), raw_now_ms)
        return msgspec.structs.replace(history, candles=rows)

    def _tick(self, tick: RawTick, stamp: ArrivalTime) -> None:
        self._ahead_ms = tick.raw_ts_ms - stamp.wall_ms
        if not self.clock.accept(tick.raw_ts_ms, stamp) and stamp.drained:
            self.clock.add_sample(tick.raw_ts_ms, stamp)


def _is_turned_to(history: History, events: Sequence[MarketEvent]) -> bool:
    """Not one of the older pages that a chart asks for as it is scrolled."""
    told_ticks = bool(history.ticks) and history.period_ms > 0
    return told_ticks or any(isinstance(event, ActiveAsset) for event in events)
