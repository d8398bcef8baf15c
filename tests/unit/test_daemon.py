"""The daemon put together: what it holds, how it starts without a browser, how it lets go."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from capture.daemon import Daemon
from capture.daemon_files import RUN_FILE, read_run_file
from capture.platforms.registry import platform_named
from capture.settings import Settings
from schemas.errors import AlreadyRunning, ConfigError, StoreLocked

FREE = "tcp://127.0.0.1:0"


def settings(folder: Path, **changes: Any) -> Settings:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = probe.getsockname()[1]
    fixed: dict[str, Any] = {
        "chrome": f"127.0.0.1:{nobody}",
        "data_dir": folder / "data",
        "pub": FREE,
        "rep": FREE,
        "web": False,
        "control_port": 0,
        "source": "TEST",
    }
    return Settings(**(fixed | changes))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(settings(tmp_path_factory.mktemp("daemon"), focus=("EURUSD_otc",))) as running:
        yield running


def test_it_runs_without_a_browser_and_says_why(daemon: Daemon):
    status = daemon.status()

    assert (status.chrome, status.pid, status.source) == ("not reachable", os.getpid(), "TEST")
    assert status.focus_symbols == ("EURUSD_otc",)


def test_its_run_file_tells_where_it_is_and_goes_with_it(tmp_path: Path):
    with Daemon(settings(tmp_path)) as daemon:
        run = read_run_file(tmp_path / "data")
        assert run is not None
        assert (run.pid, run.control) == (os.getpid(), daemon.identity.control)

    assert not (tmp_path / "data" / RUN_FILE).exists()


def test_it_leaves_no_thread_behind_and_may_be_stopped_twice(tmp_path: Path):
    before = set(threading.enumerate())
    daemon = Daemon(settings(tmp_path))
    daemon.start()

    daemon.stop()
    daemon.stop()

    left = [t.name for t in set(threading.enumerate()) - before if t.name.startswith("fluxcap")]
    assert left == []


def test_a_second_one_on_the_folder_is_refused(daemon: Daemon):
    with pytest.raises(StoreLocked):
        Daemon(settings(daemon.settings.data_dir.parent))


@pytest.mark.parametrize("which", ["pub", "rep"])
def test_a_port_in_use_is_refused_with_the_name_of_its_holder(daemon: Daemon, tmp_path: Path, which: str):
    endpoint = getattr(daemon.identity, which)

    with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"):
        Daemon(settings(tmp_path / "other", **{which: endpoint}))


def test_a_control_port_in_use_is_refused_and_lets_go_of_the_store(daemon: Daemon, tmp_path: Path):
    port = int(daemon.identity.control.rpartition(":")[2])

    with pytest.raises(AlreadyRunning, match=f"Port {port} on 127.0.0.1 is taken by process {os.getpid()}"):
        Daemon(settings(tmp_path / "other", control_port=port))

    with Daemon(settings(tmp_path / "other")) as again:
        assert again.pipeline.alive


def test_an_unknown_platform_is_refused_by_name():
    with pytest.raises(ConfigError, match="There is no platform 'nosuch'; known: generic, pocketoption"):
        platform_named("nosuch", ())
