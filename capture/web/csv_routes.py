"""REST routes of the CSV files."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

from capture.web.csv_files import LARGEST_BYTES, allowed_file, available_files


def csv_router(data_dir: Path) -> APIRouter:
    """The routes over one data folder."""
    router = APIRouter()

    @router.get("/api/available-csv-files")
    async def available(timeframe: str = "") -> dict[str, Any]:
        """The CSV files there are; ``timeframe``: only those of 1m, 5m, 15m, 1h, 4h or tick."""
        files = await asyncio.to_thread(available_files, data_dir, timeframe)
        return {"files": files, "count": len(files)}

    @router.get("/api/csv-data/{file:path}")
    async def csv_data(file: str) -> Response:
        """A CSV file, by its path as listed or by its name."""
        path = await asyncio.to_thread(allowed_file, data_dir, file)
        if path is None:
            raise HTTPException(404, "There is no such CSV file; /api/available-csv-files lists them.")
        if path.stat().st_size > LARGEST_BYTES:
            raise HTTPException(413, "This file is too large to be shown.")
        # Read in one go: a file that is still written would outgrow the length that was announced for it.
        content = await asyncio.to_thread(path.read_bytes)
        return Response(content, media_type="text/csv; charset=utf-8")

    return router
