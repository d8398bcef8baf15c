"""The control API of a dev server: JSON over HTTP on loopback. Every answer comes once what it says is in force.

==========================  ============================================================================
``GET /status``             endpoints, settings, faults, streams with their watermarks, counters
``PUT /faults``             put exactly these faults in force (those not named are lifted); see ``Faults``
``DELETE /faults``          lift all faults
``POST /start``, ``/stop``  begin or end making candles
``PUT /streams``            source, interval, symbols, tick_ms, batch_size, history, …; see ``DevSettings``
``POST /restart``           ``{"store": "keep" | "new", "down_ms": 200}``
``POST /prune``             ``{"keep": 100}``: forget the oldest candles
``GET /universe``           the symbols there are
``GET /truth``              ``?source=&symbol=&interval=``: what the store holds, as base64 of CANDLE_DTYPE rows
==========================  ============================================================================

A wrong setting is 400 with ``{"error": "…"}``. Only a browser page of this machine may call: others' pages are refused
by their Host and Origin.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from fastapi import FastAPI, Request, Response

from fluxcap.bridge.devserver.engine import DevEngine
from fluxcap.bridge.devserver.faults import Faults
from fluxcap.bridge.devserver.settings import DevSettings
from fluxcap.schemas.errors import ConfigError, FluxcapError
from fluxcap.schemas.types import StreamKey

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})

_Value = TypeVar("_Value")


class _Restart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    store: str = "keep"
    down_ms: int = 200


class _Prune(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keep: int = 100


def make_api(engine: DevEngine) -> FastAPI:
    """The app over a running engine."""
    api = FastAPI(title="fluxcap dev server", docs_url=None, redoc_url=None)
    api.middleware("http")(_guard)
    api.exception_handler(FluxcapError)(_refuse)

    @api.get("/status")
    def status() -> Response:
        return _json(_status(engine))

    @api.put("/faults")
    async def put_faults(request: Request) -> Response:
        faults = _decoded(await request.body(), Faults)
        return _json(await _off_loop(lambda: engine.set_faults(faults)))

    @api.delete("/faults")
    def delete_faults() -> Response:
        return _json(engine.set_faults(Faults()))

    @api.post("/start")
    def start() -> Response:
        return _json({"broadcasting": engine.set_broadcasting(True)})

    @api.post("/stop")
    def stop() -> Response:
        return _json({"broadcasting": engine.set_broadcasting(False)})

    @api.put("/streams")
    async def put_streams(request: Request) -> Response:
        settings = _changed(engine.settings, await request.body())
        return _json(await _off_loop(lambda: engine.set_streams(settings)))

    @api.post("/restart")
    async def restart(request: Request) -> Response:
        wish = _decoded(await request.body() or b"{}", _Restart)
        if wish.store not in ("keep", "new") or not 0 <= wish.down_ms <= 600_000:
            raise ConfigError('Say {"store": "keep"} or {"store": "new"}, and down_ms from 0 to 600000.')
        store_id = await _off_loop(lambda: engine.restart(new_store=wish.store == "new", down_ms=wish.down_ms))
        return _json({"store_id": store_id})

    @api.post("/prune")
    async def prune(request: Request) -> Response:
        wish = _decoded(await request.body() or b"{}", _Prune)
        return _json({"forgotten": await _off_loop(lambda: engine.prune(wish.keep))})

    @api.get("/universe")
    def universe() -> Response:
        return _json(engine.universe())

    @api.get("/truth")
    def truth(source: str, symbol: str, interval: str) -> Response:
        first, candles = engine.truth(StreamKey(source, symbol, interval))
        rows = base64.b64encode(candles.tobytes()).decode()
        return _json({"first_sequence": first, "count": len(candles), "rows": rows})

    return api


def _status(engine: DevEngine) -> dict[str, Any]:
    pub, rep = engine.endpoints
    return {
        "pub": pub,
        "rep": rep,
        "broadcasting": engine.broadcasting,
        "settings": engine.settings,
        "faults": engine.faults,
        "streams": engine.streams(),
        "counters": engine.counters(),
    }


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def _decoded(body: bytes, kind: type[_Value]) -> _Value:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"That is not understood: {error}.") from None


def _changed(settings: DevSettings, body: bytes) -> DevSettings:
    """The settings with what the JSON object names."""
    named = _decoded(body, dict[str, Any])
    unknown = sorted(set(named) - set(settings.__struct_fields__))
    if unknown:
        raise ConfigError(f"There is no setting {unknown[0]!r}; there are {', '.join(settings.__struct_fields__)}.")
    try:
        return msgspec.convert({**msgspec.structs.asdict(settings), **named}, DevSettings)
    except msgspec.ValidationError as error:
        raise ConfigError(f"That is not understood: {error}.") from None


async def _off_loop(call: Callable[[], _Value]) -> _Value:
    from starlette.concurrency import run_in_threadpool

    return await run_in_threadpool(call)


async def _refuse(request: Request, error: Exception) -> Response:
    return Response(msgspec.json.encode({"error": str(error)}), status_code=400, media_type="application/json")


def _is_local(url: str) -> bool:
    try:
        return urlsplit(url).hostname in LOOPBACK
    except ValueError:
        return False


async def _guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    hosts, origins = request.headers.getlist("host"), request.headers.getlist("origin")
    if len(hosts) != 1 or len(origins) > 1 or not _is_local(f"//{hosts[0]}") or not all(map(_is_local, origins)):
        return Response(b'{"error": "Only for pages of this machine."}', status_code=403)
    return await call_next(request)
