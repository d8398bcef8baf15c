"""The Socket.IO API: candles of an asset a client, pushed to any number of clients. Runs on the web's event loop.

Each client has its own asset; the daemon's focus is the user's together with what the clients look at. A client that
leaves gives its asset back and touches nobody else. Pushes depend on nothing but the client's own ``start_stream``.

Every event names the asset as its client typed it, since such programs compare names exactly, with the platform's
symbol beside it. A name that nothing tells yet is let stand; once it is understood, the client is told:
``asset_changed``, the history, then candles.
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
from fluxcap.capture.api.returning import FILE_NAME, ReturningClients
from fluxcap.capture.api.routes import csv_files_router
from fluxcap.capture.csvfiles.catalog import list_csv_files
from fluxcap.capture.csvfiles.received import keep_received, received_candles
from fluxcap.capture.pipeline.listeners import ChromeState
from fluxcap.capture.runtime import log
from fluxcap.schemas.errors import ConfigError, FluxcapError, NotAnswering, UnknownAsset
from fluxcap.schemas.types import Candle, FeedState, StreamKey, StreamStatus

MESSAGE_MAX_BYTES = 4_000_000
"""The candles of a CSV file come in one message."""
FEED_POLL_S = 1.0
FEED_DOWN_POLLS = 5
"""A feed that is not live for so many looks in a row is reported to who streams it, once."""

NOT_UNDERSTOOD = (
    "is not known yet: nothing ticks under that name, and the platform sends its assets when the trading page loads. "
    "Check the spelling, or reload the page."
)

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

    def acquire_asset(self, client: str, asset: str) -> str | None:
        """The client looks at an asset, as it is typed; returns its symbol, None while nothing tells it.

        Raises UnknownAsset.
        """

    def check_asset(self, asset: str) -> str | None:
        """The platform's symbol of it; None while that cannot be told. Raises UnknownAsset."""

    def release_asset(self, client: str) -> None: ...

    def detected_asset(self) -> str | None:
        """The asset that the page shows."""

    def history(self, symbol: str) -> tuple[Sequence[Candle], str]:
        """Candles up to now, oldest first, and where they are from."""

    def feeds(self) -> Mapping[StreamKey, StreamStatus]:
        """The streams; does not block."""


class _Client(msgspec.Struct):
    """One client and what it streams."""

    environ: Mapping[str, Any] = {}
    """Its handshake."""
    asset: str = ""
    """As it was typed; "" while nothing streams."""
    symbol: str = ""
    """The platform's; "" while nothing tells it."""
    pending: list[CandleEvent] | None = None
    """News that wait until the history has been sent; None: send at once."""
    polls_down: int = 0

    def stream(self, asset: str, symbol: str | None) -> None:
        self.asset, self.symbol, self.pending, self.polls_down = asset, symbol or "", [], 0

    def stop(self) -> None:
        self.asset, self.symbol, self.pending = "", "", None


class SocketIoApi:
    """See the module. ``app`` is to be mounted at ``/socket.io``."""

    def __init__(
        self, source: StreamBackend, relay: EventRelay, data_dir: Path, now_ms: Callable[[], int] | None = None
    ) -> None:
        self._source = source
        self._relay = relay
        self._data_dir = data_dir
        self._now_ms = now_ms or (lambda: time.time_ns() // 1_000_000)
        self._returning = ReturningClients(data_dir / FILE_NAME)
        # Origins are checked before anything reaches us. Handlers of one client run in the order of its messages.
        self._sio = socketio.AsyncServer(
            async_mode="asgi",
            cors_allowed_origins=[],
            async_handlers=False,
            max_http_buffer_size=MESSAGE_MAX_BYTES,
            # Given none, both libraries put a handler of their own on stderr.
            logger=logging.getLogger("socketio"),
            engineio_logger=logging.getLogger("engineio"),
        )
        self.app = socketio.ASGIApp(self._sio)
        self._clients: dict[str, _Client] = {}
        self._tasks: list[asyncio.Task[None]] = []
        for name in (
            *("start_stream", "stop_stream", "change_asset", "detect_asset"),
            *("store_csv_candles", "get_available_data"),
        ):
            self._sio.on(name, getattr(self, f"_on_{name}"))
        self._sio.on("connect", self._on_connect)
        self._sio.on("disconnect", self._on_disconnect)

    @property
    def clients(self) -> int:
        return len(self._clients)

    # --- what clients say -----------------------------------------------------------------------------------------

    async def _on_connect(self, sid: str, environ: dict[str, Any], _auth: Any = None) -> None:
        if not self._tasks:
            self._begin()
        self._clients[sid] = _Client(environ)
        await self._emit_status(sid)
        if self._returning.connect(environ):
            is_attached = self._relay.chrome.state is ChromeState.ATTACHED
            await self._emit("backend_reconnected", payloads.backend_reconnected(is_attached, self._now_ms()), sid)

    async def _on_disconnect(self, sid: str, _reason: str = "") -> None:
        client = self._clients.pop(sid, None)
        if client is None:
            return
        self._returning.disconnect(client.environ)
        if client.asset:
            await self._release(sid)

    async def _on_start_stream(self, sid: str, data: Any = None) -> None:
        await self._stream(sid, data, "stream_started", page_asset=payloads.names_no_asset(data))

    async def _on_change_asset(self, sid: str, data: Any = None) -> None:
        await self._stream(sid, data, "asset_changed")

    async def _on_stop_stream(self, sid: str, _data: Any = None) -> None:
        client = self._clients.get(sid)
        if client is not None and client.asset:
            client.stop()
            await self._release(sid)
        await self._emit("stream_stopped", payloads.timestamped(self._now_ms()), sid)

    async def _on_detect_asset(self, sid: str, _data: Any = None) -> None:
        symbol, error = await self._detected()
        if error:
            await self._emit("asset_detection_failed", payloads.timestamped(self._now_ms(), error=error), sid)
            return
        client = self._clients.get(sid)
        asset = client.asset if client is not None and client.symbol == symbol else symbol
        await self._emit("asset_detected", payloads.timestamped(self._now_ms(), asset=asset, symbol=symbol), sid)

    async def _on_store_csv_candles(self, sid: str, data: Any = None) -> None:
        asset, rows = payloads.requested_asset(data), data.get("candles") if isinstance(data, dict) else None
        try:
            if not asset:
                raise ConfigError('Name an asset: {"asset": "EURUSD_otc", "candles": […]}.')
            count = await asyncio.to_thread(self._store_csv_candles, asset, rows)
        except FluxcapError as failure:
            await self._emit("csv_storage_error", {"error": str(failure)}, sid)
            return
        message = payloads.timestamped(self._now_ms(), asset=asset, candle_count=count)
        await self._emit("csv_storage_success", message, sid)

    def _store_csv_candles(self, asset: str, rows: Any) -> int:
        """Return how many there are. Raises FluxcapError."""
        candles = received_candles(rows)
        symbol = asset
        with contextlib.suppress(UnknownAsset, NotAnswering):  # files of assets that are no more have their use
            symbol = self._source.check_asset(asset) or asset
        keep_received(self._data_dir, symbol, candles, self._now_ms())
        return len(candles)

    async def _on_get_available_data(self, sid: str, _data: Any = None) -> None:
        files = await asyncio.to_thread(list_csv_files, self._data_dir)
        await self._emit("available_data", {"files": files}, sid)

    async def _stream(self, sid: str, data: Any, answer: str, *, page_asset: bool = False) -> None:
        """Start, or go on with another asset; what streamed before goes on when that cannot be.

        ``page_asset``: it is the one that the page shows.
        """
        client = self._clients.get(sid)
        asset = payloads.requested_asset(data)
        error = self._chrome_error()
        if page_asset and not error:
            asset, error = await self._detected()
        error = error or self._request_error(asset, data)
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
        client.stream(asset, symbol)
        await self._tell_history(sid, client, answer)

    async def _tell_history(self, sid: str, client: _Client, answer: str) -> None:
        """History first, and what happened while it was read after it: nothing is missed, nothing comes too early."""
        asset, symbol = client.asset, client.symbol
        await self._emit(answer, payloads.timestamped(self._now_ms(), asset=asset, symbol=symbol or None), sid)
        if not symbol:
            return
        try:
            candles, source = await asyncio.to_thread(self._source.history, symbol)
            history = payloads.historical_candles(symbol, candles, source, self._now_ms(), asset)
            await self._emit("historical_candles_loaded", history, sid)
        except FluxcapError as failure:
            await self._error(sid, f"The history cannot be read: {failure}")
        if (client.asset, client.symbol) != (asset, symbol):  # it looks at something else by now
            return
        held, client.pending = client.pending or [], None
        for event in held:
            await self._emit("candle_update", payloads.candle_update(symbol, event.candle, asset), sid)

    async def _detected(self) -> tuple[str, str]:
        """The symbol that the page shows, or "" and why it cannot be told."""
        if error := self._chrome_error():
            return "", error
        try:
            symbol = await asyncio.to_thread(self._source.detected_asset)
        except FluxcapError as failure:
            return "", str(failure)
        return (symbol, "") if symbol else ("", "The trading page has not shown its asset yet; click on one there.")

    def _request_error(self, asset: str, data: Any) -> str:
        if not asset:
            return 'Name an asset: {"asset": "EURUSD_otc"}.'
        if payloads.is_other_timeframe(data, self._source.interval):
            interval = self._source.interval
            return f"Live candles are {interval} here; other timeframes are at /api/candles and in the CSV files."
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
        messages: dict[str, dict[str, Any]] = {}
        for sid, client in list(self._clients.items()):
            if client.symbol != event.symbol:
                continue
            if client.pending is not None:
                client.pending.append(event)
                continue
            asset = client.asset
            if asset not in messages:
                messages[asset] = payloads.candle_update(event.symbol, event.candle, asset)
            await self._emit("candle_update", messages[asset], sid)

    async def _emit_chrome(self, event: ChromeEvent) -> None:
        is_attached = event.state is ChromeState.ATTACHED
        for sid, client in list(self._clients.items()):
            if is_attached:
                await self._emit("chrome_reconnected", payloads.timestamped(self._now_ms(), status="connected"), sid)
            elif client.asset:
                await self._error(sid, event.reason or "Chrome is not connected.")
            await self._emit_status(sid)

    async def _watch_feeds(self) -> None:
        while True:
            await asyncio.sleep(FEED_POLL_S)
            if self._clients:
                await self._guarded(self._poll_feeds())

    async def _poll_feeds(self) -> None:
        feeds = self._source.feeds().items()
        states = {key.symbol: status.feed_state for key, status in feeds if key.interval == self._source.interval}
        for sid, client in list(self._clients.items()):
            if client.asset and not client.symbol:
                await self._understand(sid, client)
            reason = self._reason(client, states)
            client.polls_down = client.polls_down + 1 if client.asset and reason else 0
            if reason and client.polls_down == FEED_DOWN_POLLS:
                await self._error(sid, reason)

    def _reason(self, client: _Client, states: Mapping[str, int]) -> str | None:
        """Return why nothing comes, if something is wrong."""
        if client.asset and not client.symbol:
            return f"{client.asset!r} {NOT_UNDERSTOOD}"
        return FEED_REASONS.get(FeedState(states.get(client.symbol, 0)))

    async def _understand(self, sid: str, client: _Client) -> None:
        """Tell a client of its asset as soon as its name is understood; stop it when the platform has none such."""
        asset = client.asset
        try:
            symbol = await asyncio.to_thread(self._source.check_asset, asset)
        except UnknownAsset as error:
            if client.asset == asset:
                client.stop()
                await self._release(sid)
                await self._error(sid, str(error))
            return
        except NotAnswering:
            return  # looked at again in a moment
        if symbol is not None and client.asset == asset and not client.symbol:
            client.stream(asset, symbol)
            await self._tell_history(sid, client, "asset_changed")

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
    api = SocketIoApi(source, relay, data_dir)
    app.include_router(csv_files_router(data_dir))
    app.mount("/socket.io", api.app)
    return api
