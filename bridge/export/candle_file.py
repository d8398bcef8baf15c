"""Candles to a file that other programs read."""

from __future__ import annotations

from pathlib import Path

from fluxcap.bridge.export.table_file import Column, TableWriter
from fluxcap.schemas.types import CandleArray

CANDLE_FILE_COLUMNS = {
    "timestamp": Column.TIME,
    "open": Column.PRICE,
    "high": Column.PRICE,
    "low": Column.PRICE,
    "close": Column.PRICE,
    "volume": Column.NUMBER,
    "tick_count": Column.WHOLE,
    "flags": Column.WHOLE,
}


def export_candles(candles: CandleArray, path: str | Path) -> Path:
    """Write candles to ``….csv`` or ``….parquet``, whole or not at all; an existing file is replaced at the end.

    Columns, in this order:

    - ``timestamp``: start of the candle, UTC; in CSV as ISO 8601 (``2026-01-11T09:30:00.000Z``), in Parquet as a
      time stamp with time zone
    - ``open``, ``high``, ``low``, ``close``: prices, in CSV never with an exponent
    - ``volume``: number of ticks, as FX platforms count it
    - ``tick_count``: ticks seen (0: not known, as from history)
    - ``flags``: 0 complete, or the sum of 1 joined late, 2 blind for a while, 4 from history, 8 revised

    Parameters
    ----------
    candles
        Shape ``(n,)``, dtype ``CANDLE_DTYPE``, as ``backfill`` and ``LiveClient.candles`` return them.
    path
        The file; its ending chooses the format.

    Returns
    -------
    Path
        The file's.

    Raises
    ------
    ConfigError
        For another ending.
    StoreError
        When the file cannot be written.
    """
    with TableWriter(Path(path), CANDLE_FILE_COLUMNS) as table:
        table.add({"timestamp": candles["ts_ms"], **{name: candles[name] for name in (candles.dtype.names or ())[1:]}})
        return table.finish()
