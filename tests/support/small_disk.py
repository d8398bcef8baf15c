"""A small file system of its own, to be filled: a tmpfs, mounted outside pytest's folders.

pytest removes its old folders, and fails where something is mounted in them: so a test that was killed may leave
nothing there. Every mount lies below one folder, under the number of the process that made it; who comes next unmounts
what the dead have left.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MOUNTS = Path(tempfile.gettempdir()) / "fluxcap-small-disks"
_numbers = itertools.count()


@contextmanager
def small_disk(size: str, mounts: Path = MOUNTS) -> Iterator[Path | None]:
    """A file system of that size, such as ``24m``, while it is held; None where none can be had: it takes root."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if not mount or not umount:
        yield None
        return
    unmount_leftovers(mounts)
    disk = mounts / str(os.getpid()) / str(next(_numbers))
    disk.mkdir(parents=True)
    done = subprocess.run([mount, "-t", "tmpfs", "-o", f"size={size}", "none", str(disk)], capture_output=True)
    try:
        yield disk if done.returncode == 0 else None
    finally:
        if done.returncode == 0:
            _unmount(disk)
        _remove(disk)


def unmount_leftovers(mounts: Path = MOUNTS) -> None:
    """Unmount and remove what processes that are gone have left."""
    for owner in mounts.glob("*"):
        if not _is_alive(int(owner.name)):
            for disk in owner.glob("*"):
                if disk.is_mount():
                    _unmount(disk)
                _remove(disk)


def _unmount(disk: Path) -> None:
    """Lazily: what still has a file open there keeps it, and nobody else sees it."""
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def _remove(folder: Path) -> None:
    """A disk's folder, and its owner's when that was the last. Another process may be at it as well."""
    for each in (folder, folder.parent):
        with suppress(OSError):
            each.rmdir()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
