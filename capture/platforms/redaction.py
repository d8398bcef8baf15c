"""Redacts the frames of a Socket.IO connection for recordings. Pure.

By name: only frames of events on the allow-list are kept, and those that also tell of the trader are reduced to what
makes them market events. And by content: a frame that still names something of the trader's (a session, an account, a
balance) is not kept, whatever its event is called. Everything else is a sign of life without content.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Collection, Mapping

from fluxcap.capture.platforms.base import Keep, Kept
from fluxcap.capture.platforms.socketio import BINARY, NamedEvent, OpenPacket, SocketIoDecoder

Reduce = Callable[[bytes | str], bytes | None]
"""An event's JSON → the JSON that may be kept of it, None for nothing."""

_PERSONAL = re.compile(
    rb'"(?:auth|session|session_?token|token|secret|password|sid|uid|user|user_?id|user_?name|nick_?name|e?mail'
    rb'|balance|is_?demo|deals?|deal_?id|(?:demo|live)_?deal_?amount|profit|chat|chat_?id)\\*"\s*:',
    re.IGNORECASE,
)
"""Keys of JSON objects, also within JSON that is text in JSON (``\\"uid\\":``)."""


class SocketIoRedaction:
    """One socket's frames, in order.

    ``inbound``, ``outbound``: names of the events that may be kept. ``reduce``: what is kept of some.
    """

    def __init__(
        self, inbound: Collection[str], outbound: Collection[str], reduce: Mapping[str, Reduce] | None = None
    ) -> None:
        self._inbound = _Direction(inbound, reduce or {})
        self._outbound = _Direction(outbound, reduce or {})

    def received(self, opcode: int, payload: str) -> Kept:
        return self._inbound.frame(opcode, payload)

    def sent(self, opcode: int, payload: str) -> Kept:
        return self._outbound.frame(opcode, payload)


class _Direction:
    def __init__(self, allowed: Collection[str], reduce: Mapping[str, Reduce]) -> None:
        self._allowed = frozenset(allowed)
        self._reduce = reduce
        self._decoder = SocketIoDecoder(allowed)
        """The one that makes candles of these frames decides here too what a frame is."""

    def frame(self, opcode: int, payload: str) -> Kept:
        announced = self._decoder.awaited
        event = self._decoder.frame(opcode, payload)
        if opcode == BINARY:
            name = announced
        elif isinstance(event, NamedEvent):
            name = event.name
        else:
            name = self._decoder.awaited if payload[:2] == "45" else None
        if name in self._allowed and (content := self._content(name, opcode, payload, event)):
            return Kept(Keep.CONTENT, content)
        is_pulse = isinstance(event, OpenPacket) or len(payload) <= 1
        return Kept(Keep.PULSE if is_pulse else Keep.TALK)

    def _content(self, name: str | None, opcode: int, payload: str, event: object) -> str:
        """Return the part of an allowed event's frame to keep; "" for nothing."""
        reduce = self._reduce.get(name or "")
        if reduce is not None and (opcode == BINARY or payload[:2] != "45"):
            reduced = reduce(event.payload) if isinstance(event, NamedEvent) else None
            if reduced is None:
                return ""
            payload = _packed(name or "", opcode, reduced)
        return "" if _is_personal(opcode, payload) else payload


def _packed(name: str, opcode: int, json: bytes) -> str:
    if opcode == BINARY:
        return binascii.b2a_base64(json, newline=False).decode()
    return f'42["{name}",{json.decode()}]'


def _is_personal(opcode: int, payload: str) -> bool:
    if opcode != BINARY:
        return _PERSONAL.search(payload.encode(errors="replace")) is not None
    try:
        return _PERSONAL.search(binascii.a2b_base64(payload)) is not None
    except (binascii.Error, ValueError):
        return True  # nobody can say what it holds
