"""Which way a client takes: straight to a server over ZeroMQ, or by way of the log.

One choice in one place; everything above the transport is the same either way.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import msgspec

from bridge.client.transport import Transport
from bridge.client.zmq_transport import ZmqTransport
from bridge.curve import ClientCurve
from schemas.errors import ConfigError


class Via(msgspec.Struct, frozen=True):
    """The log in place of a server. Needs the extra ``fluxcap[nats]``.

    servers: ``nats://HOST:PORT``, several of one cluster with commas. credentials: a file that says who we are (see
    ``bridge.jetstream.address``). stream: the JetStream stream, if it is not the usual one.
    """

    servers: str
    credentials: Path | None = None
    stream: str = ""


AnyVia: TypeAlias = Via | str | None
"""A string is the servers alone."""


def patience_s(via: Via | None) -> float:
    """How long an answer may take: a server has it in memory, on the log it has to be looked for."""
    return 2.0 if via is None else 10.0


def as_via(via: AnyVia) -> Via | None:
    return Via(via) if isinstance(via, str) else via


def open_transport(via: AnyVia, curve: ClientCurve | None = None) -> Transport:
    """The transport to the log, or without ``via`` the one to a server. Raises ConfigError."""
    way = as_via(via)
    if way is None:
        return ZmqTransport(curve)
    if curve is not None:
        raise ConfigError("Keys are for a server; for the log name a file of credentials.")
    # Only whoever reads the log needs nats-py.
    from bridge.client.jetstream_transport import JetStreamTransport
    from bridge.jetstream.subjects import STREAM_NAME

    return JetStreamTransport(way.credentials, way.stream or STREAM_NAME)
