"""A daemon for the page's tests that does what it is told: a real wire server, and a REST API with the answers at hand.

The page is served by ``fluxcap dashboard`` as a process of its own, as it is for another machine's daemon.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from fastapi import FastAPI
from fastapi.responses import JSONResponse

from fluxcap.bridge.server.server import FeedInfo, WireServer
from fluxcap.capture.api.http_server import HttpServer
from fluxcap.capture.api.routes import csv_files_router
from fluxcap.schemas.types import Candle, FeedState, StreamKey
from tests.support.daemon.live_rig import Process
from tests.support.patience import await_that

SOURCE = "TEST"
MINUTE = 60_000
NAMES = {"EURUSD_otc": ("EUR/USD OTC", 92), "GBPUSD_otc": ("GBP/USD OTC", 87), "EURUSD": ("EUR/USD", 71)}


NO_COLLECTION = {"state": "none", "done": 0, "total": 0, "told": "", "error": "", "failed": []}


class FakeDaemon:
    """Streams of ``bases``, ``count`` minutes each up to about now. ``status`` may be changed at will."""

    bases: ClassVar[dict[str, float]] = {"EURUSD_otc": 1.1, "GBPUSD_otc": 1.3}
    """Assets with about their price."""

    def __init__(self, folder: Path, count: int = 300) -> None:
        self.data_dir = folder
        self.server = WireServer(folder / "store.duckdb", "tcp://127.0.0.1:0", "tcp://127.0.0.1:0")
        self.keys = {name: StreamKey(SOURCE, name, "1m") for name in self.bases}
        self.minute = int(time.time()) // 60 - 1
        for key, base in zip(self.keys.values(), self.bases.values(), strict=True):
            if count:
                self.server.publish({key: [bar(m, base) for m in range(self.minute - count + 1, self.minute + 1)]})
        self.gaps: list[dict[str, Any]] = []
        self.leases: dict[str, str] = {}
        self.collect = "none"
        self.chrome, self.chrome_reason, self.detected = "attached", "", "EURUSD_otc"
        self.assets = dict(NAMES)
        self.feed = FeedState.LIVE
        self.agreement: dict[str, Any] = {}
        self.reloads = 0
        self.consent, self.asked = False, 0
        self.collection: dict[str, Any] = dict(NO_COLLECTION)
        self.refusal = ""
        self.alerts: dict[str, Any] | None = None
        self.is_ticking = True
        self._ticks = 0
        self._lock = threading.Lock()
        self._control: HttpServer | None = HttpServer(self._app, "127.0.0.1", 0)
        self.port = self._control.port
        self._control.start()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def control(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def seal(self, symbol: str = "EURUSD_otc", close: float = 1.12, flags: int = 0) -> Candle:
        """Publish the next minute."""
        with self._lock:
            key = self.keys[symbol]
            minute = self.server.watermark(key).latest_ts_ms // MINUTE + 1
            candle = msgspec.structs.replace(bar(minute, 1.1), close=close, high=max(close, 1.13), flags=flags)
            self.server.publish({key: [candle]})
            return candle

    def revise(self, candle: Candle) -> None:
        with self._lock:
            self.server.revise({self.keys["EURUSD_otc"]: [candle]})

    def publish_other(self, interval: str, count: int, symbol: str = "EURUSD_otc") -> None:
        """Candles of another interval, if there are none yet; their stream is not live."""
        key = StreamKey(SOURCE, symbol, interval)
        with self._lock:
            if self.server.watermark(key).latest_sequence:
                return
            step_ms = key.interval_ms
            last_ms = self.minute * MINUTE // step_ms * step_ms
            times = range(last_ms - (count - 1) * step_ms, last_ms + 1, step_ms)
            candles = [msgspec.structs.replace(bar(ts_ms // MINUTE, 1.1), ts_ms=ts_ms) for ts_ms in times]
            self.server.publish({key: candles})

    def stop_control(self) -> None:
        """The REST API goes away."""
        if self._control is not None:
            self._control.stop()
            self._control = None

    def start_control(self) -> None:
        self._control = HttpServer(self._app, "127.0.0.1", self.port)
        self._control.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.stop_control()
        self.server.close()

    def _run(self) -> None:
        """Twice a second the candle under way, since each is drawn; heartbeats."""
        beat = 0
        while not self._stop.wait(0.5):
            with self._lock:
                now_ms = int(time.time() * 1_000)
                self._ticks += 1
                for key in self.keys.values():
                    if self.is_ticking and self.server.watermark(key).latest_sequence:
                        start = self.server.watermark(key).latest_ts_ms + MINUTE
                        self.server.forming(key, self.under_way(start, self._ticks, key.symbol), time.monotonic_ns())
                beat += 1
                if beat % 2 == 0:
                    last_ms = now_ms - 300 if self.is_ticking else now_ms - 60_000
                    self.server.heartbeat(now_ms, lambda _key, at=last_ms: FeedInfo(self.feed, at, 7_200_000))

    def under_way(self, start_ms: int, ticks: int, symbol: str = "") -> Candle:
        """The candle under way."""
        return Candle(start_ms, 1.105, 1.115, 1.1, round(1.105 + 0.001 * (ticks % 7), 5), ticks % 100 + 1)

    def price_of(self, symbol: str) -> float:
        """The last price of an asset."""
        return self.bases[symbol]

    def status(self) -> dict[str, Any]:
        now_ms = int(time.time() * 1_000)
        streams = [
            {
                "stream": str(key),
                "feed": self.feed.name.lower(),
                "latest_sequence": self.server.watermark(key).latest_sequence,
                "latest_ts_ms": self.server.watermark(key).latest_ts_ms,
                "last_tick_ts_ms": now_ms - 300,
                "age_ms": 300,
            }
            for key in self.keys.values()
        ]
        asset = {"focused": True, "feed": "live", "ticks": self._ticks, "blind_reason": ""}
        return {
            "version": "1.0.0",
            "uptime_s": 61.5,
            "server_time_ms": now_ms,
            "source": SOURCE,
            "interval": "1m",
            "collect": {"mode": self.collect},
            "chrome": self.chrome,
            "chrome_reason": self.chrome_reason,
            "consent": self.consent,
            "browser": "Chrome/156",
            "tabs": [],
            "sockets": 1,
            "clock_reason": "",
            "platform_offset_ms": 7_200_000,
            "focus_mode": "lock" if self.leases else "follow",
            "focus_symbols": sorted(set(self.leases.values())) or [self.detected],
            "focus_unknown": [],
            "detected_asset": self.detected,
            "detected_period_s": 60,
            "streams": streams,
            "assets": [
                {"symbol": name, "last_tick_ts_ms": now_ms, "last_price": self.price_of(name), **asset}
                for name in self.keys
            ],
            "counters": {"duplicate": 0},
            "queue_depth": 0,
            "store_trouble": "",
            "agreement": self.agreement,
            "alerts": self.alerts,
        }

    def _app(self) -> FastAPI:
        app = FastAPI()
        app.include_router(csv_files_router(self.data_dir))

        @app.get("/api/status")
        def status() -> dict[str, Any]:
            return self.status()

        @app.get("/api/assets")
        def assets() -> list[dict[str, Any]]:
            return [
                {"symbol": s, "name": n, "kind": "currency", "payout": p, "is_otc": s.endswith("_otc"), "active": True}
                for s, (n, p) in self.assets.items()
            ]

        @app.get("/api/gaps")
        def gaps() -> list[dict[str, Any]]:
            return self.gaps

        @app.put("/api/focus/leases/{holder}")
        def take(holder: str, body: dict[str, Any]) -> JSONResponse:
            self.leases[holder] = body["asset"]
            return JSONResponse({"asset": body["asset"]})

        @app.delete("/api/focus/leases/{holder}")
        def release(holder: str) -> dict[str, Any]:
            self.leases.pop(holder, None)
            return {}

        @app.post("/api/reload")
        def reload() -> dict[str, Any]:
            self.reloads += 1
            return {"pages": 1}

        @app.post("/api/chrome/ask")
        def ask() -> dict[str, Any]:
            self.asked += 1
            return {"chrome": self.chrome, "chrome_reason": self.chrome_reason}

        @app.get("/api/collection")
        def collection() -> dict[str, Any]:
            return self.collection

        @app.post("/api/collection")
        def start_collection() -> JSONResponse:
            if self.refusal:
                return JSONResponse({"error": self.refusal}, 400)
            self.collection = {**NO_COLLECTION, "state": "running"}
            return JSONResponse(self.collection)

        @app.delete("/api/collection")
        def stop_collection() -> dict[str, Any]:
            self.collection = {**self.collection, "state": "stopping"}
            return self.collection

        @app.put("/api/collect-mode")
        def collect(body: dict[str, Any]) -> dict[str, Any]:
            self.collect = body["mode"]
            return {"mode": self.collect}

        return app


def bar(minute: int, base: float, flags: int = 0) -> Candle:
    """A candle whose prices are a function of its minute."""
    a, b = (minute * 7919) % 97 / 9_700, ((minute + 1) * 7919) % 97 / 9_700
    opened, closed = round(base + a, 5), round(base + b, 5)
    high, low = round(max(opened, closed) + 0.002, 5), round(min(opened, closed) - 0.002, 5)
    return Candle(minute * MINUTE, opened, high, low, closed, 100 + minute % 40, 120, flags)


@contextlib.contextmanager
def dashboard(folder: Path, daemon: FakeDaemon) -> Iterator[str]:
    """``fluxcap dashboard`` of that daemon; yields its address."""
    where = ("--control", daemon.control, "--pub", daemon.server.pub_endpoint, "--rep", daemon.server.rep_endpoint)
    with _dashboard(folder, *where) as url:
        yield url


@contextlib.contextmanager
def log_dashboard(folder: Path, servers: str) -> Iterator[str]:
    """``fluxcap dashboard`` of a log; yields its address."""
    with _dashboard(folder, "--via", servers) as url:
        yield url


@contextlib.contextmanager
def _dashboard(folder: Path, *where: str) -> Iterator[str]:
    process = Process(folder, "dashboard", *where, "--port", "0")

    def address() -> str | None:
        assert process.running, process.err[-2000:]
        return process.out.partition(" at ")[2].partition("  ")[0] or None

    try:
        yield await_that(address, "the dashboard's address")
    finally:
        process.discard()
        assert "Traceback" not in process.err, process.err[-3000:]
