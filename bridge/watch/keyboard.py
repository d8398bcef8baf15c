"""Single keys from the terminal, without waiting for Enter; nothing where there is no terminal."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Callable, Iterator


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
            ready, _, _ = select.select([fd], [], [], timeout_s)
            return os.read(fd, 1).decode(errors="replace") if ready else ""

        yield read
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _nothing(timeout_s: float) -> str:
    time.sleep(timeout_s)
    return ""
