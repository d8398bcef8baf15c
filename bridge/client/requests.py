"""Requests under way, and what of servers that know version 1 of the wire alone. Pure.

Those have no stream status and no heartbeat: their cursor stands in for both. They answer the question for a stream's
status with an error. From then on the client asks for the cursor where it would have asked for the status, and once a
second in place of the heartbeat. What only version 2 tells is then unknown: corrections, the feed's state, and which
store it is (one that was created anew shows by going back).
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from fluxcap.bridge.transport.base import Transport
from fluxcap.schemas.errors import CodecError, FluxcapError, WireError
from fluxcap.schemas.types import GetCursorResponse, Message, StreamStatus, StreamStatusRequest

POLL_NS = 1_000_000_000
_REFUSALS = frozenset((400, 426))
"""What servers say to a message they do not know: malformed, or of an unknown version."""


def is_version1_error(request: Message, error: FluxcapError) -> bool:
    """Return whether an error reply means that the server only knows version 1."""
    return isinstance(request, StreamStatusRequest) and isinstance(error, WireError) and error.code in _REFUSALS


def status_of(cursor: GetCursorResponse) -> StreamStatus:
    """Convert a cursor reply to a stream status."""
    return StreamStatus(cursor.key, cursor.latest_sequence, cursor.latest_ts_ms)


class CursorPoll:
    """Schedules polls that replace heartbeats; one at a time."""

    def __init__(self) -> None:
        self.is_on = False
        self._next_ns = 0
        self._asked = False

    def start(self, now_ns: int) -> None:
        self.is_on, self._asked, self._next_ns = True, False, now_ns + POLL_NS

    def stop(self) -> None:
        """A new connection, or the server turned out to be a newer one."""
        self.is_on = self._asked = False

    def is_due(self, now_ns: int) -> bool:
        """Says so once; then not before ``resolve``."""
        if not self.is_on or self._asked or now_ns < self._next_ns:
            return False
        self._asked, self._next_ns = True, now_ns + POLL_NS
        return True

    def answered(self) -> None:
        """By whatever: an answer, an error, nothing in time."""
        self._asked = False


MAX_IN_FLIGHT = 32
"""Most requests of all streams together: a thousand streams that resume must not bury the server."""

_Waiter = TypeVar("_Waiter")
_Reply = TypeVar("_Reply")


class RequestQueue(Generic[_Waiter]):
    """Numbers requests, sends so many at a time, and says who waits for a reply. ``sent``: how many went out, ever.

    For the transport's thread; ``enqueue`` may be called from any other.
    """

    def __init__(self, transport: Transport, timeout_ns: int, max_in_flight: int = MAX_IN_FLIGHT) -> None:
        self._transport = transport
        self._timeout_ns = timeout_ns
        self._max_in_flight = max_in_flight
        self._pending: deque[tuple[Message, _Waiter]] = deque()
        self._in_flight: dict[int, _Waiter] = {}
        self._numbers = itertools.count(1)
        self.sent = 0

    def enqueue(self, message: Message, waiter: _Waiter) -> None:
        """Have a request sent when its turn comes. ``waiter``: what its reply, or failure, is to be handed to."""
        self._pending.append((message, waiter))

    def send(self) -> None:
        """Send as many as may be in flight."""
        while self._pending and len(self._in_flight) < self._max_in_flight:
            (message, waiter), number = self._pending.popleft(), next(self._numbers)
            self._in_flight[number] = waiter
            self.sent += 1
            self._transport.request(number, message, self._timeout_ns)

    def resolve(self, number: int) -> _Waiter | None:
        """Who waits for the reply, or failure, of this number; None when nobody does any more."""
        return self._in_flight.pop(number, None)

    def cancel(self, has_left: Callable[[_Waiter], bool]) -> None:
        """Forget the requests of those who do not wait any more."""
        self._pending = deque(pending for pending in self._pending if not has_left(pending[1]))
        self._in_flight = {number: waiter for number, waiter in self._in_flight.items() if not has_left(waiter)}

    def cancel_all(self) -> list[_Waiter]:
        """The connection ended: forget every request. Returns those who waited."""
        left = [*self._in_flight.values()]
        self._in_flight.clear()
        while self._pending:
            left.append(self._pending.popleft()[1])
        return left


def require_kind(reply: Message, kind: type[_Reply]) -> _Reply:
    """The reply, which must be of this kind. Raises CodecError."""
    if not isinstance(reply, kind):
        raise CodecError(f"The server answered with {type(reply).__name__} in place of {kind.__name__}.")
    return reply
