"""The doctor as a new user meets it: with nothing, with Chrome, with the page, with a daemon."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fluxcap.capture.simulator import SimulatedSite, SiteConfig
from tests.support.browser.chromium import Chromium
from tests.support.daemon.live_rig import DaemonProcess, run_command
from tests.support.patience import await_that

pytestmark = pytest.mark.slow


def doctor(folder: Path, *options: str) -> tuple[int, dict[str, dict[str, Any]]]:
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("FLUX")]:
            environment.delenv(name)
        for name, value in free_ports().items():
            environment.setenv(name, value)
        run = run_command("doctor", "--json", *options, cwd=folder)
    assert run.stderr == ""
    return run.returncode, {found["subject"]: found for found in json.loads(run.stdout)}


def all_seen(code: int, found: dict[str, dict[str, Any]]) -> tuple[int, dict[str, dict[str, Any]]] | None:
    """What was found, if all was: the doctor waits a second for an answer, in which a busy machine may give none."""
    subjects = ("devtools port", "platform tab", "platform socket", "platform clock", "daemon")
    return (code, found) if all(found.get(name, {}).get("verdict") == "ok" for name in subjects) else None


def free_ports() -> dict[str, str]:
    return {"FLUXCAP_PUB": "tcp://127.0.0.1:0", "FLUXCAP_REP": "tcp://127.0.0.1:0", "FLUXCAP_WEB_PORT": "0"}


def test_with_nothing_running_it_says_how_to_begin(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    code, found = doctor(tmp_path, "--chrome", f"127.0.0.1:{port}")

    assert code == 0
    assert found["devtools port"]["verdict"] == "warning"
    assert "fluxcap chrome" in found["devtools port"]["mend"]
    assert {"versions", "packages", "settings", "daemon", "PUB port", "disk", "store", "local clocks"} <= set(found)
    assert list(tmp_path.iterdir()) == []


def test_a_problem_makes_the_exit_code_1(tmp_path: Path):
    (tmp_path / "fluxcap.toml").write_text("nonsense = 1")

    code, found = doctor(tmp_path)

    assert code == 1
    assert found["settings"]["verdict"] == "problem"


@pytest.mark.browser
def test_chrome_tab_socket_and_clock_are_seen_without_a_daemon_and_through_one(
    chromium: Callable[..., Chromium], tmp_path: Path
):
    with SimulatedSite(SiteConfig(rate_hz=10)) as site:
        browser = chromium()
        options = ("--chrome", f"127.0.0.1:{browser.port}", "--platform-url", f"127.0.0.1:{site.port}")
        _, without_tab = doctor(tmp_path, *options)
        browser.open(site.url)
        code, alone = await_that(lambda: all_seen(*doctor(tmp_path, *options)), "a page that is seen")
        daemon = DaemonProcess(tmp_path / "daemon", browser.port, "--platform-url", f"127.0.0.1:{site.port}")
        try:
            daemon.await_status(lambda seen: any(s["feed"] == "live" for s in seen["streams"]), "a live stream")
            beside = (*options, "--data-dir", str(daemon.data_dir))
            through_code, through = await_that(lambda: all_seen(*doctor(tmp_path, *beside)), "the same by the daemon")
        finally:
            daemon.end()

    assert without_tab["platform tab"]["verdict"] == "warning"
    assert str(browser.profile) in alone["chrome flags"]["text"]
    assert "+2 h" in alone["platform clock"]["text"]
    assert f"process {daemon.pid}" in through["daemon"]["text"]
    assert (code, through_code) == (0, 0)
