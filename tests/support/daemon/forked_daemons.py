"""Starts `fluxcap run` over and over without importing everything each time: forks from a process that has.

``python -m tests.support.daemon.forked_daemons`` reads one JSON line a daemon, ``{"arguments": […], "log": "file"}``,
and answers with its process number. The child runs the command line as the console command does. Ended by closing its
input.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

HEAVY = (
    "fluxcap.capture.daemon.foreground",
    "fluxcap.capture.runtime.settings",
    "fluxcap.capture.cli.run",
    "uvicorn.protocols.http.h11_impl",
)


class ForkedDaemons:
    """The other side: ``start`` may be called from any thread. ``heavy``: what the commands need beside a daemon."""

    def __init__(self, *heavy: str) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.daemon.forked_daemons", *heavy],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lock = threading.Lock()

    def start(self, arguments: Sequence[str], log: Path) -> int:
        """Start one; its process number. What it prints is appended to ``log``."""
        with self._lock:
            assert self._server.stdin is not None
            assert self._server.stdout is not None
            self._server.stdin.write(json.dumps({"arguments": list(arguments), "log": str(log)}) + "\n")
            self._server.stdin.flush()
            return int(self._server.stdout.readline())

    def close(self) -> None:
        self._server.communicate()


def main() -> None:
    for name in (*HEAVY, *sys.argv[1:]):
        __import__(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead need nobody to wait for them
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if not pid:
            _become(order["arguments"], order["log"])
        print(pid, flush=True)


def _become(arguments: list[str], log: str) -> None:
    from fluxcap.capture.cli.app import run_cli

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    null, out = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number, file in enumerate((null, out, out)):
        os.dup2(file, number)
    code = 70
    try:
        code = run_cli(arguments)
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
