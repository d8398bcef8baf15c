"""capture/csvfiles/rotation.py: parts of so many lines, appended whole, nothing overwritten, whatever the disk does."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fluxcap.capture.csvfiles.rotation import MOST_OPEN, FileSystem, LocalFileSystem, OpenFile, RotatingCsv, Series
from tests.support.systems import not_on_windows

HEADER = b"timestamp,asset,price\n"
EURUSD: Series = ("EURUSD_otc", "")


class FullDisk:
    """The real disk with so many bytes left. A write that finds too little takes what fits, then is undone."""

    def __init__(self, bytes_left: int) -> None:
        self.bytes_left = bytes_left
        self._real = LocalFileSystem()

    def create(self, path: Path) -> OpenFile:
        return _LimitedPart(self, self._real.create(path))

    def reopen(self, path: Path) -> OpenFile:
        return _LimitedPart(self, self._real.reopen(path))

    def remove(self, path: Path) -> None:
        self._real.remove(path)


class _LimitedPart:
    def __init__(self, disk: FullDisk, part: OpenFile) -> None:
        self._disk = disk
        self._part = part
        self.exists = part.exists
        self.close = part.close

    def append(self, data: bytes) -> None:
        if len(data) > self._disk.bytes_left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._part.append(data)
        self._disk.bytes_left -= len(data)


def named(folder: Path) -> Callable[[Series, int], Path]:
    return lambda series, part: folder / "deep" / f"{series[0]}_part{part:03d}.csv"


def parts(folder: Path, chunk_size: int = 3, disk: FileSystem | None = None) -> RotatingCsv:
    return RotatingCsv(HEADER, chunk_size, named(folder), disk)


def line(number: int) -> bytes:
    return f"line {number}\n".encode()


def contents(folder: Path) -> dict[str, list[str]]:
    """Lines by file, without the header, which every file must have."""
    found = {}
    for path in sorted((folder / "deep").iterdir()):
        header, *lines = path.read_text().split("\n")
        assert header + "\n" == HEADER.decode()
        assert lines[-1] == "", "ends within a line"
        found[path.name] = lines[:-1]
    return found


def test_a_part_holds_as_many_lines_as_it_should_and_the_next_is_begun(tmp_path: Path) -> None:
    series = parts(tmp_path)

    for number in range(1, 8):
        series.write(EURUSD, line(number))
    series.close()

    assert contents(tmp_path) == {
        "EURUSD_otc_part001.csv": ["line 1", "line 2", "line 3"],
        "EURUSD_otc_part002.csv": ["line 4", "line 5", "line 6"],
        "EURUSD_otc_part003.csv": ["line 7"],
    }
    assert series.files == 3


def test_a_line_is_on_the_disk_when_write_returns(tmp_path: Path) -> None:
    series = parts(tmp_path)

    series.write(EURUSD, line(1))

    assert contents(tmp_path) == {"EURUSD_otc_part001.csv": ["line 1"]}
    series.close()


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    for number in (1, 2):
        again = parts(tmp_path)
        again.write(EURUSD, line(number))
        again.close()

    assert contents(tmp_path) == {"EURUSD_otc_part001.csv": ["line 1"], "EURUSD_otc_part002.csv": ["line 2"]}


def test_a_smaller_chunk_size_holds_from_the_next_line(tmp_path: Path) -> None:
    series = parts(tmp_path, chunk_size=100)
    series.write(EURUSD, line(1))
    series.write(EURUSD, line(2))

    series.chunk_size = 1
    series.write(EURUSD, line(3))
    series.write(EURUSD, line(4))
    series.close()

    assert list(contents(tmp_path).values()) == [["line 1", "line 2"], ["line 3"], ["line 4"]]


def test_many_series_need_few_open_files_and_go_on_in_their_own(tmp_path: Path) -> None:
    series = parts(tmp_path, chunk_size=10)

    for number in range(3):
        for asset in range(MOST_OPEN + 20):
            series.write((f"A{asset}", ""), line(number))
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    series.close()
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    assert all(lines == ["line 0", "line 1", "line 2"] for lines in contents(tmp_path).values())
    assert len(contents(tmp_path)) == MOST_OPEN + 20
    assert before - after <= MOST_OPEN + 10  # other threads of the process may let go of something meanwhile


def test_a_full_disk_raises_and_the_same_line_can_be_written_later(tmp_path: Path) -> None:
    disk = FullDisk(len(HEADER) + 2 * len(line(1)))
    series = parts(tmp_path, disk=disk)
    series.write(EURUSD, line(1))
    series.write(EURUSD, line(2))

    with pytest.raises(OSError, match="space"):
        series.write(EURUSD, line(3))
    disk.bytes_left = 1_000
    series.write(EURUSD, line(3))
    series.close()

    assert contents(tmp_path) == {"EURUSD_otc_part001.csv": ["line 1", "line 2", "line 3"]}


def test_a_part_that_could_not_be_begun_leaves_no_file(tmp_path: Path) -> None:
    disk = FullDisk(5)
    series = parts(tmp_path, disk=disk)

    for _ in range(3):
        with pytest.raises(OSError, match="space"):
            series.write(EURUSD, line(1))
    assert contents(tmp_path) == {}
    disk.bytes_left = 1_000
    series.write(EURUSD, line(1))
    series.close()

    assert contents(tmp_path) == {"EURUSD_otc_part001.csv": ["line 1"]}


@not_on_windows("a folder with a file that is open cannot be removed")
def test_a_removed_folder_is_made_again(tmp_path: Path) -> None:
    series = parts(tmp_path)
    series.write(EURUSD, line(1))

    shutil.rmtree(tmp_path / "deep")
    series.write(EURUSD, line(2))
    series.close()

    assert contents(tmp_path) == {"EURUSD_otc_part002.csv": ["line 2"]}


def test_a_part_torn_by_somebody_else_is_left_and_a_new_one_begun(tmp_path: Path) -> None:
    series = parts(tmp_path)
    series.write(EURUSD, line(1))
    series.close()
    path = tmp_path / "deep" / "EURUSD_otc_part001.csv"
    with path.open("ab") as file:
        file.write(b"torn")

    series.write(EURUSD, line(2))
    series.close()

    assert path.read_bytes().endswith(b"torn")
    assert (tmp_path / "deep" / "EURUSD_otc_part002.csv").read_bytes() == HEADER + line(2)


def test_a_new_session_begins_new_files(tmp_path: Path) -> None:
    series = parts(tmp_path / "one")
    series.write(EURUSD, line(1))

    series.begin_session(named(tmp_path / "two"))
    series.write(EURUSD, line(2))
    series.close()

    assert contents(tmp_path / "one") == {"EURUSD_otc_part001.csv": ["line 1"]}
    assert contents(tmp_path / "two") == {"EURUSD_otc_part001.csv": ["line 2"]}


def test_a_line_that_does_not_fit_is_cut_off_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = LocalFileSystem().create(tmp_path / "a.csv")
    part.append(b"whole\n")
    write = os.write

    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
    with pytest.raises(OSError, match="space"):
        part.append(b"half of it\n")
    monkeypatch.undo()
    part.close()

    assert (tmp_path / "a.csv").read_bytes() == b"whole\n"


def test_a_file_where_the_folder_should_be_is_trouble_and_no_name_that_is_taken(tmp_path: Path) -> None:
    (tmp_path / "deep").write_text("in the way")
    series = parts(tmp_path)

    with pytest.raises(NotADirectoryError):
        series.write(EURUSD, line(1))
