"""Candles of one stream in the files that other programs load.

===============  =====================================================================================================
``tradingview``  CSV as TradingView itself exports a chart: ``time,open,high,low,close,Volume``; time in UNIX seconds
``metatrader5``  the bars that MetaTrader 5 imports into a custom symbol: tabs, ``<DATE> <TIME> <OPEN> … <SPREAD>``, UTC
``freqtrade``    JSON as freqtrade keeps it (``--data-format-ohlcv json``): rows of milliseconds, prices and volume
``nautilus``     a folder that is a ParquetDataCatalog of nautilus_trader, which has to be installed beside fluxcap
===============  =====================================================================================================

None of them has a place for flags, or for blind times.
"""

from __future__ import annotations

import enum
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, NamedTuple

from fluxcap.schemas.candles import price_decimals, price_text
from fluxcap.schemas.errors import ConfigError, StoreError
from fluxcap.schemas.types import CandleArray, StreamKey, interval_ms

_MT5_HEADER = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n"
_NAUTILUS_UNITS = ((86_400_000, "DAY"), (3_600_000, "HOUR"), (60_000, "MINUTE"), (1_000, "SECOND"))


class CandleFormat(enum.StrEnum):
    """A form of candles for another program."""

    TRADINGVIEW = "tradingview"
    METATRADER5 = "metatrader5"
    FREQTRADE = "freqtrade"
    NAUTILUS = "nautilus"


def write_candles(form: CandleFormat, key: StreamKey, pages: Iterable[CandleArray], target: Path) -> int:
    """Write candles, ascending, whole or not at all; returns how many.

    Raises ConfigError where the program cannot have them so, or has to be installed; StoreError when nothing can be
    written there.
    """
    if form is CandleFormat.NAUTILUS:
        return _write_catalog(key, pages, target)
    if form is CandleFormat.METATRADER5 and key.interval_ms != 60_000:
        raise ConfigError("MetaTrader 5 imports 1-minute bars and makes the longer ones of them: --interval 1m.")
    if not target.parent.is_dir():
        raise StoreError(f"{target} cannot be written: there is no folder {target.parent}; make it first.")
    part = ""
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", newline="", dir=target.parent, prefix=f".{target.name}.", delete=False
        ) as out:
            part = out.name
            count = _write_text(out, _TEXTS[form], pages)
            out.flush()
            os.fsync(out.fileno())
        Path(part).replace(target)
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror or error}.") from error
    finally:
        if part:
            Path(part).unlink(missing_ok=True)
    return count


def _rows(pages: Iterable[CandleArray]) -> Iterator[tuple[int, float, float, float, float, float]]:
    for page in pages:
        for ts_ms, opened, high, low, close, volume, _ticks, _flags in page.tolist():
            yield ts_ms, opened, high, low, close, volume


def _write_text(out: IO[str], text: _Text, pages: Iterable[CandleArray]) -> int:
    out.write(text.begin)
    count = 0
    for row in _rows(pages):
        out.write(text.between if count else "")
        out.write(text.line(*row))
        count += 1
    out.write(text.end)
    return count


def _tradingview_line(ts_ms: int, *values: float) -> str:
    return f"{ts_ms // 1_000},{','.join(map(price_text, values[:4]))},{values[4]:.0f}\n"


def _metatrader5_line(ts_ms: int, *values: float) -> str:
    when = datetime.fromtimestamp(ts_ms / 1_000, UTC)
    prices = "\t".join(map(price_text, values[:4]))
    return f"{when:%Y.%m.%d}\t{when:%H:%M:%S}\t{prices}\t{values[4]:.0f}\t0\t0\n"


def _freqtrade_line(ts_ms: int, *values: float) -> str:
    return f"[{ts_ms},{','.join(map(price_text, values))}]"


class _Text(NamedTuple):
    """A text file: what stands at its begin, how a candle is written, and what stands between and at the end."""

    begin: str
    line: Callable[..., str]
    between: str = ""
    end: str = ""


_TEXTS = {
    CandleFormat.TRADINGVIEW: _Text("time,open,high,low,close,Volume\n", _tradingview_line),
    CandleFormat.METATRADER5: _Text(_MT5_HEADER, _metatrader5_line),
    CandleFormat.FREQTRADE: _Text("[", _freqtrade_line, ",", "]"),
}


def bar_type_of(key: StreamKey) -> str:
    """``EURUSD_otc.POCKETOPTION-1-MINUTE-LAST-EXTERNAL``: how nautilus_trader calls the bars of a stream."""
    step_ms = interval_ms(key.interval)
    length, unit = next((length, unit) for length, unit in _NAUTILUS_UNITS if step_ms % length == 0)
    return f"{key.symbol}.{key.source_id}-{step_ms // length}-{unit}-LAST-EXTERNAL"


def _write_catalog(key: StreamKey, pages: Iterable[CandleArray], target: Path) -> int:
    """Bars with both stamps at the bar's close, as nautilus_trader wants them: earlier they would tell the future."""
    try:
        from nautilus_trader.model.data import Bar, BarType
        from nautilus_trader.model.objects import Price, Quantity
        from nautilus_trader.persistence.catalog import ParquetDataCatalog
    except ImportError:
        raise ConfigError(
            "--format nautilus needs nautilus_trader beside fluxcap: pip install nautilus_trader."
        ) from None
    rows = list(_rows(pages))
    digits = price_decimals(price for row in rows for price in row[1:5])
    kind, step_ms = BarType.from_str(bar_type_of(key)), key.interval_ms

    def bar(ts_ms: int, *values: float) -> Any:
        close_ns = (ts_ms + step_ms) * 1_000_000
        return Bar(kind, *(Price(value, digits) for value in values[:4]), Quantity(values[4], 0), close_ns, close_ns)

    if rows:
        target.mkdir(parents=True, exist_ok=True)
        ParquetDataCatalog(str(target)).write_data([bar(*row) for row in rows])
    return len(rows)
