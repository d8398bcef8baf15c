"""fluxcap.bridge.archive.checkpoint: how far an archive has come, durably, for one process."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxcap.bridge.archive.checkpoint import ArchiveCheckpoint, StreamPosition
from fluxcap.bridge.archive.rows import MissingRange, ReadPosition
from fluxcap.schemas.errors import StoreDamaged, StoreLocked
from tests.support.wire.samples import EURUSD, GBPUSD

PLACE = StreamPosition("FLUX", "2026-11-22T00:00:00Z", "flux.candles.*.*.*", 42)


def test_a_new_one_is_nowhere(tmp_path: Path) -> None:
    cursor = ArchiveCheckpoint(tmp_path / "new" / "archive")

    assert (cursor.place, cursor.positions, cursor.missing()) == (StreamPosition(), {}, [])
    cursor.close()


@pytest.mark.costly
def test_what_was_moved_is_found_again(tmp_path: Path) -> None:
    hole = MissingRange(EURUSD, "a", "candles", 3, 4)
    cursor = ArchiveCheckpoint(tmp_path)
    cursor.move(PLACE, {(EURUSD, "a"): ReadPosition(5, 1), (GBPUSD, "a"): ReadPosition(7)}, [hole])
    cursor.move(PLACE, {(EURUSD, "a"): ReadPosition(6, 1), (EURUSD, "b"): ReadPosition(2, 0)}, [])
    cursor.close()

    again = ArchiveCheckpoint(tmp_path)

    assert again.place == PLACE
    assert again.positions == {
        (EURUSD, "a"): ReadPosition(6, 1),
        (EURUSD, "b"): ReadPosition(2, 0),
        (GBPUSD, "a"): ReadPosition(7, 0),
    }
    assert again.missing() == [hole]
    again.close()


def test_a_second_archiver_of_the_folder_is_kept_out(tmp_path: Path) -> None:
    cursor = ArchiveCheckpoint(tmp_path)

    with pytest.raises(StoreLocked, match="Another fluxcap archives"):
        ArchiveCheckpoint(tmp_path)
    cursor.close()


def test_a_damaged_one_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "_fluxcap" / "cursor.duckdb"
    path.parent.mkdir()
    path.write_bytes(b"rubbish" * 2_000)

    with pytest.raises(StoreDamaged, match="delete it"):
        ArchiveCheckpoint(tmp_path)
