"""Adds to the control application what only browsers and Socket.IO clients use."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI

from capture.web.csv_routes import csv_router
from capture.web.relay import CandleRelay
from capture.web.streaming import Source, StreamingApi


def add_web(app: FastAPI, source: Source, relay: CandleRelay, data_dir: Path) -> StreamingApi:
    """Routes of the CSV files, and Socket.IO at ``/socket.io``."""
    api = StreamingApi(source, relay)
    app.include_router(csv_router(data_dir))
    app.mount("/socket.io", api.app)
    return api
