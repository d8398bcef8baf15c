"""Signals that ask a command to leave, noted rather than obeyed, for commands that leave in order.

SIGTERM, Ctrl-C, and the terminal's end: SIGHUP when a terminal or an SSH connection is closed, on Windows SIGBREAK,
which is Ctrl-Break there, a closed window, a log-off or a shutdown. Where SIGHUP was ignored at the start (``nohup``),
it stays so. Windows has no SIGTERM from outside: ``ask_to_stop`` sets an event there, which those commands
await.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

HANG_UP_EXIT_CODE = 129
_CONSOLE_ENDS = (2, 5, 6)
"""Windows' numbers of a closed window, a log-off and a shutdown."""
_EVENT_MODIFY_STATE = 2
_FOREVER = 0xFFFFFFFF
_NOT_FOUND = 2
_IS_SET = 0
_LONGEST_WAIT_S = 0.25

_kept: list[Any] = []
"""Windows calls the handler of the console's end as long as the process lives."""
_awaiting_stop = threading.Lock()


class HangUp(KeyboardInterrupt):
    """The terminal was closed. Ends a command as Ctrl-C does, but for its exit code."""


@contextmanager
def catch_stop_signals(
    on_stop: Callable[[], object] | None = None, *, second_interrupts: bool = False
) -> Iterator[list[int]]:
    """Signals that ask to leave are only noted while held; gives the list they are noted in.

    ``on_stop`` is called on the main thread for each; ``second_interrupts``: whoever asks twice gets KeyboardInterrupt
    at once.
    """
    asked: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        if second_interrupts and len(asked) > 1:
            raise KeyboardInterrupt
        if on_stop is not None:
            on_stop()

    numbers = [signal.SIGTERM, signal.SIGINT, *_hang_up()]
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        with _stop_event():
            yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def hang_up_as(number: signal.Signals) -> Iterator[None]:
    """The terminal's end means another signal while held: for servers that know only that."""

    def pass_on(_number: int, _frame: FrameType | None) -> None:
        signal.raise_signal(number)

    before = {found: signal.signal(found, pass_on) for found in _hang_up()}
    try:
        with _stop_event():
            yield
    finally:
        for found, handler in before.items():
            signal.signal(found, handler)


def interrupt_on_hang_up() -> None:
    """From now on the terminal's end raises HangUp in the main thread, so that commands clean up."""

    def on_hang_up(_number: int, _frame: FrameType | None) -> None:
        raise HangUp

    for number in _hang_up():
        signal.signal(number, on_hang_up)
    if sys.platform == "win32":
        _signal_at_console_end(signal.SIGBREAK)


def interrupt_main_thread() -> None:
    """Have the main thread get KeyboardInterrupt, at once where a signal can reach it, else after its present wait."""
    if sys.platform == "win32":
        _thread.interrupt_main()
    else:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def longest_wait_s(wanted_s: float | None) -> float | None:
    """Return for how long the main thread may wait for a lock at once, of ``wanted_s`` seconds; None is for ever.

    Windows lets no Ctrl-C through meanwhile.
    """
    if sys.platform != "win32":
        return wanted_s
    return _LONGEST_WAIT_S if wanted_s is None else min(wanted_s, _LONGEST_WAIT_S)


def exit_code(asked: Sequence[int]) -> int:
    """130 when Ctrl-C came first, else 0."""
    return 130 if asked[:1] == [signal.SIGINT] else 0


def ask_to_stop(pid: int) -> None:
    """Ask a command that notes signals, such as the daemon, to leave in order.

    Raises ProcessLookupError when there is none of that number, PermissionError when it is another user's.
    """
    if sys.platform != "win32":
        os.kill(pid, signal.SIGTERM)
        return
    import ctypes

    kernel = _kernel()
    event = kernel.OpenEventW(_EVENT_MODIFY_STATE, False, _event_name(pid))
    if not event:
        error = ctypes.get_last_error()
        raise ProcessLookupError(_NOT_FOUND, "no such process") if error == _NOT_FOUND else ctypes.WinError(error)
    kernel.SetEvent(event)
    kernel.CloseHandle(event)


def _hang_up() -> list[signal.Signals]:
    """The signal of the terminal's end, unless it is ignored."""
    number = getattr(signal, "SIGHUP", None) or getattr(signal, "SIGBREAK", None)
    return [] if number is None or signal.getsignal(number) is signal.SIG_IGN else [number]


@contextmanager
def _stop_event() -> Iterator[None]:
    """While held, ``ask_to_stop`` of another process is SIGTERM here: on Windows, where that is nothing of itself."""
    if sys.platform != "win32" or not _awaiting_stop.acquire(blocking=False):
        yield
        return
    kernel = _kernel()
    event = kernel.CreateEventW(None, True, False, _event_name(os.getpid()))
    over = threading.Event()

    def wait() -> None:
        if kernel.WaitForSingleObject(event, _FOREVER) == _IS_SET and not over.is_set():
            _thread.interrupt_main(signal.SIGTERM)

    waiting = threading.Thread(target=wait, name="fluxcap-stop-event", daemon=True)
    waiting.start()
    try:
        yield
    finally:
        over.set()
        kernel.SetEvent(event)
        waiting.join()
        kernel.CloseHandle(event)
        _awaiting_stop.release()


def _event_name(pid: int) -> str:
    """Known in all sessions of the machine; only the same user and administrators may set it."""
    return f"Global\\fluxcap-stop-{pid}"


def _signal_at_console_end(number: signal.Signals) -> None:
    """The console's end is a signal. Windows ends the process when the handler returns, so it waits: 5 s are left."""
    if sys.platform != "win32":
        return
    import ctypes
    from ctypes import wintypes

    @ctypes.WINFUNCTYPE(wintypes.BOOL, wintypes.DWORD)
    def on_console_event(event: int) -> bool:
        if event not in _CONSOLE_ENDS:
            return False
        _thread.interrupt_main(number)
        threading.Event().wait()
        return True

    _kept[:] = [on_console_event]
    _kernel().SetConsoleCtrlHandler(on_console_event, True)


def _kernel() -> Any:
    if sys.platform != "win32":
        raise OSError("Only Windows has this.")
    import ctypes
    from ctypes import wintypes

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.CreateEventW.restype = kernel.OpenEventW.restype = wintypes.HANDLE
    kernel.CreateEventW.argtypes = (wintypes.LPVOID, wintypes.BOOL, wintypes.BOOL, wintypes.LPCWSTR)
    kernel.OpenEventW.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.LPCWSTR)
    kernel.WaitForSingleObject.argtypes = (wintypes.HANDLE, wintypes.DWORD)
    kernel.SetEvent.argtypes = kernel.CloseHandle.argtypes = (wintypes.HANDLE,)
    return kernel
