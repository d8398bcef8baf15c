"""What the focus means while assets, tables and pages come and go."""

from __future__ import annotations

import pytest

from fluxcap.capture.market.focus import Focus, FocusDesk, FocusMode
from fluxcap.capture.platforms.base import ActiveAsset, Asset
from fluxcap.schemas.errors import UnknownAsset

TABLE = (Asset("EURUSD_otc", "EUR/USD OTC"), Asset("GBPUSD_otc", "GBP/USD OTC"))


def test_a_locked_name_is_understood_when_the_table_comes() -> None:
    desk = FocusDesk(Focus(FocusMode.LOCK, ("eurusd otc", "EURUSD_OTC")))
    desk.learn_table(TABLE)

    assert desk.focus.symbols == ("EURUSD_otc",)
    assert desk.unknown == ()


def test_a_locked_name_is_understood_when_its_asset_ticks_though_no_table_came() -> None:
    desk = FocusDesk(Focus(FocusMode.LOCK, ("EURUSD_OTC",)))
    desk.learn("EURUSD_otc")

    assert desk.takes("EURUSD_otc")


def test_a_locked_name_that_fits_nothing_is_told_as_unknown_and_kept() -> None:
    desk = FocusDesk(Focus(FocusMode.LOCK, ("nonsense", "gbpusd otc")))
    desk.learn_table(TABLE)

    assert desk.unknown == ("nonsense",)
    assert desk.focus.symbols == ("nonsense", "GBPUSD_otc")


def test_before_the_table_a_name_is_taken_and_told_as_unchecked() -> None:
    desk = FocusDesk(Focus(FocusMode.FOLLOW))
    desk.learn("GBPUSD_otc")
    desk.set(Focus(FocusMode.LOCK, ("nonsense", "gbpusd otc")))
    assert desk.unchecked == ("nonsense",)

    desk.learn_table(TABLE)

    assert (desk.unchecked, desk.unknown) == ((), ("nonsense",))


def test_a_name_taken_before_the_table_does_not_have_others_refused_after_it() -> None:
    desk = FocusDesk(Focus(FocusMode.LOCK, ("nonsense", "eurusd otc")))
    desk.learn_table(TABLE)

    desk.set(Focus(FocusMode.LOCK, ("nonsense", "eurusd otc", "EURUSD_otc", "GBPUSD_otc")))

    assert desk.focus.symbols == ("nonsense", "EURUSD_otc", "GBPUSD_otc")
    assert desk.unknown == ("nonsense",)
    desk.set(Focus(FocusMode.LOCK, ("GBPUSD_otc",)))
    assert desk.unknown == ()


def test_a_refused_focus_changes_nothing() -> None:
    desk = FocusDesk(Focus(FocusMode.FOLLOW))
    desk.learn_table(TABLE)

    with pytest.raises(UnknownAsset):
        desk.set(Focus(FocusMode.LOCK, ("EURUSD_otc", "nonsense")))

    assert desk.focus.mode is FocusMode.FOLLOW


def test_follow_takes_the_asset_the_page_shows() -> None:
    desk = FocusDesk(Focus(FocusMode.FOLLOW))
    desk.turn_to(ActiveAsset("GBPUSD_otc", 60_000))

    assert desk.takes("GBPUSD_otc")
    assert not desk.takes("EURUSD_otc")


def test_follow_takes_the_only_asset_that_ticks_until_a_frame_tells_the_active_one() -> None:
    desk = FocusDesk(Focus(FocusMode.FOLLOW))
    desk.only_ticking = "EURUSD_otc"
    assert desk.takes("EURUSD_otc")

    desk.turn_to(ActiveAsset("GBPUSD_otc"))
    assert not desk.takes("EURUSD_otc")


def test_a_period_that_is_not_told_stays_as_it_was() -> None:
    desk = FocusDesk(Focus())
    desk.turn_to(ActiveAsset("GBPUSD_otc", 300_000))
    desk.turn_to(ActiveAsset("EURUSD_otc"))

    assert desk.active == ActiveAsset("EURUSD_otc", 300_000)


def test_what_a_page_was_seen_to_show_counts_until_a_frame_tells():
    desk = FocusDesk(Focus(FocusMode.FOLLOW))
    desk.learn("EURUSD_otc")
    desk.learn("GBPUSD_otc")

    desk.see("EUR/USD OTC")
    assert desk.active_symbol == "EURUSD_otc"
    assert desk.takes("EURUSD_otc")

    desk.turn_to(ActiveAsset("GBPUSD_otc"))
    assert desk.active_symbol == "GBPUSD_otc"


def test_a_label_that_no_known_asset_has_says_nothing():
    desk = FocusDesk(Focus(FocusMode.FOLLOW))
    desk.learn("EURUSD_otc")

    desk.see("Apple OTC")

    assert desk.active_symbol is None
