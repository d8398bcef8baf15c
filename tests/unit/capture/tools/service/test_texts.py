"""The texts of service managers, read back by what reads them: systemd, property lists, XML."""

from __future__ import annotations

import configparser
import plistlib
import shlex
import shutil
import subprocess
from pathlib import Path, PurePosixPath, PureWindowsPath
from xml.etree import ElementTree

import pytest

from fluxcap.capture.tools.service.texts import (
    TASK_NAMESPACE,
    ServiceCommand,
    launchd_plist,
    systemd_unit,
    windows_task,
)

AWKWARD = ServiceCommand(
    ("/home/jörg/my tools/python", "-m", "fluxcap.capture.cli", "run", "--data-dir", '/home/jörg/50% "a"/$HOME\\x'),
    PurePosixPath("/home/jörg/my data"),
    PurePosixPath("/home/jörg/my data/launchd.log"),
)
ON_WINDOWS = ServiceCommand(
    (r"C:\Users\Jörg Öz\tools\pythonw.exe", "-m", "fluxcap.capture.cli", "run", "--data-dir", r"D:\Börse & Co\data"),
    PureWindowsPath(r"D:\Börse & Co"),
    PureWindowsPath(r"D:\Börse & Co\launchd.log"),
)


def unit_of(text: str) -> configparser.ConfigParser:
    unit = configparser.RawConfigParser(strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    return unit


def words_as_systemd_reads_them(line: str) -> list[str]:
    """Quotes and backslashes as in a shell, then its own signs."""
    return [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(line)]


def test_a_unit_starts_exactly_these_words_whatever_is_in_them():
    unit = unit_of(systemd_unit(AWKWARD))

    assert words_as_systemd_reads_them(unit["Service"]["ExecStart"]) == list(AWKWARD.words)
    assert unit["Service"]["WorkingDirectory"] == "/home/jörg/my data"
    assert unit["Install"]["WantedBy"] == "default.target"


def test_a_unit_comes_back_after_a_failure_for_ever_but_not_after_wrong_use():
    unit = unit_of(systemd_unit(AWKWARD))

    assert unit["Service"]["Restart"] == "on-failure"
    assert unit["Service"]["RestartPreventExitStatus"] == "2"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"


def test_a_chrome_that_the_daemon_started_outlives_it():
    assert unit_of(systemd_unit(AWKWARD))["Service"]["KillMode"] == "process"
    assert plistlib.loads(launchd_plist(AWKWARD))["AbandonProcessGroup"] is True


def test_systemd_finds_nothing_to_complain_of(tmp_path: Path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on this machine")
    there = ServiceCommand(("/bin/true", *AWKWARD.words[1:]), PurePosixPath("/tmp"), AWKWARD.output)
    (tmp_path / "fluxcap.service").write_text(systemd_unit(there), encoding="utf-8")
    (tmp_path / "wrong.service").write_text(systemd_unit(there).replace("on-failure", "nonsense"), encoding="utf-8")

    def complaints(name: str) -> str:
        done = subprocess.run(
            ["systemd-analyze", "--user", "verify", str(tmp_path / name)],
            capture_output=True,
            text=True,
            env={"XDG_RUNTIME_DIR": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
            check=False,
        )
        return done.stdout + done.stderr

    if "nonsense" not in complaints("wrong.service"):
        pytest.skip("systemd-analyze does not look at units of users here")
    assert complaints("fluxcap.service") == ""


def test_a_property_list_starts_exactly_these_words_at_log_in_and_after_a_failure():
    agent = plistlib.loads(launchd_plist(AWKWARD))

    assert agent["ProgramArguments"] == list(AWKWARD.words)
    assert agent["WorkingDirectory"] == "/home/jörg/my data"
    assert (agent["RunAtLoad"], agent["KeepAlive"]) == (True, {"SuccessfulExit": False})


def text_of(task: ElementTree.Element, path: str) -> str | None:
    return task.findtext("/".join(f"{{{TASK_NAMESPACE}}}{name}" for name in path.split("/")))


def test_a_task_is_xml_in_utf_16_with_its_mark():
    content = windows_task(ON_WINDOWS, "DESK\\Jörg")

    assert content.startswith(b"\xff\xfe")
    assert content.decode("utf-16").startswith('<?xml version="1.0" encoding="UTF-16"?>\n<Task ')


def test_a_task_starts_exactly_these_words_when_its_user_logs_on():
    task = ElementTree.fromstring(windows_task(ON_WINDOWS, "DESK\\Jörg"))

    assert text_of(task, "Actions/Exec/Command") == ON_WINDOWS.words[0]
    assert text_of(task, "Actions/Exec/Arguments") == r'-m fluxcap.capture.cli run --data-dir "D:\Börse & Co\data"'
    assert text_of(task, "Actions/Exec/WorkingDirectory") == r"D:\Börse & Co"
    assert text_of(task, "Triggers/LogonTrigger/UserId") == "DESK\\Jörg"
    assert text_of(task, "Principals/Principal/LogonType") == "InteractiveToken"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("DisallowStartIfOnBatteries", "false"),
        ("StopIfGoingOnBatteries", "false"),
        ("ExecutionTimeLimit", "PT0S"),
        ("MultipleInstancesPolicy", "IgnoreNew"),
        ("RestartOnFailure/Interval", "PT1M"),
        ("RestartOnFailure/Count", "255"),
    ],
)
def test_a_task_runs_on_batteries_without_a_limit_once_and_is_started_again(setting: str, value: str):
    task = ElementTree.fromstring(windows_task(ON_WINDOWS, "DESK\\Jörg"))

    assert text_of(task, f"Settings/{setting}") == value
