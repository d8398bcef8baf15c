"""Keeps candles that a chart program sends, as a file among the collected ones; each candle once.

Such programs send back what they have read from a CSV file: what a file of the asset and timeframe already holds is not
written a second time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fluxcap.bridge.dashboard.csv_candles import read_csv
from fluxcap.capture.csvfiles.catalog import list_csv_files
from fluxcap.capture.csvfiles.collected import COLLECT_FOLDER, write_collected
from fluxcap.capture.csvfiles.format import CsvKind
from fluxcap.schemas.errors import ConfigError
from fluxcap.schemas.types import CandleArray, candles_from

MOST_CANDLES = 20_000
_COLUMNS = ("timestamp", "open", "close", "high", "low")
_MILLISECONDS_FROM = 100_000_000_000
"""As seconds this is the year 5138: a number as large as this counts milliseconds."""
_SUFFIXES = {"1h": "60m", "4h": "240m"}


def received_candles(rows: Any) -> CandleArray:
    """The candles of a list of ``{timestamp, open, high, low, close}``, ascending, each time once.

    ``timestamp``: seconds or milliseconds of the UNIX epoch, or ISO 8601. Raises ConfigError with what is wrong.
    """
    if not isinstance(rows, Sequence) or isinstance(rows, str) or not rows:
        raise ConfigError("There are no candles: a list of {timestamp, open, high, low, close} is needed.")
    if len(rows) > MOST_CANDLES:
        raise ConfigError(f"{len(rows):,} candles are too many at once; send {MOST_CANDLES:,} at most.")
    lines = [",".join(_COLUMNS)]
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping) or not all(_is_cell(row.get(name)) for name in _COLUMNS):
            raise ConfigError(f"Candle {number} has not all of {', '.join(_COLUMNS)}.")
        lines.append(",".join([_time(row["timestamp"]), *(str(row[name]) for name in _COLUMNS[1:])]))
    return read_csv("\n".join(lines))


def keep_received(data_dir: Path, symbol: str, candles: CandleArray, now_ms: int) -> Path | None:
    """Write candles of ``symbol``, ascending, to a file of their own; None when a file holds all of them already.

    Raises StoreFull, StoreError.
    """
    timeframe = _timeframe(candles)
    if any(_holds(Path(file["path"]), candles) for file in _files(data_dir, symbol, timeframe)):
        return None
    suffix = _SUFFIXES.get(timeframe, timeframe)
    folder = data_dir / COLLECT_FOLDER
    return write_collected(folder, f"{timeframe.upper()}_candles", suffix, symbol, candles_from(candles), now_ms)


def _files(data_dir: Path, symbol: str, timeframe: str) -> list[dict[str, Any]]:
    return [
        file
        for file in list_csv_files(data_dir, timeframe)
        if (file["symbol"], file["kind"]) == (symbol, CsvKind.CANDLE.value)
    ]


def _holds(path: Path, candles: CandleArray) -> bool:
    try:
        held = read_csv(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, ConfigError):
        return False
    fields = ["ts_ms", "open", "high", "low", "close"]
    return bool(np.isin(_keys(candles, fields), _keys(held, fields)).all())


def _keys(candles: CandleArray, fields: list[str]) -> np.ndarray[Any, np.dtype[np.void]]:
    """Each candle as one opaque value."""
    rows = np.stack([candles[name].astype(np.float64) for name in fields], axis=1)
    return np.ascontiguousarray(rows).view(np.dtype((np.void, rows.shape[1] * 8))).ravel()


def _timeframe(candles: CandleArray) -> str:
    """The shortest distance of two candles; of one alone a minute."""
    seconds = int(np.diff(candles["ts_ms"]).min()) // 1_000 if len(candles) > 1 else 60
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{max(seconds, 1)}s"


def _is_cell(value: Any) -> bool:
    return (isinstance(value, int | float) and not isinstance(value, bool)) or (
        isinstance(value, str) and "," not in value
    )


def _time(value: int | float | str) -> str:
    if isinstance(value, str) or abs(value) < _MILLISECONDS_FROM:
        return str(value)
    return str(value / 1_000)
