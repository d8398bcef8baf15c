"""What a server's answer to a message means."""

from __future__ import annotations

import json

import pytest

from bridge.jetstream.log_writer import Ack, Refusal, ack_of


def test_a_stored_message_has_its_position():
    assert ack_of(b'{"stream":"FLUX","seq":7}') == Ack(7)
    assert ack_of(b'{"stream":"FLUX","seq":7,"duplicate":true}') == Ack(7, duplicate=True)


@pytest.mark.parametrize(
    ("code", "refusal"),
    [
        (10071, Refusal.OUT_OF_ORDER),
        (10054, Refusal.TOO_LARGE),
        (10077, Refusal.FULL),
        (10060, Refusal.NO_STREAM),
        (1, Refusal.OTHER),
    ],
)
def test_a_refusal_is_told_by_its_code(code: int, refusal: Refusal):
    error = {"code": 400, "err_code": code, "description": "why"}

    assert ack_of(json.dumps({"error": error, "stream": "FLUX", "seq": 0}).encode()) == Ack(refusal=refusal, text="why")


def test_silence_of_all_is_a_missing_stream():
    assert ack_of(b"", {"Status": "503"}).refusal is Refusal.NO_STREAM


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"seq":"x"}'])
def test_an_answer_that_cannot_be_read_is_no_success(data: bytes):
    assert ack_of(data).refusal is Refusal.OTHER
