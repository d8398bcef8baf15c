"""The pace of a replay, by a clock that the test turns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxcap.bridge.server.server import WireServer
from fluxcap.capture.platforms.pocketoption import PocketOption
from fluxcap.capture.recording import records as r
from fluxcap.capture.recording.file import RecordingReader
from fluxcap.capture.recording.records import Header
from fluxcap.capture.tools.replay.replayer import HEARTBEAT_S, POLL_S, Replayer
from fluxcap.schemas.errors import StoreError
from fluxcap.schemas.types import StreamKey
from tests.golden.write_recording import EUR, RECORDING

pytestmark = pytest.mark.costly

SECOND_NS = 1_000_000_000


class Clock:
    """Time passes only by sleeping."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.naps: list[float] = []

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now_s += seconds


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WireServer]:
    with WireServer(tmp_path / "s.duckdb", "inproc://pub", "inproc://rep") as made:
        yield made


def stage(server: WireServer, clock: Clock, header: Header | None = None) -> Replayer:
    return Replayer(header or Header(source="S"), PocketOption(), server, clock=clock)


@pytest.mark.parametrize("speed", [1.0, 4.0])
def test_records_come_at_the_recorded_pace_times_the_speed(server: WireServer, speed: float) -> None:
    clock = Clock()
    records = [r.TimeAdvanced(77 * SECOND_NS, 0), r.TimeAdvanced(SECOND_NS, 0), r.TimeAdvanced(2 * SECOND_NS, 0)]

    stage(server, clock).play_paced([records], speed)

    assert clock.now_s - 100 == pytest.approx(3 / speed)
    assert max(clock.naps) <= POLL_S


def test_full_speed_never_sleeps(server: WireServer) -> None:
    clock = Clock()

    stage(server, clock).play_all([[r.TimeAdvanced(SECOND_NS, 0)] * 50])

    assert clock.naps == []


def test_heartbeats_go_on_while_a_quiet_stretch_lasts(server: WireServer) -> None:
    clock, told = Clock(), []

    stage(server, clock).play_paced(
        [[r.TimeAdvanced(SECOND_NS, 0), r.TimeAdvanced(10 * SECOND_NS, 0)]], 1.0, lambda: told.append(1)
    )

    assert len(told) == pytest.approx(10 / HEARTBEAT_S, abs=2)


def test_candles_are_committed_while_a_paced_replay_goes_on_and_gathered_at_full_speed(server: WireServer) -> None:
    commits: list[int] = []

    def counted(publish: object = server.publish) -> None:
        def count(*candles: object) -> object:
            batches = publish(*candles)  # type: ignore[operator]
            commits.extend([1] * bool(batches))
            return batches

        server.publish = count  # type: ignore[assignment,method-assign]

    counted()
    with RecordingReader(RECORDING) as reader:
        stage(server, Clock(), reader.header).play_all(reader.blocks())
    gathered = len(commits)
    with RecordingReader(RECORDING) as reader:
        header = r.Header(source="PACED", focus=reader.header.focus)
        stage(server, Clock(), header).play_paced(reader.blocks(), 1e6)

    assert gathered < 5 < len(commits) - gathered
    gold, paced = (server.watermark(StreamKey(source, EUR, "1m")) for source in ("GOLDEN", "PACED"))
    assert gold.latest_sequence == paced.latest_sequence > 50


def test_a_store_that_takes_nothing_ends_the_replay_at_once(server: WireServer) -> None:
    def refuse(*candles: object) -> object:
        raise StoreError("The disk is full.")

    server.publish = refuse  # type: ignore[assignment,method-assign]
    with (
        RecordingReader(RECORDING) as reader,
        pytest.raises(StoreError, match=r"The disk is full\."),
    ):
        stage(server, Clock(), reader.header).play_all(reader.blocks())


def test_candles_that_the_store_of_that_time_had_are_not_made_again(server: WireServer) -> None:
    with RecordingReader(RECORDING) as reader:
        had_ms = 1_760_000_040_000
        header = r.Header(source="LATER", focus=reader.header.focus, published={EUR: had_ms})
        stage(server, Clock(), header).play_all(reader.blocks())

    candles = server.store.reader().page(StreamKey("LATER", EUR, "1m")).candles
    assert candles["ts_ms"][0] == had_ms + 60_000
