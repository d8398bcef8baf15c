"""The store's tables, and the columns that pass between NumPy and them.

Candles live in two tables of one shape. ``candles_fresh`` takes what is committed, in time order, all streams mixed.
When it has grown to about a million rows they move to ``candles_settled`` sorted by stream, so that DuckDB's min/max
zone maps skip all but the wanted stream. Measured at 1,000 streams x 43,200 candles: a page of 10,000 takes 75 ms from
mixed rows, 4-6 ms from settled ones, as with a single stream. ``candles`` is the view over both.

There is no primary key on purpose: its index would cost a commit of 1,000 rows half as much again, 0.8 GB of file and
memory at that size, and DuckDB does not use it for ranges. Uniqueness is the sequencer's promise; the store
checks each commit against its watermarks, and the whole (as many rows as numbers) each time it is opened. The tables of
version 2 have none either, but for ``kept_facts``, which holds a handful of rows.

What version 2 adds answers what a client had seen by some time: when each candle was sealed (``sealed_ms``), its first
version once it was revised (``first_versions``; the later ones are ``revisions`` with ``made_ms``), and each state that
a gap went through (``gap_states``). It also keeps what the comparison with the platform's own rows told
(``agreement``), and facts that the next start needs (``kept_facts``).
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from fluxcap.schemas.types import CANDLE_DTYPE, CandleArray

SCHEMA_VERSION = 2
"""Version 1 is that of fluxcap 0.1.0; ``migration.py`` brings it up."""

CANDLE_DEFINITION = """
    ts_ms BIGINT NOT NULL, open DOUBLE NOT NULL, high DOUBLE NOT NULL, low DOUBLE NOT NULL, close DOUBLE NOT NULL,
    volume DOUBLE NOT NULL, tick_count UINTEGER NOT NULL, flags USMALLINT NOT NULL"""
"""The columns of a candle in a table."""
_STREAM = "stream_id INTEGER NOT NULL, "
_CANDLES = f"({_STREAM}sequence UBIGINT NOT NULL, {CANDLE_DEFINITION}, sealed_ms BIGINT DEFAULT 0)"

NOT_KNOWN_MS = 0
"""The time of what happened before version 2, which did not keep it."""

CANDLES_VIEW = "CREATE VIEW candles AS SELECT * FROM candles_settled UNION ALL SELECT * FROM candles_fresh"
TABLES_OF_2 = {
    # A candle as it was published, once a revision has taken its place.
    "first_versions": f"({_STREAM}sequence UBIGINT NOT NULL, {CANDLE_DEFINITION})",
    # Each state of a gap, when it was told: opened, closed or withdrawn.
    "gap_states": "(source_id VARCHAR NOT NULL, symbol VARCHAR NOT NULL, from_ms BIGINT NOT NULL, "
    "to_ms BIGINT NOT NULL, reason VARCHAR NOT NULL, state VARCHAR NOT NULL, at_ms BIGINT NOT NULL)",
    # A sealed candle compared with the platform's own row; its values stand here where they differ.
    "agreement": f"({_STREAM}sequence UBIGINT NOT NULL, ts_ms BIGINT NOT NULL, equal BOOLEAN NOT NULL, open DOUBLE, "
    "high DOUBLE, low DOUBLE, close DOUBLE, kept_ticks UINTEGER NOT NULL, compared_ms BIGINT NOT NULL)",
    # The ticks of candles that differ, in their order, where they were still known.
    "agreement_ticks": f"({_STREAM}sequence UBIGINT NOT NULL, place UINTEGER NOT NULL, ts_ms BIGINT NOT NULL, "
    "price DOUBLE NOT NULL)",
    # What a start wants to know of earlier runs: by source and name, JSON.
    "kept_facts": "(source_id VARCHAR NOT NULL, name VARCHAR NOT NULL, value VARCHAR NOT NULL, "
    "kept_ms BIGINT NOT NULL, PRIMARY KEY (source_id, name))",
}

TABLES = (
    "CREATE TABLE meta (name VARCHAR PRIMARY KEY, value VARCHAR NOT NULL)",
    "CREATE TABLE streams (stream_id INTEGER PRIMARY KEY, source_id VARCHAR NOT NULL, symbol VARCHAR NOT NULL, "
    "interval VARCHAR NOT NULL, UNIQUE (source_id, symbol, interval))",
    f"CREATE TABLE candles_fresh {_CANDLES}",
    f"CREATE TABLE candles_settled {_CANDLES}",
    CANDLES_VIEW,
    f"CREATE TABLE revisions ({_STREAM}revision UBIGINT NOT NULL, sequence UBIGINT NOT NULL, {CANDLE_DEFINITION}, "
    "made_ms BIGINT NOT NULL)",
    "CREATE TABLE gaps (source_id VARCHAR NOT NULL, symbol VARCHAR NOT NULL, from_ms BIGINT NOT NULL, "
    "to_ms BIGINT NOT NULL, reason VARCHAR NOT NULL, PRIMARY KEY (source_id, symbol, from_ms))",
    "CREATE TABLE universe (filters VARCHAR, badge VARCHAR, symbol VARCHAR PRIMARY KEY, name VARCHAR, market VARCHAR, "
    "venue VARCHAR)",
    *(f"CREATE TABLE {name} {columns}" for name, columns in TABLES_OF_2.items()),
)
TABLE_NAMES_OF_1 = frozenset(
    {"meta", "streams", "candles_fresh", "candles_settled", "revisions", "gaps", "universe", "candles"}
)
TABLE_NAMES = {1: TABLE_NAMES_OF_1, 2: TABLE_NAMES_OF_1 | TABLES_OF_2.keys()}
"""The tables that a store of a version has."""

CANDLE_COLUMNS = ", ".join(str(name) for name in CANDLE_DTYPE.names or ())


def candle_columns(candles: CandleArray) -> dict[str, npt.NDArray[Any]]:
    """A candle array as one column per field."""
    return {str(name): candles[name] for name in CANDLE_DTYPE.names or ()}
