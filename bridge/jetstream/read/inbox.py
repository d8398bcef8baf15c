"""From the loop that talks to JetStream to the thread that reads it: bounded by making the loop wait, never by loss.

Notices (connections, answers) come before messages that wait, and are few. Of heartbeats only the newest of a stream is
kept. A connection that ends takes along what it had brought: it can be fetched.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TypeAlias

import msgspec

from fluxcap.bridge.jetstream.stream import StoredMessage
from fluxcap.bridge.transport.base import Connected, Disconnected, ReplyReceived, RequestFailed

FULL_MESSAGES = 10_000
FULL_BYTES = 32 * 1024 * 1024


class HeartbeatReceived(msgspec.Struct, frozen=True, eq=False):
    """A heartbeat, as it came."""

    payload: bytes


TransportNotice: TypeAlias = Connected | Disconnected | ReplyReceived | RequestFailed
Item: TypeAlias = TransportNotice | StoredMessage | HeartbeatReceived


class Inbox:
    """``put…`` are called on the loop, the rest on the reader's thread."""

    def __init__(self, full_messages: int = FULL_MESSAGES, full_bytes: int = FULL_BYTES) -> None:
        self._full_messages = full_messages
        self._full_bytes = full_bytes
        self._changed = threading.Condition()
        self._notices: deque[TransportNotice] = deque()
        self._messages: deque[StoredMessage] = deque()
        self._heartbeats: dict[str, HeartbeatReceived] = {}
        self._bytes = 0
        self._woken = False
        self._capacity: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def set_capacity_event(self, loop: asyncio.AbstractEventLoop, capacity: asyncio.Event) -> None:
        """``capacity`` is set while there is room, cleared while there is none."""
        self._capacity = (loop, capacity)
        capacity.set()

    def put_notice(self, notice: TransportNotice) -> None:
        with self._changed:
            if isinstance(notice, Disconnected):
                self._drop_messages()
            self._notices.append(notice)
            self._changed.notify()

    def put_messages(self, messages: list[StoredMessage]) -> None:
        if not messages:
            return
        with self._changed:
            self._messages += messages
            self._bytes += sum(len(message.payload) for message in messages)
            if self._is_full() and self._capacity is not None:
                self._capacity[1].clear()
            self._changed.notify()

    def put_heartbeat(self, subject: str, payload: bytes) -> None:
        with self._changed:
            self._heartbeats[subject] = HeartbeatReceived(payload)
            self._changed.notify()

    def drain(self, most_messages: int, wait_s: float) -> list[Item]:
        """Return notices, then messages, then heartbeats. Waits ``wait_s`` for the first, or for ``wake``."""
        with self._changed:
            self._changed.wait_for(lambda: self._woken or self._is_something(), wait_s)
            self._woken = False
            found: list[Item] = [*self._notices]
            self._notices.clear()
            was_full = self._is_full()
            for _ in range(min(most_messages, len(self._messages))):
                message = self._messages.popleft()
                self._bytes -= len(message.payload)
                found.append(message)
            found += self._heartbeats.values()
            self._heartbeats.clear()
            if was_full and not self._is_full():
                self._signal_capacity()
            return found

    def wake(self) -> None:
        """End a waiting ``drain``; from any thread."""
        with self._changed:
            self._woken = True
            self._changed.notify()

    def clear(self) -> None:
        """Forget all that waits."""
        with self._changed:
            self._notices.clear()
            self._drop_messages()

    def _drop_messages(self) -> None:
        was_full = self._is_full()
        self._messages.clear()
        self._heartbeats.clear()
        self._bytes = 0
        if was_full:
            self._signal_capacity()

    def _is_something(self) -> bool:
        return bool(self._notices or self._messages or self._heartbeats)

    def _is_full(self) -> bool:
        return len(self._messages) >= self._full_messages or self._bytes >= self._full_bytes

    def _signal_capacity(self) -> None:
        if self._capacity is not None:
            loop, capacity = self._capacity
            if not loop.is_closed():
                loop.call_soon_threadsafe(capacity.set)
