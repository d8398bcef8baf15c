"""capture/simulator/server/framing.py: the bytes are what the platform's client expects."""

from __future__ import annotations

import json

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from fluxcap.capture.simulator.server import framing


def frames_in(data: bytes) -> list[tuple[int, bytes]]:
    """What a WebSocket client makes of it."""
    client = ClientProtocol(parse_uri("ws://test/"), state=OPEN, max_size=None)
    client.receive_data(data)
    return [(int(e.opcode), bytes(e.data)) for e in client.events_received() if isinstance(e, Frame)]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 100_000])
def test_frames_of_every_length_form_are_read_by_a_real_client(size: int) -> None:
    payload = b"x" * size

    assert frames_in(framing.websocket_frame(framing.BINARY, payload)) == [(2, payload)]


def test_a_tick_is_a_placeholder_and_bare_json() -> None:
    frames = framing.TickFramer("EURGBP_otc").frames(1_756_866_774_962, 0.87951)

    assert frames_in(frames) == [
        (1, b'451-["updateStream",{"_placeholder":true,"num":0}]'),
        (2, b'[["EURGBP_otc",1756866774.962,0.87951]]'),
    ]


@pytest.mark.parametrize(
    ("raw_ts_ms", "price", "text"),
    [
        (1_756_866_775_000, 740.0, b'[["A",1756866775,740]]'),
        (1_756_866_775_100, 1.1e-05, b'[["A",1756866775.1,1.1e-05]]'),
    ],
)
def test_numbers_are_written_as_short_as_they_are(raw_ts_ms: int, price: float, text: bytes) -> None:
    assert frames_in(framing.TickFramer("A").frames(raw_ts_ms, price))[1] == (2, text)


def test_handshake_and_events() -> None:
    opening = framing.open_packet("S1", ping_interval_s=25, ping_timeout_s=20, max_payload=1_000_000)

    assert opening[0] == "0"
    assert json.loads(opening[1:]) == {
        "sid": "S1",
        "upgrades": [],
        "pingInterval": 25_000,
        "pingTimeout": 20_000,
        "maxPayload": 1_000_000,
    }
    assert framing.joined_packet("S2") == '40{"sid":"S2"}'
    assert frames_in(framing.text_event("user_ready", {"id": 0})) == [(1, b'42["user_ready",{"id":0}]')]
    assert frames_in(framing.text_event("auth/success")) == [(1, b'42["auth/success"]')]


@pytest.mark.parametrize(
    ("packet", "parsed"),
    [
        ('42["changeSymbol",{"asset":"A","period":60}]', ("changeSymbol", [{"asset": "A", "period": 60}])),
        ('42["ps"]', ("ps", [])),
        ('42["broken', None),
        ("42{}", None),
        ("42[]", None),
        ("42[1]", None),
        ("3", None),
    ],
)
def test_client_packets_are_events_or_nothing(packet: str, parsed: object) -> None:
    assert framing.parse_event(packet) == parsed
