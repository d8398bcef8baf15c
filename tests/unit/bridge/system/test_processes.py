"""Processes of this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from fluxcap.bridge.system.processes import (
    ProcessInfo,
    end_with_children,
    has_ended,
    is_listened_on,
    is_running,
    listener_on,
    processes,
)
from tests.support.patience import PATIENCE_S, await_that
from tests.support.systems import not_by_wine


def test_a_process_runs_until_it_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        runs = is_running(process.pid)
        process.communicate(b"\n")

    assert runs
    assert not is_running(process.pid)


def test_our_own_command_line_is_among_those_that_can_be_seen() -> None:
    own = next(process for process in processes() if process.pid == os.getpid())

    assert own.words


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("/usr/bin/python3", "/home/a b/bin/fluxcap", "run", "--web"), "process 7 (python3 fluxcap run)"),
        ((), "process 7"),
    ],
)
def test_a_process_is_named_by_the_first_words_of_its_command_line(words: tuple[str, ...], text: str) -> None:
    assert str(ProcessInfo(7, words)) == text


@not_by_wine("it does not tell which process has a port")
def test_who_listens_is_found_in_the_processes_where_the_table_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS, where only root sees the table."""

    def refuse(kind: str) -> None:
        raise psutil.AccessDenied

    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(psutil, "net_connections", refuse)
        monkeypatch.setattr(psutil, "process_iter", lambda: iter([psutil.Process()]))
        port = listener.getsockname()[1]

        found = listener_on(port)
        other = listener_on(1)

    assert (found and found.pid, other) == (os.getpid(), None)


@pytest.mark.parametrize("trouble", [psutil.AccessDenied(), OSError(1, "not for you"), psutil.NoSuchProcess(7)])
def test_what_cannot_be_told_is_left_out(monkeypatch: pytest.MonkeyPatch, trouble: Exception) -> None:
    def fail(*given: object) -> None:
        raise trouble

    for name in ("net_connections", "process_iter"):
        monkeypatch.setattr(psutil, name, fail)

    assert listener_on(80) is None
    assert list(processes()) == []


def test_a_process_is_ended_with_what_it_has_started() -> None:
    code = (
        "import subprocess, sys, time\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid, flush=True)\n"
        "time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())

        end_with_children(parent.pid)
        parent.wait(PATIENCE_S)

    assert await_that(lambda: has_ended(child), "the child's end")


def test_a_table_that_grew_while_it_was_read_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    row = SimpleNamespace(laddr=SimpleNamespace(port=80), status="LISTEN", pid=None)
    tables: list[list[object] | None] = [None, None, [row], None, [row], *[None] * 100]

    def read(kind: str) -> list[object]:
        table = tables.pop(0)
        if table is None:
            raise RuntimeError("GetExtendedTcpTable failed")  # psutil's own words
        return table

    monkeypatch.setattr(psutil, "net_connections", read)
    monkeypatch.setattr(psutil, "process_iter", lambda: iter(()))

    assert is_listened_on(80)
    assert not is_listened_on(81)
    assert not is_listened_on(80), "it changes for ever"


def test_a_listener_of_nobody_knows_whom_is_one_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    row = SimpleNamespace(laddr=SimpleNamespace(port=80), status="LISTEN", pid=None)
    monkeypatch.setattr(psutil, "net_connections", lambda kind: [row])
    monkeypatch.setattr(psutil, "process_iter", lambda: iter(()))

    assert (is_listened_on(80), is_listened_on(81), listener_on(80)) == (True, False, None)


def test_a_listener_whose_command_line_is_closed_to_us_has_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    row = SimpleNamespace(laddr=SimpleNamespace(port=80), status="LISTEN", pid=7)
    monkeypatch.setattr(psutil, "net_connections", lambda kind: [row])

    def fail(pid: int) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "Process", fail)

    assert listener_on(80) == ProcessInfo(7, ())
