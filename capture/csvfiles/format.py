"""Names and lines of the collected CSV files, as the programs that read them know them. Pure.

Under ``<data folder>/data_output/assets_data/realtime_stream/``::

    1M_tick_data/{asset}_ticks_{stamp}_part001.csv       timestamp,asset,price
    1M_candle_data/{asset}_1m_{stamp}_part001.csv        timestamp,open,close,high,low     (mind the order)

- ``{stamp}`` is ``Y_m_d_H_M_S`` in UTC: when collecting began. Candles of another interval go to a folder of their
  own by the same scheme (``5S_candle_data/{asset}_5s_…``); ticks have no interval and stay in ``1M_tick_data``.
- Times are UTC: of ticks ``2026-11-21T23:54:26.123Z``, of candles ``2026-11-21 23:54:00Z``, their start.
- Prices are the shortest decimal that reads back as the very same double, never with an exponent (``0.000012045``).
- ``{asset}`` is the platform's symbol. What is no ASCII letter, digit, ``_`` or ``-`` is percent-encoded
  (``#AAPL_otc`` → ``%23AAPL_otc``), so that any symbol is a file name, and no two symbols share one.
"""

from __future__ import annotations

import enum
import hashlib
import re
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, unquote

import msgspec

from fluxcap.schemas.candles import price_text
from fluxcap.schemas.types import Candle, Tick

REALTIME_FOLDER = Path("data_output", "assets_data", "realtime_stream")
_LONGEST_NAME = 120
_FILE = re.compile(
    r"(?P<asset>.+)_(?P<series>ticks|[1-9][0-9]*[smhd])_(?P<stamp>\d{4}(?:_\d\d){5})_part(?P<part>\d{3,9})\.csv"
)


class CsvKind(enum.StrEnum):
    """A kind of CSV file, by what its rows are."""

    TICK = "tick"
    CANDLE = "candle"

    @property
    def header(self) -> bytes:
        """The first line."""
        return b"timestamp,asset,price\n" if self is CsvKind.TICK else b"timestamp,open,close,high,low\n"


class CsvName(msgspec.Struct, frozen=True):
    """The parts of a file's name. ``interval`` is "" for ticks."""

    kind: CsvKind
    symbol: str
    interval: str
    stamp: str
    part: int


def safe_name(symbol: str) -> str:
    """A symbol as part of a file name; ``decode_symbol`` turns it back.

    Beyond 120 characters it is cut and ends in a hash: still its own, but not to be turned back.
    """
    name = quote(symbol, safe="", errors="surrogatepass").replace(".", "%2E").replace("~", "%7E")
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 17]}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def decode_symbol(name: str) -> str:
    """The symbol of a ``safe_name``; a name that was cut, or that is none, stays as it is."""
    if "~" in name:
        return name
    try:
        return unquote(name, errors="surrogatepass")
    except UnicodeDecodeError:
        return name


def session_stamp(now_ms: int) -> str:
    """The stamp of a session that began then (UTC)."""
    return datetime.fromtimestamp(now_ms / 1_000, UTC).strftime("%Y_%m_%d_%H_%M_%S")


def series_folder(kind: CsvKind, interval: str) -> Path:
    """The folder of a kind, below the data folder."""
    return REALTIME_FOLDER / ("1M_tick_data" if kind is CsvKind.TICK else f"{interval.upper()}_candle_data")


def file_name(kind: CsvKind, symbol: str, interval: str, stamp: str, part: int) -> str:
    """The name of one part, from 1."""
    series = "ticks" if kind is CsvKind.TICK else interval
    return f"{safe_name(symbol)}_{series}_{stamp}_part{part:03d}.csv"


def parse_file_name(name: str) -> CsvName | None:
    """Return the parts of a file's name, or None for a foreign file."""
    match = _FILE.fullmatch(name)
    if match is None:
        return None
    is_tick = match["series"] == "ticks"
    return CsvName(
        CsvKind.TICK if is_tick else CsvKind.CANDLE,
        decode_symbol(match["asset"]),
        "" if is_tick else match["series"],
        match["stamp"],
        int(match["part"]),
    )


def tick_line(tick: Tick) -> bytes:
    """One tick as a line."""
    second, millisecond = divmod(tick.ts_ms, 1_000)
    line = f"{_second_text(second, 'T')}.{millisecond:03d}Z,{_asset_text(tick.symbol)},{price_text(tick.price)}\n"
    return line.encode()


def candle_line(candle: Candle) -> bytes:
    """One candle as a line."""
    prices = ",".join(price_text(price) for price in (candle.open, candle.close, candle.high, candle.low))
    return f"{_second_text(candle.ts_ms // 1_000, ' ')}Z,{prices}\n".encode()


@lru_cache(maxsize=256)
def _second_text(second: int, separator: str) -> str:
    return datetime.fromtimestamp(second, UTC).strftime(f"%Y-%m-%d{separator}%H:%M:%S")


@lru_cache(maxsize=1024)
def _asset_text(symbol: str) -> str:
    """The symbol itself, unless it would need quotes or break the line."""
    plain = symbol.isprintable() and not any(sign in symbol for sign in ',"')
    return symbol if plain else safe_name(symbol)
