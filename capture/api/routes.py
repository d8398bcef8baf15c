"""Routes of the control endpoint for files and figures: what is collected, blind times, metrics."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel, ConfigDict, Field

from bridge.store_reader import StoreReader
from capture.metrics import Metrics
from capture.persistence import CollectChange, Persistence
from capture.settings import CollectMode


class CollectBody(BaseModel):
    """What to change of collecting; what is not named stays."""

    model_config = ConfigDict(extra="forbid")

    mode: CollectMode | None = None
    tick_chunk_size: int | None = Field(None, ge=1, le=10_000_000)
    candle_chunk_size: int | None = Field(None, ge=1, le=10_000_000)


def files_router(persistence: Persistence, reader: StoreReader, metrics: Metrics) -> APIRouter:
    """The routes. ``reader``: a way into the store for these alone."""
    router = APIRouter()

    @router.get("/api/collect-mode")
    async def get_collect() -> Any:
        return msgspec.to_builtins(persistence.view())

    @router.put("/api/collect-mode")
    async def put_collect(body: CollectBody) -> Any:
        change = CollectChange(body.mode, body.tick_chunk_size, body.candle_chunk_size)
        return msgspec.to_builtins(await asyncio.to_thread(persistence.change, change))

    @router.get("/api/gaps")
    async def get_gaps(
        source: str | None = None, symbol: str | None = None, from_ms: int = 0, to_ms: int | None = None
    ) -> Any:
        return msgspec.to_builtins(await asyncio.to_thread(reader.gaps, source, symbol, from_ms, to_ms))

    @router.get("/metrics")
    async def get_metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(await asyncio.to_thread(encode, metrics.registry), media_type=content_type)

    return router
