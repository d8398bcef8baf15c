"""When an alert is due: what lasts is told once, its end once, and what passes is not told at all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxcap.capture.alerts.rules import (
    CLEAR_MS,
    CRASH_EVERY_MS,
    CSV_OVER_MS,
    DISAGREES_OVER_MS,
    LOW_DISK_BYTES,
    START_GRACE_MS,
    Alert,
    AlertKind,
    AlertMemory,
    AlertRules,
    Facts,
    OpenAlert,
    Phase,
    QuietHours,
)
from fluxcap.schemas.errors import ConfigError
from fluxcap.schemas.types import FeedState

WALL_MS = 1_760_000_000_000
AFTER_MS = 20_000
STEP_MS = 2_000
EUR, GBP = "EURUSD_otc", "GBPUSD_otc"
LIVE = {EUR: FeedState.LIVE}
BEGAN, ENDED, PAST, HAPPENED = Phase


class Bench:
    """Rules that are asked every two seconds."""

    def __init__(self, muted: Iterable[AlertKind] = (), **more: Any) -> None:
        self.rules = AlertRules(AFTER_MS, tuple(muted), **more)
        self.now_ms = 5_000_000
        self.alerts: list[Alert] = []

    def well(self, seconds: float = 4, **facts: Any) -> Bench:
        """Everything is as it should be, but for what is named."""
        return self.during(seconds, **{"feeds": LIVE, **facts})

    def during(self, seconds: float, is_quiet: bool = False, **facts: Any) -> Bench:
        for _ in range(max(1, round(seconds * 1_000 / STEP_MS))):
            self.now_ms += STEP_MS
            self.alerts += self.rules.step(Facts(WALL_MS + self.now_ms, self.now_ms, **facts), is_quiet=is_quiet)
        return self

    @property
    def told(self) -> list[tuple[AlertKind, Phase]]:
        return [(alert.kind, alert.phase) for alert in self.alerts]


def blind(state: FeedState = FeedState.NO_SOCKET) -> dict[str, Any]:
    return {"feeds": {EUR: state}}


LASTING = {
    AlertKind.FEED: blind(),
    AlertKind.CHROME: {"has_browser": False, **blind(FeedState.NO_BROWSER)},
    AlertKind.CONSENT: {"has_browser": False, "waits_for_consent": True, **blind(FeedState.WAITING_FOR_CONSENT)},
    AlertKind.LOGGED_OUT: {"logged_out": True, **blind(FeedState.LOGGED_OUT)},
    AlertKind.CLOCK: {"clock_in_question": True, **blind(FeedState.CLOCK_IN_QUESTION)},
    AlertKind.STORE: {"store_error": "disk full", "feeds": LIVE},
    AlertKind.DISK: {"free_bytes": LOW_DISK_BYTES - 1, "feeds": LIVE},
}


@pytest.mark.parametrize("kind", LASTING)
def test_what_lasts_is_told_once_and_its_end_once(kind: AlertKind):
    bench = Bench().well().during(600, **LASTING[kind]).well(600)

    assert bench.told == [(kind, BEGAN), (kind, ENDED)]
    assert bench.rules.open_alerts() == ()


@pytest.mark.parametrize("kind", LASTING)
def test_what_is_over_within_the_time_is_not_told(kind: AlertKind):
    assert Bench().well().during(18, **LASTING[kind]).well(600).told == []


@pytest.mark.parametrize("kind", LASTING)
def test_it_is_told_when_it_has_lasted_for_the_time_and_not_before(kind: AlertKind):
    bench = Bench().well().during(20, **LASTING[kind])
    assert bench.told == []

    assert bench.during(2, **LASTING[kind]).told == [(kind, BEGAN)]


@pytest.mark.parametrize("kind", LASTING)
def test_what_comes_back_before_it_was_over_for_long_has_not_ended(kind: AlertKind):
    bench = Bench().well().during(60, **LASTING[kind])

    for _ in range(5):
        bench.well(CLEAR_MS / 1_000 - 3).during(60, **LASTING[kind])

    assert bench.told == [(kind, BEGAN)]


@pytest.mark.parametrize("kind", LASTING)
def test_a_kind_that_is_muted_is_never_told(kind: AlertKind):
    bench = Bench(muted=[kind, AlertKind.FEED]).well().during(60, **LASTING[kind]).well(60)

    assert bench.told == []


def test_times_are_those_of_the_beginning_and_the_end():
    bench = Bench().well().during(60, **blind())
    begun_ms = bench.now_ms + WALL_MS - 60_000 + STEP_MS
    bench.well(2)
    ended_ms = bench.now_ms + WALL_MS

    began, ended = bench.well(60).alerts
    assert (began.since_ms, began.until_ms) == (begun_ms, 0)
    assert (ended.since_ms, ended.until_ms) == (begun_ms, ended_ms)


def test_a_quiet_asset_on_a_live_feed_is_no_alert_however_long():
    assert Bench().well(86_400 / 4).told == []


def test_an_asset_out_of_focus_is_no_alert():
    assert Bench().well().during(600, feeds={EUR: FeedState.NOT_IN_FOCUS}).during(600).told == []


def test_an_asset_that_leaves_the_focus_while_it_is_blind_is_over_without_a_tick():
    bench = Bench().well().during(60, **blind()).during(60)

    assert bench.told == [(AlertKind.FEED, BEGAN), (AlertKind.FEED, ENDED)]
    assert bench.alerts[-1].is_dropped


def test_assets_that_are_blind_for_one_reason_make_one_alert():
    both = {EUR: FeedState.STALLED, GBP: FeedState.STALLED}
    live = {EUR: FeedState.LIVE, GBP: FeedState.LIVE}
    bench = Bench().well(feeds=live).during(60, feeds=both).well(60, feeds=live)

    assert [(alert.phase, alert.assets) for alert in bench.alerts] == [(BEGAN, (EUR, GBP)), (ENDED, (EUR, GBP))]


def test_an_asset_that_follows_another_into_blindness_is_told_for_itself():
    live = {EUR: FeedState.LIVE, GBP: FeedState.LIVE}
    one, both = live | {EUR: FeedState.STALLED}, {EUR: FeedState.STALLED, GBP: FeedState.STALLED}
    bench = Bench().well(feeds=live).during(60, feeds=one).during(60, feeds=both)

    assert [alert.assets for alert in bench.alerts] == [(EUR,), (GBP,)]


# --- one cause, one alert --------------------------------------------------------------------------------------------


def test_the_end_of_a_cause_is_told_once_the_feeds_are_live_again():
    bench = Bench().well().during(60, **LASTING[AlertKind.CHROME]).during(16, **blind())
    assert bench.told == [(AlertKind.CHROME, BEGAN)]

    assert bench.well(60).told == [(AlertKind.CHROME, BEGAN), (AlertKind.CHROME, ENDED)]


def test_chrome_that_is_back_without_its_page_is_told():
    bench = Bench().well().during(60, **LASTING[AlertKind.CHROME]).during(60, **blind()).well(60)

    assert bench.told == [
        (AlertKind.CHROME, BEGAN),
        (AlertKind.FEED, BEGAN),
        (AlertKind.CHROME, ENDED),
        (AlertKind.FEED, ENDED),
    ]
    assert bench.alerts[1].since_ms == bench.alerts[0].since_ms, "blind since Chrome was lost"


def test_blindness_counts_from_its_beginning_whatever_the_cause_is_by_then():
    bench = Bench().well().during(12, **blind()).during(10, **LASTING[AlertKind.CHROME])

    assert bench.told == [(AlertKind.CHROME, BEGAN)]


def test_a_cause_too_short_to_be_told_does_not_reset_the_blindness():
    bench = Bench().well().during(10, **LASTING[AlertKind.CHROME]).during(12, **blind())

    assert bench.told == [(AlertKind.FEED, BEGAN)]


def test_a_feed_that_was_told_is_not_told_again_beside_a_cause():
    bench = Bench().well().during(60, **blind()).during(60, **LASTING[AlertKind.LOGGED_OUT]).well(60)

    assert sorted(bench.told) == sorted(
        (kind, phase) for kind in (AlertKind.FEED, AlertKind.LOGGED_OUT) for phase in (BEGAN, ENDED)
    )


# --- the start -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [AlertKind.CHROME, AlertKind.FEED])
def test_a_daemon_may_start_before_chrome_and_its_page(kind: AlertKind):
    bench = Bench().during(START_GRACE_MS / 1_000 - 10, **LASTING[kind])
    assert bench.told == []

    assert bench.during(20, **LASTING[kind]).told == [(kind, BEGAN)]


def test_what_was_there_once_is_missed_as_ever_soon_after_the_start():
    assert Bench().well(2).during(30, **blind()).told == [(AlertKind.FEED, BEGAN)]


def test_a_crash_is_told_once_with_the_next_start():
    bench = Bench(crashed=True).well(600)

    assert bench.told == [(AlertKind.CRASH, HAPPENED)]


def test_a_daemon_that_crashes_again_and_again_is_told_once_an_hour_with_the_number():
    memory, told, now_ms = AlertMemory(), [], 0
    for _ in range(100):
        bench = Bench(crashed=True, memory=memory)
        bench.now_ms = now_ms
        told += bench.well(60).alerts
        memory, now_ms = bench.rules.memory(), bench.now_ms

    assert len(told) == 1 + (now_ms - told[0].since_ms + WALL_MS) // CRASH_EVERY_MS
    assert told[0].count == 1
    assert sum(alert.count for alert in told) + memory.crashes == 100


def test_what_an_earlier_run_told_is_not_told_again_and_its_end_is():
    first = Bench().well().during(60, **blind())
    second = Bench(memory=first.rules.memory()).during(600, **blind()).well(60)

    assert second.told == [(AlertKind.FEED, ENDED)]
    assert second.alerts[0].since_ms == first.alerts[0].since_ms


# --- losses ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "fact", "over_ms"),
    [(AlertKind.CSV, "csv_lost", CSV_OVER_MS), (AlertKind.DISAGREES, "differing", DISAGREES_OVER_MS)],
)
def test_losses_are_told_at_once_and_their_end_with_the_sum(kind: AlertKind, fact: str, over_ms: int):
    bench = Bench().well(**{fact: 5}).well(2, **{fact: 7})
    assert [(alert.kind, alert.phase, alert.count) for alert in bench.alerts] == [(kind, BEGAN, 2)]

    bench.well(over_ms / 2_000, **{fact: 20}).well(over_ms / 1_000 + 4, **{fact: 20})

    assert [(alert.phase, alert.count) for alert in bench.alerts] == [(BEGAN, 2), (ENDED, 15)]


def test_losses_of_earlier_runs_are_not_told():
    assert Bench().well(60, csv_lost=7, differing=9).told == []


def test_space_that_is_hardly_more_again_is_still_little():
    low = {"free_bytes": LOW_DISK_BYTES - 1}
    bench = Bench().well().well(60, **low).well(60, free_bytes=LOW_DISK_BYTES + 1)

    assert bench.told == [(AlertKind.DISK, BEGAN)]


# --- quiet hours -----------------------------------------------------------------------------------------------------


def test_what_lasts_beyond_quiet_hours_is_told_after_them():
    bench = Bench().well().during(600, is_quiet=True, **blind())
    assert bench.told == []

    assert bench.during(2, **blind()).well(60).told == [(AlertKind.FEED, BEGAN), (AlertKind.FEED, ENDED)]


def test_what_began_and_ended_in_quiet_hours_is_told_as_past():
    bench = Bench().well().during(60, is_quiet=True, **blind()).during(60, is_quiet=True, feeds=LIVE)
    assert bench.told == []

    assert bench.well(60).told == [(AlertKind.FEED, PAST)]


def test_an_end_in_quiet_hours_is_told_after_them():
    bench = Bench().well().during(60, **blind()).during(60, is_quiet=True, feeds=LIVE).well(60)

    assert bench.told == [(AlertKind.FEED, BEGAN), (AlertKind.FEED, ENDED)]


def test_what_was_short_in_quiet_hours_is_never_told():
    bench = Bench().well().during(10, is_quiet=True, **blind()).during(60, is_quiet=True, feeds=LIVE).well(60)

    assert bench.told == []


@pytest.mark.parametrize(
    ("text", "minute", "is_quiet"),
    [
        ("22:00-07:00", 22 * 60, True),
        ("22:00-07:00", 3 * 60, True),
        ("22:00-07:00", 7 * 60, False),
        ("22:00-07:00", 12 * 60, False),
        ("12:00-13:30, 22:00-07:00", 13 * 60 + 29, True),
        ("0:00-0:00", 5, True),
        ("", 5, False),
    ],
)
def test_quiet_hours_are_of_the_local_day_and_may_pass_midnight(text: str, minute: int, is_quiet: bool):
    assert QuietHours(text).contains(minute) is is_quiet


@pytest.mark.parametrize("text", ["22", "22:00", "25:00-07:00", "22:60-07:00", "a-b", "22:00-07:00-08:00"])
def test_what_are_no_quiet_hours_is_refused(text: str):
    with pytest.raises(ConfigError, match="no quiet hours"):
        QuietHours(text)


# --- whatever happens ------------------------------------------------------------------------------------------------

STORIES = st.lists(
    st.tuples(st.sampled_from([None, *LASTING]), st.integers(1, 40), st.booleans()), min_size=1, max_size=25
)


@given(STORIES)
def test_beginnings_and_ends_of_a_kind_alternate_and_nothing_stays_open(
    story: list[tuple[AlertKind | None, int, bool]],
):
    bench = Bench().well()
    for kind, steps, is_quiet in story:
        bench.during(steps * STEP_MS / 1_000, is_quiet, **(LASTING[kind] if kind else {"feeds": LIVE}))
    bench.well(120)

    for kind in LASTING:
        phases = [alert.phase for alert in bench.alerts if alert.kind is kind and alert.phase is not PAST]
        assert phases == [BEGAN, ENDED] * (len(phases) // 2)
    assert bench.rules.memory().open == ()


@given(st.lists(st.booleans(), max_size=200))
def test_feeds_that_are_never_blind_for_the_whole_time_are_never_told(blindness: list[bool]):
    bench, run = Bench().well(), 0
    for is_blind in blindness:
        run = run + 1 if is_blind else 0
        state = FeedState.STALLED if is_blind and run * STEP_MS <= AFTER_MS else FeedState.LIVE
        run = run if state is FeedState.STALLED else 0
        bench.during(2, feeds={EUR: state})

    assert bench.told == []


def test_open_alerts_are_kept_with_their_beginning():
    bench = Bench().well().during(60, **blind())

    assert bench.rules.memory().open == (OpenAlert(AlertKind.FEED, EUR, bench.alerts[0].since_ms),)
