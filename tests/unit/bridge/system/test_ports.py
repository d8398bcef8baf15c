"""A port to serve on, and who has it."""

from __future__ import annotations

import errno
import os
import socket
import sys

import pytest

from fluxcap.bridge.system.ports import is_in_use, listening_socket, process_on_port
from tests.support.patience import PATIENCE_S
from tests.support.systems import not_by_wine

OWNED = not_by_wine("it does not tell which process has a port")


def test_a_free_port_is_picked_and_takes_connections() -> None:
    with listening_socket("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname(), timeout=5):
        assert listener.getsockname()[1] > 0


def test_a_port_that_somebody_listens_on_is_refused_as_in_use() -> None:
    with listening_socket("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(OSError) as caught:  # noqa: PT011 - its words are the system's
            listening_socket("127.0.0.1", port)

        assert is_in_use(caught.value, port)


def test_nobody_can_share_a_port_that_is_listened_on() -> None:
    """Windows would let him who asks for it by SO_REUSEADDR, but for SO_EXCLUSIVEADDRUSE."""
    with listening_socket("127.0.0.1", 0) as listener, socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError):  # noqa: PT011 - its words are the system's
            other.bind(listener.getsockname())


def test_a_port_that_nobody_has_but_windows_itself_is_not_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    refused, is_windows = OSError(errno.EACCES, "reserved"), sys.platform == "win32"
    with listening_socket("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        elsewhere = is_in_use(refused, port)
        monkeypatch.setattr(sys, "platform", "win32")
        taken = is_in_use(refused, port)
    free = is_in_use(refused, port)

    assert (elsewhere, taken, free) == (is_windows, True, False)


def test_a_port_can_be_taken_again_at_once() -> None:
    with listening_socket("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]

    with listening_socket("127.0.0.1", port) as again:
        assert again.getsockname()[1] == port


@pytest.mark.parametrize(("host", "family"), [("::1", socket.AF_INET6), ("localhost", socket.AF_INET)])
def test_ipv6_is_listened_on_where_it_is_named(host: str, family: socket.AddressFamily) -> None:
    with listening_socket(host, 0) as listener:
        assert listener.family == family


@pytest.mark.parametrize("host", ["::", "::0"])
def test_all_addresses_are_those_of_both_families(host: str) -> None:
    with listening_socket(host, 0) as listener:
        for address in ("::1", "127.0.0.1"):
            socket.create_connection((address, listener.getsockname()[1]), timeout=PATIENCE_S).close()

        assert listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 0


def test_a_peer_that_vanished_is_noticed() -> None:
    with (
        listening_socket("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname(), timeout=5),
        listener.accept()[0] as taken,
    ):
        assert taken.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


@OWNED
def test_the_process_that_listens_is_named() -> None:
    with listening_socket("127.0.0.1", 0) as listener:
        holder = process_on_port(listener.getsockname()[1])

    assert holder.startswith(f"process {os.getpid()} (")


@OWNED
def test_ipv6_counts_too() -> None:
    try:
        listener = listening_socket("::1", 0)
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with listener:
        assert process_on_port(listener.getsockname()[1]).startswith(f"process {os.getpid()} ")


def test_a_socket_that_does_not_listen_holds_nothing() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))

        assert process_on_port(bound.getsockname()[1]) == ""
