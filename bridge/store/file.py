"""Making a store's tables, recognising a store, and setting a damaged one aside."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from fluxcap.bridge.store.connection import DAMAGE_HINT, StoreCursor
from fluxcap.bridge.store.high_water_mark import MARK_ENDING
from fluxcap.bridge.store.schema import SCHEMA_VERSION, TABLE_NAMES, TABLES
from fluxcap.schemas.errors import StoreDamaged, StoreError

_EVERY_TABLE = " UNION ALL ".join(
    f"(SELECT 1 FROM {name} LIMIT 0)"  # noqa: S608  names of ours
    for name in sorted(TABLE_NAMES[SCHEMA_VERSION])
)


def now_ms() -> int:
    """The wall clock, UTC epoch milliseconds."""
    return time.time_ns() // 1_000_000


def ensure_store(cursor: StoreCursor, path: Path, clock_ms: Callable[[], int]) -> str:
    """Make the tables in an empty database, or check those that are there. Returns the ``store_id``.

    A store of an older version stays as it is: ``migration.migrate`` brings it up. Raises what ``check_store`` raises.
    """
    if cursor.is_new:
        return _create(cursor, clock_ms)
    if (store_id := _whole_store_id(cursor)) is not None:
        return store_id
    if not cursor.rows("SELECT 1 FROM duckdb_tables() LIMIT 1"):
        return _create(cursor, clock_ms)
    return check_store(cursor, path)


def _whole_store_id(cursor: StoreCursor) -> str | None:
    """The ``store_id`` of a store of today's version that has all of its tables; None: to be looked at closely.

    DuckDB takes 17 ms to list its tables for the first time, and 2 ms to find each of them.
    """
    try:
        meta = dict(cursor.rows("SELECT name, value FROM meta"))
        if meta.get("schema_version") != str(SCHEMA_VERSION):
            return None
        cursor.rows(_EVERY_TABLE)
    except StoreError:
        return None
    return meta.get("store_id") or None


def check_store(cursor: StoreCursor, path: Path) -> str:
    """The ``store_id`` of a store of any version that can be read.

    Raises StoreDamaged when it is not a whole fluxcap store, StoreError when it is of a newer version.
    """
    tables = {name for (name,) in cursor.rows("SELECT table_name FROM information_schema.tables")}
    if "meta" not in tables:
        raise StoreDamaged(f"{path} is a DuckDB file, but not a fluxcap store; name another file.")
    meta = {str(name): str(value) for name, value in cursor.rows("SELECT name, value FROM meta")}
    named = meta.get("schema_version", "")
    version = int(named) if named.isdecimal() else 0
    if version > SCHEMA_VERSION:
        raise StoreError(f"{path} was written by a newer fluxcap (store version {version}); upgrade fluxcap.")
    if version not in TABLE_NAMES or not meta.get("store_id") or not tables >= TABLE_NAMES[version]:
        raise StoreDamaged(f"{path} lacks parts of a fluxcap store. {DAMAGE_HINT}")
    return meta["store_id"]


def stored_version(cursor: StoreCursor) -> int:
    """The version of a checked store's tables."""
    return int(cursor.rows("SELECT value FROM meta WHERE name = 'schema_version'")[0][0])


def _create(cursor: StoreCursor, clock_ms: Callable[[], int]) -> str:
    store_id = uuid.uuid4().hex
    meta = {"schema_version": SCHEMA_VERSION, "store_id": store_id, "created_ms": clock_ms()}
    with cursor.transaction():
        for statement in TABLES:
            cursor.rows(statement)
        for name, value in meta.items():
            cursor.rows("INSERT INTO meta VALUES (?, ?)", (name, str(value)))
    return store_id


def quarantine(path: Path, clock_ms: Callable[[], int] = now_ms, *, label: str = "damaged") -> Path:
    """Rename a store and its write-ahead log to ``<name>.<label>-<UTC time>``, so that a new one can be made.

    Nothing is deleted. Returns the new path. Raises StoreError when the file cannot be renamed.
    """
    stamp = datetime.fromtimestamp(clock_ms() / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    target = path.with_name(f"{path.name}.{label}-{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.{label}-{stamp}-{number}")
    try:
        # The log first: were it left behind, DuckDB would replay it into the new store.
        for ending in (".wal", MARK_ENDING, ""):
            part = path.with_name(path.name + ending)
            if part.exists():
                part.rename(target.with_name(target.name + ending))
    except OSError as error:
        raise StoreError(f"{path} could not be set aside: {error}.") from error
    return target
