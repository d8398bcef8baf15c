"""The daemon of a data folder, and its end in order: never of a process that is something else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fluxcap.bridge.http.run_file import RunFile, write_run_file
from fluxcap.bridge.system.processes import has_ended
from fluxcap.bridge.system.signals import ask_to_stop
from fluxcap.capture.cli.app import run_cli
from fluxcap.capture.tools.running import await_daemon, is_daemon, running_daemon, stop_daemon
from fluxcap.schemas.errors import FluxcapError
from tests.support.patience import PATIENCE_S

NOBODY = "http://127.0.0.1:1"
WAITS_TO_BE_ASKED = """
import time
from fluxcap.bridge.system.signals import catch_stop_signals
with catch_stop_signals() as asked:
    print(flush=True)
    while not asked:
        time.sleep(0.01)
"""


def process(*words: str, code: str = WAITS_TO_BE_ASKED) -> subprocess.Popen[str]:
    """A process that runs, with words of another one's command line behind its own."""
    started = subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    started.stdout.readline()
    return started


def ended(started: subprocess.Popen[str]) -> None:
    started.kill()
    started.communicate()


def leave_run_file(folder: Path, pid: int) -> None:
    write_run_file(folder, RunFile(pid, NOBODY, "pub", "rep"))


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ("/usr/bin/python3 /home/me/.local/bin/fluxcap run", True),
        ("/opt/x/python -P -m fluxcap.capture.cli run --data-dir /x", True),
        ("C:/tools/fluxcap.exe run", True),
        ("vim fluxcap.toml", False),
        ("/usr/bin/python3 /home/me/.local/bin/fluxcap status", False),
        ("tail -f run fluxcap.log", False),
        ("", False),
    ],
)
def test_a_daemon_is_told_by_its_command_line(line: str, is_one: bool):
    assert is_daemon(line.split()) is is_one


def test_a_daemon_that_does_not_answer_is_still_ended_and_its_end_is_awaited(tmp_path: Path):
    daemon = process("fluxcap", "run")
    leave_run_file(tmp_path, daemon.pid)

    try:
        assert stop_daemon(tmp_path, PATIENCE_S) == daemon.pid
        assert has_ended(daemon.pid)
    finally:
        ended(daemon)


def test_one_that_does_not_hear_yet_is_asked_again(tmp_path: Path):
    daemon = process("fluxcap", "run")
    leave_run_file(tmp_path, daemon.pid)
    asked: list[int] = []

    def ask(pid: int) -> None:
        asked.append(pid)
        if len(asked) < 3:
            raise ProcessLookupError
        ask_to_stop(pid)

    try:
        assert stop_daemon(tmp_path, PATIENCE_S, ask=ask) == daemon.pid
        assert has_ended(daemon.pid)
    finally:
        ended(daemon)

    assert asked == [daemon.pid] * 3


def test_a_process_that_only_has_the_number_of_an_old_daemon_is_left_alone(tmp_path: Path):
    other = process("vim", "fluxcap.toml")
    leave_run_file(tmp_path, other.pid)

    try:
        assert running_daemon(tmp_path) is None
        assert stop_daemon(tmp_path) is None
        assert other.poll() is None
    finally:
        ended(other)


def test_one_that_does_not_leave_is_told_and_not_killed(tmp_path: Path):
    deaf = process("fluxcap", "run")
    leave_run_file(tmp_path, deaf.pid)

    try:
        with pytest.raises(FluxcapError, match=r"has not ended within 0\.3 s"):
            stop_daemon(tmp_path, 0.3, ask=lambda _pid: None)
        assert deaf.poll() is None
    finally:
        ended(deaf)


def test_one_of_another_user_is_told(tmp_path: Path):
    def refuse(_pid: int) -> None:
        raise PermissionError

    daemon = process("fluxcap", "run")
    leave_run_file(tmp_path, daemon.pid)

    try:
        with pytest.raises(FluxcapError, match="is another user's"):
            stop_daemon(tmp_path, ask=refuse)
    finally:
        ended(daemon)


def test_where_none_runs_the_command_says_so_and_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run_cli(["stop", "--data-dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"No fluxcap runs on {tmp_path}.\n"


def test_none_is_awaited_no_longer_than_allowed(tmp_path: Path):
    assert await_daemon(tmp_path, 0) is None
