"""The route by which collected candles reach the store of a running daemon: nobody else can open it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from bridge.history_streams import Absorbed, absorb
from bridge.server import WireServer
from capture.pipeline import Pipeline
from schemas.errors import ConfigError
from schemas.types import Candle, StreamKey

MOST_CANDLES = 10_000
TsMs = Annotated[int, Field(gt=0, le=32_503_680_000_000)]


class HistoryBody(BaseModel):
    """Candles of one asset and interval, rows ``[ts_ms, open, high, low, close, volume]``."""

    model_config = ConfigDict(extra="forbid")

    symbol: str = Field(pattern=r"^[#A-Za-z0-9][A-Za-z0-9_#&-]{0,63}$")
    interval: str = Field(pattern=r"^[1-9][0-9]{0,5}[smhd]$")
    candles: list[tuple[TsMs, float, float, float, float, float]] = Field(max_length=MOST_CANDLES)


def history_router(pipeline: Pipeline, server: WireServer, source: str, live_interval: str) -> APIRouter:
    """The routes."""
    router = APIRouter()

    @router.put("/api/history")
    async def put_history(body: HistoryBody) -> Any:
        """Take collected candles into the stream of their interval; the live one makes its own and is refused."""
        if body.interval == live_interval:
            raise ConfigError(f"Candles of {live_interval} are made live here; collected ones are not mixed in.")
        key = StreamKey(source, body.symbol, body.interval)
        candles = [Candle(*row) for row in body.candles]

        def take() -> Absorbed:
            return absorb(server, key, candles)

        return msgspec.to_builtins(await asyncio.to_thread(pipeline.ask, take))

    return router
