"""Paces a stream's requests: one in flight at a time, and a wait after each empty reply. Pure."""

from __future__ import annotations

import enum

from fluxcap.bridge.transport.backoff import Backoff


class Flight(enum.Enum):
    """The request under way."""

    STATUS = enum.auto()
    CANDLES = enum.auto()
    REVISIONS = enum.auto()


class Asking:
    """status_due: ask where the server stands before anything else. vain_in_a_row: since the last gain. vain: ever."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self.vain = 0
        self.reset()

    def reset(self) -> None:
        """A new connection: nothing under way, nothing to wait for."""
        self.flight: Flight | None = None
        self.status_due = False
        self.vain_in_a_row = 0
        self._not_before_ns: int | None = None

    @property
    def wake_ns(self) -> int | None:
        """End of the wait, if there is one and nothing is under way."""
        return self._not_before_ns if self.flight is None else None

    def may_ask(self, now_ns: int) -> bool:
        if self.flight is not None or (self._not_before_ns is not None and now_ns < self._not_before_ns):
            return False
        self._not_before_ns = None
        return True

    def launch(self, flight: Flight) -> None:
        self.flight = flight
        if flight is Flight.STATUS:
            self.status_due = False

    def lands(self, flight: Flight) -> bool:
        """An answer came; whether it is the one under way, which ends with it."""
        if self.flight is not flight:
            return False
        self.flight = None
        return True

    def gained(self) -> None:
        """The answer brought something: no more waiting."""
        self.vain_in_a_row = 0
        self._not_before_ns = None

    def gained_nothing(self, now_ns: int) -> None:
        """Wait, then ask where the server stands before asking for more."""
        self.vain += 1
        self.vain_in_a_row += 1
        self._not_before_ns = now_ns + self._backoff.wait_ns(self.vain_in_a_row)
        self.status_due = True

    def at_once(self) -> None:
        """Something changed: do not wait any longer."""
        self._not_before_ns = None
