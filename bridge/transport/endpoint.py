"""Binding a server's socket: what may be bound where, and what a failure means."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import zmq

from fluxcap.bridge.transport.addresses import is_ipv6, require_bindable, without_brackets
from fluxcap.schemas.errors import AlreadyRunning, ConfigError

if TYPE_CHECKING:
    from fluxcap.bridge.transport.curve import ServerCurve

ServerSocket = zmq.Socket[bytes]


def is_loopback(endpoint: str) -> bool:
    """Return whether only this machine can reach the endpoint (``tcp://127.…``, ``tcp://[::1]…``, ``ipc://``, ``inproc://``).

    A host name other than ``localhost`` counts as not loopback, whatever it resolves to today.
    """
    transport, _, rest = endpoint.partition("://")
    if transport in ("ipc", "inproc"):
        return True
    host = without_brackets(rest.rpartition(":")[0])
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_curve_unless_loopback(endpoint: str, curve: ServerCurve | None) -> None:
    """Raises ConfigError when an endpoint that other machines can reach has no keys."""
    if curve is None and not is_loopback(endpoint):
        raise ConfigError(
            f"{endpoint} can be reached from other machines, which needs keys: make them with `fluxcap keys keys` and "
            "add `--curve keys`, or bind to 127.0.0.1."
        )


def bind(socket: ServerSocket, endpoint: str, curve: ServerCurve | None) -> str:
    """Bind a socket, with CURVE if there are keys. Returns the endpoint as bound (with the port, if 0 was asked).

    Raises AlreadyRunning when the address is in use, ConfigError when it cannot be bound or needs keys.
    """
    require_bindable(endpoint)
    require_curve_unless_loopback(endpoint, curve)
    if curve is not None:
        curve.secure(socket)
    socket.setsockopt(zmq.IPV6, int(is_ipv6(endpoint)))
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        if error.errno == zmq.EADDRINUSE:
            raise AlreadyRunning(
                f"{endpoint} is in use, most likely by another fluxcap. Stop it, or bind to another port."
            ) from error
        raise ConfigError(f"{endpoint} cannot be bound: {error.strerror}.") from error
    bound = socket.getsockopt(zmq.LAST_ENDPOINT)
    return bound.rstrip(b"\0").decode() if isinstance(bound, bytes) else endpoint


def enable_keepalive(socket: ServerSocket) -> None:
    """Let the kernel find peers that vanished without a word, within about two minutes.

    ZMTP's own heartbeats would be quicker, but the pure-Rust clients that exist do not answer them.
    """
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 60)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 15)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 4)
