"""fluxcap.bridge.client.cache: candles and cursor together, or neither."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import msgspec
import numpy as np
import pytest

from fluxcap.bridge.client import cache as cache_module
from fluxcap.bridge.client.cache import CACHE_FILE, Append, CandleCache, NoCache, Reset, Revise
from fluxcap.bridge.client.receiver.actions import Cursor
from fluxcap.bridge.store.disk_space import DiskSpaceGuard
from fluxcap.schemas.errors import ConfigError, SequenceError, StoreDamaged, StoreError, StoreFull, StoreLocked
from fluxcap.schemas.types import CANDLE_DTYPE, CandleArray, StreamKey
from tests.support.systems import not_by_wine

KEY = StreamKey("SIM", "EURUSD", "1s")
OTHER = StreamKey("SIM", "O'HARA.X", "1m")


def candles(start: int, count: int) -> CandleArray:
    rows = np.zeros(count, CANDLE_DTYPE)
    rows["ts_ms"] = 1_000 * np.arange(start, start + count)
    rows["close"] = np.arange(start, start + count)
    rows["flags"] = 3
    return rows


def cursor(sequence: int, store: str = "a") -> Cursor:
    return Cursor(store, sequence, 1_000 * sequence, 7)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[CandleCache]:
    opened = CandleCache(tmp_path)
    yield opened
    opened.close()


def test_what_was_merged_is_there_after_reopening(tmp_path: Path) -> None:
    first = CandleCache(tmp_path)
    first.commit([Append(KEY, 1, candles(1, 5)), Append(OTHER, 1, candles(1, 2))], {KEY: cursor(5), OTHER: cursor(2)})
    first.close()

    again = CandleCache(tmp_path)
    sequences, rows = again.candles(KEY)
    kept = (again.cursor(KEY), again.cursor(OTHER))
    others = len(again.candles(OTHER)[0])
    again.close()

    assert kept == (cursor(5), cursor(2))
    assert sequences.tolist() == [1, 2, 3, 4, 5]
    assert rows.tobytes() == candles(1, 5).tobytes()
    assert others == 2


def test_cursors_that_move_and_new_ones_are_there_after_reopening(tmp_path: Path) -> None:
    first = CandleCache(tmp_path)
    first.commit([Append(KEY, 1, candles(1, 5))], {KEY: cursor(5)})
    first.commit([Append(KEY, 6, candles(6, 1)), Append(OTHER, 1, candles(1, 2))], {KEY: cursor(6), OTHER: cursor(2)})
    first.close()
    again = CandleCache(tmp_path)
    again.commit([Append(OTHER, 3, candles(3, 1))], {OTHER: cursor(3)})
    again.close()

    last = CandleCache(tmp_path)
    kept = (last.cursor(KEY), last.cursor(OTHER))
    last.close()

    assert kept == (cursor(6), cursor(3))


def in_use(folder: Path, copy: Path) -> Path:
    """What lies on the disk of a cache that is open: all that a kill would leave."""
    shutil.copytree(folder, copy)
    return copy


def rows_of_cursors(folder: Path) -> list[tuple[str, str]]:
    """As fluxcap 0.1.0 reads them."""
    with duckdb.connect(str(folder / CACHE_FILE)) as connection:
        return connection.execute("SELECT name, value FROM cursors").fetchall()


@not_by_wine("a file that is open cannot be copied there")
@pytest.mark.parametrize("commits", [1, 4, 5])
def test_after_a_kill_the_newest_cursor_counts_whenever_their_table_was_made_anew(
    tmp_path: Path, commits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "CURSOR_ROWS", 5)
    cache = CandleCache(tmp_path / "open")
    cache.commit([Append(OTHER, 1, candles(1, 2))], {OTHER: cursor(2)})
    for at in range(1, commits + 1):
        cache.commit([Append(KEY, at, candles(at, 1))], {KEY: cursor(at)})

    killed = CandleCache(in_use(tmp_path / "open", tmp_path / "killed"))
    kept = (killed.cursor(KEY), killed.cursor(OTHER), len(killed.candles(KEY)[0]))
    killed.commit([Append(KEY, commits + 1, candles(commits + 1, 1))], {KEY: cursor(commits + 1)})
    killed.close()
    cache.close()

    assert kept == (cursor(commits), cursor(2), commits)
    again = CandleCache(tmp_path / "killed")
    assert (again.cursor(KEY), again.cursor(OTHER)) == (cursor(commits + 1), cursor(2))
    again.close()


def test_the_rows_of_cursors_have_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "CURSOR_ROWS", 5)
    cache = CandleCache(tmp_path)
    look = cache._connection.cursor()
    counts = []
    for at in range(1, 10):
        cache.commit([Append(KEY, at, candles(at, 1))], {KEY: cursor(at)})
        counts.append(look.rows("SELECT count(*) FROM cursors")[0][0])
    cache.close()

    assert counts == [2, 3, 4, 5, 6, 2, 3, 4, 5]  # with the row for an older program
    assert len(rows_of_cursors(tmp_path)) == 1


@not_by_wine("a file that is open cannot be copied there")
def test_an_older_program_is_told_that_a_killed_file_is_newer(tmp_path: Path) -> None:
    cache = CandleCache(tmp_path / "open")
    cache.commit([Append(KEY, 1, candles(1, 1))], {KEY: cursor(1)})
    killed = in_use(tmp_path / "open", tmp_path / "killed")
    cache.close()

    refused = []
    for name, value in rows_of_cursors(killed):
        try:
            msgspec.json.decode(value, type=Cursor)
        except msgspec.MsgspecError:
            refused.append(name)

    assert len(refused) == 1
    assert "a newer one wrote here" in refused[0]
    assert "upgrade" in refused[0]


@not_by_wine("a file that is open cannot be replaced there")
def test_closing_writes_nothing_beside_a_file_that_took_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "CHECKPOINT_ROWS", 1)  # then the next commit makes a write-ahead log
    CandleCache(tmp_path / "other").close()
    cache = CandleCache(tmp_path / "open")
    cache.commit([Append(KEY, 1, candles(1, 1))], {KEY: cursor(1)})
    for part in (tmp_path / "open").iterdir():
        part.unlink()
    shutil.copyfile(tmp_path / "other" / CACHE_FILE, tmp_path / "open" / CACHE_FILE)

    cache.close()

    assert [part.name for part in (tmp_path / "open").iterdir()] == [CACHE_FILE]
    again = CandleCache(tmp_path / "open")
    assert again.cursor(KEY) is None
    again.close()


def test_the_cursor_is_kept_under_the_name_that_desktop_clients_use(tmp_path: Path) -> None:
    cache = CandleCache(tmp_path)
    cache.commit([Append(KEY, 1, candles(1, 1))], {KEY: cursor(1)})
    cache.close()

    with duckdb.connect(str(tmp_path / CACHE_FILE), read_only=True) as connection:
        row = connection.execute("SELECT name, value::JSON->>'latest_sequence' FROM cursors").fetchall()

    assert row == [("live_cursor.SIM.EURUSD.1s", "1")]


def test_a_merge_that_fails_leaves_nothing_of_itself(cache: CandleCache) -> None:
    cache.commit([Append(KEY, 1, candles(1, 3))], {KEY: cursor(3)})

    with pytest.raises((StoreError, SequenceError)):
        cache.commit([Append(KEY, 4, candles(4, 2)), Append(KEY, 3, candles(3, 1))], {KEY: cursor(5)})

    assert cache.candles(KEY)[0].tolist() == [1, 2, 3]
    assert cache.cursor(KEY) == cursor(3)


def test_a_revision_replaces_in_place_and_the_last_of_several_counts(cache: CandleCache) -> None:
    cache.commit([Append(KEY, 1, candles(1, 3)), Append(OTHER, 1, candles(1, 3))], {KEY: cursor(3)})
    better = candles(1, 2)
    better["close"] = [7.5, 8.5]

    cache.commit([Revise(KEY, np.array([2, 2], np.uint64), better)], {KEY: cursor(3)})

    assert cache.candles(KEY)[1]["close"].tolist() == [1.0, 8.5, 3.0]
    assert cache.candles(OTHER)[1]["close"].tolist() == [1.0, 2.0, 3.0]


def test_a_minute_without_a_sequence_is_kept_apart(cache: CandleCache) -> None:
    cache.commit([Append(KEY, 1, candles(1, 1))], {})
    late, later = candles(9, 1), candles(9, 1)
    later["close"] = 99.0

    cache.commit([Revise(KEY, np.array([0], np.uint64), late), Revise(KEY, np.array([0], np.uint64), later)], {})

    assert cache.candles(KEY)[0].tolist() == [1]
    assert cache.extra_candles(KEY)["close"].tolist() == [99.0]


def test_a_reset_empties_one_stream_and_what_follows_stays(cache: CandleCache) -> None:
    cache.commit([Append(KEY, 1, candles(1, 3)), Append(OTHER, 1, candles(1, 3))], {KEY: cursor(3), OTHER: cursor(3)})

    cache.commit([Append(KEY, 4, candles(4, 1)), Reset(KEY), Append(KEY, 1, candles(1, 2))], {KEY: cursor(2, "b")})

    assert cache.candles(KEY)[0].tolist() == [1, 2]
    assert cache.cursor(KEY) == cursor(2, "b")
    assert len(cache.candles(OTHER)[0]) == 3


def test_candles_can_be_read_in_part(cache: CandleCache) -> None:
    cache.commit([Append(KEY, 1, candles(1, 9))], {})

    assert cache.candles(KEY, from_sequence_exclusive=3, limit=2)[0].tolist() == [4, 5]


def test_an_unknown_stream_has_no_cursor_and_no_candles(cache: CandleCache) -> None:
    assert cache.cursor(KEY) is None
    assert len(cache.candles(KEY)[1]) == 0


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[int]:
    """Another process that has the file open: its number."""
    CandleCache(tmp_path).close()
    process = subprocess.Popen(
        [sys.executable, "-c", f"import duckdb, os, sys; c = duckdb.connect({str(tmp_path / CACHE_FILE)!r}); "
         "print(os.getpid(), flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.kill()


@pytest.mark.costly
@pytest.mark.usefixtures("holder")
def test_a_file_that_another_process_holds_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(StoreLocked, match="is held by another process"):
        CandleCache(tmp_path)


@pytest.mark.costly
@not_by_wine("it does not tell which process has a file")
def test_who_holds_the_file_is_said(tmp_path: Path, holder: int) -> None:
    with pytest.raises(StoreLocked, match=str(holder)):
        CandleCache(tmp_path)


def test_a_file_that_is_no_store_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / CACHE_FILE).write_bytes(b"not a database" * 1_000)

    with pytest.raises(StoreDamaged):
        CandleCache(tmp_path)

    assert (tmp_path / CACHE_FILE).read_bytes().startswith(b"not a database")


def test_a_cursor_that_is_not_sound_is_said(tmp_path: Path) -> None:
    cache = CandleCache(tmp_path)
    cache.close()
    with duckdb.connect(str(tmp_path / CACHE_FILE)) as connection:
        connection.execute("INSERT INTO cursors VALUES ('live_cursor.SIM.EURUSD.1s', '{')")

    with pytest.raises(StoreDamaged, match="cursor"):
        CandleCache(tmp_path)


def test_without_a_cache_only_cursors_are_known() -> None:
    cache = NoCache()
    cache.commit([Append(KEY, 1, candles(1, 1))], {KEY: cursor(1)})

    assert cache.cursor(KEY) == cursor(1)
    with pytest.raises(ConfigError, match="data_dir"):
        cache.candles(KEY)


def test_without_room_nothing_is_stored_and_the_same_may_be_tried_again(
    cache: CandleCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = Append(KEY, 1, candles(1, 3))
    with monkeypatch.context() as full:
        full.setattr(DiskSpaceGuard, "_free_bytes", lambda _: 1_000_000)
        with pytest.raises(StoreFull, match=r"Only 1\.0 MB are free"):
            cache.commit([change], {KEY: cursor(3)})
        assert (cache.cursor(KEY), len(cache.candles(KEY)[0])) == (None, 0)

    cache.commit([change], {KEY: cursor(3)})

    assert (cache.cursor(KEY), len(cache.candles(KEY)[0])) == (cursor(3), 3)
