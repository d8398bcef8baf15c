"""The service managers, with a tool of the system that only notes what it is asked."""

from __future__ import annotations

import os
import plistlib
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import pytest

from fluxcap.capture.runtime.folders import own_config_file
from fluxcap.capture.tools.service import systems
from fluxcap.capture.tools.service.systems import (
    Done,
    Launchd,
    ServiceManager,
    Systemd,
    TaskScheduler,
    config_of_service,
    manager_of,
    run_tool,
    service_command,
)
from fluxcap.capture.tools.service.texts import ServiceCommand
from fluxcap.schemas.errors import ConfigError, FluxcapError

COMMAND = ServiceCommand(("/usr/bin/python3", "-m", "fluxcap"), PurePosixPath("/tmp"), PurePosixPath("/tmp/log"))


class Tool:
    """Notes what it is asked; ``codes``: exit codes of commands that hold these words, 0 else."""

    def __init__(self, codes: dict[str, int] | None = None) -> None:
        self.asked: list[str] = []
        self.codes = codes or {}

    def __call__(self, words: Sequence[str]) -> Done:
        line = " ".join(words)
        self.asked.append(line)
        return Done(next((code for part, code in self.codes.items() if part in line), 0), "It would not.")


Make = Callable[[Tool, Path], ServiceManager]
MANAGERS: dict[str, Make] = {
    "systemd": lambda tool, folder: Systemd(tool, folder),
    "launchd": lambda tool, folder: Launchd(tool, folder, 501),
    "windows": lambda tool, folder: TaskScheduler(tool, folder, "DESK\\me"),
}
INSTALLED = {
    "systemd": ["systemctl --user enable fluxcap", "systemctl --user daemon-reload"],
    "launchd": ["launchctl bootout gui/501/io.github.fluxcap"],
    "windows": ["schtasks /Create /TN fluxcap /XML {file} /F"],
}
"""An agent is loaded at the next log-in, and as it is started."""
STARTED = {
    "systemd": "systemctl --user start fluxcap",
    "launchd": "launchctl kickstart gui/501/io.github.fluxcap",
    "windows": "schtasks /Run /TN fluxcap",
}


@pytest.mark.parametrize("system", MANAGERS)
def test_installing_writes_the_file_and_tells_the_manager_and_starts_nothing(tmp_path: Path, system: str):
    tool = Tool()
    manager = MANAGERS[system](tool, tmp_path / "folder with spaces")

    manager.install(COMMAND)

    assert manager.file.read_bytes() == manager.text(COMMAND)
    assert tool.asked == [line.format(file=manager.file) for line in INSTALLED[system]]


@pytest.mark.parametrize("system", MANAGERS)
def test_starting_tells_the_manager(tmp_path: Path, system: str):
    tool = Tool()

    MANAGERS[system](tool, tmp_path).start()

    assert tool.asked[-1] == STARTED[system]


@pytest.mark.parametrize("system", MANAGERS)
def test_removing_leaves_nothing_behind_and_works_twice(tmp_path: Path, system: str):
    tool = Tool({"/Query": 1})
    manager = MANAGERS[system](tool, tmp_path)
    manager.install(COMMAND)

    manager.remove()
    manager.remove()

    assert not manager.file.exists()
    assert not manager.is_installed


@pytest.mark.parametrize(
    ("system", "refused"), [("systemd", "enable"), ("launchd", "kickstart"), ("windows", "/Create")]
)
def test_what_the_manager_refuses_is_told_with_its_words(tmp_path: Path, system: str, refused: str):
    manager = MANAGERS[system](Tool({refused: 5}), tmp_path)

    def install_and_start() -> None:
        manager.install(COMMAND)
        manager.start()

    with pytest.raises(FluxcapError, match=r"refused \(exit code 5\): It would not\."):
        install_and_start()


def test_without_a_systemd_that_runs_it_is_enabled_for_the_next_log_in_and_told_so(tmp_path: Path):
    manager = Systemd(Tool({"daemon-reload": 1}), tmp_path)

    with pytest.raises(FluxcapError, match=r"is enabled \(.*fluxcap\.service\) and starts when you log in next"):
        manager.install(COMMAND)


def test_a_unit_that_is_written_but_not_enabled_is_not_installed(tmp_path: Path):
    manager = Systemd(Tool({"is-enabled": 1}), tmp_path)

    manager.install(COMMAND)

    assert not manager.is_installed


def test_an_agent_that_is_not_loaded_is_loaded_and_one_that_is_is_started(tmp_path: Path):
    loaded, absent = Tool(), Tool({"print": 113})

    Launchd(loaded, tmp_path, 501).start()
    Launchd(absent, tmp_path, 501).start()

    assert loaded.asked[-1] == "launchctl kickstart gui/501/io.github.fluxcap"
    assert absent.asked[-1].startswith("launchctl bootstrap gui/501 ")


@pytest.mark.parametrize("system", MANAGERS)
def test_stopping_what_has_ended_is_no_error(tmp_path: Path, system: str):
    MANAGERS[system](Tool({"kill": 3, "/End": 1}), tmp_path).stop()


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path):
    (tmp_path / "systemd").touch()

    with pytest.raises(ConfigError, match="cannot be written"):
        Systemd(Tool(), tmp_path).install(COMMAND)


@pytest.mark.parametrize(
    ("system", "kind"), [("linux", Systemd), ("freebsd14", Systemd), ("darwin", Launchd), ("win32", TaskScheduler)]
)
def test_each_system_has_its_own(system: str, kind: type):
    assert isinstance(manager_of(system, Tool()), kind)


def test_the_command_is_this_installation_with_full_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    python = str(Path("/opt/fluxcap/bin/python"))

    command = service_command(Path("data"), Path("mine.toml"), None, system="linux", python=python)

    assert command.words == (
        *(python, "-P", "-m", "fluxcap.capture.cli", "run"),
        *("--data-dir", str(tmp_path / "data"), "--config", str(tmp_path / "mine.toml")),
        *("--log-file", str(tmp_path / "data" / "logs" / "fluxcap.log")),
    )
    assert command.folder == tmp_path


def test_on_windows_it_is_the_python_without_a_window_and_one_that_starts_it_again(tmp_path: Path):
    command = service_command(tmp_path, None, tmp_path / "my.log", system="win32", python=str(tmp_path / "python.exe"))

    assert command.words[0] == str(tmp_path / "pythonw.exe")
    assert command.words[4:7] == ("service", "supervise", "run")
    assert command.words[-2:] == ("--log-file", str(tmp_path / "my.log"))
    assert "--config" not in command.words


def test_the_users_own_settings_are_found_by_the_service_itself():
    assert config_of_service(own_config_file()) is None
    assert config_of_service(None) is None
    assert config_of_service(Path("mine.toml")) == Path("mine.toml")


def test_a_tool_that_is_not_there_is_an_exit_code():
    assert run_tool(["no-such-tool-of-any-system"]).code == 127


def test_a_tool_is_not_awaited_longer_because_what_it_started_goes_on():
    tool = (
        "import subprocess, sys; "
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], stdin=subprocess.DEVNULL).pid)"
    )

    done = run_tool([sys.executable, "-c", tool])

    assert done.code == 0
    os.kill(int(done.text), signal.SIGTERM)


def test_a_tool_tells_what_went_wrong_rather_than_what_it_said_before():
    tool = "import sys; print('began'); print('refused', file=sys.stderr); sys.exit(5)"

    assert run_tool([sys.executable, "-c", tool]) == (5, "refused")


def test_a_tool_that_does_not_end_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(systems, "TOOL_TIMEOUT_S", 0.1)

    with pytest.raises(FluxcapError, match=r"did not answer within 0\.1 s"):
        run_tool([sys.executable, "-c", "import time; time.sleep(600)"])


def test_a_property_list_is_written_as_it_is_read(tmp_path: Path):
    manager = Launchd(Tool(), tmp_path, 501)

    manager.install(COMMAND)

    assert plistlib.loads(manager.file.read_bytes())["ProgramArguments"] == list(COMMAND.words)
