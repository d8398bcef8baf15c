"""capture/simulator/assets.py: the platform's assets and its asset table."""

from __future__ import annotations

import csv

import pytest

from fluxcap.capture.simulator.assets import asset_table, load_assets, payout_percent
from tests.support.paths import ROOT

UNIVERSE = ROOT / "data" / "universe.csv"


def test_every_asset_of_the_platform_is_there() -> None:
    assets = load_assets()

    assert len(assets) == 183
    irregular = {"ADA-USD_otc", "#AAPL_otc", "AMZN_otc", "100GBP", "UKBrent", "LNKUSD", "LINK_otc", "DASH_USD"}
    assert irregular <= set(assets)


@pytest.mark.parametrize(
    ("symbol", "decimals"),
    [
        ("EURUSD_otc", 5),
        ("USDJPY_otc", 3),
        ("DOGE_otc", 6),
        ("KESUSD_otc", 6),
        ("USDINR_otc", 4),
        ("USDCOP_otc", 2),
        ("USDIDR_otc", 1),
        ("LBPUSD_otc", 9),
    ],
)
def test_decimals_are_those_of_the_platform(symbol: str, decimals: int) -> None:
    assert load_assets()[symbol].decimals == decimals


def test_asset_table_has_19_columns_and_twins_that_point_at_each_other() -> None:
    rows = {row[1]: row for row in asset_table(1_756_866_775)}

    assert {len(row) for row in rows.values()} == {19}
    otc, ordinary = rows["EURUSD_otc"], rows["EURUSD"]
    assert (otc[9], ordinary[9]) == (1, 0)
    assert otc[11] == ordinary[0]
    assert ordinary[10] == otc[0]
    assert otc[2:4] == ["EUR/USD OTC", "currency"]
    assert otc[15][0] == {"time": 60}
    assert len({row[0] for row in rows.values()}) == len(rows)


def test_payouts_are_percentages() -> None:
    assert all(0 < payout_percent(asset) <= 92 for asset in load_assets().values())


def test_requoting_keeps_the_price() -> None:
    asset = load_assets()["EURUSD_otc"].with_decimals(3)

    assert (asset.decimals, asset.points) == (3, 1164)


def test_universe_file_lists_the_same_assets() -> None:
    with UNIVERSE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    assert list(rows[0]) == ["filters", "badge", "symbol", "name", "market", "venue"]
    assert [(row["symbol"], row["name"], row["market"]) for row in rows] == [
        (asset.symbol, asset.name, asset.kind) for asset in load_assets().values()
    ]
    assert all(row["badge"] == ("OTC" if row["symbol"].endswith("_otc") else "") for row in rows)
    assert {row["venue"] for row in rows} == {"POCKETOPTION"}
