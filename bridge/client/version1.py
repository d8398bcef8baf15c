"""Servers that know version 1 of the wire alone. Pure.

They have no stream status and no heartbeat: their cursor stands in for both. They answer the question for a stream's
status with an error. From then on the client asks for the cursor where it would have asked for the status, and once a
second in place of the heartbeat. What only version 2 tells is then unknown: corrections, the feed's state, and which
store it is (one that was recreated shows by going back).
"""

from __future__ import annotations

from fluxcap.schemas.errors import FluxcapError, WireError
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
