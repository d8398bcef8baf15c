"""Frames that no platform should send, and one day does. None of them is a tick, whatever it looks like.

Each kind is a function of (symbol, now in ms) to WebSocket frames. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from fluxcap.capture.simulator.server.framing import BINARY, event_header, text_frame, websocket_frame

HUGE_BYTES = 8 * 1024 * 1024


def _attached(payload: bytes) -> bytes:
    return event_header("updateStream") + websocket_frame(BINARY, payload)


def _tick(symbol: str, seconds: str, price: str) -> bytes:
    return _attached(f'[["{symbol}",{seconds},{price}]]'.encode())


def _now(now_ms: int) -> str:
    return str(now_ms / 1000)


_KINDS: dict[str, Callable[[str, int], bytes]] = {
    "malformed_json": lambda symbol, now_ms: _attached(f'[["{symbol}",{_now(now_ms)},1.1'.encode()),
    "malformed_event": lambda _symbol, _now_ms: text_frame('42["updateStream",[['),
    "wrong_shape": lambda _symbol, _now_ms: _attached(b'{"asset":1}') + _attached(b"[[]]") + _attached(b"7"),
    "wrong_types": lambda symbol, now_ms: _tick(symbol, _now(now_ms), '"1.1"') + _tick(symbol, "null", "true"),
    "symbol_is_number": lambda _symbol, now_ms: _attached(f"[[5,{_now(now_ms)},1.1]]".encode()),
    "nan_price": lambda symbol, now_ms: _tick(symbol, _now(now_ms), "NaN"),
    "infinite_price": lambda symbol, now_ms: _tick(symbol, _now(now_ms), "1e999"),
    "negative_price": lambda symbol, now_ms: _tick(symbol, _now(now_ms), "-1.1"),
    "zero_price": lambda symbol, now_ms: _tick(symbol, _now(now_ms), "0"),
    "time_in_ms": lambda symbol, now_ms: _tick(symbol, str(now_ms), "1.1"),
    "time_years_away": lambda symbol, now_ms: _tick(symbol, "0", "1.1") + _tick(symbol, "4102444800", "1.1"),
    "orphan_placeholder": lambda _symbol, _now_ms: event_header("updateStream"),
    "orphan_binary": lambda symbol, now_ms: websocket_frame(BINARY, f'[["{symbol}",{_now(now_ms)},1.1]]'.encode()),
    "not_utf8": lambda _symbol, _now_ms: _attached(b"\xff\xfe\x00[["),
    "too_many_attachments": lambda _symbol, _now_ms: text_frame('453-["updateStream",{"_placeholder":true,"num":2}]'),
    "unknown_event": lambda symbol, _now_ms: text_frame(f'42["updateDream",[["{symbol}",1,2]]]'),
    "unknown_packet": lambda _symbol, _now_ms: text_frame("9what") + text_frame("") + text_frame("4"),
    "deep_nesting": lambda _symbol, _now_ms: _attached(b"[" * 5_000 + b"]" * 5_000),
    "huge_frame": lambda _symbol, _now_ms: text_frame('42["huge","' + "x" * HUGE_BYTES + '"]'),
}

INVALID_FRAMES: Mapping[str, Callable[[str, int], bytes]] = MappingProxyType(_KINDS)
"""Name of the garbage to its maker."""


_ORDER = {"orphan_binary": -1, "orphan_placeholder": 1, "too_many_attachments": 2}


def invalid_frames(symbol: str, kinds: tuple[str, ...], now_ms: int) -> bytes:
    """One of each kind asked for; none asked for means all but the huge frame. ``now_ms`` is platform time.

    An orphan binary frame comes first and headers without their attachment come last: next to each other they would
    make a sound event.
    """
    wanted = kinds or tuple(kind for kind in INVALID_FRAMES if kind != "huge_frame")
    ordered = sorted(wanted, key=lambda kind: _ORDER.get(kind, 0))
    return b"".join(INVALID_FRAMES[kind](symbol, now_ms) for kind in ordered)
