"""Listeners of the pipeline: CSV files, Socket.IO, metrics and the watch over Chrome.

Listeners are called on the pipeline's thread, after the fact. One that raises is reported and called next time: no
listener may cost a candle.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence

import msgspec

from fluxcap.capture.runtime import log
from fluxcap.schemas.types import Candle, CandleBatch, CandleRevision, Gap, StreamKey, Tick


class ChromeState(enum.StrEnum):
    """The state of the connection to Chrome, as ``status`` serves it.

    Without a connection it is one of the first two.
    """

    UNAVAILABLE = "not reachable"
    WAITING_FOR_CONSENT = "waiting for your consent"
    ATTACHED = "attached"
    SILENT = "attached, not answering"

    @property
    def connected(self) -> bool:
        """Return whether there is a connection, answering or not."""
        return self in (ChromeState.ATTACHED, ChromeState.SILENT)


class PublishedUpdate(msgspec.Struct, frozen=True):
    """Data given to listeners after it was committed and published.

    ``batches`` and ``revisions`` are of the base interval, ``derived`` are those of the streams derived from them.
    """

    batches: tuple[CandleBatch, ...]
    revisions: tuple[CandleRevision, ...]
    gaps: tuple[Gap, ...]
    ticks: tuple[Tick, ...]
    derived: tuple[CandleBatch | CandleRevision, ...] = ()


class Listener:
    """Base of those who listen: override what you want to hear.

    Told on the pipeline's thread, in order: hand over to a queue of your own and return.

    Attributes
    ----------
    hears_forming
        Whether it wants the candles under way as often as they go out, else it may be told once a second.
    """

    hears_forming: bool = False

    def published(self, update: PublishedUpdate) -> None:
        """Something was committed and published."""

    def forming(self, key: StreamKey, candle: Candle) -> None:
        """The candle under way of a focused asset, a few times a second."""

    def chrome_changed(self, state: ChromeState, reason: str) -> None:
        """The browser came, went, or does not answer."""


class ListenerGroup:
    """Tells all of them, whatever one of them does."""

    def __init__(self, listeners: Sequence[Listener] = ()) -> None:
        self._listeners = [(listener, log.RateLimit()) for listener in listeners]
        self.failures = 0

    def add(self, listener: Listener) -> None:
        """Tell one more from now on."""
        self._listeners.append((listener, log.RateLimit()))

    @property
    def hear_forming(self) -> bool:
        """Return whether one of them wants the candles under way as often as they go out."""
        return any(listener.hears_forming for listener, _ in self._listeners)

    def published(self, update: PublishedUpdate) -> None:
        self._notify(lambda listener: listener.published(update))

    def forming(self, key: StreamKey, candle: Candle) -> None:
        self._notify(lambda listener: listener.forming(key, candle))

    def chrome_changed(self, state: ChromeState, reason: str) -> None:
        self._notify(lambda listener: listener.chrome_changed(state, reason))

    def _notify(self, call: Callable[[Listener], None]) -> None:
        for listener, limit in self._listeners:
            try:
                call(listener)
            except Exception as error:
                self.failures += 1
                limit.failure("listener.error", error, listener=type(listener).__name__)
