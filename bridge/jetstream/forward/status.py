"""What a forwarder tells of itself. Values only."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec


class ForwardState(enum.StrEnum):
    """How it goes."""

    CONNECTING = "connecting"
    AWAY = "the log is away"
    REFUSED = "the log refuses"
    CATCHING_UP = "catching up"
    CURRENT = "up to date"
    STOPPED = "stopped"

    @property
    def is_connected(self) -> bool:
        return self in (ForwardState.CATCHING_UP, ForwardState.CURRENT)


class ForwardView(msgspec.Struct, frozen=True):
    """How it goes.

    Attributes
    ----------
    reason
        Why the log is away or refuses.
    log, stream
        Addresses of the servers; name of the JetStream stream.
    streams
        Streams known.
    behind
        Candles and revisions of the store that are not on the log, as far as is known.
    held
        Streams that wait or are blocked, and why.
    source_trouble
        Why nothing can be heard of the store; "".
    counters
        Since the start; see ForwardSession.
    """

    state: ForwardState = ForwardState.CONNECTING
    reason: str = ""
    log: str = ""
    stream: str = ""
    streams: int = 0
    behind: int = 0
    held: Mapping[str, str] = {}
    source_trouble: str = ""
    counters: Mapping[str, int] = {}


class Notice(enum.Enum):
    """What a log of events should have, each with fields of its own."""

    FORWARDING = enum.auto()
    """log, stream: connected, and forwarding."""
    AWAY = enum.auto()
    """reason"""
    REFUSED = enum.auto()
    """reason"""
    BLOCKED = enum.auto()
    """stream, reason: nothing more of this stream is sent."""
    NEW_STORE = enum.auto()
    """stream, store: it follows another store's candles under the same name."""
    PRUNED = enum.auto()
    """stream, candles: so many were forgotten by the store before they could be forwarded."""
    CURSOR_UNWRITTEN = enum.auto()
    """reason"""
    FAILED = enum.auto()
    """reason: a fault of ours; it is tried again."""


Tell: TypeAlias = Callable[[Notice, Mapping[str, Any]], None]
