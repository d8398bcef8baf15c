"""A recording into a new store: the golden one, the same to the bit at any speed; folders, errors, summary."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import pytest

from fluxcap.bridge.http.run_file import RunFile, write_run_file
from fluxcap.capture.market.focus import Focus, FocusMode
from fluxcap.capture.platforms.pocketoption import PocketOption
from fluxcap.capture.recording.file import RecordingReader
from fluxcap.capture.recording.records import Arrivals
from fluxcap.capture.simulator import Secrets
from fluxcap.capture.tools.replay import replay as replaying
from fluxcap.capture.tools.replay.replay import ReplayOptions, ReplaySummary
from fluxcap.schemas.errors import AlreadyRunning, ConfigError
from tests.golden.write_recording import EUR, EXPECTED, RECORDING, found_in, write

pytestmark = pytest.mark.costly


def replay(**how: Any) -> ReplaySummary:
    return replaying.replay(ReplayOptions(**({"path": RECORDING} | how)), lambda name: PocketOption())


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return dict(json.loads(EXPECTED.read_text()))


def test_the_golden_recording_gives_the_golden_candles_to_the_bit(tmp_path: Path, expected: dict[str, Any]) -> None:
    summary = replay(data_dir=tmp_path)

    assert found_in(tmp_path) == expected
    assert summary.digest == expected["digest"]
    assert summary.error == ""


def test_the_golden_recording_holds_every_kind_of_candle(expected: dict[str, Any]) -> None:
    flags = {row[-1] for stream in expected["streams"].values() for row in stream["candles"]}

    assert {0, 2, 4} <= flags
    assert {gap[-1] for gap in expected["gaps"]} == {"page reloaded", "socket silent", "socket closed"}


def test_the_golden_recording_is_what_the_story_records_today(tmp_path: Path) -> None:
    write(tmp_path / "again")

    with RecordingReader(tmp_path / "again") as again, RecordingReader(RECORDING) as golden:
        assert again.header == golden.header
        assert list(again) == list(golden)


def test_the_golden_recording_is_small_and_holds_no_secret() -> None:
    content = zlib.decompress(RECORDING.read_bytes(), wbits=31)

    assert RECORDING.stat().st_size < 300_000
    assert EUR.encode() in content
    for secret in (*Secrets().all(), "liveDealAmount", "48613"):
        assert secret.encode() not in content, secret


def test_the_pace_changes_nothing(tmp_path: Path, expected: dict[str, Any]) -> None:
    assert replay(speed=100_000.0).digest == expected["digest"]


def test_longer_intervals_that_are_asked_for_stand_in_the_digest_at_any_pace(expected: dict[str, Any]) -> None:
    longer, paced = replay(timeframes=("2m", "5m")), replay(timeframes=("2m", "5m"), speed=100_000.0)

    assert {stream.key.interval for stream in longer.streams} == {"1m", "2m", "5m"}
    assert {str(one.key) for one in longer.streams if one.key.interval == "1m"} == set(expected["streams"])
    assert all(stream.candles for stream in longer.streams if stream.key.symbol == EUR)
    assert longer.streams == paced.streams
    assert expected["digest"] != longer.digest == paced.digest


def test_a_timeframe_that_cannot_be_made_of_the_interval_is_refused() -> None:
    with pytest.raises(ConfigError, match="90s is not a multiple of 1m"):
        replay(interval="1m", timeframes=("90s",))


def test_another_focus_and_interval_are_taken_in_place_of_the_recorded_ones() -> None:
    summary = replay(focus=Focus(FocusMode.ALL), interval="5s")

    assert sorted(str(stream.key) for stream in summary.streams) == [
        "GOLDEN.EURUSD_otc.5s",
        "GOLDEN.GBPUSD_otc.5s",
        "GOLDEN.USDJPY_otc.5s",
    ]


def test_a_summary_says_what_was_played() -> None:
    summary = replay()

    assert summary.arrivals is Arrivals.MEASURED
    assert summary.platform == "pocketoption"
    assert summary.played.sockets == 3
    assert summary.played.last_ms - summary.played.first_ms == pytest.approx(900_000, abs=1_000)
    assert summary.played.frames > 2 * summary.ticks > 0
    assert summary.played.withheld > 30
    assert summary.candles == sum(stream.candles for stream in summary.streams)
    assert summary.clock == "The platform stamps ticks +2 h from UTC, by this computer's clock alone; removed."
    assert summary.data_dir == ""


def test_without_a_data_folder_nothing_is_left_but_it_is_there_to_finish(tmp_path: Path) -> None:
    seen: list[Path] = []

    def finish(folder: Path) -> None:
        assert (folder / "fluxcap.duckdb").is_file()
        seen.append(folder)

    replaying.replay(ReplayOptions(path=RECORDING), lambda name: PocketOption(), finish)

    assert not seen[0].exists()


def test_a_folder_with_a_store_is_refused_and_put_aside_only_when_told_to(tmp_path: Path) -> None:
    first = replay(data_dir=tmp_path)

    with pytest.raises(ConfigError, match="already has a store, and a replay needs an empty folder"):
        replay(data_dir=tmp_path)
    again = replay(data_dir=tmp_path, force=True)

    assert again.digest == first.digest
    assert len(list(tmp_path.glob("fluxcap.duckdb.before-replay-*"))) >= 1


def test_the_folder_of_a_running_daemon_is_refused_even_by_force(tmp_path: Path) -> None:
    write_run_file(tmp_path, RunFile(os.getpid(), "", "", ""))

    with pytest.raises(AlreadyRunning, match=f"Process {os.getpid()} runs on .*; replay into another folder"):
        replay(data_dir=tmp_path, force=True)


def test_a_recording_that_was_cut_off_is_replayed_as_far_as_it_goes(tmp_path: Path, expected: dict[str, Any]) -> None:
    part = tmp_path / "part"
    part.write_bytes(RECORDING.read_bytes()[:50_000])

    summary = replay(path=part, data_dir=tmp_path / "data")

    assert summary.error == f"{part} is cut off, as after a kill; it was read up to there."
    whole = expected["streams"]["GOLDEN.EURUSD_otc.1m"]["candles"]
    some = found_in(tmp_path / "data")["streams"]["GOLDEN.EURUSD_otc.1m"]["candles"]
    assert 0 < len(some) < len(whole)
    assert some == whole[: len(some)]


@pytest.mark.parametrize("how", [{"interval": "1x"}, {"speed": 0.0}, {"speed": -1.0}, {"path": Path("nothing")}])
def test_wrong_use_is_told_before_anything_is_made(tmp_path: Path, how: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        replay(data_dir=tmp_path / "data", **how)

    assert not (tmp_path / "data").exists()


def test_progress_is_told_in_bytes(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    replaying.replay(
        ReplayOptions(path=RECORDING),
        lambda name: PocketOption(),
        progress=lambda done, total: told.append((done, total)),
    )

    assert told
    assert {total for _, total in told} == {RECORDING.stat().st_size}


def test_the_platform_that_the_header_names_is_used() -> None:
    names: list[str] = []

    def platform_of(name: str) -> PocketOption:
        names.append(name)
        return PocketOption()

    replaying.replay(ReplayOptions(path=RECORDING), platform_of)

    assert names == ["pocketoption"]
