"""One live client for all pages of a process: streams are subscribed to while a page shows them.

The client's event thread fills the memories; pages read them when they draw. A lock stands between.
"""

from __future__ import annotations

import threading
from collections import Counter

from fluxcap.bridge.client.events import Candles, Event, Forming, Gap, HealthChanged, Revision, StoreReplaced
from fluxcap.bridge.client.health import Health
from fluxcap.bridge.client.live import LiveClient
from fluxcap.bridge.client.options import Via
from fluxcap.bridge.dashboard.stream_buffer import MAX_CANDLES, Changes, StreamBuffer
from fluxcap.bridge.transport.curve import ClientCurve
from fluxcap.schemas.errors import ConfigError
from fluxcap.schemas.types import StreamKey

LOG_LINES = 200


class LiveFeed:
    """See the module. ``log`` is what happened beside candles: gaps, health, a new store; newest last."""

    def __init__(self, pub: str, rep: str, curve: ClientCurve | None = None, via: Via | None = None) -> None:
        self._client = LiveClient(pub, rep, start_from=-MAX_CANDLES, on_event=self._on_event, curve=curve, via=via)
        self._lock = threading.Lock()
        self._memories: dict[StreamKey, StreamBuffer] = {}
        self._viewers: Counter[StreamKey] = Counter()
        self.log: list[tuple[int, str, str]] = []
        self._lines = 0

    def start(self) -> LiveFeed:
        self._client.start()
        return self

    def close(self) -> None:
        self._client.close()

    def reconnect(self, pub: str, rep: str) -> None:
        """Go to another server."""
        self._client.reconnect(pub, rep)

    def subscribe(self, key: StreamKey) -> None:
        """One more page shows the stream. Blocks for a moment."""
        with self._lock:
            self._viewers[key] += 1
            if self._viewers[key] > 1:
                return
            self._memories[key] = StreamBuffer()
        self._client.subscribe(key)

    def unsubscribe(self, key: StreamKey) -> None:
        """A page shows the stream no more. Blocks for a moment."""
        with self._lock:
            self._viewers[key] -= 1
            if self._viewers[key] > 0:
                return
            del self._viewers[key]
            self._memories.pop(key, None)
        self._client.unsubscribe(key)

    def changes(self, key: StreamKey, version: int) -> Changes | None:
        """As ``StreamBuffer.changes``."""
        with self._lock:
            buffer = self._memories.get(key)
            return buffer.changes(version) if buffer is not None else None

    def buffer(self, key: StreamKey) -> StreamBuffer | None:
        """For its figures alone."""
        return self._memories.get(key)

    def health(self, key: StreamKey) -> Health | None:
        try:
            return self._client.health(key)
        except ConfigError:
            return None

    @property
    def counters(self) -> dict[str, int]:
        """The client's own."""
        return self._client.counters

    def _on_event(self, event: Event) -> None:
        with self._lock:
            buffer = self._memories.get(event.key)
            if buffer is None:
                return
            match event:
                case Candles(_, start, candles, is_backfill):
                    if is_backfill and len(buffer):
                        last = start + len(candles) - 1
                        self._note("gap", f"#{start}{f' to #{last}' if last > start else ''} did not arrive")
                        self._note("healed", f"{len(candles)} fetched while live candles arrived")
                    elif is_backfill:
                        self._note("history", f"{len(candles)} fetched, from #{start}")
                    buffer.add(start, candles)
                case Revision(_, _, _, candles):
                    buffer.revise(candles)
                    self._note("revised", f"{len(candles)} corrected")
                case Forming(_, candle):
                    buffer.set_forming(candle)
                case StoreReplaced(_, _, reason):
                    buffer.reset()
                    self._note("new store", reason)
                case Gap(_, first, last, reason):
                    self._note("lost", f"#{first} to #{last}: {reason}")
                case HealthChanged(_, health):
                    self._note(health.state.value, health.reason or health.label)
                case _:
                    pass

    def _note(self, kind: str, text: str) -> None:
        self._lines += 1
        self.log.append((self._lines, kind, text))
        del self.log[:-LOG_LINES]
