"""Finding the browser's program and the flags it is started with."""

from __future__ import annotations

import os
import socket
import stat
import sys
from pathlib import Path

import pytest

from fluxcap.bridge.system.processes import has_ended
from fluxcap.capture.chrome import launch
from fluxcap.capture.chrome.launch import find_chrome, launch_flags, start_chrome
from fluxcap.schemas.errors import ChromeUnavailable, ConfigError
from tests.support.patience import PATIENCE_S, await_that
from tests.support.systems import IS_WINDOWS, not_on_windows


def program(path: Path, code: str = "") -> Path:
    """A program of that name that runs Python code; Windows starts it by a file of commands."""
    script = path.with_name(f"{path.name}.py")
    script.write_text(code)
    if IS_WINDOWS:
        path = path.with_name(f"{path.name}.cmd")
        path.write_text(f'@"{sys.executable}" "{script}" %*\n')
    else:
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_configured_program_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = program(tmp_path / "my-chrome")
    monkeypatch.setenv("FLUXCAP_CHROME_BINARY", str(mine))

    assert find_chrome() == mine


def test_configured_program_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUXCAP_CHROME_BINARY", str(tmp_path / "absent"))

    with pytest.raises(ConfigError, match="FLUXCAP_CHROME_BINARY"):
        find_chrome()


@not_on_windows("programs are found there by their place, see test_browsers.py")
def test_chrome_is_preferred_to_chromium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLUXCAP_CHROME_BINARY", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    program(tmp_path / "chromium")
    assert find_chrome() == tmp_path / "chromium"

    program(tmp_path / "google-chrome")
    assert find_chrome() == tmp_path / "google-chrome"


@not_on_windows("snaps are Ubuntu's")
def test_a_browser_of_snap_gets_a_profile_where_it_may_write() -> None:
    assert launch.default_profile(Path("/snap/bin/chromium")) == Path.home() / "snap/chromium/common/fluxcap"
    assert launch.default_profile(Path("/usr/bin/chromium")) == launch.default_profile()


def test_flags_name_port_and_profile_and_end_with_the_page() -> None:
    flags = launch_flags(9222, Path("/p"), url="https://platform.test/", extra=["--lang=en"])

    assert flags[:2] == ["--remote-debugging-port=9222", f"--user-data-dir={Path('/p')}"]
    assert flags[-2:] == ["--lang=en", "https://platform.test/"]
    assert "--headless=new" not in flags


def test_headless_is_asked_for() -> None:
    assert "--headless=new" in launch_flags(0, Path("/p"), headless=True)


@not_on_windows("it has no user 0")
@pytest.mark.parametrize(("user", "without_sandbox"), [(0, True), (1000, False)])
def test_only_root_goes_without_the_sandbox(monkeypatch: pytest.MonkeyPatch, user: int, without_sandbox: bool) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)

    assert ("--no-sandbox" in launch_flags(0, Path("/p"))) is without_sandbox


def test_port_is_open_to_this_machine_only() -> None:
    flags = launch_flags(9222, Path("/p"), headless=True)

    assert not [flag for flag in flags if "remote-debugging-address" in flag or "remote-allow-origins" in flag]


def test_program_that_ends_at_once_is_said_to_have_ended(tmp_path: Path) -> None:
    broken = program(tmp_path / "broken", "import sys; sys.exit(3)")

    with pytest.raises(ChromeUnavailable, match=r"exited at start \(exit code 3\)"):
        start_chrome(0, tmp_path / "profile", executable=broken)


def test_program_that_hands_over_to_a_running_one_is_told(tmp_path: Path) -> None:
    handing_over = program(tmp_path / "chrome")

    with pytest.raises(ChromeUnavailable, match="already running on"):
        start_chrome(0, tmp_path / "profile", executable=handing_over)


@pytest.mark.costly
def test_program_that_opens_no_port_is_ended(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    deaf = program(
        tmp_path / "deaf",
        f"import os, pathlib, time; pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid())); time.sleep(600)",
    )

    with pytest.raises(ChromeUnavailable, match="no DevTools port in time"):
        start_chrome(0, tmp_path / "profile", executable=deaf, timeout_s=5)

    pid = int(pid_file.read_text())
    assert await_that(lambda: has_ended(pid), "its end")


def test_program_that_cannot_be_started_is_a_setting_that_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be started"):
        start_chrome(0, tmp_path / "profile", executable=tmp_path / "absent")


@pytest.mark.costly
def test_taken_port_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ChromeUnavailable, match=f"Port {port} is taken"):
            start_chrome(port, tmp_path / "profile", executable=tmp_path / "absent")

    assert not (tmp_path / "profile").exists()


def test_browser_that_is_given_a_port_need_not_write_it_down(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    version = '{"Browser": "Chrome/156", "webSocketDebuggerUrl": "ws://127.0.0.1/devtools/browser/x"}'
    browser = program(
        tmp_path / "chrome",
        "from http.server import BaseHTTPRequestHandler, HTTPServer\n"
        "class Version(BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200)\n"
        "        self.end_headers()\n"
        f"        self.wfile.write({version.encode()!r})\n"
        f"HTTPServer(('127.0.0.1', {port}), Version).serve_forever()\n",
    )

    with start_chrome(port, tmp_path / "profile", executable=browser, timeout_s=PATIENCE_S) as started:
        assert started.port == port
        assert started.info.product == "Chrome/156"
