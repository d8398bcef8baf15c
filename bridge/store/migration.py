"""Brings the store of an older fluxcap to the present version.

The file is copied first, to ``<name>.version-<n>``, where it stays; then everything changes in one transaction. Killed
or out of space at any instant, the next start finds the old version whole, or the new one: it copies again, or goes on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from fluxcap.bridge.store.connection import StoreConnection, StoreCursor
from fluxcap.bridge.store.schema import CANDLES_VIEW, NOT_KNOWN_MS, SCHEMA_VERSION, TABLES_OF_2
from fluxcap.bridge.system.files import is_full, remove_file, replace_file, sync
from fluxcap.schemas.errors import StoreError, StoreFull
from fluxcap.schemas.types import GapState

Progress = Callable[[int, int], None]
"""Called with the bytes that are copied, and the bytes that there are."""

_CHUNK = 8 * 1024 * 1024
_SPARE_BYTES = 16 * 1024 * 1024
"""Beside the copy: for the new tables and the write-ahead log."""

_STEPS = {
    1: (
        "ALTER TABLE candles_fresh ADD COLUMN sealed_ms BIGINT DEFAULT 0",
        "ALTER TABLE candles_settled ADD COLUMN sealed_ms BIGINT DEFAULT 0",
        "DROP VIEW candles",  # it stands for the columns that the tables had when it was made
        CANDLES_VIEW,
        *(f"CREATE TABLE {name} {columns}" for name, columns in TABLES_OF_2.items()),
        f"INSERT INTO gap_states SELECT source_id, symbol, from_ms, to_ms, reason, "  # noqa: S608
        f"CASE WHEN to_ms = 0 THEN '{GapState.OPENED}' WHEN to_ms = from_ms THEN '{GapState.WITHDRAWN}' "
        f"ELSE '{GapState.CLOSED}' END, {NOT_KNOWN_MS} FROM gaps",
    ),
}
"""From each version to the next."""


class Migration(msgspec.Struct, frozen=True):
    """A migration that was done. ``copy`` is the store as it was before; nothing needs it any more."""

    from_version: int
    copy: Path


def migrate(
    connection: StoreConnection, cursor: StoreCursor, version: int, progress: Progress = lambda done, total: None
) -> Migration:
    """Copy the store, and bring it from ``version`` to ``SCHEMA_VERSION``. The caller has found it sound.

    Raises StoreFull, saying how much room is needed, and StoreError; the store is as it was then.
    """
    path = connection.path
    copy = path.with_name(f"{path.name}.version-{version}")
    _require_room(path, version)
    with connection.released():
        _copy(path, copy, progress)
    with cursor.transaction():
        for step in range(version, SCHEMA_VERSION):
            for statement in _STEPS[step]:
                cursor.rows(statement)
        cursor.rows("UPDATE meta SET value = ? WHERE name = 'schema_version'", (str(SCHEMA_VERSION),))
    return Migration(version, copy)


def _require_room(path: Path, version: int) -> None:
    needed = sum(part.stat().st_size for part in _parts(path)) + _SPARE_BYTES
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise StoreFull(
            f"{path} is of store version {version}; to bring it to version {SCHEMA_VERSION} it is copied first, which "
            f"takes {needed / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are free. Nothing was changed: free some space."
        )


def _parts(path: Path) -> list[Path]:
    """The write-ahead log first: the copy is there when its last part is."""
    return [part for part in (path.with_name(path.name + ".wal"), path) if part.exists()]


def _copy(path: Path, copy: Path, progress: Progress) -> None:
    parts = _parts(path)
    total = sum(part.stat().st_size for part in parts)
    done = 0
    under_way = copy.with_name(copy.name + ".part")
    try:
        # The log of a copy that an earlier attempt left would be replayed into this one.
        copy.with_name(copy.name + ".wal").unlink(missing_ok=True)
        for part in parts:
            with part.open("rb") as source, under_way.open("wb") as target:
                while chunk := source.read(_CHUNK):
                    target.write(chunk)
                    done += len(chunk)
                    progress(done, total)
                target.flush()
                sync(target.fileno())
            replace_file(under_way, copy.with_name(copy.name + part.name.removeprefix(path.name)))
    except OSError as error:
        remove_file(under_way)
        kind = StoreFull if is_full(error) else StoreError
        raise kind(f"{path} could not be copied to {copy}: {error.strerror}. Nothing was changed.") from error
