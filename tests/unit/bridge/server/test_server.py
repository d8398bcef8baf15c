"""One path for every candle: number, commit, remember, publish; all of it or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from fluxcap.bridge.server.server import FeedInfo, WireServer
from fluxcap.bridge.store.store import Store
from fluxcap.schemas.codec import decode
from fluxcap.schemas.errors import AlreadyRunning, ConfigError, SequenceError, StoreFull
from fluxcap.schemas.types import (
    BackfillCandlesRequest,
    BackfillCandlesResponse,
    CandleBatch,
    CandleFlags,
    CandleRevision,
    ErrorResponse,
    FeedState,
    Gap,
    GetCursorRequest,
    GetCursorResponse,
    Message,
    StreamKey,
    StreamStatus,
    StreamStatusRequest,
    Watermark,
)
from tests.support.wire.samples import (
    ANY_PORT,
    EURUSD,
    GBPUSD,
    MINUTE,
    PlainClient,
    candle,
    candles,
    minutes,
    subscribed,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.duckdb"


@pytest.fixture
def server(path: Path) -> Iterator[WireServer]:
    with WireServer(path, ANY_PORT, ANY_PORT, clock_ms=lambda: 77) as server:
        yield server


@pytest.fixture
def client(server: WireServer) -> Iterator[PlainClient]:
    with PlainClient(server.rep_endpoint) as client:
        yield client


@pytest.fixture
def heard(server: WireServer) -> Iterator[zmq.Socket[bytes]]:
    """A subscriber of all but the heartbeats, whose subscriptions have arrived."""
    known = StreamKey("SIM", "KNOWN", "1m")
    with subscribed(server.pub_endpoint, [b"status.SIM.KNOWN.", b"candles.", b"revisions.", b"forming."]) as socket:
        server.ensure_stream(known)
        for _ in range(10_000):
            server.heartbeat(0)
            if socket.poll(10):
                break
        while socket.poll(200):
            socket.recv_multipart()
        yield socket


def next_message(socket: zmq.Socket[bytes]) -> Message:
    return decode(socket.recv_multipart()[1]).message


def test_a_published_candle_is_stored_heard_and_servable(
    server: WireServer, client: PlainClient, heard: zmq.Socket[bytes]
) -> None:
    batches = server.publish({EURUSD: candles(1, 3)})

    assert [(batch.key, batch.start_sequence) for batch in batches] == [(EURUSD, 1)]
    message = next_message(heard)
    assert isinstance(message, CandleBatch)
    assert minutes(message.candles) == [1, 2, 3]
    assert server.store.watermarks()[EURUSD] == server.watermark(EURUSD) == Watermark(3, 3 * MINUTE, 0, 1)
    assert client.ask(GetCursorRequest(EURUSD)) == GetCursorResponse(EURUSD, 3, 3 * MINUTE)


@pytest.mark.costly
def test_what_is_heard_can_be_fetched_at_once(
    server: WireServer, client: PlainClient, heard: zmq.Socket[bytes]
) -> None:
    for start in range(1, 31):
        server.publish([(EURUSD, candles(start, 1))])
        message = next_message(heard)
        assert isinstance(message, CandleBatch)
        page = client.ask(BackfillCandlesRequest(EURUSD, message.start_sequence - 1, limit=1))
        assert isinstance(page, BackfillCandlesResponse)
        assert minutes(page.candles) == [start]


@pytest.mark.costly
def test_sequences_go_on_after_a_restart(path: Path) -> None:
    with WireServer(path, ANY_PORT, ANY_PORT) as server:
        server.publish({EURUSD: candles(1, 3)})
    with WireServer(path, ANY_PORT, ANY_PORT) as server:
        assert server.publish({EURUSD: candles(4, 1)})[0].start_sequence == 4


def test_nothing_sealed_is_nothing_published(server: WireServer) -> None:
    assert server.publish({}) == []
    assert server.publish({EURUSD: []}) == []
    assert server.revise({}) == []


def test_one_bad_stream_means_no_number_is_used(server: WireServer) -> None:
    with pytest.raises(SequenceError):
        server.publish({EURUSD: candles(1, 1), GBPUSD: [candle(2), candle(1)]})

    assert server.store.watermarks() == {}
    assert server.publish({EURUSD: candles(1, 1)})[0].start_sequence == 1


@pytest.mark.costly
def test_on_a_full_disk_nothing_is_published_and_the_same_may_be_tried_again(
    server: WireServer, heard: zmq.Socket[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StoreFull("no space")

    with monkeypatch.context() as patch:
        patch.setattr(server.store, "commit", full)
        for _ in range(3):
            with pytest.raises(StoreFull):
                server.publish({EURUSD: candles(1, 2)})
    assert not heard.poll(200)
    assert EURUSD not in server.status()

    assert server.publish({EURUSD: candles(1, 2)})[0].start_sequence == 1
    assert isinstance(next_message(heard), CandleBatch)


@pytest.mark.costly
def test_a_stream_is_known_before_its_first_candle(server: WireServer, client: PlainClient) -> None:
    assert isinstance(client.ask(GetCursorRequest(EURUSD)), ErrorResponse)

    server.ensure_stream(EURUSD)
    server.ensure_stream(EURUSD)

    assert client.ask(GetCursorRequest(EURUSD)) == GetCursorResponse(EURUSD, 0, 0)


def test_a_stream_with_an_interval_that_is_none_is_refused(server: WireServer) -> None:
    with pytest.raises(ConfigError):
        server.ensure_stream(StreamKey("SIM", "EURUSD_otc", "soon"))


def test_a_heartbeat_carries_watermark_and_feed(server: WireServer, client: PlainClient) -> None:
    server.publish({EURUSD: candles(1, 3)})
    with subscribed(server.pub_endpoint, [EURUSD.topic("status")]) as socket:
        while not socket.poll(10):
            server.heartbeat(123, lambda key: FeedInfo(FeedState.LIVE, 5, 7_200_000))
        status = next_message(socket)

    expected = StreamStatus(EURUSD, 3, 3 * MINUTE, 123, 1, server.store_id, 0, FeedState.LIVE, 5, 7_200_000)
    assert status == expected
    asked = client.ask(StreamStatusRequest(EURUSD))
    assert isinstance(asked, StreamStatus)
    assert (asked.feed_state, asked.server_time_ms) == (FeedState.LIVE, 77)


def test_what_was_said_of_a_feed_holds_until_something_else_is_said(server: WireServer) -> None:
    server.ensure_stream(EURUSD)
    server.heartbeat(1, lambda key: (FeedState.LIVE, 5, 6))
    server.heartbeat(2)

    assert server.status()[EURUSD].feed_state == FeedState.LIVE


@pytest.mark.costly
def test_a_revision_is_heard_served_and_backfilled(
    server: WireServer, client: PlainClient, heard: zmq.Socket[bytes]
) -> None:
    server.publish({EURUSD: candles(1, 3)})
    next_message(heard)

    revisions = server.revise({EURUSD: [candle(2, 1.9)]})

    assert [revision.start_revision for revision in revisions] == [1]
    message = next_message(heard)
    assert isinstance(message, CandleRevision)
    assert message.sequences.tolist() == [2]
    page = client.ask(BackfillCandlesRequest(EURUSD, 1, limit=1))
    assert isinstance(page, BackfillCandlesResponse)
    assert page.candles["close"].tolist() == [1.9]
    assert page.candles["flags"].tolist() == [CandleFlags.REVISED]
    assert server.status()[EURUSD].latest_revision == 1


def test_a_candle_equal_to_the_published_one_is_no_revision(server: WireServer) -> None:
    server.publish({EURUSD: candles(1, 3)})
    assert server.revise({EURUSD: candles(1, 3)}) == []

    server.revise({EURUSD: [candle(2, 1.9)]})

    assert server.revise({EURUSD: [candle(2, 1.9)]}) == []


@pytest.mark.costly
def test_a_minute_never_published_is_revised_with_sequence_zero(server: WireServer) -> None:
    server.publish({EURUSD: [candle(1), candle(3)]})

    assert server.revise({EURUSD: [candle(2)]})[0].sequences.tolist() == [0]


def test_a_minute_older_than_the_store_keeps_is_left_alone(server: WireServer, client: PlainClient) -> None:
    server.publish({EURUSD: candles(1, 10)})
    assert server.prune(6 * MINUTE) == 5

    assert server.revise({EURUSD: [candle(2, 1.9)]}) == []
    assert server.revise({EURUSD: [candle(2, 1.9), candle(7, 1.9)]})[0].sequences.tolist() == [7]
    assert server.status()[EURUSD].first_sequence == 6
    page = client.ask(BackfillCandlesRequest(EURUSD))
    assert isinstance(page, BackfillCandlesResponse)
    assert page.start_sequence == 6


def test_a_candle_of_the_future_is_no_revision(server: WireServer) -> None:
    server.publish({EURUSD: candles(1, 3)})

    with pytest.raises(SequenceError):
        server.revise({EURUSD: [candle(4)]})


@pytest.mark.costly
def test_forming_candles_are_heard(server: WireServer, heard: zmq.Socket[bytes]) -> None:
    assert server.forming(EURUSD, candle(5), 10**9)

    assert heard.recv_multipart()[0] == EURUSD.topic("forming")


def test_gaps_are_recorded(server: WireServer) -> None:
    server.record_gaps([Gap("SIM", "", 1, 2, "silent")])

    assert server.store.reader().gaps() == [Gap("SIM", "", 1, 2, "silent")]


def test_a_store_that_was_given_stays_open(path: Path) -> None:
    with Store.open(path) as store:
        with WireServer(store, ANY_PORT, ANY_PORT) as server:
            server.publish({EURUSD: candles(1, 1)})
        assert len(store.reader().page(EURUSD).candles) == 1


@pytest.mark.costly
def test_a_server_that_cannot_bind_leaves_nothing_open(path: Path, server: WireServer, tmp_path: Path) -> None:
    other = tmp_path / "other.duckdb"
    for pub, rep in ((server.pub_endpoint, ANY_PORT), (ANY_PORT, server.rep_endpoint)):
        with pytest.raises(AlreadyRunning):
            WireServer(other, pub, rep)

    Store.open(other).close()


def test_closing_twice_does_no_harm(path: Path) -> None:
    server = WireServer(path, ANY_PORT, ANY_PORT)
    server.close()
    server.close()

    with WireServer(path, server.pub_endpoint, server.rep_endpoint):
        pass
