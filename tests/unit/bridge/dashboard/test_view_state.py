"""When a page may be live."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fluxcap.bridge.dashboard.view_state import (
    ChartSource,
    DaemonState,
    LiveState,
    ViewDecision,
    ViewRequest,
    decide,
    keep_asset,
    next_step_text,
)

WISH = ViewRequest(ChartSource.PLATFORM, "EURUSD_otc")
KNOWN = DaemonState(assets=frozenset({"EURUSD_otc", "GBPUSD_otc"}), focus=("EURUSD_otc",), detected="GBPUSD_otc")


def wish(**changes: Any) -> ViewRequest:
    return msgspec.structs.replace(WISH, **changes)


def known(**changes: Any) -> DaemonState:
    return msgspec.structs.replace(KNOWN, **changes)


def test_a_valid_asset_on_a_valid_connection_is_live_and_locked() -> None:
    assert decide(WISH, KNOWN) == ViewDecision("EURUSD_otc", LiveState.LIVE, "", leases=True)


@pytest.mark.parametrize("source", [None, ChartSource.CSV])
def test_without_the_platform_as_source_nothing_is_live(source: ChartSource | None) -> None:
    assert decide(wish(source=source), KNOWN) == ViewDecision()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"daemon_error": "No fluxcap answers."}, "No fluxcap"),
        ({"chrome": "not reachable", "chrome_reason": "Chrome was closed."}, "Chrome was closed."),
        ({"chrome": "attached, not answering"}, "not answering"),
        ({"assets": frozenset({"GBPUSD_otc"})}, "no asset EURUSD_otc"),
    ],
)
def test_what_is_missing_pauses_it_with_the_reason(changes: dict[str, Any], words: str) -> None:
    verdict = decide(WISH, known(**changes))

    assert verdict.state is LiveState.PAUSED
    assert words in verdict.reason
    assert not verdict.leases


def test_stop_stops_it() -> None:
    assert decide(wish(is_on=False), KNOWN).state is LiveState.OFF


def test_without_an_asset_one_is_to_be_chosen() -> None:
    assert decide(wish(asset=None), KNOWN) == ViewDecision(None, LiveState.OFF, "Choose an asset.")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "immediately"),
        ({"daemon_error": "No fluxcap answers."}, "reconnects by itself"),
        ({"chrome": "not reachable"}, "reconnects by itself"),
    ],
)
def test_without_an_asset_it_is_said_what_comes_next(changes: dict[str, Any], words: str) -> None:
    assert words in next_step_text(decide(wish(asset=None), known(**changes)))


def test_following_goes_on_by_itself_unless_stopped() -> None:
    assert next_step_text(decide(wish(follows=True), known(detected=None))) == "It continues by itself."
    assert next_step_text(decide(wish(follows=True, is_on=False), known(detected=None))) == ""


def test_before_the_platform_told_its_assets_any_may_be_right() -> None:
    assert decide(WISH, known(assets=frozenset())).state is LiveState.LIVE


def test_following_shows_what_the_page_shows_and_locks_nothing() -> None:
    assert decide(wish(follows=True), KNOWN) == ViewDecision("GBPUSD_otc", LiveState.LIVE)


def test_following_waits_for_the_page_to_tell() -> None:
    verdict = decide(wish(follows=True), known(detected=None))

    assert (verdict.asset, verdict.state) == (None, LiveState.PAUSED)


def test_following_an_asset_that_the_focus_leaves_out_says_so() -> None:
    verdict = decide(wish(follows=True), known(focus_mode="lock"))

    assert verdict.state is LiveState.PAUSED
    assert "locked to EURUSD_otc" in verdict.reason


def test_an_asset_that_the_new_source_lacks_is_reset_and_said() -> None:
    assert keep_asset("EURUSD_otc", ["EURUSD_otc"], "here") == ("EURUSD_otc", "")
    assert keep_asset(None, [], "here") == (None, "")
    asset, message = keep_asset("EURUSD_otc", ["GBPUSD_otc"], "in the CSV files")
    assert asset is None
    assert message == "EURUSD_otc is not in the CSV files; choose another asset."
