"""Engine.IO 4 / Socket.IO 5 framing of one WebSocket, and its events as market events. Pure.

In: frames as Chrome reports them (opcode 1 text, 2 base64). Out: named events whose payload is still undecoded JSON, or
what a platform's handlers make of them. An event that is not on the allow-list is dropped by its name alone: its
payload is never looked at, nor kept.

``451-["name",{"_placeholder":true,"num":0}]`` announces that the next binary frame of the same socket is its payload.
Frames: https://socket.io/docs/v4/engine-io-protocol/ and .../socket-io-protocol/; recorded shapes in the tests.
"""

from __future__ import annotations

import binascii
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias

import msgspec

from fluxcap.capture.platforms.base import Greeting, LoggedOut, MarketEvent

TEXT, BINARY = 1, 2
MAX_ATTACHMENTS = 16
_NAME_MAX = 40
_NAMES_MAX = 200
"""Event names counted apart: beyond, they are garbage and count as one."""
_REMEMBERED_MAX = 256
_REMEMBERED_LENGTH_MAX = 128
_PLACEHOLDER = '{"_placeholder":true,"num":0}'


class OpenPacket(msgspec.Struct, frozen=True):
    """The server's Engine.IO greeting. Its ``sid`` is a secret and is not read."""

    ping_interval_ms: int = msgspec.field(default=25_000, name="pingInterval")
    ping_timeout_ms: int = msgspec.field(default=20_000, name="pingTimeout")


class NamedEvent(msgspec.Struct, frozen=True, gc=False):
    """An allowed event. ``payload`` is the JSON text of its first argument, ``b""`` without one."""

    name: str
    payload: bytes | str


class Refused(msgspec.Struct, frozen=True):
    """``41`` or ``44``: the server ended or refused the namespace."""


SocketIoEvent = NamedEvent | OpenPacket | Refused

EventHandler: TypeAlias = Callable[[bytes | str, "Counter[str]"], Sequence[MarketEvent]]
"""Decodes the payload of one event, and counts what it cannot use by kind; may raise ``NOT_READABLE``."""

NOT_READABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What decoding a payload that is not what its event promises may raise."""

_open_decoder = msgspec.json.Decoder(OpenPacket)


class SocketIoDecoder:
    """Frames of one socket, in order. ``dropped`` and ``malformed`` count by kind, for metrics."""

    def __init__(self, allowed: Collection[str]) -> None:
        self._allowed = frozenset(allowed)
        self._announced: dict[str, tuple[str, int]] = {}
        self._awaited: str | None = None
        self._attachments_left = 0
        self._attachments: list[bytes] = []
        self.dropped: Counter[str] = Counter()
        self.malformed: Counter[str] = Counter()

    @property
    def awaited(self) -> str | None:
        """The event whose announced attachments are still to come."""
        return self._awaited

    def frame(self, opcode: int, payload: str) -> SocketIoEvent | None:
        """Take one frame. None when it completes no allowed event."""
        if opcode == BINARY:
            return self._binary(payload)
        if opcode != TEXT:
            return None
        announced = self._announced.get(payload)
        if announced is None:
            return self._text(payload)
        if self._awaited is None and not self._attachments:  # every other frame of a market: no call for it
            self._awaited, self._attachments_left = announced
        else:
            self._await(*announced)
        return None

    def _text(self, payload: str) -> SocketIoEvent | None:
        kind = payload[:2]
        if kind == "42":
            return self._event(payload)
        if kind == "45":
            self._announcement(payload)
            return None
        if kind in ("41", "44"):
            return Refused()
        if payload[:1] == "0":
            try:
                return _open_decoder.decode(payload[1:])
            except NOT_READABLE:
                self.malformed["open"] += 1
        elif payload[:1] not in ("1", "2", "3", "4", "5", "6"):
            self.malformed["packet"] += 1
        return None

    def _event(self, payload: str) -> NamedEvent | None:
        found = _name_at(payload, 2)
        if found is None:
            self.malformed["event"] += 1
            return None
        name, end = found
        if name not in self._allowed:
            self._drop(name)
            return None
        return NamedEvent(name, payload[end + 1 : -1] if payload[end : end + 1] == "," else b"")

    def _announcement(self, payload: str) -> None:
        dash = payload.find("-", 2, 6)
        count = payload[2:dash]
        found = _name_at(payload, dash + 1) if dash > 2 and count.isascii() and count.isdigit() else None
        if found is None or not 1 <= int(count) <= MAX_ATTACHMENTS:
            self.malformed["announcement"] += 1
            self._awaited = None
            return
        if (
            len(self._announced) < _REMEMBERED_MAX
            and len(payload) < _REMEMBERED_LENGTH_MAX
            and payload[dash + 1 :] == f'["{found[0]}",{_PLACEHOLDER}]'
        ):
            self._announced[payload] = (found[0], int(count))
        self._await(found[0], int(count))

    def _await(self, name: str, count: int) -> None:
        if self._awaited is not None:
            self.malformed["attachment missing"] += 1
        self._awaited = name
        self._attachments_left = count
        self._attachments.clear()

    def _drop(self, name: str) -> None:
        known = len(name) <= _NAME_MAX and (name in self.dropped or len(self.dropped) < _NAMES_MAX)
        self.dropped[name if known else "other"] += 1

    def _binary(self, payload: str) -> NamedEvent | None:
        name = self._awaited
        if name is None:
            self.malformed["orphan binary"] += 1
            return None
        left = self._attachments_left = self._attachments_left - 1
        if not left:
            self._awaited = None
        if name not in self._allowed:
            if not left:
                self._drop(name)
            return None
        if not self._attachments:
            try:
                first = binascii.a2b_base64(payload)
            except (binascii.Error, ValueError):
                self.malformed["base64"] += 1
                self._awaited = None
                return None
            if not left:
                return NamedEvent(name, first)
            self._attachments.append(first)
        return None if left else NamedEvent(name, self._attachments.pop())


class SocketIoMarketDecoder:
    """Frames of one socket into market events. ``malformed`` and ``dropped`` count by kind, for metrics.

    A namespace that is refused or ended (``41``, ``44``) is a ``LoggedOut``.

    ``inbound``, ``outbound``: the handler of each event that is read, by its name; all other events are dropped.
    """

    def __init__(self, inbound: Mapping[str, EventHandler], outbound: Mapping[str, EventHandler]) -> None:
        self._inbound_handlers, self._outbound_handlers = inbound, outbound
        self._inbound = SocketIoDecoder(inbound)
        self._outbound = SocketIoDecoder(outbound)
        self.malformed: Counter[str] = self._inbound.malformed
        self.dropped: Counter[str] = self._inbound.dropped

    def received(self, opcode: int, payload: str) -> Sequence[MarketEvent]:
        """Decode a frame the page received. Never raises for what it holds."""
        event = self._inbound.frame(opcode, payload)
        if event is None:
            return ()
        if type(event) is NamedEvent:
            try:
                return self._inbound_handlers[event.name](event.payload, self.malformed)
            except NOT_READABLE:
                self.malformed[event.name] += 1
                return ()
        if isinstance(event, OpenPacket):
            return (Greeting(event.ping_interval_ms),)
        return (LoggedOut(),)

    def sent(self, opcode: int, payload: str) -> Sequence[MarketEvent]:
        """Decode a frame the page sent. Never raises for what it holds."""
        event = self._outbound.frame(opcode, payload)
        if isinstance(event, NamedEvent):
            try:
                return self._outbound_handlers[event.name](event.payload, self.malformed)
            except NOT_READABLE:
                self.malformed[event.name] += 1
        return ()


def _name_at(payload: str, at: int) -> tuple[str, int] | None:
    """Return the event name of ``["name"…`` and the position behind it.

    It begins at ``at``, after an optional ``/namespace,`` and ack number.
    """
    if payload[at : at + 1] == "/":
        at = payload.find(",", at) + 1
        if at == 0:
            return None
    while payload[at : at + 1].isdigit():
        at += 1
    if payload[at : at + 2] != '["':
        return None
    end = payload.find('"', at + 2)
    if end < 0 or payload[-1] != "]":
        return None
    return payload[at + 2 : end], end + 1
