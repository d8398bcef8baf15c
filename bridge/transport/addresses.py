"""Default addresses of a server's two sockets."""

from __future__ import annotations


def default_endpoints(host: str = "127.0.0.1") -> tuple[str, str]:
    """The two addresses of a machine whose server listens on the default ports. ``host``: IPv6 in brackets."""
    return f"tcp://{host}:5556", f"tcp://{host}:5557"


DEFAULT_PUB, DEFAULT_REP = default_endpoints()
