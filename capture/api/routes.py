"""Routes of the control endpoint for files, figures and the browser: CSV files, blind times, metrics, consent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Protocol

import msgspec
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel, ConfigDict, Field

from fluxcap.bridge.server.history_import import ImportResult, import_candles
from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.store.reader import StoreReader
from fluxcap.capture.api.metrics import Metrics
from fluxcap.capture.csvfiles.catalog import LARGEST_BYTES, list_csv_files, resolve_csv_file
from fluxcap.capture.csvfiles.writer import CsvSettingsChange, CsvWriter
from fluxcap.capture.pipeline.pipeline import Pipeline
from fluxcap.capture.pipeline.reconnect import ChromeReconnector
from fluxcap.capture.runtime.settings import CollectMode
from fluxcap.schemas.errors import ConfigError
from fluxcap.schemas.types import Candle, StreamKey

END_MS = 4_102_444_800_000
"""The year 2100, UTC epoch milliseconds: no time that is asked for is later."""
TimeMs = Annotated[int, Field(ge=0, lt=END_MS)]


class CsvSettingsRequest(BaseModel):
    """Body of a request to change collecting; omitted fields stay as they are."""

    model_config = ConfigDict(extra="forbid")

    mode: CollectMode | None = None
    tick_chunk_size: int | None = Field(None, ge=1, le=10_000_000)
    candle_chunk_size: int | None = Field(None, ge=1, le=10_000_000)


def csv_settings_router(persistence: CsvWriter, reader: StoreReader, metrics: Metrics) -> APIRouter:
    """The routes. ``reader``: a way into the store for these alone."""
    router = APIRouter()

    @router.get("/api/collect-mode")
    async def get_collect() -> Any:
        return msgspec.to_builtins(persistence.view())

    @router.put("/api/collect-mode")
    async def put_collect(body: CsvSettingsRequest) -> Any:
        change = CsvSettingsChange(body.mode, body.tick_chunk_size, body.candle_chunk_size)
        return msgspec.to_builtins(await asyncio.to_thread(persistence.change, change))

    @router.get("/api/gaps")
    async def get_gaps(
        source: str | None = None, symbol: str | None = None, from_ms: TimeMs = 0, to_ms: TimeMs | None = None
    ) -> Any:
        return msgspec.to_builtins(await asyncio.to_thread(reader.gaps, source, symbol, from_ms, to_ms))

    @router.get("/metrics")
    async def get_metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(await asyncio.to_thread(encode, metrics.registry), media_type=content_type)

    return router


MOST_CANDLES = 10_000
DAY_MS = 86_400_000
CandleStartMs = Annotated[int, Field(gt=0, lt=END_MS)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class HistoryImportRequest(BaseModel):
    """Candles of one asset and interval, rows ``[ts_ms, open, high, low, close, volume]``."""

    model_config = ConfigDict(extra="forbid")

    symbol: str = Field(pattern=r"^[#A-Za-z0-9~][A-Za-z0-9_#&~-]{0,127}$")
    interval: str = Field(pattern=r"^[1-9][0-9]{0,5}[smhd]$")
    candles: list[tuple[CandleStartMs, Finite, Finite, Finite, Finite, Finite]] = Field(max_length=MOST_CANDLES)


def wall_clock_ms() -> int:
    """UTC epoch milliseconds by this machine's clock."""
    return time.time_ns() // 1_000_000


def history_import_router(
    pipeline: Pipeline,
    server: WireServer,
    source: str,
    live_interval: str,
    now_ms: Callable[[], int] = wall_clock_ms,
) -> APIRouter:
    """The routes. ``now_ms``: a wall clock, UTC epoch milliseconds."""
    router = APIRouter()

    @router.put("/api/history")
    async def put_history(body: HistoryImportRequest) -> Any:
        """Take collected candles into the stream of their interval; the live one makes its own and is refused."""
        if body.interval == live_interval:
            raise ConfigError(f"Candles of {live_interval} are made live here; collected ones are not mixed in.")
        # A stream only grows: one candle of the future would keep every true one out.
        if any(row[0] > now_ms() + DAY_MS for row in body.candles):
            raise HTTPException(422, "A candle begins more than a day from now.")
        key = StreamKey(source, body.symbol, body.interval)
        candles = [Candle(*row) for row in body.candles]

        def take() -> ImportResult:
            return import_candles(server, key, candles)

        return msgspec.to_builtins(await asyncio.to_thread(pipeline.call, take))

    return router


def browser_router(watch: ChromeReconnector, pipeline: Pipeline, share: Callable[[], Path]) -> APIRouter:
    """The routes about the browser. ``share``: opens a way onto its connection, and says which file tells it."""
    router = APIRouter()

    @router.post("/api/chrome/ask")
    async def ask() -> dict[str, Any]:
        """Ask the browser's user for consent once more, after a refusal or a dialog that was missed."""
        await asyncio.to_thread(watch.ask)
        view = await asyncio.to_thread(pipeline.view)
        return {"chrome": view.chrome.value, "chrome_reason": view.chrome_reason}

    @router.post("/api/chrome/share")
    async def share_browser() -> dict[str, str]:
        """Let `fluxcap collect` use the browser connection. Only who may read the file that is named gets further."""
        return {"file": str(await asyncio.to_thread(share))}

    return router


class CollectionRequest(BaseModel):
    """Body of a request to collect history, as ``fluxcap collect`` takes it; ``restart``: what today has saved, too."""

    model_config = ConfigDict(extra="forbid")

    assets: str = Field("favourites", max_length=10_000)
    timeframes: str = Field("1h,15m,5m,1m", max_length=100)
    restart: bool = False


class Collections(Protocol):
    """``CollectionRunner``, as far as it is needed."""

    def view(self) -> object: ...

    def start(self, assets: str, timeframes: str, *, restart: bool) -> object: ...

    def stop(self) -> object: ...


def collection_router(collections: Collections) -> APIRouter:
    """The routes of the collection that runs, or ran last."""
    router = APIRouter()

    @router.get("/api/collection")
    async def seen() -> Any:
        """Tell how far it is, or what it has saved."""
        return msgspec.to_builtins(collections.view())

    @router.post("/api/collection")
    async def start(body: CollectionRequest | None = None) -> Any:
        """Collect candles of the past: the trading page is turned to each asset and timeframe, and then turned back."""
        order = body or CollectionRequest()  # type: ignore[call-arg]

        def begin() -> object:
            return collections.start(order.assets, order.timeframes, restart=order.restart)

        return msgspec.to_builtins(await asyncio.to_thread(begin))

    @router.delete("/api/collection")
    async def stop() -> Any:
        """Stop it; the page is turned back, and what was saved stays."""
        return msgspec.to_builtins(await asyncio.to_thread(collections.stop))

    return router


def csv_files_router(data_dir: Path) -> APIRouter:
    """The routes over one data folder."""
    router = APIRouter()

    @router.get("/api/available-csv-files")
    async def available(timeframe: str = "") -> dict[str, Any]:
        """The CSV files there are; ``timeframe``: only those of 1m, 5m, 15m, 1h, 4h or tick."""
        files = await asyncio.to_thread(list_csv_files, data_dir, timeframe)
        return {"files": files, "count": len(files)}

    @router.get("/api/csv-data/{file:path}")
    async def csv_data(file: str) -> Response:
        """A CSV file, by its path as listed or by its name."""
        path = await asyncio.to_thread(resolve_csv_file, data_dir, file)
        if path is None:
            raise HTTPException(404, "There is no such CSV file; /api/available-csv-files lists them.")
        if path.stat().st_size > LARGEST_BYTES:
            raise HTTPException(413, "This file is too large to be shown.")
        # Read in one go: a file that is still written would outgrow the length that was announced for it.
        content = await asyncio.to_thread(path.read_bytes)
        return Response(content, media_type="text/csv; charset=utf-8")

    return router
