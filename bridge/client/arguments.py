"""What a caller hands to the live client, looked at in the caller's own thread.

What is wrong gets ConfigError there and then, and never reaches the thread that serves every other stream. Pure.
"""

from __future__ import annotations

from bridge.client.actions import StartFrom
from schemas.codec import encode
from schemas.errors import CodecError, ConfigError
from schemas.types import StreamKey, StreamStatusRequest


def require_stream(key: StreamKey) -> StreamKey:
    """``key``, if a server can be asked about it. Raises ConfigError."""
    if not isinstance(key, StreamKey):
        raise ConfigError(f"{key!r} is no stream; write StreamKey(source, symbol, interval).")
    try:
        encode(StreamStatusRequest(key))
    except CodecError as error:
        raise ConfigError(f"{key!r} is no stream: {error}") from error
    _ = key.interval_ms  # refuses an interval that is none
    return key


def require_start(start: StartFrom | int) -> StartFrom | int:
    """``start``, if a stream can begin there. Raises ConfigError."""
    if not isinstance(start, StartFrom | int):
        raise ConfigError(f"{start!r} says not where to begin; give a StartFrom or a number.")
    if start == 0:
        raise ConfigError("start_from counts sequences from 1, or candles before the newest below 0; 0 is neither.")
    return start


def require_address(address: str | None) -> str | None:
    """``address``, if it is text; whether somebody can be there is the transport's to say. Raises ConfigError."""
    if not isinstance(address, str | None):
        raise ConfigError(f"{address!r} is no address; write it as text, as tcp://HOST:PORT.")
    return address
