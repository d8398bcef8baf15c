"""The request socket: a thread that owns a ROUTER and gives every request exactly one answer.

What to answer is bridge/server/requests.py; this file moves frames, and says whose turn it is (``FairQueue``). A
request comes as ``[identity][empty][payload]`` from a REQ socket, with or without the empty frame from a DEALER; its
answer goes back along the same route. Frames that hold no single payload are answered 400.

Nothing a client does stops the thread or another client: sends never block, an answer that a slow reader does not take
is kept (one per client) and tried again, a client that is gone is dropped.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque

import zmq

from fluxcap.bridge.server.requests import RequestHandler
from fluxcap.bridge.transport.curve import ServerCurve
from fluxcap.bridge.transport.endpoint import bind, enable_keepalive
from fluxcap.schemas.codec import MAX_MESSAGE_BYTES

_log = logging.getLogger(__name__)

_SEND_QUEUE = 16
"""Answers on their way to one client; at 0.8 MB a page a slow reader holds 13 MB at most."""
_RECEIVE_QUEUE = 1_000
_TURNS_A_ROUND = 64
"""Requests received, and answered, before the other gets its turn."""
_RETRY_MS = 20
_FAILURES_IN_A_ROW = 100

MAX_WAITING_BYTES = 16 * 1024 * 1024
"""Requests one client may have waiting: 100,000 of ordinary size."""
_OVERHEAD = 64
BLOCKED_MAX_NS = 60_000_000_000
"""How long a client may leave its answers unread before its requests are dropped."""

Request = tuple[list[bytes], list[bytes]]
"""Route and payload frames."""


def split_route(frames: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Split a ROUTER message into (route for the answer, payload frames).

    The route ends with the first empty frame after the identity (REQ's delimiter; a proxy adds hops before it), or is
    the identity alone. A single empty frame is a payload: nothing follows it.
    """
    for at in range(1, len(frames) - 1):
        if not frames[at]:
            return frames[: at + 1], frames[at + 1 :]
    return frames[:1], frames[1:]


class _ClientQueue:
    __slots__ = ("blocked_since_ns", "bytes_waiting", "reply", "requests")

    def __init__(self) -> None:
        self.requests: deque[Request] = deque()
        self.bytes_waiting = 0
        self.reply: list[bytes] | None = None  # made, but could not be sent yet
        self.blocked_since_ns = 0


class FairQueue:
    """Chooses the next request: one per client in turn.

    Every client's requests wait in a line of its own, and clients take turns by one request. A client whose answers do
    not leave (it reads too slowly) is held back: its line stays, its turns pass, and nobody else notices. One that
    sends without end, or never reads, is dropped when its line is over the bound or it was held back too long.

    It reads no clock and no socket.
    """

    def __init__(self) -> None:
        self._lines: dict[bytes, _ClientQueue] = {}
        self._turns: deque[bytes] = deque()
        self._blocked: dict[bytes, _ClientQueue] = {}

    def __len__(self) -> int:
        """Clients with something waiting, held back or not."""
        return len(self._lines)

    @property
    def blocked(self) -> list[bytes]:
        """Clients that are held back."""
        return list(self._blocked)

    @property
    def ready(self) -> bool:
        """Return whether a request may be served now."""
        return bool(self._turns)

    def add(self, identity: bytes, request: Request) -> bool:
        """A request arrived. False when its client has too much waiting: it is not taken."""
        line = self._lines.get(identity)
        if line is None:
            line = self._lines[identity] = _ClientQueue()
            self._turns.append(identity)
        size = _size(request)
        if line.bytes_waiting + size > MAX_WAITING_BYTES:
            return False
        line.requests.append(request)
        line.bytes_waiting += size
        return True

    def next(self) -> tuple[bytes, Request] | None:
        """The request whose turn it is, or None; ``served``, ``block`` or ``drop`` must follow."""
        if not self._turns:
            return None
        identity = self._turns.popleft()
        line = self._lines[identity]
        request = line.requests.popleft()
        line.bytes_waiting -= _size(request)
        return identity, request

    def served(self, identity: bytes) -> None:
        """The answer left: the client goes to the end of the round, if it has more waiting."""
        self._blocked.pop(identity, None)
        line = self._lines[identity]
        line.reply = None
        if line.requests:
            self._turns.append(identity)
        else:
            del self._lines[identity]

    def block(self, identity: bytes, answer: list[bytes], now_ns: int) -> None:
        """The answer could not leave: keep it, and let the client's turns pass."""
        line = self._lines[identity]
        if line.reply is None:
            line.blocked_since_ns = now_ns
        line.reply = answer
        self._blocked[identity] = line

    def pending_reply(self, identity: bytes) -> list[bytes]:
        """The answer that a client held back has not taken yet."""
        return self._blocked[identity].reply or []

    def overdue(self, now_ns: int) -> list[bytes]:
        """Clients held back for too long."""
        return [i for i, line in self._blocked.items() if now_ns - line.blocked_since_ns > BLOCKED_MAX_NS]

    def drop(self, identity: bytes) -> int:
        """The client is gone: drop what it has waiting. Returns how many requests stay unanswered."""
        self._blocked.pop(identity, None)
        line = self._lines.pop(identity, None)
        if line is None:
            return 0
        if identity in self._turns:
            self._turns.remove(identity)
        return len(line.requests) + 1


def _size(request: Request) -> int:
    route, payload = request
    return _OVERHEAD + sum(map(len, route)) + sum(map(len, payload))


class Responder:
    """Owns the ROUTER socket and its thread.

    Parameters
    ----------
    context
        ZeroMQ context.
    endpoint
        Where to bind, such as ``tcp://127.0.0.1:5557``; port 0 picks a free one.
    handler
        Answers each request; used in the responder's thread only.
    curve
        Keys; needed for an endpoint beyond loopback.

    Attributes
    ----------
    endpoint
        As bound.

    Raises AlreadyRunning when the endpoint is in use, ConfigError when it cannot be bound or lacks keys.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        handler: RequestHandler,
        curve: ServerCurve | None = None,
    ) -> None:
        self._context = context
        self._handler = handler
        self._queue = FairQueue()
        self._counters: Counter[str] = Counter()
        self._thread: threading.Thread | None = None
        self._router = context.socket(zmq.ROUTER)
        self._router.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        self._router.setsockopt(zmq.SNDHWM, _SEND_QUEUE)
        self._router.setsockopt(zmq.RCVHWM, _RECEIVE_QUEUE)
        # Mandatory turns silent loss into an error here: a full line is distinguished from a client that is gone.
        self._router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        # A client that comes back under its own name before its old connection timed out gets the name.
        self._router.setsockopt(zmq.ROUTER_HANDOVER, 1)
        self._router.setsockopt(zmq.LINGER, 0)
        enable_keepalive(self._router)
        self._wake_name = f"inproc://fluxcap-responder-{id(self)}"
        self._wake_in = context.socket(zmq.PAIR)
        self._wake_out = context.socket(zmq.PAIR)
        self._poller = zmq.Poller()
        self._poller.register(self._router, zmq.POLLIN)
        self._poller.register(self._wake_in, zmq.POLLIN)
        try:
            self._wake_in.bind(self._wake_name)
            self._wake_out.connect(self._wake_name)
            self.endpoint = bind(self._router, endpoint, curve)
        except BaseException:
            self._close_sockets()
            raise

    @property
    def counters(self) -> dict[str, int]:
        """Return the counters by name.

        ``requests``, ``error_<code>``; ``handler`` sent; ``held_back``, ``forgotten``, ``refused``: see the request
        queue; ``failures`` of the thread itself.
        """
        return dict(self._handler.counters.copy() + self._counters.copy())

    def start(self) -> Responder:
        """Start answering. Returns itself."""
        self._thread = threading.Thread(target=self._run, name="responder", daemon=True)
        self._thread.start()
        return self

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop answering and close the socket. Idempotent."""
        if self._thread is not None:
            self._wake_out.send(b"")
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                _log.error("The responder did not stop within %.0f s", timeout_s)
                return
            self._thread = None
        self._close_sockets()

    def _close_sockets(self) -> None:
        for socket in (self._router, self._wake_in, self._wake_out):
            socket.close(linger=0)

    def _run(self) -> None:
        failures = 0
        while failures < _FAILURES_IN_A_ROW:
            try:
                if not self._round():
                    return
                failures = 0
            except zmq.ContextTerminated:
                return
            except Exception:
                failures += 1
                self._counters["failures"] += 1
                _log.exception("The responder continues after a failure")
                time.sleep(0.01)
        _log.critical("The responder stops: it failed %d times in a row", failures)

    def _round(self) -> bool:
        """Receive some, answer some. False when asked to stop."""
        idle_ms = _RETRY_MS if len(self._queue) else None
        ready = dict(self._poller.poll(0 if self._queue.ready else idle_ms))
        if self._wake_in in ready:
            return False
        if self._router in ready:
            self._receive()
        self._retry_blocked()
        for _ in range(_TURNS_A_ROUND):
            if not self._handle_next():
                break
        return True

    def _receive(self) -> None:
        for _ in range(_TURNS_A_ROUND):
            try:
                frames = self._router.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            if not self._queue.add(frames[0], split_route(frames)):
                self._counters["refused"] += 1

    def _handle_next(self) -> bool:
        turn = self._queue.next()
        if turn is None:
            return False
        identity, (route, payload) = turn
        if len(payload) == 1:
            answer = self._handler.handle(payload[0])
        else:
            answer = self._handler.reject(f"A request is one frame, not {len(payload)}.")
        self._send(identity, [*route, answer])
        return True

    def _retry_blocked(self) -> None:
        if not self._queue.blocked:
            return
        for identity in self._queue.overdue(time.monotonic_ns()):
            self._drop(identity)
        for identity in self._queue.blocked:
            self._send(identity, self._queue.pending_reply(identity))

    def _send(self, identity: bytes, frames: list[bytes]) -> None:
        try:
            self._router.send_multipart(frames, zmq.DONTWAIT)
        except zmq.Again:
            self._counters["held_back"] += identity not in self._queue.blocked
            self._queue.block(identity, frames, time.monotonic_ns())
        except zmq.ZMQError as error:
            self._drop(identity)
            if error.errno != zmq.EHOSTUNREACH:
                raise
        else:
            self._counters["answers"] += 1
            self._queue.served(identity)

    def _drop(self, identity: bytes) -> None:
        self._counters["forgotten"] += self._queue.drop(identity)
