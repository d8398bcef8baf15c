"""Candles, revisions and gaps of an archive to a CSV or Parquet file: ``fluxcap export``.

Columns (times in UTC, prices in CSV never with an exponent):

- candles: source, symbol, interval, sequence, timestamp, open, high, low, close, volume, tick_count, flags
- revisions: source, symbol, interval, revision, sequence (0: the main stream never had it), then as candles
- gaps: source, symbol, from, to (empty: not over yet), reason
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fluxcap.bridge.export.candle_file import CANDLE_FILE_COLUMNS
from fluxcap.bridge.export.source import ExportSource
from fluxcap.bridge.export.table_file import Column, TableWriter
from fluxcap.schemas.candles import StreamSize
from fluxcap.schemas.types import CandleArray, Gap, StreamKey

Columns = dict[str, npt.NDArray[Any]]
Progress = Callable[[int], None]
"""Told how many rows more have been read."""

_STREAM = {"source": Column.TEXT, "symbol": Column.TEXT, "interval": Column.TEXT}
GAP_FILE_COLUMNS = {
    "source": Column.TEXT,
    "symbol": Column.TEXT,
    "from": Column.TIME,
    "to": Column.TIME,
    "reason": Column.TEXT,
}


class ExportKind(enum.StrEnum):
    """A kind of data that can be exported."""

    CANDLES = "candles"
    TICKS = "ticks"
    GAPS = "gaps"
    REVISIONS = "revisions"


class TimeRange(msgspec.Struct, frozen=True):
    """From a time up to, without, another; UTC epoch ms. ``to_ms`` None: open."""

    from_ms: int = 0
    to_ms: int | None = None

    def holds(self, ts_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return which of the times are within."""
        within = ts_ms >= self.from_ms
        return within if self.to_ms is None else within & (ts_ms < self.to_ms)

    def touches(self, gap: Gap) -> bool:
        """Return whether a blind time lies within in part."""
        return (gap.to_ms == 0 or gap.to_ms > self.from_ms) and (self.to_ms is None or gap.from_ms < self.to_ms)


def export_candles(
    archive: ExportSource,
    streams: Sequence[StreamSize],
    span: TimeRange,
    target: Path,
    progress: Progress = lambda rows: None,
) -> int:
    """Write the candles that start within the span; returns how many. Raises what archive and file do."""
    with TableWriter(target, {**_STREAM, "sequence": Column.WHOLE, **CANDLE_FILE_COLUMNS}) as table:
        for held in streams:
            for page in archive.candles(held.key):
                numbers = np.arange(page.start_sequence, page.start_sequence + len(page.candles), dtype=np.int64)
                _add(table, held.key, {"sequence": numbers}, page.candles, span)
                progress(len(numbers))
        table.finish()
        return table.rows


def export_revisions(
    archive: ExportSource,
    streams: Sequence[StreamSize],
    span: TimeRange,
    target: Path,
    progress: Progress = lambda rows: None,
) -> int:
    """Write the revisions of candles that start within the span; returns how many. Raises what archive and file do."""
    columns = {**_STREAM, "revision": Column.WHOLE, "sequence": Column.WHOLE, **CANDLE_FILE_COLUMNS}
    with TableWriter(target, columns) as table:
        for held in streams:
            for page in archive.revisions(held.key):
                numbers = np.arange(page.start_revision, page.start_revision + len(page.candles), dtype=np.int64)
                sequences = page.sequences.astype(np.int64)
                _add(table, held.key, {"revision": numbers, "sequence": sequences}, page.candles, span)
                progress(len(numbers))
        table.finish()
        return table.rows


def export_gaps(gaps: Iterable[Gap], target: Path) -> int:
    """Write blind times; returns how many. Raises ConfigError, StoreError."""
    rows = [(gap.source_id, gap.symbol, gap.from_ms, gap.to_ms, gap.reason) for gap in gaps]
    with TableWriter(target, GAP_FILE_COLUMNS) as table:
        if rows:
            types = (object, object, np.int64, np.int64, object)
            columns = [
                np.array(column, dtype=kind) for column, kind in zip(zip(*rows, strict=True), types, strict=True)
            ]
            table.add(dict(zip(GAP_FILE_COLUMNS, columns, strict=True)))
        table.finish()
        return table.rows


def effective_gaps(gaps: Iterable[Gap]) -> list[Gap]:
    """Without those that were taken back, which are kept with no length."""
    return [gap for gap in gaps if gap.to_ms != gap.from_ms]


def _add(table: TableWriter, key: StreamKey, numbers: Columns, candles: CandleArray, span: TimeRange) -> None:
    within = span.holds(candles["ts_ms"])
    count = int(within.sum())
    columns: Columns = {
        "source": np.full(count, key.source_id, dtype=object),
        "symbol": np.full(count, key.symbol, dtype=object),
        "interval": np.full(count, key.interval, dtype=object),
        **{name: column[within] for name, column in numbers.items()},
        "timestamp": candles["ts_ms"][within],
    }
    columns |= {name: candles[name][within] for name in CANDLE_FILE_COLUMNS if name != "timestamp"}
    table.add(columns)
