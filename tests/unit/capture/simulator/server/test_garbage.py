"""capture/simulator/server/garbage.py: sound WebSocket frames, and never a tick by the strict reading of the
protocol."""

from __future__ import annotations

import json
import math

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from fluxcap.capture.simulator.server.garbage import INVALID_FRAMES, invalid_frames

NOW_MS = 1_756_866_774_962


def frames_in(data: bytes) -> list[str | bytes]:
    client = ClientProtocol(parse_uri("ws://test/"), state=OPEN, max_size=None)
    client.receive_data(data)
    frames = [event for event in client.events_received() if isinstance(event, Frame)]
    return [bytes(f.data).decode() if int(f.opcode) == 1 else bytes(f.data) for f in frames]


def strict_ticks(frames: list[str | bytes]) -> list[object]:
    """Rows of updateStream that are sound: announced, attached at once, well typed, positive, of about now."""
    ticks: list[object] = []
    announced = False
    for frame in frames:
        if isinstance(frame, str):
            announced = frame == '451-["updateStream",{"_placeholder":true,"num":0}]'
            continue
        if announced:
            ticks.extend(_sound_rows(frame))
        announced = False
    return ticks


def _sound_rows(frame: bytes) -> list[object]:
    try:
        rows = json.loads(frame)
    except (ValueError, RecursionError):
        return []
    return [row for row in rows if _sound(row)] if isinstance(rows, list) else []


def _sound(row: object) -> bool:
    match row:
        case [str(), float() | int() as at, float() | int() as price] if not isinstance(price, bool):
            return math.isfinite(price) and price > 0 and abs(at - NOW_MS / 1000) < 86_400
    return False


def test_the_strict_reading_finds_a_real_tick() -> None:
    header = '451-["updateStream",{"_placeholder":true,"num":0}]'

    assert strict_ticks([header, b'[["EURUSD_otc",1756866774.962,1.1]]']) != []


@pytest.mark.parametrize("kind", sorted(INVALID_FRAMES))
def test_no_kind_of_garbage_is_a_tick(kind: str) -> None:
    frames = frames_in(invalid_frames("EURUSD_otc", (kind,), NOW_MS))

    assert frames
    assert strict_ticks(frames) == []


def test_all_kinds_together_are_no_tick_either_and_leave_the_stream_readable() -> None:
    header = '451-["updateStream",{"_placeholder":true,"num":0}]'
    frames = frames_in(invalid_frames("EURUSD_otc", (), NOW_MS))

    assert strict_ticks(frames) == []
    assert len(strict_ticks([*frames, header, b'[["EURUSD_otc",1756866774.962,1.1]]'])) == 1
