"""The terminal: text that any output takes, and single keys without waiting for Enter.

A key that sends a sequence (an arrow: Escape, bracket, letter) is one key, and not Escape.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import time
from collections.abc import Callable, Iterator

ESCAPE = b"\x1b"
_NAP_S = 0.02
_LONG_KEYS = "\x00\xe0"
"""Begin what an arrow or a function key is on Windows: two characters."""


def use_utf8() -> None:
    """Let stdout and stderr take every character from here on.

    Into a pipe or a file goes UTF-8, whatever the system's code page: programs read it, and cp1252 has no → and no ●. A
    terminal gets its own characters, ? for those that it does not have; so does who asks by ``PYTHONIOENCODING``.
    """
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper) or stream.encoding.lower().replace("-", "") == "utf8":
            continue
        if stream.isatty() or "PYTHONIOENCODING" in os.environ:
            stream.reconfigure(errors="replace")
        else:
            stream.reconfigure(encoding="utf-8", errors=stream.errors)


def is_reader_gone(error: OSError) -> bool:
    """Return whether an output failed because nobody reads it any more (``fluxcap tail … | head``).

    Windows' C library calls that an invalid argument.
    """
    return isinstance(error, BrokenPipeError) or (sys.platform == "win32" and error.errno == errno.EINVAL)


@contextlib.contextmanager
def keys() -> Iterator[Callable[[float], str]]:
    """A function that waits up to so many seconds for a key and returns it, or "". At the end all is as before.

    Where there is no terminal it waits, and there is no key.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        yield _nothing
    elif sys.platform == "win32":
        yield _console_key
    else:
        import termios
        import tty

        fd = sys.stdin.fileno()
        before = termios.tcgetattr(fd)
        try:
            tty.setcbreak(fd)
            yield lambda timeout_s: _terminal_key(fd, timeout_s)
        finally:
            termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _terminal_key(fd: int, timeout_s: float) -> str:
    if not _is_ready(fd, timeout_s):
        return ""
    key = os.read(fd, 1)
    if key == ESCAPE and _is_ready(fd, 0):
        key += os.read(fd, 15)
    return key.decode(errors="replace")


def _is_ready(fd: int, timeout_s: float) -> bool:
    import select

    return bool(select.select([fd], [], [], timeout_s)[0])


def _console_key(timeout_s: float) -> str:
    import msvcrt  # a module of Windows alone

    deadline_s = time.monotonic() + timeout_s
    while not msvcrt.kbhit():  # type: ignore[attr-defined,unused-ignore]
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            return ""
        time.sleep(min(_NAP_S, left_s))
    key = str(msvcrt.getwch())  # type: ignore[attr-defined,unused-ignore]
    return key + str(msvcrt.getwch()) if key in _LONG_KEYS else key  # type: ignore[attr-defined,unused-ignore]


def _nothing(timeout_s: float) -> str:
    time.sleep(timeout_s)
    return ""
