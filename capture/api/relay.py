"""From the pipeline's thread to the web's event loop: a bounded queue of events that nobody waits for.

A candle under way replaces the earlier one of its asset while that still waits, so that a busy event loop gets fewer of
them, never old ones. Sealed candles all wait, up to ``limit``; beyond it the oldest go and are counted.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from fluxcap.capture.pipeline.listeners import ChromeState, Listener, PublishedUpdate
from fluxcap.schemas.types import Candle, StreamKey, candles_from

LIMIT = 10_000


class CandleEvent(msgspec.Struct):
    """A candle to show: sealed, corrected, or under way (then ``candle`` may be replaced while it waits)."""

    symbol: str
    candle: Candle


class ChromeEvent(msgspec.Struct, frozen=True):
    """Chrome came, went, or does not answer."""

    state: ChromeState
    reason: str


Event: TypeAlias = CandleEvent | ChromeEvent


class EventRelay(Listener):
    """A listener of the pipeline. Attributes may be read from any thread.

    chrome: whether there is a browser, as of the newest event. dropped: events that were given up.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._events: deque[Event] = deque()
        self._forming: dict[str, CandleEvent] = {}
        self._wake: Callable[[], None] | None = None
        self.chrome = ChromeEvent(ChromeState.UNAVAILABLE, "")
        self.dropped = 0

    def listen(self, wake: Callable[[], None] | None) -> None:
        """Call ``wake`` (from the pipeline's thread) when there are events; None: nobody is interested, keep none."""
        with self._lock:
            self._wake = wake
            self._events.clear()
            self._forming.clear()

    def drain(self) -> list[Event]:
        """Remove and return the waiting events, in order."""
        with self._lock:
            event = list(self._events)
            self._events.clear()
            self._forming.clear()
        return event

    # --- listener -------------------------------------------------------------------------------------------------

    @property
    def hears_forming(self) -> bool:  # type: ignore[override]
        """Return whether somebody is interested."""
        return self._wake is not None

    def published(self, event: PublishedUpdate) -> None:
        if self._wake is None:
            return
        sealed = [(batch.key, candle) for batch in event.batches for candle in candles_from(batch.candles)]
        sealed += [(revision.key, candle) for revision in event.revisions for candle in candles_from(revision.candles)]
        for key, candle in sealed:
            self._put(CandleEvent(key.symbol, candle))

    def forming(self, key: StreamKey, candle: Candle) -> None:
        with self._lock:
            waiting = self._forming.get(key.symbol)
            if waiting is not None:
                waiting.candle = candle
                return
        if self._wake is not None:
            self._put(CandleEvent(key.symbol, candle), is_forming=True)

    def chrome_changed(self, state: ChromeState, reason: str) -> None:
        self.chrome = ChromeEvent(state, reason)
        if self._wake is not None:
            self._put(self.chrome)

    def _put(self, event: Event, *, is_forming: bool = False) -> None:
        with self._lock:
            wake, was_empty = self._wake, not self._events
            if wake is None:
                return
            self._events.append(event)
            if isinstance(event, CandleEvent):
                # What is under way now must not be taken for what was under way before the sealed one.
                self._forming.pop(event.symbol, None)
                if is_forming:
                    self._forming[event.symbol] = event
            if len(self._events) > self._limit:
                oldest = self._events.popleft()
                if isinstance(oldest, CandleEvent) and self._forming.get(oldest.symbol) is oldest:
                    del self._forming[oldest.symbol]
                self.dropped += 1
        if was_empty:
            wake()
