"""Checks the free disk space before the store writes: DuckDB would fail half-way."""

from __future__ import annotations

import shutil
from pathlib import Path

from fluxcap.schemas.errors import StoreFull

_BYTES_PER_ITEM = 4_096
_BYTES_PER_ROW = 80


class DiskSpaceGuard:
    """Looks at the free space of the file system the store is on.

    Parameters
    ----------
    path
        The store's file.
    reserve_bytes
        What must stay free. 0 leaves finding out to DuckDB, whose commits fail cleanly but whose checkpoints do not.
    """

    def __init__(self, path: Path, reserve_bytes: int) -> None:
        self._path = path
        self._log = path.with_name(path.name + ".wal")
        self._reserve_bytes = reserve_bytes

    def require_space(self, items: int) -> None:
        """Raises StoreFull unless there is room for that many batches beyond the reserve."""
        if not self._reserve_bytes:
            return
        free = self._free_bytes()
        if free < self._reserve_bytes + items * _BYTES_PER_ITEM:
            raise StoreFull(
                f"Only {free / 1e6:.1f} MB are free for {self._path}, {self._reserve_bytes / 1e6:.1f} MB are kept in "
                "reserve: nothing was stored. Free some space; the write is retried."
            )

    def allows_checkpoint(self, settling_rows: int) -> bool:
        """Return whether a checkpoint has enough space, also when that many rows are rewritten."""
        needed = 2 * self.log_bytes() + 3 * settling_rows * _BYTES_PER_ROW
        return self._free_bytes() >= needed + self._reserve_bytes

    def log_bytes(self) -> int:
        """Size of the write-ahead log."""
        try:
            return self._log.stat().st_size
        except OSError:
            return 0

    def _free_bytes(self) -> int:
        try:
            return shutil.disk_usage(self._path.parent).free
        except OSError:
            return 1 << 62  # unknown: let DuckDB find out
