"""TCP ports: one to serve on, bound and listening, or the reason why not; and who has it."""

from __future__ import annotations

import errno
import socket
import sys

from fluxcap.bridge.system.processes import is_listened_on, listener_on


def listening_socket(host: str, port: int, *, backlog: int = 128) -> socket.socket:
    """A socket that listens; ``port`` 0 picks a free one. ``host``: an address of IPv4 or IPv6, or a name, IPv4 first.

    Raises OSError; ``is_in_use`` tells a port that somebody else listens on.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, *_, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform == "win32":  # where REUSEADDR takes a port that is in use, and without either others may
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address[0] == "::":  # all addresses, those of IPv4 too, as on Linux: Windows would leave them out
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # A peer that vanished (a cable, a suspended machine) is noticed; connections that are taken inherit it.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.bind(address)
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener


def is_in_use(error: OSError, port: int) -> bool:
    """Return whether ``listening_socket`` failed because somebody else listens on the port.

    Windows refuses with EACCES the ports that it keeps for itself, and those that somebody holds for himself alone.
    """
    if error.errno == errno.EADDRINUSE:
        return True
    return sys.platform == "win32" and error.errno == errno.EACCES and is_listened_on(port)


def process_on_port(port: int) -> str:
    """Return the listener on ``port`` such as ``"process 4711 (fluxcap run)"``, or ``""`` when unknown."""
    holder = listener_on(port)
    return str(holder) if holder else ""
