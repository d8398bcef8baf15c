"""capture/csvfiles/writer.py: what is published goes to files, in order, and the disk's troubles stay its own."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fluxcap.capture.csvfiles import writer as persistence
from fluxcap.capture.csvfiles.catalog import list_csv_files
from fluxcap.capture.csvfiles.format import CsvKind, session_stamp
from fluxcap.capture.csvfiles.reader import collected_files
from fluxcap.capture.csvfiles.rotation import LocalFileSystem, OpenFile
from fluxcap.capture.csvfiles.writer import CsvSettingsChange, CsvWriter
from fluxcap.capture.pipeline.listeners import PublishedUpdate
from fluxcap.capture.runtime import log
from fluxcap.capture.runtime.settings import CollectMode
from fluxcap.schemas.types import Candle, CandleBatch, CandleRevision, StreamKey, Tick, candle_array
from tests.support.patience import PATIENCE_S
from tests.support.systems import not_on_windows

T0 = 1_795_305_240_000
KEY = StreamKey("SIM", "EURUSD_otc", "1m")


class SwitchedDisk:
    """The real disk until ``broken`` says what is wrong with it; may be told to hang."""

    def __init__(self) -> None:
        self.broken: OSError | None = None
        self.released = threading.Event()
        self.released.set()
        self.attempts = 0
        self._real = LocalFileSystem()

    def create(self, path: Path) -> OpenFile:
        self.check()
        return _SwitchedPart(self, self._real.create(path))

    def reopen(self, path: Path) -> OpenFile:
        self.check()
        return _SwitchedPart(self, self._real.reopen(path))

    def remove(self, path: Path) -> None:
        self._real.remove(path)

    def check(self) -> None:
        self.attempts += 1
        self.released.wait()
        if self.broken is not None:
            raise self.broken


class _SwitchedPart:
    def __init__(self, disk: SwitchedDisk, part: OpenFile) -> None:
        self._disk = disk
        self._part = part
        self.exists = part.exists
        self.close = part.close

    def append(self, data: bytes) -> None:
        self._disk.check()
        self._part.append(data)


def full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def logged() -> Iterator[Callable[[str], list[dict[str, object]]]]:
    """The events of a name that were logged."""
    stream = io.StringIO()
    root, own = list(logging.getLogger().handlers), list(log.LOGGER.handlers)
    log.set_up(as_json=True, stream=stream)
    yield lambda name: [e for e in map(json.loads, stream.getvalue().splitlines()) if e["event"] == name]
    logging.getLogger().handlers[:], log.LOGGER.handlers[:] = root, own
    log.LOGGER.propagate = True


def tick(number: int, symbol: str = "EURUSD_otc") -> Tick:
    return Tick(symbol, T0 + number * 500, T0 + number * 500 + 7_200_000, 1.0 + number / 100_000)


def ticks(*numbers: int, symbol: str = "EURUSD_otc") -> PublishedUpdate:
    return PublishedUpdate((), (), (), tuple(tick(number, symbol) for number in numbers))


def candles(*minutes: int, key: StreamKey = KEY) -> PublishedUpdate:
    values = [Candle(T0 + minute * 60_000, 1.1, 1.4, 1.0, (1_200 + minute) / 1_000, 9.0, 9) for minute in minutes]
    return PublishedUpdate((CandleBatch(key, 1, candle_array(values)),), (), (), ())


def await_that(holds: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.005)


def lines(folder: Path, kind: CsvKind) -> list[str]:
    """All lines of a kind in the order of their files, headers left out."""
    return [line for file in collected_files(folder, kind) for line in file.path.read_text().splitlines()[1:]]


def prices(folder: Path) -> list[float]:
    return [float(line.rsplit(",", 1)[1]) for line in lines(folder, CsvKind.TICK)]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.csv"))


def running(folder: Path, mode: CollectMode, *sizes: int, disk: SwitchedDisk | None = None) -> CsvWriter:
    writer = CsvWriter(folder, mode, *sizes, now_ms=lambda: T0, disk=disk)
    writer.start()
    return writer


@pytest.mark.parametrize(
    ("mode", "kinds"),
    [
        (CollectMode.TICK, {CsvKind.TICK}),
        (CollectMode.CANDLE, {CsvKind.CANDLE}),
        (CollectMode.BOTH, {CsvKind.TICK, CsvKind.CANDLE}),
        (CollectMode.NONE, set()),
    ],
)
def test_each_mode_writes_its_kinds_and_no_other(tmp_path: Path, mode: CollectMode, kinds: set[CsvKind]) -> None:
    writer = running(tmp_path, mode)
    writer.published(ticks(1))
    writer.published(candles(1))
    writer.stop()

    assert {file.name.kind for file in collected_files(tmp_path)} == kinds


def test_files_are_rotated_by_their_own_sizes_under_the_originals_names(tmp_path: Path) -> None:
    writer = running(tmp_path, CollectMode.BOTH, 2, 1)
    writer.published(ticks(1, 2, 3))
    writer.published(candles(1, 2))
    writer.stop()

    assert names(tmp_path) == [
        "EURUSD_otc_1m_2026_11_21_23_54_00_part001.csv",
        "EURUSD_otc_1m_2026_11_21_23_54_00_part002.csv",
        "EURUSD_otc_ticks_2026_11_21_23_54_00_part001.csv",
        "EURUSD_otc_ticks_2026_11_21_23_54_00_part002.csv",
    ]
    assert prices(tmp_path) == [tick(n).price for n in (1, 2, 3)]
    assert lines(tmp_path, CsvKind.CANDLE)[0] == "2026-11-21 23:55:00Z,1.1,1.201,1.4,1.0"


def test_each_asset_and_interval_has_files_of_its_own(tmp_path: Path) -> None:
    writer = running(tmp_path, CollectMode.BOTH)
    writer.published(ticks(1, symbol="EURUSD_otc"))
    writer.published(ticks(2, symbol="#AAPL_otc"))
    writer.published(ticks(3, symbol="EURUSD_otc"))
    writer.published(candles(1, key=StreamKey("SIM", "EURUSD_otc", "5s")))
    writer.stop()

    found = {(file.name.symbol, file.name.interval): file.path for file in collected_files(tmp_path)}
    assert set(found) == {("EURUSD_otc", ""), ("#AAPL_otc", ""), ("EURUSD_otc", "5s")}
    assert found["EURUSD_otc", "5s"].parent.name == "5S_candle_data"
    assert len(found["EURUSD_otc", ""].read_text().splitlines()) == 3


def test_a_switch_of_mode_holds_exactly_from_where_it_was_made(tmp_path: Path) -> None:
    writer = running(tmp_path, CollectMode.NONE)
    writer.published(ticks(1))
    assert writer.change(CsvSettingsChange(CollectMode.TICK)).mode == "tick"
    writer.published(ticks(2))
    writer.published(candles(1))
    writer.change(CsvSettingsChange(CollectMode.BOTH))
    writer.published(ticks(3))
    writer.published(candles(2))
    writer.change(CsvSettingsChange(CollectMode.NONE))
    writer.published(ticks(4))
    writer.stop()

    assert prices(tmp_path) == [tick(2).price, tick(3).price]
    assert [line[:16] for line in lines(tmp_path, CsvKind.CANDLE)] == ["2026-11-21 23:56"]


def test_a_kind_that_goes_on_over_a_switch_keeps_its_file(tmp_path: Path) -> None:
    writer = running(tmp_path, CollectMode.TICK)
    writer.published(ticks(1))
    writer.change(CsvSettingsChange(CollectMode.BOTH))
    writer.published(ticks(2))
    writer.stop()

    assert len(collected_files(tmp_path, CsvKind.TICK)) == 1


def test_switching_off_and_on_within_a_second_overwrites_nothing(tmp_path: Path) -> None:
    writer = running(tmp_path, CollectMode.TICK)
    for number in range(3):
        writer.published(ticks(number))
        writer.change(CsvSettingsChange(CollectMode.NONE))
        writer.change(CsvSettingsChange(CollectMode.TICK))
    writer.stop()

    assert prices(tmp_path) == [tick(n).price for n in range(3)]


def test_a_restart_within_a_second_overwrites_nothing(tmp_path: Path) -> None:
    for number in range(3):
        writer = running(tmp_path, CollectMode.TICK)
        writer.published(ticks(number))
        writer.stop()

    assert [name[-11:] for name in names(tmp_path)] == ["part001.csv", "part002.csv", "part003.csv"]
    assert prices(tmp_path) == [tick(n).price for n in range(3)]


def test_sizes_can_be_changed_and_the_rest_stays(tmp_path: Path) -> None:
    writer = running(tmp_path, CollectMode.TICK)

    view = writer.change(CsvSettingsChange(tick_chunk_size=2))
    writer.published(ticks(1, 2, 3))
    writer.stop()

    assert (view.mode, view.tick_chunk_size, view.candle_chunk_size) == ("tick", 2, 100)
    assert len(names(tmp_path)) == 2


def test_revisions_change_no_line(tmp_path: Path) -> None:
    """The files say what was first published; `fluxcap export` gives the revised candles."""
    writer = running(tmp_path, CollectMode.BOTH)
    first = candles(1)
    better = CandleRevision(KEY, 1, np.array([1], np.uint64), candles(7).batches[0].candles)
    writer.published(first)
    writer.published(PublishedUpdate((), (better,), (), ()))
    writer.stop()

    assert len(lines(tmp_path, CsvKind.CANDLE)) == 1


def test_longer_intervals_are_written_where_they_are_asked_for_and_as_they_were_first_published(tmp_path: Path) -> None:
    five, quarter = (StreamKey(KEY.source_id, KEY.symbol, interval) for interval in ("5m", "15m"))
    longer = [candles(0, key=key).batches[0] for key in (five, quarter)]
    better = CandleRevision(five, 1, np.array([1], np.uint64), candles(7).batches[0].candles)
    written, usual = (
        CsvWriter(tmp_path / "5m", CollectMode.CANDLE, timeframes=["5m"], now_ms=lambda: T0),
        running(tmp_path / "usual", CollectMode.CANDLE),
    )
    written.start()

    for writer in (written, usual):
        writer.published(PublishedUpdate((), (), (), (), (*longer, better)))
        writer.published(candles(1))
        writer.stop()

    stamp = session_stamp(T0)
    assert names(tmp_path / "usual") == [f"EURUSD_otc_1m_{stamp}_part001.csv"]
    assert names(tmp_path / "5m") == [f"EURUSD_otc_{interval}_{stamp}_part001.csv" for interval in ("1m", "5m")]
    assert [file["timeframe"] for file in list_csv_files(tmp_path / "5m")] == ["1m", "5m"]
    assert len(lines(tmp_path / "5m", CsvKind.CANDLE)) == 2


@pytest.mark.parametrize("trouble", [errno.ENOSPC, errno.EACCES, errno.EIO, errno.EROFS])
def test_disk_trouble_is_told_once_and_nothing_is_lost_when_it_is_over(
    tmp_path: Path, trouble: int, logged: Callable[[str], list[dict[str, object]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(persistence, "RETRY_S", 0.01)
    disk = SwitchedDisk()
    writer = running(tmp_path, CollectMode.TICK, disk=disk)
    writer.published(ticks(1))
    await_that(lambda: writer.view().ticks == 1, "the first line")

    disk.broken = OSError(trouble, os.strerror(trouble))
    for number in range(2, 50):
        writer.published(ticks(number))
    await_that(lambda: writer.view().waiting == 48 and disk.attempts > 10, "lines that wait while it is tried again")
    view = writer.view()
    disk.broken = None
    await_that(lambda: not writer.view().error, "recovery")
    writer.published(ticks(50))
    writer.stop()

    assert view.error == os.strerror(trouble)
    assert prices(tmp_path) == [tick(n).price for n in range(1, 51)]
    assert len(logged("csv.write_failed")) == 1
    assert [event["lines_lost"] for event in logged("csv.write_recovered")] == [0]


def test_lines_that_wait_are_bounded_and_the_oldest_are_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: Callable[[str], list[dict[str, object]]]
) -> None:
    monkeypatch.setattr(persistence, "PENDING_MAX", 10)
    disk = SwitchedDisk()
    disk.broken = full()
    writer = running(tmp_path, CollectMode.TICK, disk=disk)
    for number in range(25):
        writer.published(ticks(number))
    await_that(lambda: writer.view().lost == 15, "lines given up")

    disk.broken = None
    writer.stop()

    assert prices(tmp_path) == [tick(n).price for n in range(15, 25)]
    assert [event["lines_lost"] for event in logged("csv.write_recovered")] == [15]


def test_candles_are_written_while_ticks_cannot_be(tmp_path: Path) -> None:
    writer = running(tmp_path, CollectMode.BOTH)
    blocked = tmp_path / "data_output/assets_data/realtime_stream/1M_tick_data"
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.write_text("a file where the folder should be")

    writer.published(ticks(1))
    writer.published(candles(1))
    await_that(lambda: writer.view().candles == 1, "the candle")
    view = writer.view()
    writer.stop()

    assert (view.ticks, view.waiting) == (0, 1)
    assert view.error


def test_a_hanging_disk_holds_up_neither_the_capture_nor_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: Callable[[str], list[dict[str, object]]]
) -> None:
    monkeypatch.setattr(persistence, "QUEUE_MAX", 5)
    disk = SwitchedDisk()
    disk.released.clear()
    writer = running(tmp_path, CollectMode.TICK, disk=disk)

    for number in range(100):
        writer.published(ticks(number))
    view = writer.view()
    writer.stop(timeout_s=0.01)
    disk.released.set()
    writer._thread.join(PATIENCE_S) if writer._queue.empty() else writer.stop(PATIENCE_S)

    assert view.lost >= 90
    assert len(logged("csv.rows_dropped")) == 1


@not_on_windows("a folder with a file that is open cannot be removed")
def test_a_removed_folder_costs_what_was_in_it_and_no_more(
    tmp_path: Path, logged: Callable[[str], list[dict[str, object]]]
) -> None:
    import shutil

    writer = running(tmp_path, CollectMode.TICK)
    writer.published(ticks(1))
    await_that(lambda: writer.view().ticks == 1, "the first line")
    shutil.rmtree(tmp_path / "data_output")
    writer.published(ticks(2))
    writer.stop()

    assert prices(tmp_path) == [tick(2).price]
    assert len(logged("csv.file_lost")) == 1


@pytest.mark.costly
def test_what_is_queued_is_written_before_the_end(tmp_path: Path) -> None:
    writer = running(tmp_path, CollectMode.TICK)
    for number in range(5_000):
        writer.published(ticks(number))
    writer.stop(PATIENCE_S)

    assert prices(tmp_path) == [tick(n).price for n in range(5_000)]
    assert writer.view().ticks == 5_000
