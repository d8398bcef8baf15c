"""The universe: which symbols there are, under which names and markets. CSV in, rows out."""

from __future__ import annotations

import csv
from pathlib import Path

import msgspec

from fluxcap.schemas.errors import ConfigError

UNIVERSE_COLUMNS = ("filters", "badge", "symbol", "name", "market", "venue")
"""As the desktop client has them."""


class Listing(msgspec.Struct, frozen=True):
    """One symbol of the universe. ``symbol`` is the wire symbol with its case, and the key."""

    filters: str
    badge: str
    symbol: str
    name: str
    market: str
    venue: str


def read_universe(path: Path) -> list[Listing]:
    """The listings of a CSV file with the columns ``UNIVERSE_COLUMNS`` in any order; more columns are ignored.

    Raises ConfigError when the file cannot be read, lacks a column, or names a symbol twice or not at all.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in UNIVERSE_COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise ConfigError(f"{path} lacks the column {missing[0]!r}; it needs {', '.join(UNIVERSE_COLUMNS)}.")
            listings = [Listing(**{name: row[name] or "" for name in UNIVERSE_COLUMNS}) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read as a universe: {error}.") from None
    seen: set[str] = set()
    for line, listing in enumerate(listings, start=2):
        if not listing.symbol or listing.symbol in seen:
            raise ConfigError(f"{path}, line {line}: symbol {listing.symbol!r} is missing or appears twice.")
        seen.add(listing.symbol)
    return listings
