"""Events that wait until the platform's clock tells their time. Pure."""

from __future__ import annotations

from collections import Counter, deque
from typing import NamedTuple

from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.capture.market.feeds import GapReason, SocketKey
from fluxcap.capture.platforms.base import History, MarketEvent

PENDING_MAX = 200_000
HISTORIES_MAX = 64
"""Histories are large, and more than a few at a time do not happen."""


class PendingEvent(NamedTuple):
    """An event, or the end of a socket, as it came."""

    socket: SocketKey
    event: MarketEvent | GapReason
    at: ArrivalTime


class PendingEvents:
    """A bounded queue of them. ``dropped`` counts what did not fit. ``queue`` is for looking at alone."""

    def __init__(self, capacity: int = PENDING_MAX) -> None:
        self.queue: deque[PendingEvent] = deque()
        self._capacity = capacity
        self._histories = 0
        self._of_socket: Counter[SocketKey] = Counter()
        self._since: dict[SocketKey, int] = {}
        self.dropped = 0

    def __len__(self) -> int:
        return len(self.queue)

    def has(self, socket: SocketKey) -> bool:
        """Return whether anything of a socket waits."""
        return self._of_socket[socket] > 0

    @property
    def oldest_ms(self) -> dict[SocketKey, int]:
        """Return the arrival of each socket's oldest event (monotonic, ms). Read-only."""
        return self._since

    def add(self, socket: SocketKey, event: MarketEvent | GapReason, at: ArrivalTime) -> None:
        """Let an event wait. Of too many ticks the oldest go; an end of a socket never outlives its ticks."""
        if type(event) is History:
            if self._histories >= HISTORIES_MAX:
                self.dropped += 1
                return
            self._histories += 1
        self.queue.append(PendingEvent(socket, event, at))
        self._of_socket[socket] += 1
        self._since.setdefault(socket, at.mono_ms)
        if len(self.queue) > self._capacity:
            self.dropped += 1
            self._on_removed(self.queue.popleft())

    def take_all(self) -> list[PendingEvent]:
        """All of them, in order; the room is empty then."""
        pending = list(self.queue)
        self.queue.clear()
        self._of_socket.clear()
        self._since.clear()
        self._histories = 0
        return pending

    def take_socket(self, socket: SocketKey) -> list[PendingEvent]:
        """Those of one socket, in order; the others go on pending."""
        if not self.has(socket):
            return []
        taken = [pending for pending in self.queue if pending.socket == socket]
        self.queue = deque(pending for pending in self.queue if pending.socket != socket)
        for pending in taken:
            self._on_removed(pending)
        return taken

    def _on_removed(self, pending: PendingEvent) -> None:
        self._histories -= type(pending.event) is History
        self._of_socket[pending.socket] -= 1
        if not self._of_socket[pending.socket]:
            del self._of_socket[pending.socket], self._since[pending.socket]
