"""The server on real sockets, against clients that are plain, impatient, slow, dead, rude or strangers."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import zmq

from fluxcap.bridge.client.events import CaughtUp, Event, StoreReplaced
from fluxcap.bridge.client.live import LiveClient
from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.transport.curve import ClientCurve, ServerCurve, new_keys
from fluxcap.schemas.codec import decode, encode
from fluxcap.schemas.types import (
    BackfillCandlesRequest,
    BackfillCandlesResponse,
    CandleBatch,
    ErrorResponse,
    GetCursorRequest,
    GetCursorResponse,
    HealthRequest,
    HealthResponse,
    StreamKey,
)
from tests.support.patience import PATIENCE_MS, PATIENCE_S
from tests.support.wire.samples import ANY_PORT, EURUSD, MINUTE, PlainClient, candle_rows, candles, minutes, subscribed
from tests.support.wire.version1_client import DesktopStream, Version1Client


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WireServer]:
    """Serves the minutes 1 to 10 000 of EURUSD."""
    with WireServer(tmp_path / "store.duckdb", ANY_PORT, ANY_PORT) as server:
        server.publish({EURUSD: candle_rows(1, 10_000)})
        yield server


def port_of(endpoint: str) -> int:
    return int(endpoint.rpartition(":")[2])


def test_a_plain_req_socket_pages_through_everything(server: WireServer) -> None:
    server.publish({EURUSD: candles(10_001, 3)})
    held: list[int] = []
    with PlainClient(server.rep_endpoint) as client:
        more = True
        while more:
            page = client.ask(BackfillCandlesRequest(EURUSD, len(held), limit=4_000))
            assert isinstance(page, BackfillCandlesResponse)
            held += minutes(page.candles)
            assert page.next_sequence == len(held) + 1
            more = page.has_more

    assert held == list(range(1, 10_004))


def test_a_version_1_client_asks_once_for_each_live_batch_while_the_beginning_of_its_gap_is_deleted(
    server: WireServer,
) -> None:
    with Version1Client(server.pub_endpoint, server.rep_endpoint) as client:
        stream = DesktopStream(client.ask, EURUSD)
        stream.start()
        server.publish({EURUSD: candle_rows(10_001, 5)})  # lost on the way
        server.prune(10_004 * MINUTE)

        for minute in range(10_006, 10_010):
            for batch in server.publish({EURUSD: candle_rows(minute, 1)}):
                stream.on_batch(batch)
        again = DesktopStream(client.ask, EURUSD)
        again.start()

    assert stream.asked == [1, 1, 1, 1]
    assert {(error.code, "from sequence 10004 on" in error.message) for error in stream.errors} == {(404, True)}
    assert stream.sequences == list(range(1, 10_001))
    assert again.sequences == list(range(10_004, 10_010)), "a start takes what is kept"


def test_a_version_1_client_fills_a_gap_that_is_still_kept(server: WireServer) -> None:
    with Version1Client(server.pub_endpoint, server.rep_endpoint) as client:
        stream = DesktopStream(client.ask, EURUSD)
        stream.start()
        server.publish({EURUSD: candle_rows(10_001, 5)})  # lost on the way
        server.prune(9_000 * MINUTE)
        for batch in server.publish({EURUSD: candle_rows(10_006, 1)}):
            stream.on_batch(batch)

    assert (stream.asked, stream.sequences) == ([1], list(range(1, 10_007)))


@pytest.mark.parametrize("prefix", [[], [b""], [b"hop", b""]], ids=["bare", "as REQ does", "through a proxy"])
def test_a_dealer_gets_one_answer_each_in_order_along_its_route(server: WireServer, prefix: list[bytes]) -> None:
    with PlainClient(server.rep_endpoint, zmq.DEALER) as client:
        for number in range(200):
            client.socket.send_multipart([*prefix, encode(HealthRequest(), f"{number}")])
        answers = [client.socket.recv_multipart() for _ in range(200)]
        assert not client.answers_within(50)

    assert {tuple(answer[:-1]) for answer in answers} == {tuple(prefix)}
    assert [decode(answer[-1]).correlation_id for answer in answers] == [f"{number}" for number in range(200)]


def test_garbage_gets_one_answer_each_and_hurts_nobody(server: WireServer) -> None:
    rng = random.Random(7)
    sent = 0
    with PlainClient(server.rep_endpoint, zmq.DEALER) as rude, PlainClient(server.rep_endpoint) as polite:
        for _ in range(500):
            rude.socket.send_multipart([rng.randbytes(rng.choice([0, 1, 8, 200])) for _ in range(rng.randint(1, 4))])
            sent += 1
        rude.socket.send(bytes(1_000_000))
        for _ in range(sent + 1):
            message = decode(rude.socket.recv_multipart()[-1]).message
            assert isinstance(message, ErrorResponse)
        assert message.code == 413
        assert polite.ask(HealthRequest()) == HealthResponse()

    assert server.counters.get("failures", 0) == 0


def test_strangers_that_speak_no_zeromq_hurt_nobody(server: WireServer) -> None:
    for endpoint in (server.rep_endpoint, server.pub_endpoint):
        for noise in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(100), random.Random(1).randbytes(5_000)):
            with socket.create_connection(("127.0.0.1", port_of(endpoint)), timeout=PATIENCE_S) as stranger:
                stranger.sendall(noise)

    with PlainClient(server.rep_endpoint) as client:
        assert client.ask(HealthRequest()) == HealthResponse()


def test_eight_clients_at_once_each_get_their_own_answers(server: WireServer) -> None:
    def ask_many(number: int) -> bool:
        rng = random.Random(number)
        with PlainClient(server.rep_endpoint) as client:
            for _ in range(100):
                after, limit = rng.randrange(9_900), rng.randint(1, 100)
                page = client.ask(BackfillCandlesRequest(EURUSD, after, limit=limit), f"{number}")
                assert isinstance(page, BackfillCandlesResponse)
                if minutes(page.candles) != list(range(after + 1, after + limit + 1)):
                    return False
        return True

    with ThreadPoolExecutor(8) as clients:
        assert all(clients.map(ask_many, range(8)))


def test_a_client_that_asks_without_reading_starves_nobody_and_loses_nothing(server: WireServer) -> None:
    asked = 300  # full pages: 240 MB, far more than all buffers on the way hold
    with (
        PlainClient(server.rep_endpoint, zmq.DEALER, receive_buffer=65_536) as greedy,
        PlainClient(server.rep_endpoint) as modest,
    ):
        for number in range(asked):
            greedy.socket.send(encode(BackfillCandlesRequest(EURUSD), f"{number}"))
        while not server.counters.get("held_back"):
            assert modest.ask(HealthRequest()) == HealthResponse()
        for _ in range(200):
            assert modest.ask(GetCursorRequest(EURUSD)) == GetCursorResponse(EURUSD, 10_000, 10_000 * MINUTE)

        answers = [decode(greedy.socket.recv()).correlation_id for _ in range(asked)]

    assert answers == [f"{number}" for number in range(asked)]


def test_clients_that_die_before_their_answer_leave_nothing_behind(server: WireServer) -> None:
    for _ in range(30):
        with PlainClient(server.rep_endpoint, zmq.DEALER, receive_buffer=4_096) as dying:
            for _ in range(20):
                dying.socket.send(encode(BackfillCandlesRequest(EURUSD)))
            assert dying.answers_within(PATIENCE_MS)

    with PlainClient(server.rep_endpoint) as client:
        assert client.ask(HealthRequest()) == HealthResponse()
        while len(server._responder._queue):
            client.ask(HealthRequest())  # each round forgets those that are gone


def heard_all(sub: zmq.Socket[bytes], count: int) -> list[int]:
    held: list[int] = []
    while len(held) < count:
        message = decode(sub.recv_multipart()[1]).message
        assert isinstance(message, CandleBatch)
        held += minutes(message.candles)
    return held


def wait_until_subscribed(server: WireServer, key: StreamKey, sub: zmq.Socket[bytes]) -> None:
    server.ensure_stream(key)
    while not sub.poll(20):
        server.heartbeat(0)
    while sub.poll(100):
        sub.recv_multipart()


def test_a_subscriber_that_never_reads_costs_the_others_nothing(server: WireServer) -> None:
    known = StreamKey("SIM", "KNOWN", "1m")
    topics = [EURUSD.topic(), known.topic("status")]
    with (
        subscribed(server.pub_endpoint, topics, receive_buffer=4_096) as stuck,
        subscribed(server.pub_endpoint, topics) as reading,
    ):
        wait_until_subscribed(server, known, reading)
        wait_until_subscribed(server, known, stuck)
        with ThreadPoolExecutor(1) as thread:
            held = thread.submit(heard_all, reading, 100_000)
            for start in range(10_001, 110_001, 2_500):  # 8 MB: more than the kernel takes for the stuck one
                server.publish({EURUSD: candle_rows(start, 2_500)})
            assert held.result() == list(range(10_001, 110_001))


def test_a_client_reads_pages_while_candles_are_committed(server: WireServer) -> None:
    stop = threading.Event()

    def read() -> list[str]:
        problems = []
        with PlainClient(server.rep_endpoint) as client:
            while not stop.is_set():
                cursor = client.ask(GetCursorRequest(EURUSD))
                assert isinstance(cursor, GetCursorResponse)
                page = client.ask(BackfillCandlesRequest(EURUSD, cursor.latest_sequence - 50))
                assert isinstance(page, BackfillCandlesResponse)
                held = minutes(page.candles)
                first = cursor.latest_sequence - 49
                if held != list(range(first, first + len(held))) or len(held) < 50:
                    problems.append(f"{held[:1]} to {held[-1:]} at {cursor.latest_sequence}")
        return problems

    with ThreadPoolExecutor(1) as thread:
        problems = thread.submit(read)
        for minute in range(10_001, 10_201):
            server.publish({EURUSD: candles(minute, 1)})
        stop.set()
        assert problems.result() == []


SERVER_KEYS, DESK_KEYS, STRANGERS_KEYS = new_keys(), new_keys(), new_keys()
ANYBODY = ServerCurve(SERVER_KEYS)
ONLY_DESK = ServerCurve(SERVER_KEYS, frozenset([DESK_KEYS.public]))
DESK = ClientCurve(DESK_KEYS, SERVER_KEYS.public)
STRANGER = ClientCurve(STRANGERS_KEYS, SERVER_KEYS.public)
MISTAKEN = ClientCurve(DESK_KEYS, STRANGERS_KEYS.public)


@pytest.mark.parametrize(
    ("server_curve", "client_curve"),
    [(ANYBODY, DESK), (ANYBODY, STRANGER), (ONLY_DESK, DESK), (None, None)],
    ids=["any client", "any other client", "on the list", "no keys at all"],
)
def test_clients_with_the_right_keys_are_served_on_both_sockets(
    tmp_path: Path, server_curve: ServerCurve | None, client_curve: ClientCurve | None
) -> None:
    with WireServer(tmp_path / "store.duckdb", ANY_PORT, ANY_PORT, curve=server_curve) as server:
        server.ensure_stream(EURUSD)
        with PlainClient(server.rep_endpoint, curve=client_curve) as client:
            assert client.ask(GetCursorRequest(EURUSD)) == GetCursorResponse(EURUSD, 0, 0)
        with subscribed(server.pub_endpoint, curve=client_curve) as sub:
            while not sub.poll(20):
                server.heartbeat(0)


@pytest.mark.parametrize(
    ("server_curve", "client_curve"),
    [(ANYBODY, None), (ANYBODY, MISTAKEN), (ONLY_DESK, STRANGER), (ONLY_DESK, None), (None, DESK)],
    ids=["no keys", "another server's key", "not on the list", "no keys, list", "keys where there are none"],
)
def test_clients_without_the_right_keys_hear_nothing(
    tmp_path: Path, server_curve: ServerCurve | None, client_curve: ClientCurve | None
) -> None:
    with WireServer(tmp_path / "store.duckdb", ANY_PORT, ANY_PORT, curve=server_curve) as server:
        server.ensure_stream(EURUSD)
        with (
            PlainClient(server.rep_endpoint, curve=client_curve) as client,
            subscribed(server.pub_endpoint, curve=client_curve) as sub,
        ):
            with suppress(zmq.Again):  # refused before it could send: there is nobody to send to
                client.socket.send(encode(HealthRequest()), zmq.DONTWAIT)
            for _ in range(20):
                server.heartbeat(0)
                assert not sub.poll(20)
            assert not client.answers_within(0)
        assert server.counters.get("requests", 0) == 0


def test_a_client_notices_a_backup_that_went_on_under_the_same_identity(tmp_path: Path) -> None:
    """Put back without `fluxcap restore`, on a machine that knows nothing of the store: the times of candles tell."""
    key, path = EURUSD, tmp_path / "store.duckdb"

    def heard(until: int) -> list[Event]:
        with (
            WireServer(path, ANY_PORT, ANY_PORT) as server,
            LiveClient(server.pub_endpoint, server.rep_endpoint, tmp_path / "client", streams=[key]) as client,
        ):
            events = []
            for event in client.events(timeout=60):
                events.append(event)
                if isinstance(event, CaughtUp):
                    break
            assert event == CaughtUp(key, until)
            sequences, candles = client.candles(key)
            page = server.store.reader().page(key)
            assert sequences.tolist() == list(range(1, until + 1))
            assert (candles == page.candles).all()
            return events

    with WireServer(path, ANY_PORT, ANY_PORT) as server:
        server.publish({key: candle_rows(1, 5)})
    backup = path.read_bytes()
    with WireServer(path, ANY_PORT, ANY_PORT) as server:
        server.publish({key: candle_rows(6, 5)})
    heard(until=10)

    path.write_bytes(backup)
    path.with_name("store.duckdb.mark").unlink()
    with WireServer(path, ANY_PORT, ANY_PORT) as server:
        server.publish({key: candle_rows(106, 7)})
    events = heard(until=12)

    (replaced,) = [event for event in events if isinstance(event, StoreReplaced)]
    assert replaced.reason == "the server's store has other candles under the same sequences"
