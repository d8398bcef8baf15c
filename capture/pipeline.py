"""The single writer: one thread that owns the browser session, the market, the store's connection and the PUB socket.

In: messages on one bounded queue, from the reader thread, the scheduler and the control server. Out: candles, committed
and then published. Nobody else touches the state, so no lock guards it. Time enters with the messages: a candle is
never sealed by time while messages that came before that time are still waiting.

Order at a bucket's end: seal, number, commit, publish, then tell the listeners (files, Socket.IO, metrics).
"""

from __future__ import annotations

import enum
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

import msgspec

from bridge.server import FeedInfo, WireServer
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
from capture.market import Market, MarketView, Outcome
from capture.platform_clock import Arrival
from schemas.errors import BrowserGone, StoreFull
from schemas.types import Candle, CandleBatch, CandleRevision, FeedState, Gap, StreamKey, StreamStatus, Tick

QUEUE_MAX = 200_000
HEARTBEAT_NS = 1_000_000_000
FORMING_NS = 200_000_000
EXPIRE_NS = 250_000_000
PROBE_NS = 2_000_000_000
STORE_RETRY_NS = 1_000_000_000
_T = TypeVar("_T")

_BLIND: dict[EndReason, BlindReason] = {
    EndReason.CLOSED: BlindReason.SOCKET_CLOSED,
    EndReason.FRAME_ERROR: BlindReason.TAB_FROZEN,
    EndReason.NAVIGATED: BlindReason.NAVIGATED,
    EndReason.RELOADED: BlindReason.RELOADED,
    EndReason.TAB_CLOSED: BlindReason.TAB_CLOSED,
    EndReason.CRASHED: BlindReason.TAB_CRASHED,
    EndReason.DETACHED: BlindReason.TAB_CLOSED,
    EndReason.BROWSER_GONE: BlindReason.CHROME_GONE,
}


class ChromeState(enum.StrEnum):
    """Whether there is a browser, as ``status`` says it."""

    ABSENT = "not reachable"
    ATTACHED = "attached"
    SILENT = "attached, not answering"


class Published(msgspec.Struct, frozen=True):
    """What listeners are told after it was committed and published."""

    batches: tuple[CandleBatch, ...]
    revisions: tuple[CandleRevision, ...]
    gaps: tuple[Gap, ...]
    ticks: tuple[Tick, ...]


class Listener(Protocol):
    """Told on the pipeline's thread, in order: hand over to a queue of your own and return."""

    def published(self, news: Published) -> None: ...

    def forming(self, key: StreamKey, candle: Candle) -> None: ...

    def chrome_changed(self, state: ChromeState, reason: str) -> None: ...


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
        server: WireServer,
        key_of: Callable[[str], StreamKey],
        is_platform_url: Callable[[str], bool],
        *,
        listeners: Sequence[Listener] = (),
        wall_ns: Callable[[], int] = time.time_ns,
        mono_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._market = market
        self._server = server
        self._key_of = key_of
        self._is_platform_url = is_platform_url
        self._listeners = list(listeners)
        self._wall_ns = wall_ns
        self._mono_ns = mono_ns
        self._queue: queue.Queue[Any] = queue.Queue(QUEUE_MAX)
        self._thread = threading.Thread(target=self._run, name="fluxcap-pipeline", daemon=True)
        self._stopping = False
        self._connection: Connection | None = None
        self._connection_number = 0
        self._session: CdpSession | None = None
        self._browser = ""
        self._chrome = ChromeState.ABSENT
        self._chrome_reason = "not tried yet"
        self._messages = 0
        self._commits = 0
        self._store_trouble = ""
        self._store_retry_ns = 0
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
        """Let what is queued be handled, then end. Seals nothing early."""
        if self._thread.is_alive():
            self._queue.put(None)
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

    def ask(self, work: Callable[[], _T], timeout_s: float = 5.0) -> _T:
        """Run ``work`` on the pipeline's thread; its result, or its error. Raises TimeoutError when it is late."""
        call = _Call(work, Future())
        self._queue.put(call, timeout=timeout_s)
        return call.answer.result(timeout_s)  # type: ignore[no-any-return]

    def attach(self, websocket_url: str, browser: str) -> None:
        """Connect to a browser, from any thread but the pipeline's. Raises BrowserGone."""
        self._connection_number += 1
        number = self._connection_number
        opened = threading.Event()

        def on_message(data: bytes, stamp: Stamp) -> None:
            opened.wait()
            self._queue.put(_FromBrowser(number, data, stamp))

        def on_end(reason: str) -> None:
            opened.wait()
            self._queue.put(_BrowserEnded(number, reason))

        connection = Connection(
            websocket_url,
            on_message,
            on_end,
            lambda stamp: self._queue.put(_BrowserIdle(number, stamp)),
        )
        try:
            self.ask(lambda: self._attached(connection, number, browser))
        finally:
            opened.set()

    def chrome_absent(self, reason: str) -> None:
        """The probe found no browser; ``reason`` is its sentence."""
        self._queue.put(_Call(lambda: self._set_chrome(ChromeState.ABSENT, reason), Future()))

    def view(self) -> PipelineView:
        """A snapshot, taken on the pipeline's thread."""
        return self.ask(self._view)

    # --- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping:
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
        self._flush()

    def _from_browser(self, message: _FromBrowser) -> None:
        session = self._session
        if session is None or message.connection != self._connection_number:
            return
        self._messages += 1
        for event in session.receive(message.data, message.stamp):
            if type(event) is FrameReceived:
                stamp = event.stamp
                self._market.received(event.socket, event.opcode, event.payload, _arrival(stamp), stamp.drained)
            else:
                self._on_event(event, message.stamp)
        self._send(session)
        if message.stamp.drained:
            self._pass_time(message.stamp)

    def _on_event(self, event: ChromeEvent, stamp: Stamp) -> None:
        if isinstance(event, FrameSent):
            self._market.sent(event.socket, event.opcode, event.payload, _arrival(event.stamp))
        elif isinstance(event, SocketOpened):
            self._market.socket_opened(event.socket, event.url)
        elif isinstance(event, SocketClosed):
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
        self._market.pass_time(_arrival(stamp))
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
            self._market.pass_time(_arrival(self._stamp()))
            self._flush()

    def _regularly(self) -> None:
        now_ns = self._mono_ns()
        if now_ns >= self._next_forming_ns:
            self._next_forming_ns = now_ns + FORMING_NS
            self._publish_forming(now_ns)
        if now_ns >= self._next_heartbeat_ns:
            self._next_heartbeat_ns = now_ns + HEARTBEAT_NS
            self._heartbeat()

    def _flush(self) -> None:
        """Commit and publish what the market has decided."""
        if self._store_trouble and self._mono_ns() < self._store_retry_ns:
            return
        outcome = self._market.take()
        if not outcome:
            return
        try:
            news = self._commit(outcome)
        except StoreFull as error:
            self._market.give_back(outcome)
            self._store_retry_ns = self._mono_ns() + STORE_RETRY_NS
            if not self._store_trouble:
                log.warn("store full", reason=str(error))
            self._store_trouble = str(error)
            return
        if self._store_trouble:
            log.event("store has space again")
            self._store_trouble = ""
        for listener in self._listeners:
            listener.published(news)

    def _commit(self, outcome: Outcome) -> Published:
        sealed = {self._key_of(symbol): candles for symbol, candles in outcome.sealed.items()}
        gaps = tuple(
            Gap(self._key_of(news.symbol).source_id, news.symbol, news.from_ms, news.to_ms, news.reason.value)
            for news in outcome.gaps
        )
        batches: Sequence[CandleBatch] = ()
        revisions: Sequence[CandleRevision] = ()
        if sealed:
            batches = self._server.publish(sealed)
            self._commits += 1
            outcome.sealed = {}
        if outcome.revised:
            revisions = self._revise(outcome)
            outcome.revised = {}
        if gaps:
            self._server.record_gaps(gaps)
            outcome.gaps = []
        return Published(tuple(batches), tuple(revisions), gaps, tuple(outcome.ticks))

    def _revise(self, outcome: Outcome) -> Sequence[CandleRevision]:
        """A bucket completed before anything newer was published is simply the next candle, not a revision."""
        better: dict[StreamKey, list[Candle]] = {}
        for symbol, revisions in outcome.revised.items():
            key = self._key_of(symbol)
            for revision in revisions:
                if not revision.published and revision.candle.ts_ms > self._server.watermark(key).latest_ts_ms:
                    self._server.publish({key: [revision.candle]})
                else:
                    better.setdefault(key, []).append(revision.candle)
        return self._server.revise(better)

    def _publish_forming(self, now_ns: int) -> None:
        for symbol, candle in self._market.forming().items():
            key = self._key_of(symbol)
            self._server.forming(key, candle, now_ns)
            for listener in self._listeners:
                listener.forming(key, candle)

    def _heartbeat(self) -> None:
        for symbol in self._market.focused_symbols():
            try:
                self._server.ensure_stream(self._key_of(symbol))
            except StoreFull as error:
                self._store_trouble = str(error)
        self._server.heartbeat(self._wall_ns() // 1_000_000, self._feed_info)

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

    def _attached(self, connection: Connection, number: int, browser: str) -> None:
        self._connection = connection
        self._session = CdpSession(self._is_platform_url)
        self._browser = browser
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
        if message.connection != self._connection_number or self._connection is None:
            return
        stamp = self._stamp()
        if self._session is not None:
            for event in self._session.browser_gone():
                self._on_event(event, stamp)
        self._connection = self._session = None
        self._set_chrome(ChromeState.ABSENT, f"The connection to Chrome ended: {message.reason}.")

    def _set_chrome(self, state: ChromeState, reason: str) -> None:
        if state is ChromeState.ABSENT and self._connection is not None:
            return
        if state is not self._chrome or (reason and not self._chrome_reason):
            level = logging.INFO if state is ChromeState.ATTACHED else logging.WARNING
            fields = {"reason": reason} if reason else {"browser": self._browser}
            log.event(f"chrome {state.value}", level=level, **fields)
            for listener in self._listeners:
                listener.chrome_changed(state, reason)
        self._chrome, self._chrome_reason = state, reason

    # --- the rest -------------------------------------------------------------------------------------------------

    def _call(self, call: _Call) -> None:
        if not call.answer.set_running_or_notify_cancel():
            return
        try:
            call.answer.set_result(call.work())
        except Exception as error:
            call.answer.set_exception(error)

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
            commits=self._commits,
            store_trouble=self._store_trouble,
        )

    def _stamp(self) -> Stamp:
        return Stamp(self._wall_ns(), self._mono_ns(), True)

    def _end(self) -> None:
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
