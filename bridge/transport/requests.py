"""Requests over a transport: numbered, so many in flight at a time, each reply handed to whoever waits for it.

No thread and no clock: whoever owns the transport sends, and resolves what came.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from fluxcap.bridge.transport.base import Transport
from fluxcap.schemas.types import Message

MAX_IN_FLIGHT = 32
"""Most requests of all streams together: a thousand streams that resume must not bury the server."""

_Waiter = TypeVar("_Waiter")


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
        """Return who waits for the reply, or failure, of this number; None when nobody does any more."""
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
