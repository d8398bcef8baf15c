"""A TCP port to serve on: bound and listening, or the reason why not."""

from __future__ import annotations

import os
import socket


def listening_socket(host: str, port: int, *, backlog: int = 128) -> socket.socket:
    """A socket that listens; ``port`` 0 picks a free one. ``host``: a name or an address of IPv4 or IPv6.

    Raises OSError, with ``errno.EADDRINUSE`` for a port that somebody else listens on.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere this would take a port that is in use
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener
