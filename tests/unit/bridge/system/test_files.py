"""Files, on a system that forbids what others allow."""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from fluxcap.bridge.system import files
from tests.support.patience import PATIENCE_S

HELD = PermissionError(errno.EACCES, "used by another process")


@pytest.fixture
def held_for(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """On Windows, where somebody holds every file for so many attempts."""

    def hold(attempts: int) -> None:
        left = [attempts]

        def refusing(act: Callable[..., object]) -> Callable[..., object]:
            def attempt(*given: object, **named: object) -> object:
                left[0] -= 1
                if left[0] >= 0:
                    raise HELD
                return act(*given, **named)

            return attempt

        monkeypatch.setattr(Path, "replace", refusing(Path.replace))
        monkeypatch.setattr(Path, "unlink", refusing(Path.unlink))
        monkeypatch.setattr(files.sys, "platform", "win32")

    return hold


def test_a_file_takes_the_place_of_another(tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "target").write_bytes(b"old")

    files.replace_file(tmp_path / "new", tmp_path / "target")

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"target": b"new"}


def test_a_file_that_somebody_reads_is_replaced_when_it_is_closed(
    tmp_path: Path, held_for: Callable[[int], None]
) -> None:
    (tmp_path / "new").write_bytes(b"new")
    held_for(2)

    files.replace_file(tmp_path / "new", tmp_path / "target")

    assert (tmp_path / "target").read_bytes() == b"new"


def test_a_file_that_a_reader_really_has_open_is_replaced_and_removed_in_the_end(tmp_path: Path) -> None:
    """On Windows it is awaited; elsewhere the reader keeps what it has."""
    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "target").write_bytes(b"old")

    for act in (
        lambda: files.replace_file(tmp_path / "new", tmp_path / "target", PATIENCE_S),
        lambda: files.remove_file(tmp_path / "target", PATIENCE_S),
    ):
        reader = (tmp_path / "target").open("rb")
        closing = threading.Timer(0.1, reader.close)
        closing.start()
        act()
        closing.join()

    assert list(tmp_path.iterdir()) == []


def test_a_file_that_stays_open_is_not_awaited_for_ever(tmp_path: Path, held_for: Callable[[int], None]) -> None:
    (tmp_path / "new").write_bytes(b"new")
    held_for(1_000_000)

    with pytest.raises(PermissionError):
        files.replace_file(tmp_path / "new", tmp_path / "target", 0.05)
    assert not files.remove_file(tmp_path / "new", 0.05)
    assert (tmp_path / "new").exists()


def test_a_file_that_somebody_reads_is_removed_when_it_is_closed(
    tmp_path: Path, held_for: Callable[[int], None]
) -> None:
    (tmp_path / "old").write_bytes(b"old")
    held_for(2)

    assert files.remove_file(tmp_path / "old")
    assert not (tmp_path / "old").exists()


@pytest.mark.parametrize(("number", "held"), [(0, False), (32, True), (33, True), (2, False), (5, False)])
def test_a_file_is_held_where_windows_says_so_by_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, held: bool
) -> None:
    monkeypatch.setattr(files, "_windows_error_of_opening", lambda path: number)

    assert files.is_held(tmp_path) is held


def test_a_file_that_anybody_may_open_is_not_held(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with (tmp_path / "file").open("rb"):
        assert not files.is_held(tmp_path / "file")
    assert not files.is_held(tmp_path / "absent")


def test_removing_never_raises(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()

    assert files.remove_file(tmp_path / "absent")
    assert not files.remove_file(tmp_path / "folder", 0.0)


def test_what_was_written_is_synced_through_a_handle_that_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows refuses to sync a file that is open for reading alone: "Bad file descriptor"."""
    path = tmp_path / "file"
    path.write_bytes(b"whole")
    synced: list[bool] = []

    def sync(file: int) -> None:
        os.write(file, b"")  # raises for a handle that only reads
        synced.append(True)

    monkeypatch.setattr(files.os, "fsync", sync)

    files.sync_file(path)

    assert (synced, path.read_bytes()) == ([True], b"whole")


def test_on_macos_the_disks_own_memory_is_emptied_too(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    fcntl = ModuleType("fcntl")
    fcntl.F_FULLFSYNC = 51  # type: ignore[attr-defined]
    fcntl.fcntl = lambda file, command: asked.append((file, command))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fcntl", fcntl)
    monkeypatch.setattr(files.os, "fsync", lambda file: asked.append((file, 0)))
    monkeypatch.setattr(files.sys, "platform", "darwin")

    files.sync(7)

    assert asked == [(7, 51)]


def test_a_drive_that_cannot_do_that_is_synced_as_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    fcntl = ModuleType("fcntl")
    fcntl.F_FULLFSYNC = 51  # type: ignore[attr-defined]

    def refuse(file: int, command: int) -> None:
        raise OSError(errno.ENOTSUP, "not supported")

    fcntl.fcntl = refuse  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fcntl", fcntl)
    monkeypatch.setattr(files.os, "fsync", asked.append)
    monkeypatch.setattr(files.sys, "platform", "darwin")

    files.sync(7)

    assert asked == [7]


def test_a_folder_is_synced_where_that_can_be_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.sync_folder(tmp_path)
    monkeypatch.setattr(files.sys, "platform", "win32")

    files.sync_folder(tmp_path / "not even there")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_told_by_its_number(number: int) -> None:
    assert files.is_full(OSError(number, "in any language"))
    assert not files.is_full(OSError(errno.EACCES, "No space left on device"))


def test_a_full_disk_is_told_by_the_systems_own_words() -> None:
    if sys.platform == "win32":
        import ctypes

        words = ctypes.FormatError(112).strip()
    else:
        words = os.strerror(errno.ENOSPC)

    assert any(text in f"IO Error: Could not write file: {words}" for text in files.disk_full_texts())


@pytest.mark.parametrize(("mode", "open_to_others"), [(0o600, False), (0o640, True), (0o604, True)])
def test_who_may_read_a_file_is_in_its_mode_where_there_are_modes(
    tmp_path: Path, mode: int, open_to_others: bool
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"")
    path.chmod(mode)

    assert files.others_may_read(path) is (open_to_others and sys.platform != "win32")


def test_windows_has_no_modes_and_refuses_nobodys_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"")
    path.chmod(0o666)
    monkeypatch.setattr(files.sys, "platform", "win32")

    assert not files.others_may_read(path)
