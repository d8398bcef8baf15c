"""fluxcap.bridge.client.health: five states with reason and age."""

from __future__ import annotations

import msgspec
import pytest

from fluxcap.bridge.client.health import Health, HealthState, StreamHealth, format_age
from fluxcap.schemas.types import FeedState, StreamKey, StreamStatus

KEY = StreamKey("SIM", "EURUSD", "1s")
SECOND_NS = 1_000_000_000
STATUS = StreamStatus(KEY, 5, 5_000, server_time_ms=10_000, feed_state=FeedState.LIVE)


def connected(idle_after_ms: int = 3_000) -> StreamHealth:
    health = StreamHealth(0, idle_after_ms=idle_after_ms)
    health.on_connected(0)
    return health


def test_a_new_stream_is_connecting_and_without_a_server_soon_disconnected() -> None:
    health = StreamHealth(0, idle_after_ms=3_000)

    assert health.now(0).state is HealthState.CONNECTING
    assert health.on_time(SECOND_NS) is None
    changed = health.on_time(2 * SECOND_NS)
    assert changed is not None
    assert (changed.state, changed.label) == (HealthState.DISCONNECTED, "Disconnected")


def test_the_servers_word_makes_it_subscribed_and_an_update_receiving() -> None:
    health = connected()

    subscribed = health.on_heartbeat(STATUS, SECOND_NS)
    receiving = health.on_update(SECOND_NS)

    assert subscribed is not None
    assert subscribed.state is HealthState.SUBSCRIBED
    assert receiving is not None
    assert receiving.state is HealthState.RECEIVING
    assert health.now(SECOND_NS + 300_000_000).label == "Live, 0.3s ago"


def test_heartbeat_silence_is_noticed_within_two_seconds() -> None:
    health = connected()
    health.on_heartbeat(STATUS, 0)
    health.on_update(0)

    noticed = [step for step in range(21) if health.on_time(step * SECOND_NS // 10)]

    assert health.now(2 * SECOND_NS).state is HealthState.STALLED
    assert noticed == [16]
    assert health.now(8_200_000_000).label == "Stale, 8.2s"
    assert "no heartbeat" in health.now(8_200_000_000).reason


def test_one_late_heartbeat_is_no_silence() -> None:
    health = connected()
    health.on_heartbeat(STATUS, 0)

    assert health.on_time(1_500_000_000) is None


def test_a_quiet_market_is_idle_not_stalled() -> None:
    health = connected(idle_after_ms=3_000)
    health.on_update(0)
    for second in range(1, 6):
        health.on_heartbeat(STATUS, second * SECOND_NS)

    assert health.now(5 * SECOND_NS).state is HealthState.SUBSCRIBED
    assert health.now(5 * SECOND_NS).label == "Idle, 5.0s ago"


@pytest.mark.parametrize(
    ("feed", "state", "word"),
    [
        (FeedState.NO_BROWSER, HealthState.STALLED, "no browser"),
        (FeedState.NO_SOCKET, HealthState.STALLED, "trading page"),
        (FeedState.STALLED, HealthState.STALLED, "silent"),
        (FeedState.UNSYNCHRONISED, HealthState.SUBSCRIBED, "clock"),
        (FeedState.UNSUBSCRIBED, HealthState.SUBSCRIBED, "other assets"),
        (FeedState.LOGGED_OUT, HealthState.STALLED, "logged out"),
        (FeedState.WAITING_FOR_CONSENT, HealthState.STALLED, "consent"),
        (FeedState.NOT_IN_FOCUS, HealthState.SUBSCRIBED, "not in focus"),
        (FeedState.CLOCK_IN_QUESTION, HealthState.SUBSCRIBED, "clock"),
    ],
)
def test_the_servers_own_feed_shows_with_its_reason(feed: FeedState, state: HealthState, word: str) -> None:
    health = connected()
    health.on_update(0)

    health.on_heartbeat(msgspec.structs.replace(STATUS, feed_state=feed), SECOND_NS)

    now = health.now(SECOND_NS)
    assert (now.state, now.feed_state) == (state, feed)
    assert word in now.reason


def test_a_feed_state_of_a_newer_server_is_unknown() -> None:
    health = connected()
    health.on_update(0)

    health.on_heartbeat(msgspec.structs.replace(STATUS, feed_state=99), SECOND_NS)

    assert health.now(SECOND_NS).feed_state is FeedState.UNKNOWN
    assert health.now(SECOND_NS).state is HealthState.RECEIVING


def test_the_age_follows_the_servers_last_tick_without_any_candle() -> None:
    health = connected()

    health.on_heartbeat(msgspec.structs.replace(STATUS, last_tick_ts_ms=9_600), 5 * SECOND_NS)

    assert health.now(5 * SECOND_NS).label == "Live, 0.4s ago"


def test_a_lost_connection_says_so_and_the_next_one_starts_afresh() -> None:
    health = connected()
    health.on_update(0)

    lost = health.on_disconnected("connection lost", SECOND_NS)
    back = health.on_connected(2 * SECOND_NS)

    assert lost is not None
    assert (lost.state, lost.reason) == (HealthState.DISCONNECTED, "connection lost")
    assert back is not None
    assert back.state is HealthState.CONNECTING


def test_a_stream_the_server_does_not_have_is_said_until_it_has() -> None:
    health = connected()

    health.on_refused("the server has no such stream", SECOND_NS)

    assert health.now(9 * SECOND_NS).reason == "the server has no such stream"
    health.on_heartbeat(STATUS, 10 * SECOND_NS)
    assert health.now(10 * SECOND_NS).reason == "no update yet"


def test_nothing_is_told_while_state_and_reason_stay() -> None:
    health = connected()
    health.on_update(0)

    assert health.on_update(SECOND_NS) is None
    assert health.on_heartbeat(STATUS, SECOND_NS) is not None  # the feed state is news
    assert health.on_heartbeat(STATUS, SECOND_NS) is None


@pytest.mark.parametrize(
    ("age_ns", "text"), [(300_000_000, "0.3s"), (75 * SECOND_NS, "75s"), (720 * SECOND_NS, "12m"), (10**13, "3h")]
)
def test_ages_are_short(age_ns: int, text: str) -> None:
    assert format_age(age_ns) == text


def test_labels_without_an_age() -> None:
    assert Health(HealthState.CONNECTING).label == "Connecting"
    assert Health(HealthState.STALLED).label == "Stale"


def test_trouble_of_ones_own_goes_before_the_servers_word_until_it_ends() -> None:
    health = connected()
    health.on_update(0)

    full = health.on_local_error("no space left", 0)
    beat = health.on_heartbeat(STATUS, 0)
    over = health.on_local_error("", 0)

    assert full is not None
    assert (full.state, full.reason) == (HealthState.STALLED, "no space left")
    assert beat is None or beat.reason == "no space left"
    assert over is not None
    assert over.state is HealthState.RECEIVING
