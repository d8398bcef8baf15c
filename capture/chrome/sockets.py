"""The WebSockets of one attached session: which are open, how much they said. Pure."""

from __future__ import annotations

import msgspec

from capture.chrome.address import without_query
from capture.chrome.events import SocketId

MAX_SOCKETS = 1024
"""Of one session. A page that leaks more loses track of its oldest, which reopens with its next frame."""


class OpenSocket:
    """A socket that may still speak. ``last_ns`` is the monotonic time of its last received frame (0: none yet)."""

    __slots__ = ("frames", "id", "last_ns", "url")

    def __init__(self, socket: SocketId, url: str) -> None:
        self.id = socket
        self.url = url
        self.frames = 0
        self.last_ns = 0


class SocketSnapshot(msgspec.Struct, frozen=True):
    """An open socket for ``status``. ``frames``: how many it has received since the attach."""

    socket: SocketId
    target_id: str
    url: str
    frames: int
    last_ns: int


class SocketTable:
    """The open sockets of one session, by request id."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.open: dict[str, OpenSocket] = {}

    def add(self, request_id: str, url: str) -> tuple[OpenSocket, list[SocketId]]:
        """Note a new socket; returns it and the sockets that had to make room for it."""
        evicted = []
        while len(self.open) >= MAX_SOCKETS:
            evicted.append(self.open.pop(next(iter(self.open))).id)
        socket = self.open[request_id] = OpenSocket(SocketId(self.session_id, request_id), without_query(url))
        return socket, evicted

    def end(self, request_id: str) -> SocketId | None:
        """Forget one socket; None when it was not open."""
        socket = self.open.pop(request_id, None)
        return None if socket is None else socket.id

    def end_all(self) -> list[SocketId]:
        """Forget all sockets; returns those that were open."""
        ended = [socket.id for socket in self.open.values()]
        self.open.clear()
        return ended
