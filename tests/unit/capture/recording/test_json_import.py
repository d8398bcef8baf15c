"""Frames that other programs stored, as a recording: arrivals from the ticks, secrets gone."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fluxcap.bridge.store.store import Store
from fluxcap.capture.cli import record as command
from fluxcap.capture.platforms import registry
from fluxcap.capture.platforms.base import History
from fluxcap.capture.platforms.pocketoption import PocketOption
from fluxcap.capture.platforms.registry import platform_named
from fluxcap.capture.recording import records as r
from fluxcap.capture.recording.file import RecordingWriter
from fluxcap.capture.recording.json_import import JsonFrameFile, is_json_frame_file
from fluxcap.capture.runtime.settings import load_settings
from fluxcap.capture.tools.record import import_frames
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


# --- other files ---


def test_the_original_collectors_files_are_read(tmp_path: Path) -> None:
    file = tmp_path / "collected.json"
    rows = [row for at in range(5) for row in tick(COLLECTED_S - 5 + at)]
    file.write_text(json.dumps({"websocket_messages": rows, "page_info": {"title": "x"}}))

    assert is_json_frame_file(file)
    assert [type(record) for record in import_(file)].count(r.BinaryFrame) == 5


def har(path: Path) -> Path:
    """What Chrome's network panel exports of a socket of the platform's, of another one, and of a page."""
    login = {"type": "send", "time": COLLECTED_S, "opcode": 1, "data": '42["auth",{"session":"SECRET"}]'}
    messages: list[dict[str, Any]] = [login]
    for at in range(200):
        for frame in tick(COLLECTED_S + at / 2 - 0.75):
            now_s, opcode, data = COLLECTED_S + at / 2, frame["opcode"], frame["payload"]
            messages.append({"type": "receive", "time": now_s, "opcode": opcode, "data": data})
    url = "wss://api-eu.po.market/socket.io/?EIO=4&token=SECRET"
    socket = {"request": {"url": url, "cookies": [{"value": "SECRET"}]}, "_webSocketMessages": messages}
    other = {"request": {"url": "wss://chat.example/"}, "_webSocketMessages": messages[:3]}
    page = {"request": {"url": "https://pocketoption.com/"}, "response": {"content": {"text": "SECRET"}}}
    path.write_text(json.dumps({"log": {"version": "1.2", "entries": [page, socket, other]}}))
    return path


def test_a_har_of_chromes_is_a_recording_with_its_own_times_and_no_secret(tmp_path: Path) -> None:
    file = JsonFrameFile(har(tmp_path / "page.har"), PocketOption())
    records = [record for block in file.blocks() for record in block]
    opened = [record.url for record in records if isinstance(record, r.SocketOpened)]

    assert file.header.arrivals is r.Arrivals.MEASURED
    assert opened == ["wss://api-eu.po.market/socket.io/"]
    assert [type(record) for record in records].count(r.BinaryFrame) == 200
    assert b"SECRET" not in msgspec.msgpack.encode(records)
    assert arrivals_ms(records)[-1] == round((COLLECTED_S + 99.5) * 1_000)


@pytest.mark.costly
def test_a_har_replays_to_candles_and_so_does_the_recording_made_of_it(tmp_path: Path) -> None:
    import_frames(har(tmp_path / "page.har"), tmp_path / "made.fluxcap", load_settings(None), force=False)

    summaries = [
        replay(ReplayOptions(path=tmp_path / name), lambda name: PocketOption())
        for name in ("page.har", "made.fluxcap")
    ]

    assert [summary.ticks for summary in summaries] == [200, 200]
    assert summaries[0].candles > 0
    assert summaries[0].digest == summaries[1].digest
    assert b"SECRET" not in gzip.decompress((tmp_path / "made.fluxcap").read_bytes())


def test_the_command_says_what_it_took(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.record(tmp_path / "made.fluxcap", frames=har(tmp_path / "page.har"))

    assert "400 frames of 1 sockets" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.costly
def test_a_recording_of_a_described_platform_replays_without_its_settings(tmp_path: Path) -> None:
    table = {"pages": ["https://x.test/*"], "symbol": "s", "time": "t", "price": "p", "time_unit": "s", "id": "i"}
    settings = load_settings(None).model_copy(update={"platform": "mine", "platforms": {"mine": table}})
    rows = [
        message(json.dumps({"s": "BTC/USD", "t": COLLECTED_S + at / 2, "p": "1.5", "i": at}), 1, COLLECTED_S + at / 2)
        for at in range(400)
    ]
    import_frames(write(tmp_path / "f.json", rows), tmp_path / "made.fluxcap", settings, force=False)

    summary = replay(ReplayOptions(path=tmp_path / "made.fluxcap"), lambda name: platform_named(name, (), {}))

    assert (summary.platform, summary.ticks) == ("mine", 400)
    assert [str(stream.key) for stream in summary.streams] == ["POCKETOPTION.BTC~2FUSD.1m"]


@pytest.mark.costly
def test_a_recording_of_a_platform_that_ships_replays_as_it_was_described_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings(None).model_copy(update={"platform": "bitfinex", "source": "BITFINEX"})
    told = '{"event":"subscribed","channel":"trades","chanId":7,"symbol":"tBTCUSD","pair":"BTCUSD"}'
    trades = [json.dumps([7, "te", [at, int((COLLECTED_S + at / 2) * 1_000), 0.1, 1.5]]) for at in range(400)]
    rows = [message(text, 1, COLLECTED_S + max(at - 1, 0) / 2) for at, text in enumerate([told, *trades])]
    import_frames(write(tmp_path / "f.json", rows), tmp_path / "made.fluxcap", settings, force=False)
    monkeypatch.setattr(registry, "presets", dict)

    summary = replay(ReplayOptions(path=tmp_path / "made.fluxcap"), lambda name: platform_named(name, (), {}))

    assert (summary.platform, summary.ticks) == ("bitfinex", 400)
    assert [str(stream.key) for stream in summary.streams] == ["BITFINEX.BTCUSD.1m"]


def test_a_recording_that_does_not_say_how_its_platform_is_described_asks_for_it(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "old.fluxcap", r.Header(platform="generic")):
        pass

    with pytest.raises(ConfigError, match="--platform"):
        replay(ReplayOptions(path=tmp_path / "old.fluxcap"), lambda name: platform_named(name, (), {}))
