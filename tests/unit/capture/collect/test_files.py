"""The collected files, and the note of a run that is not done."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fluxcap.bridge.dashboard.csv_candles import read_csv
from fluxcap.capture.collect.files import RUNNING, UNFINISHED, CollectedFiles
from fluxcap.capture.collect.plan import Job, parse_timeframes
from fluxcap.capture.csvfiles.catalog import list_csv_files
from fluxcap.capture.csvfiles.collected import COLLECT_FOLDER
from fluxcap.schemas.errors import AlreadyRunning, ConfigError, StoreError
from fluxcap.schemas.types import Candle

HOUR, MINUTE = (Job("EUR/USD OTC", timeframe) for timeframe in parse_timeframes("1h,1m"))
CANDLES = (Candle(1_700_006_400_000, 1.1, 1.4, 1.0, 1.2), Candle(1_700_010_000_000, 1.2, 1.3, 0.000012, 1.25))
NOW_MS = 1_763_769_600_000  # 2025-11-22 00:00:00Z
DAY_S = 86_400


def test_a_file_has_the_originals_folder_name_columns_and_times(tmp_path: Path):
    path = CollectedFiles(tmp_path).save(HOUR, "EURUSD_otc", CANDLES, NOW_MS)

    assert path == tmp_path / COLLECT_FOLDER / "1H_candles" / "EURUSD_otc_60m_2025_11_22_00_00_00.csv"
    assert path.read_text().splitlines() == [
        "timestamp,open,close,high,low",
        "2023-11-15 00:00:00Z,1.1,1.2,1.4,1.0",
        "2023-11-15 01:00:00Z,1.2,1.25,1.3,0.000012",
    ]


def test_charts_find_and_read_it(tmp_path: Path):
    path = CollectedFiles(tmp_path).save(HOUR, "#AAPL_otc", CANDLES, NOW_MS)

    assert [(f["asset"], f["timeframe"]) for f in list_csv_files(tmp_path, "1h")] == [("#AAPL_OTC", "1h")]
    assert read_csv(path.read_text())["close"].tolist() == [1.2, 1.25]


def test_what_an_unfinished_run_of_the_day_has_saved_is_known_to_the_next(tmp_path: Path):
    CollectedFiles(tmp_path, now_s=10 * DAY_S).save(HOUR, "EURUSD_otc", CANDLES, NOW_MS)

    again = CollectedFiles(tmp_path, now_s=10 * DAY_S + 80_000)

    assert again.is_saved(HOUR)
    assert not again.is_saved(MINUTE)


@pytest.mark.parametrize("how", ["the next day", "restart", "finished", "file gone", "note torn"])
def test_it_is_forgotten(tmp_path: Path, how: str):
    files = CollectedFiles(tmp_path, now_s=10 * DAY_S)
    path = files.save(HOUR, "EURUSD_otc", CANDLES, NOW_MS)
    if how == "finished":
        files.finish()
    elif how == "file gone":
        path.unlink()
    elif how == "note torn":
        (tmp_path / COLLECT_FOLDER / UNFINISHED).write_text('{"day": "19')

    again = CollectedFiles(tmp_path, restart=how == "restart", now_s=(11 if how == "the next day" else 10) * DAY_S)

    assert not again.is_saved(HOUR)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path):
    (tmp_path / "data_output").write_text("")

    with pytest.raises(ConfigError, match="data_collect cannot be made"):
        CollectedFiles(tmp_path)


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path):
    files = CollectedFiles(tmp_path)
    (files.folder / "1H_candles").write_text("")

    with pytest.raises(StoreError, match=r"60m_2025_11_22_00_00_00.csv cannot be written"):
        files.save(HOUR, "EURUSD_otc", CANDLES, NOW_MS)


def test_two_never_turn_one_page_at_a_time(tmp_path: Path):
    files = CollectedFiles(tmp_path)
    taken = pytest.raises(AlreadyRunning, match=rf"being collected already \(process {os.getpid()}\)")

    with files.claim(), taken, CollectedFiles(tmp_path).claim():
        pytest.fail("two at once")

    with files.claim():
        assert (files.folder / RUNNING).exists()


@pytest.mark.parametrize("left", ["", "no number", "1", "4194305"])
def test_the_note_of_one_that_was_killed_keeps_nobody_out(tmp_path: Path, left: str):
    files = CollectedFiles(tmp_path)
    (files.folder / RUNNING).write_text(left)

    with files.claim():
        assert (files.folder / RUNNING).read_text() == str(os.getpid())

    assert not (files.folder / RUNNING).exists()
