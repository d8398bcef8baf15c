"""capture/runtime/log.py: one line an event, for people and for programs."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from fluxcap.capture.runtime import log
from fluxcap.capture.runtime.log_events import EVENTS


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = list(root.handlers), list(log.LOGGER.handlers), log.LOGGER.level, log.LOGGER.propagate
    yield
    root.handlers[:], log.LOGGER.handlers[:] = before[0], before[1]
    log.LOGGER.setLevel(before[2])
    log.LOGGER.propagate = before[3]


def to_json(level: int = logging.INFO) -> io.StringIO:
    stream = io.StringIO()
    log.set_up(as_json=True, level=level, stream=stream)
    return stream


def entries(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_line_with_its_fields() -> None:
    stream = to_json()

    log.event("csv.mode_changed", before="none", now="tick")

    (entry,) = entries(stream)
    assert entry.pop("ts").endswith("+00:00")
    assert entry == {
        "level": "info",
        "event": "csv.mode_changed",
        "message": "The collect mode changed",
        "before": "none",
        "now": "tick",
    }


def test_a_field_cannot_take_the_place_of_the_event() -> None:
    stream = to_json()

    log.event("socket.closed", **{"event": "other", "message": "other", "ts": 0})

    (entry,) = entries(stream)
    assert (entry["event"], entry["message"]) == ("socket.closed", EVENTS["socket.closed"].sentence)


def test_people_read_a_sentence() -> None:
    stream = io.StringIO()
    log.set_up(stream=stream)

    log.warn("csv.file_lost", file="a.csv")

    assert stream.getvalue().endswith(" ! A CSV file is gone; continuing in a new one  file=a.csv\n")


def test_what_a_page_says_cannot_feign_a_line_or_steer_the_terminal() -> None:
    stream = io.StringIO()
    log.set_up(stream=stream)

    log.event("target.attached", url="https://a/\n00:00:00   daemon.stopped\x1b[2J")

    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("as_json", [True, False])
def test_secrets_are_taken_out_of_messages_fields_and_tracebacks(as_json: bool) -> None:
    stream = io.StringIO()
    log.set_up(as_json=as_json, stream=stream)

    logging.getLogger("somebody.else").warning("frame %s", '42["auth",{"session":"SECRET"}]')
    log.event("target.attached", url="https://site/?token=SECRET")
    try:
        raise ValueError('{"session":"SECRET"}')
    except ValueError as error:
        log.RateLimit().failure("listener.error", error)

    assert "SECRET" not in stream.getvalue()
    assert "ValueError" in stream.getvalue()


def test_warnings_of_libraries_come_as_one_event_with_their_text() -> None:
    stream = to_json()

    logging.getLogger("some.library").warning("disk %s", "slow")

    (entry,) = entries(stream)
    assert (entry["event"], entry["logger"], entry["message"]) == ("library.log", "some.library", "disk slow")


def test_a_flood_of_one_event_is_cut_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = to_json()
    now_s = 1_000_000.0
    monkeypatch.setattr("logging.time.time_ns", lambda: int(now_s * 1e9), raising=False)
    monkeypatch.setattr("logging.time.time", lambda: now_s)

    for _ in range(log.MAX_PER_MINUTE + 40):
        log.event("socket.closed")
    log.event("target.detached")
    now_s += 61
    log.event("socket.closed")

    found = entries(stream)
    assert len(found) == log.MAX_PER_MINUTE + 2
    assert found[-1]["left_out"] == 40


def test_an_error_is_never_left_out() -> None:
    stream = to_json()

    for _ in range(log.MAX_PER_MINUTE + 5):
        log.event("store.candles_rejected", level=logging.ERROR)

    assert len(entries(stream)) == log.MAX_PER_MINUTE + 5


def test_a_rate_limit_lets_one_a_minute_through_and_says_what_it_left_out() -> None:
    stream = to_json()
    now_s = 0.0
    limit = log.RateLimit(clock=lambda: now_s)

    for now_s in (0.0, 1.0, 59.0, 61.0):  # noqa: B007 - the clock reads it
        limit.warn("chrome.command_timeout", command="Runtime.evaluate")

    assert [entry.get("left_out", 0) for entry in entries(stream)] == [0, 2]
