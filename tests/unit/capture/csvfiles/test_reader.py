"""capture/csvfiles/reader.py: reading the collected files again, whatever became of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxcap.capture.csvfiles.format import CsvKind, file_name, series_folder
from fluxcap.capture.csvfiles.reader import CsvFile, check_csv, collected_files, read_ticks

STAMP = "2026_11_21_23_54_26"
TICKS = (
    "timestamp,asset,price\n2026-11-21T23:54:26.123Z,EURUSD_otc,1.17234\n2026-11-21T23:54:26.500Z,EURUSD_otc,9e-06\n"
)
CANDLES = "timestamp,open,close,high,low\n2026-11-21 23:54:00Z,1.1,1.2,1.4,1.0\n2026-11-21 23:55:00Z,1.2,1.1,1.3,1.05\n"


def put(folder: Path, text: str, kind: CsvKind = CsvKind.TICK, symbol: str = "EURUSD_otc", part: int = 1) -> CsvFile:
    interval = "" if kind is CsvKind.TICK else "1m"
    path = folder / series_folder(kind, interval) / file_name(kind, symbol, interval, STAMP, part)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return next(file for file in collected_files(folder) if file.path == path)


def test_ticks_are_read_back_exactly(tmp_path: Path) -> None:
    page = read_ticks(put(tmp_path, TICKS))

    assert page.symbol == "EURUSD_otc"
    assert page.ts_ms.tolist() == [1_795_305_266_123, 1_795_305_266_500]
    assert page.price.tolist() == [1.17234, 9e-06]
    assert page.unreadable == 0


@pytest.mark.parametrize(("kind", "text"), [(CsvKind.TICK, TICKS), (CsvKind.CANDLE, CANDLES)])
def test_what_a_spreadsheet_saved_is_the_same_and_no_damage(tmp_path: Path, kind: CsvKind, text: str) -> None:
    """Excel writes line ends of Windows, and a mark of UTF-8 at the beginning."""
    file = put(tmp_path, text, kind)
    before = check_csv(file), read_ticks(file) if kind is CsvKind.TICK else None
    file.path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())

    after = check_csv(file), read_ticks(file) if kind is CsvKind.TICK else None

    assert after[0] == before[0]
    assert after[0].faults == ()
    if before[1] is not None and after[1] is not None:
        assert after[1].ts_ms.tolist() == before[1].ts_ms.tolist()
        assert after[1].price.tolist() == before[1].price.tolist()


def test_a_carriage_return_within_a_line_is_damage(tmp_path: Path) -> None:
    report = check_csv(put(tmp_path, TICKS.replace("1.17234", "1.1\r7234")))

    assert len(report.faults) == 1


def test_a_line_that_was_cut_off_is_not_taken_for_a_tick(tmp_path: Path) -> None:
    page = read_ticks(put(tmp_path, TICKS + "2026-11-21T23:54:27.000Z,EURUSD_otc,1.1"))

    assert len(page.price) == 2
    assert page.unreadable == 0


@pytest.mark.parametrize(
    "bad",
    [
        "x",
        "",
        "2026-11-21T23:54:27Z,A,",
        "23:54:27Z,A,1.1",
        ",,",
        "2026-11-21T23:54:27,A,1",
        "2026-11-21T23:54:27Z,A,-1",
        "2026-11-21T23:54:27Z,A,0",
        "2026-11-21T23:54:27Z,A,nan",
        "2026-11-21T23:54:27Z,A,inf",
        "2026-11-21T23:54:27Z,A,1.1,2026-11-21T23:54:28Z,A,1.2",
    ],
)
def test_a_line_that_cannot_be_read_is_left_out_and_counted(tmp_path: Path, bad: str) -> None:
    page = read_ticks(put(tmp_path, TICKS + bad + "\n" + "2026-11-21T23:54:28.000Z,EURUSD_otc,1.5\n"))

    assert page.price.tolist() == [1.17234, 9e-06, 1.5]
    assert len(page.ts_ms) == 3
    assert page.unreadable == 1


def test_files_come_by_asset_and_age(tmp_path: Path) -> None:
    put(tmp_path, TICKS, symbol="B")
    put(tmp_path, TICKS, symbol="A", part=1000)
    put(tmp_path, TICKS, symbol="A", part=999)
    put(tmp_path, CANDLES, CsvKind.CANDLE, symbol="A")
    (tmp_path / series_folder(CsvKind.TICK, "") / "notes.csv").write_text("not ours")

    found = [(file.name.symbol, file.name.part) for file in collected_files(tmp_path, CsvKind.TICK)]

    assert found == [("A", 999), ("A", 1000), ("B", 1)]
    assert len(collected_files(tmp_path)) == 4


def test_no_folder_is_no_file(tmp_path: Path) -> None:
    assert collected_files(tmp_path) == []


@pytest.mark.parametrize(("kind", "text"), [(CsvKind.TICK, TICKS), (CsvKind.CANDLE, CANDLES)])
def test_a_sound_file_has_no_fault(tmp_path: Path, kind: CsvKind, text: str) -> None:
    check = check_csv(put(tmp_path, text, kind))

    assert (check.lines, check.torn_bytes, check.faults) == (2, 0, ())


@pytest.mark.parametrize(("kind", "text"), [(CsvKind.TICK, TICKS), (CsvKind.CANDLE, CANDLES)])
def test_what_a_kill_leaves_is_torn_and_no_fault(tmp_path: Path, kind: CsvKind, text: str) -> None:
    check = check_csv(put(tmp_path, text[:-3], kind))

    assert (check.lines, check.faults) == (1, ())
    assert check.torn_bytes > 0


@pytest.mark.parametrize(
    ("kind", "text", "fault"),
    [
        (CsvKind.TICK, TICKS.replace("price", "value"), "Line 1 is not"),
        (CsvKind.TICK, TICKS + "2026-11-21T23:54:27.000Z,EURUSD_otc\n", "Line 4 has 2 columns in place of 3"),
        (CsvKind.TICK, TICKS + "noon,EURUSD_otc,1.1\n", "Line 4 has no time: 'noon'"),
        (CsvKind.TICK, TICKS + "2026-11-21T23:54:27.000Z,EURUSD_otc,nan\n", "Line 4 has no price: 'nan'"),
        (CsvKind.TICK, TICKS + "2026-11-21T23:54:27.000Z,EURUSD_otc,-1\n", "Line 4 has no price: '-1'"),
        (CsvKind.TICK, TICKS.replace("EURUSD_otc,1.17234\n", "EURUSD_otc,1.1\x00\n"), "Line 2 has no price"),
        (CsvKind.CANDLE, CANDLES + "2026-11-21 23:56:00Z,1.1,1.2,1.0,1.4\n", "Line 4 is no candle"),
        (CsvKind.CANDLE, CANDLES + "2026-11-21 23:55:00Z,1.1,1.2,1.4,1.0\n", "Line 4 is not later"),
        (CsvKind.CANDLE, CANDLES + "2026-11-21 23:56:00Z,1.1,1.2,1.4\n", "Line 4 has 4 columns in place of 5"),
        (CsvKind.CANDLE, "", "Line 1 is not"),
    ],
)
def test_damage_is_told_with_its_line(tmp_path: Path, kind: CsvKind, text: str, fault: str) -> None:
    check = check_csv(put(tmp_path, text, kind))

    assert len(check.faults) == 1
    assert check.faults[0].startswith(fault)
