"""Free space is asked for before it matters."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxcap.bridge.store.disk_space import DiskSpaceGuard
from fluxcap.schemas.errors import StoreFull


def test_room_enough_is_no_error(tmp_path: Path) -> None:
    DiskSpaceGuard(tmp_path / "store", 1).require_space(1)


def test_less_than_the_reserve_is_full(tmp_path: Path) -> None:
    with pytest.raises(StoreFull, match="nothing was stored"):
        DiskSpaceGuard(tmp_path / "store", 1 << 62).require_space(1)


def test_more_than_there_is_room_for_is_full(tmp_path: Path) -> None:
    with pytest.raises(StoreFull):
        DiskSpaceGuard(tmp_path / "store", 1).require_space(1 << 50)


def test_no_reserve_leaves_it_to_the_database(tmp_path: Path) -> None:
    DiskSpaceGuard(tmp_path / "store", 0).require_space(1 << 60)


def test_the_log_counts_towards_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "store.wal").write_bytes(b"x" * 1000)
    guard = DiskSpaceGuard(tmp_path / "store", 0)

    assert guard.log_bytes() == 1000
    assert guard.allows_checkpoint(0)
    assert not guard.allows_checkpoint(1 << 50)


def test_a_folder_that_cannot_be_asked_is_left_to_the_database(tmp_path: Path) -> None:
    guard = DiskSpaceGuard(tmp_path / "absent" / "store", 1)

    guard.require_space(1)
    assert guard.log_bytes() == 0
