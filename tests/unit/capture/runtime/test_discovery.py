"""Finding the daemon that runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fluxcap.bridge.http.run_file import RunFile, write_run_file
from fluxcap.capture.runtime.discovery import control_address, daemon_endpoints, find_daemon
from fluxcap.schemas.errors import ConfigError, NotAnswering


def test_the_address_given_goes_before_everything(tmp_path: Path):
    assert control_address(tmp_path, "127.0.0.1:4711") == "http://127.0.0.1:4711"
    assert control_address(tmp_path, "http://box:4711") == "http://box:4711"


def test_the_data_folder_tells_where_its_daemon_is(tmp_path: Path):
    write_run_file(tmp_path, RunFile(os.getpid(), "http://127.0.0.1:4711", "", ""))

    assert control_address(tmp_path, None) == "http://127.0.0.1:4711"


def test_without_a_run_file_it_is_the_default_port(tmp_path: Path):
    assert control_address(tmp_path, None) == "http://127.0.0.1:3001"


def test_a_run_file_that_a_kill_left_behind_is_said_to_be_one(tmp_path: Path):
    write_run_file(tmp_path, RunFile(2**22, "http://127.0.0.1:4711", "", ""))

    with pytest.raises(NotAnswering, match="ended unexpectedly; start one with `fluxcap run`"):
        control_address(tmp_path, None)


def test_a_daemon_is_asked_where_its_data_folder_says(tmp_path: Path):
    write_run_file(tmp_path, RunFile(os.getpid(), "http://127.0.0.1:9", "", ""))

    with find_daemon(tmp_path) as daemon:
        assert daemon.url == "http://127.0.0.1:9"


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_a_machine_named_by_ipv6_has_the_default_ports(host: str):
    assert daemon_endpoints(host) == ("tcp://[::1]:5556", "tcp://[::1]:5557", "http://[::1]:3001")


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "desk:5556"])
def test_a_machine_that_nobody_can_reach_is_refused(host: str):
    with pytest.raises(ConfigError, match="no machine to connect to"):
        daemon_endpoints(host)


@pytest.mark.parametrize("control", ["desk:70000", "0.0.0.0:3001", "http://"])
def test_a_control_address_that_nobody_can_reach_is_refused(tmp_path: Path, control: str):
    with pytest.raises(ConfigError, match="http://HOST:PORT"):
        control_address(tmp_path, control)


def test_a_daemon_on_all_addresses_is_reached_by_loopback(tmp_path: Path):
    write_run_file(tmp_path, RunFile(os.getpid(), "http://0.0.0.0:4711", "tcp://0.0.0.0:1", "tcp://[::]:2"))

    assert daemon_endpoints(None, tmp_path) == ("tcp://127.0.0.1:1", "tcp://[::1]:2", "http://127.0.0.1:4711")
