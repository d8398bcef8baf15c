"""Puts the page on a web server: on the daemon's, or on one of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from fastapi import FastAPI, Query, Request
from fastapi.responses import PlainTextResponse, Response

from fluxcap.bridge.client.options import Via
from fluxcap.bridge.dashboard.csv_candles import reachable_timeframes, read_csv, resample
from fluxcap.bridge.dashboard.page_files import FOLDER as PAGE_FOLDER
from fluxcap.bridge.dashboard.page_files import PageFiles
from fluxcap.bridge.http.origin import LOCAL_NAMES, OriginGuard
from fluxcap.bridge.transport.curve import ClientCurve
from fluxcap.bridge.web.event_writer import candle_rows
from fluxcap.bridge.web.reader import ReaderTarget
from fluxcap.bridge.web.readers import AskGaps, Readers
from fluxcap.bridge.web.routes import add_readers
from fluxcap.schemas.errors import ConfigError, FluxcapError, NotAnswering
from fluxcap.schemas.types import CandleArray, Gap, StreamKey

if TYPE_CHECKING:
    from fluxcap.bridge.http.daemon_client import DaemonClient

CSV_SHOWN = 20_000
"""Candles of a file that are drawn at most, the newest."""
NO_DAEMON = "No daemon here: these streams come from NATS."
FORWARDED = (
    ("GET", "/api/status"),
    ("GET", "/api/assets"),
    ("GET", "/api/gaps"),
    ("GET", "/api/available-csv-files"),
    ("PUT", "/api/focus/leases/{holder}"),
    ("DELETE", "/api/focus/leases/{holder}"),
    ("PUT", "/api/collect-mode"),
    ("POST", "/api/reload"),
    ("POST", "/api/chrome/ask"),
    ("GET", "/api/collection"),
    ("POST", "/api/collection"),
    ("DELETE", "/api/collection"),
)
"""What a page that is served away from its daemon asks of it through its own server, and nothing else."""
_FOR_EVER = "public, max-age=31536000, immutable"


class DashboardTarget(msgspec.Struct, frozen=True):
    """Addresses of a daemon: PUB and request endpoints, URL of its REST API. ``curve``: keys, if it requires them.

    ``via``: JetStream in place of a daemon; then the rest is of no use.
    """

    pub: str
    rep: str
    control: str
    curve: ClientCurve | None = None
    via: Via | None = None

    def __str__(self) -> str:
        return self.control if self.via is None else self.via.servers


def mount_dashboard(app: FastAPI, csv_text: Callable[[str], str] | None) -> None:
    """The page at ``/``. csv_text: the text of a collected file by its path; None where there is no daemon.

    What the page asks of the REST API (``FORWARDED``) and of readers is to be served by the same application.
    """
    mount_page_files(app, "index.html", has_daemon=csv_text is not None)

    @app.get("/api/csv-candles")
    async def csv_candles(
        file: Annotated[str, Query(max_length=1_000)],
        timeframe: Annotated[str, Query(max_length=8)] = "",
        kind: Annotated[str, Query(max_length=8)] = "1m",
    ) -> Response:
        """A collected file as candles of a timeframe (its own where it has no such); ``kind``: as it is listed."""
        try:
            if csv_text is None:
                raise NotAnswering(NO_DAEMON)
            found = await asyncio.to_thread(_csv_candles, csv_text, file, timeframe, kind)
        except FluxcapError as error:
            return _error(error)
        return Response(msgspec.json.encode(found), media_type="application/json")


def mount_page_files(app: FastAPI, index: str, *, has_daemon: bool) -> None:
    """A page at ``/`` and its files below ``/page/``, which browsers may keep for ever."""
    files = cache(PageFiles)

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        try:
            content = (await asyncio.to_thread(files)).page(index, has_daemon=has_daemon)
        except ConfigError as error:
            return PlainTextResponse(str(error), 500)
        return Response(content, media_type="text/html; charset=utf-8", headers={"Cache-Control": "no-cache"})

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        """The icon, for which browsers ask beside any other address."""
        return Response((PAGE_FOLDER / "icon.svg").read_bytes(), media_type="image/svg+xml")

    @app.get("/page/{version}/{name}", include_in_schema=False)
    async def page_file(version: str, name: str, request: Request) -> Response:
        known = await asyncio.to_thread(files)
        found = known.get(name) if version == known.version else None
        if found is None:
            return PlainTextResponse("There is no such file; load the page again.", 404)
        headers = {"Cache-Control": _FOR_EVER, "Vary": "Accept-Encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return Response(found.gzipped, media_type=found.kind, headers=headers)
        return Response(found.content, media_type=found.kind, headers=headers)


def dashboard_app(target: DashboardTarget) -> FastAPI:
    """An application that is the dashboard and the routes for readers alone, for pages of this machine."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(OriginGuard, names=LOCAL_NAMES)
    # Not above: a daemon, which serves the page itself, needs no HTTP client.
    from fluxcap.bridge.http.daemon_client import DaemonClient

    daemon = DaemonClient(target.control) if target.via is None else None
    gaps = daemon_gaps(daemon) if daemon is not None else None
    add_readers(app, Readers(lambda: ReaderTarget(target.pub, target.rep, target.curve, target.via), gaps))
    for method, path in FORWARDED:
        app.add_api_route(path, _forward(daemon, method), methods=[method])
    mount_dashboard(app, daemon.csv_text if daemon is not None else None)
    return app


def daemon_gaps(daemon: DaemonClient) -> AskGaps:
    """The blind times as a daemon tells them."""

    def ask(key: StreamKey, from_ms: int, to_ms: int | None) -> list[Gap]:
        found = msgspec.convert(daemon.gaps(key.source_id, key.symbol, from_ms), list[Gap])
        return [gap for gap in found if to_ms is None or gap.from_ms < to_ms]

    return ask


def _forward(daemon: DaemonClient | None, method: str) -> Callable[[Request], Any]:
    async def forward(request: Request) -> Response:
        if daemon is None:
            return _error(NotAnswering(NO_DAEMON))
        query = f"?{request.url.query}" if request.url.query else ""
        try:
            status, body = await asyncio.to_thread(
                daemon.forward, method, request.url.path + query, await request.body()
            )
        except FluxcapError as error:
            return _error(error)
        return Response(body, status, media_type="application/json")

    return forward


def _csv_candles(csv_text: Callable[[str], str], file: str, timeframe: str, kind: str) -> dict[str, Any]:
    own = "1m" if kind == "tick" else kind
    candles = read_csv(csv_text(file), own)
    timeframes = reachable_timeframes(kind)
    shown = timeframe if timeframe in timeframes else (*timeframes, own)[0]
    folded: CandleArray = resample(candles, own, shown)
    return {"timeframe": shown, "timeframes": timeframes, "candles": candle_rows(folded[-CSV_SHOWN:])}


def _error(error: FluxcapError) -> Response:
    status = 503 if isinstance(error, NotAnswering) else 400
    return Response(msgspec.json.encode({"error": str(error)}), status, media_type="application/json")
