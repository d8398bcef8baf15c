"""The transport over ZeroMQ: SUB for the feed, DEALER for requests, one pair of sockets for any number of streams.

One connection, one epoch. libzmq reconnects a socket silently and leaves what it had received in the same pipe, so
that messages of a dead server could be read after the greeting of its successor. Hence both sockets are closed and
reopened when either loses its server, and what was read in that very turn is dropped: a client can always fetch it.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable

import zmq

from fluxcap.bridge.transport.addresses import is_ipv6, require_connectable
from fluxcap.bridge.transport.base import (
    Connected,
    Disconnected,
    MalformedMessage,
    MessageReceived,
    ReplyReceived,
    RequestFailed,
    TransportEvent,
    pop_expired,
    time_to_deadline_ms,
)
from fluxcap.bridge.transport.curve import ClientCurve
from fluxcap.schemas.codec import decode, encode
from fluxcap.schemas.errors import CodecError, ConfigError, FluxcapError, WireError, WireTimeout
from fluxcap.schemas.types import ErrorResponse, Message

FEED_HWM = 20_000
"""Messages that may wait for us. What overflows is lost, noticed by the next heartbeat, and fetched."""
MAX_MESSAGE_BYTES = 17 * 1024 * 1024
"""A little above the wire's own limit of 16 MiB; libzmq ends a connection that sends more."""
TURN_MESSAGES = 5_000
"""Most feed messages read in one go, so that answers are not kept waiting."""

_LOST = zmq.EVENT_DISCONNECTED
_REFUSALS = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
)


def _refusal_text(event: int, has_keys: bool) -> str:
    """Return why a handshake failed. libzmq names only a refusal of our key; the rest is a broken handshake."""
    if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return "the server does not know this client's key; add its public file there"
    if has_keys:
        return "the handshake failed: the server has another key than the one given, or none"
    return "the handshake failed: the server requires keys, or is not a fluxcap server"


class _MonitoredSocket:
    """One socket with its monitor."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], kind: int, endpoint: str, curve: ClientCurve | None):
        require_connectable(endpoint)
        self.socket = context.socket(kind)
        self.socket.setsockopt(zmq.IPV6, int(is_ipv6(endpoint)))
        self.greeted = False
        self._has_keys = curve is not None
        _set_options(self.socket, curve)
        self.monitor = self.socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | _LOST | sum(_REFUSALS))
        try:
            self.socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise ConfigError(f"{endpoint!r} is no endpoint to connect to ({error}); write tcp://HOST:PORT.") from error

    def read_monitor(self) -> tuple[bool, str]:
        """Reads the monitor: (whether a connection was lost, why the last handshake failed)."""
        lost, refusal = False, ""
        while self.monitor.poll(0):
            # The first frame begins with the event, 16 bits (zmq_socket_monitor(3)); zmq.utils.monitor reads it, too,
            # but loads all of asyncio.
            event = int.from_bytes(self.monitor.recv_multipart()[0][:2], sys.byteorder)
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.greeted = True
            elif event in _REFUSALS:
                refusal = _refusal_text(event, self._has_keys)
            elif event == _LOST:
                lost = lost or self.greeted
        return lost, refusal

    def close(self) -> None:
        self.socket.disable_monitor()
        self.monitor.close(linger=0)
        self.socket.close(linger=0)


def _set_options(link: zmq.Socket[bytes], curve: ClientCurve | None) -> None:
    link.linger = 0
    link.maxmsgsize = MAX_MESSAGE_BYTES
    link.reconnect_ivl = 100
    link.reconnect_ivl_max = 500
    link.handshake_ivl = 5_000
    # A peer that vanished without a word (cable, suspended machine) counts as lost after three silent seconds.
    link.heartbeat_ivl, link.heartbeat_timeout = 1_000, 3_000
    if link.type == zmq.SUB:
        link.rcvhwm = FEED_HWM
        # Subscriptions are messages too, and libzmq drops those beyond the mark without a word (250 streams' worth).
        link.sndhwm = 0
    else:
        link.immediate = 1  # never queue requests for a server that is not there
    if curve is not None:
        curve.secure(link)


class ZmqTransport:
    """See ``Transport``. Owns its context; close it."""

    def __init__(self, curve: ClientCurve | None = None) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._curve = curve
        self._topics: dict[bytes, None] = {}  # in the order of subscription
        self._endpoints: tuple[str | None, str] | None = None
        self._feed: _MonitoredSocket | None = None
        self._requests: _MonitoredSocket | None = None
        self._connected = False
        self._refusal = ""
        self._deadlines: dict[int, int] = {}
        self._failures: list[TransportEvent] = []
        from socket import socketpair  # here: whoever imports the client need not wait for it

        self._wake_in, self._wake_out = socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._poller = zmq.Poller()

    def connect(self, pub: str | None, rep: str) -> None:
        self._endpoints = (pub, rep)
        if self._connected:
            self._failures.append(Disconnected("another server was chosen"))
        self._open()

    def subscribe(self, topics: Iterable[bytes]) -> None:
        for topic in topics:
            if topic not in self._topics:
                self._topics[topic] = None
                if self._feed is not None:
                    self._feed.socket.setsockopt(zmq.SUBSCRIBE, topic)

    def unsubscribe(self, topics: Iterable[bytes]) -> None:
        for topic in topics:
            if topic in self._topics:
                del self._topics[topic]
                if self._feed is not None:
                    self._feed.socket.setsockopt(zmq.UNSUBSCRIBE, topic)

    def request(self, request_id: int, message: Message, timeout_ns: int) -> None:
        payload = encode(message, str(request_id))
        try:
            if self._requests is None:
                raise zmq.Again
            self._requests.socket.send_multipart([b"", payload], zmq.NOBLOCK)
        except zmq.Again:
            where = self._endpoints[1] if self._endpoints else "anywhere"
            self._failures.append(
                RequestFailed(request_id, WireTimeout(f"No server answers at {where}; is it running?"))
            )
        else:
            self._deadlines[request_id] = time.monotonic_ns() + timeout_ns

    def receive(self, timeout_ms: int) -> list[TransportEvent]:
        if not self._failures:
            self._poller.poll(time_to_deadline_ms(self._deadlines, timeout_ms, time.monotonic_ns()))
        with contextlib.suppress(BlockingIOError):
            self._wake_out.recv(4096)
        answered = dict(self._deadlines)
        events = self._read_requests() + self._read_feed()
        # After the messages on purpose: a message of a new connection is never seen before its greeting.
        lost = self._read_monitors(events)
        if lost:
            self._deadlines = answered
            events = []
            self._open()
            events.append(Disconnected(lost))
        failures, self._failures = self._failures, []
        return failures + events + self._expired()

    def wake(self) -> None:
        # A full buffer wakes as well; a closed one needs nothing.
        with contextlib.suppress(BlockingIOError, OSError):
            self._wake_in.send(b"\0")

    def close(self) -> None:
        self._close_links()
        self._wake_in.close()
        self._wake_out.close()
        self._context.destroy(linger=0)

    # --- connections -----------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self._close_links()
        self._fail_all("the connection to the server ended")
        if self._endpoints is None:
            return
        try:
            self._make_links(*self._endpoints)
        except ConfigError:
            self._close_links()  # half a server is no server
            raise
        for link in self._links():
            self._poller.register(link.socket, zmq.POLLIN)
            self._poller.register(link.monitor, zmq.POLLIN)

    def _make_links(self, pub: str | None, rep: str) -> None:
        self._requests = _MonitoredSocket(self._context, zmq.DEALER, rep, self._curve)
        if pub is not None:
            self._feed = _MonitoredSocket(self._context, zmq.SUB, pub, self._curve)
            for topic in self._topics:
                self._feed.socket.setsockopt(zmq.SUBSCRIBE, topic)

    def _links(self) -> list[_MonitoredSocket]:
        return [link for link in (self._requests, self._feed) if link is not None]

    def _close_links(self) -> None:
        for link in self._links():
            link.close()
        self._requests = self._feed = None
        self._connected = False
        self._poller = zmq.Poller()
        self._poller.register(self._wake_out.fileno(), zmq.POLLIN)

    def _read_monitors(self, events: list[TransportEvent]) -> str:
        """Notes greetings (a Connected goes before what was read); returns why the connection ended, or ``""``."""
        for link in self._links():
            lost, refusal = link.read_monitor()
            if lost:
                return "connection lost; reconnecting"
            if refusal and refusal != self._refusal:
                self._refusal = refusal
                events.append(Disconnected(refusal))
        if not self._connected and self._links() and all(link.greeted for link in self._links()):
            self._connected, self._refusal = True, ""
            events.insert(0, Connected())
        return ""

    # --- messages --------------------------------------------------------------------------------------------------

    def _read_feed(self) -> list[TransportEvent]:
        events: list[TransportEvent] = []
        if self._feed is None:
            return events
        for _ in range(TURN_MESSAGES):
            try:
                frames = self._feed.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            try:
                if len(frames) != 2:
                    raise CodecError(f"A feed message has two frames, not {len(frames)}.")
                events.append(MessageReceived(frames[0], decode(frames[1]).message))
            except CodecError as error:
                events.append(MalformedMessage(error))
        return events

    def _read_requests(self) -> list[TransportEvent]:
        events: list[TransportEvent] = []
        while self._requests is not None:
            try:
                frames = self._requests.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            event = self._answer(frames[-1])
            if event is not None:
                events.append(event)
        return events

    def _answer(self, payload: bytes) -> TransportEvent | None:
        message: Message | None = None
        error: FluxcapError | None = None
        try:
            envelope = decode(payload)
            correlation_id, message = envelope.correlation_id, envelope.message
        except CodecError as garbled:
            correlation_id, error = garbled.correlation_id, garbled
        request_id = int(correlation_id) if correlation_id.isascii() and correlation_id.isdigit() else -1
        if self._deadlines.pop(request_id, None) is None:
            # An answer that came too late, or one without a name.
            return None if error is None else MalformedMessage(error)
        if isinstance(message, ErrorResponse):
            error = WireError(message.code, message.message)
        if error is not None or message is None:
            return RequestFailed(request_id, error or CodecError("An answer without a message."))
        return ReplyReceived(request_id, message)

    def _expired(self) -> list[TransportEvent]:
        late = pop_expired(self._deadlines, time.monotonic_ns())
        return [RequestFailed(request_id, WireTimeout("The server did not answer in time.")) for request_id in late]

    def _fail_all(self, reason: str) -> None:
        self._failures += [
            RequestFailed(request_id, WireTimeout(f"No answer: {reason}.")) for request_id in self._deadlines
        ]
        self._deadlines.clear()
