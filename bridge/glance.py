"""A quick look at a store that nobody has open: whether it is one, and how much it holds.

``fluxcap verify`` reads all of it; this takes a moment, for ``fluxcap doctor``.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from bridge.store_connection import StoreConnection
from bridge.store_file import check_store
from schemas.errors import StoreDamaged


class Glance(msgspec.Struct, frozen=True):
    """What a store holds."""

    streams: int
    candles: int
    bytes: int


def glance(path: Path) -> Glance:
    """Look. Raises StoreLocked, StoreDamaged (a stream has not as many candles as numbers, too) or StoreError."""
    connection = StoreConnection(path, read_only=True)
    try:
        cursor = connection.cursor()
        check_store(cursor, path)
        rows = cursor.rows(
            "SELECT stream_id, count(*), max(sequence) - min(sequence) + 1 FROM candles GROUP BY stream_id"
        )
        streams = int(cursor.rows("SELECT count(*) FROM streams")[0][0])
    finally:
        connection.close()
    if any(count != numbers for _, count, numbers in rows):
        raise StoreDamaged(f"{path}: a stream has not as many candles as numbers; `fluxcap verify` says which.")
    return Glance(streams, sum(int(count) for _, count, _ in rows), path.stat().st_size)
