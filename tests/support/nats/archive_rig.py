"""Holds an archive of Parquet files against the store that its candles come from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from fluxcap.bridge.store.store import Store
from fluxcap.schemas.types import CANDLE_DTYPE, CandleArray, StreamKey

COLUMNS = ", ".join(CANDLE_DTYPE.names or ())


def rows_of(folder: Path, where: str, *parameters: Any) -> tuple[list[int], CandleArray]:
    """Sequences and candles of an archive, in order of time, through nothing but DuckDB and the paths."""
    if not any(folder.glob("source=*/**/*.parquet")):
        return [], np.empty(0, CANDLE_DTYPE)
    found = _ask(
        f"SELECT sequence, {COLUMNS} FROM read_parquet('{folder}/source=*/**/*.parquet', hive_partitioning = true, "
        f"hive_types = {{'symbol': VARCHAR, 'source': VARCHAR}}) WHERE {where} ORDER BY ts_ms, sequence",
        parameters,
    )
    candles = np.empty(len(found["sequence"]), CANDLE_DTYPE)
    for name in CANDLE_DTYPE.names or ():
        candles[name] = found[name]
    return found["sequence"].tolist(), candles


def _ask(sql: str, parameters: Sequence[Any]) -> dict[str, Any]:
    """DuckDB opens a file twice, and fails when it was replaced in between; so a query is tried again."""
    for _ in range(20):
        try:
            return duckdb.execute(sql, list(parameters)).fetchnumpy()
        except duckdb.Error:
            continue
    return duckdb.execute(sql, list(parameters)).fetchnumpy()


def archived(folder: Path, key: StreamKey) -> tuple[list[int], CandleArray]:
    """A stream's numbered candles."""
    where = 'source = ? AND symbol = ? AND "interval" = ? AND sequence > 0'
    return rows_of(folder, where, key.source_id, key.symbol, key.interval)


def assert_archive_is_store(folder: Path, store: Store) -> int:
    """Every candle of the store once, to the bit, and nothing else; returns how many."""
    reader = store.reader()
    total = 0
    for key in store.watermarks():
        page = reader.page(key, 0, None, 10_000_000)
        sequences, candles = archived(folder, key)
        assert sequences == list(range(page.start_sequence, page.next_sequence)), key
        assert candles.tobytes() == page.candles.tobytes(), key
        extra = _extra(store, key)
        where = 'source = ? AND symbol = ? AND "interval" = ? AND sequence = 0'
        _, found = rows_of(folder, where, key.source_id, key.symbol, key.interval)
        assert found.tolist() == [extra[ts_ms] for ts_ms in sorted(extra)], key
        total += len(sequences) + len(found)
    assert len(rows_of(folder, "true")[0]) == total
    return total


def _extra(store: Store, key: StreamKey) -> dict[int, Any]:
    """The newest revision of each minute that the main stream never had."""
    page = store.reader().revisions(key, 0, 10_000_000)
    rows = page.candles[page.sequences == 0]
    return {int(row[0]): row for row in rows.tolist()}
