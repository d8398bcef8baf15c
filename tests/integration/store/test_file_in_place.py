"""A file that is deleted, moved or replaced under the process, and one that could not be made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fluxcap.bridge.archive.checkpoint import ArchiveCheckpoint, StreamPosition
from fluxcap.bridge.client.cache import Append, CandleCache
from fluxcap.bridge.client.receiver.actions import Cursor
from fluxcap.bridge.store.digest import store_digest
from fluxcap.bridge.store.store import Store, StoreListener
from fluxcap.bridge.store.verify import verify
from fluxcap.schemas.errors import StoreDamaged, StoreError, StoreFull
from fluxcap.schemas.types import CandleBatch, Gap
from tests.support.paths import ROOT
from tests.support.wire.samples import EURUSD, MINUTE, candle_rows, minutes

pytestmark = pytest.mark.skipif(os.name != "posix", reason="an open file cannot be deleted there")


class Heard(StoreListener):
    def __init__(self) -> None:
        self.rewritten_paths: list[Path] = []

    def rewritten(self, path: Path) -> None:
        self.rewritten_paths.append(path)


def batch(start: int, count: int) -> CandleBatch:
    return CandleBatch(EURUSD, start, candle_rows(start, count))


@pytest.mark.parametrize("is_made_again", [False, True], ids=["folder gone", "folder made again by a CSV file"])
@pytest.mark.parametrize("act", ["commit", "checkpoint"])
def test_a_deleted_store_is_written_again_with_all_it_held(tmp_path: Path, is_made_again: bool, act: str) -> None:
    path, heard = tmp_path / "data" / "store.duckdb", Heard()
    with Store.open(path, listener=heard) as store:
        store.commit([batch(1, 5)], gaps=[Gap("SIM", "", 1, 2, "test")])
        assert store.checkpoint()
        store.commit([batch(6, 1)])  # in the write-ahead log alone
        reader, before = store.reader(), store_digest(store.reader())

        shutil.rmtree(path.parent)
        if is_made_again:
            path.parent.mkdir()
        store.checkpoint() if act == "checkpoint" else store.commit([batch(7, 1)])

        assert heard.rewritten_paths == [path]
        assert minutes(reader.page(EURUSD).candles)[:6] == [1, 2, 3, 4, 5, 6]
        if act == "checkpoint":
            assert store_digest(store.reader()) == before
            store.commit([batch(7, 1)])
        identity = store.store_id
    assert verify(path) == []
    with Store.open(path) as again:
        assert again.store_id == identity
        assert minutes(again.reader().page(EURUSD).candles) == [1, 2, 3, 4, 5, 6, 7]
    assert heard.rewritten_paths == [path]


def test_candles_committed_into_the_void_are_found_again(tmp_path: Path) -> None:
    """A folder that is deleted and made again between two checks: what was committed meanwhile is not lost."""
    path = tmp_path / "data" / "store.duckdb"
    store = Store.open(path)
    store.commit([batch(1, 5)])
    shutil.rmtree(path.parent)

    store.close()

    with Store.open(path) as again:
        assert minutes(again.reader().page(EURUSD).candles) == [1, 2, 3, 4, 5]


def test_a_store_that_was_moved_away_goes_on_in_a_copy_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "data" / "store.duckdb"
    with Store.open(path) as store:
        store.commit([batch(1, 5)])
        store.checkpoint()
        path.parent.rename(tmp_path / "moved")

        store.commit([batch(6, 1)])

    with Store.open(path) as here, Store.open(tmp_path / "moved" / "store.duckdb") as moved:
        assert minutes(here.reader().page(EURUSD).candles) == [1, 2, 3, 4, 5, 6]
        assert minutes(moved.reader().page(EURUSD).candles) == [1, 2, 3, 4, 5]


def test_a_file_that_took_the_stores_place_is_not_touched_and_ours_is_kept_beside(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    with Store.open(tmp_path / "backup.duckdb") as other:
        other.commit([batch(1, 2)])
    backup = (tmp_path / "backup.duckdb").read_bytes()
    with Store.open(path) as store:
        store.commit([batch(1, 5)])
        (tmp_path / "backup.duckdb").replace(path)
        log = path.with_name("store.duckdb.wal")
        log.write_bytes(b"the log of the backup")

        for _ in range(2):
            with pytest.raises(StoreError, match=r"Another file has taken the place of .* started again"):
                store.commit([batch(6, 1)])
        with pytest.raises(StoreError, match="Another file"):
            store.checkpoint()

    assert path.read_bytes() == backup
    assert log.read_bytes() == b"the log of the backup"
    (rescued,) = tmp_path.glob("store.duckdb.rescued-*")
    with Store.open(rescued) as ours:
        assert minutes(ours.reader().page(EURUSD).candles) == [1, 2, 3, 4, 5]


def test_without_room_the_store_is_written_again_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, heard = tmp_path / "data" / "store.duckdb", Heard()
    with Store.open(path, listener=heard) as store:
        store.commit([batch(1, 5)])
        shutil.rmtree(path.parent)
        usage = shutil.disk_usage(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000))
            with pytest.raises(StoreFull, match="was deleted while it was in use; to write it again takes"):
                store.commit([batch(6, 1)])

        store.commit([batch(6, 1)])

    assert heard.rewritten_paths == [path]
    with Store.open(path) as again:
        assert minutes(again.reader().page(EURUSD).candles) == [1, 2, 3, 4, 5, 6]


def test_a_clients_deleted_cache_is_written_again(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    cache = CandleCache(folder)
    cache.commit([Append(EURUSD, 1, candle_rows(1, 3))], {EURUSD: Cursor("s", 3, 3 * MINUTE)})
    shutil.rmtree(folder)

    cache.commit([Append(EURUSD, 4, candle_rows(4, 1))], {EURUSD: Cursor("s", 4, 4 * MINUTE)})
    cache.close()

    again = CandleCache(folder)
    assert again.cursor(EURUSD) == Cursor("s", 4, 4 * MINUTE)
    assert again.candles(EURUSD)[0].tolist() == [1, 2, 3, 4]
    again.close()


def test_an_archive_whose_folder_was_deleted_says_so_and_claims_nothing(tmp_path: Path) -> None:
    checkpoint = ArchiveCheckpoint(tmp_path / "archive")
    shutil.rmtree(tmp_path / "archive")

    with pytest.raises(StoreError, match=r"deleted or replaced .* Start it again"):
        checkpoint.move(StreamPosition("FLUX", "", "", 7), {}, [])
    checkpoint.close()

    again = ArchiveCheckpoint(tmp_path / "archive")
    assert again.place == StreamPosition()
    again.close()


# --- a file that could not be made ---

MAKERS = {
    "store": "from fluxcap.bridge.store.store import Store; make = lambda: Store.open(folder / 'f.duckdb')",
    "cache": "from fluxcap.bridge.client.cache import CandleCache; make = lambda: CandleCache(folder)",
    "archive": "from fluxcap.bridge.archive.checkpoint import ArchiveCheckpoint as Of; make = lambda: Of(folder)",
}
FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from fluxcap.schemas.errors import StoreFull
folder = Path(sys.argv[1])
{maker}
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for size in (0, 100, 4096, 12288, 12500):  # the end of the disk: the largest size that a file may have
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        make().close()
    except StoreFull as error:
        print("full")
    else:
        print("made")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(sorted(path.name for path in folder.rglob("*") if path.is_file()))
    make().close()
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()
"""


@pytest.mark.parametrize("what", MAKERS)
def test_a_disk_that_is_full_at_the_first_start_leaves_nothing_in_the_way(tmp_path: Path, what: str) -> None:
    code = FULL_DISK.format(maker=MAKERS[what])

    ran = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True, timeout=300)

    said = ran.stdout.splitlines()
    assert ran.returncode == 0, ran.stderr
    assert said[:6] == ["full", "[]"] * 3
    assert all(files == "[]" for made, files in zip(said[::2], said[1::2], strict=True) if made == "full")


@pytest.mark.parametrize("size", [0, 100, 4_096, 12_287])
def test_a_file_that_an_earlier_start_could_not_finish_is_put_out_of_the_way(tmp_path: Path, size: int) -> None:
    path = tmp_path / "store.duckdb"
    path.write_bytes(bytes(size))
    os.utime(path, (1_000_000_000, 1_000_000_000))

    with Store.open(path) as store:
        assert store.watermarks() == {}

    assert path.with_name("store.duckdb.unfinished").stat().st_size == size


def test_a_cut_off_file_of_a_store_that_had_candles_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    with Store.open(path) as store:
        store.commit([batch(1, 5)])
    path.write_bytes(b"")
    os.utime(path, (1_000_000_000, 1_000_000_000))

    with pytest.raises(StoreDamaged):
        Store.open(path)

    assert path.stat().st_size == 0
