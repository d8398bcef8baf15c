"""What is read of a CDP message, and what is dropped by its first bytes."""

from __future__ import annotations

import json

import pytest

from fluxcap.capture.chrome.messages import (
    EVENTS,
    FRAME_RECEIVED,
    FRAME_SENT,
    decode_frame,
    encode_command,
    is_unread_event,
)
from tests.support.browser.cdp import frame


def test_frame_messages_begin_as_the_short_way_expects() -> None:
    assert frame("S").encode().startswith(FRAME_RECEIVED)
    assert frame("S", sent=True).encode().startswith(FRAME_SENT)


@pytest.mark.parametrize("method", sorted(EVENTS))
def test_every_event_that_is_read_passes_the_filter(method: str) -> None:
    assert not is_unread_event(json.dumps({"method": method, "params": {}}, separators=(",", ":")).encode())


@pytest.mark.parametrize(
    "message",
    [
        b'{"method":"Network.requestWillBeSentExtraInfo","params":{"headers":{"Cookie":"x"}}}',
        b'{"method":"Network.webSocketWillSendHandshakeRequest","params":{}}',
        b'{"method":"Network.responseReceivedExtraInfo","params":{"headers":{"Set-Cookie":"x"}}}',
        b'{"method":"","params":{}}',
    ],
)
def test_events_nobody_reads_are_dropped_undecoded(message: bytes) -> None:
    assert is_unread_event(message)


@pytest.mark.parametrize("message", [b"", b"{", b'{"id":1,"result":{}}', b'{"method":"unterminated'])
def test_anything_else_is_looked_at(message: bytes) -> None:
    assert not is_unread_event(message)


def test_frame_payload_survives_escapes() -> None:
    text = '42["x","\\" \u2028 \U0001f600 \x00"]'

    assert decode_frame(frame("S", text=text).encode()).params.response.payload_data == text


def test_command_to_the_browser_itself_names_no_session() -> None:
    assert json.loads(encode_command(7, "Browser.getVersion", {}, "")) == {
        "id": 7,
        "method": "Browser.getVersion",
        "params": {},
    }
