"""The CSV files under the data folder that charts may read: which there are, and which path is allowed. No HTTP.

Served are regular ``.csv`` files below ``data_output/assets_data/{data_collect,realtime_stream}``, by their absolute
path as listed, by their path below ``assets_data`` or by their bare name. Nothing else can be named: no path that leads
out of the two folders, not with ``..`` and not through a link.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fluxcap.capture.csvfiles.format import CsvKind, decode_symbol, parse_file_name
from fluxcap.schemas.errors import ConfigError

ASSETS_FOLDER = Path("data_output", "assets_data")
DATA_FOLDERS = ("data_collect", "realtime_stream")
LARGEST_BYTES = 64 * 1024 * 1024
_COLLECTED = re.compile(r"(?P<asset>.+?)_(?P<timeframe>[1-9][0-9]*[smhd])_\d{4}(?:_\d\d){5}\.csv")
_SAME = {"60m": "1h", "240m": "4h", "60s": "1m"}


def list_csv_files(data_dir: Path, timeframe: str = "") -> list[dict[str, Any]]:
    """Return the files by path: all, or those of a timeframe; ``tick``: those of ticks.

    Each as ``{path, filename, asset, timeframe, size, symbol, kind}``: ``path`` is absolute, ``asset`` in capitals as
    chart programs know it, ``timeframe`` of a tick file 1m, since they make candles of a minute of it.
    """
    wanted = _normal(timeframe) if timeframe else ""
    found = [_described(path) for path in _files(data_dir)]
    return [file for file in found if not wanted or wanted in (file["timeframe"], file["kind"])]


def resolve_csv_file(data_dir: Path, name: str) -> Path | None:
    """The file of that name, or None when there is none that may be read."""
    folder = data_dir / ASSETS_FOLDER
    root = folder.resolve()
    for path in _files(data_dir):
        absolute = path.absolute().as_posix()
        if name in (path.relative_to(folder).as_posix(), path.name, str(path.absolute()), absolute, absolute[1:]):
            return path if path.resolve().is_relative_to(root) else None
    return None


def csv_text(data_dir: Path, name: str) -> str:
    """Return the text of a file. Raises ConfigError where there is none, or it is too large to be shown."""
    path = resolve_csv_file(data_dir, name)
    if path is None:
        raise ConfigError("There is no such CSV file; /api/available-csv-files lists them.")
    if path.stat().st_size > LARGEST_BYTES:
        raise ConfigError("This file is too large to be shown.")
    return path.read_text("utf-8", "replace")


def _files(data_dir: Path) -> Iterator[Path]:
    """Walks the two folders; links are not followed, neither of folders nor of files."""
    for folder in DATA_FOLDERS:
        root = data_dir / ASSETS_FOLDER / folder
        if root.is_symlink():
            continue
        for parent, folders, names in os.walk(root, followlinks=False):
            folders.sort()
            for name in sorted(names):
                path = Path(parent, name)
                if name.endswith(".csv") and not path.is_symlink() and path.is_file():
                    yield path


def _described(path: Path) -> dict[str, Any]:
    symbol, timeframe = _parse_name(path.name)
    is_tick = timeframe == CsvKind.TICK.value
    try:
        size = path.stat().st_size
    except OSError:  # removed meanwhile
        size = 0
    return {
        "path": str(path.absolute()),
        "filename": path.name,
        "asset": symbol.upper(),
        "timeframe": "1m" if is_tick else timeframe,
        "size": size,
        "symbol": symbol,
        "kind": (CsvKind.TICK if is_tick else CsvKind.CANDLE).value,
    }


def _parse_name(filename: str) -> tuple[str, str]:
    """Asset and timeframe of a file name; "" for what it does not tell."""
    ours = parse_file_name(filename)
    if ours is not None:
        return ours.symbol, _normal(ours.interval) if ours.interval else "tick"
    collected = _COLLECTED.fullmatch(filename)
    if collected is not None:
        return decode_symbol(collected["asset"]), _normal(collected["timeframe"])
    return filename.removesuffix(".csv").partition("_ticks")[0], "tick" if "_ticks" in filename else ""


def _normal(timeframe: str) -> str:
    text = timeframe.strip().lower()
    return _SAME.get(text, text)
