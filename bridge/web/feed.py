"""The live feed for any number of readers over one connection to the server.

Each reader has receivers of its own for its streams (``Coordinator``, as in ``LiveClient``), so that order, gaps,
revisions and another store are dealt with by the same rules; what they share is the connection, which decodes each
message once. It is there while somebody listens.

A reader that does not take its events gets no new ones: what passes it by meanwhile its receivers fetch afterwards. So
a slow reader holds a bounded number of candles, and loses none.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import NamedTuple, TypeVar

from fluxcap.bridge.client.cache import NoCache
from fluxcap.bridge.client.coordinator import Coordinator
from fluxcap.bridge.client.events import Event, StoreReplaced
from fluxcap.bridge.client.options import default_timeout_s, open_transport
from fluxcap.bridge.client.queues import EventQueue, SlowConsumer
from fluxcap.bridge.client.receiver.actions import Cursor, StartFrom
from fluxcap.bridge.transport.base import (
    Connected,
    Disconnected,
    MalformedMessage,
    MessageReceived,
    ReplyReceived,
    RequestFailed,
    Transport,
    TransportEvent,
)
from fluxcap.bridge.web.event_writer import StoreKnown
from fluxcap.bridge.web.reader import ReaderTarget
from fluxcap.schemas.errors import FluxcapError, NotAnswering
from fluxcap.schemas.types import Message, StreamKey

log = logging.getLogger(__name__)

MAX_LISTENERS = 64
QUEUE_CANDLES = 20_000
"""Candles that wait for one reader before its receivers read no further."""
INBOX_MESSAGES = 5_000
"""Messages of the feed that wait for one reader's receivers; those beyond are fetched later."""
TURN_S = 0.15
"""Between two turns, so that one turn takes many messages. What comes after a pause is passed on at once."""
NEW_TURN_S = 0.02
NEW_S = 3.0
"""So long after a reader came, turns are short: its chart becomes live at once."""
IDLE_TURN_NS = 250_000_000
RECEIVE_MS = 250
CALL_S = 10.0

_Result = TypeVar("_Result")


class TooManyListeners(FluxcapError):
    """So many readers listen that there is no room for one more."""


class _Branch:
    """One reader's transport: its share of the connection."""

    def __init__(self, feed: SharedFeed) -> None:
        self.inbox: deque[TransportEvent] = deque()
        self.topics: set[bytes] = set()
        self.messages = 0
        self._feed = feed

    def connect(self, pub: str | None, rep: str) -> None:
        if self._feed.is_connected:
            self.inbox.append(Connected())

    def subscribe(self, topics: Iterable[bytes]) -> None:
        self._feed.add_topics(self, topics)

    def unsubscribe(self, topics: Iterable[bytes]) -> None:
        self._feed.remove_topics(self, topics)

    def request(self, request_id: int, message: Message, timeout_ns: int) -> None:
        self._feed.request(self, request_id, message, timeout_ns)

    def receive(self, timeout_ms: int) -> list[TransportEvent]:
        events = list(self.inbox)
        self.inbox.clear()
        self.messages = 0
        return events

    def wake(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Cursors(NoCache):
    """The positions at which a reader begins."""

    def __init__(self, cursors: Mapping[StreamKey, Cursor]) -> None:
        super().__init__()
        self._cursors.update(cursors)


class Listener:
    """One reader's events, in ``queue``. All but the queue is for the thread that steps the feed."""

    def __init__(
        self, feed: SharedFeed, cursors: Mapping[StreamKey, Cursor], timeout_ns: int, clock_ns: Callable[[], int]
    ) -> None:
        self.queue = EventQueue(SlowConsumer.BLOCK, limit=QUEUE_CANDLES)
        self.branch = _Branch(feed)
        self._stores = {key: cursor.store_id for key, cursor in cursors.items()}
        self._turn_ns = 0
        self.coordinator = Coordinator(
            self.branch,
            _Cursors(cursors),
            self._emit,
            clock_ns=clock_ns,
            random=random.random,
            forming=True,
            page_limit=10_000,
            request_timeout_ns=timeout_ns,
        )

    def is_due(self, now_ns: int) -> bool:
        """Return whether there is something to do; never for a reader that has not taken what it was given."""
        return (bool(self.branch.inbox) or now_ns - self._turn_ns >= IDLE_TURN_NS) and self.queue.has_capacity

    def turn(self, now_ns: int) -> None:
        """Take in what came, and queue what is to be told."""
        self._turn_ns = now_ns
        self.coordinator.run_once(0)

    def _emit(self, events: Sequence[Event]) -> None:
        replaced = {event.key for event in events if isinstance(event, StoreReplaced)}
        told: list[Event] = []
        for event in events:
            key = event.key
            if not self._stores.get(key) and key not in replaced:
                receiver = self.coordinator.receiver(key)
                store_id = receiver.cursor.store_id if receiver is not None else ""
                if store_id:
                    self._stores[key] = store_id
                    told.append(StoreKnown(key, store_id))  # type: ignore[arg-type]
            told.append(event)
        self.queue.put(told)


class SharedFeed:
    """Listeners over one transport. For one thread; ``step`` it.

    listeners: those that listen. is_connected: whether there is a server. counters: ``messages``, ``garbled``.
    """

    def __init__(
        self,
        transport: Transport,
        addresses: tuple[str, str],
        timeout_ns: int,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.listeners: list[Listener] = []
        self.is_connected = False
        self.counters: Counter[str] = Counter()
        self._transport = transport
        self._addresses = addresses
        self._timeout_ns = timeout_ns
        self._clock_ns = clock_ns
        self._branches: dict[bytes, list[_Branch]] = {}
        self._requests: dict[int, tuple[_Branch, int]] = {}
        self._numbers = itertools.count(1)
        transport.connect(*addresses)

    def open(self, streams: Mapping[StreamKey, Cursor], watched: Iterable[StreamKey]) -> Listener:
        """Begin to listen: to streams from a position on (``Cursor()``: from the first candle), and to watched ones."""
        listener = Listener(self, streams, self._timeout_ns, self._clock_ns)
        for key in streams:
            listener.coordinator.add(key, StartFrom.RESUME)
        self.watch(listener, (key for key in watched if key not in streams))
        listener.coordinator.connect(*self._addresses)
        self.listeners.append(listener)
        return listener

    def watch(self, listener: Listener, keys: Iterable[StreamKey]) -> None:
        """Listen to what comes of more streams."""
        for key in keys:
            listener.coordinator.add(key, StartFrom.LATEST)

    def leave(self, listener: Listener) -> None:
        """Listen no more."""
        if listener in self.listeners:
            self.listeners.remove(listener)
            branch = listener.branch
            self.remove_topics(branch, list(branch.topics))
            self._requests = {number: asked for number, asked in self._requests.items() if asked[0] is not branch}

    def step(self, timeout_ms: int) -> None:
        """Wait for messages, at most so long, and deal with them."""
        for event in self._transport.receive(timeout_ms):
            self._route(event)
        now_ns = self._clock_ns()
        for listener in list(self.listeners):
            if not listener.is_due(now_ns):
                continue
            try:
                listener.turn(now_ns)
            except Exception as error:
                log.exception("a reader's feed ends")
                listener.queue.close(error)
                self.leave(listener)

    def add_topics(self, branch: _Branch, topics: Iterable[bytes]) -> None:
        """For a branch: have messages of these topics."""
        new = []
        for topic in topics:
            if topic not in branch.topics:
                branch.topics.add(topic)
                sharing = self._branches.setdefault(topic, [])
                sharing.append(branch)
                if len(sharing) == 1:
                    new.append(topic)
        self._transport.subscribe(new)

    def remove_topics(self, branch: _Branch, topics: Iterable[bytes]) -> None:
        """For a branch: have messages of these topics no more."""
        unused = []
        for topic in topics:
            if topic in branch.topics:
                branch.topics.discard(topic)
                self._branches[topic].remove(branch)
                if not self._branches[topic]:
                    del self._branches[topic]
                    unused.append(topic)
        self._transport.unsubscribe(unused)

    def request(self, branch: _Branch, request_id: int, message: Message, timeout_ns: int) -> None:
        """For a branch: ask the server; the reply, or failure, comes to its inbox."""
        number = next(self._numbers)
        self._requests[number] = (branch, request_id)
        self._transport.request(number, message, timeout_ns)

    def _route(self, event: TransportEvent) -> None:
        match event:
            case MessageReceived(topic):
                self.counters["messages"] += 1
                for branch in self._branches.get(topic, ()):
                    if branch.messages < INBOX_MESSAGES:
                        branch.messages += 1
                        branch.inbox.append(event)
            case ReplyReceived(number, message):
                self._hand_over(number, lambda request_id: ReplyReceived(request_id, message))
            case RequestFailed(number, error):
                self._hand_over(number, lambda request_id: RequestFailed(request_id, error))
            case Connected() | Disconnected():
                self.is_connected = isinstance(event, Connected)
                for listener in self.listeners:
                    listener.branch.inbox.append(event)
            case MalformedMessage():
                self.counters["garbled"] += 1

    def _hand_over(self, number: int, make: Callable[[int], TransportEvent]) -> None:
        asked = self._requests.pop(number, None)
        if asked is not None:
            branch, request_id = asked
            branch.inbox.append(make(request_id))


class _Command(NamedTuple):
    act: Callable[[SharedFeed], object]
    done: Future[object]


class FeedHub:
    """A shared feed with a thread of its own, which is there while somebody listens.

    ``open``, ``watch`` and ``leave`` may be called from any thread; they block for a moment.
    make_transport: what carries the messages, for a test.
    """

    def __init__(
        self,
        target: ReaderTarget,
        make_transport: Callable[[], Transport] | None = None,
        max_listeners: int = MAX_LISTENERS,
    ) -> None:
        self._target = target
        self._make_transport = make_transport or (lambda: open_transport(target.via, target.curve))
        self._max_listeners = max_listeners
        self._lock = threading.Lock()
        self._commands: list[_Command] = []
        self._thread: threading.Thread | None = None
        self._transport: Transport | None = None
        self._closing = threading.Event()
        self._opened_s = time.monotonic()
        self.listeners = 0

    def open(self, streams: Mapping[StreamKey, Cursor], watched: Sequence[StreamKey] = ()) -> Listener:
        """Begin to listen, as ``SharedFeed.open``.

        Raises TooManyListeners, ConfigError for an address, NotAnswering when this server is stopping.
        """

        def open_one(feed: SharedFeed) -> Listener:
            if len(feed.listeners) >= self._max_listeners:
                raise TooManyListeners(f"{self._max_listeners} readers listen already; close one, then come again.")
            self._opened_s = time.monotonic()
            return feed.open(streams, watched)

        return self._call(open_one)

    def watch(self, listener: Listener, keys: Sequence[StreamKey]) -> None:
        """As ``SharedFeed.watch``. Raises NotAnswering."""
        self._call(lambda feed: feed.watch(listener, keys))

    def leave(self, listener: Listener) -> None:
        """Listen no more. Does not wait, and never raises."""
        listener.queue.close()
        with contextlib.suppress(FluxcapError):
            self._post(lambda feed: feed.leave(listener))

    def close(self) -> None:
        """End all listening; the queues close. Idempotent."""
        self._closing.set()
        with self._lock:
            thread, transport = self._thread, self._transport
        if transport is not None:
            transport.wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join(CALL_S)

    def _call(self, act: Callable[[SharedFeed], _Result]) -> _Result:
        """Have it done on the thread, which begins with the first. Raises what it raised."""
        try:
            return self._post(act).result(CALL_S)
        except TimeoutError:
            raise NotAnswering("The feed is too busy to be joined; try again.") from None

    def _post(self, act: Callable[[SharedFeed], _Result]) -> Future[_Result]:
        done: Future[_Result] = Future()
        with self._lock:
            if self._closing.is_set():
                raise NotAnswering("This server is stopping.")
            self._commands.append(_Command(act, done))  # type: ignore[arg-type]
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="fluxcap-feed", daemon=True)
                self._thread.start()
            transport = self._transport
        if transport is not None:
            transport.wake()
        return done

    def _run(self) -> None:
        transport: Transport | None = None
        feed: SharedFeed | None = None
        failure: Exception | None = None
        try:
            transport = self._make_transport()
            timeout_ns = int(default_timeout_s(self._target.via) * 1e9)
            feed = SharedFeed(transport, _addresses(self._target), timeout_ns)
            with self._lock:
                self._transport = transport
            while self._run_commands(feed):
                feed.step(RECEIVE_MS)
                is_new = time.monotonic() - self._opened_s < NEW_S
                self._closing.wait(NEW_TURN_S if is_new else TURN_S)
        except Exception as error:
            failure = error
            if not isinstance(error, FluxcapError):
                log.exception("the feed ends")
        if failure is not None or self._closing.is_set():
            self._end(feed, failure)
        if transport is not None:
            transport.close()

    def _run_commands(self, feed: SharedFeed) -> bool:
        """Carry out what is asked; False when nobody listens any more, or all is to end."""
        with self._lock:
            commands, self._commands = self._commands, []
        for act, done in commands:
            try:
                done.set_result(act(feed))
            except Exception as error:
                done.set_exception(error)
        self.listeners = len(feed.listeners)
        with self._lock:
            if self._closing.is_set():
                return False
            if not feed.listeners and not self._commands:
                # From here on another thread may begin, with a connection of its own.
                self._thread = self._transport = None
                return False
            return True

    def _end(self, feed: SharedFeed | None, error: Exception | None) -> None:
        with self._lock:
            self._thread = self._transport = None
            commands, self._commands = self._commands, []
        for _, done in commands:
            done.set_exception(error or NotAnswering("This server is stopping."))
        self.listeners = 0
        for listener in feed.listeners if feed is not None else ():
            listener.queue.close(error)


def _addresses(target: ReaderTarget) -> tuple[str, str]:
    return (target.pub, target.rep) if target.via is None else (target.via.servers, target.via.servers)
