"""Reads a CSV file of candles or ticks, as fluxcap and the programs before it wrote them. Pure: text in, rows out.

Columns go by their names, in any order: ``timestamp`` (or ``time``), ``open``, ``close``, ``high``, ``low`` and
``volume`` if it is there; ticks have ``timestamp``, ``asset``, ``price``. Times are ISO 8601 (``T`` or a space, with or
without ``Z``; read as UTC) or UNIX seconds. Rows may be in any order and occur twice: the last of a time counts.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np

from fluxcap.schemas.candles import fold_candles, fold_ticks
from fluxcap.schemas.errors import ConfigError
from fluxcap.schemas.types import CANDLE_DTYPE, CandleArray, interval_ms

MOST_ROWS = 1_000_000
_LATEST_S = 253_402_300_800
"""The year 10000, to which ISO 8601 goes."""
_TIMES = ("timestamp", "time", "date")
_PRICES = ("open", "high", "low", "close")


def read_csv(text: str, timeframe: str = "1m") -> CandleArray:
    """The candles of a file, ascending by time; ticks are folded into candles of ``timeframe``.

    Raises ConfigError that says which line is wrong and how.
    """
    rows = _rows(text.removeprefix("\ufeff"))
    header = [name.strip().lower() for name in next(rows, [])]
    time_column = next((header.index(name) for name in _TIMES if name in header), None)
    if time_column is None:
        raise ConfigError("The file's first line names no column timestamp.")
    if all(name in header for name in _PRICES):
        return _candles(rows, header, time_column)
    if "price" in header:
        return _from_ticks(rows, time_column, header.index("price"), interval_ms(timeframe))
    raise ConfigError("The file has neither open, high, low and close, nor price.")


def _rows(text: str) -> Iterator[list[str]]:
    """Raises ConfigError where a row is none of CSV's: a lone carriage return, a cell without end."""
    rows = csv.reader(io.StringIO(text))
    try:
        yield from rows
    except csv.Error as error:
        raise ConfigError(f"Line {rows.line_num}: {error}.") from None


def _candles(rows: Iterator[list[str]], header: list[str], time_column: int) -> CandleArray:
    columns = [header.index(name) for name in _PRICES]
    volume_column = header.index("volume") if "volume" in header else None
    found: dict[int, tuple[float, ...]] = {}
    for line, row in enumerate(rows, start=2):
        if not row or [cell.strip().lower() for cell in row] == header:  # a header again, where files were joined
            continue
        ts_ms = _time_ms(_cell(row, time_column, line), line)
        prices = [_number(_cell(row, column, line), line) for column in columns]
        if not prices[2] <= min(prices[0], prices[3]) <= max(prices[0], prices[3]) <= prices[1]:
            raise ConfigError(f"Line {line}: open and close are not between low and high.")
        volume = _number(_cell(row, volume_column, line), line) if volume_column is not None else 0.0
        found[ts_ms] = (ts_ms, *prices, volume, 0, 0)
        if len(found) > MOST_ROWS:
            raise ConfigError(f"The file has more than {MOST_ROWS:,} candles.")
    return np.array([found[ts_ms] for ts_ms in sorted(found)], CANDLE_DTYPE)


def _from_ticks(rows: Iterator[list[str]], time_column: int, price_column: int, step_ms: int) -> CandleArray:
    times, prices = [], []
    for line, row in enumerate(rows, start=2):
        if not row or row[price_column : price_column + 1] == ["price"]:
            continue
        times.append(_time_ms(_cell(row, time_column, line), line))
        prices.append(_number(_cell(row, price_column, line), line))
        if len(times) > MOST_ROWS:
            raise ConfigError(f"The file has more than {MOST_ROWS:,} ticks.")
    return fold_ticks(np.array(times, np.int64), np.array(prices, np.float64), step_ms)


def _cell(row: list[str], column: int, line: int) -> str:
    if column >= len(row):
        raise ConfigError(f"Line {line} has only {len(row)} columns.")
    return row[column].strip()


def _number(text: str, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ConfigError(f"Line {line}: {text[:40]!r} is no number.") from None
    if not math.isfinite(value) or value < 0:
        raise ConfigError(f"Line {line}: {text[:40]!r} is no price.")
    return value


def _time_ms(text: str, line: int) -> int:
    try:
        seconds = _seconds(text)
        if not 0 <= seconds < _LATEST_S:
            raise ValueError
    except (ValueError, OverflowError):
        hint = "; it has no date" if len(text) <= 9 and ":" in text else ""
        raise ConfigError(f"Line {line}: {text[:40]!r} is no time{hint}.") from None
    return round(seconds * 1_000)


def _seconds(text: str) -> float:
    """Raises ValueError."""
    if text.replace(".", "", 1).isdecimal():
        number = float(text)
        return number / 1_000 if number > 1e11 else number
    when = datetime.fromisoformat(text)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


TIMEFRAMES = ("1m", "5m", "15m", "1h", "4h")


def resample(candles: CandleArray, from_timeframe: str, to_timeframe: str) -> CandleArray:
    """Fold candles into those of a longer timeframe, as ``fold_candles``.

    candles: shape ``(n,)``, ``ts_ms`` strictly ascending, at ``from_timeframe`` or longer apart. The same timeframe is
    folded too: some files of hours end with rows of minutes.

    Raises ConfigError when ``to_timeframe`` is shorter than, or no multiple of, ``from_timeframe``.
    """
    step_ms, from_ms = interval_ms(to_timeframe), interval_ms(from_timeframe)
    if step_ms < from_ms or step_ms % from_ms:
        raise ConfigError(f"{from_timeframe} candles cannot become {to_timeframe} candles.")
    return fold_candles(candles, step_ms)


def reachable_timeframes(timeframe: str) -> tuple[str, ...]:
    """Those of ``TIMEFRAMES`` that candles of a timeframe can be shown in; ticks become any."""
    if timeframe == "tick":
        return TIMEFRAMES
    try:
        own_ms = interval_ms(timeframe)
    except ConfigError:
        return TIMEFRAMES
    return tuple(t for t in TIMEFRAMES if interval_ms(t) >= own_ms and interval_ms(t) % own_ms == 0)
