"""Processes of this machine, as psutil knows them on every system. What cannot be told is left out."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, NamedTuple

_ATTEMPTS = 5


class ProcessInfo(NamedTuple):
    """A process and its command line, the program first."""

    pid: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        """``"process 4711 (fluxcap run)"``."""
        names = " ".join(PurePath(word).name for word in self.words[:3])
        return f"process {self.pid} ({names})" if names else f"process {self.pid}"


def is_running(pid: int) -> bool:
    """Return whether there is a process of that number. It is not touched."""
    import psutil

    return bool(psutil.pid_exists(pid))


def has_ended(pid: int) -> bool:
    """Return whether a process is gone, or has ended and only waits for its parent to hear of it."""
    import psutil

    if not psutil.pid_exists(pid):  # on Windows the number stays in use while somebody awaits the process's end
        return True
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, OSError):
        return False


def end_with_children(pid: int) -> None:
    """End a process and all that it has started, at once, as far as this user may."""
    import psutil

    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except (psutil.Error, OSError):
        return
    for one in family:
        with contextlib.suppress(psutil.Error, OSError):
            one.kill()


def detached() -> dict[str, Any]:
    """Return what Popen needs for a program that a Ctrl-C in our terminal is to leave alone."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def command_line(pid: int) -> tuple[str, ...]:
    """Return the words of a process's command line; none when it cannot be read."""
    import psutil

    try:
        return tuple(psutil.Process(pid).cmdline())
    except (psutil.Error, OSError):
        return ()


def processes() -> Iterator[ProcessInfo]:
    """All whose command line can be read: one's own at least."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        for found in psutil.process_iter(["cmdline"]):
            words = found.info["cmdline"]
            if words:
                yield ProcessInfo(found.pid, tuple(words))


def listener_on(port: int) -> ProcessInfo | None:
    """Return who listens on a TCP port; None when nobody does, or when it is another user's."""

    pid = _listening_pid(port)
    if pid is None:
        return None
    return ProcessInfo(pid, command_line(pid))


def is_listened_on(port: int) -> bool:
    """Return whether anybody listens on a TCP port, as far as that can be told."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        return any(_listens(one, port) for one in _connections())
    return listener_on(port) is not None


def _listening_pid(port: int) -> int | None:
    import psutil

    try:
        return next((one.pid for one in _connections() if _listens(one, port) and one.pid), None)
    except (psutil.Error, OSError):  # macOS shows the table only to root, and to each the part of it that is theirs
        pass
    with contextlib.suppress(psutil.Error, OSError):
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError, RuntimeError):
                if any(_listens(one, port) for one in process.net_connections("tcp")):
                    return int(process.pid)
    return None


def _connections() -> list[Any]:
    """All TCP connections of the machine. Raises psutil.Error or OSError where they cannot be told."""
    import psutil

    for _ in range(_ATTEMPTS):
        with contextlib.suppress(RuntimeError):  # Windows' table grew while it was read
            return list(psutil.net_connections("tcp"))
    raise OSError("The table of connections changes too quickly.")


def _listens(connection: object, port: int) -> bool:
    address = getattr(connection, "laddr", None)
    return getattr(connection, "status", "") == "LISTEN" and bool(address) and getattr(address, "port", 0) == port
