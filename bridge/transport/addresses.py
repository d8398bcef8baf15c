"""Addresses of a server's two sockets: as given, from the environment, or by default."""

from __future__ import annotations

import os

DEFAULT_PUB = "tcp://127.0.0.1:5556"
DEFAULT_REP = "tcp://127.0.0.1:5557"


def endpoints(pub: str | None = None, rep: str | None = None) -> tuple[str, str]:
    """The server's two addresses: as given, else from ``FLUX_LIVE_PUB`` and ``FLUX_CHUNK_REP``, else the defaults."""
    return (
        pub or os.environ.get("FLUX_LIVE_PUB") or DEFAULT_PUB,
        rep or os.environ.get("FLUX_CHUNK_REP") or DEFAULT_REP,
    )
