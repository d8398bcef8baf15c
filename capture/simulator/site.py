"""The simulated trading site, put together: market, server, page, truth.

In process::

    with SimulatedSite(SiteConfig(assets=("EURUSD_otc",), truth_path=Path("truth.jsonl"))) as site:
        browser.get(site.url)
        site.inject(Fault.SILENCE, seconds=5)

The site runs on a thread of its own with its own asyncio loop; ``run_site`` runs it in the foreground instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import SplitResult

from fluxcap.bridge.system.ports import listening_socket
from fluxcap.bridge.system.signals import catch_stop_signals
from fluxcap.capture.simulator.config import SiteConfig
from fluxcap.capture.simulator.market.exchange import Exchange
from fluxcap.capture.simulator.server.connection import Routes, SiteConnection
from fluxcap.capture.simulator.server.faults import Fault, FaultController, FaultRequest
from fluxcap.capture.simulator.server.outlet import FlowControl, FrameWriter
from fluxcap.capture.simulator.server.routes import SiteRoutes
from fluxcap.capture.simulator.server.sessions import (
    CabinetSession,
    ChatSession,
    EngineSession,
    MarketSession,
    SessionRegistry,
)
from fluxcap.capture.simulator.truth import TruthLog, TruthTick
from fluxcap.schemas.errors import AlreadyRunning, ConfigError

_LONGEST_NAP_S = 0.05
_SHORTEST_NAP_S = 0.001
_PAST_BLOCK_MS = 60_000
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 10.0

T = TypeVar("T")


class _RunningSite:
    """One run of a site on the current loop, from listening to the last line of the truth."""

    def __init__(self, config: SiteConfig, exchange: Exchange | None, *, continue_truth: bool) -> None:
        self.config = config
        start_ms = _now_ms()
        append = continue_truth or config.truth_append
        self.truth = TruthLog(config.truth_path, append=append)
        if exchange is None:
            exchange = Exchange(config, start_ms)
        else:
            exchange.restart(start_ms)
        self.exchange = exchange
        self.hub = SessionRegistry(config, exchange, self.truth, _now_ms)
        self.faults = FaultController(self.hub)
        self.web = SiteRoutes(self.hub, self.faults)
        self._connections: set[SiteConnection] = set()
        self._write_past(start_ms)

    def _write_past(self, start_ms: int) -> None:
        """The market before the start: the pre-roll, or the hole since the file that is continued ended."""
        from_ms = start_ms - round(self.config.pre_roll_s * 1000)
        if self.truth.last_ts_ms is not None:
            from_ms = self.truth.last_ts_ms + 1
        if self.truth.path is not None:
            for begin_ms in range(from_ms, start_ms, _PAST_BLOCK_MS):
                past = self.exchange.past(begin_ms, min(begin_ms + _PAST_BLOCK_MS, start_ms))
                self.truth.ticks(TruthTick(t.symbol, t.raw_ts_ms, t.ts_ms, t.price, 0) for t in past)
        self.truth.event(
            "site_started",
            start_ms,
            assets=list(self.config.assets),
            seed=self.config.seed,
            rate_hz=self.config.rate_hz,
        )

    async def serve(self, listener: socket.socket, stopping: asyncio.Event) -> None:
        """Serve until ``stopping`` is set."""
        routes = Routes(http=self.web.answer, valve=self._valve, session=self._session, date=self._date)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: SiteConnection(routes, self._connections), sock=listener)
        feeding = asyncio.create_task(self._feed())
        try:
            waiting = asyncio.create_task(stopping.wait())
            done, _ = await asyncio.wait({feeding, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if feeding in done:
                feeding.result()
        finally:
            feeding.cancel()
            self.faults.end_all()
            server.close()
            for connection in list(self._connections):
                connection.abort()
            await asyncio.sleep(0)  # lets connection_lost be called, which ends the timers
            self._write_end()

    async def _feed(self) -> None:
        while True:
            now_ms = time.time() * 1000
            ready = self.exchange.due(now_ms)
            if ready:
                self.hub.deliver(ready)
            due_ms = self.exchange.next_due_ms()
            nap_s = _LONGEST_NAP_S if due_ms is None else due_ms / 1000 - time.time()
            await asyncio.sleep(min(_LONGEST_NAP_S, max(_SHORTEST_NAP_S, nap_s)))

    def _write_end(self) -> None:
        now_ms = _now_ms()
        rest = self.exchange.undelivered(now_ms)
        self.truth.ticks(TruthTick(t.symbol, t.raw_ts_ms, t.ts_ms, t.price, 0) for t in rest)
        self.truth.event("site_stopped", now_ms)
        self.truth.close()

    def _date(self) -> str | None:
        off_s = self.hub.date_off_s
        return None if off_s is None else email.utils.formatdate(time.time() + off_s, usegmt=True)

    def _valve(self, url: SplitResult) -> FlowControl | None:
        kind = _session_kind(url)
        if kind is None or (kind is MarketSession and self.hub.refusing):
            return None
        return self.hub.market_valve if kind is MarketSession else self.hub.other_valve

    def _session(self, url: SplitResult, outlet: FrameWriter, close: Callable[[int], None]) -> EngineSession:
        kind = _session_kind(url) or MarketSession
        return kind(self.hub, outlet, close)


class SimulatedSite:
    """A site on a thread of its own. ``start`` returns when it listens; ``stop`` when its thread has ended.

    Stopped and started again it keeps its port, its market and its truth file, as a real site would that was down.
    """

    def __init__(self, config: SiteConfig | None = None) -> None:
        self.config = config or SiteConfig()
        self.port = self.config.port
        self._exchange: Exchange | None = None
        self._running: _RunningSite | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The page."""
        return f"http://{self.config.host}:{self.port}/"

    @property
    def truth_path(self) -> Path:
        """The ground truth. Raises ConfigError if none is kept."""
        if self.config.truth_path is None:
            raise ConfigError("This site keeps no truth: give it a truth_path.")
        return self.config.truth_path

    def start(self) -> None:
        """Listen and begin the market. Raises AlreadyRunning if the port is taken, ConfigError for the truth file."""
        if self._thread is not None:
            return
        listener = _listen(self.config.host, self.port)
        self.port = listener.getsockname()[1]
        listening: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(listener, listening), name="simulated-site", daemon=True
        )
        self._thread.start()
        try:
            listening.result(_START_TIMEOUT_S)
        except BaseException:
            self._thread = None
            raise

    def stop(self) -> None:
        """Close everything. Safe to call twice."""
        if self._thread is None or self._loop is None or self._stopping is None:
            return
        with contextlib.suppress(RuntimeError):  # it has just ended by itself
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_STOP_TIMEOUT_S)
        self._thread = self._running = None

    def inject(self, fault: Fault, **settings: Any) -> None:
        """Begin a fault, see FaultRequest for its settings; returns when it is in force. Raises ConfigError."""
        order = FaultRequest(fault, **settings)
        self._on_loop(lambda running: running.faults.begin(order))

    def end(self, fault: Fault | None = None) -> None:
        """End a fault, or all of them; returns when all is well again."""
        if fault is None:
            self._on_loop(lambda running: running.faults.end_all())
        else:
            self._on_loop(lambda running: running.faults.end(fault))

    def state(self) -> dict[str, Any]:
        """As ``GET /control/state``."""
        return self._on_loop(lambda running: running.web.state())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _on_loop(self, call: Callable[[_RunningSite], T]) -> T:
        running, loop = self._running, self._loop
        if running is None or loop is None:
            raise ConfigError("The site is not running: start it first.")

        async def on_loop() -> T:
            return call(running)

        return asyncio.run_coroutine_threadsafe(on_loop(), loop).result(_START_TIMEOUT_S)

    def _run(self, listener: socket.socket, listening: Future[None]) -> None:
        try:
            asyncio.run(self._serve(listener, listening))
        except BaseException as error:
            if listening.done():
                raise
            listener.close()
            listening.set_exception(error)

    async def _serve(self, listener: socket.socket, listening: Future[None]) -> None:
        running = _RunningSite(self.config, self._exchange, continue_truth=self._exchange is not None)
        self._exchange, self._running = running.exchange, running
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._loop.call_soon(listening.set_result, None)
        await running.serve(listener, self._stopping)


def run_site(config: SiteConfig, on_ready: Callable[[str], None]) -> None:
    """Run a site in the foreground until a signal asks to leave. ``on_ready(url)`` is called when it listens.

    Call it on the main thread. Raises AlreadyRunning if the port is taken, ConfigError for the truth file.
    """
    listener = _listen(config.host, config.port)
    url = f"http://{config.host}:{listener.getsockname()[1]}/"

    async def serve() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        with catch_stop_signals(lambda: loop.call_soon_threadsafe(stopping.set)):
            running = _RunningSite(config, None, continue_truth=False)
            loop.call_soon(on_ready, url)
            await running.serve(listener, stopping)

    with contextlib.closing(listener):
        asyncio.run(serve())


def _listen(host: str, port: int) -> socket.socket:
    try:
        return listening_socket(host, port)
    except OSError as error:
        raise AlreadyRunning(
            f"The simulated site cannot listen on {host}:{port} ({error.strerror}); choose another port."
        ) from error


def _session_kind(url: SplitResult) -> type[EngineSession] | None:
    return {
        "/socket.io/": MarketSession,
        "/chat/socket.io/": ChatSession,
        "/cabinet/socket.io/": CabinetSession,
    }.get(url.path)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
