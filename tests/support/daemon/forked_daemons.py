"""Starts fluxcap commands over and over without importing everything each time: forks from a process that has.

``python -m tests.support.daemon.forked_daemons`` reads one JSON line a command (``{"arguments", "out", "err",
"environment", "cwd", "module"}``) and answers with ``["started", pid]``, later with ``["ended", pid, code]``. The child
is a process of its own that runs the command line's ``main``, or another module; its threads and what is registered for
its end are waited for, but the interpreter is not taken apart. Ended by closing its input.

An import of everything is two thirds of what a command costs, and the tests start some hundreds. What they see of a
command is the same; those that are about its start or its very end, or need another interpreter, start one.
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import os
import runpy
import selectors
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

COMMAND = "fluxcap.capture.cli"
HEAVY = (
    "apscheduler.triggers.interval",
    "concurrent.futures.thread",
    "fluxcap.bridge.dashboard.app",
    "fluxcap.bridge.export.source",
    "fluxcap.bridge.http.daemon_client",
    "fluxcap.bridge.store.repair",
    "fluxcap.bridge.terminal.console",
    "fluxcap.capture.api.app",
    "fluxcap.capture.api.routes",
    "fluxcap.capture.api.socketio",
    "fluxcap.capture.cli.app",
    "fluxcap.capture.cli.run",
    "fluxcap.capture.daemon.foreground",
    "fluxcap.capture.platforms.pocketoption",
    "fluxcap.capture.runtime.discovery",
    "fluxcap.capture.runtime.settings",
    "fluxcap.capture.tools.export",
    "fluxcap.capture.tools.verify",
    "httpcore",
    "platformdirs.unix",
    "pydantic.v1",
    "rich.table",
    "typer._click.decorators",
    "uvicorn.lifespan.on",
    "uvicorn.loops.asyncio",
    "uvicorn.protocols.http.h11_impl",
    "uvicorn.protocols.websockets.auto",
)
"""What commands load when they begin: each would do it again."""


class ForkedProcess:
    """A command that was started so; as much of ``subprocess.Popen`` as is needed."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._ended = threading.Event()
        self._code = 0

    def on_end(self, code: int) -> None:
        self._code = code
        self._ended.set()

    def poll(self) -> int | None:
        return self._code if self._ended.is_set() else None

    def wait(self, timeout: float | None = None) -> int:
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return self._code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkedDaemons:
    """The other side: ``start`` may be called from any thread. ``heavy``: what the commands need beside a daemon."""

    def __init__(self, *heavy: str) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.daemon.forked_daemons", *heavy],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl-C at the tests is for the tests
        )
        self._lock = threading.Lock()
        self._started: list[ForkedProcess] = []
        self._alive: dict[int, ForkedProcess] = {}
        self._news = threading.Condition()
        self._listener = threading.Thread(target=self._listen, name="forked", daemon=True)
        self._listener.start()

    def start(
        self,
        arguments: Sequence[str],
        out: Path,
        err: Path | None = None,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        module: str = COMMAND,
    ) -> ForkedProcess:
        """Start a command, or another module. What it prints is appended to ``out``, its errors to ``err`` if given."""
        order = {
            "arguments": list(arguments),
            "out": str(out),
            "err": str(err or out),
            "environment": os.environ | (environment or {}),
            "cwd": str(cwd or Path.cwd()),
            "module": module,
        }
        with self._lock:
            assert self._server.stdin is not None
            self._server.stdin.write(json.dumps(order) + "\n")
            self._server.stdin.flush()
            with self._news:
                self._news.wait_for(lambda: self._started or self._server.poll() is not None)
                assert self._started, "the process that forks is gone"
                return self._started.pop()

    def close(self) -> None:
        """End the process that forks; what it has started goes on."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait()
        self._listener.join()
        self._server.stdout.close()

    def _listen(self) -> None:
        assert self._server.stdout is not None
        for line in self._server.stdout:
            what, pid, *rest = json.loads(line)
            if what == "ended":
                self._alive.pop(pid).on_end(rest[0])
                continue
            with self._news:
                self._alive[pid] = ForkedProcess(pid)
                self._started.append(self._alive[pid])
                self._news.notify()
        with self._news:
            self._news.notify()


@functools.cache
def forked_daemons() -> ForkedDaemons:
    """The one of this test process."""
    forked = ForkedDaemons()
    atexit.register(forked.close)
    return forked


def main() -> None:
    from fluxcap.capture.cli.app import command_tree

    for name in (*HEAVY, *sys.argv[1:]):
        __import__(name)
    list(command_tree().commands.values())  # makes each
    gc.collect()
    gc.freeze()  # or the collector of each child would write to all of it, and so copy it: most of what a command costs
    wake_read, wake_write = os.pipe()
    for end in (wake_read, wake_write):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write)
    ready = selectors.DefaultSelector()
    ready.register(0, selectors.EVENT_READ)
    ready.register(wake_read, selectors.EVENT_READ)
    unread = b""
    while True:
        for key, _ in ready.select():
            read = os.read(key.fd, 65_536)
            if key.fd == wake_read:
                _reap()
            elif not read:
                _leave(0)
            else:
                *lines, unread = (unread + read).split(b"\n")
                for line in lines:
                    pid = os.fork()
                    if not pid:
                        signal.set_wakeup_fd(-1)
                        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                        ready.close()
                        os.close(wake_read)
                        os.close(wake_write)
                        _become(**json.loads(line))
                    _tell("started", pid)


def _reap() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _tell("ended", pid, os.waitstatus_to_exitcode(status))


def _tell(*news: Any) -> None:
    os.write(1, json.dumps(news).encode() + b"\n")


def _become(arguments: list[str], out: str, err: str, environment: dict[str, str], cwd: str, module: str) -> None:
    """Run the program in this process, which is a new one, and end."""
    code: str | int | None = 0
    try:
        _run(arguments, out, err, environment, cwd, module)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    _leave(code or 0)


def _leave(code: int) -> NoReturn:
    """End as an interpreter does, but leave the memory to the system: letting go of each object would copy it."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(arguments: list[str], out: str, err: str, environment: dict[str, str], cwd: str, module: str) -> None:
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    how = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), os.open(out, how), os.open(err, how))):
        os.dup2(file, number)
        os.close(file)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(write_through=True)  # type: ignore[union-attr]
    sys.argv = ["fluxcap", *arguments]
    if module != COMMAND:
        runpy.run_module(module, run_name="__main__")
        return
    from fluxcap.capture.cli.app import main as run_command

    run_command()


if __name__ == "__main__":
    main()
