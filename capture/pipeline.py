"""The single writer: one thread that owns the browser session, the market, the store's connection and the PUB socket.

In: messages on one bounded queue, from the reader thread, the scheduler and the control server. Out: candles, committed
and then published (publishing.py). Nobody else touches the state, so no lock guards it. Time enters with the messages:
a candle is never sealed by time while messages that came before that time are still waiting.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any, Protocol, TypeVar

import msgspec

from bridge.server import FeedInfo
from capture import log
from capture.chrome.connection import Connection
from capture.chrome.events import (
    ChromeEvent,
    CommandTimedOut,
    EndReason,
    FrameReceived,
    FrameSent,
    Responded,
    SocketClosed,
    SocketOpened,
    Stamp,
    TabAttached,
    TabGone,
)
from capture.chrome.session import CdpSession, SessionSnapshot
from capture.feeds import BlindReason
from capture.journal import TickJournal
from capture.listeners import ChromeState, Listener, Listeners
from capture.market import Market, MarketView
from capture.platform_clock import Arrival
from capture.publishing import Outlet, Publishing
from capture.recorder import Recorder
from schemas.errors import BrowserGone, NotAnswering
from schemas.types import FeedState, StreamKey, StreamStatus

QUEUE_MAX = 200_000
HEARTBEAT_NS = 1_000_000_000
FORMING_NS = 200_000_000
EXPIRE_NS = 250_000_000
PROBE_NS = 2_000_000_000
LEAVE_NS = 1_000_000_000
"""How long ``stop`` lets queued messages be handled; what then still waits is as if it had not arrived."""
ASK_TIMEOUT_S = 5.0
_T = TypeVar("_T")

_BLIND: dict[EndReason, BlindReason] = {
    EndReason.CLOSED: BlindReason.SOCKET_CLOSED,
    EndReason.FROZEN: BlindReason.TAB_FROZEN,
    EndReason.FRAME_ERROR: BlindReason.SOCKET_BROKEN,
    EndReason.NAVIGATED: BlindReason.NAVIGATED,
    EndReason.RELOADED: BlindReason.RELOADED,
    EndReason.TAB_CLOSED: BlindReason.TAB_CLOSED,
    EndReason.CRASHED: BlindReason.TAB_CRASHED,
    EndReason.DETACHED: BlindReason.TAB_CLOSED,
    EndReason.BROWSER_GONE: BlindReason.CHROME_GONE,
}


class BrowserConnection(Protocol):
    """What the pipeline needs of ``Connection``."""

    def send(self, text: str) -> None: ...

    def close(self, timeout_s: float = ...) -> None: ...


Connect = Callable[
    [str, Callable[[bytes, Stamp], None], Callable[[str], None], Callable[[Stamp], None]], BrowserConnection
]
"""Opens a browser connection: address, on_message, on_end, on_idle; as ``Connection``."""


class PipelineView(msgspec.Struct, frozen=True):
    """All that ``status`` tells, as of one instant."""

    chrome: ChromeState
    chrome_reason: str
    browser: str
    session: SessionSnapshot | None
    market: MarketView
    streams: tuple[StreamStatus, ...]
    queue_depth: int
    messages: int
    commits: int
    store_trouble: str


class _FromBrowser(msgspec.Struct, gc=False):
    connection: int
    data: bytes
    stamp: Stamp


class _BrowserIdle(msgspec.Struct):
    connection: int
    stamp: Stamp


class _BrowserEnded(msgspec.Struct):
    connection: int
    reason: str


class _Call(msgspec.Struct):
    work: Callable[[], Any]
    answer: Future[Any]


class Pipeline:
    """See the module. ``start`` runs the thread; ``ask`` runs a piece of work on it and returns its result."""

    def __init__(
        self,
        market: Market,
        server: Outlet,
        key_of: Callable[[str], StreamKey],
        is_platform_url: Callable[[str], bool],
        *,
        listeners: Sequence[Listener] = (),
        connect: Connect = Connection,
        journal: TickJournal | None = None,
        recorder: Recorder | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
        mono_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._market = market
        self._server = server
        self._is_platform_url = is_platform_url
        self._listeners = Listeners(listeners)
        self._publishing = Publishing(market, server, key_of, self._listeners, mono_ns, journal)
        self._recorder = recorder
        self._connect = connect
        self._wall_ns = wall_ns
        self._mono_ns = mono_ns
        self._queue: queue.Queue[Any] = queue.Queue(QUEUE_MAX)
        self._thread = threading.Thread(target=self._run, name="fluxcap-pipeline", daemon=True)
        self._stopping = False
        self._leave_by_ns = 0
        self._ended = False
        self._connection: BrowserConnection | None = None
        self._connection_number = 0
        self._connection_numbers = itertools.count(1)
        self._session: CdpSession | None = None
        self._browser = ""
        self._chrome = ChromeState.ABSENT
        self._chrome_reason = "not tried yet"
        self._messages = 0
        self._next_heartbeat_ns = 0
        self._next_forming_ns = 0
        self._next_expire_ns = 0
        self._next_probe_ns = 0
        self._failure: BaseException | None = None
        self._limit = log.RateLimit()

    # --- from other threads ---------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Let what is queued be handled, for a second at most, then end. Seals nothing early."""
        if not self._thread.is_alive():
            return
        self._leave_by_ns = self._mono_ns() + LEAVE_NS
        self._post(None)
        self._thread.join(timeout_s)

    @property
    def failure(self) -> BaseException | None:
        """What ended the thread, when it was not ``stop``."""
        return self._failure

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def attached(self) -> bool:
        """Whether a browser connection is in use."""
        return self._connection is not None

    @property
    def chrome(self) -> ChromeState:
        """Whether there is a browser."""
        return self._chrome

    def ask(self, work: Callable[[], _T], timeout_s: float = ASK_TIMEOUT_S) -> _T:
        """Run ``work`` on the pipeline's thread; its result, or its error.

        Raises NotAnswering when it is late, and then ``work`` will not begin any more, or when the pipeline has ended.
        """
        call = _Call(work, Future())
        if self._ended:
            raise NotAnswering("fluxcap is stopping.")
        try:
            self._queue.put(call, timeout=timeout_s)
            return call.answer.result(timeout_s)  # type: ignore[no-any-return]
        except CancelledError:
            raise NotAnswering("fluxcap is stopping.") from None
        except (TimeoutError, queue.Full):
            call.answer.cancel()
            raise NotAnswering(f"fluxcap is too busy to answer within {timeout_s:g} s.") from None

    def attach(self, websocket_url: str, browser: str) -> None:
        """Connect to a browser, from any thread but the pipeline's. Raises BrowserGone, NotAnswering."""
        number = next(self._connection_numbers)
        adopted = threading.Event()  # before it, nothing that the connection says may overtake ``_attached``

        def on_message(data: bytes, stamp: Stamp) -> None:
            adopted.wait()
            self._post(_FromBrowser(number, data, stamp))

        def on_end(reason: str) -> None:
            adopted.wait()
            self._post(_BrowserEnded(number, reason))

        connection = self._connect(
            websocket_url, on_message, on_end, lambda stamp: self._post(_BrowserIdle(number, stamp))
        )
        try:
            self.ask(lambda: self._attached(connection, number, browser))
        except BaseException:
            adopted.set()
            connection.close()
            raise
        adopted.set()

    def chrome_absent(self, reason: str) -> None:
        """The probe found no browser; ``reason`` is its sentence."""
        self._post(_Call(lambda: self._set_chrome(ChromeState.ABSENT, reason), Future()))

    def view(self) -> PipelineView:
        """A snapshot, taken on the pipeline's thread."""
        return self.ask(self._view)

    def _post(self, message: Any) -> None:
        """Queue a message; waits while the queue is full, so that the browser buffers and nothing is lost."""
        while not self._ended:
            try:
                self._queue.put(message, timeout=0.1)
            except queue.Full:
                continue
            return

    # --- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not (self._stopping or (self._leave_by_ns and self._mono_ns() > self._leave_by_ns)):
                try:
                    message = self._queue.get(timeout=0.1)
                except queue.Empty:
                    self._quiet()
                else:
                    self._handle(message)
                self._regularly()
        except BaseException as error:
            self._failure = error
            log.LOGGER.critical("pipeline failed", exc_info=error)
        finally:
            self._end()

    def _handle(self, message: Any) -> None:
        if type(message) is _FromBrowser:
            self._from_browser(message)
        elif type(message) is _BrowserIdle:
            if message.connection == self._connection_number:
                self._pass_time(message.stamp)
        elif type(message) is _BrowserEnded:
            self._browser_ended(message)
        elif type(message) is _Call:
            self._call(message)
        else:
            self._stopping = True
        self._publishing.flush()

    def _from_browser(self, message: _FromBrowser) -> None:
        session = self._session
        if session is None or message.connection != self._connection_number:
            return
        self._messages += 1
        try:
            self._take_in(session, message)
        except Exception as error:
            # A fault of ours. The state of this connection cannot be trusted any more: end it as if Chrome had gone,
            # so that candles say they were blind, and let the watch attach anew.
            self._limit.failure("a message of chrome's could not be handled; attaching anew", error)
            connection = self._connection
            self._end_browser("fluxcap failed at a message and attaches anew")
            if connection is not None:
                connection.close(0)

    def _take_in(self, session: CdpSession, message: _FromBrowser) -> None:
        recorder = self._recorder
        for event in session.receive(message.data, message.stamp):
            if type(event) is FrameReceived:
                stamp = event.stamp
                if recorder is not None:
                    recorder.received(event)
                self._market.received(event.socket, event.opcode, event.payload, _arrival(stamp), stamp.drained)
            else:
                self._on_event(event, message.stamp)
        self._send(session)
        if message.stamp.drained:
            self._pass_time(message.stamp)

    def _on_event(self, event: ChromeEvent, stamp: Stamp) -> None:
        if self._recorder is not None:
            self._recorder.happened(event, stamp)
        if isinstance(event, FrameSent):
            self._market.sent(event.socket, event.opcode, event.payload, _arrival(event.stamp))
        elif isinstance(event, SocketOpened):
            self._market.socket_opened(event.socket, event.url)
        elif isinstance(event, SocketClosed):
            if self._recorder is not None:
                self._recorder.lost(event, _BLIND[event.reason], stamp)
            self._market.socket_lost(event.socket, _BLIND[event.reason], _arrival(stamp))
            log.event("socket ended", reason=event.reason.value)
        elif isinstance(event, TabAttached):
            log.event("tab attached", kind=event.kind, url=event.url)
        elif isinstance(event, TabGone):
            log.event("tab gone", reason=event.reason.value)
        elif isinstance(event, CommandTimedOut):
            self._limit.warn("chrome does not answer", command=event.method)
            if not event.target_id:
                self._set_chrome(ChromeState.SILENT, "Chrome does not answer; it may be frozen or very busy.")
        elif isinstance(event, Responded) and not event.target_id:
            self._set_chrome(ChromeState.ATTACHED, "")

    def _pass_time(self, stamp: Stamp) -> None:
        self._let_pass(stamp)
        session = self._session
        if session is None or stamp.mono_ns < self._next_expire_ns:
            return
        self._next_expire_ns = stamp.mono_ns + EXPIRE_NS
        for event in session.expire(stamp.mono_ns):
            self._on_event(event, stamp)
        if stamp.mono_ns >= self._next_probe_ns:
            self._next_probe_ns = stamp.mono_ns + PROBE_NS
            session.probe(stamp.mono_ns)
        self._send(session)

    def _quiet(self) -> None:
        """Nothing is queued. With a browser attached its reader tells the time; without one, this does."""
        if self._connection is None:
            self._let_pass(self._stamp())
            self._publishing.flush()

    def _let_pass(self, stamp: Stamp) -> None:
        if self._recorder is not None:
            self._recorder.passed(stamp)
        self._market.pass_time(_arrival(stamp))

    def _regularly(self) -> None:
        now_ns = self._mono_ns()
        if now_ns >= self._next_forming_ns:
            self._next_forming_ns = now_ns + FORMING_NS
            self._publishing.forming(now_ns)
        if now_ns >= self._next_heartbeat_ns:
            self._next_heartbeat_ns = now_ns + HEARTBEAT_NS
            self._publishing.heartbeat(self._wall_ns() // 1_000_000, self._feed_info)

    def _feed_info(self, key: StreamKey) -> FeedInfo:
        offset_ms = self._market.clock.offset_ms or 0
        feed = self._market.feeds.get(key.symbol)
        last_ms = feed.last_tick_ts_ms if feed else 0
        if self._chrome is ChromeState.ABSENT:
            return FeedInfo(FeedState.NO_BROWSER, last_ms, offset_ms)
        state = self._market.feed_state(key.symbol, self._market.clock.now_ms(self._mono_ns() // 1_000_000))
        if state is FeedState.LIVE and self._chrome is ChromeState.SILENT:
            state = FeedState.STALLED
        return FeedInfo(state, last_ms, offset_ms)

    # --- the browser ----------------------------------------------------------------------------------------------

    def _attached(self, connection: BrowserConnection, number: int, browser: str) -> None:
        if self._connection is not None:
            raise BrowserGone("Another connection to Chrome was quicker.")
        self._connection = connection
        self._connection_number = number
        self._session = CdpSession(self._is_platform_url)
        self._browser = browser
        if self._recorder is not None:
            self._recorder.browser(True, browser, self._stamp())
        self._next_probe_ns = self._mono_ns() + PROBE_NS
        self._session.start(self._mono_ns())
        self._send(self._session)
        self._set_chrome(ChromeState.ATTACHED, "")

    def _send(self, session: CdpSession) -> None:
        for command in session.outgoing():
            try:
                if self._connection is not None:
                    self._connection.send(command)
            except BrowserGone:
                return  # its end is on the queue already

    def _browser_ended(self, message: _BrowserEnded) -> None:
        if message.connection == self._connection_number and self._connection is not None:
            self._end_browser(message.reason)

    def _end_browser(self, reason: str) -> None:
        stamp, session = self._stamp(), self._session
        self._connection = self._session = None
        if session is not None:
            for event in session.browser_gone():
                self._on_event(event, stamp)
            if self._recorder is not None:
                self._recorder.browser(False, reason, stamp)
        self._set_chrome(ChromeState.ABSENT, f"The connection to Chrome ended: {reason}.")

    def _set_chrome(self, state: ChromeState, reason: str) -> None:
        if state is ChromeState.ABSENT and self._connection is not None:
            return
        if state is not self._chrome or (reason and not self._chrome_reason):
            level = logging.INFO if state is ChromeState.ATTACHED else logging.WARNING
            fields = {"reason": reason} if reason else {"browser": self._browser}
            log.event(f"chrome {state.value}", level=level, **fields)
            self._listeners.chrome_changed(state, reason)
        self._chrome, self._chrome_reason = state, reason

    # --- the rest -------------------------------------------------------------------------------------------------

    def _call(self, call: _Call) -> None:
        if not call.answer.set_running_or_notify_cancel():
            return
        focus = self._market.focus
        try:
            call.answer.set_result(call.work())
        except Exception as error:
            call.answer.set_exception(error)
        if self._recorder is not None and self._market.focus is not focus:
            self._recorder.focus(self._market.focus, self._stamp())

    def _view(self) -> PipelineView:
        return PipelineView(
            chrome=self._chrome,
            chrome_reason=self._chrome_reason,
            browser=self._browser if self._connection else "",
            session=self._session.snapshot() if self._session else None,
            market=self._market.view(_arrival(self._stamp())),
            streams=tuple(self._server.status().values()),
            queue_depth=self._queue.qsize(),
            messages=self._messages,
            commits=self._publishing.commits,
            store_trouble=self._publishing.trouble,
        )

    def _stamp(self) -> Stamp:
        return Stamp(self._wall_ns(), self._mono_ns(), True)

    def _end(self) -> None:
        self._ended = True
        if self._connection is not None:
            self._connection.close()
        while True:  # nobody may wait for an answer that never comes
            try:
                message = self._queue.get_nowait()
            except queue.Empty:
                return
            if isinstance(message, _Call):
                message.answer.cancel()


def _arrival(stamp: Stamp) -> Arrival:
    return Arrival(stamp.wall_ns // 1_000_000, stamp.mono_ns // 1_000_000)
