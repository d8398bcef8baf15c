"""The thread's own matters: routes, starting, stopping, and going on after a failure."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping

import pytest
import zmq

from fluxcap.bridge.server import responder as responder_module
from fluxcap.bridge.server.requests import RequestHandler
from fluxcap.bridge.server.responder import Responder, split_route
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
