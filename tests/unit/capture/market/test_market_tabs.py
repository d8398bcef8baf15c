"""The market with several tabs or sockets on one asset, and with a focus that follows pages that come and go."""

from __future__ import annotations

import pytest

from fluxcap.capture.market.feeds import GapReason, GapUpdate
from fluxcap.capture.market.focus import Focus
from fluxcap.schemas.types import CandleFlags
from tests.support.market.simulated_market import EUR, GBP, START_MS, Stage, lock

MINUTE = 60_000
WHOLE, BLIND = CandleFlags.NONE, CandleFlags.BLIND


def told_ms(stage: Stage) -> list[tuple[int, int]]:
    """The gaps told, in milliseconds from the start."""
    return [(gap.from_ms - START_MS, gap.to_ms and gap.to_ms - START_MS) for gap in stage.gaps]


# --- one minute over two sockets ---


def test_a_minute_waits_for_the_slower_of_two_tabs() -> None:
    stage = Stage(focus=lock(EUR))
    stage.ticks_of(START_MS, stage.minute(2))
    stage.tick(stage.minute(2), socket="s2", arrives_ms=stage.minute(2) + 500)  # the quicker tab has only now begun
    for ts_ms in range(stage.minute(2), stage.minute(4), 500):
        if ts_ms > stage.minute(2):
            stage.tick(ts_ms, socket="s2", arrives_ms=ts_ms + 500)
        stage.tick(ts_ms, socket="s1", known=True, arrives_ms=ts_ms + 750)
    stage.pass_time(stage.minute(4) + 1_000)

    assert stage.flags() == {0: WHOLE, 1: WHOLE, 2: WHOLE}
    assert stage.gaps == []


def test_a_minute_does_not_wait_for_ever_for_a_tab_that_says_nothing() -> None:
    stage = Stage(focus=lock(EUR))
    stage.ticks_of(START_MS, stage.minute(1) + 50_000)
    stage.ticks_of(stage.minute(1) + 55_000, stage.minute(2) + 15_000, socket="s2")

    assert stage.flags() == {0: WHOLE, 1: BLIND}


# --- gaps ---


def test_a_frozen_tab_that_speaks_again_tells_no_gap_that_the_other_had_closed() -> None:
    stage = Stage(focus=lock(EUR))
    stage.ticks_of(START_MS, stage.minute(2))
    stage.ticks_of(stage.minute(2), stage.minute(2) + 20_000, socket=None)
    stage.ticks_of(stage.minute(2) + 20_000, stage.minute(5), socket="s2")
    stage.tick(stage.minute(5), socket="s1")
    stage.ticks_of(stage.minute(5) + 500, stage.minute(6), socket="s2")

    assert set(told_ms(stage)) == {(2 * MINUTE - 500, 0), (2 * MINUTE - 500, 2 * MINUTE + 20_000)}


def test_a_stall_of_one_tab_is_no_gap_while_the_other_goes_on() -> None:
    stage = Stage(focus=lock(EUR))
    stage.ticks_of(START_MS, stage.minute(1))
    stage.tick(stage.minute(1), socket="s2")
    stage.tick(stage.minute(1), socket="s1", known=True)
    stage.ticks_of(stage.minute(1) + 500, stage.minute(1) + 30_000, socket="s2")
    stage.tick(stage.minute(1) + 30_250, socket="s1")  # its stamps jump; the other's newest is older than that
    stage.ticks_of(stage.minute(1) + 30_500, stage.minute(2) + 1_000, socket="s2")

    assert stage.flags() == {0: WHOLE, 1: WHOLE}
    assert stage.gaps == []


def test_what_no_tab_saw_between_the_end_of_one_and_the_begin_of_the_other_is_told() -> None:
    stage = Stage(focus=lock(EUR))
    stage.ticks_of(START_MS, stage.minute(1) + 30_000)
    stage.ticks_of(stage.minute(1) + 30_000, stage.minute(1) + 32_000, socket=None)
    stage.ticks_of(stage.minute(1) + 32_000, stage.minute(1) + 34_000, socket="s2")
    stage.lose("s1", GapReason.TAB_CLOSED)
    stage.ticks_of(stage.minute(1) + 34_000, stage.minute(2) + 1_000, socket="s2")

    assert stage.flags() == {0: WHOLE, 1: BLIND}
    assert stage.gaps == [
        GapUpdate(EUR, stage.minute(1) + 29_500, stage.minute(1) + 32_000, GapReason.TAB_CLOSED),
    ]


def test_a_gap_leaves_out_what_another_tab_saw_of_it() -> None:
    stage = Stage(focus=lock(EUR))
    stage.ticks_of(START_MS, stage.minute(1) + 20_000)
    for ts_ms in range(stage.minute(1) + 20_000, stage.minute(1) + 25_000, 500):
        stage.tick(ts_ms, socket="s2")  # the first one is late
    stage.lose("s2", GapReason.TAB_CLOSED)
    stage.lose("s1", GapReason.TAB_CLOSED)
    stage.ticks_of(stage.minute(1) + 40_000, stage.minute(2) + 1_000, socket="s3")

    assert told_ms(stage) == [
        (MINUTE + 19_500, 0),
        (MINUTE + 19_500, MINUTE + 20_000),
        (MINUTE + 24_500, MINUTE + 40_000),
    ]


def test_what_lay_between_two_tabs_is_told_though_both_fell_silent_later() -> None:
    stage = Stage(focus=lock(EUR))
    stage.ticks_of(START_MS, stage.minute(1) + 8_500)
    stage.ticks_of(stage.minute(1) + 9_000, stage.minute(1) + 15_000, socket="s2")
    stage.ticks_of(stage.minute(1) + 15_000, stage.minute(1) + 30_000, socket=None)
    stage.ticks_of(stage.minute(1) + 30_000, stage.minute(2) + 1_000)

    assert told_ms(stage) == [
        (MINUTE + 14_500, 0),
        (MINUTE + 14_500, MINUTE + 30_000),
        (MINUTE + 8_000, MINUTE + 9_000),
    ]


def test_the_end_of_one_of_two_tabs_is_no_gap() -> None:
    stage = Stage(focus=lock(EUR))
    stage.ticks_of(START_MS, stage.minute(1))
    for ts_ms in range(stage.minute(1), stage.minute(1) + 30_000, 500):
        stage.tick(ts_ms, socket="s1")
        stage.tick(ts_ms, socket="s2", known=True)
    stage.lose("s1", GapReason.TAB_CLOSED)
    stage.ticks_of(stage.minute(1) + 30_000, stage.minute(2) + 1_000, socket="s2")

    assert stage.flags() == {0: WHOLE, 1: WHOLE}
    assert stage.gaps == []


# --- the platform's clock ---


@pytest.mark.parametrize("step_ms", [-3_600_000, 3_600_000])
def test_a_daylight_saving_step_over_a_quick_and_a_slow_tab_loses_no_tick(step_ms: int) -> None:
    stage = Stage(focus=lock(EUR, GBP))
    arrivals = []
    for ts_ms in range(START_MS, stage.minute(4), 500):
        for symbol, socket, at_ms, lag_ms in ((EUR, "quick", ts_ms, 500), (GBP, "slow", ts_ms + 1, 1_600)):
            arrivals.append((at_ms + lag_ms, socket, symbol, at_ms, stage.happen(at_ms, symbol)))
    for arrives_ms, socket, symbol, at_ms, price in sorted(arrivals):
        offset_ms = stage.offset_ms + (step_ms if at_ms >= stage.minute(2) + 30_000 else 0)
        stage.event(socket, "updateStream", [[symbol, (at_ms + offset_ms) / 1_000, price]], arrives_ms)

    assert set(stage.flags(EUR)) >= {0, 1, 2}
    assert set(stage.flags(GBP)) >= {1, 2}
    assert stage.gaps == []
    stage.assert_truthful()
    assert stage.market.counters["malformed.tick time"] == 0


def test_an_absurd_tick_of_a_tab_that_then_ends_holds_nobody_up_for_long() -> None:
    stage = Stage(focus=lock(EUR, GBP))
    stage.ticks_of(START_MS, stage.minute(1), (EUR,), "s1")
    stage.event("s2", "updateStream", [[GBP, (stage.now_ms + 500_000_000) / 1_000, 1.1]])
    stage.lose("s2")
    stage.ticks_of(stage.minute(1), stage.minute(2) + 1_000, (EUR,), "s1")

    assert stage.flags() == {0: WHOLE, 1: WHOLE}
    assert stage.market.counters["malformed.tick time"] == 1


def test_a_slow_asset_has_all_the_time_it_takes_to_tell_that_the_clock_has_changed() -> None:
    stage = Stage(focus=lock(EUR))
    stage.ticks_of(START_MS, stage.minute(2))
    stage.offset_ms += 3_600_000
    stage.ticks_of(stage.minute(2), stage.minute(5) + 1_000, every_ms=7_500)
    stage.ticks_of(stage.minute(5) + 1_000, stage.minute(7) + 1_000)

    assert stage.market.clock.changes == 1
    assert stage.market.counters["malformed.tick time"] == 0
    stage.assert_truthful()


# --- what goes into the outcome ---


def test_a_live_tick_that_the_history_of_another_tab_told_first_is_told_once() -> None:
    stage = Stage(focus=lock(EUR))
    stage.ticks_of(START_MS, stage.minute(1))
    newest_ms = stage.minute(1)
    stage.happen(newest_ms)
    stage.history(START_MS, newest_ms + 1, socket="s2", arrives_ms=newest_ms + 100)
    told = stage.ticks

    stage.tick(newest_ms, known=True)
    stage.tick(newest_ms, socket="s2", known=True)

    assert stage.ticks == told + 1
    assert stage.market.feeds.feed(EUR).tick_count == told + 1
    assert stage.market.counters["duplicate"] == 1


# --- following ---


def test_a_page_that_is_left_is_asked_when_the_one_that_told_the_asset_has_gone() -> None:
    stage = Stage(focus=Focus())
    stage.turn(EUR)
    stage.ticks_of(START_MS, stage.minute(1))
    stage.turn(GBP, "s2")
    stage.ticks_of(stage.minute(1), stage.minute(1) + 30_000, (GBP,), "s2")
    assert stage.market.active_asset_query == ""

    stage.lose("s2", GapReason.TAB_CLOSED)
    stage.ticks_of(stage.minute(1) + 30_000, stage.minute(1) + 40_000)
    assert stage.market.active_asset_query
    stage.market.on_active_asset_label("EUR/USD OTC")

    assert stage.market.focused_symbols() == (EUR,)
    assert stage.market.active_asset_query == ""
    stage.ticks_of(stage.minute(1) + 40_000, stage.minute(3) + 1_000)
    assert stage.flags()[2] == WHOLE


def test_a_page_that_is_asked_does_not_overrule_what_ticks() -> None:
    stage = Stage(focus=Focus())
    stage.turn(EUR)
    stage.ticks_of(START_MS, stage.minute(1), (EUR, GBP))

    stage.market.on_active_asset_label("GBP/USD OTC")

    assert stage.market.focused_symbols() == (EUR,)


def test_a_page_that_is_asked_does_not_overrule_by_an_asset_that_does_not_tick() -> None:
    stage = Stage(focus=Focus())
    stage.ticks_of(START_MS, stage.minute(1), (GBP,))
    stage.turn(EUR)

    stage.market.on_active_asset_label("AUD/USD OTC")

    assert stage.market.focused_symbols()[0] == EUR


def test_an_asset_that_ticked_alone_goes_on_when_a_second_one_begins_to_tick() -> None:
    stage = Stage(focus=Focus())
    stage.ticks_of(START_MS, stage.minute(2) + 30_000)
    assert stage.market.focused_symbols() == (EUR,)

    for ts_ms in range(stage.minute(2) + 30_000, stage.minute(4) + 1_000, 500):
        stage.tick(ts_ms)
        stage.tick(ts_ms + 1, GBP, "s2")

    assert stage.market.focused_symbols() == (EUR,)
    assert stage.flags() == {0: WHOLE, 1: WHOLE, 2: WHOLE, 3: WHOLE}
    assert not stage.sealed[GBP]


def test_minutes_sealed_together_with_the_last_one_of_a_leaving_asset_are_not_lost() -> None:
    stage = Stage(5_000, focus=lock(EUR))
    stage.ticks_of(START_MS, stage.minute(4), (EUR, GBP))
    stage.lose()
    stage.ticks_of(stage.minute(4) + 500, stage.minute(4) + 1_500, (EUR, GBP), "s2")  # newer ones wait for history
    stage.market.set_focus(lock(GBP))
    stage.ticks_of(stage.minute(4) + 1_500, stage.minute(10), (EUR, GBP), "s2")
    assert max(stage.flags()) <= 4
    stage.market.set_focus(lock(EUR))
    stage.ticks_of(stage.minute(10), stage.minute(12), (EUR, GBP), "s2")

    assert {5, 6, 7, 8, 9} <= stage.flags().keys()
    assert stage.flags()[5] == WHOLE
