"""Addresses of a server's two sockets: as given, from the environment, or by default."""

from __future__ import annotations

import os


def default_endpoints(host: str = "127.0.0.1") -> tuple[str, str]:
    """The two addresses of a machine whose server listens on the default ports. ``host``: IPv6 in brackets."""
    return f"tcp://{host}:5556", f"tcp://{host}:5557"


DEFAULT_PUB, DEFAULT_REP = default_endpoints()


def endpoints(pub: str | None = None, rep: str | None = None) -> tuple[str, str]:
    """The server's two addresses: as given, else from ``FLUX_LIVE_PUB`` and ``FLUX_CHUNK_REP``, else the defaults."""
    return (
        pub or os.environ.get("FLUX_LIVE_PUB") or DEFAULT_PUB,
        rep or os.environ.get("FLUX_CHUNK_REP") or DEFAULT_REP,
    )
