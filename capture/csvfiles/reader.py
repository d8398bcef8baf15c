"""Reads collected CSV files again: for ``fluxcap export ticks`` and ``fluxcap verify``.

A file whose last line has no end was cut off while it was written, by a kill or a power failure: that line is left
out and is no damage. A line that cannot be read anywhere else is.
"""

from __future__ import annotations

import codecs
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from fluxcap.capture.csvfiles.format import REALTIME_FOLDER, CsvKind, CsvName, parse_file_name, series_folder

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class CsvFile(msgspec.Struct, frozen=True):
    """One collected file."""

    path: Path
    name: CsvName


class TickPage(msgspec.Struct, frozen=True, eq=False):
    """The ticks of one file, in its order. ``unreadable``: lines left out, a torn last one not counted."""

    symbol: str
    ts_ms: npt.NDArray[np.int64]
    price: npt.NDArray[np.float64]
    unreadable: int = 0


class CsvReport(msgspec.Struct, frozen=True):
    """Result of checking a file. ``faults``: damage in words; ``torn_bytes``: size of a last line that is cut off."""

    path: Path
    lines: int
    torn_bytes: int
    faults: tuple[str, ...]


def collected_files(data_dir: Path, kind: CsvKind | None = None) -> list[CsvFile]:
    """The files below a data folder, by asset and age; other files there are passed over."""
    folder = data_dir / (series_folder(CsvKind.TICK, "") if kind is CsvKind.TICK else REALTIME_FOLDER)
    found = []
    for path in folder.rglob("*.csv"):
        name = parse_file_name(path.name)
        if name is not None and kind in (None, name.kind):
            found.append(CsvFile(path, name))
    return sorted(found, key=lambda file: (file.name.symbol, file.name.interval, file.name.stamp, file.name.part))


def read_ticks(file: CsvFile) -> TickPage:
    """The ticks of a file; a line that ``check_csv`` finds fault with is none. Raises OSError."""
    times, prices, unreadable = [], [], 0
    _, lines, _ = _lines(file.path)
    for line in lines:
        ts_ms, fault = _tick_fault(line)
        if fault:
            unreadable += 1
        else:
            times.append(ts_ms)
            prices.append(float(line.rpartition(b",")[2]))
    return TickPage(file.name.symbol, np.array(times, np.int64), np.array(prices, np.float64), unreadable)


def check_csv(file: CsvFile) -> CsvReport:
    """Read a file from end to end. Raises OSError."""
    header, lines, torn = _lines(file.path)
    kind = file.name.kind
    faults = []
    if header + b"\n" != kind.header:
        faults.append(f"Line 1 is not {kind.header.decode().strip()!r}.")
    read = _tick_fault if kind is CsvKind.TICK else _candle_fault
    latest_ms = 0
    for number, line in enumerate(lines, start=2):
        ts_ms, fault = read(line)
        if not fault and kind is CsvKind.CANDLE and ts_ms <= latest_ms:
            fault = "is not later than the one before"
        if fault:
            faults.append(f"Line {number} {fault}.")
        latest_ms = ts_ms or latest_ms
    return CsvReport(file.path, len(lines), len(torn), tuple(faults))


def _lines(path: Path) -> tuple[bytes, list[bytes], bytes]:
    """The first line, the others, and what follows the last line end.

    Spreadsheets write line ends of Windows, and a mark of UTF-8 at the beginning: neither is damage.
    """
    whole, _, torn = path.read_bytes().removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").rpartition(b"\n")
    header, *lines = whole.split(b"\n")
    return header, lines, torn


def _time_ms(text: bytes) -> int:
    """Raises ValueError."""
    when = datetime.fromisoformat(text.decode("ascii"))
    if when.tzinfo is None:
        raise ValueError("no time zone")
    return (when - _EPOCH) // _MILLISECOND


def _tick_fault(line: bytes) -> tuple[int, str]:
    fields = line.split(b",")
    if len(fields) != 3:
        return 0, f"has {len(fields)} columns in place of 3"
    return _fault(fields[0], fields[2:])


def _candle_fault(line: bytes) -> tuple[int, str]:
    fields = line.split(b",")
    if len(fields) != 5:
        return 0, f"has {len(fields)} columns in place of 5"
    ts_ms, fault = _fault(fields[0], fields[1:])
    if fault:
        return ts_ms, fault
    begin, end, high, low = map(float, fields[1:])
    return ts_ms, "" if low <= min(begin, end) <= max(begin, end) <= high else "is no candle"


def _fault(time: bytes, prices: list[bytes]) -> tuple[int, str]:
    try:
        ts_ms = _time_ms(time)
    except ValueError:
        return 0, f"has no time: {time.decode(errors='replace')!r}"
    for price in prices:
        try:
            if not 0.0 < float(price) < float("inf"):
                raise ValueError
        except ValueError:
            return ts_ms, f"has no price: {price.decode(errors='replace')!r}"
    return ts_ms, ""
