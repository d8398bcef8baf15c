"""Candles to a file that other programs read."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import duckdb
import numpy as np

from schemas.errors import ConfigError, StoreError
from schemas.types import CANDLE_DTYPE, CandleArray

_FORMATS = {
    ".csv": "FORMAT csv, HEADER true",
    ".parquet": "FORMAT parquet, COMPRESSION zstd",
}
_PRICES = "open, high, low, close, volume, tick_count, flags"
_SELECT = {
    ".csv": f"strftime(make_timestamp(ts_ms * 1000), '%Y-%m-%dT%H:%M:%S.%gZ') AS timestamp, {_PRICES}",
    ".parquet": f"make_timestamp(ts_ms * 1000) AT TIME ZONE 'UTC' AS timestamp, {_PRICES}",
}


def export_candles(candles: CandleArray, path: str | Path) -> Path:
    """Write candles to ``….csv`` or ``….parquet``, whole or not at all; an existing file is replaced at the end.

    Columns, in this order:

    - ``timestamp``: start of the candle, UTC; in CSV as ISO 8601 (``2026-01-11T09:30:00.000Z``), in Parquet as a
      time stamp with time zone
    - ``open``, ``high``, ``low``, ``close``: prices
    - ``volume``: number of ticks, as FX platforms count it
    - ``tick_count``: ticks seen (0: not known, as from history)
    - ``flags``: 0 complete, or the sum of 1 joined late, 2 blind for a while, 4 from history, 8 revised

    Returns the path. Raises ConfigError for another ending, StoreError when it cannot be written.
    """
    target = Path(path)
    ending = target.suffix.lower()
    if ending not in _FORMATS:
        raise ConfigError(f"{target} must end in .csv or .parquet, which says what to write.")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        os.close(handle)
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror or error}.") from error
    part = Path(name)
    try:
        _copy(candles, part, ending)
        _sync(part)
        part.chmod(0o644)
        part.replace(target)
    except (duckdb.Error, OSError) as error:
        raise StoreError(f"{target} cannot be written: {error}.") from error
    finally:
        part.unlink(missing_ok=True)
    return target


def _copy(candles: CandleArray, part: Path, ending: str) -> None:
    incoming = {name: np.ascontiguousarray(candles[name]) for name in CANDLE_DTYPE.names or ()}
    destination = str(part).replace("'", "''")
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("incoming", incoming)
        connection.execute(
            f"COPY (SELECT {_SELECT[ending]} FROM incoming) TO '{destination}' ({_FORMATS[ending]})"  # noqa: S608
        )


def _sync(part: Path) -> None:
    with part.open("rb") as written:
        os.fsync(written.fileno())
