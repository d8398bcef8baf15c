"""Several charts and the user share one focus."""

from __future__ import annotations

import pytest

from fluxcap.capture.market.focus import Focus, FocusMode, FocusState
from fluxcap.capture.platforms.base import Asset
from fluxcap.schemas.errors import UnknownAsset

FOLLOW = Focus(FocusMode.FOLLOW)
TABLE = tuple(Asset(f"{name}_otc", f"{name[:3]}/{name[3:]} OTC") for name in ("EURUSD", "GBPUSD"))


def leases(focus: Focus = FOLLOW) -> FocusState:
    state = FocusState(focus)
    state.set_catalogue(TABLE)
    return state


def locked(desk: FocusState) -> tuple[str, ...]:
    assert desk.focus.mode is FocusMode.LOCK
    return desk.focus.symbols


def test_looking_at_an_asset_locks_it_and_leaving_follows_the_page_again() -> None:
    desk = leases()

    assert desk.acquire("a", "EUR/USD OTC") == ("EURUSD_otc", True)
    assert locked(desk) == ("EURUSD_otc",)
    desk.release("a")

    assert desk.focus == FOLLOW


def test_one_that_leaves_takes_nothing_from_the_others() -> None:
    desk = leases()
    desk.acquire("a", "EURUSD_otc")
    desk.acquire("b", "GBPUSD_otc")
    desk.acquire("c", "GBPUSD_otc")

    desk.release("b")

    assert locked(desk) == ("EURUSD_otc", "GBPUSD_otc")


def test_another_asset_replaces_the_one_looked_at() -> None:
    desk = leases()
    desk.acquire("a", "EURUSD_otc")

    desk.acquire("a", "GBPUSD_otc")

    assert locked(desk) == ("GBPUSD_otc",)


def test_what_the_user_locked_stays_locked() -> None:
    desk = leases(Focus(FocusMode.LOCK, ("EURUSD_otc",)))
    desk.acquire("a", "GBPUSD_otc")

    assert locked(desk) == ("EURUSD_otc", "GBPUSD_otc")
    desk.release("a")

    assert locked(desk) == ("EURUSD_otc",)


def test_where_all_is_taken_a_chart_changes_nothing() -> None:
    desk = leases(Focus(FocusMode.ALL))

    assert desk.acquire("a", "GBPUSD_otc") == ("GBPUSD_otc", False)

    assert desk.focus == Focus(FocusMode.ALL)


def test_a_focus_set_meanwhile_is_in_force_beside_the_leases_and_after_them() -> None:
    desk = leases()
    desk.acquire("a", "GBPUSD_otc")

    desk.set_user_focus(Focus(FocusMode.LOCK, ("EURUSD otc",)))

    assert locked(desk) == ("EURUSD_otc", "GBPUSD_otc")
    desk.release("a")
    assert locked(desk) == ("EURUSD_otc",)


def test_an_unknown_asset_changes_nothing() -> None:
    desk = leases()
    desk.acquire("a", "EURUSD_otc")

    with pytest.raises(UnknownAsset) as caught:
        desk.acquire("a", "EURUSX_otc")

    assert caught.value.nearest == ("EURUSD_otc",)
    assert locked(desk) == ("EURUSD_otc",)


def test_a_lease_ends_when_it_is_not_taken_again() -> None:
    desk = leases()
    desk.acquire("a", "EURUSD_otc", until_ms=1_000)
    desk.acquire("b", "GBPUSD_otc", until_ms=2_000)

    desk.expire(1_000)

    assert locked(desk) == ("GBPUSD_otc",)
    desk.acquire("b", "GBPUSD_otc", until_ms=5_000)
    desk.expire(2_000)
    assert desk.leased == ("GBPUSD_otc",)


def test_one_without_a_lease_may_leave() -> None:
    desk = leases()

    assert not desk.release("nobody")


def test_an_asset_leased_before_the_table_and_unknown_to_it_takes_nothing_from_others() -> None:
    desk = FocusState(FOLLOW)
    desk.acquire("early", "EURUSX_otc", until_ms=1_000)
    desk.set_catalogue(TABLE)

    desk.acquire("b", "EURUSD_otc")

    assert locked(desk) == ("EURUSD_otc",)
    assert desk.leased == ("EURUSD_otc",)
    desk.expire(1_000)
    assert locked(desk) == ("EURUSD_otc",)


def test_names_that_were_taken_as_typed_are_resolved_wherever_they_stand() -> None:
    desk = FocusState(Focus(FocusMode.LOCK, ("eurusd otc",)))
    desk.acquire("a", "gbpusd otc")
    desk.set_catalogue(TABLE)
    assert locked(desk) == ("EURUSD_otc", "GBPUSD_otc")

    desk.release("a")

    assert locked(desk) == ("EURUSD_otc",)


def test_only_what_changes_the_focus_in_force_is_said_to() -> None:
    desk = leases()

    changes = [
        desk.set_user_focus(Focus(FocusMode.LOCK, ("EURUSD otc",))),
        desk.set_user_focus(Focus(FocusMode.LOCK, ("EURUSD_otc",))),
        desk.acquire("a", "EURUSD_otc", until_ms=1)[1],
        desk.expire(1),
        desk.acquire("a", "GBPUSD_otc")[1],
        desk.release("a"),
    ]

    assert changes == [True, False, False, False, True, True]
