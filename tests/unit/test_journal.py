"""capture/journal.py: what a killed daemon finds again."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from capture.journal import (
    ROTATE_MS,
    Entry,
    Remembered,
    TickJournal,
    check_journal,
    journal_files,
    losses,
    read_journal,
)
from schemas.types import Tick

T0 = 1_763_760_000_000


def tick(index: int, symbol: str = "EURUSD_otc") -> Tick:
    ts_ms = T0 + index * 500
    return Tick(symbol, ts_ms, ts_ms + 7_200_000, 1.1 + index / 1_000)


def write(folder: Path, ticks: list[Tick], since: dict[str, int]) -> None:
    journal = TickJournal(folder, 120_000)
    for one in ticks:
        journal.append([one], since)
    journal.close()


def test_what_was_appended_is_read_back_with_its_coverage(tmp_path: Path) -> None:
    ticks = [tick(i) for i in range(10)]

    write(tmp_path, ticks, {"EURUSD_otc": T0})

    assert read_journal(tmp_path) == [Remembered("EURUSD_otc", T0, tuple(ticks))]


def test_a_torn_tail_loses_only_its_own_frame(tmp_path: Path) -> None:
    ticks = [tick(i) for i in range(10)]
    write(tmp_path, ticks, {"EURUSD_otc": T0})
    (path,) = journal_files(tmp_path)

    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 3)

    assert read_journal(tmp_path)[0].ticks == tuple(ticks[:-1])
    assert check_journal(tmp_path)[0].torn_bytes > 0


@pytest.mark.parametrize("at", [0, 3, 8, 40, 100])
def test_a_damaged_byte_ends_the_reading_and_raises_nothing(tmp_path: Path, at: int) -> None:
    write(tmp_path, [tick(i) for i in range(10)], {"EURUSD_otc": T0})
    (path,) = journal_files(tmp_path)
    data = bytearray(path.read_bytes())

    data[at] ^= 0xFF
    path.write_bytes(data)

    found = read_journal(tmp_path)
    assert all(one in [tick(i) for i in range(10)] for stretch in found for one in stretch.ticks)
    assert check_journal(tmp_path)[0].torn_bytes > 0


def test_a_break_in_coverage_parts_the_stretches(tmp_path: Path) -> None:
    journal = TickJournal(tmp_path, 120_000)
    journal.append([tick(0), tick(1)], {"EURUSD_otc": T0})
    journal.append([tick(20)], {"EURUSD_otc": tick(20).ts_ms})
    journal.close()

    assert read_journal(tmp_path) == [
        Remembered("EURUSD_otc", T0, (tick(0), tick(1))),
        Remembered("EURUSD_otc", tick(20).ts_ms, (tick(20),)),
    ]


def test_ticks_that_could_not_be_written_part_the_stretches_and_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = {"EURUSD_otc": T0, "GBPUSD_otc": T0}
    journal = TickJournal(tmp_path, 120_000)
    journal.append([tick(0), tick(0, "GBPUSD_otc")], since)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(TickJournal, "_write", full)
        journal.append([tick(1)], since)
        journal.append([tick(2)], since)
    journal.append([tick(3), tick(3, "GBPUSD_otc")], since)
    journal.append([tick(4)], since)
    journal.close()

    assert read_journal(tmp_path) == [
        Remembered("EURUSD_otc", T0, (tick(0),)),
        Remembered("EURUSD_otc", tick(2).ts_ms + 1, (tick(3), tick(4)), lost_from_ms=tick(1).ts_ms),
        Remembered("GBPUSD_otc", T0, (tick(0, "GBPUSD_otc"), tick(3, "GBPUSD_otc"))),
    ]


def test_a_file_that_was_given_up_is_not_written_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    since = {"EURUSD_otc": T0}
    journal = TickJournal(tmp_path, 120_000)
    journal.append([tick(5)], since)
    write = TickJournal._write

    def half(self: TickJournal, entry: Entry) -> None:
        assert self._file is not None
        self._file.write(b"\x30\x00")
        raise OSError(errno.EFBIG, "File too large")

    with monkeypatch.context() as disk:
        disk.setattr(TickJournal, "_write", half)
        journal.append([tick(6)], since)
    monkeypatch.setattr(TickJournal, "_write", write)
    journal.append([tick(5, "GBPUSD_otc")], {"GBPUSD_otc": T0})
    journal.close()

    assert read_journal(tmp_path) == [
        Remembered("EURUSD_otc", T0, (tick(5),)),
        Remembered("GBPUSD_otc", T0, (tick(5, "GBPUSD_otc"),)),
    ]


def test_two_runs_of_the_daemon_leave_one_history(tmp_path: Path) -> None:
    write(tmp_path, [tick(0)], {"EURUSD_otc": T0})
    (first,) = journal_files(tmp_path)
    first.rename(first.with_name(f"ticks-{T0}-1.journal"))
    write(tmp_path, [tick(10, "GBPUSD_otc")], {"GBPUSD_otc": tick(10).ts_ms})

    assert {stretch.symbol for stretch in read_journal(tmp_path)} == {"EURUSD_otc", "GBPUSD_otc"}


def test_a_new_file_repeats_since_when_assets_are_covered(tmp_path: Path) -> None:
    journal = TickJournal(tmp_path, 10_000_000)
    journal.append([tick(0)], {"EURUSD_otc": T0})
    late = Tick("EURUSD_otc", T0 + ROTATE_MS + 1, 0, 1.2)
    journal.append([late], {"EURUSD_otc": T0})
    journal.close()

    old, new = journal_files(tmp_path)
    old.unlink()

    assert read_journal(tmp_path) == [Remembered("EURUSD_otc", T0, (late,))]
    assert new.exists()


def test_files_that_no_bucket_needs_any_more_are_dropped(tmp_path: Path) -> None:
    write(tmp_path, [tick(0)], {"EURUSD_otc": T0})
    (old,) = journal_files(tmp_path)
    os.utime(old, (T0 / 1_000, T0 / 1_000))

    later = Tick("EURUSD_otc", T0 + 120_000 + ROTATE_MS + 1_000, 0, 1.2)
    write(tmp_path, [later], {"EURUSD_otc": later.ts_ms})

    assert old not in journal_files(tmp_path)


def test_an_unwritable_folder_is_no_reason_to_stop(tmp_path: Path) -> None:
    blocked = tmp_path / "journal"
    blocked.write_text("a file where the folder should be")
    journal = TickJournal(blocked, 120_000)

    journal.append([tick(0)], {"EURUSD_otc": T0})
    blocked.unlink()
    journal.append([tick(1)], {"EURUSD_otc": T0})
    journal.close()

    assert read_journal(blocked)[0].ticks == (tick(1),)


def test_what_an_asset_lost_goes_from_its_last_tick_before_to_where_it_is_whole_again() -> None:
    before = Remembered("EURUSD_otc", tick(0).ts_ms, (tick(0), tick(2)))
    after = Remembered("EURUSD_otc", tick(6).ts_ms, (tick(6),), lost_from_ms=tick(3).ts_ms)
    late = Remembered("EURUSD_otc", tick(9).ts_ms, (tick(9),), lost_from_ms=tick(5).ts_ms)
    simply_parted = Remembered("EURUSD_otc", tick(20).ts_ms, (tick(20),))

    assert losses([before, after, late, simply_parted]) == [
        (tick(2).ts_ms, tick(6).ts_ms),
        (tick(5).ts_ms, tick(9).ts_ms),
    ]
    assert losses([after]) == [(tick(3).ts_ms, tick(6).ts_ms)]
    assert losses([]) == []
