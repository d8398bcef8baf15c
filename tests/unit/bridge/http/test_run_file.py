"""The run file: written in one piece, known to be stale when its process is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from fluxcap.bridge.http.run_file import RUN_FILE, RunFile, read_run_file, write_run_file


def run_file(pid: int) -> RunFile:
    return RunFile(pid, "http://127.0.0.1:3001", "tcp://127.0.0.1:5556", "tcp://127.0.0.1:5557")


def test_what_was_written_is_read(tmp_path: Path):
    write_run_file(tmp_path, run_file(7))

    assert read_run_file(tmp_path) == run_file(7)
    assert [path.name for path in tmp_path.iterdir()] == [RUN_FILE]


def test_none_and_garbage_are_none(tmp_path: Path):
    assert read_run_file(tmp_path / "nowhere") is None
    (tmp_path / RUN_FILE).write_text("{")
    assert read_run_file(tmp_path) is None


def test_a_living_process_is_not_stale_and_one_that_ended_is():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    assert not run_file(os.getpid()).is_stale()
    assert not run_file(os.getppid()).is_stale()
    assert run_file(ended.pid).is_stale()
