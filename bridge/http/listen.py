"""A TCP port to serve on: bound and listening, or the reason why not."""

from __future__ import annotations

import os
import socket


def listening_socket(host: str, port: int, *, backlog: int = 128) -> socket.socket:
    """A socket that listens; ``port`` 0 picks a free one. ``host``: an address of IPv4 or IPv6, or a name, IPv4 first.

    Raises OSError, with ``errno.EADDRINUSE`` for a port that somebody else listens on.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, *_, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere this would take a port that is in use
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # A peer that vanished (a cable, a suspended machine) is noticed; connections that are taken inherit it.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.bind(address)
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener
