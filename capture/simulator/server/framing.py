"""The platform's framing: WebSocket frames, Engine.IO 4 packets, Socket.IO 5 events. Pure: bytes in, bytes out.

A server's WebSocket frame has no state and no mask, so it is built once and sent to every socket as it is. An event
with a binary attachment is two frames: ``451-["name",{"_placeholder":true,"num":0}]``, then the bare UTF-8 JSON.
"""

from __future__ import annotations

import struct
from typing import Any, TypeAlias

import msgspec

TEXT = 1
BINARY = 2

PING = "2"
PONG = "3"
JOIN = "40"
EVENT = "42"

Json: TypeAlias = Any


def websocket_frame(opcode: int, payload: bytes) -> bytes:
    """One unmasked, final frame."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 65_536:
        return struct.pack("!BBH", 0x80 | opcode, 126, size) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, size) + payload


def text_frame(text: str) -> bytes:
    return websocket_frame(TEXT, text.encode())


def open_packet(sid: str, *, ping_interval_s: float, ping_timeout_s: float, max_payload: int | None = None) -> str:
    """Engine.IO's first packet."""
    handshake: dict[str, Json] = {
        "sid": sid,
        "upgrades": [],
        "pingInterval": round(ping_interval_s * 1000),
        "pingTimeout": round(ping_timeout_s * 1000),
    }
    if max_payload is not None:
        handshake["maxPayload"] = max_payload
    return "0" + _text(handshake)


def joined_packet(sid: str) -> str:
    """The namespace was joined."""
    return JOIN + _text({"sid": sid})


def text_event(name: str, *data: Json) -> bytes:
    """``42["name",data]`` as a WebSocket frame."""
    return text_frame(EVENT + _text([name, *data]))


def event_header(name: str) -> bytes:
    """The frame that announces an attachment."""
    return text_frame("451-" + _text([name, {"_placeholder": True, "num": 0}]))


def binary_event(name: str, data: Json) -> bytes:
    """An event with its data as attachment: two WebSocket frames."""
    return event_header(name) + websocket_frame(BINARY, msgspec.json.encode(data))


class TickFramer:
    """Frames of one asset's ticks, quick enough for thousands a second."""

    def __init__(self, symbol: str) -> None:
        self._begin = b"[[" + msgspec.json.encode(symbol) + b","
        self._header = event_header("updateStream")

    def frames(self, raw_ts_ms: int, price: float) -> bytes:
        """``updateStream`` with one tick: seconds with at most 3 decimals, price in Python's shortest form."""
        payload = b"%s%s,%s]]" % (self._begin, number(raw_ts_ms / 1000).encode(), number(price).encode())
        return self._header + websocket_frame(BINARY, payload)


def number(value: float) -> str:
    """The shortest JSON number, an integer where there is no fraction; may be of exponent form (``9.4e-06``)."""
    text = repr(value)
    return text[:-2] if text.endswith(".0") else text


def parse_event(packet: str) -> tuple[str, list[Json]] | None:
    """Name and arguments of a client's ``42[...]``, or None for anything else."""
    if not packet.startswith(EVENT):
        return None
    try:
        parts = msgspec.json.decode(packet[len(EVENT) :])
    except msgspec.DecodeError:
        return None
    if not isinstance(parts, list) or not parts or not isinstance(parts[0], str):
        return None
    return parts[0], parts[1:]


def _text(value: Json) -> str:
    return msgspec.json.encode(value).decode()
