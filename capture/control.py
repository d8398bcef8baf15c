"""The control endpoint on loopback: REST, for the command line and the dashboard.

In: HTTP requests. Out: messages to the pipeline and snapshots of it. Nothing here touches market state. Since any page
in the trader's Chrome could otherwise drive it, Host and Origin are checked on every request.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import msgspec
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from capture.focus import Focus, FocusMode
from capture.market import Market
from capture.pipeline import Pipeline
from capture.port_holder import port_holder
from capture.status import Status
from schemas.errors import AlreadyRunning, ConfigError, FluxcapError, NotAnswering, UnknownAsset

LOCAL_NAMES = ("127.0.0.1", "localhost", "::1")


class FocusBody(BaseModel):
    """``mode`` lock needs ``symbols``, as people type them."""

    mode: FocusMode
    symbols: list[str] = []


def control_app(pipeline: Pipeline, market: Market, status: Callable[[], Status], hosts: Iterable[str]) -> FastAPI:
    """The application; ``hosts``: names under which it may be addressed beside the local ones."""
    app = FastAPI(title="fluxcap", version="1", description="Status and control of a running fluxcap.")
    allowed = {*LOCAL_NAMES, *hosts}

    @app.middleware("http")
    async def check_origin(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        if not origin_allowed(request.headers.get("host", ""), request.headers.get("origin"), allowed):
            return JSONResponse({"error": "This address is for local use only."}, status_code=403)
        return await call_next(request)

    @app.exception_handler(FluxcapError)
    async def on_error(_: Request, error: Exception) -> JSONResponse:
        body: dict[str, Any] = {"error": str(error)}
        if isinstance(error, UnknownAsset):
            body["nearest"] = list(error.nearest)
            return JSONResponse(body, status_code=404)
        return JSONResponse(body, status_code=503 if isinstance(error, NotAnswering) else 400)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok" if pipeline.alive else "failed", "service": "fluxcap"}

    @app.get("/api/status")
    async def get_status() -> Any:
        return msgspec.to_builtins(await asyncio.to_thread(status))

    @app.get("/api/focus")
    async def get_focus() -> dict[str, Any]:
        return await asyncio.to_thread(pipeline.ask, lambda: focus_view(market))

    @app.put("/api/focus")
    async def put_focus(body: FocusBody) -> dict[str, Any]:
        if body.mode is FocusMode.LOCK and not body.symbols:
            raise HTTPException(422, "Name at least one asset to lock.")

        def change() -> dict[str, Any]:
            market.set_focus(Focus(body.mode, tuple(body.symbols)))
            return focus_view(market)

        return await asyncio.to_thread(pipeline.ask, change)

    @app.get("/api/assets")
    async def assets() -> Any:
        return msgspec.to_builtins(await asyncio.to_thread(pipeline.ask, lambda: market.names.assets))

    return app


def focus_view(market: Market) -> dict[str, Any]:
    """The focus as JSON: what is asked for, what that means now, and what the page shows (read-only)."""
    active = market.active
    return {
        "mode": market.focus.mode.value,
        "symbols": list(market.focused_symbols()),
        "detected_asset": active.symbol if active else None,
        "detected_period_s": active.period_ms // 1_000 if active else None,
    }


def origin_allowed(host: str, origin: str | None, allowed: Iterable[str]) -> bool:
    """Whether a request was addressed to us by one of our names and comes from no foreign page."""
    names = set(allowed)
    if (urlsplit(f"//{host}").hostname or "") not in names:
        return False
    if origin is None:
        return True
    parts = urlsplit(origin)
    return parts.hostname in names and parts.netloc.lower() == host.lower()


class ControlServer:
    """Serves an ASGI application from a thread of its own. ``port`` 0 picks a free one."""

    def __init__(self, app: Any, host: str, port: int) -> None:
        self._socket = _bound(host, port)
        self.host = host
        self.port: int = self._socket.getsockname()[1]
        # log_config None: its warnings go where ours go, as JSON when asked for.
        config = uvicorn.Config(
            app, log_config=None, log_level="warning", access_log=False, ws="websockets-sansio", lifespan="on"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="fluxcap-web", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """End it; open connections get no more than a moment."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(timeout_s / 2)
            self._server.force_exit = True
            self._thread.join(timeout_s / 2)
        self._socket.close()

    def _run(self) -> None:
        self._server.run([self._socket])


def _holder(port: int) -> str:
    holder = port_holder(port)
    return f" by {holder}" if holder else ""


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno != errno.EADDRINUSE:
            raise ConfigError(f"Port {port} on {host} cannot be had: {error.strerror}.") from None
        raise AlreadyRunning(
            f"Port {port} on {host} is taken{_holder(port)}; stop what holds it, or choose another with --web-port "
            "(--control-port while the web is off)."
        ) from None
    return listener
