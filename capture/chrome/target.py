"""One page, frame or worker of the platform: its state, and its CDP session while it has one. Pure.

::

    LOST ──attach──▶ ATTACHING ──session──▶ ENABLING ──answer or frame──▶ LISTENING
     ▲ ▲               │                     │    ▲                         │   │
     │ └refused, late──┘             time-out▼    │info changed             │   ▼crash
     │                                     SILENT─┘                         │ CRASHED ──reload──▶ ENABLING
     └──────────────────────── the browser let go ──────────────────────────┘
"""

from __future__ import annotations

import enum
from urllib.parse import urlsplit

import msgspec

from fluxcap.capture.chrome.events import SocketId
from fluxcap.capture.chrome.messages import TargetInfo


class TargetState(enum.Enum):
    """The stage of attaching to a target."""

    LOST = "lost"
    """The platform's, but not attached; tried again."""
    ATTACHING = "attaching"
    ENABLING = "enabling"
    """Attached; the first answer is awaited."""
    LISTENING = "listening"
    SILENT = "silent"
    """Attached, but it answers nothing: discarded, frozen or busy."""
    REFUSED = "refused"
    """Attached, but not to be listened to, as a crashed tab that is being reloaded; tried again."""
    CRASHED = "crashed"


class Target:
    """A target of the platform. ``lost_ns``: monotonic time at which its session was lost, or refused."""

    __slots__ = ("_state", "info", "lost_ns", "retries", "session")

    def __init__(self, info: TargetInfo) -> None:
        self._state = TargetState.LOST
        self.info = info
        self.session: Attachment | None = None
        self.retries = 0
        self.lost_ns = 0

    @property
    def id(self) -> str:
        return self.info.target_id

    @property
    def state(self) -> TargetState:
        return self._state

    @property
    def outer_id(self) -> str:
        """The target that holds this frame or worker; ``""`` for pages."""
        if self.session is not None and self.session.parent is not None:
            return self.session.parent.target.id
        return self.info.parent_id

    def set_state(self, state: TargetState) -> None:
        """The one place where the state changes."""
        self._state = state

    def snapshot(self) -> TabSnapshot:
        return TabSnapshot(self.id, self.info.type, without_query(self.info.url), self.info.title, self._state.value)


class Attachment:
    """One CDP session of a target. ``parent`` is the session that brought it along (workers), or None."""

    __slots__ = ("id", "parent", "sockets", "target")

    def __init__(self, session_id: str, target: Target, parent: Attachment | None) -> None:
        self.id = session_id
        self.target = target
        self.parent = parent
        self.sockets = SocketTable(session_id)


class TabSnapshot(msgspec.Struct, frozen=True):
    """A target for ``status``. ``kind`` is CDP's target type, ``state`` a TargetState's value."""

    target_id: str
    kind: str
    url: str
    title: str
    state: str


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


def without_query(url: str) -> str:
    """An address without user, query and fragment, which may carry tokens. ``""`` for what is no address.

    Of ``data:`` and ``blob:`` only the scheme and origin remain.
    """
    if url.startswith("blob:"):
        return "blob:" + origin(url)
    try:
        parts = urlsplit(url)
        netloc = parts.netloc.rpartition("@")[2]
    except ValueError:
        return ""
    if not netloc and parts.scheme not in ("about", "chrome"):
        return f"{parts.scheme}:" if parts.scheme else ""
    return f"{parts.scheme}://{netloc}{parts.path}" if netloc else f"{parts.scheme}:{parts.path}"


def origin(url: str) -> str:
    """``scheme://host:port`` of an address, of a ``blob:`` the one inside; ``""`` when it has none."""
    try:
        parts = urlsplit(url.removeprefix("blob:"))
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else ""
