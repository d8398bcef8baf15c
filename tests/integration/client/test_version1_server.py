"""Our client and a server that knows version 1 alone: its cursor stands in for status and heartbeat."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fluxcap import (
    Candles,
    CaughtUp,
    Event,
    HealthChanged,
    HealthState,
    LiveClient,
    StreamKey,
    backfill,
    fetch_status,
)
from fluxcap.schemas.errors import WireError
from fluxcap.schemas.types import CANDLE_DTYPE, CandleArray
from tests.support.patience import PATIENCE_S
from tests.support.wire.version1_server import Version1Server

KEY = StreamKey("SIM", "EURUSD", "1s")


def candles(first: int, count: int) -> CandleArray:
    rows = np.zeros(count, CANDLE_DTYPE)
    rows["ts_ms"] = 1_000 * np.arange(first, first + count)
    rows["close"] = np.arange(first, first + count)
    return rows


@pytest.fixture
def server() -> Iterator[Version1Server]:
    with Version1Server(KEY) as running:
        running.publish(candles(1, 250))
        yield running


def until(client: LiveClient, wanted: Callable[[Event], bool]) -> list[Event]:
    seen: list[Event] = []
    for event in client.events(timeout=PATIENCE_S):
        seen.append(event)
        if wanted(event):
            return seen
    raise AssertionError(f"it did not come: {seen}")


def numbers(events: list[Event]) -> list[int]:
    return [n for e in events if isinstance(e, Candles) for n in range(e.start_sequence, e.end_sequence + 1)]


def reaches(sequence: int) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, Candles) and event.end_sequence >= sequence


def test_history_live_and_what_was_lost_arrive_in_order_once_each(server: Version1Server) -> None:
    with LiveClient(server.pub, server.rep, streams=[KEY], page_limit=100) as client:
        events = until(client, lambda event: isinstance(event, CaughtUp))
        server.publish(candles(251, 1))
        events += until(client, reaches(251))
        server.publish(candles(252, 3), lost=True)
        server.publish(candles(255, 1))
        events += until(client, reaches(255))

    assert numbers(events) == list(range(1, 256))
    assert server.refused == 1


def test_a_lost_last_batch_is_found_by_asking_for_the_cursor(server: Version1Server) -> None:
    with LiveClient(server.pub, server.rep, streams=[KEY]) as client:
        until(client, lambda event: isinstance(event, CaughtUp))
        server.publish(candles(251, 2), lost=True)
        events = until(client, reaches(252))

    assert numbers(events) == [251, 252]


def test_a_silent_version_1_server_is_not_taken_for_a_dead_one(server: Version1Server) -> None:
    with LiveClient(server.pub, server.rep, streams=[KEY]) as client:
        until(client, lambda event: isinstance(event, CaughtUp))
        told = [e.health for e in client.events(timeout=3.0) if isinstance(e, HealthChanged)]
        now = client.health(KEY)

    assert [health.reason for health in told if health.state is HealthState.STALLED] == []
    assert (now.state, now.reason) == (HealthState.SUBSCRIBED, "no update yet")


def test_a_restarted_client_goes_on_where_it_stopped(server: Version1Server, tmp_path: Path) -> None:
    with LiveClient(server.pub, server.rep, tmp_path, streams=[KEY]) as client:
        until(client, lambda event: isinstance(event, CaughtUp))
    server.publish(candles(251, 5))

    with LiveClient(server.pub, server.rep, tmp_path, streams=[KEY]) as client:
        events = until(client, reaches(255))
        kept, _ = client.candles(KEY)

    assert numbers(events) == [251, 252, 253, 254, 255]
    assert kept.tolist() == list(range(1, 256))


def test_one_shot_questions_work_too(server: Version1Server) -> None:
    assert fetch_status(KEY, server.rep).latest_sequence == 250
    assert backfill(KEY, server.rep, limit=7)["close"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    with pytest.raises(WireError, match="404"):
        fetch_status(StreamKey("SIM", "NOBODY", "1s"), server.rep)
