"""Serves the dashboard alone, in the foreground, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import threading

from fluxcap.bridge.dashboard.app import DashboardTarget, dashboard_app
from fluxcap.bridge.system.signals import catch_stop_signals, exit_code
from fluxcap.capture.api.http_server import HttpServer
from fluxcap.capture.runtime import log
from fluxcap.capture.runtime.output import say

LOOK_S = 0.2


def run_dashboard_server(target: DashboardTarget, port: int) -> int:
    """Exit code: 0 after SIGTERM, 130 after Ctrl-C. Raises AlreadyRunning, ConfigError."""
    log.set_up()
    server = HttpServer(lambda: dashboard_app(target), "127.0.0.1", port)
    idle = threading.Event()
    with log.own_output(as_json=False), catch_stop_signals() as asked:
        server.start()
        say(f"Dashboard of {target} at http://127.0.0.1:{server.port}/  (Ctrl-C to stop)")
        while not asked and server.failure is None:
            idle.wait(LOOK_S)  # signal handlers run within
        server.stop()
    return 1 if server.failure is not None else exit_code(asked)
