"""A command in a real terminal (pty) of a given size: what it writes, keys typed into it, its size changed."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from types import TracebackType

from tests.support.patience import PATIENCE_S

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r")
HOME = "\x1b[H"
"""Where rich begins a screen anew."""
BY_NAME = ("sh", "-c", 'exec "$@" <"$0" >"$0" 2>&1')
"""A session's first process that opens a terminal by name has it as its own: so Ctrl-C reaches it as a signal."""


def _heed_ctrl_c() -> None:
    """Tests in the background of a shell are told to ignore it, and would pass that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """Runs ``fluxcap`` with these words as the leader of a session whose terminal this is."""

    def __init__(self, *words: str, columns: int = 120, rows: int = 30) -> None:
        self._end, inner = pty.openpty()
        self.resize(columns, rows)
        self.settings = termios.tcgetattr(inner)
        self._inner = inner
        self._process = subprocess.Popen(
            [*BY_NAME, os.ttyname(inner), sys.executable, "-m", "fluxcap.capture.cli", *words],
            start_new_session=True,
            preexec_fn=_heed_ctrl_c,
            env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "", "LINES": ""},
        )
        self.written = ""

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: str) -> None:
        os.write(self._end, keys.encode())

    def read(self, seconds: float = 0.1) -> None:
        """Take in what it writes for a moment."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0 and select.select([self._end], [], [], left_s)[0]:
            self.written += os.read(self._end, 65_536).decode(errors="replace")

    @property
    def screen(self) -> list[str]:
        """The lines of the newest whole screen, without colours."""
        screens = self.written.split(HOME)
        return ESCAPES.sub("", screens[-2]).split("\n") if len(screens) > 2 else []

    def wait_screen(self, *words: str, without: Sequence[str] = ()) -> list[str]:
        """The first screen with all of these words and none of the others."""
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            text = "\n".join(self.screen)
            if text and all(word in text for word in words) and not any(word in text for word in without):
                return self.screen
            assert self._process.poll() is None, self.written[-3000:]
            self.read()
        raise AssertionError(f"{words} without {without} did not come: {self.screen}")

    def wait(self) -> int:
        """Its exit code."""
        end_s = time.monotonic() + PATIENCE_S
        while self._process.poll() is None and time.monotonic() < end_s:
            self.read()
        return self._process.wait(1)

    @property
    def settings_now(self) -> list[object]:
        """The terminal's settings, as ``termios`` tells them."""
        return termios.tcgetattr(self._inner)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._inner)
        os.close(self._end)
