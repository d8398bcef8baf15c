"""fluxcap.bridge.client.fetch: how one question is opened, answered and closed."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from fluxcap.bridge.client import options
from fluxcap.bridge.client.fetch import list_streams
from fluxcap.bridge.client.options import Via, connect_requests
from fluxcap.bridge.transport.base import Connected, ReplyReceived, TransportEvent
from fluxcap.schemas.errors import CodecError, ConfigError
from fluxcap.schemas.types import HealthResponse, ListStreamsResponse, Message


class AnsweringTransport:
    """Connects at once and gives every request the same answer, or takes no address."""

    def __init__(self, answer: Message | None = None) -> None:
        self._answer = answer
        self._events: list[TransportEvent] = []
        self.connects: list[tuple[str | None, str]] = []
        self.closed = False

    def connect(self, pub: str | None, rep: str) -> None:
        if self._answer is None:
            raise ConfigError("no address")
        self.connects.append((pub, rep))
        self._events.append(Connected())

    def subscribe(self, topics: Iterable[bytes]) -> None: ...

    def unsubscribe(self, topics: Iterable[bytes]) -> None: ...

    def request(self, request_id: int, message: Message, timeout_ns: int) -> None:
        assert self._answer is not None
        self._events.append(ReplyReceived(request_id, self._answer))

    def receive(self, timeout_ms: int) -> list[TransportEvent]:
        events, self._events = self._events, []
        return events

    def wake(self) -> None: ...

    def close(self) -> None:
        self.closed = True


def use(monkeypatch: pytest.MonkeyPatch, transport: AnsweringTransport) -> AnsweringTransport:
    monkeypatch.setattr(options, "open_transport", lambda via, curve: transport)
    return transport


def test_the_connection_is_closed_when_the_answer_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = use(monkeypatch, AnsweringTransport(ListStreamsResponse(())))

    assert list_streams("tcp://a:1") == ()
    assert (transport.connects, transport.closed) == ([(None, "tcp://a:1")], True)


def test_an_answer_of_another_kind_than_asked_for_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = use(monkeypatch, AnsweringTransport(HealthResponse()))

    with pytest.raises(CodecError, match="answered with HealthResponse in place of ListStreamsResponse"):
        list_streams("tcp://a:1")
    assert transport.closed


def test_a_transport_that_cannot_connect_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = use(monkeypatch, AnsweringTransport())

    with pytest.raises(ConfigError, match="no address"):
        list_streams("nowhere")
    assert transport.closed


@pytest.mark.parametrize(
    ("via", "timeout", "server", "timeout_ns"),
    [
        (None, 2.0, "tcp://a:1", 2_000_000_000),
        ("nats://b:4222", 2.0, "nats://b:4222", 10_000_000_000),
        (Via("nats://b:4222"), 30.0, "nats://b:4222", 30_000_000_000),
    ],
)
def test_a_request_goes_to_the_server_or_to_the_log_which_gets_ten_seconds_at_least(
    monkeypatch: pytest.MonkeyPatch, via: Via | str | None, timeout: float, server: str, timeout_ns: int
) -> None:
    transport = use(monkeypatch, AnsweringTransport(HealthResponse()))

    line = connect_requests("tcp://a:1", timeout, None, via)

    assert (line.server, line.timeout_ns, transport.connects) == (server, timeout_ns, [(None, server)])
