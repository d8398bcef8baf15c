"""The frames that recordings and tick journals are made of: their bytes, and what is not whole or not sound."""

from __future__ import annotations

import pytest

from fluxcap.capture.recording.framing import HEAD_BYTES, encode_frame, frame_bytes, frame_payload


def test_a_frame_has_its_length_its_crc_and_the_payload():
    assert encode_frame(b"123456789") == bytes.fromhex("09000000 2639f4cb") + b"123456789"


def test_the_size_of_a_frame_is_told_by_its_head_alone():
    data = b"before" + encode_frame(b"payload")[:HEAD_BYTES]

    assert frame_bytes(data, at=6) == HEAD_BYTES + 7


@pytest.mark.parametrize("payload", [b"", b"p", b"payload" * 1_000])
def test_a_payload_comes_back(payload: bytes):
    frame = memoryview(encode_frame(payload))

    assert frame_payload(frame) == payload


@pytest.mark.parametrize("at", [4, HEAD_BYTES, -1])
def test_a_changed_byte_is_noticed(at: int):
    frame = bytearray(encode_frame(b"payload"))
    frame[at] ^= 1

    assert frame_payload(memoryview(frame)) is None
