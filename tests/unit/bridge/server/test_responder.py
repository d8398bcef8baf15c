"""Routes, fair turns, starting, stopping, and going on after a failure."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping

import pytest
import zmq

from fluxcap.bridge.server import responder as responder_module
from fluxcap.bridge.server.requests import RequestHandler
from fluxcap.bridge.server.responder import BLOCKED_MAX_NS, FairQueue, Request, Responder, split_route
from fluxcap.schemas.candles import CandlePage, RevisionPage
from fluxcap.schemas.codec import decode, encode
from fluxcap.schemas.errors import AlreadyRunning, ConfigError
from fluxcap.schemas.types import HealthRequest, HealthResponse, StreamKey, StreamStatus
from tests.support.wire.samples import ANY_PORT, PlainClient


@pytest.mark.parametrize(
    ("frames", "route", "payload"),
    [
        ([b"id", b"", b"p"], [b"id", b""], [b"p"]),
        ([b"id", b"p"], [b"id"], [b"p"]),
        ([b"id", b"hop", b"", b"p"], [b"id", b"hop", b""], [b"p"]),
        ([b"id", b"", b""], [b"id", b""], [b""]),
        ([b"id", b""], [b"id"], [b""]),
        ([b"id"], [b"id"], []),
        ([b"id", b"", b"p", b"q"], [b"id", b""], [b"p", b"q"]),
        ([b"id", b"p", b"q"], [b"id"], [b"p", b"q"]),
        ([b"id", b"", b"", b"p"], [b"id", b""], [b"", b"p"]),
    ],
)
def test_the_answer_goes_back_along_the_requests_route(
    frames: list[bytes], route: list[bytes], payload: list[bytes]
) -> None:
    assert split_route(frames) == (route, payload)


class NoPages:
    def page(self, key: StreamKey, after_sequence: int | None, end_ts_ms: int | None, limit: int) -> CandlePage:
        raise NotImplementedError

    def revisions(self, key: StreamKey, after_revision: int | None, limit: int) -> RevisionPage:
        raise NotImplementedError


def no_streams() -> Mapping[StreamKey, StreamStatus]:
    return {}


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield context
    context.term()


@pytest.fixture
def answers() -> RequestHandler:
    return RequestHandler(NoPages(), no_streams, lambda: 0)


def test_it_answers_until_it_is_stopped(context: zmq.Context[zmq.Socket[bytes]], answers: RequestHandler) -> None:
    responder = Responder(context, ANY_PORT, answers).start()
    with PlainClient(responder.endpoint) as client:
        assert client.ask(HealthRequest()) == HealthResponse()
    responder.stop()
    responder.stop()

    assert "responder" not in {thread.name for thread in threading.enumerate()}
    assert responder.counters == {"requests": 1, "answers": 1}


def test_stopping_what_never_started_closes_the_socket(answers: RequestHandler) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    Responder(context, ANY_PORT, answers).stop()

    context.term()  # waits for ever while a socket is open


def test_an_endpoint_in_use_names_itself(context: zmq.Context[zmq.Socket[bytes]], answers: RequestHandler) -> None:
    first = Responder(context, ANY_PORT, answers)

    with pytest.raises(AlreadyRunning, match=first.endpoint):
        Responder(context, first.endpoint, answers)
    first.stop()


def test_beyond_loopback_keys_are_needed(context: zmq.Context[zmq.Socket[bytes]], answers: RequestHandler) -> None:
    with pytest.raises(ConfigError, match="keys"):
        Responder(context, "tcp://0.0.0.0:0", answers)


def test_the_thread_goes_on_after_a_failure_of_its_own(
    context: zmq.Context[zmq.Socket[bytes]], answers: RequestHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = split_route, iter([True, False])

    def failing_once(frames: list[bytes]) -> tuple[list[bytes], list[bytes]]:
        if next(failures, False):
            raise ZeroDivisionError
        return real(frames)

    monkeypatch.setattr(responder_module, "split_route", failing_once)
    responder = Responder(context, ANY_PORT, answers).start()
    with PlainClient(responder.endpoint, zmq.DEALER) as client:
        client.socket.send(encode(HealthRequest(), "lost"))
        client.socket.send(encode(HealthRequest(), "answered"))
        assert decode(client.socket.recv()).correlation_id == "answered"
    responder.stop()

    assert responder.counters["failures"] == 1


# --- turns are fair, and a client that does not read is nobody else's trouble ---


def request(name: bytes, number: int = 0) -> Request:
    return [name], [b"%d" % number]


def served_order(queue: FairQueue, turns: int) -> list[bytes]:
    order = []
    for _ in range(turns):
        turn = queue.next()
        if turn is None:
            break
        order.append(turn[0])
        queue.served(turn[0])
    return order


def test_requests_of_one_client_keep_their_order() -> None:
    queue = FairQueue()
    for number in range(5):
        queue.add(b"a", request(b"a", number))

    payloads = []
    while (turn := queue.next()) is not None:
        payloads.append(turn[1][1][0])
        queue.served(turn[0])

    assert payloads == [b"0", b"1", b"2", b"3", b"4"]
    assert len(queue) == 0


def test_an_impatient_client_waits_its_turn_like_the_others() -> None:
    queue = FairQueue()
    for number in range(1000):
        queue.add(b"greedy", request(b"greedy", number))
    queue.add(b"modest", request(b"modest"))

    assert b"modest" in served_order(queue, 2)


def test_three_clients_take_turns() -> None:
    queue = FairQueue()
    for _ in range(3):
        for name in (b"a", b"b", b"c"):
            queue.add(name, request(name))

    assert served_order(queue, 9) == [b"a", b"b", b"c"] * 3


def test_a_client_that_is_held_back_passes_its_turns_and_keeps_its_place() -> None:
    queue = FairQueue()
    for name in (b"stuck", b"stuck", b"other"):
        queue.add(name, request(name))
    turn = queue.next()
    assert turn is not None
    queue.block(b"stuck", [b"stuck", b"answer"], 0)

    assert served_order(queue, 5) == [b"other"]
    assert queue.blocked == [b"stuck"]
    assert queue.pending_reply(b"stuck") == [b"stuck", b"answer"]
    queue.served(b"stuck")
    assert served_order(queue, 5) == [b"stuck"]


def test_requests_of_a_client_held_back_wait_behind_its_answer() -> None:
    queue = FairQueue()
    queue.add(b"stuck", request(b"stuck"))
    queue.next()
    queue.block(b"stuck", [b"answer"], 0)

    assert queue.add(b"stuck", request(b"stuck"))

    assert not queue.ready
    assert queue.next() is None


def test_a_client_held_back_too_long_is_overdue() -> None:
    queue = FairQueue()
    queue.add(b"stuck", request(b"stuck"))
    queue.next()
    queue.block(b"stuck", [b"answer"], 1_000)
    queue.block(b"stuck", [b"answer"], 2_000)  # tried again: the clock does not start anew

    assert queue.overdue(1_000 + BLOCKED_MAX_NS) == []
    assert queue.overdue(1_001 + BLOCKED_MAX_NS) == [b"stuck"]


def test_forgetting_says_how_many_requests_stay_unanswered() -> None:
    queue = FairQueue()
    for _ in range(3):
        queue.add(b"gone", request(b"gone"))
    queue.next()

    assert queue.drop(b"gone") == 3
    assert queue.drop(b"gone") == 0
    assert queue.next() is None


def test_a_line_that_grows_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responder_module, "MAX_WAITING_BYTES", 1_000)
    queue = FairQueue()
    taken = sum(queue.add(b"greedy", request(b"greedy", n)) for n in range(100))

    assert 5 < taken < 20
    assert queue.add(b"modest", request(b"modest"))
    assert len(served_order(queue, 1_000)) == taken + 1
    assert queue.add(b"greedy", request(b"greedy"))
