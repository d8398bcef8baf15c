"""Several charts and the user share one focus."""

from __future__ import annotations

import pytest

from fluxcap.capture.market.focus import AssetNames, Focus, FocusMode
from fluxcap.capture.market.leases import FocusLeases
from fluxcap.capture.platforms.base import Asset
from fluxcap.schemas.errors import UnknownAsset

FOLLOW = Focus(FocusMode.FOLLOW)


class FakeMarket:
    """The market's focus, and how often it was set."""

    def __init__(self, focus: Focus) -> None:
        self.focus = focus
        self.names = AssetNames([Asset(f"{name}_otc", f"{name[:3]}/{name[3:]} OTC") for name in ("EURUSD", "GBPUSD")])
        self.changes = 0

    def set_focus(self, focus: Focus) -> Focus:
        self.changes += 1
        self.focus = focus
        return focus


def leases(focus: Focus = FOLLOW) -> tuple[FocusLeases, FakeMarket]:
    market = FakeMarket(focus)
    return FocusLeases(market), market


def locked(market: FakeMarket) -> tuple[str, ...]:
    assert market.focus.mode is FocusMode.LOCK
    return market.focus.symbols


def test_looking_at_an_asset_locks_it_and_leaving_follows_the_page_again() -> None:
    desk, market = leases()

    assert desk.acquire("a", "EUR/USD OTC") == "EURUSD_otc"
    assert locked(market) == ("EURUSD_otc",)
    desk.release("a")

    assert market.focus == FOLLOW


def test_one_that_leaves_takes_nothing_from_the_others() -> None:
    desk, market = leases()
    desk.acquire("a", "EURUSD_otc")
    desk.acquire("b", "GBPUSD_otc")
    desk.acquire("c", "GBPUSD_otc")

    desk.release("b")

    assert locked(market) == ("EURUSD_otc", "GBPUSD_otc")


def test_another_asset_replaces_the_one_looked_at() -> None:
    desk, market = leases()
    desk.acquire("a", "EURUSD_otc")

    desk.acquire("a", "GBPUSD_otc")

    assert locked(market) == ("GBPUSD_otc",)


def test_what_the_user_locked_stays_locked() -> None:
    desk, market = leases(Focus(FocusMode.LOCK, ("EURUSD_otc",)))
    desk.acquire("a", "GBPUSD_otc")

    assert locked(market) == ("EURUSD_otc", "GBPUSD_otc")
    desk.release("a")

    assert locked(market) == ("EURUSD_otc",)


def test_where_all_is_taken_a_chart_changes_nothing() -> None:
    desk, market = leases(Focus(FocusMode.ALL))

    desk.acquire("a", "GBPUSD_otc")

    assert market.changes == 0


def test_a_focus_set_meanwhile_is_in_force_beside_the_leases_and_after_them() -> None:
    desk, market = leases()
    desk.acquire("a", "GBPUSD_otc")

    desk.set_user_focus(Focus(FocusMode.LOCK, ("EURUSD otc",)))

    assert locked(market) == ("EURUSD_otc", "GBPUSD_otc")
    desk.release("a")
    assert locked(market) == ("EURUSD_otc",)


def test_an_unknown_asset_changes_nothing() -> None:
    desk, market = leases()
    desk.acquire("a", "EURUSD_otc")

    with pytest.raises(UnknownAsset) as caught:
        desk.acquire("a", "EURUSX_otc")

    assert caught.value.nearest == ("EURUSD_otc",)
    assert locked(market) == ("EURUSD_otc",)


def test_a_lease_ends_when_it_is_not_taken_again() -> None:
    desk, market = leases()
    desk.acquire("a", "EURUSD_otc", until_ms=1_000)
    desk.acquire("b", "GBPUSD_otc", until_ms=2_000)

    desk.expire(1_000)

    assert locked(market) == ("GBPUSD_otc",)
    desk.acquire("b", "GBPUSD_otc", until_ms=5_000)
    desk.expire(2_000)
    assert desk.assets == ("GBPUSD_otc",)


def test_one_without_a_lease_may_leave() -> None:
    desk, market = leases()

    desk.release("nobody")

    assert market.changes == 0


def test_an_asset_leased_before_the_table_and_unknown_to_it_takes_nothing_from_others() -> None:
    desk, market = leases()
    table, market.names = market.names.assets, AssetNames()
    desk.acquire("early", "EURUSX_otc", until_ms=1_000)
    market.names.replace(table)

    desk.acquire("b", "EURUSD_otc")

    assert locked(market) == ("EURUSD_otc",)
    assert desk.assets == ("EURUSD_otc",)
    desk.expire(1_000)
    assert locked(market) == ("EURUSD_otc",)
