"""Puts the page on a web server: on the daemon's, or on one of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
from fastapi import FastAPI
from nicegui import app as nicegui_app
from nicegui import ui

from fluxcap.bridge.dashboard.daemon_backend import DaemonBackend, DashboardTarget
from fluxcap.bridge.dashboard.jetstream_backend import JetStreamBackend
from fluxcap.bridge.dashboard.page import ChartPage
from fluxcap.bridge.http.daemon_client import DaemonClient
from fluxcap.bridge.http.origin import LOCAL_NAMES, OriginGuard
from fluxcap.bridge.web.reader import ReaderTarget
from fluxcap.bridge.web.readers import AskGaps, Readers
from fluxcap.bridge.web.routes import add_readers
from fluxcap.schemas.errors import ConfigError
from fluxcap.schemas.types import Gap, StreamKey

_FOLDER = Path(__file__).parent
_ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'><rect width='32' height='32' rx='7' fill='#18212b'/>"
    "<path d='M10 6v20M22 6v20' stroke='#9aa7b5' stroke-width='2'/><rect x='7' y='11' width='6' height='10' rx='1' "
    "fill='#2fb38a'/><rect x='19' y='9' width='6' height='12' rx='1' fill='#e5645d'/></svg>"
)
RECONNECT_S = 20
"""How long a page that lost its connection (a busy machine, a phone put away) may come back as it was."""
_mounted = False


def mount_pages(app: FastAPI, pages: Callable[[], None]) -> None:
    """Run NiceGUI under ``app`` at ``/``; ``pages`` defines them. Once in a process: NiceGUI has one of everything."""
    global _mounted
    if _mounted:
        raise ConfigError("This process serves a page already.")
    _mounted = True
    pages()
    ui.run_with(
        app,
        title="fluxcap",
        favicon=_ICON,
        dark=None,
        tailwind=False,
        show_welcome_message=False,
        reconnect_timeout=RECONNECT_S,
    )


def add_style() -> None:
    """The style sheet of all our pages."""
    ui.add_css((_FOLDER / "style.css").read_text("utf-8"))
    ui.colors(primary="#2f7fd6", positive="#2fb38a", negative="#e5645d", warning="#c9922e")


def mount_dashboard(app: FastAPI, target: Callable[[], DashboardTarget]) -> None:
    """The dashboard at ``/``. ``target`` is asked when the first page opens."""
    hubs: list[DaemonBackend] = []

    def pages() -> None:
        @ui.page("/")
        async def dashboard(source: str = "", asset: str = "", follow: str = "", theme: str = "") -> None:
            if not hubs:
                hubs.append(_hub(target()))
            add_style()
            page = ChartPage(hubs[0])
            client = ui.context.client
            client.on_delete(page.end)
            await client.connected()
            await page.begin({"source": source, "asset": asset, "follow": follow, "theme": theme})

    mount_pages(app, pages)

    def shut() -> None:
        for hub in hubs:
            hub.close()

    nicegui_app.on_shutdown(shut)


def _hub(target: DashboardTarget) -> DaemonBackend:
    return DaemonBackend(target) if target.via is None else JetStreamBackend(target, target.via)


def dashboard_app(target: DashboardTarget) -> FastAPI:
    """An application that is the dashboard and the routes for readers alone, for pages of this machine."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(OriginGuard, names=LOCAL_NAMES)
    with_daemon = target.via is None
    gaps = daemon_gaps(DaemonClient(target.control)) if with_daemon else None
    add_readers(app, Readers(lambda: ReaderTarget(target.pub, target.rep, target.curve, target.via), gaps))
    mount_dashboard(app, lambda: target)
    return app


def daemon_gaps(daemon: DaemonClient) -> AskGaps:
    """The blind times as a daemon tells them."""

    def ask(key: StreamKey, from_ms: int, to_ms: int | None) -> list[Gap]:
        found = msgspec.convert(daemon.gaps(key.source_id, key.symbol, from_ms), list[Gap])
        return [gap for gap in found if to_ms is None or gap.from_ms < to_ms]

    return ask
