"""Focus modes, and names as people type them."""

from __future__ import annotations

import pytest

from fluxcap.capture.market.focus import AssetNames, Focus, FocusMode, name_key
from fluxcap.capture.platforms.base import Asset
from fluxcap.schemas.errors import UnknownAsset

ASSETS = (
    Asset("EURUSD", "EUR/USD", is_otc=False),
    Asset("EURUSD_otc", "EUR/USD OTC", is_otc=True),
    Asset("#AAPL_otc", "Apple OTC", is_otc=True),
    Asset("ADA-USD_otc", "Cardano OTC", is_otc=True),
    Asset("AUDCAD_otc", "AUD/CAD OTC", is_otc=True),
)


@pytest.fixture
def names() -> AssetNames:
    return AssetNames(ASSETS)


@pytest.mark.parametrize("typed", ["EURUSD_otc", "EURUSD_OTC", "EURUSDOTC", "EUR/USD OTC", "eurusd otc", "eur-usd_Otc"])
def test_all_spellings_of_an_asset_mean_its_wire_symbol(names: AssetNames, typed: str) -> None:
    assert names.resolve(typed) == "EURUSD_otc"


def test_an_otc_asset_and_its_ordinary_twin_are_different_assets(names: AssetNames) -> None:
    assert names.resolve("eur/usd") == "EURUSD"
    assert names.resolve("eur/usd otc") == "EURUSD_otc"


def test_an_asset_without_the_twin_asked_for_is_refused(names: AssetNames) -> None:
    with pytest.raises(UnknownAsset) as refused:
        names.resolve("AUDCAD")
    assert refused.value.nearest[0] == "AUDCAD_otc"


def test_names_are_looked_up_too(names: AssetNames) -> None:
    assert names.resolve("apple otc") == "#AAPL_otc"
    assert names.resolve("Cardano OTC") == "ADA-USD_otc"


def test_an_unknown_name_is_refused_with_the_nearest_symbols(names: AssetNames) -> None:
    with pytest.raises(UnknownAsset, match="Did you mean EURUSD_otc"):
        names.resolve("EURUSSD otc")


def test_a_name_that_resembles_nothing_has_no_suggestions(names: AssetNames) -> None:
    with pytest.raises(UnknownAsset) as refused:
        names.resolve("zzzzzzzzzz")
    assert refused.value.nearest == ()


def test_before_the_table_is_known_names_stand_as_typed() -> None:
    assert AssetNames().resolve("eurusd otc") == "eurusd otc"


def test_before_the_table_is_known_what_ticks_is_learned() -> None:
    names = AssetNames()

    assert names.learn("EURUSD_otc")
    assert not names.learn("EURUSD_otc")

    assert names.resolve("EUR/USD otc") == "EURUSD_otc"
    assert names.resolve("gbpusd") == "gbpusd"


def test_the_table_wins_over_what_was_learned() -> None:
    names = AssetNames()
    names.learn("EURUSD_otc")
    names.replace(ASSETS)

    assert names.resolve("EURUSD_OTC") == "EURUSD_otc"
    assert len(names) == len(ASSETS)
    assert names.get("EURUSD") == ASSETS[0]


def test_otc_alone_is_a_name_like_any_other() -> None:
    assert name_key("OTC") == ("OTC", False)


@pytest.mark.parametrize(
    ("focus", "active", "takes"),
    [
        (Focus(FocusMode.LOCK, ("A",)), "B", {"A"}),
        (Focus(FocusMode.LOCK), "A", set()),
        (Focus(FocusMode.FOLLOW), "B", {"B"}),
        (Focus(FocusMode.FOLLOW), None, set()),
        (Focus(FocusMode.ALL), None, {"A", "B"}),
    ],
)
def test_each_mode_takes_its_assets(focus: Focus, active: str | None, takes: set[str]) -> None:
    assert {symbol for symbol in ("A", "B") if focus.takes(symbol, active)} == takes


def test_locked_assets_are_wanted_before_they_tick() -> None:
    assert Focus(FocusMode.LOCK, ("A", "B")).wanted(None) == ("A", "B")
    assert Focus(FocusMode.FOLLOW).wanted("C") == ("C",)
    assert Focus(FocusMode.FOLLOW).wanted(None) == ()
    assert Focus(FocusMode.ALL).wanted("C") == ()
