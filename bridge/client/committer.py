"""Store, then tell: what a turn brought goes into the cache in one transaction, and only then to the consumer.

No thread and no clock of its own. When the disk is full everything waits here, bounded since the coordinator takes no
candle in meanwhile, and is tried again each second; only health is reported.
"""

from __future__ import annotations

from collections.abc import Callable

from fluxcap.bridge.client.cache import Cache, Change
from fluxcap.bridge.client.events import Event, HealthChanged
from fluxcap.bridge.client.receiver.actions import Cursor
from fluxcap.schemas.errors import StoreFull
from fluxcap.schemas.types import StreamKey

RETRY_NS = 1_000_000_000


class EventCommitter:
    """error: why nothing can be stored at present; ``""`` while it can. merges: transactions so far."""

    def __init__(self, cache: Cache, emit: Callable[[list[Event]], None]) -> None:
        self._cache = cache
        self._emit = emit
        self._changes: list[Change] = []
        self._cursors: dict[StreamKey, Cursor] = {}
        self._events: list[Event] = []
        self._retry_ns = 0
        self.error = ""
        self.merges = 0

    def store(self, change: Change | None, cursor: Cursor, event: Event) -> None:
        """A change of the table (None: of the cursor alone), where the stream stands after it, and what to tell."""
        if change is not None:
            self._changes.append(change)
        self._cursors[event.key] = cursor
        self._events.append(event)

    def emit(self, event: Event) -> None:
        """Emit an event that needs no storing, in order with those that do."""
        self._events.append(event)

    @property
    def has_changes(self) -> bool:
        """Return whether there is something to store, and room for it as far as is known."""
        return bool(self._changes) and not self.error

    @property
    def streams(self) -> int:
        """Return of how many streams there is something to store."""
        return len(self._cursors)

    def forget(self, key: StreamKey) -> None:
        """The stream was left: what could not be stored of it is neither stored nor reported.

        Its cursor in the cache stands before all of it, so that whoever comes back fetches it again.
        """
        self._changes = [change for change in self._changes if change.key != key]
        self._cursors.pop(key, None)
        self._events = [event for event in self._events if event.key != key]

    def commit(self, now_ns: int) -> None:
        """Store, then tell. Raises StoreError, but for StoreFull."""
        if self.error and now_ns < self._retry_ns:
            self._emit_health()
            return
        if self._changes or self._cursors:
            try:
                self._cache.commit(self._changes, self._cursors)
            except StoreFull as error:
                self.error, self._retry_ns = str(error), now_ns + RETRY_NS
                self._emit_health()
                return
            self.merges += 1
            self._changes, self._cursors = [], {}
        self.error = ""
        events, self._events = self._events, []
        if events:
            self._emit(events)

    def _emit_health(self) -> None:
        health: list[Event] = [event for event in self._events if isinstance(event, HealthChanged)]
        if health:
            self._events = [event for event in self._events if not isinstance(event, HealthChanged)]
            self._emit(health)
