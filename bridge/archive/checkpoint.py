"""The archive's durable position in JetStream, in ``_fluxcap/cursor.duckdb`` of its folder.

It is moved on after the files are durable. Killed in between, the same messages are read once more, which changes
nothing: rows are known by their sequence and revision. The file's lock keeps a second process out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from fluxcap.bridge.archive.partition_file import OWN_FOLDER
from fluxcap.bridge.archive.rows import MissingRange, ReadPosition
from fluxcap.bridge.store.connection import StoreConnection
from fluxcap.schemas.errors import StoreDamaged, StoreError, StoreLocked
from fluxcap.schemas.types import StreamKey

CHECKPOINT_FILE = "cursor.duckdb"
CHECKPOINT_EVERY = 500
"""Commits after which the write-ahead log is folded into the file."""
_TABLES = (
    "CREATE TABLE IF NOT EXISTS meta (name VARCHAR PRIMARY KEY, value VARCHAR NOT NULL)",
    'CREATE TABLE IF NOT EXISTS standings (source VARCHAR, symbol VARCHAR, "interval" VARCHAR, store_id VARCHAR, '
    'sequence UBIGINT, revision UBIGINT, PRIMARY KEY (source, symbol, "interval", store_id))',
    'CREATE TABLE IF NOT EXISTS missing (source VARCHAR, symbol VARCHAR, "interval" VARCHAR, store_id VARCHAR, '
    "what VARCHAR, first UBIGINT, last UBIGINT)",
)


class StreamPosition(msgspec.Struct, frozen=True):
    """A position in one JetStream stream, read through one filter: elsewhere the number means nothing.

    ``message_id``: of the message there. A server that lost its newest messages (one power failure is enough where only
    one keeps them) gives their positions to others.
    """

    stream: str = ""
    created: str = ""
    subject_filter: str = ""
    position: int = 0
    message_id: str = ""


class ArchiveCheckpoint:
    """Of the archive in a folder (made when absent); close it.

    Attributes
    ----------
    place
        All up to there is in the files.
    standings
        How far each stream is in the files, by stream and ``store_id``: JetStream can have both a store and the one
        that took its place, and be read again.

    Raises StoreLocked, StoreDamaged, StoreError.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / OWN_FOLDER / CHECKPOINT_FILE
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"The archive {folder} cannot be made: {error.strerror or error}.") from error
        try:
            self._connection = StoreConnection(path)
        except StoreLocked as error:
            raise StoreLocked(f"Another fluxcap archives to {folder}; stop it, or choose another folder.") from error
        except StoreDamaged as error:
            raise StoreDamaged(f"{path} is damaged; delete it to read JetStream again from the start.") from error
        try:
            self._cursor = self._connection.cursor()
            with self._cursor.transaction():
                for statement in _TABLES:
                    self._cursor.rows(statement)
            self.place = self._read_place()
            rows = self._cursor.rows('SELECT source, symbol, "interval", store_id, sequence, revision FROM standings')
            self.positions = {(StreamKey(*row[:3]), row[3]): ReadPosition(*row[4:]) for row in rows}
        except BaseException:
            self._connection.discard()
            raise
        self._commits = 0

    def move(
        self,
        place: StreamPosition,
        positions: Mapping[tuple[StreamKey, str], ReadPosition],
        missing: Sequence[MissingRange],
    ) -> None:
        """All of it or nothing, durably. Raises StoreError, also when the folder was deleted or replaced meanwhile."""
        if not self._connection.is_in_place():
            # Written again, it would name files as written that are gone.
            raise StoreError(
                f"{self._connection.path} was deleted or replaced while the archive was being written. Start it again: "
                "what is missing is read from JetStream from the start."
            )
        with self._cursor.transaction():
            self._cursor.rows("INSERT OR REPLACE INTO meta VALUES ('place', ?)", [msgspec.json.encode(place).decode()])
            if positions:
                columns = {
                    **_key_columns([key for key, _ in positions]),
                    "store_id": np.array([store_id for _, store_id in positions], dtype=object),
                    "sequence": np.array([s.latest_sequence for s in positions.values()], dtype=np.uint64),
                    "revision": np.array([s.latest_revision for s in positions.values()], dtype=np.uint64),
                }
                self._cursor.load("INSERT OR REPLACE INTO standings BY NAME SELECT * FROM incoming", columns)
            for hole in missing:
                key = hole.key
                row = [key.source_id, key.symbol, key.interval, hole.store_id, hole.what, hole.first, hole.last]
                self._cursor.rows("INSERT INTO missing VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        self.place = place
        self.positions.update(positions)
        self._commits += 1
        if self._commits % CHECKPOINT_EVERY == 0:
            self._cursor.rows("CHECKPOINT")

    def missing(self) -> list[MissingRange]:
        """All that was ever found missing."""
        rows = self._cursor.rows("SELECT * FROM missing ORDER BY ALL")
        return [MissingRange(StreamKey(*row[:3]), *row[3:]) for row in rows]

    def close(self) -> None:
        """Idempotent."""
        self._connection.close()

    def _read_place(self) -> StreamPosition:
        rows = self._cursor.rows("SELECT value FROM meta WHERE name = 'place'")
        return msgspec.json.decode(rows[0][0], type=StreamPosition) if rows else StreamPosition()


def _key_columns(keys: Sequence[StreamKey]) -> dict[str, np.ndarray]:
    names = (("source", "source_id"), ("symbol", "symbol"), ("interval", "interval"))
    return {column: np.array([getattr(key, field) for key in keys], dtype=object) for column, field in names}
