"""fluxcap.bridge.terminal.tail: what is printed for each event."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from fluxcap.bridge.client.events import Candles, CaughtUp, Event, Forming, Gap, HealthChanged, Revision, StoreReplaced
from fluxcap.bridge.client.health import Health, HealthState
from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.terminal.styles import flag_names
from fluxcap.bridge.terminal.tail import tail
from fluxcap.bridge.terminal.tail_view import TailScreen, to_json_lines
from fluxcap.schemas.types import Candle, CandleFlags, FeedState, StreamKey, candle_array

KEY = StreamKey("SIM", "EURUSD_otc", "1m")
CANDLE = Candle(60_000, 1.0, 2.0, 0.5, 1.5, 3.0, 3, 5)


def test_a_candle_is_one_json_line_with_its_sequence_and_flag_names() -> None:
    lines = to_json_lines(Candles(KEY, 7, candle_array([CANDLE, CANDLE]), True))

    assert [json.loads(line)["sequence"] for line in lines] == [7, 8]
    assert json.loads(lines[0]) == {
        "type": "candle",
        "key": "SIM.EURUSD_otc.1m",
        "sequence": 7,
        "ts_ms": 60_000,
        "open": 1.0,
        "high": 2.0,
        "low": 0.5,
        "close": 1.5,
        "volume": 3.0,
        "tick_count": 3,
        "flags": ["JOINED_LATE", "FILLED"],
        "is_backfill": True,
    }


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            HealthChanged(KEY, Health(HealthState.RECEIVING, "", 300_000_000, FeedState.LIVE)),
            {"type": "health", "state": "receiving", "label": "Live, 0.3s ago", "reason": "", "age_ms": 300},
        ),
        (Gap(KEY, 3, 5, "gone"), {"type": "gap", "from_sequence": 3, "to_sequence": 5, "reason": "gone"}),
        (StoreReplaced(KEY, "b", "new"), {"type": "store_replaced", "store_id": "b"}),
        (CaughtUp(KEY, 9), {"type": "caught_up", "sequence": 9}),
        (
            Revision(KEY, 4, np.array([2], np.uint64), candle_array([CANDLE])),
            {"type": "revision", "revision": 4, "sequence": 2, "close": 1.5},
        ),
    ],
)
def test_other_events_are_one_json_line_each(event: Event, expected: dict[str, object]) -> None:
    (line,) = to_json_lines(event)

    assert expected.items() <= json.loads(line).items()


def test_a_candle_under_way_is_not_for_programs() -> None:
    assert to_json_lines(Forming(KEY, CANDLE)) == []


def test_flags_have_names() -> None:
    assert flag_names(0) == []
    assert flag_names(15) == ["JOINED_LATE", "BLIND", "FILLED", "REVISED"]


@pytest.fixture
def server(tmp_path: Path) -> WireServer:
    return WireServer(tmp_path / "server.duckdb", "tcp://127.0.0.1:0", "tcp://127.0.0.1:0")


def follow(server: WireServer, count: int, from_sequence: int | None = None, *, as_json: bool = False) -> str:
    out = io.StringIO()
    with server:
        server.publish({KEY: [Candle(60_000 * n, 1.0, 2.0, 0.5, 1.5, 3.0, 3, 0) for n in range(1, 21)]})
        tail(
            KEY,
            pub=server.pub_endpoint,
            rep=server.rep_endpoint,
            from_sequence=from_sequence,
            as_json=as_json,
            most_candles=count,
            seconds=30,
            out=out,
        )
    return out.getvalue()


def test_tail_begins_with_the_last_ten_and_shows_health(server: WireServer) -> None:
    text = follow(server, 10)

    assert "#11 " in text
    assert "#10 " not in text
    assert "●" in text


def test_tail_as_json_begins_where_it_is_told(server: WireServer) -> None:
    rows = [json.loads(line) for line in follow(server, 16, 5, as_json=True).splitlines()]

    assert [row["sequence"] for row in rows if row["type"] == "candle"] == list(range(5, 21))


def test_the_candle_under_way_is_told_once_with_when_the_first_whole_one_ends() -> None:
    screen = TailScreen(lambda _key: Health(HealthState.RECEIVING))
    screen.follow(KEY)
    forming = Forming(KEY, Candle(60_000, 1.0, 2.0, 0.5, 1.5, 3.0, 3, int(CandleFlags.JOINED_LATE)))

    lines = [line.plain for _ in range(2) for line in screen.lines(forming, with_health=True)]

    assert lines == ["1970-01-01 00:01:00  forming: 1.5, 3 ticks; the first whole candle ends at 00:03:00 UTC"]
    assert "00:01:00 forming: 1.5, 3 ticks; first whole candle at 00:03:00 UTC" in screen.status_line().plain


def test_a_stream_that_has_candles_has_no_first_one() -> None:
    screen = TailScreen(lambda _key: Health(HealthState.RECEIVING))
    screen.follow(KEY)
    screen.lines(CaughtUp(KEY, 7), with_health=True)

    lines = screen.lines(Forming(KEY, CANDLE), with_health=True)

    assert lines == []
    assert "first whole" not in screen.status_line().plain
