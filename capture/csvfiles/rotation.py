"""Series of CSV parts on the disk: a part per so many lines, each line appended whole, nothing ever overwritten.

``RotatingCsv.write`` appends a line with one system call, unbuffered, so that a killed process has lost at most the
line it was writing. A part is created, never opened over an existing file: when the name is taken, the next number is
used. A line that did not fit (a full disk takes half of one) is cut off again, so that what is there is whole lines.

Whatever the disk does comes out as OSError, with the line not written; the same call may be made again later.
``FileSystem`` is where tests put theirs.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeAlias

from fluxcap.bridge.system.files import BINARY
from fluxcap.capture.runtime import log

MOST_OPEN = 64
Series: TypeAlias = tuple[str, str]
"""Symbol, and interval ("" for ticks)."""
_FLAGS = os.O_WRONLY | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | BINARY


class OpenFile(Protocol):
    """A part open for appending."""

    def append(self, data: bytes) -> None:
        """All of it or nothing. Raises OSError."""

    def exists(self) -> bool:
        """Return whether the file still has a name; writes to a removed one would be lost."""

    def close(self) -> None:
        """Never raises."""


class FileSystem(Protocol):
    """Makes and opens parts. Everything raises OSError."""

    def create(self, path: Path) -> OpenFile:
        """A new file, its folders made; FileExistsError when the name is taken."""

    def reopen(self, path: Path) -> OpenFile:
        """An existing one that ends with a whole line."""

    def remove(self, path: Path) -> None: ...


class _RealPart:
    def __init__(self, path: Path, flags: int) -> None:
        self._fd = os.open(path, flags, 0o644)

    def append(self, data: bytes) -> None:
        written = os.write(self._fd, data)
        if written != len(data):
            os.ftruncate(self._fd, os.lseek(self._fd, 0, os.SEEK_CUR) - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def exists(self) -> bool:
        return os.fstat(self._fd).st_nlink > 0

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._fd)


class LocalFileSystem:
    """The machine's own."""

    def create(self, path: Path) -> OpenFile:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError:  # a file where the folder should be: the part's own name is not taken
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path.parent)) from None
        return _RealPart(path, _FLAGS | os.O_CREAT | os.O_EXCL)

    def reopen(self, path: Path) -> OpenFile:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                raise OSError(errno.EIO, "ends within a line")
        return _RealPart(path, _FLAGS)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)


class _Progress:
    """Progress of a series: ``lines`` in the part at ``path``; None: the next line begins a part."""

    __slots__ = ("lines", "part", "path")

    def __init__(self) -> None:
        self.part = 0
        self.lines = 0
        self.path: Path | None = None


class RotatingCsv:
    """All series of one kind in one session.

    Parameters
    ----------
    header
        First line of every part.
    chunk_size
        Lines a part. May be changed at any time: a part that has as many or more is left and the next begun.
    path_of
        ``path_of(series, part)`` names the file of a part, numbered from 1.
    """

    def __init__(
        self, header: bytes, chunk_size: int, path_of: Callable[[Series, int], Path], disk: FileSystem | None = None
    ) -> None:
        self._header = header
        self.chunk_size = chunk_size
        self._path_of = path_of
        self._disk = disk or LocalFileSystem()
        self._series: dict[Series, _Progress] = {}
        self._open: OrderedDict[Series, OpenFile] = OrderedDict()
        self.files = 0
        """Parts begun."""

    def begin_session(self, path_of: Callable[[Series, int], Path]) -> None:
        """From here on new files, named so."""
        self.close()
        self._series.clear()
        self._path_of = path_of

    def write(self, series: Series, line: bytes) -> None:
        """Append a line to a series. Raises OSError; then the line is not there."""
        progress = self._series.setdefault(series, _Progress())
        if progress.path is not None and progress.lines >= self.chunk_size:
            self._leave(series, progress)
        part = self._part(series, progress)
        if part is None:
            self._begin(series, progress, line)
        else:
            try:
                part.append(line)
            except OSError:
                # Closed, and looked at again before the next line: it may end within this one.
                self._close(series)
                raise
        progress.lines += 1

    def close(self) -> None:
        """Close what is open; the series go on when they are written to."""
        for series in list(self._open):
            self._close(series)

    def _part(self, series: Series, progress: _Progress) -> OpenFile | None:
        """The series' part, open and still there; None when one is to be begun."""
        if progress.path is None:
            return None
        part = self._open.get(series)
        try:
            if part is None:
                part = self._disk.reopen(progress.path)
                self._keep_open(series, part)
            if part.exists():
                self._open.move_to_end(series)
                return part
        except OSError:
            pass
        log.warn("csv.file_lost", file=str(progress.path), hint="it was removed, or cannot be opened")
        self._leave(series, progress)
        return None

    def _begin(self, series: Series, progress: _Progress, line: bytes) -> None:
        """A new part with its header and first line: no part is ever without a line."""
        while True:
            path = self._path_of(series, progress.part + 1)
            try:
                part = self._disk.create(path)
            except FileExistsError:
                progress.part += 1
                continue
            break
        try:
            part.append(self._header + line)
        except OSError:
            part.close()
            with contextlib.suppress(OSError):
                self._disk.remove(path)
            raise
        progress.path, progress.lines = path, 0
        progress.part += 1
        self.files += 1
        self._keep_open(series, part)

    def _leave(self, series: Series, progress: _Progress) -> None:
        self._close(series)
        progress.path, progress.lines = None, 0

    def _keep_open(self, series: Series, part: OpenFile) -> None:
        self._open[series] = part
        while len(self._open) > MOST_OPEN:
            self._close(next(iter(self._open)))

    def _close(self, series: Series) -> None:
        part = self._open.pop(series, None)
        if part is not None:
            part.close()
