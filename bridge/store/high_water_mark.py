"""A few bytes that say how many numbers a store has given, so that lost ones are noticed.

A store whose write-ahead log was deleted, or damaged at its beginning, opens without complaint (measured: DuckDB drops
what it cannot read there), but older than it was; it would then give the same sequences to other candles. The mark is
written after each commit, without a sync: it survives every death of the process, and after a power failure it may be
behind the store, never ahead of it.

One mark lies beside the store. A backup of the folder takes it along, so the daemon keeps another one outside, in the
user's own state folder: a store that is older than that one is a backup, or a copy that went its own way.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from fluxcap.bridge.store.connection import DAMAGE_HINT
from fluxcap.bridge.system.files import BINARY
from fluxcap.schemas.errors import StoreDamaged, StoreRestored
from fluxcap.schemas.types import StreamKey, Watermark

MARK_ENDING = ".mark"
STATE_FOLDER = "stores"
"""Where marks lie in the user's state folder."""


def total_assigned(marks: Mapping[StreamKey, Watermark]) -> int:
    """Sequences and revisions given so far, all streams together. Only ever grows."""
    return sum(mark.latest_sequence + mark.latest_revision for mark in marks.values())


def assigned_beside(path: Path) -> int:
    """Return how many numbers the mark beside a store says were given, whatever its identity; 0 without a mark."""
    try:
        _, given = path.with_name(path.name + MARK_ENDING).read_text("ascii").split()
    except (OSError, ValueError):
        return 0
    return int(given) if given.isdecimal() else 0


class HighWaterMark:
    """The marks of one store.

    Parameters
    ----------
    path
        The store's file.
    store_id
        A mark of another store is of no meaning here.
    state_dir
        Folder of the mark outside; None keeps none.
    """

    def __init__(self, path: Path, store_id: str, state_dir: Path | None = None) -> None:
        self._store = path
        self._store_id = store_id
        self._beside = _MarkFile(path.with_name(path.name + MARK_ENDING), store_id)
        outside = state_dir and state_dir / STATE_FOLDER / f"{store_id}{MARK_ENDING}"
        self._outside = _MarkFile(outside, store_id) if outside else None

    def check(self, given: int) -> None:
        """Raises StoreDamaged or StoreRestored when the store once had given more numbers than it knows of."""
        marked = self._beside.read()
        if marked > given:
            raise StoreDamaged(
                f"{self._store} has lost {marked - given} candles that were published: its write-ahead log (.wal) is "
                f"missing or damaged. Put it back if you can. {DAMAGE_HINT}"
            )
        marked = self._outside.read() if self._outside else 0
        if marked > given:
            raise StoreRestored(
                f"{self._store} is older than it was: of {marked} candles and revisions that it had numbered it holds "
                f"{given}. It is a backup, or a copy that went its own way. `fluxcap restore` gives it a new identity, "
                "so that clients do not take its next candles for the ones they have; then start fluxcap again."
            )

    def write(self, given: int) -> None:
        """Note how many numbers the store has given. Best effort: a full disk does not matter."""
        self._beside.write(given)
        if self._outside is not None:
            self._outside.write(given)

    def close(self) -> None:
        """Idempotent."""
        self._beside.close()
        if self._outside is not None:
            self._outside.close()


class _MarkFile:
    def __init__(self, path: Path, store_id: str) -> None:
        self._path = path
        self._store_id = store_id
        self._file: int | None = None

    def read(self) -> int:
        try:
            store_id, given = self._path.read_text("ascii").split()
        except (OSError, ValueError):
            return 0
        return int(given) if store_id == self._store_id and given.isdecimal() else 0

    def write(self, given: int) -> None:
        with contextlib.suppress(OSError):
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | BINARY, 0o644)
            os.lseek(self._file, 0, os.SEEK_SET)
            os.write(self._file, f"{self._store_id} {given:020d}\n".encode())

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
