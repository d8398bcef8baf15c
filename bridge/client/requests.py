"""Servers that know version 1 of the wire alone: no stream status, no heartbeat. Their cursor stands in for both. Pure.

Such a server answers the question for a stream's status with an error. From then on the client asks for the cursor
where it would have asked for the status, and once a second in place of the heartbeat. What only version 2 tells is then
unknown: corrections, the feed's state, and which store it is (one that was created anew shows by going back).
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import NamedTuple

from fluxcap.bridge.transport.base import Transport
from fluxcap.schemas.errors import FluxcapError, WireError
from fluxcap.schemas.types import GetCursorResponse, Message, StreamKey, StreamStatus, StreamStatusRequest

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


class PendingRequest(NamedTuple):
    """A request of a stream. ``is_poll``: asked in place of a heartbeat, not because the receiver wants it."""

    key: StreamKey
    message: Message
    is_poll: bool = False


class RequestQueue:
    """sent: how many went out, ever."""

    def __init__(self, transport: Transport, timeout_ns: int) -> None:
        self._transport = transport
        self._timeout_ns = timeout_ns
        self._pending: deque[PendingRequest] = deque()
        self._under_way: dict[int, PendingRequest] = {}
        self._numbers = itertools.count(1)
        self.sent = 0

    def enqueue(self, pending: PendingRequest) -> None:
        """Have it sent when its turn comes."""
        self._pending.append(pending)

    def send(self) -> None:
        """As many as may be under way."""
        while self._pending and len(self._under_way) < MAX_IN_FLIGHT:
            pending, number = self._pending.popleft(), next(self._numbers)
            self._under_way[number] = pending
            self.sent += 1
            self._transport.request(number, pending.message, self._timeout_ns)

    def resolve(self, number: int) -> PendingRequest | None:
        """Remove and return the request of this number; None when no reply is expected any more."""
        return self._under_way.pop(number, None)

    def cancel(self, key: StreamKey) -> None:
        """The stream was left."""
        self._pending = deque(pending for pending in self._pending if pending.key != key)
        self._under_way = {n: pending for n, pending in self._under_way.items() if pending.key != key}

    def cancel_all(self) -> None:
        """The connection ended."""
        self._pending.clear()
        self._under_way.clear()
