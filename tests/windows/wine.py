"""Processes of Windows' own Python, as ``build.sh`` set it up, run through Wine from Linux."""

from __future__ import annotations

import os
import re
import select
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.patience import PATIENCE_S, await_that

STARTED = re.compile(r"process (\d+)\s")
COMMAND = """
import _thread, os, signal, sys, threading, time
print("process", os.getpid(), flush=True)
def is_importing(frame):
    return frame is not None and ("importlib" in frame.f_code.co_filename or is_importing(frame.f_back))
def await_ctrl_c(file):
    quiet = 0
    while quiet < 20:
        time.sleep(0.05)
        frame = sys._current_frames()[threading.main_thread().ident]
        quiet = 0 if is_importing(frame) or not os.path.exists(file) else quiet + 1
    _thread.interrupt_main(signal.SIGINT)
threading.Thread(target=await_ctrl_c, args=(sys.argv.pop(1),), daemon=True).start()
from fluxcap.capture.cli.app import main
main()
"""
"""A command of fluxcap that says its number, and gets a Ctrl-C when a file appears: nobody sits at its keyboard.

Not before it is at work: while it imports, a Ctrl-C is told by Python and not by fluxcap."""


class Wine:
    """Keeps Wine's own services running while it is held: they need not be started for each process anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Wine:
        self._keeper = subprocess.Popen(
            [str(self.folder / "winpython"), "-c", "import sys; sys.stdin.read()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._keeper.communicate()

    def start(self, log: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> WindowsProcess:
        """Start Windows' Python with these arguments; what it prints is added to ``log``."""
        return WindowsProcess(self.folder, log, arguments, environment or {})

    def fluxcap(self, log: Path, *arguments: str) -> WindowsProcess:
        """Start a command of fluxcap."""
        ctrl_c = log.with_name(f"{log.name}.ctrl-c")
        ctrl_c.unlink(missing_ok=True)
        return self.start(log, "-c", COMMAND, "Z:" + str(ctrl_c), *arguments)


class WindowsProcess:
    """A process of Windows' Python. ``text``: what it printed, without the line that says its number."""

    def __init__(self, folder: Path, log: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._log = log
        log.touch()
        self._begin = log.stat().st_size
        # Through a pipe: Wine's Python looks for a console behind any other output.
        self._process = subprocess.Popen(
            [str(folder / "winpython"), *arguments],
            cwd=folder / "src",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | environment,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        """Until the process has ended; services of Wine that it started hold the pipe open for longer."""
        assert self._process.stdout is not None
        file = self._process.stdout.fileno()
        with self._log.open("ab", buffering=0) as out:
            while True:
                has_ended = self._process.poll() is not None
                if select.select([file], [], [], 0 if has_ended else 0.1)[0]:
                    part = os.read(file, 65_536)
                    out.write(part)
                    has_ended = not part
                if has_ended:
                    return

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its number in Windows; 0 while it has not said it."""
        found = STARTED.match(self._everything)
        return int(found[1]) if found else 0

    @property
    def text(self) -> str:
        return STARTED.sub("", self._everything, count=1)

    def wait(self, limit_s: float = PATIENCE_S) -> int:
        """Its exit code; AssertionError when it does not end."""
        try:
            code = self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end within {limit_s:g} s: {self.text[-2_000:]}") from None
        self._reader.join()
        return code

    def kill(self) -> None:
        """End it from Linux, whatever state it is in."""
        self._process.kill()
        self._process.wait()

    def await_text(self, wanted: str) -> None:
        """Until it has printed that, or has ended."""
        await_that(lambda: not self.is_running or wanted in self.text, f"{wanted!r} in {self._log.name}")

    def press_ctrl_c(self) -> None:
        self._log.with_name(f"{self._log.name}.ctrl-c").touch()

    @property
    def _everything(self) -> str:
        return self._log.read_bytes()[self._begin :].decode("utf-8", "replace").replace("\r\n", "\n")
