"""Chooses the next request: one per client in turn. Pure.

Every client's requests wait in a line of its own, and clients take turns by one request. A client whose answers do not
leave (it reads too slowly) is held back: its line stays, its turns pass, and nobody else notices. One that sends
without end, or never reads, is forgotten when its line is over the bound or it was held back too long.
"""

from __future__ import annotations

from collections import deque

MAX_WAITING_BYTES = 16 * 1024 * 1024
"""Requests one client may have waiting: 100,000 of ordinary size."""
_OVERHEAD = 64
BLOCKED_MAX_NS = 60_000_000_000
"""How long a client may leave its answers unread before its requests are forgotten."""

Request = tuple[list[bytes], list[bytes]]
"""Route and payload frames."""


class _ClientQueue:
    __slots__ = ("blocked_since_ns", "bytes_waiting", "reply", "requests")

    def __init__(self) -> None:
        self.requests: deque[Request] = deque()
        self.bytes_waiting = 0
        self.reply: list[bytes] | None = None  # made, but could not be sent yet
        self.blocked_since_ns = 0


class FairQueue:
    """Lines of requests by client identity."""

    def __init__(self) -> None:
        self._lines: dict[bytes, _ClientQueue] = {}
        self._turns: deque[bytes] = deque()
        self._blocked: dict[bytes, _ClientQueue] = {}

    def __len__(self) -> int:
        """Clients with something waiting, held back or not."""
        return len(self._lines)

    @property
    def blocked(self) -> list[bytes]:
        """Clients that are held back."""
        return list(self._blocked)

    @property
    def ready(self) -> bool:
        """Return whether a request may be served now."""
        return bool(self._turns)

    def add(self, identity: bytes, request: Request) -> bool:
        """A request arrived. False when its client has too much waiting: it is not taken."""
        line = self._lines.get(identity)
        if line is None:
            line = self._lines[identity] = _ClientQueue()
            self._turns.append(identity)
        size = _size(request)
        if line.bytes_waiting + size > MAX_WAITING_BYTES:
            return False
        line.requests.append(request)
        line.bytes_waiting += size
        return True

    def next(self) -> tuple[bytes, Request] | None:
        """The request whose turn it is, or None; ``served``, ``block`` or ``drop`` must follow."""
        if not self._turns:
            return None
        identity = self._turns.popleft()
        line = self._lines[identity]
        request = line.requests.popleft()
        line.bytes_waiting -= _size(request)
        return identity, request

    def served(self, identity: bytes) -> None:
        """The answer left: the client goes to the end of the round, if it has more waiting."""
        self._blocked.pop(identity, None)
        line = self._lines[identity]
        line.reply = None
        if line.requests:
            self._turns.append(identity)
        else:
            del self._lines[identity]

    def block(self, identity: bytes, answer: list[bytes], now_ns: int) -> None:
        """The answer could not leave: keep it, and let the client's turns pass."""
        line = self._lines[identity]
        if line.reply is None:
            line.blocked_since_ns = now_ns
        line.reply = answer
        self._blocked[identity] = line

    def pending_reply(self, identity: bytes) -> list[bytes]:
        """The answer that a client held back has not taken yet."""
        return self._blocked[identity].reply or []

    def overdue(self, now_ns: int) -> list[bytes]:
        """Clients held back for too long."""
        return [i for i, line in self._blocked.items() if now_ns - line.blocked_since_ns > BLOCKED_MAX_NS]

    def drop(self, identity: bytes) -> int:
        """The client is gone: drop what it has waiting. Returns how many requests stay unanswered."""
        self._blocked.pop(identity, None)
        line = self._lines.pop(identity, None)
        if line is None:
            return 0
        if identity in self._turns:
            self._turns.remove(identity)
        return len(line.requests) + 1


def _size(request: Request) -> int:
    route, payload = request
    return _OVERHEAD + sum(map(len, route)) + sum(map(len, payload))
