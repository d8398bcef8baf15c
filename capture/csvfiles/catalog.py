"""The CSV files under the data folder that charts may read: which there are, and which path is allowed. No HTTP.

Served are regular ``.csv`` files below ``data_output/assets_data/{data_collect,realtime_stream}``, by their path below
``assets_data`` or by their bare name. Nothing else can be named: not with ``..``, not absolute, not through a link.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fluxcap.capture.csvfiles.format import decode_symbol, parse_file_name

ASSETS_FOLDER = Path("data_output", "assets_data")
DATA_FOLDERS = ("data_collect", "realtime_stream")
LARGEST_BYTES = 64 * 1024 * 1024
_COLLECTED = re.compile(r"(?P<asset>.+?)_(?P<timeframe>[1-9][0-9]*[smhd])_\d{4}(?:_\d\d){5}\.csv")
_SAME = {"60m": "1h", "240m": "4h", "60s": "1m"}


def list_csv_files(data_dir: Path, timeframe: str = "") -> list[dict[str, Any]]:
    """Files as ``{path, filename, asset, timeframe, size}``, by path; all, or those of a timeframe (``tick`` too)."""
    wanted = _normal(timeframe) if timeframe else ""
    found = [_described(path, data_dir / ASSETS_FOLDER) for path in _files(data_dir)]
    return [file for file in found if not wanted or file["timeframe"] == wanted]


def resolve_csv_file(data_dir: Path, name: str) -> Path | None:
    """The file of that name, or None when there is none that may be read."""
    root = (data_dir / ASSETS_FOLDER).resolve()
    for path in _files(data_dir):
        if name in (path.relative_to(data_dir / ASSETS_FOLDER).as_posix(), path.name):
            return path if path.resolve().is_relative_to(root) else None
    return None


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


def _described(path: Path, root: Path) -> dict[str, Any]:
    asset, timeframe = _parse_name(path.name)
    try:
        size = path.stat().st_size
    except OSError:  # removed meanwhile
        size = 0
    return {
        "path": path.relative_to(root).as_posix(),
        "filename": path.name,
        "asset": asset,
        "timeframe": timeframe,
        "size": size,
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
