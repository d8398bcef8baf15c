"""Calls ``on_event`` with each event, in a thread of its own, so that a slow one holds up nobody but itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from bridge.client.delivery import EventQueue
from bridge.client.events import Event

log = logging.getLogger(__name__)

PATIENCE_S = 10.0
"""How long the end waits for one call: longer, and the call may be waiting for who waits for the end."""


class Callback:
    """Ends with the queue, once all that waited was told."""

    def __init__(self, queue: EventQueue, on_event: Callable[[Event], None]) -> None:
        self._queue = queue
        self._on_event = on_event
        self._told = 0
        self._thread = threading.Thread(target=self._run, name="fluxcap-client-events", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        """Wait until all was told, but not for a call that does not return. From ``on_event`` itself it waits not."""
        if self._thread is threading.current_thread():
            return
        told = -1
        while self._thread.is_alive() and told != self._told:
            told = self._told
            self._thread.join(PATIENCE_S)
        if self._thread.is_alive():
            log.warning("on_event has not returned for %g s; the client closes without it", PATIENCE_S)

    def _run(self) -> None:
        while True:
            try:
                event = self._queue.get(None)
            except Exception:  # logged where it arose
                return
            if event is None:
                return
            try:
                self._on_event(event)
            except Exception:
                log.exception("on_event failed on %s", type(event).__name__)
            self._told += 1
