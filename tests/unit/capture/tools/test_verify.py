"""capture/tools/verify.py: one answer for all that a data folder keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxcap.bridge.store.store import Store
from fluxcap.bridge.store.verify import Verdict, verify_exit_code
from fluxcap.bridge.system.folders import STORE_FILE
from fluxcap.capture.csvfiles.format import CsvKind, file_name, series_folder
from fluxcap.capture.pipeline.journal import TickJournal, journal_files
from fluxcap.capture.tools.verify import verify_folder
from fluxcap.schemas.errors import ConfigError
from fluxcap.schemas.types import Tick
from tests.support.wire.samples import EURUSD, candle_rows

HEADER = CsvKind.TICK.header.decode()
LINE = "2026-11-21T23:54:26.123Z,EURUSD_otc,1.17234\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    from fluxcap.bridge.server.sequencer import Sequencer

    with Store.open(tmp_path / STORE_FILE) as store:
        store.commit([Sequencer(store.watermarks()).number(EURUSD, candle_rows(1, 5))])
    journal = TickJournal(tmp_path / "journal", 60_000)
    journal.append([Tick("EURUSD_otc", 1_795_305_266_123, 0, 1.1)], {"EURUSD_otc": 1})
    journal.close()
    csv(tmp_path).parent.mkdir(parents=True)
    csv(tmp_path).write_text(HEADER + LINE)
    return tmp_path


def csv(folder: Path) -> Path:
    name = file_name(CsvKind.TICK, "EURUSD_otc", "", "2026_11_21_23_54_26", 1)
    return folder / series_folder(CsvKind.TICK, "") / name


@pytest.mark.costly
def test_a_sound_folder_has_no_finding(folder: Path) -> None:
    report = verify_folder(folder)

    assert report.findings == ()
    assert report.checked == {"stores": 1, "journal files": 1, "CSV files": 1}


@pytest.mark.costly
def test_what_a_kill_leaves_is_noted_and_no_damage(folder: Path) -> None:
    csv(folder).write_text(HEADER + LINE + LINE[:-5])
    (journal,) = journal_files(folder / "journal")
    journal.write_bytes(journal.read_bytes() + b"\x10\0\0\0half")

    report = verify_folder(folder)

    assert [finding.verdict for finding in report.findings] == [Verdict.SOUND, Verdict.SOUND]
    assert verify_exit_code(report.findings) == 0


@pytest.mark.costly
def test_a_damaged_file_is_damage_and_its_faults_are_not_all_told(folder: Path) -> None:
    csv(folder).write_text(HEADER + "bad\n" * 10 + LINE)

    report = verify_folder(folder)

    assert verify_exit_code(report.findings) == 1
    assert len(report.findings) == 4
    assert report.findings[-1].text == "and 7 more lines."


@pytest.mark.costly
def test_a_store_that_is_held_cannot_be_told(folder: Path) -> None:
    with Store.open(folder / STORE_FILE):
        report = verify_folder(folder)

    assert verify_exit_code(report.findings) == 2
    assert "held by another process" in report.findings[0].text


def test_a_damaged_store_is_damage(folder: Path) -> None:
    store = folder / STORE_FILE
    store.write_bytes(b"\0" * 100 + store.read_bytes()[100:])

    assert verify_exit_code(verify_folder(folder).findings) == 1


def test_an_empty_folder_is_a_wrong_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--data-dir"):
        verify_folder(tmp_path)


@pytest.mark.costly
def test_progress_is_told_to_the_end(folder: Path) -> None:
    told: list[int] = []

    def begin(total: int):  # type: ignore[no-untyped-def]
        told.append(-total)
        return told.append

    verify_folder(folder, begin)

    assert told == [-2, 1, 1]
