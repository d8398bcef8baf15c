"""Start a Chrome that is ready for capture: a profile of its own, the DevTools port open on loopback.

Branded Chrome from 136 on ignores the port on the default profile, hence the profile. Used by ``fluxcap chrome`` and
the demo; ``fluxcap run`` never starts a browser.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from fluxcap.bridge.system.processes import end_with_children
from fluxcap.capture.chrome.browsers import choose_browser, is_snap
from fluxcap.capture.chrome.endpoint import DEFAULT_HOST, DEFAULT_PORT, BrowserInfo, active_port, probe
from fluxcap.capture.runtime.folders import own_profile
from fluxcap.schemas.errors import ChromeUnavailable, ConfigError

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
_POLL_S = 0.05

_FLAGS = (
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-crash-restore-bubble",
    # A hidden or covered window must go on receiving at full speed:
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
)
_HEADLESS_FLAGS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--window-size=1280,900",
)


def default_profile(program: Path | None = None) -> Path:
    """The profile that ``fluxcap chrome`` uses unless another is chosen. ``program``: the browser that will use it."""
    if program is not None and is_snap(program):
        return Path.home() / "snap" / program.name / "common" / "fluxcap"
    return own_profile()


def find_chrome(wanted: str | None = None) -> Path:
    """The browser to start: ``FLUXCAP_CHROME_BINARY`` if set, else ``wanted``, else the first that is installed.

    Raises ConfigError when what is named is nothing that can be started, ChromeUnavailable when there is none.
    """
    configured = os.environ.get("FLUXCAP_CHROME_BINARY")
    if configured:
        found = shutil.which(configured)
        if found is None:
            raise ConfigError(
                f"FLUXCAP_CHROME_BINARY names {configured!r}, which is no program; give Chrome's full path."
            )
        return Path(found)
    return choose_browser(wanted).program


def launch_flags(
    port: int, profile: Path, headless: bool = False, url: str = "about:blank", extra: Iterable[str] = ()
) -> list[str]:
    """Arguments for a Chrome ready for capture. ``port`` 0 lets it choose a free one."""
    flags = [f"--remote-debugging-port={port}", f"--user-data-dir={profile}", *_FLAGS]
    if headless:
        flags += _HEADLESS_FLAGS
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        flags.append("--no-sandbox")  # root cannot have the sandbox; nobody else goes without it
    return [*flags, *extra, url]


class ChromeProcess:
    """A Chrome that ``start_chrome`` started and that answers. As a context manager it is stopped at the end."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, profile: Path, info: BrowserInfo) -> None:
        self._process = process
        self.port = port
        self.profile = profile
        self.info = info

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it has ended; False when it still runs after ``timeout_s``."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End this browser and all it started, and nothing else: ask first, kill what is left."""
        _end_group(self._process, timeout_s)

    def __enter__(self) -> ChromeProcess:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()


def start_chrome(
    port: int = DEFAULT_PORT,
    profile: Path | None = None,
    headless: bool = False,
    url: str = "about:blank",
    extra: Iterable[str] = (),
    *,
    executable: Path | None = None,
    timeout_s: float = START_TIMEOUT_S,
) -> ChromeProcess:
    """Start Chrome and return when its DevTools port answers.

    ``port`` 0: any free one, to be read from the result. ``profile``: fluxcap's own unless given, made when
    absent.

    Raises ChromeUnavailable: the port is taken, the profile is in use, Chrome ended or did not answer in ``timeout_s``
    seconds; ConfigError: no such program or the profile folder cannot be made.
    """
    _require_free(port)
    program = executable or find_chrome()
    profile = (profile or default_profile(program)).absolute()
    command = [str(program), *launch_flags(port, profile, headless, url, extra)]
    try:
        profile.mkdir(parents=True, exist_ok=True)
        with (profile / "chrome.log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - the user's own browser with our flags
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
    except OSError as error:
        raise ConfigError(f"Chrome cannot be started: {error}.") from None
    try:
        port, info = _await_answer(process, port, profile, time.monotonic() + timeout_s)
    except BaseException:
        _end_group(process, 0)
        raise
    return ChromeProcess(process, port, profile, info)


def _require_free(port: int) -> None:
    """Refuse a port that somebody listens on, and say who."""
    if not port:
        return
    try:
        socket.create_connection((DEFAULT_HOST, port), 1).close()
    except OSError:
        return
    try:
        info = probe(DEFAULT_HOST, port)
    except ChromeUnavailable:
        raise ChromeUnavailable(f"Port {port} is taken by another program; choose another with --port.") from None
    raise ChromeUnavailable(f"{info.product} already answers on port {port}; use it, or choose another with --port.")


def _await_answer(
    process: subprocess.Popen[bytes], port: int, profile: Path, deadline: float
) -> tuple[int, BrowserInfo]:
    """Poll until the browser answers: on the port it was given, which was free, or on the one its port file names.

    Given a port, Chrome writes no port file (seen with 156).
    """
    while time.monotonic() < deadline:
        ended = process.poll()
        if ended == 0:
            raise ChromeUnavailable(f"A Chrome is already running on {profile}; close it or choose another --profile.")
        if ended is not None:
            raise ChromeUnavailable(f"Chrome exited at start (exit code {ended}); see {profile / 'chrome.log'}.")
        expected = (port, "") if port else active_port(profile)
        if expected is not None:
            with contextlib.suppress(ChromeUnavailable):
                info = probe(DEFAULT_HOST, expected[0])
                if info.websocket_url.endswith(expected[1]):  # else the file is an earlier browser's
                    return expected[0], info
        time.sleep(_POLL_S)
    raise ChromeUnavailable(f"Chrome opened no DevTools port in time; see {profile / 'chrome.log'}.")


def _end_group(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    if sys.platform == "win32":
        end_with_children(process.pid)  # some browsers are started by a launcher of their own
        process.wait(STOP_TIMEOUT_S)
        return
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout_s)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(STOP_TIMEOUT_S)
