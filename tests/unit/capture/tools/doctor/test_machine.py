"""What the doctor finds on a machine."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from fluxcap.capture.tools.doctor import machine
from fluxcap.capture.tools.doctor.finding import Verdict
from tests.support.systems import is_wine

Usage = shutil.disk_usage("/").__class__


def test_versions_are_told():
    found = machine.check_python()

    assert found.verdict is Verdict.OK
    assert "fluxcap " in found.text
    assert "Python 3." in found.text


def test_packages_that_are_missing_or_too_old_are_named_and_those_for_development_are_not():
    needed = ["duckdb>=1.4", "numpy>=2.0", "rich", "pytest>=8.3; extra == 'dev'"]
    have = {"duckdb": "1.3.9", "rich": "1"}

    found = machine.check_packages(needed, have.get)

    assert found.verdict is Verdict.PROBLEM
    assert found.text == "duckdb 1.3.9 is older than 1.4; numpy is missing."
    assert found.fix


def test_packages_as_needed_are_ok():
    assert machine.check_packages().verdict is Verdict.OK
    assert machine.check_packages(["a>=1.10"], lambda name: "1.10.0rc1").verdict is Verdict.OK


@pytest.mark.parametrize(
    ("free", "verdict"), [(10**10, Verdict.OK), (10**9, Verdict.WARNING), (10**8, Verdict.PROBLEM)]
)
def test_little_space_is_a_warning_and_next_to_none_a_problem(
    free: int, verdict: Verdict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda place: Usage(10**12, 0, free))

    found = machine.check_disk(tmp_path / "not" / "there" / "yet")

    assert found.verdict is verdict
    assert bool(found.fix) == (verdict is not Verdict.OK)


def test_a_file_in_place_of_the_data_folder_is_a_problem(tmp_path: Path):
    (tmp_path / "data").write_text("")

    assert machine.check_disk(tmp_path / "data").verdict is Verdict.PROBLEM


def test_a_wall_clock_that_is_being_set_is_a_warning():
    assert machine.check_clocks(1_000.2, 1_000.0).verdict is Verdict.OK
    assert machine.check_clocks(1_900.0, 1_000.0).verdict is Verdict.WARNING
    assert "-900 ms" in machine.check_clocks(100.0, 1_000.0).text


def test_a_port_that_is_free_is_ok():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    assert machine.check_own_port("PUB port", "127.0.0.1", port, "--pub", False).verdict is Verdict.OK


def test_a_port_that_is_held_names_its_holder_and_the_option():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = machine.check_own_port("PUB port", "127.0.0.1", listener.getsockname()[1], "--pub", False)
        ours = machine.check_own_port("PUB port", "127.0.0.1", listener.getsockname()[1], "--pub", True)

    assert found.verdict is Verdict.PROBLEM
    assert f"is held by {'another program' if is_wine() else f'process {os.getpid()}'}" in found.text
    assert found.fix == "Stop it, or choose another with --pub."
    assert ours.verdict is Verdict.OK


def test_an_address_that_is_not_this_machines_is_a_problem():
    found = machine.check_own_port("web port", "192.0.2.1", 3001, "--web-port", False)

    assert (found.verdict, "cannot be used" in found.text) == (Verdict.PROBLEM, True)


def test_port_0_is_any():
    assert machine.check_own_port("web port", "127.0.0.1", 0, "--web-port", False).verdict is Verdict.OK
