"""Which collected files charts may read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fluxcap.capture.csvfiles.catalog import list_csv_files, resolve_csv_file
from tests.support.systems import not_on_windows

COLLECTED = "data_collect/5M_candles/EURUSD_otc_5m_2025_09_03_00_33_10.csv"
HOURS = "data_collect/1H_candles/EURUSD_otc_60m_2025_09_03_00_33_10.csv"
LIVE = "realtime_stream/1M_candle_data/%23AAPL_otc_1m_2025_09_03_00_33_10_part001.csv"
TICKS = "realtime_stream/1M_tick_data/EURUSD_otc_ticks_2025_09_03_00_33_10_part002.csv"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in (COLLECTED, HOURS, LIVE, TICKS):
        path = tmp_path / "data_output" / "assets_data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"timestamp,open\n")
    (tmp_path / "fluxcap.csv").write_text("secret")
    (tmp_path / "data_output" / "assets_data" / "other.csv").write_text("secret")
    return tmp_path


def relative(data: Path, file: dict[str, Any]) -> str:
    return Path(file["path"]).relative_to(data / "data_output" / "assets_data").as_posix()


def test_all_files_are_listed_as_chart_programs_know_them(data: Path) -> None:
    found = {relative(data, file): (file["asset"], file["timeframe"], file["size"]) for file in list_csv_files(data)}

    assert found == {
        COLLECTED: ("EURUSD_OTC", "5m", 15),
        HOURS: ("EURUSD_OTC", "1h", 15),
        LIVE: ("#AAPL_OTC", "1m", 15),
        TICKS: ("EURUSD_OTC", "1m", 15),
    }


def test_the_platforms_symbol_and_what_the_rows_are_stand_beside(data: Path) -> None:
    found = {relative(data, file): (file["symbol"], file["kind"]) for file in list_csv_files(data)}

    assert found[LIVE] == ("#AAPL_otc", "candle")
    assert found[TICKS] == ("EURUSD_otc", "tick")


@pytest.mark.parametrize(
    ("timeframe", "paths"),
    [("1h", [HOURS]), ("60m", [HOURS]), ("1H", [HOURS]), ("1m", [LIVE, TICKS]), ("tick", [TICKS]), ("4h", [])],
)
def test_files_of_one_timeframe_are_listed(data: Path, timeframe: str, paths: list[str]) -> None:
    assert [relative(data, file) for file in list_csv_files(data, timeframe)] == paths


def test_no_data_folder_is_no_files(tmp_path: Path) -> None:
    assert list_csv_files(tmp_path / "nothing") == []


@pytest.mark.parametrize("name", [COLLECTED, Path(COLLECTED).name])
def test_a_file_is_found_by_path_and_by_name(data: Path, name: str) -> None:
    found = resolve_csv_file(data, name)

    assert found is not None
    assert found.name == Path(COLLECTED).name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "data_collect",
        "../../fluxcap.csv",
        "fluxcap.csv",
        "other.csv",
        "data_collect/../other.csv",
        "data_collect/5M_candles/../../../../fluxcap.csv",
        "/etc/passwd",
        "//etc/passwd",
        "..\\..\\fluxcap.csv",
        "%2e%2e/fluxcap.csv",
        "data_collect/5M_candles/EURUSD_otc_5m_2025_09_03_00_33_10.csv\x00",
    ],
)
def test_no_name_leads_out_of_the_data_folders(data: Path, name: str) -> None:
    assert resolve_csv_file(data, name) is None


def test_the_absolute_path_that_was_listed_is_accepted_back(data: Path) -> None:
    listed = next(file for file in list_csv_files(data) if relative(data, file) == COLLECTED)

    assert resolve_csv_file(data, listed["path"]) == Path(listed["path"])


@not_on_windows("a full path begins with no slash there")
def test_a_slash_that_was_lost_on_the_way_is_put_back(data: Path) -> None:
    listed = next(file for file in list_csv_files(data) if relative(data, file) == COLLECTED)

    assert resolve_csv_file(data, listed["path"].removeprefix("/")) == Path(listed["path"])


@pytest.mark.parametrize("name", ["fluxcap.csv", "data_output/assets_data/other.csv"])
def test_an_absolute_path_outside_the_two_folders_is_refused(data: Path, name: str) -> None:
    assert resolve_csv_file(data, str(data / name)) is None


def test_an_absolute_path_that_leads_out_of_the_folders_is_refused(data: Path) -> None:
    listed = str(data / "data_output/assets_data/data_collect/5M_candles/../../other.csv")

    assert resolve_csv_file(data, listed) is None


def test_links_are_not_followed(data: Path) -> None:
    folder = data / "data_output" / "assets_data" / "data_collect"
    (folder / "link.csv").symlink_to(data / "fluxcap.csv")
    (folder / "linked").symlink_to(data, target_is_directory=True)

    assert resolve_csv_file(data, "link.csv") is None
    assert resolve_csv_file(data, "data_collect/linked/fluxcap.csv") is None
    assert len(list_csv_files(data)) == 4
