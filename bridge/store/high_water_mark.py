"""A few bytes beside the store that say how many numbers it has given, so that lost ones are noticed.

A store whose write-ahead log was deleted, or damaged at its beginning, opens without complaint (measured: DuckDB drops
what it cannot read there), but older than it was; it would then give the same sequences to other candles. The mark is
written after each commit, without a sync: it survives every death of the process, and after a power failure it may be
behind the store, never ahead of it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from fluxcap.bridge.store.connection import DAMAGE_HINT
from fluxcap.schemas.errors import StoreDamaged
from fluxcap.schemas.types import StreamKey, Watermark

MARK_ENDING = ".mark"


def total_assigned(marks: Mapping[StreamKey, Watermark]) -> int:
    """Sequences and revisions given so far, all streams together. Only ever grows."""
    return sum(mark.latest_sequence + mark.latest_revision for mark in marks.values())


class HighWaterMark:
    """The mark of one store.

    Parameters
    ----------
    path
        The store's file.
    store_id
        A mark of another store is of no meaning here.
    """

    def __init__(self, path: Path, store_id: str) -> None:
        self._store = path
        self._path = path.with_name(path.name + MARK_ENDING)
        self._store_id = store_id
        self._file: int | None = None

    def check(self, given: int) -> None:
        """Raises StoreDamaged when the store once had given more numbers than it knows of."""
        marked = self._read()
        if marked > given:
            raise StoreDamaged(
                f"{self._store} has lost {marked - given} candles that were published: its write-ahead log (.wal) is "
                f"missing or damaged. Put it back if you can. {DAMAGE_HINT}"
            )

    def _read(self) -> int:
        try:
            store_id, given = self._path.read_text("ascii").split()
        except (OSError, ValueError):
            return 0
        return int(given) if store_id == self._store_id and given.isdecimal() else 0

    def write(self, given: int) -> None:
        """Note how many numbers the store has given. Best effort: a full disk does not matter."""
        with contextlib.suppress(OSError):
            if self._file is None:
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o644)
            os.pwrite(self._file, f"{self._store_id} {given:020d}\n".encode(), 0)

    def close(self) -> None:
        """Idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
