"""Events that wait until the platform's clock tells their time. Pure; bounded, the oldest go first."""

from __future__ import annotations

from collections import Counter, deque
from typing import NamedTuple

from capture.feeds import BlindReason, SocketKey
from capture.platform_clock import Arrival
from capture.platforms.base import History, MarketEvent

WAITING_MAX = 200_000
HISTORIES_MAX = 64
"""Histories are large, and more than a few at a time do not happen."""


class Waiting(NamedTuple):
    """An event, or the end of a socket, as it came."""

    socket: SocketKey
    event: MarketEvent | BlindReason
    at: Arrival


class WaitingRoom:
    """A bounded queue of them. ``dropped`` counts what did not fit. ``queue`` is for looking at alone."""

    def __init__(self, room: int = WAITING_MAX) -> None:
        self.queue: deque[Waiting] = deque()
        self._room = room
        self._histories = 0
        self._of_socket: Counter[SocketKey] = Counter()
        self._since: dict[SocketKey, int] = {}
        self.dropped = 0

    def __len__(self) -> int:
        return len(self.queue)

    def holds(self, socket: SocketKey) -> bool:
        """Whether anything of a socket waits."""
        return self._of_socket[socket] > 0

    @property
    def since(self) -> dict[SocketKey, int]:
        """When the oldest of each socket came (monotonic, ms). To look at only."""
        return self._since

    def add(self, socket: SocketKey, event: MarketEvent | BlindReason, at: Arrival) -> None:
        """Let an event wait. Of too many ticks the oldest go; an end of a socket never outlives its ticks."""
        if type(event) is History:
            if self._histories >= HISTORIES_MAX:
                self.dropped += 1
                return
            self._histories += 1
        self.queue.append(Waiting(socket, event, at))
        self._of_socket[socket] += 1
        self._since.setdefault(socket, at.mono_ms)
        if len(self.queue) > self._room:
            self.dropped += 1
            self._left(self.queue.popleft())

    def take(self) -> list[Waiting]:
        """All of them, in order; the room is empty then."""
        waiting = list(self.queue)
        self.queue.clear()
        self._of_socket.clear()
        self._since.clear()
        self._histories = 0
        return waiting

    def take_of(self, socket: SocketKey) -> list[Waiting]:
        """Those of one socket, in order; the others go on waiting."""
        if not self.holds(socket):
            return []
        taken = [waiting for waiting in self.queue if waiting.socket == socket]
        self.queue = deque(waiting for waiting in self.queue if waiting.socket != socket)
        for waiting in taken:
            self._left(waiting)
        return taken

    def _left(self, waiting: Waiting) -> None:
        self._histories -= type(waiting.event) is History
        self._of_socket[waiting.socket] -= 1
        if not self._of_socket[waiting.socket]:
            del self._of_socket[waiting.socket], self._since[waiting.socket]
