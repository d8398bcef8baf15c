"""Files of collected candles: their place, their names, and how one is written.

Under ``<data folder>/data_output/assets_data/data_collect/``::

    {1H,15M,5M,1M}_candles/{asset}_{60m,15m,5m,1m}_{stamp}.csv     timestamp,open,close,high,low     (mind the order)
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fluxcap.bridge.system.files import is_full, replace_file
from fluxcap.capture.csvfiles.format import CsvKind, candle_line, safe_name, session_stamp
from fluxcap.schemas.errors import StoreError, StoreFull
from fluxcap.schemas.types import Candle

COLLECT_FOLDER = Path("data_output", "assets_data", "data_collect")


def write_collected(
    folder: Path, timeframe_folder: str, suffix: str, symbol: str, candles: Iterable[Candle], now_ms: int
) -> Path:
    """Write candles to a new file, in one piece.

    Parameters
    ----------
    folder
        ``data_collect`` of a data folder.
    timeframe_folder, suffix
        Such as ``1H_candles`` and ``60m``.
    symbol
        The asset.
    candles
        Ascending.
    now_ms
        Time of the file's name, UTC. Where it is taken, the next second that is free.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    StoreFull
        On a full disk.
    StoreError
        When it cannot be written for another reason.
    """
    name = f"{safe_name(symbol)}_{suffix}"
    while (path := folder / timeframe_folder / f"{name}_{session_stamp(now_ms)}.csv").exists():
        now_ms += 1_000
    write_whole(path, CsvKind.CANDLE.header + b"".join(map(candle_line, candles)))
    return path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that nobody sees a part of it. Raises StoreFull, StoreError."""
    whole = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole.write_bytes(content)
        replace_file(whole, path)
    except OSError as error:
        kind = StoreFull if is_full(error) else StoreError
        raise kind(f"{path} cannot be written: {error.strerror}.") from None
