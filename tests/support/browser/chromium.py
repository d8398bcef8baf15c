"""A real headless Chromium for the tests: started on a free DevTools port, ended with everything it started.

The browser leads a process group of its own, so that ending the group ends its renderers and helpers too and
nothing else. Used through the ``chromium`` fixture of fixtures.py.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.support.daemon.plain_http import request
from tests.support.patience import PATIENCE_S

GRACE_S = 60.0
"""A browser that has not ended so long after it was asked to is killed."""

HEADLESS_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-component-extensions-with-background-pages",
    "--disable-default-apps",
    "--disable-breakpad",
    "--mute-audio",
    # Two pages of the address bar's own, loaded at each start, cost as much as all the rest of it.
    "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup",
    "--window-size=1280,900",
)


def chromium_executable() -> str | None:
    """Path of the browser: ``FLUXCAP_CHROMIUM``, or the first of the usual names on PATH, or None."""
    configured = os.environ.get("FLUXCAP_CHROMIUM")
    if configured:
        return configured
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, map(shutil.which, names)), None)


class Chromium:
    """One browser, its profile and its DevTools port.

    ``port`` is valid while it runs and stays the same over ``restart()``. ``process`` is the browser's own process.
    """

    def __init__(self, profile: Path, *args: str, url: str = "about:blank", port: int = 0) -> None:
        self.profile = profile
        self.url = url
        self.port = port
        self.args = args
        self.process: subprocess.Popen[bytes]
        self.start()

    @property
    def endpoint(self) -> str:
        """The DevTools HTTP endpoint, e.g. ``http://127.0.0.1:41234``."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def start(self) -> None:
        """Start the browser and return when its DevTools port listens."""
        executable = chromium_executable()
        if executable is None:
            raise FileNotFoundError("no Chromium found; install chromium or set FLUXCAP_CHROMIUM")
        self.profile.mkdir(parents=True, exist_ok=True)
        port_file = self.profile / "DevToolsActivePort"
        port_file.unlink(missing_ok=True)
        command = [
            executable,
            *HEADLESS_FLAGS,
            f"--remote-debugging-port={self.port}",
            f"--user-data-dir={self.profile}",
            *self.args,
            self.url,
        ]
        with (self.profile / "chromium.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self.port = self._await_port(port_file)
        except BaseException:
            self.kill()
            raise

    def _await_port(self, port_file: Path) -> int:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"Chromium ended at start with {self.process.returncode}: {self.log_tail()}")
            if self.port:
                if self._answers():
                    return self.port
            elif port_file.exists() and (lines := port_file.read_text().split()):
                return int(lines[0])
            time.sleep(0.02)
        raise TimeoutError(f"Chromium opened no DevTools port in {PATIENCE_S:.0f} s: {self.log_tail()}")

    def _answers(self) -> bool:
        try:
            return request(self.port, "GET", "/json/version")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def log_tail(self) -> str:
        """The last lines the browser wrote."""
        return (self.profile / "chromium.log").read_text(errors="replace")[-1000:]

    def version(self) -> dict[str, Any]:
        """``/json/version``: among others ``webSocketDebuggerUrl`` of the browser."""
        return dict(self._http("GET", "/json/version"))

    def targets(self) -> list[dict[str, Any]]:
        """``/json/list``: pages, workers and frames."""
        return list(self._http("GET", "/json/list"))

    def open(self, url: str) -> dict[str, Any]:
        """Open a new tab; returns its target with ``id`` and ``webSocketDebuggerUrl``."""
        return dict(self._http("PUT", f"/json/new?{quote(url, safe='')}"))

    def close_tab(self, target_id: str) -> None:
        status, body = request(self.port, "GET", f"/json/close/{target_id}")
        assert status == 200, body

    def _http(self, method: str, path: str) -> Any:
        status, body = request(self.port, method, path)
        assert status == 200, body
        return json.loads(body)

    def kill(self) -> None:
        """SIGKILL the browser and all it started, as a crash would; returns when it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask the browser to end (SIGTERM); kill what is left."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """End the browser if it runs and start it again on the same port with the same profile and flags."""
        self.stop()
        self.start()

    def _end(self, how: signal.Signals) -> None:
        if self.running:
            os.killpg(self.process.pid, how)
            try:
                self.process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(PATIENCE_S)
        self._end_orphans()

    def _end_orphans(self) -> None:
        """Kill what is left of the group after its leader; return when nothing of it lives."""
        deadline = time.monotonic() + PATIENCE_S
        while self.group_processes() and time.monotonic() < deadline:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            time.sleep(0.01)

    def group_processes(self) -> list[int]:
        """PIDs of the living processes of this browser. The dead that wait for init to collect them do not count."""
        living = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _parent, group = stat.read_text().rpartition(")")[2].split()[:3]
            except (OSError, ValueError):  # ended while we looked
                continue
            if int(group) == self.process.pid and state not in "ZX":
                living.append(int(stat.parent.name))
        return living
