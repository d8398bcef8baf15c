"""Frames of ``length, CRC-32, payload`` (two little-endian uint32, then the bytes): recordings and tick journal. Pure.

Files of either kind are made of them, and both end, after a kill, with a frame that is not whole.
"""

from __future__ import annotations

import struct
import zlib

_HEAD = struct.Struct("<II")
HEAD_BYTES = _HEAD.size


def encode_frame(payload: bytes) -> bytes:
    """The payload with its length and checksum before it."""
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def frame_bytes(data: bytes | bytearray | memoryview, at: int = 0) -> int:
    """Size of the frame that begins at ``at``, head included; needs ``HEAD_BYTES`` from there."""
    return HEAD_BYTES + int(_HEAD.unpack_from(data, at)[0])


def frame_payload(frame: memoryview) -> memoryview | None:
    """The payload of one whole frame, not copied; None when its checksum does not hold."""
    payload = frame[HEAD_BYTES:]
    return payload if zlib.crc32(payload) == _HEAD.unpack_from(frame)[1] else None
