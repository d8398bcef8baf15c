"""The single writer: one thread that owns the browser session, the market, the store's connection and the PUB socket.

In: messages on one bounded queue, from the reader thread, the scheduler and the control server. Out: candles, committed
and then published (publish.py). Nobody else touches the state, so no lock guards it. Time enters with the messages:
a candle is never sealed by time while messages that came before that time are still waiting.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

import msgspec

from fluxcap.bridge.server.server import FeedInfo
from fluxcap.capture.chrome.connection import Connection
from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.capture.chrome.session import SessionSnapshot
from fluxcap.capture.chrome.share import SharedBrowser
from fluxcap.capture.market.clock import ClockEvent, PlatformClock, Trust
from fluxcap.capture.market.focus import Focus, FocusSnapshot
from fluxcap.capture.market.market import Market, MarketSnapshot
from fluxcap.capture.pipeline.browser import BrowserFeed, CdpTransport
from fluxcap.capture.pipeline.journal import TickJournal
from fluxcap.capture.pipeline.listeners import ChromeState, Listener, ListenerGroup
from fluxcap.capture.pipeline.publish import PublishStage, WireOutput
from fluxcap.capture.platforms.base import PlatformHints
from fluxcap.capture.recording.recorder import Recorder
from fluxcap.capture.runtime import log
from fluxcap.schemas.errors import NotAnswering
from fluxcap.schemas.types import Candle, FeedState, StreamKey, StreamStatus

QUEUE_MAX = 200_000
ROOM_POLL_S = 0.005
HEARTBEAT_NS = 1_000_000_000
FORMING_NS = 200_000_000
DRAIN_NS = 1_000_000_000
"""How long ``stop`` lets queued messages be handled; what then still waits is as if it had not arrived."""
CALL_TIMEOUT_S = 5.0
_T = TypeVar("_T")

Connect = Callable[
    [str, Callable[[bytes, ArrivalTime], None], Callable[[str], None], Callable[[ArrivalTime], None]], CdpTransport
]
"""Opens a browser connection: address, on_message, on_end, on_idle; as ``Connection``."""


_CLOCK_EVENTS: dict[ClockEvent, Callable[..., None]] = {
    ClockEvent.SETTLED: lambda **fields: log.event("clock.settled", **fields),
    ClockEvent.CORRECTED: lambda **fields: log.warn("clock.corrected", **fields),
    ClockEvent.IN_QUESTION: lambda **fields: log.warn("clock.in_question", **fields),
    ClockEvent.WALL_WRONG: lambda **fields: log.warn("clock.computer_wrong", **fields),
    ClockEvent.WALL_RIGHT: lambda **fields: log.event("clock.computer_right", **fields),
    ClockEvent.WALL_STEPPED: lambda **fields: log.warn("clock.computer_stepped", **fields),
    ClockEvent.STORE_AHEAD: lambda **fields: log.warn("clock.store_ahead", **fields),
}


class PipelineView(msgspec.Struct, frozen=True):
    """All that ``status`` shows, as of one instant."""

    chrome: ChromeState
    chrome_reason: str
    browser: str
    session: SessionSnapshot | None
    market: MarketSnapshot
    streams: tuple[StreamStatus, ...]
    queue_depth: int
    messages: int
    commits: int
    store_error: str
    forming: dict[str, Candle] = {}
    """The candle under way of each asset in focus."""
    derived: tuple[StreamStatus, ...] = ()
    """The streams of longer intervals, made of ``streams``."""


class _FromBrowser(msgspec.Struct, gc=False):
    connection: int
    data: bytes
    stamp: ArrivalTime


class _BrowserIdle(msgspec.Struct):
    connection: int
    stamp: ArrivalTime


class _BrowserEnded(msgspec.Struct):
    connection: int
    reason: str


class _Task(msgspec.Struct):
    work: Callable[[], Any]
    answer: Future[Any]


class _MessageQueue(queue.SimpleQueue[Any]):
    """A queue with an end to it, which costs half of what ``queue.Queue`` does. May hold one more for each thread."""

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def full(self) -> bool:
        return self.qsize() >= self._limit

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """As ``queue.Queue.put``; hardly ever waits, so it looks again and again then."""
        until_s = None if timeout is None else time.monotonic() + timeout
        while self.full():
            if not block or (until_s is not None and time.monotonic() >= until_s):
                raise queue.Full
            time.sleep(ROOM_POLL_S)
        super().put(item)


class Pipeline:
    """See the module. ``start`` runs the thread; ``call`` runs a piece of work on it and returns its result.

    ``shared_browser``: the way for guests onto the browser connection in use; what is a guest's never comes here.
    """

    def __init__(
        self,
        market: Market,
        server: WireOutput,
        key_of: Callable[[str], StreamKey],
        is_platform_url: Callable[[str], bool],
        *,
        listeners: Sequence[Listener] = (),
        connect: Connect = Connection,
        journal: TickJournal | None = None,
        recorder: Recorder | None = None,
        keep_offset: Callable[[int], None] = lambda offset_ms: None,
        keep: Callable[[], None] = lambda: None,
        hints: PlatformHints | None = None,
        is_derived: Callable[[StreamKey], bool] = lambda key: False,
        wall_ns: Callable[[], int] = time.time_ns,
        mono_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._keep_offset = keep_offset
        self._is_derived = is_derived
        self._market = market
        self._server = server
        self._key_of = key_of
        self._listeners = ListenerGroup(listeners)
        self._publishing = PublishStage(market, server, key_of, self._listeners, mono_ns, journal)
        self._recorder = recorder
        self._keep = keep
        self._browser = BrowserFeed(
            market, is_platform_url, self._listeners, recorder, self._stamp, hints or PlatformHints()
        )
        self._connect = connect
        self.shared_browser = SharedBrowser()
        self._wall_ns = wall_ns
        self._mono_ns = mono_ns
        self._queue = _MessageQueue(QUEUE_MAX)
        self._thread = threading.Thread(target=self._run, name="fluxcap-pipeline", daemon=True)
        self._stopping = False
        self._drain_by_ns = 0
        self._ended = False
        self._connection_numbers = itertools.count(1)
        self._next_heartbeat_ns = 0
        self._next_forming_ns = 0
        self._failure: BaseException | None = None

    # --- from other threads ---------------------------------------------------------------------------------------

    def add_listener(self, listener: Listener) -> None:
        """Add one more. Before ``start``."""
        self._listeners.add(listener)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Let what is queued be handled, for a second at most, then end. Seals nothing early."""
        if not self._thread.is_alive():
            return
        self._drain_by_ns = self._mono_ns() + DRAIN_NS
        self._post(None)
        self._thread.join(timeout_s)

    @property
    def failure(self) -> BaseException | None:
        """The error that ended the thread, None otherwise."""
        return self._failure

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def attached(self) -> bool:
        """Return whether a browser connection is in use."""
        return self._browser.attached

    @property
    def chrome(self) -> ChromeState:
        """The state of the connection to Chrome."""
        return self._browser.state

    def call(self, work: Callable[[], _T], timeout_s: float = CALL_TIMEOUT_S) -> _T:
        """Run ``work`` on the pipeline's thread; its result, or its error.

        Raises NotAnswering when it is late, and then ``work`` will not begin any more, or when the pipeline has ended.
        """
        call = _Task(work, Future())
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

    def focus(self) -> FocusSnapshot:
        """The focus as it is now. Raises NotAnswering, as all of these."""
        return self.call(self._market.focus_snapshot)

    def set_focus(self, focus: Focus) -> FocusSnapshot:
        """Take a focus of the user's. Raises UnknownAsset; then nothing has changed."""
        return self.call(lambda: self._record_focus(self._market.set_focus(focus)))

    def trust_clock(self, word: Trust) -> MarketSnapshot:
        """Let the user decide between this computer's clock and earlier runs. Raises ConfigError, NotAnswering."""

        def trust() -> MarketSnapshot:
            stamp = self._stamp()
            if self._recorder is not None:
                self._recorder.trust(word, stamp)
            self._market.trust_clock(word, stamp)
            return self._market.view(stamp)

        return self.call(trust)

    def reload_pages(self) -> int:
        """Reload the platform's pages in the browser; returns how many. Raises BrowserGone, NotAnswering."""
        return self.call(self._browser.reload_pages)

    def acquire_lease(self, holder: str, asset: str, seconds: float | None = None) -> tuple[str, FocusSnapshot]:
        """Let ``holder`` look at an asset beside the user's focus: the asset's symbol, and the focus in force.

        The lease ends after so many seconds unless it is taken again; None for never. Raises UnknownAsset; then nothing
        has changed.
        """

        def acquire() -> tuple[str, FocusSnapshot]:
            until_ms = None if seconds is None else self._mono_ns() // 1_000_000 + int(seconds * 1_000)
            symbol, changed = self._market.acquire_lease(holder, asset, until_ms)
            return symbol, self._record_focus(changed)

        return self.call(acquire)

    def release_lease(self, holder: str) -> FocusSnapshot:
        """End the lease of ``holder``, if it has one."""
        return self.call(lambda: self._record_focus(self._market.release_lease(holder)))

    def expire_leases(self) -> None:
        """End the leases whose time is over."""
        self.call(lambda: self._record_focus(self._market.expire_leases(self._mono_ns() // 1_000_000)))

    def attach(self, websocket_url: str, browser: str, connect: Connect | None = None) -> None:
        """Connect to a browser, from any thread but the pipeline's, in another way than usual if one is given.

        Raises BrowserGone, NotAnswering, and what ``connect`` raises.
        """
        number = next(self._connection_numbers)
        take = self.shared_browser.take
        attached = threading.Event()  # before it, nothing that the connection says may overtake ``_attached``

        def on_message(data: bytes, stamp: ArrivalTime) -> None:
            attached.wait()
            if not take(data):
                self._post(_FromBrowser(number, data, stamp))

        def on_end(reason: str) -> None:
            attached.wait()
            self.shared_browser.ended()
            self._post(_BrowserEnded(number, reason))

        connection = (connect or self._connect)(
            websocket_url, on_message, on_end, lambda stamp: self._post(_BrowserIdle(number, stamp))
        )
        try:
            self.call(lambda: self._browser.attach(connection, number, browser))
        except BaseException:
            attached.set()
            connection.close()
            raise
        self.shared_browser.opened(connection.send)
        attached.set()

    def on_chrome_unavailable(self, reason: str) -> None:
        """The probe found no browser; ``reason`` is its sentence."""
        self._post(_Task(lambda: self._browser.set_unavailable(reason), Future()))

    def on_waiting_for_consent(self, reason: str) -> None:
        """A browser waits for its user's consent; ``reason`` says what to click."""
        self._post(_Task(lambda: self._browser.set_waiting_for_consent(reason), Future()))

    def view(self) -> PipelineView:
        """A snapshot, taken on the pipeline's thread."""
        return self.call(self._view)

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
            while not (self._stopping or (self._drain_by_ns and self._mono_ns() > self._drain_by_ns)):
                try:
                    message = self._queue.get(timeout=0.1)
                except queue.Empty:
                    self._on_queue_empty()
                else:
                    self._handle(message)
                if self._market.clock.events:
                    self._on_clock_events(self._market.clock)
                self._run_timers()
        except BaseException as error:
            self._failure = error
            log.LOGGER.critical("pipeline.crashed", exc_info=error)
        finally:
            self._end()

    def _handle(self, message: Any) -> None:
        if type(message) is _FromBrowser:
            self._browser.receive(message.connection, message.data, message.stamp)
        elif type(message) is _BrowserIdle:
            self._browser.idle(message.connection, message.stamp)
        elif type(message) is _BrowserEnded:
            self._browser.ended(message.connection, message.reason)
        elif type(message) is _Task:
            self._call(message)
        else:
            self._stopping = True
        self._publishing.flush(self._market.pending)

    def _on_queue_empty(self) -> None:
        """Nothing is queued. With a browser attached its reader tells the time; without one, this does."""
        if not self._browser.attached:
            self._browser.advance_time(self._stamp())
            self._publishing.flush(self._market.pending)

    def _run_timers(self) -> None:
        now_ns = self._mono_ns()
        if now_ns >= self._next_forming_ns:
            self._next_forming_ns = now_ns + FORMING_NS
            self._publishing.forming(now_ns)
        if now_ns >= self._next_heartbeat_ns:
            self._next_heartbeat_ns = now_ns + HEARTBEAT_NS
            self._publishing.heartbeat(self._wall_ns() // 1_000_000, self._feed_info)
            self._keep()

    def _feed_info(self, key: StreamKey) -> FeedInfo:
        if key != self._key_of(key.symbol) and not self._is_derived(key):
            return FeedInfo()  # collected candles, or those of another source: nothing feeds them now
        offset_ms = self._market.clock.offset_ms or 0
        last_ms = self._market.last_tick_ts_ms(key.symbol)
        state = self._market.feed_state(key.symbol)
        if not self._browser.state.connected and state is not FeedState.NOT_IN_FOCUS:
            waiting = self._browser.state is ChromeState.WAITING_FOR_CONSENT
            state = FeedState.WAITING_FOR_CONSENT if waiting else FeedState.NO_BROWSER
        if state is FeedState.LIVE and self._browser.state is ChromeState.SILENT:
            state = FeedState.STALLED
        return FeedInfo(state, last_ms, offset_ms)

    def _on_clock_events(self, clock: PlatformClock) -> None:
        """Log what became of the clock, and keep its offset for the next start."""
        events, clock.events = clock.events, []
        for kind, fields in events:
            _CLOCK_EVENTS[kind](**fields)
        if clock.offset_ms is not None:
            self._keep_offset(clock.offset_ms)

    # --- the rest -------------------------------------------------------------------------------------------------

    def _call(self, call: _Task) -> None:
        if not call.answer.set_running_or_notify_cancel():
            return
        try:
            call.answer.set_result(call.work())
        except Exception as error:
            call.answer.set_exception(error)

    def _record_focus(self, changed: bool) -> FocusSnapshot:
        """Tell the recorder of a new focus; returns the one in force."""
        if changed and self._recorder is not None:
            self._recorder.focus(self._market.focus, self._stamp())
        return self._market.focus_snapshot()

    def _view(self) -> PipelineView:
        streams = tuple(self._server.status().values())
        return PipelineView(
            chrome=self._browser.state,
            chrome_reason=self._browser.reason,
            browser=self._browser.product,
            session=self._browser.snapshot(),
            market=self._market.view(self._stamp()),
            streams=tuple(stream for stream in streams if not self._is_derived(stream.key)),
            queue_depth=self._queue.qsize(),
            messages=self._browser.messages,
            commits=self._publishing.commits,
            store_error=self._publishing.store_error,
            forming=self._market.forming(),
            derived=tuple(stream for stream in streams if self._is_derived(stream.key)),
        )

    def _stamp(self) -> ArrivalTime:
        return ArrivalTime(self._wall_ns(), self._mono_ns(), True)

    def _end(self) -> None:
        self._ended = True
        self._browser.close()
        while True:  # nobody may wait for an answer that never comes
            try:
                message = self._queue.get_nowait()
            except queue.Empty:
                return
            if isinstance(message, _Task):
                message.answer.cancel()
