"""Matches timeframes and assets as typed against those the page offers. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

import msgspec

from fluxcap.capture.market.focus import canonical_key
from fluxcap.capture.platforms.base import Asset
from fluxcap.schemas.errors import ConfigError, PageUnavailable

FAVOURITES = "favourites"
_PAYOUT = re.compile(r"payout\s*(>=|>)\s*([0-9]{1,3})\s*%?")


class Timeframe(msgspec.Struct, frozen=True):
    """One length of candle. ``menu``: its entry on the page; ``suffix``: its part of a file name, as ever."""

    interval: str
    menu: str
    period_ms: int
    suffix: str

    @property
    def folder(self) -> str:
        """Its folder below ``data_collect``."""
        return f"{self.interval.upper()}_candles"


TIMEFRAMES = (
    Timeframe("4h", "H4", 14_400_000, "240m"),
    Timeframe("1h", "H1", 3_600_000, "60m"),
    Timeframe("15m", "M15", 900_000, "15m"),
    Timeframe("5m", "M5", 300_000, "5m"),
    Timeframe("1m", "M1", 60_000, "1m"),
)
"""Those that the page's menu has, longest first."""
DEFAULT_TIMEFRAMES = "1h,15m,5m,1m"


class AssetSelection(msgspec.Struct, frozen=True):
    """Favourites by name in this order, or (``names`` empty) all that pay at least ``min_payout`` percent."""

    names: tuple[str, ...] = ()
    min_payout: int = 0


class FavouriteEntry(msgspec.Struct, frozen=True):
    """An entry of the favourites bar. ``payout`` in percent, None where the page shows no number."""

    label: str
    payout: int | None = None


class Job(msgspec.Struct, frozen=True):
    """One file to make: the favourite's label and the timeframe."""

    label: str
    timeframe: Timeframe


def parse_timeframes(text: str) -> tuple[Timeframe, ...]:
    """``1h,15m`` (``H1``, ``60m`` are understood too), in the order written, each once. Raises ConfigError."""
    found: dict[Timeframe, None] = {}
    for typed in _parts(text):
        match = next((t for t in TIMEFRAMES if typed.lower() in (t.interval, t.menu.lower(), t.suffix)), None)
        if match is None:
            raise ConfigError(
                f"{typed!r} is no timeframe of the page; choose from {', '.join(t.interval for t in TIMEFRAMES)}."
            )
        found[match] = None
    if not found:
        raise ConfigError(f"Name at least one timeframe, such as {DEFAULT_TIMEFRAMES}.")
    return tuple(found)


def parse_assets(text: str) -> AssetSelection:
    """``favourites``, ``payout>=92`` or names with commas. Raises ConfigError."""
    typed = text.strip().lower()
    if typed in (FAVOURITES, "favorites"):
        return AssetSelection()
    if typed.startswith("payout"):
        match = _PAYOUT.fullmatch(typed)
        if match is None or int(match[2]) > 100:
            raise ConfigError(f'{text!r} is no choice by payout; write it like "payout>=92", in quotes for the shell.')
        return AssetSelection(min_payout=int(match[2]) + (match[1] == ">"))
    names = tuple(dict.fromkeys(_parts(text)))
    if not names:
        raise ConfigError('Name at least one asset, or favourites, or "payout>=92".')
    return AssetSelection(names)


def select_labels(
    choice: AssetSelection, shown: Sequence[FavouriteEntry], assets: Iterable[Asset] = ()
) -> tuple[str, ...]:
    """The labels of the favourites bar to collect. ``assets``: the platform's table, as far as it is known.

    Raises ConfigError for a name that no favourite has, PageUnavailable when the bar has nothing of what is asked for.
    """
    if not shown:
        raise PageUnavailable("The page's favourites bar is empty; mark the assets to collect as favourites there.")
    if choice.names:
        return tuple(dict.fromkeys(_label_of(name, shown, assets) for name in choice.names))
    found = tuple(one.label for one in shown if (one.payout or 0) >= choice.min_payout)
    if not found:
        best = max(one.payout or 0 for one in shown)
        raise PageUnavailable(f"No favourite pays {choice.min_payout} % or more at present; the best pays {best} %.")
    return found


def jobs(labels: Sequence[str], timeframes: Sequence[Timeframe]) -> tuple[Job, ...]:
    """Asset by asset, so that the page turns as seldom as it can."""
    return tuple(Job(label, timeframe) for label in labels for timeframe in timeframes)


def symbol_of(label: str, assets: Iterable[Asset]) -> str | None:
    """The symbol of a label by the platform's own table; None when the table is not known or has no such name."""
    return next((asset.symbol for asset in assets if asset.name == label), None)


def is_asset(label: str, symbol: str, asked: str | None, assets: Sequence[Asset], labels: Sequence[str]) -> bool:
    """Return whether ``symbol`` is the asset of a label.

    By the table; without it by the spelling (``EUR/USD OTC``, ``EURUSD_otc``); and where the two are spelt differently
    (``American Express OTC``, ``AXP_otc``), by what the page itself has asked for since the click: ``asked``.
    """
    known = symbol_of(label, assets)
    if known is not None:
        return symbol == known
    key = canonical_key(symbol)
    if key == canonical_key(label):
        return True
    return symbol == asked and all(key != canonical_key(other) for other in labels)


def _label_of(typed: str, shown: Sequence[FavouriteEntry], assets: Iterable[Asset]) -> str:
    keys = {canonical_key(asset.name): canonical_key(asset.symbol) for asset in assets}
    wanted = canonical_key(typed)
    for one in shown:
        key = canonical_key(one.label)
        if wanted in (key, keys.get(key)):
            return one.label
    near = get_close_matches(typed.upper(), {one.label.upper(): one.label for one in shown}, n=3, cutoff=0.4)
    labels = [one.label for one in shown if one.label.upper() in near]
    hint = f" Did you mean {', '.join(labels)}?" if labels else ""
    raise ConfigError(f"No favourite of the page is called {typed!r}; mark it as a favourite there.{hint}")


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
