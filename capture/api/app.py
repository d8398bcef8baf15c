"""The control endpoint on loopback: REST, for the command line and the dashboard.

In: HTTP requests. Out: messages to the pipeline and snapshots of it. Nothing here touches market state. Since any page
in the trader's Chrome could otherwise drive it, Host and Origin are checked on every request (origin.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel, Field

from fluxcap.bridge.http.origin import LOCAL_NAMES, OriginGuard
from fluxcap.capture.api.status import Status
from fluxcap.capture.market.clock import Trust
from fluxcap.capture.market.focus import Focus, FocusMode, FocusSnapshot
from fluxcap.capture.market.market import Market
from fluxcap.capture.pipeline.pipeline import Pipeline
from fluxcap.schemas.errors import FluxcapError, NotAnswering, UnknownAsset

MOST_WRONG = 20
"""Wrong values of one request that are named."""
DOCS_PAGE = Path(__file__).with_name("docs.html")


class FocusRequest(BaseModel):
    """``mode`` lock needs ``symbols``, as people type them."""

    mode: FocusMode
    symbols: list[str] = []


class ClockRequest(BaseModel):
    """``trust``: this computer's wall clock, or what earlier runs have measured."""

    trust: Trust


class LeaseRequest(BaseModel):
    """The asset to look at, and for how long unless the lease is taken again."""

    asset: str = Field(min_length=1, max_length=64)
    seconds: float = Field(15.0, gt=0, le=3_600, allow_inf_nan=False)


def control_app(
    pipeline: Pipeline,
    market: Market,
    status: Callable[[], Status],
    hosts: Iterable[str] = (),
    origins: Iterable[str] = (),
) -> FastAPI:
    """The application.

    hosts: names under which it may be addressed beside the local ones. origins: foreign origins whose pages may use it.
    """
    app = FastAPI(
        title="fluxcap",
        version="1",
        description="Status and control of a running fluxcap.",
        docs_url=None,
        redoc_url=None,
    )
    origins = tuple(origins)
    if origins:
        app.add_middleware(CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"])
    app.add_middleware(OriginGuard, names=(*LOCAL_NAMES, *hosts), origins=origins)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(DOCS_PAGE, media_type="text/html; charset=utf-8")

    @app.exception_handler(FluxcapError)
    async def on_error(_: Request, error: Exception) -> JSONResponse:
        body: dict[str, Any] = {"error": str(error)}
        if isinstance(error, UnknownAsset):
            body["nearest"] = list(error.nearest)
            return JSONResponse(body, status_code=404)
        return JSONResponse(body, status_code=503 if isinstance(error, NotAnswering) else 400)

    @app.exception_handler(RequestValidationError)
    async def on_wrong_request(_: Request, error: Exception) -> JSONResponse:
        """The wrong values themselves are left out: JSON has no NaN, and nobody needs his megabyte back."""
        found = error.errors() if isinstance(error, RequestValidationError) else []
        detail = [{name: wrong[name] for name in ("type", "loc", "msg")} for wrong in found[:MOST_WRONG]]
        first = detail[0] if detail else {"loc": (), "msg": "not understood"}
        where = ".".join(str(part) for part in first["loc"])
        return JSONResponse({"error": f"{where}: {first['msg']}.", "detail": detail}, status_code=422)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok" if pipeline.alive else "failed", "service": "fluxcap"}

    @app.get("/api/status")
    async def get_status() -> Response:
        return Response(msgspec.json.encode(await asyncio.to_thread(status)), media_type="application/json")

    @app.get("/api/focus")
    async def get_focus() -> dict[str, Any]:
        return focus_json(await asyncio.to_thread(pipeline.focus))

    @app.put("/api/focus")
    async def put_focus(body: FocusRequest) -> dict[str, Any]:
        if body.mode is FocusMode.LOCK and not body.symbols:
            raise HTTPException(422, "Name at least one asset to lock.")
        symbols = tuple(body.symbols) if body.mode is FocusMode.LOCK else ()
        return focus_json(await asyncio.to_thread(pipeline.set_focus, Focus(body.mode, symbols)))

    @app.put("/api/focus/leases/{holder}")
    async def take_lease(holder: str, body: LeaseRequest) -> dict[str, Any]:
        """A chart looks at an asset: it is in focus beside what others look at, until the lease ends."""
        symbol, focus = await asyncio.to_thread(pipeline.acquire_lease, f"rest {holder}", body.asset, body.seconds)
        return {"asset": symbol, **focus_json(focus)}

    @app.delete("/api/focus/leases/{holder}")
    async def release_lease(holder: str) -> dict[str, Any]:
        """The chart looks at nothing any more."""
        return focus_json(await asyncio.to_thread(pipeline.release_lease, f"rest {holder}"))

    @app.put("/api/clock")
    async def put_clock(body: ClockRequest) -> dict[str, Any]:
        """Say which clock to trust while they contradict each other."""
        view = await asyncio.to_thread(pipeline.trust_clock, body.trust)
        return {
            "clock": view.clock,
            "clock_reason": view.clock_reason,
            "clock_basis": view.clock_basis,
            "platform_offset_ms": view.platform_offset_ms,
        }

    @app.post("/api/reload")
    async def reload() -> dict[str, Any]:
        """Reload the trading page in the browser, as with F5."""
        return {"pages": await asyncio.to_thread(pipeline.reload_pages)}

    @app.get("/api/assets")
    async def assets() -> Response:
        found = await asyncio.to_thread(pipeline.call, lambda: market.names.assets)
        return Response(msgspec.json.encode(found), media_type="application/json")

    return app


def focus_json(focus: FocusSnapshot) -> dict[str, Any]:
    """The focus as JSON: what is asked for, what that means now, and what the page shows (read-only).

    ``unchecked``: names that may yet turn out to be ``unknown``, once the platform tells its assets.
    """
    active = focus.active
    return {
        "mode": focus.mode.value,
        "symbols": list(focus.symbols),
        "unchecked": list(focus.unverified),
        "unknown": list(focus.unknown),
        "detected_asset": active.symbol if active else None,
        "detected_period_s": (active.period_ms // 1_000 or None) if active else None,
    }
