"""Paces a stream's requests: one in flight at a time, and a wait after each empty reply. Pure."""

from __future__ import annotations

import enum

from fluxcap.bridge.transport.backoff import Backoff


class RequestKind(enum.Enum):
    """The request under way."""

    STATUS = enum.auto()
    CANDLES = enum.auto()
    REVISIONS = enum.auto()


class RequestPacer:
    """status_due: ask where the server stands before anything else. consecutive_empty: since the last gain.
    empty_replies: ever."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self.empty_replies = 0
        self.reset()

    def reset(self) -> None:
        """A new connection: nothing under way, nothing to wait for."""
        self.kind: RequestKind | None = None
        self.status_due = False
        self.consecutive_empty = 0
        self._not_before_ns: int | None = None

    @property
    def wake_ns(self) -> int | None:
        """End of the wait, if there is one and nothing is under way."""
        return self._not_before_ns if self.kind is None else None

    def can_send(self, now_ns: int) -> bool:
        if self.kind is not None or (self._not_before_ns is not None and now_ns < self._not_before_ns):
            return False
        self._not_before_ns = None
        return True

    def begin(self, kind: RequestKind) -> None:
        self.kind = kind
        if kind is RequestKind.STATUS:
            self.status_due = False

    def complete(self, kind: RequestKind) -> bool:
        """An answer came; whether it is the one under way, which ends with it."""
        if self.kind is not kind:
            return False
        self.kind = None
        return True

    def on_success(self) -> None:
        """The answer brought something: no more waiting."""
        self.consecutive_empty = 0
        self._not_before_ns = None

    def on_empty(self, now_ns: int) -> None:
        """Wait, then ask where the server stands before asking for more."""
        self.empty_replies += 1
        self.consecutive_empty += 1
        self._not_before_ns = now_ns + self._backoff.wait_ns(self.consecutive_empty)
        self.status_due = True

    def cancel_backoff(self) -> None:
        """Something changed: do not wait any longer."""
        self._not_before_ns = None
