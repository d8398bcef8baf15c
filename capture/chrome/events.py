"""Events of the browser: sockets that open and close, their frames, tabs that come and go.

Values only. ``capture/chrome/session.py`` makes them from CDP messages; the pipeline reads them. No cookie, query
string or header is ever part of an event, but for the time in a ``Date`` header: addresses are cut before ``?``.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec


class ArrivalTime(msgspec.Struct, frozen=True, gc=False):
    """The arrival time of a message on this machine, by both of its clocks.

    Attributes
    ----------
    wall_ns
        UNIX epoch nanoseconds.
    mono_ns
        Monotonic nanoseconds.
    drained
        Nothing more was readable right after it, so that this message is no part of a backlog and time may pass up to
        it.
    """

    wall_ns: int
    mono_ns: int
    drained: bool = True

    @classmethod
    def from_ms(cls, wall_ms: int, mono_ms: int, drained: bool = True) -> ArrivalTime:
        """The same in milliseconds."""
        return cls(wall_ms * 1_000_000, mono_ms * 1_000_000, drained)

    @property
    def wall_ms(self) -> int:
        return self.wall_ns // 1_000_000

    @property
    def mono_ms(self) -> int:
        return self.mono_ns // 1_000_000


class SocketId(msgspec.Struct, frozen=True, order=True, gc=False):
    """A WebSocket of a page or worker. Request numbers repeat between sessions, the pair does not."""

    session_id: str
    request_id: str


class EndReason(enum.StrEnum):
    """The reason why a socket or a tab ended."""

    CLOSED = "closed"
    """Closed by page or server."""
    FROZEN = "frozen"
    """The page was frozen, or parked in the back/forward cache. Its socket never speaks again."""
    FRAME_ERROR = "frame_error"
    """The browser gave the socket up: a broken frame, or the connection broke. It never speaks again."""
    NAVIGATED = "navigated"
    """The page went elsewhere (into the back/forward cache, or for good)."""
    RELOADED = "reloaded"
    TAB_CLOSED = "tab_closed"
    CRASHED = "crashed"
    """The renderer process is gone; the tab can be reloaded."""
    DETACHED = "detached"
    """The worker or frame ended, or the browser detached from the session."""
    BROWSER_GONE = "browser_gone"


class SocketOpened(msgspec.Struct, frozen=True, gc=False):
    """``url`` is ``""`` when the socket was open before the attach: it is known by its first frame only."""

    socket: SocketId
    target_id: str
    url: str


class FrameReceived(msgspec.Struct, frozen=True, gc=False):
    """A frame the page received. ``opcode`` 1: ``payload`` is the text; 2: it is base64."""

    socket: SocketId
    target_id: str
    opcode: int
    payload: str
    stamp: ArrivalTime


class FrameSent(msgspec.Struct, frozen=True, gc=False):
    """A frame the page sent. May hold secrets: only what the platform's allow-list names may be decoded."""

    socket: SocketId
    target_id: str
    opcode: int
    payload: str
    stamp: ArrivalTime


class SocketClosed(msgspec.Struct, frozen=True, gc=False):
    socket: SocketId
    reason: EndReason


class PlatformDate(msgspec.Struct, frozen=True, gc=False):
    """The time in the ``Date`` header of a response: UTC milliseconds, whole seconds.

    ``socket``: the WebSocket whose handshake it answered; None for another response of the platform's hosts, given by
    no cache.
    """

    date_ms: int
    socket: SocketId | None
    stamp: ArrivalTime


class TabAttached(msgspec.Struct, frozen=True, gc=False):
    """A tab, frame or worker was attached; its frames arrive from here on.

    ``kind`` is CDP's target type (``page``, ``iframe``, ``worker``, ``shared_worker``, ``service_worker``).
    """

    target_id: str
    url: str
    title: str
    kind: str = "page"


class TabChanged(msgspec.Struct, frozen=True, gc=False):
    target_id: str
    url: str
    title: str


class TabGone(msgspec.Struct, frozen=True, gc=False):
    """A target is gone; no frame of it arrives any more. Its sockets were reported closed before.

    After CRASHED a reload may attach the same target again.
    """

    target_id: str
    reason: EndReason


class LookalikeSeen(msgspec.Struct, frozen=True, gc=False):
    """A page that is not the platform's looks like it. It is not attached; its ``host``, with its port, is known."""

    host: str


class CommandTimedOut(msgspec.Struct, frozen=True, gc=False):
    """The browser (``target_id`` ``""``) or a tab has not answered in time: frozen, discarded or busy."""

    method: str
    target_id: str


class CommandRefused(msgspec.Struct, frozen=True, gc=False):
    """The browser answered with an error; ``message`` is its text."""

    method: str
    target_id: str
    message: str


class CommandRecovered(msgspec.Struct, frozen=True, gc=False):
    """The answer to a command that had timed out: what was frozen or busy is back."""

    method: str
    target_id: str


class ActiveAssetLabel(msgspec.Struct, frozen=True, gc=False):
    """A page answered what it shows: the label of an asset, as people read it."""

    target_id: str
    label: str


class Malformed(msgspec.Struct, frozen=True, gc=False):
    """A message that violates CDP. ``kind`` is a stable word for counters, such as ``json``, ``frame``, ``params``."""

    kind: str


ChromeEvent: TypeAlias = (
    SocketOpened
    | FrameReceived
    | FrameSent
    | SocketClosed
    | PlatformDate
    | TabAttached
    | TabChanged
    | TabGone
    | LookalikeSeen
    | CommandTimedOut
    | CommandRefused
    | CommandRecovered
    | ActiveAssetLabel
    | Malformed
)
