"""Values with which a forwarder describes its state. No behaviour."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec


class ForwardState(enum.StrEnum):
    """The state of forwarding. Values are served by REST and do not change; ``label`` is the text for people."""

    CONNECTING = "connecting"
    UNAVAILABLE = "the log is away"
    REJECTED = "the log refuses"
    CATCHING_UP = "catching up"
    UP_TO_DATE = "up to date"
    STOPPED = "stopped"

    @property
    def label(self) -> str:
        """The state in words for people."""
        return _LABELS.get(self, self.value)

    @property
    def is_connected(self) -> bool:
        return self in (ForwardState.CATCHING_UP, ForwardState.UP_TO_DATE)


_LABELS = {ForwardState.UNAVAILABLE: "NATS unavailable", ForwardState.REJECTED: "rejected by NATS"}


class ForwardStatus(msgspec.Struct, frozen=True):
    """The state of forwarding with its figures, as ``status`` serves it.

    Attributes
    ----------
    reason
        Why NATS is unavailable or rejects the connection; "".
    server, stream
        Addresses of the NATS servers; name of the JetStream stream.
    streams
        Number of streams known.
    behind
        Candles and revisions of the store that are not in JetStream, as far as is known.
    blocked_streams
        Streams that wait or are blocked, by name, each with the reason.
    source_error
        Why the store cannot be read; "".
    counters
        Since the start; see ForwardSession.
    """

    state: ForwardState = ForwardState.CONNECTING
    reason: str = ""
    server: str = msgspec.field(default="", name="log")
    stream: str = ""
    streams: int = 0
    behind: int = 0
    blocked_streams: Mapping[str, str] = msgspec.field(default_factory=dict, name="held")
    source_error: str = msgspec.field(default="", name="source_trouble")
    counters: Mapping[str, int] = {}


class ForwardEvent(enum.Enum):
    """One kind of log event of a forwarder; each has its own fields."""

    FORWARDING = enum.auto()
    """Connected and forwarding. Fields: log, stream."""
    UNAVAILABLE = enum.auto()
    """Fields: reason."""
    REJECTED = enum.auto()
    """Fields: reason."""
    BLOCKED = enum.auto()
    """Nothing more of this stream is sent. Fields: stream, reason."""
    NEW_STORE = enum.auto()
    """The stream now has another store's candles under the same name. Fields: stream, store."""
    PRUNED = enum.auto()
    """The store deleted candles before they were forwarded. Fields: stream, candles (their number)."""
    CHECKPOINT_FAILED = enum.auto()
    """Fields: reason."""
    FAILED = enum.auto()
    """An internal error; forwarding is retried. Fields: reason."""


OnForwardEvent: TypeAlias = Callable[[ForwardEvent, Mapping[str, Any]], None]
