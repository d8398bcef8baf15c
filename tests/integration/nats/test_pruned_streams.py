"""A server that forgets old candles, and clients that were behind: told what they lost, given all the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxcap import Candles, CaughtUp, Event, Gap, LiveClient, Revision, StartFrom, backfill
from fluxcap.bridge.client.fetch import candle_pages, revision_pages
from fluxcap.bridge.server.server import WireServer
from fluxcap.schemas.types import Candle
from tests.support.patience import PATIENCE_S
from tests.support.wire.samples import ANY_PORT, EURUSD, MINUTE, candle, candles


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WireServer]:
    """Twenty candles, of which the 3rd, the 4th and the 15th were corrected one after the other."""
    with WireServer(tmp_path / "server.duckdb", ANY_PORT, ANY_PORT) as running:
        running.publish({EURUSD: candles(1, 20)})
        for minute in (3, 4, 15):
            running.revise({EURUSD: [candle(minute, 1.75)]})
        yield running


def until_caught_up(client: LiveClient, to_sequence: int) -> list[Event]:
    seen: list[Event] = []
    for event in client.events(timeout=PATIENCE_S):
        seen.append(event)
        if isinstance(event, CaughtUp) and event.sequence == to_sequence:
            return seen
    raise AssertionError(f"it never caught up: {seen}")


def numbers(events: list[Event]) -> list[int]:
    return [n for e in events if isinstance(e, Candles) for n in range(e.start_sequence, e.end_sequence + 1)]


def gaps(events: list[Event]) -> list[tuple[int, int]]:
    return [(e.from_sequence, e.to_sequence) for e in events if isinstance(e, Gap)]


def revisions(events: list[Event]) -> list[tuple[int, list[int]]]:
    return [(e.start_revision, e.sequences.tolist()) for e in events if isinstance(e, Revision)]


def test_a_client_behind_the_oldest_candle_is_told_the_gap_and_goes_on(server: WireServer, tmp_path: Path) -> None:
    where = server.pub_endpoint, server.rep_endpoint, tmp_path / "client"
    with LiveClient(*where, streams=[EURUSD]) as client:
        until_caught_up(client, 20)
    server.publish({EURUSD: candles(21, 30)})
    server.prune(41 * MINUTE)

    with LiveClient(*where, streams=[EURUSD]) as client:
        events = until_caught_up(client, 50)
        kept, _ = client.candles(EURUSD)

    assert gaps(events) == [(21, 40)]
    assert numbers(events) == list(range(41, 51))
    assert kept.tolist() == [*range(1, 21), *range(41, 51)]


def test_a_client_without_a_past_begins_at_the_oldest_kept_and_misses_nothing(server: WireServer) -> None:
    server.prune(11 * MINUTE)

    with LiveClient(server.pub_endpoint, server.rep_endpoint, streams=[EURUSD]) as client:
        events = until_caught_up(client, 20)

    assert gaps(events) == []
    assert numbers(events) == list(range(11, 21))


def test_revisions_may_begin_later_than_asked(server: WireServer) -> None:
    server.prune(11 * MINUTE)

    pages = list(revision_pages(EURUSD, server.rep_endpoint))
    with LiveClient(
        server.pub_endpoint, server.rep_endpoint, streams=[EURUSD], start_from=StartFrom.EARLIEST
    ) as client:
        events = until_caught_up(client, 20)
        cursor = client.cursor(EURUSD)

    assert [(page.start_revision, page.sequences.tolist()) for page in pages] == [(3, [15])]
    assert revisions(events) == [(3, [15])]
    assert cursor is not None
    assert (cursor.latest_sequence, cursor.latest_revision) == (20, 3)


def test_a_client_behind_the_oldest_revision_gets_those_that_are_kept(server: WireServer, tmp_path: Path) -> None:
    where = server.pub_endpoint, server.rep_endpoint, tmp_path / "client"
    with LiveClient(*where, streams=[EURUSD]) as client:
        until_caught_up(client, 20)
    for minute in (6, 7, 18):
        server.revise({EURUSD: [candle(minute, 1.25)]})
    server.prune(16 * MINUTE)

    with LiveClient(*where, streams=[EURUSD]) as client:
        events = until_caught_up(client, 20)
        numbered, table = client.candles(EURUSD)

    assert revisions(events) == [(6, [18])]
    assert dict(zip(numbered.tolist(), table["close"].tolist(), strict=True))[18] == 1.25


def test_a_backfill_passes_over_what_is_forgotten_while_it_runs(
    server: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxcap.bridge.client.fetch.PAGE_LIMIT", 8)
    pages = []

    for page, total in candle_pages(EURUSD, server.rep_endpoint):
        pages.append((page.start_sequence, page.next_sequence, len(page.candles), total))
        if len(pages) == 1:
            server.prune(17 * MINUTE)
            server.publish({EURUSD: candles(21, 30)})

    # Those after the 20th came after the call.
    assert pages == [(1, 9, 8, 20), (17, 21, 4, 12)]


def test_numbers_go_on_after_the_whole_past_was_forgotten(server: WireServer) -> None:
    server.prune(10_000 * MINUTE)
    server.publish({EURUSD: [Candle(21 * MINUTE, 1.0, 1.0, 1.0, 1.0)]})

    rows = backfill(EURUSD, server.rep_endpoint)

    assert server.status()[EURUSD].first_sequence == 20
    assert (rows["ts_ms"] // MINUTE).tolist() == [20, 21]
