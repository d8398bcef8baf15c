"""What the JetStream stream must be like, and what is said of one that differs."""

from __future__ import annotations

import pytest

from fluxcap.bridge.jetstream.admin import (
    ConfigDifference,
    StreamConfig,
    changed_config,
    differences,
    duration_text,
    new_config,
    parse_bytes,
    parse_duration_ns,
)
from fluxcap.schemas.errors import ConfigError

DAY_NS = 86_400 * 10**9


def test_a_new_stream_is_as_wanted():
    wanted = StreamConfig(replicas=3, max_age_ns=30 * DAY_NS, max_bytes=2**30, duplicate_window_ns=10**9)

    assert differences(new_config("FLUX", wanted), wanted) == []
    assert differences(new_config("FLUX", StreamConfig()), StreamConfig()) == []


def test_what_nobody_asked_for_is_left_as_it_is():
    config = new_config("FLUX", StreamConfig(replicas=3, max_age_ns=DAY_NS))

    assert differences(config, StreamConfig()) == []


def test_no_limit_is_a_wish_as_well():
    config = new_config("FLUX", StreamConfig(max_age_ns=DAY_NS, max_bytes=100))

    assert [d.setting for d in differences(config, StreamConfig(max_age_ns=0, max_bytes=0))] == ["max_age", "max_bytes"]


def test_differences_are_told_in_words():
    config = new_config("FLUX", StreamConfig()) | {"storage": "memory", "subjects": ["x"], "max_msgs_per_subject": 5}

    assert differences(config, StreamConfig(max_age_ns=DAY_NS)) == [
        ConfigDifference("subjects", "x", "flux.candles.>", True),
        ConfigDifference("storage", "memory", "file", False),
        ConfigDifference("max_msgs_per_subject", "5", "no limit", True),
        ConfigDifference("max_age", "no limit", "1d", True),
    ]


def test_a_change_puts_right_what_can_be_and_leaves_the_rest():
    wanted = StreamConfig(max_age_ns=DAY_NS)
    config = new_config("FLUX", StreamConfig()) | {"storage": "memory", "subjects": ["x"], "description": "theirs"}

    changed = changed_config(config, differences(config, wanted), wanted)

    assert [d.setting for d in differences(changed, wanted)] == ["storage"]
    assert changed["subjects"] == ["x", "flux.candles.>"]
    assert changed["description"] == "theirs"


def test_a_window_of_ids_never_outlasts_the_messages():
    assert new_config("FLUX", StreamConfig(max_age_ns=10**9))["duplicate_window"] == 10**9


@pytest.mark.parametrize(
    ("text", "ns"), [("90s", 90 * 10**9), ("2m", 120 * 10**9), ("30d", 30 * DAY_NS), ("0", 0), ("5", 5 * 10**9)]
)
def test_lengths_of_time(text: str, ns: int):
    assert parse_duration_ns(text) == ns


@pytest.mark.parametrize(
    ("text", "size"), [("500M", 500 * 2**20), ("20g", 20 * 2**30), ("1TB", 2**40), ("0", 0), ("7", 7)]
)
def test_amounts_of_bytes(text: str, size: int):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "x", "-1d", "1w", "1.5d"])
def test_what_is_neither_is_refused(text: str):
    with pytest.raises(ConfigError):
        parse_duration_ns(text)
    with pytest.raises(ConfigError):
        parse_bytes(text)


def test_durations_are_told_in_their_largest_unit():
    assert [duration_text(ns) for ns in (0, 120 * 10**9, 90 * 10**9, 7 * DAY_NS, 10**8)] == [
        "no limit",
        "2m",
        "90s",
        "7d",
        "0.1s",
    ]
