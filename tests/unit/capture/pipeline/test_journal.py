"""capture/pipeline/journal.py: what a killed daemon finds again."""

from __future__ import annotations

import errno
import io
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from fluxcap.capture.market.clock import Correction
from fluxcap.capture.market.market import WaitingSpan
from fluxcap.capture.pipeline.journal import (
    RETENTION_MS,
    ROTATE_MS,
    JournalEntry,
    RecoveredSpan,
    TickJournal,
    check_journal,
    journal_files,
    lost_ranges,
    read_journal,
    read_journal_contents,
    read_waiting,
)
from fluxcap.schemas.types import Tick

T0 = 1_763_760_000_000
EUR, GBP, AUD = "EURUSD_otc", "GBPUSD_otc", "AUDCAD_otc"


def tick(index: int, symbol: str = "EURUSD_otc") -> Tick:
    ts_ms = T0 + index * 500
    return Tick(symbol, ts_ms, ts_ms + 7_200_000, 1.1 + index / 1_000)


def write(folder: Path, ticks: list[Tick], since: dict[str, int]) -> None:
    journal = TickJournal(folder)
    for one in ticks:
        journal.append([one], since)
    journal.close()


def test_what_was_appended_is_read_back_with_its_coverage(tmp_path: Path) -> None:
    ticks = [tick(i) for i in range(10)]

    write(tmp_path, ticks, {"EURUSD_otc": T0})

    assert read_journal(tmp_path) == [RecoveredSpan("EURUSD_otc", T0, tuple(ticks))]


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
    journal = TickJournal(tmp_path)
    journal.append([tick(0), tick(1)], {"EURUSD_otc": T0})
    journal.append([tick(20)], {"EURUSD_otc": tick(20).ts_ms})
    journal.close()

    assert read_journal(tmp_path) == [
        RecoveredSpan("EURUSD_otc", T0, (tick(0), tick(1))),
        RecoveredSpan("EURUSD_otc", tick(20).ts_ms, (tick(20),)),
    ]


def test_ticks_that_could_not_be_written_part_the_stretches_and_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = {"EURUSD_otc": T0, "GBPUSD_otc": T0}
    journal = TickJournal(tmp_path)
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
        RecoveredSpan("EURUSD_otc", T0, (tick(0),)),
        RecoveredSpan("EURUSD_otc", tick(2).ts_ms + 1, (tick(3), tick(4)), lost_from_ms=tick(1).ts_ms),
        RecoveredSpan("GBPUSD_otc", T0, (tick(0, "GBPUSD_otc"), tick(3, "GBPUSD_otc"))),
    ]


def test_a_file_that_was_given_up_is_not_written_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    since = {"EURUSD_otc": T0}
    journal = TickJournal(tmp_path)
    journal.append([tick(5)], since)
    write = TickJournal._write

    def half(self: TickJournal, entry: JournalEntry) -> None:
        assert self._file is not None
        self._file.write(b"\x30\x00")
        raise OSError(errno.EFBIG, "File too large")

    with monkeypatch.context() as disk:
        disk.setattr(TickJournal, "_write", half)
        journal.append([tick(6)], since)
    monkeypatch.setattr(TickJournal, "_write", write)
    journal.append([tick(8, "GBPUSD_otc")], {"GBPUSD_otc": T0})
    journal.close()

    assert read_journal(tmp_path) == [
        RecoveredSpan("EURUSD_otc", T0, (tick(5),)),
        RecoveredSpan("GBPUSD_otc", T0, (tick(8, "GBPUSD_otc"),)),
    ]
    assert [check.torn_bytes for check in check_journal(tmp_path)] == [0, 0]


@pytest.mark.skipif(os.name != "posix", reason="an open file cannot be deleted there")
def test_a_journal_whose_folder_is_deleted_goes_on_in_a_new_file_and_tells_what_is_lost(
    tmp_path: Path, logged: list[str]
) -> None:
    folder = tmp_path / "data" / "journal"
    journal = TickJournal(folder)
    for one in (tick(0), tick(1)):
        journal.append([one], {EUR: T0})
    shutil.rmtree(tmp_path / "data")

    for one in (tick(4), tick(5)):
        journal.append([one], {EUR: T0})
    journal.close()

    (span,) = read_journal(folder)
    assert span == RecoveredSpan(EUR, tick(1).ts_ms + 1, (tick(4), tick(5)), lost_from_ms=T0)
    assert logged == ["journal.write_failed", "journal.write_recovered"]


def test_two_runs_of_the_daemon_leave_one_history(tmp_path: Path) -> None:
    write(tmp_path, [tick(0)], {"EURUSD_otc": T0})
    (first,) = journal_files(tmp_path)
    first.rename(first.with_name(f"ticks-{T0}-1.journal"))
    write(tmp_path, [tick(10, "GBPUSD_otc")], {"GBPUSD_otc": tick(10).ts_ms})

    assert {stretch.symbol for stretch in read_journal(tmp_path)} == {"EURUSD_otc", "GBPUSD_otc"}


def later(ms: int, symbol: str = EUR) -> Tick:
    return Tick(symbol, T0 + ms, 0, 1.2)


def test_coverage_goes_on_over_the_end_of_a_file(tmp_path: Path) -> None:
    ticks = later(0), later(ROTATE_MS + 1)

    write(tmp_path, list(ticks), {EUR: T0})

    assert len(journal_files(tmp_path)) == 2
    assert read_journal(tmp_path) == [RecoveredSpan(EUR, T0, ticks)]


def test_behind_a_missing_file_coverage_begins_after_the_newest_tick_it_could_hold(tmp_path: Path) -> None:
    write(tmp_path, [later(at) for at in (0, 500, ROTATE_MS + 1, 2 * ROTATE_MS + 2)], {EUR: T0})

    journal_files(tmp_path)[1].unlink()

    assert read_journal(tmp_path) == [
        RecoveredSpan(EUR, T0, (later(0), later(500))),
        RecoveredSpan(EUR, T0 + ROTATE_MS + 2, (later(2 * ROTATE_MS + 2),)),
    ]


def test_what_is_gone_with_a_file_is_lost_as_far_as_it_is_not_in_the_store(tmp_path: Path) -> None:
    write(tmp_path, [later(at) for at in (0, ROTATE_MS + 1, 2 * ROTATE_MS + 2)], {EUR: T0})
    for path in journal_files(tmp_path)[:2]:
        path.unlink()

    def lost(published_to_ms: int) -> list[tuple[int, int]]:
        return lost_ranges(read_journal_contents(tmp_path, lambda symbol: published_to_ms).stretches)

    begin_ms = T0 + ROTATE_MS + 2
    assert lost(T0 + 60_000) == [(T0 + 60_000, begin_ms)]
    assert lost(begin_ms) == []
    assert lost(0) == [], "a stream without candles, as of another interval, had no such time"


def test_a_torn_file_ends_the_coverage_of_those_of_its_run_that_it_had_more_ticks_of(tmp_path: Path) -> None:
    journal = TickJournal(tmp_path)
    journal.append([later(0), later(0, GBP)], {EUR: T0, GBP: T0})
    journal.append([later(500)], {EUR: T0})
    journal.append([later(ROTATE_MS), later(ROTATE_MS, GBP)], {EUR: T0, GBP: T0})
    journal.close()
    first, _ = journal_files(tmp_path)
    with first.open("r+b") as file:
        file.truncate(first.stat().st_size - 3)

    assert read_journal(tmp_path) == [
        RecoveredSpan(EUR, T0, (later(0),)),
        RecoveredSpan(EUR, T0 + 501, (later(ROTATE_MS),), lost_from_ms=T0),
        RecoveredSpan(GBP, T0, (later(0, GBP), later(ROTATE_MS, GBP))),
    ]


def test_a_short_write_is_a_loss(tmp_path: Path) -> None:
    journal = TickJournal(tmp_path)
    journal.append([tick(0)], {EUR: T0})
    (path,) = journal_files(tmp_path)
    assert journal._file is not None
    journal._file.close()
    journal._file = ShortFile(path)  # type: ignore[assignment]
    journal.append([tick(1)], {EUR: T0})
    journal.append([tick(2)], {EUR: T0})
    journal.append([tick(3)], {EUR: T0})
    journal.close()

    assert read_journal(tmp_path) == [
        RecoveredSpan(EUR, T0, (tick(0),)),
        RecoveredSpan(EUR, tick(2).ts_ms + 1, (tick(3),), lost_from_ms=tick(1).ts_ms),
    ]
    assert [check.torn_bytes for check in check_journal(tmp_path)] == [0, 0]


class ShortFile(io.FileIO):
    """A file on a disk that has room for 20 bytes."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "ab")

    def write(self, data: Any) -> int:
        return super().write(data[:20])


def test_on_a_full_disk_a_file_is_tried_once_a_second_and_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = TickJournal(tmp_path)
    tried: list[JournalEntry] = []

    def full(_: TickJournal, entry: JournalEntry) -> None:
        tried.append(entry)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(TickJournal, "_write", full)
    for at in range(0, 10_000, 100):
        journal.append([later(at)], {EUR: T0})

    assert len(tried) == 10
    assert journal_files(tmp_path) == []


def test_a_clock_that_was_set_back_does_not_keep_the_journal_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = TickJournal(tmp_path)
    with monkeypatch.context() as disk:
        disk.setattr(TickJournal, "_write", lambda *_: tmp_path.write_bytes(b""))
        journal.append([later(3_600_000)], {EUR: T0})

    journal.append([later(0)], {EUR: T0})
    journal.close()

    assert [stretch.ticks for stretch in read_journal(tmp_path)] == [(later(0),)]


def test_a_file_goes_when_all_of_it_is_in_the_store(tmp_path: Path) -> None:
    published = {EUR: 0, GBP: 0}
    journal = TickJournal(tmp_path, published_to_ms=published.__getitem__)
    journal.append([later(0), later(700, GBP)], {EUR: T0, GBP: T0})
    (first,) = journal_files(tmp_path)

    def rolled_on(to_ms: int, **published_to_ms: int) -> bool:
        published.update({EUR: T0 + published_to_ms["eur"], GBP: T0 + published_to_ms["gbp"]})
        journal.append([later(to_ms)], {EUR: T0})
        return first.exists()

    assert rolled_on(ROTATE_MS + 700, eur=60_000, gbp=700), "the tick at 700 is in the bucket that begins there"
    assert not rolled_on(2 * ROTATE_MS + 700, eur=60_000, gbp=701)
    journal.close()


def test_files_of_an_earlier_run_stay_until_their_bucket_is_in_the_store(tmp_path: Path) -> None:
    write(tmp_path, [later(0)], {EUR: T0})
    (first,) = journal_files(tmp_path)
    os.utime(first, (T0 / 1_000, T0 / 1_000))

    write(tmp_path, [later(3_600_000)], {EUR: T0 + 3_600_000})
    assert first.exists()

    journal = TickJournal(tmp_path, published_to_ms=lambda symbol: T0 + 60_000)
    journal.append([later(3_700_000)], {EUR: T0 + 3_700_000})
    journal.close()
    assert not first.exists()


def test_unpublished_ticks_go_when_they_are_too_old(tmp_path: Path) -> None:
    write(tmp_path, [later(0)], {EUR: T0})
    (first,) = journal_files(tmp_path)

    write(tmp_path, [later(RETENTION_MS)], {EUR: T0})
    assert first.exists()
    write(tmp_path, [later(RETENTION_MS + 1)], {EUR: T0})
    assert not first.exists()


def test_unpublished_ticks_go_when_they_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = TickJournal(tmp_path)
    journal.append([later(0)], {EUR: T0})
    (first,) = journal_files(tmp_path)
    monkeypatch.setattr("fluxcap.capture.pipeline.journal.FOLDER_MAX_BYTES", 2 * first.stat().st_size + 100)

    for at in range(1, 10):
        journal.append([later(at * ROTATE_MS)], {EUR: T0})
    journal.close()

    assert 2 <= len(journal_files(tmp_path)) <= 3
    (stretch,) = read_journal(tmp_path)
    assert stretch.from_ms == stretch.ticks[0].ts_ms - ROTATE_MS + 1


def test_a_quiet_asset_in_focus_is_remembered_without_ticks(tmp_path: Path) -> None:
    journal = TickJournal(tmp_path, published_to_ms=lambda symbol: T0 + 60_000, focused=lambda: [EUR, GBP])
    journal.append([later(0), later(7, GBP), later(9, AUD)], {EUR: T0, GBP: T0, AUD: T0})
    journal.append([later(2 * ROTATE_MS)], {EUR: T0})
    journal.close()

    assert read_journal(tmp_path) == [
        RecoveredSpan(EUR, T0 + 1, (later(2 * ROTATE_MS),)),
        RecoveredSpan(GBP, T0 + 7, ()),
    ]


def test_files_are_in_the_order_of_their_times_whatever_wrote_them(tmp_path: Path) -> None:
    older, newer = tmp_path / f"ticks-{T0}-12345.journal", tmp_path / f"ticks-{T0 + 1}-9.journal"
    for path in (newer, older):
        path.touch()

    assert journal_files(tmp_path) == [older, newer]


def test_an_unwritable_folder_is_no_reason_to_stop(tmp_path: Path) -> None:
    blocked = tmp_path / "journal"
    blocked.write_text("a file where the folder should be")
    journal = TickJournal(blocked)

    journal.append([tick(0)], {"EURUSD_otc": T0})
    blocked.unlink()
    journal.append([tick(2)], {"EURUSD_otc": T0})
    journal.close()

    assert read_journal(blocked)[0].ticks == (tick(2),)


def test_what_an_asset_lost_goes_from_its_last_tick_before_to_where_it_is_whole_again() -> None:
    before = RecoveredSpan("EURUSD_otc", tick(0).ts_ms, (tick(0), tick(2)))
    after = RecoveredSpan("EURUSD_otc", tick(6).ts_ms, (tick(6),), lost_from_ms=tick(3).ts_ms)
    late = RecoveredSpan("EURUSD_otc", tick(9).ts_ms, (tick(9),), lost_from_ms=tick(5).ts_ms)
    simply_parted = RecoveredSpan("EURUSD_otc", tick(20).ts_ms, (tick(20),))

    assert lost_ranges([before, after, late, simply_parted]) == [
        (tick(2).ts_ms, tick(6).ts_ms),
        (tick(5).ts_ms, tick(9).ts_ms),
    ]
    assert lost_ranges([after]) == [(tick(3).ts_ms, tick(6).ts_ms)]
    assert lost_ranges([]) == []


# --- the clock ---

HOUR_MS = 3_600_000


def waiting(index: int, since: int = 0, symbol: str = EUR) -> Tick:
    """A tick whose time is not known: its stamp, and since when its asset came without a break."""
    return Tick(symbol, T0 + since * 500, T0 + index * 500, 1.1 + index / 1_000)


def test_ticks_whose_time_is_not_known_are_kept_until_it_is(tmp_path: Path) -> None:
    journal = TickJournal(tmp_path)
    journal.hold([waiting(0), waiting(1)])
    journal.hold([waiting(2)])
    journal.close()

    (span,) = read_waiting(tmp_path)
    assert span == WaitingSpan(EUR, T0, tuple((T0 + at * 500, 1.1 + at / 1_000) for at in range(3)))
    assert read_journal(tmp_path) == []

    TickJournal(tmp_path).release()
    assert read_waiting(tmp_path) == []


def test_a_break_and_a_pause_part_what_waits(tmp_path: Path) -> None:
    journal = TickJournal(tmp_path)
    journal.hold([waiting(0), waiting(1)])
    journal.hold([waiting(2, since=2)])  # its socket ended between
    journal.hold([waiting(13, since=2), waiting(14, since=2)])  # nothing came for longer than five seconds
    journal.close()

    spans = read_waiting(tmp_path)
    assert [(span.from_raw_ms, len(span.ticks)) for span in spans] == [(T0, 2), (T0 + 1_000, 1), (T0 + 6_500, 2)]


def test_what_several_runs_left_waiting_is_read_together(tmp_path: Path) -> None:
    for index in (0, 20):
        journal = TickJournal(tmp_path)
        journal.hold([waiting(index, since=index)])
        journal.close()

    assert [span.from_raw_ms for span in read_waiting(tmp_path)] == [T0, T0 + 10_000]


def test_a_disk_that_takes_nothing_is_told_once_and_costs_no_more(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file in its place")
    journal = TickJournal(tmp_path / "folder")

    journal.hold([waiting(0)])
    journal.hold([waiting(1)])
    journal.close()


def test_what_was_stamped_by_a_wrong_clock_is_stamped_again(tmp_path: Path) -> None:
    ticks = [tick(i) for i in range(10)]
    journal = TickJournal(tmp_path)
    journal.append(ticks, {EUR: T0})

    journal.restamp(Correction(7_200_000, 7_200_000 + HOUR_MS))
    journal.append([Tick(EUR, T0 - HOUR_MS + 5_000, T0 + 5_000 + 7_200_000, 1.2)], {EUR: T0 - HOUR_MS})
    journal.close()

    (span,) = read_journal(tmp_path)
    assert span.from_ms == T0 - HOUR_MS
    assert [one.ts_ms for one in span.ticks] == [*(one.ts_ms - HOUR_MS for one in ticks), T0 - HOUR_MS + 5_000]
    assert [one.raw_ts_ms for one in span.ticks[:10]] == [one.raw_ts_ms for one in ticks]


def test_what_another_offset_had_stamped_stays_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, [tick(0)], {EUR: T0})
    journal = TickJournal(tmp_path)

    journal.restamp(Correction(3_600_000, 7_200_000))
    journal.close()

    assert read_journal(tmp_path)[0].ticks == (tick(0),)


def test_files_of_times_yet_to_come_are_set_aside_not_deleted(tmp_path: Path) -> None:
    write(tmp_path, [tick(0)], {EUR: T0})
    (path,) = journal_files(tmp_path)
    content = path.read_bytes()
    journal = TickJournal(tmp_path)

    journal.set_aside_after(T0)
    assert journal_files(tmp_path) == [path]
    journal.set_aside_after(T0 - 1)

    assert journal_files(tmp_path) == []
    assert path.with_name(path.name + ".ahead").read_bytes() == content
    assert read_journal(tmp_path) == []
