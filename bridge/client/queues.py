"""From the thread that talks to the server to the thread that wants the events, with a bound and a policy.

Order is kept per stream. Forming candles and health are states, not history: a newer one takes the place of one that
still waits, so these cannot fill the queue.
"""

from __future__ import annotations

import enum
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from fluxcap.bridge.client.events import Candles, Event, Forming, Gap, HealthChanged, Ticks
from fluxcap.bridge.system.signals import longest_wait_s
from fluxcap.schemas.errors import ConfigError, FluxcapError
from fluxcap.schemas.types import StreamKey

if TYPE_CHECKING:
    from concurrent.futures import Future

SLOW = "the consumer was too slow; the candles are in the cache, and on the server"


class SlowConsumer(enum.Enum):
    """The policy for a consumer that is slower than its events."""

    BLOCK = "block"
    """Stop reading until there is room. Nothing is lost: what passed meanwhile is fetched afterwards. What had been
    read already is let in, so more may wait than the bound."""
    SKIP_TO_LATEST = "skip to latest"
    """Drop the candles that wait and put a Gap event in their place. The cache still gets all of them. Ticks that wait
    are dropped without a word."""


class _Slot:
    """A place in the queue whose event may be replaced while it waits."""

    __slots__ = ("event",)

    def __init__(self, event: Event) -> None:
        self.event = event


class EventQueue:
    """Bounded by ``limit``: candles and ticks count one each, other events one.

    The producer never waits with an event in hand: it asks for room before it reads more (``wait_for_capacity``), and
    can be called away from there.
    """

    def __init__(self, policy: SlowConsumer, *, limit: int) -> None:
        self._policy = policy
        self._limit = limit
        self._slots: deque[_Slot] = deque()
        self._weight = 0
        self._latest: dict[tuple[type[Event], StreamKey], _Slot] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._called = False
        self._error: BaseException | None = None
        self._listeners: list[Callable[[], None]] = []

    def put(self, events: Iterable[Event]) -> None:
        """Queue events, unless the queue is closed."""
        with self._changed:
            if self._closed:
                return
            for event in events:
                if self._replaces_latest(event):
                    continue
                if self._policy is SlowConsumer.SKIP_TO_LATEST and not self._has_capacity(_weight(event)):
                    self._skip()
                self._append(event)
            self._notify()

    def wait_for_capacity(self) -> bool:
        """Wait until more may be read. False when the queue was closed, or the producer called away: then ask again."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._called or self._may_read())
            self._called = False
            return not self._closed and self._may_read()

    @property
    def has_capacity(self) -> bool:
        """Return whether more may be read, for a producer that does not wait."""
        with self._changed:
            return self._may_read()

    def wake_producer(self) -> None:
        """End the producer's wait for room, or the next one."""
        with self._changed:
            self._called = True
            self._changed.notify_all()

    def get(self, timeout: float | None) -> Event | None:
        """The next event, or None when there was none for ``timeout`` seconds (None: wait) or the queue was closed.

        Raises the error the queue was closed with, once all events before it were taken.
        """
        with self._changed:
            deadline_s = None if timeout is None else time.monotonic() + timeout
            while not self._slots and not self._closed:
                left_s = None if deadline_s is None else deadline_s - time.monotonic()
                if left_s is not None and left_s <= 0:
                    break
                self._changed.wait(longest_wait_s(left_s))
            if not self._slots:
                if self._error is not None:
                    raise self._error
                return None
            event = self._slots.popleft().event
            self._weight -= _weight(event)
            self._latest.pop((type(event), event.key), None)
            self._changed.notify_all()
            return event

    @property
    def is_closed(self) -> bool:
        """Closed, and nothing waits any more."""
        return self._closed and not self._slots

    def close(self, error: BaseException | None = None) -> None:
        """End of events. Idempotent; the first error stays."""
        with self._changed:
            self._closed = True
            self._error = self._error or error
            self._notify()

    def add_listener(self, listener: Callable[[], None]) -> None:
        """Called, mostly in the producer's thread, whenever there is something to get."""
        with self._changed:
            self._listeners.append(listener)
            self._notify()

    def remove_listener(self, listener: Callable[[], None]) -> None:
        """Take back ``add_listener``."""
        with self._changed:
            self._listeners.remove(listener)

    def _notify(self) -> None:
        self._changed.notify_all()
        if self._slots or self._closed:
            for listener in self._listeners:
                listener()

    def _replaces_latest(self, event: Event) -> bool:
        if isinstance(event, Candles):
            # A candle under way that comes later must not be seen before these.
            self._latest.pop((Forming, event.key), None)
        elif isinstance(event, Forming | HealthChanged):
            cell = self._latest.get((type(event), event.key))
            if cell is not None:
                cell.event = event
                return True
        return False

    def _append(self, event: Event) -> None:
        cell = _Slot(event)
        self._slots.append(cell)
        self._weight += _weight(event)
        if isinstance(event, Forming | HealthChanged):
            self._latest[(type(event), event.key)] = cell

    def _has_capacity(self, weight: int) -> bool:
        return not self._slots or self._weight + weight <= self._limit

    def _may_read(self) -> bool:
        return self._policy is SlowConsumer.SKIP_TO_LATEST or self._has_capacity(0)

    def _skip(self) -> None:
        """Waiting candles become gaps, neighbouring gaps of a stream one."""
        kept: deque[_Slot] = deque()
        gaps: dict[StreamKey, _Slot] = {}
        for cell in self._slots:
            event = cell.event
            if isinstance(event, Ticks):
                self._weight -= _weight(event)
                continue
            if isinstance(event, Candles):
                self._weight -= _weight(event) - 1
                event = Gap(event.key, event.start_sequence, event.end_sequence, SLOW)
            if isinstance(event, Gap) and event.reason == SLOW:
                before = gaps.get(event.key)
                if before is not None and isinstance(before.event, Gap):
                    before.event = Gap(event.key, before.event.from_sequence, event.to_sequence, SLOW)
                    self._weight -= 1
                    continue
                cell.event = event
                gaps[event.key] = cell
            elif not isinstance(event, Forming | HealthChanged):
                gaps.pop(event.key, None)
            kept.append(cell)
        self._slots = kept


def _weight(event: Event) -> int:
    if isinstance(event, Candles):
        return len(event.candles)
    return len(event.price) if isinstance(event, Ticks) else 1


class CommandQueue:
    """``wake`` makes the thread that obeys look soon; it is called from the threads that ask."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._pending: SimpleQueue[tuple[Callable[[], None], Future[None]]] = SimpleQueue()
        self._ended = threading.Event()

    def call(self, command: Callable[[], None]) -> None:
        """Have it done, and wait until it is. Raises what it raised; ConfigError when nobody obeys any more."""
        from concurrent.futures import Future  # here: whoever imports the client need not wait for it

        done: Future[None] = Future()
        self._pending.put((command, done))
        self._wake()
        if self._ended.is_set():  # it may have been put after the last look
            self._refuse()
        done.result()

    def run_pending(self) -> None:
        """Carry out what waits; for the thread that talks to the server.

        A FluxcapError goes to who asked. So does anything else, which no argument can cause and which nobody knows how
        to go on from: it is also raised.
        """
        while (asked := self._next()) is not None:
            command, done = asked
            try:
                command()
            except BaseException as error:
                done.set_exception(error)
                if not isinstance(error, FluxcapError):
                    raise
            else:
                done.set_result(None)

    def close(self) -> None:
        """Obey no more; all that waits, or comes, is refused."""
        self._ended.set()
        self._refuse()

    def _refuse(self) -> None:
        while (asked := self._next()) is not None:
            asked[1].set_exception(ConfigError("The client has stopped."))

    def _next(self) -> tuple[Callable[[], None], Future[None]] | None:
        try:
            return self._pending.get_nowait()
        except Empty:
            return None


log = logging.getLogger(__name__)

JOIN_TIMEOUT_S = 10.0
"""How long the end waits for one call: longer, and the call may be waiting for who waits for the end."""


class CallbackThread:
    """Ends with the queue, once all that waited was delivered."""

    def __init__(self, queue: EventQueue, on_event: Callable[[Event], None]) -> None:
        self._queue = queue
        self._on_event = on_event
        self._delivered = 0
        self._thread = threading.Thread(target=self._run, name="fluxcap-client-events", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        """Wait until all was delivered, but not for a call that does not return, nor within ``on_event`` itself."""
        if self._thread is threading.current_thread():
            return
        seen = -1
        while self._thread.is_alive() and seen != self._delivered:
            seen = self._delivered
            self._thread.join(JOIN_TIMEOUT_S)
        if self._thread.is_alive():
            log.warning("on_event has not returned for %g s; the client closes without it", JOIN_TIMEOUT_S)

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
            self._delivered += 1
