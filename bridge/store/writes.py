"""The store's write statements. Each function runs inside a transaction of the caller.

All raise StoreError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fluxcap.bridge.store.connection import StoreCursor
from fluxcap.bridge.store.schema import candle_columns
from fluxcap.bridge.store.universe import UNIVERSE_COLUMNS, Listing
from fluxcap.schemas.candles import joined_rows
from fluxcap.schemas.types import CANDLE_DTYPE, CandleBatch, CandleFlags, CandleRevision, Gap, StreamKey

OFFSET_FACT = "platform offset ms"
Columns = dict[str, npt.NDArray[Any]]
StreamIds = Mapping[StreamKey, int]


def insert_streams(cursor: StoreCursor, stream_ids: StreamIds) -> None:
    if stream_ids:
        columns: Columns = {"stream_id": np.array(list(stream_ids.values()), dtype=np.int32)}
        for name in ("source_id", "symbol", "interval"):
            columns[name] = np.array([getattr(key, name) for key in stream_ids], dtype=object)
        cursor.load("INSERT INTO streams SELECT * FROM incoming", columns)


def insert_batches(cursor: StoreCursor, batches: Sequence[CandleBatch], stream_ids: StreamIds, sealed_ms: int) -> None:
    """All batches with one statement, whatever their number. ``sealed_ms``: now, UTC epoch ms."""
    if not batches:
        return
    ids = np.array([stream_ids[batch.key] for batch in batches], dtype=np.int32)
    candles = joined_rows([batch.candles for batch in batches])
    counts = np.array([len(batch.candles) for batch in batches])
    # Within its batch each candle has the next sequence: its place less that of the batch's first (mod 2^64).
    begins = np.array([batch.start_sequence for batch in batches], dtype=np.uint64)
    begins -= (np.cumsum(counts) - counts).astype(np.uint64)
    columns: Columns = {
        "stream_id": np.repeat(ids, counts),
        "sequence": np.repeat(begins, counts) + np.arange(len(candles), dtype=np.uint64),
        **candle_columns(candles),
        "sealed_ms": np.full(len(candles), sealed_ms, dtype=np.int64),
    }
    cursor.load("INSERT INTO candles_fresh SELECT * FROM incoming", columns)


def insert_revision(cursor: StoreCursor, revision: CandleRevision, stream_ids: StreamIds, made_ms: int) -> None:
    """Keep a revision, and put its candles in the place of the published ones, whose first version is kept."""
    count = len(revision.candles)
    columns: Columns = {
        "stream_id": np.full(count, stream_ids[revision.key], dtype=np.int32),
        "revision": np.arange(revision.start_revision, revision.start_revision + count, dtype=np.uint64),
        "sequence": revision.sequences,
        **candle_columns(revision.candles),
        "made_ms": np.full(count, made_ms, dtype=np.int64),
    }
    cursor.load("INSERT INTO revisions SELECT * FROM incoming", columns)
    # The last word on a candle wins, should one message of revisions name it twice.
    numbers, from_the_end = np.unique(revision.sequences[::-1], return_index=True)
    keep = (count - 1 - from_the_end)[numbers > 0]
    if len(keep):
        _replace_candles(cursor, {name: column[keep] for name, column in columns.items()})


def _replace_candles(cursor: StoreCursor, columns: Columns) -> None:
    low, high = int(columns["sequence"].min()), int(columns["sequence"].max())
    stream_id = int(columns["stream_id"][0])
    # What was revised before carries the flag, and its first version is kept already.
    fields = ", ".join(f"c.{name}" for name in CANDLE_DTYPE.names or ())
    cursor.load(
        f"INSERT INTO first_versions SELECT c.stream_id, c.sequence, {fields} FROM candles AS c, incoming AS i "  # noqa: S608
        f"WHERE c.stream_id = {stream_id} AND c.sequence BETWEEN {low} AND {high} AND c.sequence = i.sequence "
        f"AND c.flags & {int(CandleFlags.REVISED)} = 0",
        columns,
    )
    left = len(columns["sequence"])
    for table in ("candles_fresh", "candles_settled"):
        # Literal bounds, so that the zone maps skip the rest of the table.
        left -= cursor.load(
            f"UPDATE {table} AS c SET open = i.open, high = i.high, low = i.low, close = i.close, "  # noqa: S608
            "volume = i.volume, tick_count = i.tick_count, flags = i.flags FROM incoming AS i "
            f"WHERE c.stream_id = {stream_id} AND c.sequence BETWEEN {low} AND {high} AND c.sequence = i.sequence",
            columns,
        )
        if not left:
            return  # each candle is in one of the tables: nearly always in the first, since it is young


def upsert_gaps(cursor: StoreCursor, gaps: Sequence[Gap], at_ms: int) -> None:
    """Each replaces the one of the same source, symbol and ``from_ms``; its state is kept with the time ``at_ms``."""
    for gap in gaps:
        row = (gap.source_id, gap.symbol, gap.from_ms, gap.to_ms, gap.reason)
        cursor.rows("INSERT OR REPLACE INTO gaps VALUES (?, ?, ?, ?, ?)", row)
        cursor.rows("INSERT INTO gap_states VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, gap.state.value, at_ms))


def compact(cursor: StoreCursor) -> None:
    """Move the fresh rows, sorted by stream, to the settled ones."""
    cursor.rows("INSERT INTO candles_settled SELECT * FROM candles_fresh ORDER BY stream_id, sequence")
    cursor.rows("DELETE FROM candles_fresh")


def delete_before(cursor: StoreCursor, before_ts_ms: int, newest: Mapping[int, int]) -> None:
    """Delete what is older than a time, but not the newest candle (``{stream_id: sequence}``) and revision of a stream.

    Of the revisions, which are not in time order, only a prefix goes, so that the rest stays dense.
    """
    columns: Columns = {
        "stream_id": np.array(list(newest), dtype=np.int32),
        "sequence": np.array(list(newest.values()), dtype=np.uint64),
    }
    for table in ("candles_fresh", "candles_settled"):
        cursor.load(
            f"DELETE FROM {table} AS c USING incoming AS i WHERE c.stream_id = i.stream_id "  # noqa: S608
            f"AND c.sequence < i.sequence AND c.ts_ms < {int(before_ts_ms)}",
            columns,
        )
    cursor.rows(
        "DELETE FROM revisions AS r USING (SELECT stream_id, coalesce(min(revision) FILTER (ts_ms >= $1), "
        "max(revision)) AS keep FROM revisions GROUP BY stream_id) AS k "
        "WHERE r.stream_id = k.stream_id AND r.revision < k.keep",
        (before_ts_ms,),
    )
    for table in ("first_versions", "agreement"):
        cursor.rows(f"DELETE FROM {table} WHERE ts_ms < ?", (before_ts_ms,))  # noqa: S608
    cursor.rows(
        "DELETE FROM agreement_ticks AS t WHERE NOT EXISTS (SELECT 1 FROM agreement AS a "
        "WHERE a.stream_id = t.stream_id AND a.sequence = t.sequence)"
    )
    cursor.rows("DELETE FROM gaps WHERE to_ms > 0 AND to_ms < ?", (before_ts_ms,))
    cursor.rows(
        "DELETE FROM gap_states AS s WHERE NOT EXISTS (SELECT 1 FROM gaps AS g "
        "WHERE g.source_id = s.source_id AND g.symbol = s.symbol AND g.from_ms = s.from_ms)"
    )


def delete_from(cursor: StoreCursor, from_ts_ms: int) -> None:
    """Delete what is of a time or later, which a wrong clock had stamped; gaps that reach beyond it end there.

    Of a stream the newest candles go, so that its sequences stay dense; the revisions that stay are numbered anew. What
    was kept of an offset at such a time goes, too.
    """
    for table in ("candles_fresh", "candles_settled", "revisions", "first_versions", "agreement"):
        cursor.rows(f"DELETE FROM {table} WHERE ts_ms >= ?", (from_ts_ms,))  # noqa: S608
    cursor.rows(
        "UPDATE revisions AS r SET revision = n.number FROM (SELECT stream_id, revision, "
        "row_number() OVER (PARTITION BY stream_id ORDER BY revision) AS number FROM revisions) AS n "
        "WHERE r.stream_id = n.stream_id AND r.revision = n.revision"
    )
    cursor.rows(
        "DELETE FROM agreement_ticks AS t WHERE NOT EXISTS (SELECT 1 FROM agreement AS a "
        "WHERE a.stream_id = t.stream_id AND a.sequence = t.sequence)"
    )
    for table in ("gaps", "gap_states"):
        cursor.rows(f"DELETE FROM {table} WHERE from_ms >= ?", (from_ts_ms,))  # noqa: S608
        cursor.rows(f"UPDATE {table} SET to_ms = $1 WHERE to_ms > $1", (from_ts_ms,))  # noqa: S608
    cursor.rows("DELETE FROM kept_facts WHERE name = ? AND kept_ms >= ?", (OFFSET_FACT, from_ts_ms))


def replace_universe(cursor: StoreCursor, listings: Sequence[Listing]) -> None:
    cursor.rows("DELETE FROM universe")
    if listings:
        columns: Columns = {}
        for name in UNIVERSE_COLUMNS:
            columns[name] = np.array([getattr(listing, name) for listing in listings], dtype=object)
        cursor.load("INSERT INTO universe SELECT * FROM incoming", columns)


def keep_fact(cursor: StoreCursor, source_id: str, name: str, value: str, kept_ms: int) -> None:
    """Replaces the fact of that source and name."""
    cursor.rows("INSERT OR REPLACE INTO kept_facts VALUES (?, ?, ?, ?)", (source_id, name, value, kept_ms))


def set_store_id(cursor: StoreCursor, store_id: str) -> None:
    cursor.rows("UPDATE meta SET value = ? WHERE name = 'store_id'", (store_id,))
