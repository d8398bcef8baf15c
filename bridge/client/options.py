"""Options of a client, and its choice of a way: to a server over ZeroMQ, at which addresses, or through NATS.

One choice in one place; everything above the transport is the same either way.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from fluxcap.bridge.client.receiver.actions import StartFrom
from fluxcap.bridge.transport.addresses import DEFAULT_PUB, DEFAULT_REP
from fluxcap.bridge.transport.base import Transport
from fluxcap.bridge.transport.curve import ClientCurve
from fluxcap.bridge.transport.requests import MAX_IN_FLIGHT
from fluxcap.bridge.transport.zeromq import ZmqTransport
from fluxcap.schemas.codec import encode
from fluxcap.schemas.errors import CodecError, ConfigError
from fluxcap.schemas.types import StreamKey, StreamStatusRequest

if TYPE_CHECKING:
    from pathlib import Path


class Via(msgspec.Struct, frozen=True):
    """JetStream in place of a server. Needs the extra ``fluxcap[nats]``.

    Attributes
    ----------
    servers
        ``nats://HOST:PORT``, several of one cluster with commas.
    credentials
        A file that says who we are (see ``fluxcap.bridge.jetstream.address``); None: nobody asks.
    stream
        Name of the JetStream stream; ``""``: the usual one.
    """

    servers: str
    credentials: Path | None = None
    stream: str = ""


ViaLike: TypeAlias = Via | str | None
"""A string is the servers alone."""


def default_timeout_s(via: Via | None) -> float:
    """Return the timeout of a request in seconds: longer through NATS, where messages must be searched."""
    return 2.0 if via is None else 10.0


def default_requests(via: Via | None) -> int:
    """Return how many requests may be in flight: of all that JetStream is asked at once it is read for once."""
    return MAX_IN_FLIGHT if via is None else 512


def endpoints(pub: str | None = None, rep: str | None = None) -> tuple[str, str]:
    """Return the server's two addresses.

    Parameters
    ----------
    pub, rep
        Addresses of the feed and of the request socket; None: the environment's ``FLUX_LIVE_PUB`` and
        ``FLUX_CHUNK_REP``, else ``tcp://127.0.0.1:5556`` and ``tcp://127.0.0.1:5557``.

    Returns
    -------
    tuple
        ``(pub, rep)``.
    """
    return (
        pub or os.environ.get("FLUX_LIVE_PUB") or DEFAULT_PUB,
        rep or os.environ.get("FLUX_CHUNK_REP") or DEFAULT_REP,
    )


def to_via(via: ViaLike) -> Via | None:
    return Via(via) if isinstance(via, str) else via


def open_transport(via: ViaLike, curve: ClientCurve | None = None) -> Transport:
    """The transport to JetStream, or without ``via`` the one to a server. Raises ConfigError."""
    way = to_via(via)
    if way is None:
        return ZmqTransport(curve)
    if curve is not None:
        raise ConfigError("CURVE keys are for a fluxcap server; for NATS, name a file of credentials.")
    # Only whoever reads JetStream needs nats-py.
    from fluxcap.bridge.jetstream.read.transport import JetStreamTransport
    from fluxcap.bridge.jetstream.subjects import STREAM_NAME

    return JetStreamTransport(way.credentials, way.stream or STREAM_NAME)


class RequestLine(msgspec.Struct, frozen=True, eq=False):
    """A transport that goes for a server, for requests alone. timeout_ns: how long a reply may take."""

    transport: Transport
    server: str
    timeout_ns: int


def connect_requests(rep: str | None, timeout: float, curve: ClientCurve | None, via: ViaLike) -> RequestLine:
    """Go for the server at ``rep``, or for JetStream. Close its transport.

    timeout: seconds per request, raised to what JetStream needs. Raises ConfigError.
    """
    way = to_via(via)
    transport = open_transport(way, curve)
    if way is None:
        server = endpoints(None, rep)[1]
    else:
        server, timeout = way.servers, max(timeout, default_timeout_s(way))
    try:
        transport.connect(None, server)
    except BaseException:
        transport.close()
        raise
    return RequestLine(transport, server, int(timeout * 1e9))


def require_stream(key: StreamKey) -> StreamKey:
    """``key``, if a server can be asked about it. Raises ConfigError."""
    if not isinstance(key, StreamKey):
        raise ConfigError(f"{key!r} is no stream; write StreamKey(source, symbol, interval).")
    try:
        encode(StreamStatusRequest(key))
    except CodecError as error:
        raise ConfigError(f"{key!r} is no stream: {error}") from error
    _ = key.interval_ms  # refuses an invalid interval
    return key


def require_start(start: StartFrom | int) -> StartFrom | int:
    """``start``, if a stream can begin there. Raises ConfigError."""
    if not isinstance(start, StartFrom | int):
        raise ConfigError(f"{start!r} is not a start; give a StartFrom or a number.")
    if start == 0:
        raise ConfigError("start_from counts sequences from 1, or candles before the newest below 0; 0 is not allowed.")
    return start


def require_address(address: str | None) -> str | None:
    """``address``, if it is text; whether somebody can be there is the transport's to say. Raises ConfigError."""
    if not isinstance(address, str | None):
        raise ConfigError(f"{address!r} is no address; write it as text, as tcp://HOST:PORT.")
    return address
