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

import msgspec

from capture.chrome.address import without_query
from capture.chrome.messages import TargetInfo
from capture.chrome.sockets import SocketTable


class TargetState(enum.Enum):
    """How far attaching has come."""

    LOST = "lost"
    """The platform's, but not attached; tried again."""
    ATTACHING = "attaching"
    ENABLING = "enabling"
    """Attached; the first answer is awaited."""
    LISTENING = "listening"
    SILENT = "silent"
    """Attached, but it answers nothing: discarded, frozen or busy."""
    REFUSED = "refused"
    """Attached, but not to be listened to, as a crashed tab that is being loaded anew; tried again."""
    CRASHED = "crashed"


class Target:
    """A target of the platform. ``lost_ns``: monotonic time at which its session was lost, or refused to be heard."""

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

    def become(self, state: TargetState) -> None:
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
