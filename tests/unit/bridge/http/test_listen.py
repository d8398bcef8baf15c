"""A port to serve on."""

from __future__ import annotations

import errno
import socket

import pytest

from fluxcap.bridge.http.listen import listening_socket


def test_a_free_port_is_picked_and_takes_connections() -> None:
    with listening_socket("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname(), timeout=5):
        assert listener.getsockname()[1] > 0


def test_a_port_that_somebody_listens_on_is_refused_as_in_use() -> None:
    with listening_socket("127.0.0.1", 0) as listener, pytest.raises(OSError, match="in use") as caught:
        listening_socket("127.0.0.1", listener.getsockname()[1])

    assert caught.value.errno == errno.EADDRINUSE


def test_a_port_can_be_taken_again_at_once() -> None:
    with listening_socket("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]

    with listening_socket("127.0.0.1", port) as again:
        assert again.getsockname()[1] == port


@pytest.mark.parametrize(("host", "family"), [("::1", socket.AF_INET6), ("localhost", socket.AF_INET)])
def test_ipv6_is_listened_on_where_it_is_named(host: str, family: socket.AddressFamily) -> None:
    with listening_socket(host, 0) as listener:
        assert listener.family == family


def test_a_peer_that_vanished_is_noticed() -> None:
    with (
        listening_socket("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname(), timeout=5),
        listener.accept()[0] as taken,
    ):
        assert taken.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
