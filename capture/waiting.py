"""Events that wait until the platform's clock tells their time. Pure; bounded, the oldest go first."""

from __future__ import annotations

from collections import deque
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
        self.dropped = 0

    def __len__(self) -> int:
        return len(self.queue)

    @property
    def since(self) -> Arrival | None:
        """When the oldest came."""
        return self.queue[0].at if self.queue else None

    def add(self, socket: SocketKey, event: MarketEvent | BlindReason, at: Arrival) -> None:
        """Let an event wait. Of too many ticks the oldest go; an end of a socket never outlives its ticks."""
        if type(event) is History:
            if self._histories >= HISTORIES_MAX:
                self.dropped += 1
                return
            self._histories += 1
        self.queue.append(Waiting(socket, event, at))
        if len(self.queue) > self._room:
            self.dropped += 1
            self._histories -= type(self.queue.popleft().event) is History

    def take(self) -> list[Waiting]:
        """All of them, in order; the room is empty then."""
        waiting = list(self.queue)
        self.queue.clear()
        self._histories = 0
        return waiting
