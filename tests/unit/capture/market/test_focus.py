"""Focus modes, names as people type them, what the focus means while pages come and go, and leases."""

from __future__ import annotations

import pytest

from fluxcap.capture.market.focus import FOLLOWED_MAX, AssetNames, Focus, FocusMode, FocusState, canonical_key
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


def test_the_table_of_an_earlier_run_tells_names_and_refuses_none() -> None:
    names = AssetNames()
    names.keep(ASSETS)

    assert names.resolve("apple otc") == "#AAPL_otc"
    assert names.contains("#AAPL_otc")
    assert names.resolve("nonsense") == "nonsense"
    assert not names.has_catalogue


def test_this_runs_table_replaces_the_earlier_runs() -> None:
    names = AssetNames()
    names.keep(ASSETS)
    names.replace(ASSETS[:1])
    names.keep(ASSETS)

    assert not names.contains("#AAPL_otc")
    with pytest.raises(UnknownAsset):
        names.resolve("apple otc")


def test_what_ticks_wins_over_the_table_of_an_earlier_run() -> None:
    names = AssetNames()
    names.keep([Asset("EURUSD-otc", "Euro")])

    assert names.add_observed("EURUSD_otc")

    assert names.resolve("eur/usd otc") == "EURUSD_otc"
    assert names.resolve("EURUSD-otc") == "EURUSD-otc"
    assert names.resolve("euro") == "EURUSD-otc"


def test_of_two_symbols_that_read_alike_the_exact_one_is_meant() -> None:
    names = AssetNames()
    names.add_observed("BTC/USD")
    names.add_observed("BTC-USD")

    assert names.resolve("BTC-USD") == "BTC-USD"
    assert names.resolve("btc usd") == "BTC/USD"
    names.replace([])
    assert names.resolve("btc usd") == "BTC/USD"


def test_the_table_wins_over_what_was_learned() -> None:
    names = AssetNames()
    names.add_observed("EURUSD_otc")
    names.replace(ASSETS)

    assert names.resolve("EURUSD_OTC") == "EURUSD_otc"
    assert len(names) == len(ASSETS)
    assert names.get("EURUSD") == ASSETS[0]


def test_otc_alone_is_a_name_like_any_other() -> None:
    assert canonical_key("OTC") == ("OTC", False)


def in_force(desk: FocusState) -> set[str]:
    """What becomes candles, of A and B in mode ``all``."""
    return set(desk.members(lambda: ("A", "B")))


@pytest.mark.parametrize(
    ("focus", "active", "takes"),
    [
        (Focus(FocusMode.LOCK, ("A",)), "B", {"A"}),
        (Focus(FocusMode.LOCK), "A", set()),
        (Focus(FocusMode.FOLLOW), "B", {"B"}),
        (Focus(FocusMode.FOLLOW), None, set()),
        (Focus(FocusMode.FOLLOW, ("A",)), "B", {"A", "B"}),
        (Focus(FocusMode.ALL), None, {"A", "B"}),
    ],
)
def test_each_mode_takes_its_assets(focus: Focus, active: str | None, takes: set[str]) -> None:
    desk = FocusState(focus)
    if active:
        desk.set_active(ActiveAsset(active))

    assert in_force(desk) == takes


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

    assert in_force(desk) == {"EURUSD_otc"}


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


def test_a_name_known_to_be_unknown_is_refused_whenever_it_is_named_again() -> None:
    desk = FocusState(Focus(FocusMode.LOCK, ("EURUSX otc", "eurusd otc")))
    desk.set_catalogue(TABLE)

    with pytest.raises(UnknownAsset, match="Did you mean EURUSD_otc"):
        desk.set_user_focus(Focus(FocusMode.LOCK, ("EURUSX otc", "GBPUSD_otc")))

    assert desk.focus.symbols == ("EURUSX otc", "EURUSD_otc")
    desk.set_user_focus(Focus(FocusMode.LOCK, ("GBPUSD_otc",)))
    assert desk.unknown == ()


def test_a_focus_that_was_in_force_is_played_back_with_its_unknown_names() -> None:
    desk = FocusState(Focus())
    desk.set_catalogue(TABLE)

    desk.set_user_focus(Focus(FocusMode.LOCK, ("nonsense", "eurusd otc")), is_checked=False)

    assert desk.focus.symbols == ("nonsense", "EURUSD_otc")
    assert desk.unknown == ("nonsense",)


def test_a_refused_focus_changes_nothing() -> None:
    desk = FocusState(Focus(FocusMode.FOLLOW))
    desk.set_catalogue(TABLE)

    with pytest.raises(UnknownAsset):
        desk.set_user_focus(Focus(FocusMode.LOCK, ("EURUSD_otc", "nonsense")))

    assert desk.focus.mode is FocusMode.FOLLOW


def test_follow_takes_the_asset_the_page_shows() -> None:
    desk = FocusState(Focus(FocusMode.FOLLOW))
    desk.set_active(ActiveAsset("GBPUSD_otc", 60_000))

    assert in_force(desk) == {"GBPUSD_otc"}


def shown(desk: FocusState, *sent: str) -> tuple[str, ...]:
    return desk.shown(tuple, lambda symbol: symbol in sent)


def test_follow_goes_on_with_what_the_page_showed_before_as_long_as_it_is_sent() -> None:
    desk = FocusState(Focus(FocusMode.FOLLOW))
    for symbol in ("A", "B", "C", "A"):
        desk.set_active(ActiveAsset(symbol))

    assert shown(desk, "A", "B") == ("A", "B")
    assert shown(desk, "C") == ("A", "C")


def test_of_what_the_page_showed_the_newest_are_followed() -> None:
    desk = FocusState(Focus(FocusMode.FOLLOW))
    for number in range(FOLLOWED_MAX + 2):
        desk.set_active(ActiveAsset(f"A{number}"))

    assert len(in_force(desk)) == FOLLOWED_MAX
    assert in_force(desk) == {f"A{number}" for number in range(2, FOLLOWED_MAX + 2)}


def test_what_the_page_shows_while_assets_are_locked_is_not_followed_afterwards() -> None:
    desk = FocusState(Focus(FocusMode.LOCK, ("A",)))
    for symbol in ("B", "C"):
        desk.set_active(ActiveAsset(symbol))

    desk.set_user_focus(Focus(FocusMode.FOLLOW))

    assert in_force(desk) == {"C"}


def test_what_was_followed_before_a_lock_is_followed_after_it() -> None:
    desk = FocusState(Focus(FocusMode.FOLLOW))
    desk.set_active(ActiveAsset("A"))
    desk.set_active(ActiveAsset("B"))
    desk.set_user_focus(Focus(FocusMode.LOCK, ("C",)))
    assert in_force(desk) == {"C"}

    desk.set_user_focus(Focus(FocusMode.FOLLOW))

    assert shown(desk, "A") == ("B", "A")


def test_follow_takes_the_only_asset_that_ticks_until_a_frame_tells_the_active_one() -> None:
    desk = FocusState(Focus(FocusMode.FOLLOW))
    desk.sole_active = "EURUSD_otc"
    assert shown(desk) == ("EURUSD_otc",)

    desk.set_active(ActiveAsset("GBPUSD_otc"))
    assert shown(desk) == ("GBPUSD_otc",)


@pytest.mark.parametrize(
    ("focus", "is_decided"),
    [(Focus(FocusMode.FOLLOW), False), (Focus(FocusMode.LOCK, ("A",)), True), (Focus(FocusMode.ALL), True)],
)
def test_while_following_nothing_is_decided_before_it_is_known_what_the_page_shows(
    focus: Focus, is_decided: bool
) -> None:
    desk = FocusState(focus)
    assert desk.is_decided is is_decided

    desk.set_active(ActiveAsset("A"))

    assert desk.is_decided


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
    assert shown(desk) == ("EURUSD_otc",)

    desk.set_active(ActiveAsset("GBPUSD_otc"))
    assert desk.active_symbol == "GBPUSD_otc"


def test_a_label_that_no_known_asset_has_says_nothing():
    desk = FocusState(Focus(FocusMode.FOLLOW))
    desk.add_observed("EURUSD_otc")

    desk.set_page_label("Apple OTC")

    assert desk.active_symbol is None


# --- several charts and the user share one focus ---


FOLLOW = Focus(FocusMode.FOLLOW)


def leases(focus: Focus = FOLLOW) -> FocusState:
    state = FocusState(focus)
    state.set_catalogue(TABLE)
    return state


def wanted(desk: FocusState) -> tuple[str, ...]:
    """What becomes candles; of what the page showed before nothing is sent any more."""
    return desk.shown(tuple, lambda symbol: False)


def test_looking_at_an_asset_adds_it_to_what_the_page_shows_and_leaving_takes_it_away() -> None:
    desk = leases()
    desk.set_active(ActiveAsset("GBPUSD_otc"))

    assert desk.acquire("a", "EUR/USD OTC") == ("EURUSD_otc", True)
    assert wanted(desk) == ("GBPUSD_otc", "EURUSD_otc")
    assert desk.mode is FocusMode.FOLLOW
    desk.release("a")

    assert wanted(desk) == ("GBPUSD_otc",)


@pytest.mark.parametrize("focus", [FOLLOW, Focus(FocusMode.LOCK, ("GBPUSD_otc",)), Focus(FocusMode.ALL)])
def test_the_mode_shown_is_the_users_whatever_is_looked_at(focus: Focus) -> None:
    desk = leases(focus)
    desk.acquire("a", "EURUSD_otc")

    assert (desk.snapshot(()).mode, desk.focus.mode) == (focus.mode, focus.mode)


def test_one_that_leaves_takes_nothing_from_the_others() -> None:
    desk = leases()
    desk.acquire("a", "EURUSD_otc")
    desk.acquire("b", "GBPUSD_otc")
    desk.acquire("c", "GBPUSD_otc")

    desk.release("b")

    assert wanted(desk) == ("EURUSD_otc", "GBPUSD_otc")


def test_another_asset_replaces_the_one_looked_at() -> None:
    desk = leases()
    desk.acquire("a", "EURUSD_otc")

    desk.acquire("a", "GBPUSD_otc")

    assert wanted(desk) == ("GBPUSD_otc",)


def test_what_the_user_locked_stays_locked() -> None:
    desk = leases(Focus(FocusMode.LOCK, ("EURUSD_otc",)))
    desk.acquire("a", "GBPUSD_otc")

    assert wanted(desk) == ("EURUSD_otc", "GBPUSD_otc")
    desk.release("a")

    assert wanted(desk) == ("EURUSD_otc",)


def test_where_all_is_taken_a_chart_changes_nothing() -> None:
    desk = leases(Focus(FocusMode.ALL))

    assert desk.acquire("a", "GBPUSD_otc") == ("GBPUSD_otc", False)

    assert desk.focus == Focus(FocusMode.ALL)


def test_a_focus_set_meanwhile_is_in_force_beside_the_leases_and_after_them() -> None:
    desk = leases()
    desk.acquire("a", "GBPUSD_otc")

    desk.set_user_focus(Focus(FocusMode.LOCK, ("EURUSD otc",)))

    assert wanted(desk) == ("EURUSD_otc", "GBPUSD_otc")
    desk.release("a")
    assert wanted(desk) == ("EURUSD_otc",)


def test_an_unknown_asset_changes_nothing() -> None:
    desk = leases()
    desk.acquire("a", "EURUSD_otc")

    with pytest.raises(UnknownAsset) as caught:
        desk.acquire("a", "EURUSX_otc")

    assert caught.value.nearest == ("EURUSD_otc",)
    assert wanted(desk) == ("EURUSD_otc",)


def test_a_lease_ends_when_it_is_not_taken_again() -> None:
    desk = leases()
    desk.acquire("a", "EURUSD_otc", until_ms=1_000)
    desk.acquire("b", "GBPUSD_otc", until_ms=2_000)

    desk.expire(1_000)

    assert wanted(desk) == ("GBPUSD_otc",)
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

    assert wanted(desk) == ("EURUSD_otc",)
    assert desk.leased == ("EURUSD_otc",)
    desk.expire(1_000)
    assert wanted(desk) == ("EURUSD_otc",)


def test_names_that_were_taken_as_typed_are_resolved_wherever_they_stand() -> None:
    desk = FocusState(Focus(FocusMode.LOCK, ("eurusd otc",)))
    desk.acquire("a", "gbpusd otc")
    desk.set_catalogue(TABLE)
    assert wanted(desk) == ("EURUSD_otc", "GBPUSD_otc")

    desk.release("a")

    assert wanted(desk) == ("EURUSD_otc",)


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


def test_an_exact_symbol_is_meant_before_one_that_only_reads_alike() -> None:
    names = AssetNames()
    for symbol in ("BTC~2FUSD", "BTC-USD", "ETH~2FUSD"):
        names.add_observed(symbol)

    assert [names.resolve(typed) for typed in ("BTC-USD", "BTC/USD", "ETH-USD", "eth/usd")] == [
        "BTC-USD",
        "BTC~2FUSD",
        "ETH~2FUSD",
        "ETH~2FUSD",
    ]


def test_a_forgotten_asset_is_not_known_and_leaves_its_name_to_another_one() -> None:
    names = AssetNames()
    for symbol in ("BTC~2FUSD", "BTC-USD"):
        names.add_observed(symbol)

    names.forget(["BTC~2FUSD"])

    assert not names.contains("BTC~2FUSD")
    assert names.resolve("btc usd") == "BTC-USD"
