"""Focus modes, names as people type them, and what the focus means while pages come and go."""

from __future__ import annotations

import pytest

from fluxcap.capture.market.focus import AssetNames, Focus, FocusMode, FocusState, canonical_key
from fluxcap.capture.platforms.base import ActiveAsset, Asset
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

    assert names.add_observed("EURUSD_otc")
    assert not names.add_observed("EURUSD_otc")

    assert names.resolve("EUR/USD otc") == "EURUSD_otc"
    assert names.resolve("gbpusd") == "gbpusd"


def test_the_table_wins_over_what_was_learned() -> None:
    names = AssetNames()
    names.add_observed("EURUSD_otc")
    names.replace(ASSETS)

    assert names.resolve("EURUSD_OTC") == "EURUSD_otc"
    assert len(names) == len(ASSETS)
    assert names.get("EURUSD") == ASSETS[0]


def test_otc_alone_is_a_name_like_any_other() -> None:
    assert canonical_key("OTC") == ("OTC", False)


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
    assert {symbol for symbol in ("A", "B") if focus.includes(symbol, active)} == takes


def test_locked_assets_are_wanted_before_they_tick() -> None:
    assert Focus(FocusMode.LOCK, ("A", "B")).requested_symbols(None) == ("A", "B")
    assert Focus(FocusMode.FOLLOW).requested_symbols("C") == ("C",)
    assert Focus(FocusMode.FOLLOW).requested_symbols(None) == ()
    assert Focus(FocusMode.ALL).requested_symbols("C") == ()


# --- what the focus means while assets, tables and pages come and go ---


TABLE = (Asset("EURUSD_otc", "EUR/USD OTC"), Asset("GBPUSD_otc", "GBP/USD OTC"))


def test_a_locked_name_is_understood_when_the_table_comes() -> None:
    desk = FocusState(Focus(FocusMode.LOCK, ("eurusd otc", "EURUSD_OTC")))
    desk.set_catalogue(TABLE)

    assert desk.focus.symbols == ("EURUSD_otc",)
    assert desk.unknown == ()


def test_a_locked_name_is_understood_when_its_asset_ticks_though_no_table_came() -> None:
    desk = FocusState(Focus(FocusMode.LOCK, ("EURUSD_OTC",)))
    desk.add_observed("EURUSD_otc")

    assert desk.includes("EURUSD_otc")


def test_a_locked_name_that_fits_nothing_is_told_as_unknown_and_kept() -> None:
    desk = FocusState(Focus(FocusMode.LOCK, ("nonsense", "gbpusd otc")))
    desk.set_catalogue(TABLE)

    assert desk.unknown == ("nonsense",)
    assert desk.focus.symbols == ("nonsense", "GBPUSD_otc")


def test_before_the_table_a_name_is_taken_and_told_as_unchecked() -> None:
    desk = FocusState(Focus(FocusMode.FOLLOW))
    desk.add_observed("GBPUSD_otc")
    desk.set_user_focus(Focus(FocusMode.LOCK, ("nonsense", "gbpusd otc")))
    assert desk.unverified == ("nonsense",)

    desk.set_catalogue(TABLE)

    assert (desk.unverified, desk.unknown) == ((), ("nonsense",))


def test_a_name_taken_before_the_table_does_not_have_others_refused_after_it() -> None:
    desk = FocusState(Focus(FocusMode.LOCK, ("nonsense", "eurusd otc")))
    desk.set_catalogue(TABLE)

    desk.set_user_focus(Focus(FocusMode.LOCK, ("nonsense", "eurusd otc", "EURUSD_otc", "GBPUSD_otc")))

    assert desk.focus.symbols == ("nonsense", "EURUSD_otc", "GBPUSD_otc")
    assert desk.unknown == ("nonsense",)
    desk.set_user_focus(Focus(FocusMode.LOCK, ("GBPUSD_otc",)))
    assert desk.unknown == ()


def test_a_refused_focus_changes_nothing() -> None:
    desk = FocusState(Focus(FocusMode.FOLLOW))
    desk.set_catalogue(TABLE)

    with pytest.raises(UnknownAsset):
        desk.set_user_focus(Focus(FocusMode.LOCK, ("EURUSD_otc", "nonsense")))

    assert desk.focus.mode is FocusMode.FOLLOW


def test_follow_takes_the_asset_the_page_shows() -> None:
    desk = FocusState(Focus(FocusMode.FOLLOW))
    desk.set_active(ActiveAsset("GBPUSD_otc", 60_000))

    assert desk.includes("GBPUSD_otc")
    assert not desk.includes("EURUSD_otc")


def test_follow_takes_the_only_asset_that_ticks_until_a_frame_tells_the_active_one() -> None:
    desk = FocusState(Focus(FocusMode.FOLLOW))
    desk.sole_active = "EURUSD_otc"
    assert desk.includes("EURUSD_otc")

    desk.set_active(ActiveAsset("GBPUSD_otc"))
    assert not desk.includes("EURUSD_otc")


def test_a_period_that_is_not_told_stays_as_it_was() -> None:
    desk = FocusState(Focus())
    desk.set_active(ActiveAsset("GBPUSD_otc", 300_000))
    desk.set_active(ActiveAsset("EURUSD_otc"))

    assert desk.active == ActiveAsset("EURUSD_otc", 300_000)


def test_what_a_page_was_seen_to_show_counts_until_a_frame_tells():
    desk = FocusState(Focus(FocusMode.FOLLOW))
    desk.add_observed("EURUSD_otc")
    desk.add_observed("GBPUSD_otc")

    desk.set_page_label("EUR/USD OTC")
    assert desk.active_symbol == "EURUSD_otc"
    assert desk.includes("EURUSD_otc")

    desk.set_active(ActiveAsset("GBPUSD_otc"))
    assert desk.active_symbol == "GBPUSD_otc"


def test_a_label_that_no_known_asset_has_says_nothing():
    desk = FocusState(Focus(FocusMode.FOLLOW))
    desk.add_observed("EURUSD_otc")

    desk.set_page_label("Apple OTC")

    assert desk.active_symbol is None
