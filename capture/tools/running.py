"""The daemon that runs on a data folder, and its end in order, from anywhere: ``fluxcap stop``, and the service.

The run file names a process; whether that is still a fluxcap is asked first, since numbers of processes come again.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath

from fluxcap.bridge.http.daemon_client import DaemonClient
from fluxcap.bridge.http.run_file import RunFile, read_run_file
from fluxcap.bridge.system.processes import command_line, detached, has_ended
from fluxcap.bridge.system.signals import ask_to_stop
from fluxcap.schemas.errors import FluxcapError

ANSWER_S = 2.0
STOP_S = 20.0
"""The daemon leaves within two seconds; a machine that is very busy may need longer."""
_POLL_S = 0.1


def running_daemon(data_dir: Path) -> RunFile | None:
    """Return the daemon that runs on a data folder; None when there is none.

    Its process is a fluxcap: it says so itself at its address, or its command line does.
    """
    run = read_run_file(data_dir)
    if run is None or run.is_stale() or has_ended(run.pid):
        return None
    return run if _says_so(run) or is_daemon(command_line(run.pid)) else None


def is_daemon(words: Sequence[str]) -> bool:
    """Return whether a command line is that of ``fluxcap run``, however it was started."""
    names = {PurePath(word).name.removesuffix(".exe") for word in words}
    return "run" in names and bool(names & {"fluxcap", "fluxcap.capture.cli"})


def await_daemon(data_dir: Path, timeout_s: float) -> RunFile | None:
    """Wait until a daemon runs on a data folder and answers; None when none does in time."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        run = read_run_file(data_dir)
        if run is not None and _says_so(run):
            return run
        if time.monotonic() >= deadline_s:
            return None
        time.sleep(_POLL_S)


def _ask(pid: int, ask: Callable[[int], None]) -> bool:
    """Return whether it heard: on Windows one that is still starting, or is about to end, does not."""
    try:
        ask(pid)
    except ProcessLookupError:
        return False
    except PermissionError:
        raise FluxcapError(f"fluxcap (process {pid}) is another user's; only that user can stop it.") from None
    return True


def stop_daemon(
    data_dir: Path,
    timeout_s: float = STOP_S,
    *,
    ask: Callable[[int], None] = ask_to_stop,
) -> int | None:
    """Ask the daemon of a data folder to leave, and wait until it has; returns its process, None when none runs.

    Raises FluxcapError when it may not be asked, or does not leave in ``timeout_s`` seconds.
    """
    run = running_daemon(data_dir)
    if run is None:
        return None
    deadline_s = time.monotonic() + timeout_s
    is_asked = False
    while not has_ended(run.pid):
        if not is_asked:
            is_asked = _ask(run.pid, ask)
        if time.monotonic() >= deadline_s:
            raise FluxcapError(
                f"fluxcap (process {run.pid}) has not ended within {timeout_s:g} s; its log says what it does."
            )
        time.sleep(_POLL_S)
    return run.pid


def start_in_background(words: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a daemon that outlives this terminal. ``words``: its command line. Raises FluxcapError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(  # noqa: S603 - ourselves
            words,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **detached(),
        )
    except OSError as error:
        raise FluxcapError(f"fluxcap cannot be started in the background: {error.strerror}.") from None


def _says_so(run: RunFile) -> bool:
    try:
        with DaemonClient(run.control, ANSWER_S) as daemon:
            return bool(daemon.status()["pid"] == run.pid)
    except (FluxcapError, KeyError):
        return False
