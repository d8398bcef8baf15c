"""Single keys from the terminal, without waiting for Enter; nothing where there is no terminal.

A key that sends a sequence (an arrow: Escape, bracket, letter) is one key, and not Escape.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Callable, Iterator

ESCAPE = b"\x1b"


@contextlib.contextmanager
def keys() -> Iterator[Callable[[float], str]]:
    """A function that waits up to so many seconds for a key and returns it, or "". At the end all is as before."""
    if not sys.stdin.isatty():
        yield _nothing
        return
    import termios
    import tty

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)

        def read(timeout_s: float) -> str:
            if not _is_ready(fd, timeout_s):
                return ""
            key = os.read(fd, 1)
            if key == ESCAPE and _is_ready(fd, 0):
                key += os.read(fd, 15)
            return key.decode(errors="replace")

        yield read
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _is_ready(fd: int, timeout_s: float) -> bool:
    return bool(select.select([fd], [], [], timeout_s)[0])


def _nothing(timeout_s: float) -> str:
    time.sleep(timeout_s)
    return ""
