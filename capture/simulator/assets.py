"""The assets of the platform: symbols, names, kinds, decimals and rough prices, and the rows of its asset table.

``assets.csv`` beside this module lists them in the platform's order, OTC and ordinary twins and irregular names
included. Ids are our own: a row's place in that list.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import msgspec

_EXPIRATIONS_LONG_S = (60, 120, 180, 300, 600, 900, 1800, 2700, 3600, 7200, 10800, 14400)
_EXPIRATIONS_SHORT_S = (60, 120, 180, 300)


class SimulatedAsset(msgspec.Struct, frozen=True):
    """One asset. ``points`` is its rough price in units of its last decimal: 1.16429 with 5 decimals is 116429."""

    id: int
    symbol: str
    name: str
    kind: str
    decimals: int
    points: int

    @property
    def is_otc(self) -> bool:
        return self.symbol.endswith("_otc")

    @property
    def base_symbol(self) -> str:
        """The symbol without its OTC mark; twins share it."""
        return self.symbol.removesuffix("_otc")

    def with_decimals(self, decimals: int) -> SimulatedAsset:
        """The same asset quoted finer or coarser, at the same price."""
        points = max(1, round(self.points * 10.0 ** (decimals - self.decimals)))
        return msgspec.structs.replace(self, decimals=decimals, points=points)


@cache
def load_assets() -> Mapping[str, SimulatedAsset]:
    """All assets by symbol, in the platform's order."""
    text = (files("fluxcap.capture.simulator") / "assets.csv").read_text(encoding="utf-8")
    assets = {}
    for number, row in enumerate(csv.DictReader(text.splitlines()), start=1):
        decimals = int(row["decimals"])
        points = round(float(row["price"]) * 10**decimals)
        assets[row["symbol"]] = SimulatedAsset(number, row["symbol"], row["name"], row["kind"], decimals, points)
    return MappingProxyType(assets)


def payout_percent(asset: SimulatedAsset) -> int:
    """A payout as the platform shows it: up to 92 % for OTC, less for ordinary assets."""
    return 92 - asset.id * 7 % 13 if asset.is_otc else 50 - asset.id * 5 % 36


def asset_table(now_s: int) -> list[list[Any]]:
    """The payload of updateAssets: a row of 19 columns an asset. ``now_s`` is platform time, seconds."""
    ids = {asset.symbol: asset.id for asset in load_assets().values()}
    closes_s = now_s - now_s % 86_400 + 86_400
    return [_row(asset, ids, closes_s) for asset in load_assets().values()]


def _row(asset: SimulatedAsset, ids: Mapping[str, int], closes_s: int) -> list[Any]:
    otc = asset.is_otc
    otc_twin = 0 if otc else ids.get(f"{asset.symbol}_otc", 0)
    ordinary_twin = ids.get(asset.base_symbol, 0) if otc else 0
    durations_s = _EXPIRATIONS_SHORT_S if asset.id % 8 == 0 else _EXPIRATIONS_LONG_S
    return [
        asset.id,
        asset.symbol,
        asset.name,
        asset.kind,
        asset.decimals,
        payout_percent(asset),
        60,
        30,
        3,
        int(otc),
        otc_twin,
        ordinary_twin,
        [],
        closes_s,
        True,
        [{"time": seconds} for seconds in durations_s],
        0 if otc else closes_s,
        5 if otc else 60,
        -1,
    ]
