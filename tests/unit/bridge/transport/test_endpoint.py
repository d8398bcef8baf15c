"""What may be bound where, and what a failure means."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import zmq

from fluxcap.bridge.transport.curve import ServerCurve, new_keys
from fluxcap.bridge.transport.endpoint import ServerSocket, bind, is_loopback, require_curve_unless_loopback
from fluxcap.schemas.errors import AlreadyRunning, ConfigError


@pytest.fixture
def socket() -> Iterator[Callable[[int], ServerSocket]]:
    """A factory of sockets that end with the test."""
    context: zmq.Context[ServerSocket] = zmq.Context()
    made = []

    def make(kind: int) -> ServerSocket:
        made.append(context.socket(kind))
        return made[-1]

    yield make
    for each in made:
        each.close(linger=0)
    context.term()


@pytest.mark.parametrize(
    "endpoint", ["tcp://127.0.0.1:5556", "tcp://127.9.9.9:1", "tcp://localhost:0", "tcp://[::1]:5556", "ipc:///tmp/x"]
)
def test_loopback_needs_no_keys(endpoint: str) -> None:
    assert is_loopback(endpoint)
    require_curve_unless_loopback(endpoint, None)


@pytest.mark.parametrize(
    "endpoint",
    ["tcp://0.0.0.0:5556", "tcp://*:5556", "tcp://192.168.1.5:1", "tcp://eth0:1", "tcp://[::]:1", "junk", ""],
)
def test_what_others_can_reach_needs_keys(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="fluxcap keys"):
        require_curve_unless_loopback(endpoint, None)

    require_curve_unless_loopback(endpoint, ServerCurve(new_keys()))


def test_the_port_that_was_found_is_told(socket: Callable[[int], ServerSocket]) -> None:
    endpoint = bind(socket(zmq.PUB), "tcp://127.0.0.1:0", None)

    assert endpoint.startswith("tcp://127.0.0.1:")
    assert not endpoint.endswith(":0")


def test_an_endpoint_in_use_is_named(socket: Callable[[int], ServerSocket]) -> None:
    endpoint = bind(socket(zmq.PUB), "tcp://127.0.0.1:0", None)

    with pytest.raises(AlreadyRunning, match=endpoint):
        bind(socket(zmq.ROUTER), endpoint, None)


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:notaport", "tcp://127.0.0.1", "ipc:///nowhere/at/all/x"])
def test_an_endpoint_that_is_none_is_a_setting_to_correct(socket: Callable[[int], ServerSocket], endpoint: str) -> None:
    with pytest.raises(ConfigError):
        bind(socket(zmq.PUB), endpoint, None)
