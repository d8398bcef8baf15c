"""The browser's side of the pipeline: its connection, its session, and what the market receives of them.

Runs on the pipeline's thread only. In: messages of the connection, its silence and its end, each with its time. Out:
frames, ends of sockets and time to the market, commands to the browser, and whether there is one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import msgspec

from fluxcap.capture.chrome.events import (
    ActiveAssetLabel,
    ArrivalTime,
    ChromeEvent,
    CommandRecovered,
    CommandTimedOut,
    EndReason,
    FrameReceived,
    FrameSent,
    LookalikeSeen,
    PlatformDate,
    SocketClosed,
    SocketOpened,
    TabAttached,
    TabGone,
)
from fluxcap.capture.chrome.session import CdpSession, SessionSnapshot
from fluxcap.capture.market.feeds import GapReason
from fluxcap.capture.market.market import Market
from fluxcap.capture.pipeline.listeners import ChromeState, ListenerGroup
from fluxcap.capture.platforms.base import PlatformHints
from fluxcap.capture.platforms.pages import WatchedPages
from fluxcap.capture.recording.recorder import Recorder
from fluxcap.capture.runtime import log
from fluxcap.schemas.errors import BrowserGone

EXPIRE_NS = 250_000_000
PROBE_NS = 2_000_000_000
QUERY_NS = 2_000_000_000
"""How often the page is asked for the asset that it shows, while no frame has told it."""
LOOKALIKES_MAX = 100
NOT_TRIED = "not tried yet"
"""The reason why there is no browser, before the first look for one."""

_GAP_REASONS: dict[EndReason, GapReason] = {
    EndReason.CLOSED: GapReason.SOCKET_CLOSED,
    EndReason.FROZEN: GapReason.TAB_FROZEN,
    EndReason.FRAME_ERROR: GapReason.SOCKET_BROKEN,
    EndReason.NAVIGATED: GapReason.NAVIGATED,
    EndReason.RELOADED: GapReason.RELOADED,
    EndReason.TAB_CLOSED: GapReason.TAB_CLOSED,
    EndReason.CRASHED: GapReason.TAB_CRASHED,
    EndReason.DETACHED: GapReason.TAB_CLOSED,
    EndReason.BROWSER_GONE: GapReason.CHROME_GONE,
}

_STATE_EVENTS = {
    ChromeState.UNAVAILABLE: "chrome.lost",
    ChromeState.WAITING_FOR_CONSENT: "chrome.waiting_for_consent",
    ChromeState.ATTACHED: "chrome.attached",
    ChromeState.SILENT: "chrome.unresponsive",
}


class CdpTransport(Protocol):
    """The part of ``Connection`` the pipeline uses."""

    def send(self, text: str) -> None: ...

    def close(self, timeout_s: float = ...) -> None: ...


class BrowserFeed:
    """At most one browser connection at a time. Connections are distinguished by their numbers.

    Attributes
    ----------
    state, reason
        Whether there is a browser, and why not.
    messages
        Messages of the browser's so far.
    """

    def __init__(
        self,
        market: Market,
        is_platform_url: Callable[[str], bool],
        listeners: ListenerGroup,
        recorder: Recorder | None,
        stamp: Callable[[], ArrivalTime],
        hints: PlatformHints,
    ) -> None:
        self._market = market
        self._hints = hints
        self._pages = WatchedPages(hints)
        self._lookalikes: set[str] = set()
        self._told_accounts: set[str] = set()
        self._was_logged_out = False
        self._is_platform_url = is_platform_url
        self._listeners = listeners
        self._recorder = recorder
        self._stamp = stamp
        self._connection: CdpTransport | None = None
        self._number = 0
        self._session: CdpSession | None = None
        self._product = ""
        self._next_expire_ns = 0
        self._next_probe_ns = 0
        self._next_query_ns = 0
        self._limit = log.RateLimit()
        self.state = ChromeState.UNAVAILABLE
        self.reason = NOT_TRIED
        self.messages = 0

    @property
    def attached(self) -> bool:
        """Return whether a connection is in use; may be asked from any thread."""
        return self._connection is not None

    @property
    def product(self) -> str:
        """The browser's name for itself; "" without one."""
        told = self._session.product if self._session is not None else ""
        return told or self._product if self._connection is not None else ""

    def snapshot(self) -> SessionSnapshot | None:
        """Tabs and sockets, for ``status``."""
        return self._session.snapshot() if self._session is not None else None

    def attach(self, connection: CdpTransport, number: int, product: str) -> None:
        """Take a connection into use. Raises BrowserGone when there is one already."""
        if self._connection is not None:
            raise BrowserGone("Another connection to Chrome was quicker.")
        stamp = self._stamp()
        self._connection = connection
        self._number = number
        self._session = CdpSession(
            self._is_platform_url, resembles=self._hints.resembles_page, is_mirror=self._hints.is_mirror
        )
        self._product = product
        if self._recorder is not None:
            self._recorder.browser(True, product, stamp)
        self._next_probe_ns = stamp.mono_ns + PROBE_NS
        self._next_query_ns = 0  # whoever starts waits for nothing but this, once there are ticks
        self._session.start(stamp.mono_ns)
        self._send(self._session)
        self._set_state(ChromeState.ATTACHED, "")

    def receive(self, number: int, data: bytes, stamp: ArrivalTime) -> None:
        """A message of a connection; of one that is not in use any more it is ignored."""
        session = self._session
        if session is None or number != self._number:
            return
        self.messages += 1
        recorder = self._recorder
        try:
            for event in session.receive(data, stamp):
                if type(event) is FrameReceived:
                    if recorder is not None:
                        recorder.received(event)
                    self._market.received(event.socket, event.opcode, event.payload, stamp)
                else:
                    self._on_event(event, stamp)
            if session.unsent:
                self._send(session)
            if stamp.drained:
                self.advance_time(stamp)
        except Exception as error:
            # An internal error. The state of this connection cannot be trusted any more: end it as if Chrome had gone,
            # so that candles say they were blind, and let the watch reconnect.
            self._limit.failure("chrome.message_error", error)
            connection = self._connection
            self._end("fluxcap could not handle a message and reconnects")
            if connection is not None:
                connection.close(0)

    def idle(self, number: int, stamp: ArrivalTime) -> None:
        """The connection has said nothing for a while: nothing waits, so time may pass."""
        if number == self._number:
            self.advance_time(stamp)

    def ended(self, number: int, reason: str) -> None:
        """A connection is over."""
        if number == self._number and self._connection is not None:
            self._end(reason)

    def set_unavailable(self, reason: str) -> None:
        """The probe found no browser."""
        self._set_state(ChromeState.UNAVAILABLE, reason)

    def set_waiting_for_consent(self, reason: str) -> None:
        """A browser is there, and its user has to let fluxcap in; ``reason`` says what to click."""
        self._set_state(ChromeState.WAITING_FOR_CONSENT, reason)

    def reload_pages(self) -> int:
        """Reload the platform's pages; returns how many. Raises BrowserGone without a browser."""
        if self._session is None:
            raise BrowserGone(self.reason or "Chrome is not reachable.")
        count = self._session.reload_pages(self._stamp().mono_ns)
        self._send(self._session)
        return count

    def close(self) -> None:
        """Let go of the browser, which stays as it is."""
        if self._connection is not None:
            self._connection.close()

    def advance_time(self, stamp: ArrivalTime) -> None:
        """The one place where time passes, for recording, market and session: all that had arrived was taken in.

        With a browser only what it says, and its silence, tell the time.
        """
        if self._recorder is not None:
            self._recorder.on_time_advanced(stamp)
        self._market.advance_time(stamp)
        session = self._session
        if session is None or stamp.mono_ns < self._next_expire_ns:
            return
        self._next_expire_ns = stamp.mono_ns + EXPIRE_NS
        self._tell_of_account()
        for event in session.expire(stamp.mono_ns):
            self._on_event(event, stamp)
        if stamp.mono_ns >= self._next_probe_ns:
            self._next_probe_ns = stamp.mono_ns + PROBE_NS
            session.probe(stamp.mono_ns)
        if stamp.mono_ns >= self._next_query_ns and (query := self._market.active_asset_query):
            self._next_query_ns = stamp.mono_ns + QUERY_NS
            session.query_active_asset(query, stamp.mono_ns)
        self._send(session)

    # --- within ---------------------------------------------------------------------------------------------------

    def _tell_of_account(self) -> None:
        """Log that the page was logged out of the platform, or in again, and which account's prices count."""
        logged_out = self._market.logged_out
        if logged_out is not self._was_logged_out:
            self._was_logged_out = logged_out
            if logged_out:
                log.warn("platform.logged_out")
            else:
                log.event("platform.logged_in")
        for symbol, kind in self._market.accounts.items():
            if symbol not in self._told_accounts:
                self._told_accounts.add(symbol)
                log.warn("platform.accounts_differ", asset=symbol, counts=kind)

    def _on_event(self, event: ChromeEvent, stamp: ArrivalTime) -> None:
        self._pages.on_event(event)
        if isinstance(event, SocketOpened) and (url := self._pages.socket_url(event)) != event.url:
            event = msgspec.structs.replace(event, url=url)
            self._limit.warn("socket.unseen", page=self._pages.url(event.target_id))
        if self._recorder is not None:
            self._recorder.on_event(event, stamp)
        if isinstance(event, FrameSent):
            self._market.sent(event.socket, event.opcode, event.payload, event.stamp)
        elif isinstance(event, SocketOpened):
            self._market.socket_opened(event.socket, event.url, self._pages.url(event.target_id))
        elif isinstance(event, SocketClosed):
            if self._recorder is not None:
                self._recorder.on_socket_lost(event, _GAP_REASONS[event.reason], stamp)
            self._market.on_socket_closed(event.socket, _GAP_REASONS[event.reason], stamp)
            log.event("socket.closed", reason=event.reason.value)
        elif isinstance(event, PlatformDate):
            self._market.on_platform_date(event.date_ms, event.stamp, event.socket)
        elif isinstance(event, TabAttached):
            log.event("target.attached", kind=event.kind, url=event.url)
        elif isinstance(event, LookalikeSeen):
            self._on_lookalike(event.host)
        elif isinstance(event, TabGone):
            log.event("target.detached", reason=event.reason.value)
        elif isinstance(event, ActiveAssetLabel):
            self._market.on_active_asset_label(event.label)
        elif isinstance(event, CommandTimedOut):
            self._limit.warn("chrome.command_timeout", command=event.method)
            if not event.target_id:
                self._set_state(ChromeState.SILENT, "Chrome does not answer; it may be frozen or very busy.")
        elif isinstance(event, CommandRecovered) and not event.target_id:
            self._set_state(ChromeState.ATTACHED, "")

    def _on_lookalike(self, host: str) -> None:
        """Tell of each such page once."""
        if host not in self._lookalikes and len(self._lookalikes) < LOOKALIKES_MAX:
            self._lookalikes.add(host)
            log.warn("target.lookalike", host=host, option=f"--platform-url {host}")

    def _send(self, session: CdpSession) -> None:
        for command in session.outgoing():
            try:
                if self._connection is not None:
                    self._connection.send(command)
            except BrowserGone:
                return  # its end is on the queue already

    def _end(self, reason: str) -> None:
        stamp, session = self._stamp(), self._session
        self._connection = self._session = None
        if session is not None:
            for event in session.browser_gone():
                self._on_event(event, stamp)
            if self._recorder is not None:
                self._recorder.browser(False, reason, stamp)
        self._set_state(ChromeState.UNAVAILABLE, f"The connection to Chrome ended: {reason}.")

    def _set_state(self, state: ChromeState, reason: str) -> None:
        if not state.connected and self._connection is not None:
            return
        other_step = state is ChromeState.WAITING_FOR_CONSENT and reason != self.reason
        if state is not self.state or other_step or (reason and not self.reason):
            level = logging.INFO if state is ChromeState.ATTACHED else logging.WARNING
            fields = {"reason": reason} if reason else {"browser": self._product}
            log.event(_STATE_EVENTS[state], level=level, **fields)
            self._listeners.chrome_changed(state, reason)
        self.state, self.reason = state, reason
