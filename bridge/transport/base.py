"""The seam between the client and what carries its messages: ZeroMQ from a server, or NATS JetStream.

A transport knows connections, topics and requests, and nothing of candles: those, the gap machine, the cache and the
health are the same above any of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import Protocol, TypeAlias

import msgspec

from fluxcap.schemas.errors import FluxcapError
from fluxcap.schemas.types import Message


class MessageReceived(msgspec.Struct, frozen=True, eq=False):
    """A message on a topic we subscribe to (or one that begins with it: compare the whole)."""

    topic: bytes
    message: Message


class ReplyReceived(msgspec.Struct, frozen=True, eq=False):
    request_id: int
    message: Message


class RequestFailed(msgspec.Struct, frozen=True, eq=False):
    """An ErrorResponse came (WireError), nothing in time (WireTimeout), or something unreadable (CodecError)."""

    request_id: int
    error: FluxcapError


class Connected(msgspec.Struct, frozen=True):
    """Feed and requests both reach a server; what comes from now on is of this connection alone."""


class Disconnected(msgspec.Struct, frozen=True):
    """The connection ended, or could not be made, and requests under way have failed; it tries again by itself."""

    reason: str


class MalformedMessage(msgspec.Struct, frozen=True, eq=False):
    """Bytes that are no sound message, dropped."""

    error: FluxcapError


TransportEvent: TypeAlias = (
    MessageReceived | ReplyReceived | RequestFailed | Connected | Disconnected | MalformedMessage
)


class Transport(Protocol):
    """All but ``wake`` are called by one thread."""

    def connect(self, pub: str | None, rep: str) -> None:
        """Leave the present server, if any, and go for this one. ``pub`` None: requests only. Raises ConfigError.

        Where one address serves for both, it is given twice.
        """

    def subscribe(self, topics: Iterable[bytes]) -> None:
        """Also holds for every later connection."""

    def unsubscribe(self, topics: Iterable[bytes]) -> None: ...

    def request(self, request_id: int, message: Message, timeout_ns: int) -> None:
        """Send; exactly one Answered or Failed with this id follows, within the time-out."""

    def receive(self, timeout_ms: int) -> list[TransportEvent]:
        """Return the events, at the latest after ``timeout_ms``; may be empty."""

    def wake(self) -> None:
        """End a waiting ``receive``; from any thread."""

    def close(self) -> None: ...


def time_to_deadline_ms(deadlines: Mapping[int, int], timeout_ms: int, now_ns: int) -> int:
    """Return the longest wait in ms: to the first deadline (ns), never beyond ``timeout_ms``."""
    if not deadlines:
        return timeout_ms
    left_ms = (min(deadlines.values()) - now_ns) // 1_000_000 + 1
    return max(0, min(timeout_ms, left_ms))


def pop_expired(deadlines: MutableMapping[int, int], now_ns: int) -> list[int]:
    """Take out the requests whose time is over; returns their ids."""
    late = [request_id for request_id, deadline_ns in deadlines.items() if deadline_ns <= now_ns]
    for request_id in late:
        del deadlines[request_id]
    return late
