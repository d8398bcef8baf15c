"""Files: onto the disk for good, one in the place of another, away, and whether others may read them."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BINARY = getattr(os, "O_BINARY", 0)
"""For ``os.open``: without it Windows changes line ends."""
WAIT_S = 1.0
"""How long a file that somebody else has open is awaited, on Windows."""
_NAP_S = 0.02
_HELD = (32, 33)
"""Windows' numbers of the error: ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION."""
_READ_AND_WRITE, _SHARED_IN_ALL_WAYS, _OPEN_EXISTING = 0xC0000000, 7, 3
_DISK_FULL = (39, 112)
"""Windows' numbers of the error: ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL."""


def sync(file: int) -> None:
    """Put all that was written to an open file on the disk. Raises OSError.

    The file has to be open for writing: Windows syncs no other.
    """
    if sys.platform == "darwin":  # fsync leaves it in the disk's own memory there
        import fcntl

        with contextlib.suppress(OSError):  # a network drive may not know it
            fcntl.fcntl(file, fcntl.F_FULLFSYNC)
            return
    os.fsync(file)


def sync_file(path: Path) -> None:
    """Put a file that was closed, or that another library wrote, on the disk. Raises OSError."""
    with path.open("r+b") as file:
        sync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk. Windows needs and knows no such thing. Raises OSError."""
    if sys.platform == "win32":
        return
    file = os.open(folder, os.O_RDONLY)
    try:
        sync(file)
    finally:
        os.close(file)


def replace_file(new: Path, target: Path, wait_s: float = WAIT_S) -> None:
    """Put ``new`` in the place of ``target``: who opens that sees all of the one or of the other. Raises OSError.

    On Windows a file that somebody reads cannot be replaced: that is awaited for ``wait_s``.
    """
    deadline_s = time.monotonic() + wait_s
    while True:
        try:
            new.replace(target)
        except PermissionError:
            if sys.platform != "win32" or time.monotonic() >= deadline_s:
                raise
            time.sleep(_NAP_S)
        else:
            return


def remove_file(path: Path, wait_s: float = WAIT_S) -> bool:
    """Remove a file that is not needed any more. Returns whether it is gone; never raises OSError.

    On Windows a file that somebody reads cannot be removed: that is awaited for ``wait_s``.
    """
    deadline_s = time.monotonic() + wait_s
    while True:
        try:
            path.unlink(missing_ok=True)
        except PermissionError:
            if sys.platform != "win32" or time.monotonic() >= deadline_s:
                return False
            time.sleep(_NAP_S)
        except OSError:
            return False
        else:
            return True


def is_held(path: Path) -> bool:
    """Return whether somebody else has a file open for himself alone, on Windows, where that is possible."""
    return _windows_error_of_opening(path) in _HELD


def others_may_read(path: Path) -> bool:
    """Return whether a file's mode lets other users read it. Raises OSError.

    Windows' files have no such mode: there the folder decides, and one's own below ``C:\\Users`` is closed to others.
    """
    return sys.platform != "win32" and bool(path.stat().st_mode & 0o077)


def _windows_error_of_opening(path: Path) -> int:
    """Return Windows' own number for why a file cannot be opened, which Python does not keep; 0 where it can be."""
    if sys.platform != "win32":
        return 0
    import ctypes
    from ctypes import wintypes

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.CreateFileW.restype = wintypes.HANDLE
    kernel.CreateFileW.argtypes = (
        *(wintypes.LPCWSTR, wintypes.DWORD, wintypes.DWORD, wintypes.LPVOID, wintypes.DWORD, wintypes.DWORD),
        wintypes.HANDLE,
    )
    kernel.CloseHandle.argtypes = (wintypes.HANDLE,)
    handle = kernel.CreateFileW(str(path), _READ_AND_WRITE, _SHARED_IN_ALL_WAYS, None, _OPEN_EXISTING, 0, None)
    if handle in (None, wintypes.HANDLE(-1).value):
        return ctypes.get_last_error()
    kernel.CloseHandle(handle)
    return 0


def is_full(error: OSError) -> bool:
    """Return whether the disk, or the user's share of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@cache
def disk_full_texts() -> tuple[str, ...]:
    """Return a full disk in the words of a library that writes: the system's, on Windows in the user's language."""
    texts = ["No space left on device", "Disk quota exceeded", "File too large"]
    if sys.platform == "win32":
        import ctypes

        texts += [ctypes.FormatError(number).strip() for number in _DISK_FULL]
    return tuple(texts)
