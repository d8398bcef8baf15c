"""Frames that other programs stored, as a recording: arrivals from the ticks, secrets gone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from fluxcap.bridge.store.store import Store
from fluxcap.capture.platforms.base import History
from fluxcap.capture.platforms.pocketoption import PocketOption
from fluxcap.capture.recording import records as r
from fluxcap.capture.recording.json_import import JsonFrameFile, is_json_frame_file
from fluxcap.capture.tools.replay.replay import ReplayOptions, ReplaySummary, replay
from fluxcap.schemas.errors import ConfigError
from fluxcap.schemas.types import Candle, StreamKey, candles_from
from tests.support.market.simulated_market import announcement, attachment
from tests.support.paths import ROOT

CAPTURES = Path(os.environ.get("FLUXCAP_CAPTURES", ROOT.parent / "shared" / "captures"))
FRAMES = CAPTURES / "frames" / "frames_20250903_0033.json"
KEY = StreamKey("POCKETOPTION", "EURGBP_otc", "1m")
COLLECTED_S = 1_760_000_100.0
OFFSET_S = 7_200


def message(payload: str, opcode: int, timestamp: float = COLLECTED_S, request_id: str = "1") -> dict[str, Any]:
    return {
        "timestamp": timestamp,
        "frame_type": "received",
        "request_id": request_id,
        "opcode": opcode,
        "payload": payload,
    }


def tick(at_s: float, price: float = 1.1) -> list[dict[str, Any]]:
    row = [["EURUSD_otc", at_s + OFFSET_S, price]]
    return [message(announcement("updateStream"), 1), message(attachment(row), 2)]


def write(path: Path, messages: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps({"collected_at": "x", "messages": messages}))
    return path


def import_(path: Path) -> list[r.Record]:
    return [record for block in JsonFrameFile(path, PocketOption()).blocks() for record in block]


def arrivals_ms(records: list[r.Record]) -> list[int]:
    """Wall clock of each frame."""
    wall_ns, found = 0, []
    for record in records:
        wall_ns += record.mono_ns + record.skew_ns
        if not isinstance(record, r.SocketOpened):
            found.append(wall_ns // 1_000_000)
    return found


def test_a_backlog_arrives_as_its_ticks_were_stamped(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", [*tick(COLLECTED_S - 20), *tick(COLLECTED_S - 10), *tick(COLLECTED_S - 1)])

    records = import_(path)

    collected_ms = round(COLLECTED_S * 1_000)
    assert arrivals_ms(records) == [collected_ms + late for late in (-19_000, -19_000, -9_000, -9_000, 0, 0)]
    assert [record.drained for record in records if isinstance(record, r.TextFrame | r.BinaryFrame)] == [
        False,
        True,
    ] * 3


def test_arrivals_never_go_back_and_what_is_no_tick_arrives_with_the_next(tmp_path: Path) -> None:
    other = message('42["unknown",1]', 1)
    path = write(
        tmp_path / "a.json",
        [other, *tick(COLLECTED_S - 5), *tick(COLLECTED_S - 8), other, *tick(COLLECTED_S - 1), other],
    )

    at = arrivals_ms(import_(path))

    assert at == sorted(at)
    collected_ms = round(COLLECTED_S * 1_000)
    assert at[0] == collected_ms - 4_000
    assert at[5] == collected_ms == at[-1]


def test_frames_without_any_tick_arrive_as_they_were_stored(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", [message("2", 1, 10.0), message("2", 1, 12.5), message("2", 1, 11.0)])

    assert arrivals_ms(import_(path)) == [10_000, 12_500, 12_500]


def test_a_pure_backlog_becomes_candles_and_says_that_arrivals_are_reconstructed(tmp_path: Path) -> None:
    ticks = [t for second in range(200) for t in tick(COLLECTED_S - 200 + second, 1 + second / 1_000)]
    path = write(tmp_path / "a.json", ticks)

    summary = replay(ReplayOptions(path=path), lambda name: PocketOption())

    assert summary.arrivals is r.Arrivals.RECONSTRUCTED
    assert summary.ticks == 200
    assert [stream.candles for stream in summary.streams] == [2]


def test_what_the_page_sent_and_secrets_are_treated_as_in_a_recording_of_ones_own(tmp_path: Path) -> None:
    sent = message('42["auth",{"session":"secret"}]', 1) | {"frame_type": "sent"}
    path = write(tmp_path / "a.json", [sent, message('0{"sid":"secret"}', 1), *tick(COLLECTED_S)])

    assert "secret" not in repr(import_(path))


@pytest.mark.parametrize("content", ['{"messages": 5}', "{", '{"messages":[{"timestamp":"x"}]}', '{"a":1}'])
def test_other_json_is_refused_in_a_sentence(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)

    assert is_json_frame_file(path)
    with pytest.raises(ConfigError, match="holds no captured frames"):
        JsonFrameFile(path, PocketOption())


def test_no_frames_at_all_are_an_empty_recording(tmp_path: Path) -> None:
    assert import_(write(tmp_path / "a.json", [])) == []


def test_what_is_no_json_is_none_of_these(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\x1f\x8b")

    assert not is_json_frame_file(tmp_path / "a")
    assert not is_json_frame_file(tmp_path / "nothing")


# --- recorded frames of the platform ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded() -> list[dict[str, Any]]:
    if not FRAMES.is_file():
        pytest.skip(f"recorded frames are not here: {FRAMES}; set FLUXCAP_CAPTURES")
    return list(json.loads(FRAMES.read_text())["messages"])


def replayed(tmp_path: Path, interval: str) -> tuple[ReplaySummary, list[Candle]]:
    summary = replay(ReplayOptions(path=FRAMES, data_dir=tmp_path, interval=interval), lambda name: PocketOption())
    key = StreamKey(KEY.source_id, KEY.symbol, interval)
    with Store.open(tmp_path / "fluxcap.duckdb") as store:
        return summary, list(candles_from(store.reader().page(key).candles))


def test_recorded_frames_settle_the_clock_and_lose_no_tick(recorded: list[dict[str, Any]], tmp_path: Path) -> None:
    ticks = sum("updateStream" in each["payload"] for each in recorded)

    summary, _ = replayed(tmp_path, "1m")

    assert summary.clock == "The platform stamps ticks +2 h from UTC, by this computer's clock alone; removed."
    assert 140 < summary.ticks <= ticks
    assert ticks - summary.ticks <= 1  # the backlog ends with one announcement whose tick was not stored


def test_recorded_history_gives_the_candles_that_the_platform_told(
    recorded: list[dict[str, Any]], tmp_path: Path
) -> None:
    decoder = PocketOption().decoder()
    events = [event for each in recorded for event in decoder.received(each["opcode"], each["payload"])]
    told = {row.ts_ms - OFFSET_S * 1_000: row for h in events if isinstance(h, History) for row in h.candles}

    _, candles = replayed(tmp_path, "1m")

    both = [candle for candle in candles if candle.ts_ms in told]
    assert len(both) >= 90
    for candle in both:
        row = told[candle.ts_ms]
        assert (candle.open, candle.high, candle.low, candle.close) == (row.open, row.high, row.low, row.close)


def test_the_recorded_live_tail_becomes_candles_of_its_own_ticks(
    recorded: list[dict[str, Any]], tmp_path: Path
) -> None:
    _, candles = replayed(tmp_path, "5s")

    live = [candle for candle in candles if not candle.flags]
    assert sum(candle.tick_count for candle in live) >= 29


def test_recorded_frames_replay_to_the_same_digest(recorded: list[dict[str, Any]], tmp_path: Path) -> None:
    assert replayed(tmp_path / "a", "1m")[0].digest == replayed(tmp_path / "b", "1m")[0].digest
