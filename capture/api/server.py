"""Serves the dashboard alone, in the foreground, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
import threading
from types import FrameType

import typer

from fluxcap.bridge.dashboard.app import dashboard_app
from fluxcap.bridge.dashboard.daemon_backend import DashboardTarget
from fluxcap.capture.api.app import HttpServer
from fluxcap.capture.runtime import log


def run_dashboard_server(target: DashboardTarget, port: int) -> int:
    """Exit code: 0 after SIGTERM, 130 after Ctrl-C. Raises AlreadyRunning, ConfigError."""
    log.set_up()
    server = HttpServer(dashboard_app(target), "127.0.0.1", port)
    asked: list[int] = []
    done = threading.Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        done.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    server.start()
    typer.echo(f"Dashboard of {target} at http://127.0.0.1:{server.port}/  (Ctrl-C to stop)")
    while not done.wait(0.2):
        pass
    server.stop()
    return 130 if asked[0] == signal.SIGINT else 0
