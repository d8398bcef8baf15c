"""Signals that ask a command to leave."""

from __future__ import annotations

import _thread
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from fluxcap.bridge.system import signals
from fluxcap.bridge.system.signals import (
    HangUp,
    ask_to_stop,
    catch_stop_signals,
    exit_code,
    hang_up_as,
    interrupt_on_hang_up,
)
from tests.support.patience import PATIENCE_S

HANG_UP = getattr(signal, "SIGHUP", None) or signal.SIGBREAK  # type: ignore[attr-defined,unused-ignore]
STOPPING = [signal.SIGTERM, signal.SIGINT, HANG_UP]
COMMAND = """
import threading
from fluxcap.bridge.system.signals import catch_stop_signals
idle = threading.Event()
with catch_stop_signals() as asked:
    print("ready", flush=True)
    while not asked:
        idle.wait(0.01)
print("left in order", flush=True)
"""


@pytest.fixture(autouse=True)
def _handlers_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in STOPPING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code"), list(zip(STOPPING, (0, 130, 0), strict=True)))
def test_a_signal_is_noted_and_afterwards_means_what_it_did(number: signal.Signals, code: int) -> None:
    before = [signal.getsignal(each) for each in STOPPING]

    with catch_stop_signals() as asked:
        signal.raise_signal(number)

    assert (asked, exit_code(asked)) == ([number], code)
    assert [signal.getsignal(each) for each in STOPPING] == before


@pytest.mark.parametrize(("wanted_s", "at_once_s"), [(None, 0.25), (0.1, 0.1), (9.0, 0.25)])
def test_on_windows_a_lock_is_awaited_in_parts_since_ctrl_c_does_not_end_it(
    monkeypatch: pytest.MonkeyPatch, wanted_s: float | None, at_once_s: float
) -> None:
    monkeypatch.setattr(signals.sys, "platform", "linux")
    assert signals.longest_wait_s(wanted_s) == wanted_s

    monkeypatch.setattr(signals.sys, "platform", "win32")
    assert signals.longest_wait_s(wanted_s) == at_once_s


def test_who_waits_for_a_signal_is_called() -> None:
    called: list[str] = []

    with catch_stop_signals(lambda: called.append("now")):
        signal.raise_signal(signal.SIGTERM)

    assert called == ["now"]


def test_a_hang_up_that_was_ignored_at_the_start_stays_ignored() -> None:
    signal.signal(HANG_UP, signal.SIG_IGN)  # as nohup does

    interrupt_on_hang_up()
    with catch_stop_signals() as asked, hang_up_as(signal.SIGTERM):
        signal.raise_signal(HANG_UP)

    assert asked == []
    assert signal.getsignal(HANG_UP) is signal.SIG_IGN


def test_a_command_that_notes_no_signals_is_interrupted_by_a_hang_up() -> None:
    interrupt_on_hang_up()

    with pytest.raises(HangUp):
        signal.raise_signal(HANG_UP)


def test_for_a_server_that_knows_only_another_signal_a_hang_up_is_that() -> None:
    with catch_stop_signals() as asked, hang_up_as(signal.SIGTERM):
        signal.raise_signal(HANG_UP)

    assert asked == [signal.SIGTERM]


@pytest.mark.costly
def test_another_process_is_asked_to_leave_in_order() -> None:
    command = [sys.executable, "-c", COMMAND]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = process.stdout.readline().strip()

        ask_to_stop(process.pid)
        said, _ = process.communicate(timeout=PATIENCE_S)

    assert (ready, said.strip(), process.returncode) == ("ready", "left in order", 0)


def test_a_process_that_is_gone_cannot_be_asked() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()

    with pytest.raises(ProcessLookupError):
        ask_to_stop(process.pid)


class Kernel:
    """Stands in for the part of Windows that is asked. ``known``: names of the events that exist."""

    def __init__(self) -> None:
        self.known: dict[str, threading.Event] = {}
        self.last_error = 0
        self.on_console: Callable[[int], bool] = lambda event: False

    def CreateEventW(self, _security: None, manual: bool, _set: bool, name: str) -> str:
        assert manual
        self.known[name] = threading.Event()
        return name

    def OpenEventW(self, _access: int, _inherit: bool, name: str) -> str | None:
        self.last_error = 0 if name in self.known else 2
        return name if name in self.known else None

    def SetEvent(self, name: str) -> None:
        self.known[name].set()

    def WaitForSingleObject(self, name: str, _patience: int) -> int:
        return 0 if self.known[name].wait(PATIENCE_S) else 258

    def CloseHandle(self, name: str) -> None:
        """Others may have it open still."""

    def SetConsoleCtrlHandler(self, handler: Callable[[int], bool], add: bool) -> None:
        assert add
        self.on_console = handler


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """On Windows, whose kernel is a stand-in, and whose SIGBREAK is the hang-up of this system."""
    kernel = Kernel()
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(signals, "_kernel", lambda: kernel)
    monkeypatch.setattr(ctypes, "get_last_error", lambda: kernel.last_error, raising=False)
    monkeypatch.setattr(ctypes, "WINFUNCTYPE", lambda *kinds: lambda function: function, raising=False)
    monkeypatch.setattr(signal, "SIGBREAK", HANG_UP, raising=False)
    return kernel


def test_on_windows_an_event_stands_for_the_signal(windows: Kernel) -> None:
    idle = threading.Event()

    with catch_stop_signals(idle.set) as asked:
        ask_to_stop(os.getpid())
        while not asked:
            idle.wait(0.01)

    assert asked == [signal.SIGTERM]
    with pytest.raises(ProcessLookupError):
        ask_to_stop(os.getpid() + 1)


def test_on_windows_leaving_by_oneself_is_no_signal(windows: Kernel) -> None:
    with catch_stop_signals() as outer, catch_stop_signals() as inner:
        pass

    assert (outer, inner) == ([], [])
    assert list(windows.known) == [f"Global\\fluxcap-stop-{os.getpid()}"]


@pytest.mark.parametrize("event", [2, 5, 6])
def test_on_windows_a_closed_window_a_log_off_and_a_shutdown_are_a_hang_up(
    windows: Kernel, monkeypatch: pytest.MonkeyPatch, event: int
) -> None:
    """Windows ends the process as soon as the handler returns, so it waits."""
    raised: list[int] = []
    waited: list[bool] = []
    monkeypatch.setattr(_thread, "interrupt_main", raised.append)
    interrupt_on_hang_up()
    fake: Any = SimpleNamespace(Event=lambda: SimpleNamespace(wait=lambda: waited.append(True)))
    monkeypatch.setattr(signals, "threading", fake)

    assert windows.on_console(event)
    assert (raised, waited) == ([HANG_UP], [True])


@pytest.mark.parametrize("event", [0, 1])
def test_on_windows_ctrl_c_and_ctrl_break_are_left_to_python(windows: Kernel, event: int) -> None:
    interrupt_on_hang_up()

    assert not windows.on_console(event)
