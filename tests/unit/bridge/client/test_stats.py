"""The words and figures of the footer."""

from __future__ import annotations

import pytest

from fluxcap.bridge.client.health import Health, HealthState
from fluxcap.bridge.client.stats import RateWindow, StreamStats, offset_text, state_text, stats_rows


@pytest.mark.parametrize(
    ("health", "words"),
    [
        (None, ("off", "Off", "")),
        (Health(HealthState.DISCONNECTED, "gone"), ("bad", "Disconnected", "gone")),
        (Health(HealthState.CONNECTING), ("wait", "Connecting", "")),
        (Health(HealthState.SUBSCRIBED), ("idle", "Idle", "")),
        (Health(HealthState.RECEIVING, age_ns=300_000_000), ("good", "Live, 0.3s ago", "")),
        (Health(HealthState.STALLED, "silent", 8_200_000_000), ("warn", "Stale, 8.2s", "silent")),
    ],
)
def test_each_of_the_five_states_has_its_dot_and_words(health: Health | None, words: tuple[str, str, str]) -> None:
    assert state_text(health) == words


@pytest.mark.parametrize(
    ("offset_ms", "text"),
    [(None, "-"), (0, "0"), (7_200_000, "+2h"), (-1_800_000, "-30m"), (8_100_000, "+2h15m"), (3_600_000, "+1h")],
)
def test_the_offset_is_told_in_hours_and_minutes(offset_ms: int | None, text: str) -> None:
    assert offset_text(offset_ms) == text


def test_every_fact_is_there_before_it_is_known_so_that_nothing_moves() -> None:
    unknown = stats_rows(0, StreamStats())
    known = stats_rows(12, StreamStats(12, 60_000, 7_200_000, 812, 2.08, 40, 39))

    assert [name for name, _ in unknown] == [name for name, _ in known]
    assert {value for _, value in unknown} == {"-"}
    assert [value for _, value in known] == ["#12", "#12 00:01:00", "+2h", "2.1", "0.8s", "39 of 40"]


def test_rate_and_lag_are_of_the_last_ten_seconds() -> None:
    trend = RateWindow()
    assert trend.sample(0, 100, 900) == (None, 900)
    assert trend.sample(5_000, 110, 700) == (2.0, 700)
    for at in range(6_000, 30_000, 1_000):
        rate, lag_ms = trend.sample(at, 110, 1_500)

    assert rate == 0
    assert lag_ms == 1_500


def test_a_counter_that_begins_anew_begins_a_new_rate() -> None:
    trend = RateWindow()
    trend.sample(0, 1_000, None)

    assert trend.sample(1_000, 5, None) == (None, None)
