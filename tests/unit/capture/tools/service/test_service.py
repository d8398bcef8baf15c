"""The service of a data folder: what is asked of the system, and of the daemon that runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from fluxcap.bridge.http.run_file import RunFile
from fluxcap.capture.cli.app import run_cli
from fluxcap.capture.tools.service import service
from fluxcap.capture.tools.service.service import Service
from fluxcap.capture.tools.service.systems import Done, Systemd
from fluxcap.schemas.errors import FluxcapError

RUN = RunFile(4711, "http://127.0.0.1:3001", "tcp://127.0.0.1:5556", "tcp://127.0.0.1:5557")


class Computer:
    """Systemd, and at most one daemon: what happens is noted in order."""

    def __init__(self, folder: Path) -> None:
        self.done: list[str] = []
        self.ever: set[str] = set()
        self.runs: RunFile | None = None
        self.refuses = ""
        self.starts = True
        self.manager = Systemd(self.systemctl, folder)

    def systemctl(self, words: Sequence[str]) -> Done:
        if words[2] == "is-enabled":
            return Done(0 if "enable" in self.ever else 1, "")
        self.done.append(words[2])
        self.ever.add(words[2])
        if words[2] == self.refuses:
            return Done(1, "No medium found")
        if words[2] == "start" and self.starts:
            self.runs = RUN
        return Done(0, "")

    def stop_daemon(self, data_dir: Path) -> int | None:
        run, self.runs = self.runs, None
        self.done.append("orderly end")
        return run.pid if run else None


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Computer:
    found = Computer(tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(service, "running_daemon", lambda _folder: found.runs)
    monkeypatch.setattr(service, "stop_daemon", found.stop_daemon)
    monkeypatch.setattr(service, "await_daemon", lambda _folder, _s: found.runs)
    monkeypatch.setattr(service, "manager_of", lambda: found.manager)
    return found


def test_a_daemon_that_runs_is_ended_in_order_before_the_service_takes_its_place(computer: Computer):
    computer.runs = RUN

    started = Service().install(and_start=True)

    assert computer.done == ["enable", "daemon-reload", "orderly end", "start"]
    assert (started.stopped, started.run) == (4711, RUN)


def test_a_system_that_refuses_costs_no_daemon_that_runs(computer: Computer):
    computer.runs, computer.refuses = RUN, "enable"

    with pytest.raises(FluxcapError, match="No medium found"):
        Service().install(and_start=True)

    assert computer.runs is RUN


def test_a_daemon_that_does_not_answer_is_told_with_its_log(computer: Computer):
    computer.starts = False

    with pytest.raises(FluxcapError, match=r"no fluxcap answers after 30 s; see .*fluxcap\.log"):
        Service().install(and_start=True)


def test_starting_without_an_installation_says_what_to_do(computer: Computer):
    with pytest.raises(FluxcapError, match="`fluxcap service install` does it"):
        Service().start()


def test_starting_what_runs_changes_nothing(computer: Computer):
    Service().install(and_start=True)
    computer.done.clear()

    assert Service().start().run is RUN
    assert computer.done == []


def test_stopping_ends_the_daemon_in_order_before_the_system_is_told(computer: Computer):
    Service().install(and_start=True)
    computer.done.clear()

    assert Service().stop() == 4711
    assert computer.done == ["orderly end", "stop"]


def test_removing_leaves_candles_and_settings(computer: Computer, tmp_path: Path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "fluxcap.duckdb").touch()
    Service().install(and_start=True)

    assert Service().remove()
    assert not Service().remove()
    assert (tmp_path / "data" / "fluxcap.duckdb").exists()


@pytest.mark.costly
def test_the_commands_say_what_happened(computer: Computer, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    codes = [run_cli(["service", *words.split()]) for words in ("status", "install", "status", "stop", "remove")]

    told = capsys.readouterr().out
    assert codes == [1, 0, 0, 0, 0]
    assert "installed  no: `fluxcap service install`" in told
    assert f"Installed: {computer.manager.file}" in told
    assert "fluxcap runs (process 4711); `fluxcap status`, http://127.0.0.1:3001/" in told
    assert "fluxcap (process 4711) has ended." in told
    assert "candles and settings are as they were" in told


@pytest.mark.costly
def test_variables_that_a_service_does_not_have_are_named(
    computer: Computer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delenv("FLUXCAP_CAPTURES", raising=False)  # of whoever runs the tests beside recorded data
    monkeypatch.setenv("FLUXCAP_INTERVAL", "5s")

    run_cli(["service", "install", "--no-start"])

    told = capsys.readouterr().out
    assert "A service does not have the variables of this shell: FLUXCAP_INTERVAL" in told
    assert "It starts when you log in next" in told


@pytest.mark.costly
def test_what_would_be_installed_can_be_looked_at(computer: Computer, capsys: pytest.CaptureFixture[str]):
    assert run_cli(["service", "show"]) == 0

    assert capsys.readouterr().out.startswith("[Unit]\n")
    assert computer.done == []
    assert not computer.manager.file.exists()
