"""The Socket.IO API: candles of an asset a client, pushed to any number of clients. Runs on the web's event loop.

Each client has its own asset; the daemon's focus is the user's together with what the clients look at
(capture/market/focus.py). A client that leaves gives its asset back and touches nobody else. Pushes depend on nothing
but the client's own ``start_stream``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import socketio
from fastapi import FastAPI

from fluxcap.capture.api import payloads
from fluxcap.capture.api.relay import CandleEvent, ChromeEvent, EventRelay
from fluxcap.capture.api.routes import csv_files_router
from fluxcap.capture.market.focus import canonical_key
from fluxcap.capture.pipeline.listeners import ChromeState
from fluxcap.capture.runtime import log
from fluxcap.schemas.errors import FluxcapError, NotAnswering, UnknownAsset
from fluxcap.schemas.types import Candle, FeedState, StreamKey, StreamStatus

FEED_POLL_S = 1.0
FEED_DOWN_POLLS = 5
"""A feed that is not live for so many looks in a row is reported to who streams it, once."""

FEED_REASONS = {
    FeedState.NO_SOCKET: "Chrome is running, but no trading page is connected; open or reload it.",
    FeedState.UNSYNCHRONISED: "Ticks arrive, but the platform's clock is not known yet; this takes a few seconds.",
    FeedState.CLOCK_IN_QUESTION: "The clock is in question; `fluxcap status` says why, and what to do.",
    FeedState.STALLED: "The trading page's connection has gone silent; reload the page.",
    FeedState.UNSUBSCRIBED: "The trading page shows other assets, and the platform sends only what it shows.",
    FeedState.LOGGED_OUT: "The trading page is logged out of the platform; log in there.",
    FeedState.WAITING_FOR_CONSENT: "Chrome asks whether fluxcap may attach to it; click Allow in its dialog.",
    FeedState.CLOCK_IN_QUESTION: "This computer's clock and the platform's contradict each other; set the clock.",
}


class StreamBackend(Protocol):
    """The daemon as the API needs it. All methods except properties block and may raise FluxcapError."""

    @property
    def interval(self) -> str: ...

    def acquire_asset(self, client: str, asset: str) -> str:
        """The client looks at an asset, as it is typed; returns its symbol. Raises UnknownAsset."""

    def check_asset(self, asset: str) -> str | None:
        """The platform's symbol of it; None while it is unknown. Raises UnknownAsset."""

    def release_asset(self, client: str) -> None: ...

    def detected_asset(self) -> str | None:
        """The asset that the page shows."""

    def history(self, symbol: str) -> tuple[Sequence[Candle], str]:
        """Candles up to now, oldest first, and where they are from."""

    def feeds(self) -> Mapping[StreamKey, StreamStatus]:
        """The streams; does not block."""


class _Client(msgspec.Struct):
    """One client and what it streams."""

    symbol: str = ""
    pending: list[CandleEvent] | None = None
    """News that wait until the history has been sent; None: send at once."""
    polls_down: int = 0
    is_checked: bool = False
    """The platform has the asset. Until it tells its assets, any is let stand."""

    def wants(self, symbol: str) -> bool:
        return bool(self.symbol) and (symbol == self.symbol or canonical_key(symbol) == canonical_key(self.symbol))


class SocketIoApi:
    """See the module. ``app`` is to be mounted at ``/socket.io``."""

    def __init__(self, source: StreamBackend, relay: EventRelay, now_ms: Callable[[], int] | None = None) -> None:
        self._source = source
        self._relay = relay
        self._now_ms = now_ms or (lambda: time.time_ns() // 1_000_000)
        # Origins are checked before anything reaches us. Handlers of one client run in the order of its messages.
        self._sio = socketio.AsyncServer(
            async_mode="asgi",
            cors_allowed_origins=[],
            async_handlers=False,
            max_http_buffer_size=100_000,
            # Given none, both libraries put a handler of their own on stderr.
            logger=logging.getLogger("socketio"),
            engineio_logger=logging.getLogger("engineio"),
        )
        self.app = socketio.ASGIApp(self._sio)
        self._clients: dict[str, _Client] = {}
        self._tasks: list[asyncio.Task[None]] = []
        for name in ("start_stream", "stop_stream", "change_asset", "detect_asset"):
            self._sio.on(name, getattr(self, f"_on_{name}"))
        self._sio.on("connect", self._on_connect)
        self._sio.on("disconnect", self._on_disconnect)

    @property
    def clients(self) -> int:
        return len(self._clients)

    # --- what clients say -----------------------------------------------------------------------------------------

    async def _on_connect(self, sid: str, _environ: dict[str, Any], _auth: Any = None) -> None:
        if not self._tasks:
            self._begin()
        self._clients[sid] = _Client()
        await self._emit_status(sid)

    async def _on_disconnect(self, sid: str, _reason: str = "") -> None:
        client = self._clients.pop(sid, None)
        if client is not None and client.symbol:
            await self._release(sid)

    async def _on_start_stream(self, sid: str, data: Any = None) -> None:
        await self._stream(sid, data, "stream_started")

    async def _on_change_asset(self, sid: str, data: Any = None) -> None:
        await self._stream(sid, data, "asset_changed")

    async def _on_stop_stream(self, sid: str, _data: Any = None) -> None:
        client = self._clients.get(sid)
        if client is not None and client.symbol:
            client.symbol, client.pending = "", None
            await self._release(sid)
        await self._emit("stream_stopped", payloads.timestamped(self._now_ms()), sid)

    async def _on_detect_asset(self, sid: str, _data: Any = None) -> None:
        error = self._chrome_error()
        if not error:
            try:
                asset = await asyncio.to_thread(self._source.detected_asset)
            except FluxcapError as failure:
                asset, error = None, str(failure)
            if asset:
                await self._emit("asset_detected", payloads.timestamped(self._now_ms(), asset=asset), sid)
                return
        error = error or "The trading page has not shown its asset yet; click on one there."
        await self._emit("asset_detection_failed", payloads.timestamped(self._now_ms(), error=error), sid)

    async def _stream(self, sid: str, data: Any, answer: str) -> None:
        """Start, or go on with another asset; what streamed before goes on when that cannot be."""
        client = self._clients.get(sid)
        asset = payloads.requested_asset(data)
        error = self._chrome_error() or self._request_error(asset, data)
        if client is None or error:
            await self._error(sid, error)
            return
        try:
            symbol = await asyncio.to_thread(self._source.acquire_asset, sid, asset)
        except FluxcapError as failure:
            await self._error(sid, str(failure))
            return
        if sid not in self._clients:  # it left meanwhile
            await self._release(sid)
            return
        client.symbol, client.pending, client.polls_down, client.is_checked = symbol, [], 0, False
        await self._emit(answer, payloads.timestamped(self._now_ms(), asset=symbol), sid)
        await self._send_history(sid, client)

    async def _send_history(self, sid: str, client: _Client) -> None:
        """History first, and what happened while it was read after it: nothing is missed, nothing comes too early."""
        try:
            candles, source = await asyncio.to_thread(self._source.history, client.symbol)
            history = payloads.historical_candles(client.symbol, candles, source, self._now_ms())
            await self._emit("historical_candles_loaded", history, sid)
        except FluxcapError as failure:
            await self._error(sid, f"The history cannot be read: {failure}")
        held, client.pending = client.pending or [], None
        for event in held:
            await self._emit("candle_update", payloads.candle_update(event.symbol, event.candle), sid)

    def _request_error(self, asset: str, data: Any) -> str:
        if not asset:
            return 'Name an asset: {"asset": "EURUSD_otc"}.'
        if payloads.is_other_timeframe(data, self._source.interval):
            return f"Live candles are {self._source.interval} here; other timeframes are in the CSV files."
        return ""

    def _chrome_error(self) -> str:
        chrome = self._relay.chrome
        if chrome.state is ChromeState.ATTACHED:
            return ""
        return chrome.reason or "Chrome is not connected."

    async def _release(self, sid: str) -> None:
        try:
            await asyncio.to_thread(self._source.release_asset, sid)
        except FluxcapError as error:
            log.warn("web.lease_release_failed", reason=str(error))

    # --- what is pushed -------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """On the first connection, since only then the loop is known. The tasks end with the loop."""
        loop, ready = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(ready.set)

        self._relay.listen(wake)
        self._tasks = [loop.create_task(self._push(ready)), loop.create_task(self._watch_feeds())]

    async def _push(self, ready: asyncio.Event) -> None:
        while True:
            await ready.wait()
            ready.clear()
            for event in self._relay.drain():
                await self._guarded(self._tell(event))

    async def _tell(self, event: CandleEvent | ChromeEvent) -> None:
        if isinstance(event, ChromeEvent):
            await self._emit_chrome(event)
            return
        message: dict[str, Any] | None = None
        for sid, client in list(self._clients.items()):
            if not client.wants(event.symbol):
                continue
            if client.pending is not None:
                client.pending.append(event)
                continue
            message = message or payloads.candle_update(event.symbol, event.candle)
            await self._emit("candle_update", message, sid)

    async def _emit_chrome(self, event: ChromeEvent) -> None:
        is_attached = event.state is ChromeState.ATTACHED
        for sid, client in list(self._clients.items()):
            if is_attached:
                await self._emit("chrome_reconnected", payloads.timestamped(self._now_ms(), status="connected"), sid)
            elif client.symbol:
                await self._error(sid, event.reason or "Chrome is not connected.")
            await self._emit_status(sid)

    async def _watch_feeds(self) -> None:
        while True:
            await asyncio.sleep(FEED_POLL_S)
            if self._clients:
                await self._guarded(self._poll_feeds())

    async def _poll_feeds(self) -> None:
        states = {key.symbol: status.feed_state for key, status in self._source.feeds().items()}
        for sid, client in list(self._clients.items()):
            if client.symbol and not client.is_checked:
                await self._check_asset(sid, client)
            reason = FEED_REASONS.get(FeedState(states.get(client.symbol, 0)))
            client.polls_down = client.polls_down + 1 if client.symbol and reason else 0
            if reason and client.polls_down == FEED_DOWN_POLLS:
                await self._error(sid, reason)

    async def _check_asset(self, sid: str, client: _Client) -> None:
        """Stop a client whose asset, accepted before the platform sent its list, is not in it."""
        symbol = client.symbol
        try:
            known = await asyncio.to_thread(self._source.check_asset, symbol)
            if known is not None and client.symbol == symbol:
                client.symbol, client.is_checked = known, True
        except UnknownAsset as error:
            if client.symbol == symbol:
                client.symbol, client.pending = "", None
                await self._release(sid)
                await self._error(sid, str(error))
        except NotAnswering:
            return  # looked at again in a moment

    async def _guarded(self, work: Awaitable[None]) -> None:
        """One that fails must not end the pushing for all."""
        try:
            await work
        except Exception as error:
            log.LOGGER.error("web.push_failed", exc_info=error)

    async def _emit_status(self, sid: str) -> None:
        is_attached = self._relay.chrome.state is ChromeState.ATTACHED
        await self._emit("connection_status", payloads.connection_status(is_attached, self._now_ms()), sid)

    async def _error(self, sid: str, error: str) -> None:
        await self._emit("stream_error", payloads.timestamped(self._now_ms(), error=error), sid)

    async def _emit(self, event: str, message: dict[str, Any], sid: str) -> None:
        await self._sio.emit(event, message, to=sid)


def mount_socketio(app: FastAPI, source: StreamBackend, relay: EventRelay, data_dir: Path) -> SocketIoApi:
    """Routes of the CSV files, and Socket.IO at ``/socket.io``."""
    api = SocketIoApi(source, relay)
    app.include_router(csv_files_router(data_dir))
    app.mount("/socket.io", api.app)
    return api
