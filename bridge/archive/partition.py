"""Paths of candles in an archive: ``source=S/symbol=EURUSD_otc/day=2026-11-22/candles-1m.parquet``. Pure.

The folders are Hive's: readers take source, symbol and day from them as columns. What a file system or a reader might
mistake is written as ``%XX``, which Hive, Spark, DuckDB, Polars and Arrow all turn back.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import PurePosixPath
from urllib.parse import quote

import msgspec

from fluxcap.schemas.types import StreamKey

DAY_MS = 86_400_000
LONGEST_NAME = 255
"""Letters in the name of a file or folder that every usual file system takes."""
ABSENT = "__HIVE_DEFAULT_PARTITION__"
"""What Hive calls an empty value."""


class Partition(msgspec.Struct, frozen=True, order=True):
    """One file: a stream's candles that begin within one day, UTC. ``day``: days since 1970-01-01."""

    key: StreamKey
    day: int

    @property
    def date(self) -> str:
        """``2026-11-22``."""
        return datetime.fromtimestamp(self.day * DAY_MS / 1_000, UTC).strftime("%Y-%m-%d")

    @property
    def path(self) -> PurePosixPath:
        """Relative to the archive."""
        folders = (("source", self.key.source_id), ("symbol", self.key.symbol), ("day", self.date))
        return PurePosixPath(
            *(f"{name}={escape(value)}" for name, value in folders), f"candles-{self.interval}.parquet"
        )

    @property
    def interval(self) -> str:
        return escape(self.key.interval)


def has_names(key: StreamKey) -> bool:
    """Return whether a stream's names fit a file system. A letter beyond ASCII takes up to twelve."""
    return all(len(name) <= LONGEST_NAME for name in Partition(key, 0).path.parts)


def escape(value: str) -> str:
    """A value as part of a folder's name."""
    return quote(value, safe="", errors="surrogatepass").replace("~", "%7E") if value else ABSENT
