"""``--connect HOST`` with nothing but the host: a daemon with CURVE keys at its default ports.

Its address is another one of loopback, so that the ports are free whatever else runs here.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxcap.bridge.http.run_file import RUN_FILE
from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.system.folders import STORE_FILE
from fluxcap.bridge.transport.curve import create_keys
from fluxcap.schemas.types import Candle, StreamKey
from tests.support.browser.webpage import web_page
from tests.support.daemon.live_rig import NOBODY, SOURCE, Process
from tests.support.daemon.terminal import Terminal
from tests.support.patience import await_that

SYMBOL = "EURUSD_otc"
HOST = f"127.{os.getpid() % 200 + 20}.{os.getpid() // 200 % 250}.7"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's and one client's, in one folder as the README has them made."""
    folder = tmp_path_factory.mktemp("keys") / "keys"
    create_keys(folder, ("server", "laptop"))
    return folder


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Iterator[Process]:
    """A daemon without a browser, with seven candles of before."""
    try:
        socket.create_server((HOST, 5556)).close()
    except OSError as error:
        pytest.skip(f"{HOST} cannot be had on this machine: {error}")
    folder = tmp_path_factory.mktemp("daemon")
    data = folder / "data"
    with WireServer(data / STORE_FILE, "tcp://127.0.0.1:0", "tcp://127.0.0.1:0") as before:
        candles = [Candle(60_000 * n, 1.1, 1.3, 1.0, 1.2, 9.0, 9) for n in range(1, 8)]
        before.publish({StreamKey(SOURCE, SYMBOL, "1m"): candles})
    where = ("--pub", f"tcp://{HOST}:5556", "--rep", f"tcp://{HOST}:5557", "--web-host", HOST, "--curve", str(keys))
    options = ("--chrome", f"127.0.0.1:{NOBODY}", "--focus", SYMBOL, "--source", SOURCE, "--data-dir", str(data))
    process = Process(folder, "run", *options, *where)
    try:
        await_that(lambda: (data / RUN_FILE).exists() or not process.running, "the daemon's start")
        assert process.running, process.err
        yield process
    finally:
        process.end()


@pytest.fixture
def laptop(keys: Path) -> Path:
    """What the other machine has: the same folder, without the server's secret."""
    secret = keys / "server.key_secret"
    secret.unlink(missing_ok=True)
    return keys


def test_watch_shows_its_streams(daemon: Process, laptop: Path, tmp_path: Path) -> None:
    with Terminal("watch", "--connect", HOST, "--keys", str(laptop), "--data-dir", str(tmp_path)) as terminal:
        terminal.wait_screen(f"{SYMBOL} 1m", "#7", "lock EURUSD_otc")
        terminal.type("q")

        assert terminal.wait() == 0


@pytest.mark.browser
def test_dashboard_shows_its_candles(daemon: Process, laptop: Path, tmp_path: Path) -> None:
    served = Process(tmp_path / "page", "dashboard", "--connect", HOST, "--keys", str(laptop), "--port", "0")
    try:
        url = await_that(lambda: served.out.partition("at http://127")[2].partition("  ")[0], "its address")
        with web_page(tmp_path / "profile") as page:
            page.open(f"http://127{url}?source=platform&asset={SYMBOL}")
            page.wait_chart(lambda chart: chart["count"] == 7, "the candles")
            page.wait(lambda: page.text("fact-newest").startswith("#7 "), "the sequence")
            assert page.complaints() == []
    finally:
        served.end()
    assert f"Dashboard of http://{HOST}:3001" in served.out


def test_without_keys_it_is_said_what_is_missing(daemon: Process, tmp_path: Path) -> None:
    with Terminal("watch", "--connect", HOST, "--data-dir", str(tmp_path)) as terminal:
        terminal.wait_screen("the server requires keys")
        terminal.type("q")
        terminal.wait()
