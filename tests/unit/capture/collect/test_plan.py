"""What to collect: as people write it, against what the page offers."""

from __future__ import annotations

import pytest

from fluxcap.capture.collect.page import TIMEFRAMES as MENU
from fluxcap.capture.collect.plan import (
    DEFAULT_TIMEFRAMES,
    TIMEFRAMES,
    AssetSelection,
    FavouriteEntry,
    is_asset,
    jobs,
    parse_assets,
    parse_timeframes,
    select_labels,
)
from fluxcap.capture.platforms.base import Asset
from fluxcap.schemas.errors import ConfigError, PageUnavailable

BAR = (
    FavouriteEntry("EUR/USD OTC", 92),
    FavouriteEntry("EUR/USD", 85),
    FavouriteEntry("American Express OTC", 90),
    FavouriteEntry("Gold", None),
)
TABLE = (Asset("EURUSD_otc", "EUR/USD OTC"), Asset("AXP_otc", "American Express OTC"))
LABELS = tuple(one.label for one in BAR)


def test_timeframes_are_those_of_the_pages_menu():
    assert {one.menu for one in TIMEFRAMES} == set(MENU)


def test_the_originals_timeframes_keep_their_folders_and_file_names():
    named = [(one.folder, one.suffix) for one in parse_timeframes(DEFAULT_TIMEFRAMES)]

    assert named == [("1H_candles", "60m"), ("15M_candles", "15m"), ("5M_candles", "5m"), ("1M_candles", "1m")]


@pytest.mark.parametrize("text", ["1h,5m", "H1, M5", "60m,5m,1h", " 1H ,m5,"])
def test_timeframes_are_understood_as_people_write_them(text: str):
    assert [one.interval for one in parse_timeframes(text)] == ["1h", "5m"]


@pytest.mark.parametrize("text", ["2m", "1h,2h", "x"])
def test_an_unknown_timeframe_is_refused_with_the_known_ones(text: str):
    with pytest.raises(ConfigError, match="choose from 4h, 1h, 15m, 5m, 1m"):
        parse_timeframes(text)


def test_no_timeframe_is_refused():
    with pytest.raises(ConfigError, match="at least one timeframe"):
        parse_timeframes(" , ")


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("favourites", AssetSelection()),
        ("Favorites", AssetSelection()),
        ("payout>=92", AssetSelection(min_payout=92)),
        ("payout > 91 %", AssetSelection(min_payout=92)),
        ("EURUSD_otc, gold,EURUSD_otc", AssetSelection(("EURUSD_otc", "gold"))),
    ],
)
def test_assets_are_chosen_by_name_by_payout_or_all_together(text: str, choice: AssetSelection):
    assert parse_assets(text) == choice


@pytest.mark.parametrize("text", ["payout<92", "payout", "payout>=920", "", " ,"])
def test_what_is_no_choice_is_refused(text: str):
    with pytest.raises(ConfigError, match=r"payout>=92"):
        parse_assets(text)


def test_favourites_are_all_of_the_bar_in_its_order():
    assert select_labels(AssetSelection(), BAR) == LABELS


def test_payout_takes_those_that_pay_as_much_and_no_unknown_ones():
    assert select_labels(AssetSelection(min_payout=90), BAR) == ("EUR/USD OTC", "American Express OTC")


def test_when_nothing_pays_as_much_the_best_is_told():
    with pytest.raises(PageUnavailable, match="No favourite pays 95 % or more at present; the best pays 92 %"):
        select_labels(AssetSelection(min_payout=95), BAR)


def test_an_empty_bar_says_what_to_do():
    with pytest.raises(PageUnavailable, match="mark the assets to collect as favourites"):
        select_labels(AssetSelection(), ())


def test_names_are_matched_as_people_type_them_in_the_order_typed():
    typed = AssetSelection(("gold", "EURUSD_OTC", "eur/usd otc", "eurusd"))

    assert select_labels(typed, BAR) == ("Gold", "EUR/USD OTC", "EUR/USD")


def test_a_symbol_spelt_unlike_its_name_is_found_by_the_table():
    assert select_labels(AssetSelection(("AXP_otc",)), BAR, TABLE) == ("American Express OTC",)


def test_a_name_that_no_favourite_has_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"No favourite of the page is called 'EUR/USX'.*Did you mean EUR/USD"):
        select_labels(AssetSelection(("EUR/USX",)), BAR)


def test_jobs_go_asset_by_asset():
    planned = jobs(("A", "B"), parse_timeframes("1h,5m"))

    assert [(job.label, job.timeframe.interval) for job in planned] == [
        ("A", "1h"),
        ("A", "5m"),
        ("B", "1h"),
        ("B", "5m"),
    ]


@pytest.mark.parametrize(
    ("label", "symbol", "asked", "table", "same"),
    [
        ("EUR/USD OTC", "EURUSD_otc", None, TABLE, True),
        ("EUR/USD OTC", "EURUSD_otc", None, (), True),
        ("EUR/USD OTC", "EURUSD", "EURUSD", (), False),
        ("EUR/USD OTC", "EURUSD", "EURUSD", TABLE, False),
        ("American Express OTC", "AXP_otc", None, TABLE, True),
        ("American Express OTC", "AXP_otc", None, (), False),
        ("American Express OTC", "AXP_otc", "AXP_otc", (), True),
        ("American Express OTC", "EURUSD_otc", "EURUSD_otc", (), False),
        ("American Express OTC", "AAPL_otc", "AXP_otc", (), False),
    ],
)
def test_a_history_is_of_the_label_by_table_by_spelling_or_by_what_the_page_asked_for(
    label: str, symbol: str, asked: str | None, table: tuple[Asset, ...], same: bool
):
    assert is_asset(label, symbol, asked, table, LABELS) is same
