"""A store of 0.1.0 is brought to the present version whole, or stays as it was."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from fluxcap.bridge.store import migration
from fluxcap.bridge.store.connection import StoreCursor
from fluxcap.bridge.store.digest import store_digest
from fluxcap.bridge.store.offline import OfflineStore
from fluxcap.bridge.store.schema import NOT_KNOWN_MS, SCHEMA_VERSION
from fluxcap.bridge.store.store import Store, StoreListener
from fluxcap.bridge.store.verify import summarize, verify
from fluxcap.schemas.errors import StoreDamaged, StoreError, StoreFull
from fluxcap.schemas.types import CandleFlags, GapState, StreamKey
from tests.support.golden import expected, opened

pytestmark = pytest.mark.costly

FILE = "fluxcap.duckdb"
EURUSD = StreamKey("POCKETOPTION", "EURUSD_otc", "1m")
DIGEST = expected("store/closed")["digest"]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A store as 0.1.0 closed it."""
    return opened("store/closed", tmp_path) / FILE


def version_of(path: Path) -> int:
    with duckdb.connect(str(path), read_only=True) as connection:
        return int(connection.execute("SELECT value FROM meta WHERE name = 'schema_version'").fetchall()[0][0])


def digest_of(path: Path) -> str:
    with Store.open(path) as store:
        return store_digest(store.reader()).digest


def test_a_migrated_store_holds_what_it_held(old: Path) -> None:
    assert digest_of(old) == DIGEST
    assert version_of(old) == SCHEMA_VERSION
    assert verify(old) == []


def test_the_store_as_it_was_is_kept_beside_it_and_can_be_read(old: Path) -> None:
    before = old.read_bytes()

    with Store.open(old) as store:
        done = store.migration

    assert done is not None
    assert done.copy.name == "fluxcap.duckdb.version-1"
    assert done.copy.read_bytes() == before
    assert version_of(done.copy) == 1
    with OfflineStore(done.copy) as copy:
        assert len(copy.streams()) == len(expected("store/closed")["streams"])


def test_the_copy_of_a_store_with_a_write_ahead_log_has_all_of_it(tmp_path: Path) -> None:
    killed = opened("store/killed", tmp_path) / FILE

    with Store.open(killed) as store:
        done = store.migration

    assert done is not None
    assert digest_of(done.copy) == expected("store/killed")["digest"]


def test_a_store_is_migrated_once(old: Path) -> None:
    Store.open(old).close()

    with Store.open(old) as again:
        assert again.migration is None


def test_the_progress_of_the_copy_is_told(old: Path) -> None:
    told: list[tuple[int, int]] = []

    class Listener(StoreListener):
        def migrating(self, done_bytes: int, total_bytes: int) -> None:
            told.append((done_bytes, total_bytes))

    Store.open(old, listener=Listener()).close()

    assert told[-1][0] == told[-1][1] > 0


def test_without_room_for_a_copy_nothing_is_changed_and_the_need_is_said(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = old.read_bytes()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 1_000_000, 1_000_000))

    with pytest.raises(StoreFull, match=r"of store version 1; .* takes 21 MB, and 1 MB are free.*free some space"):
        Store.open(old)

    assert old.read_bytes() == before


def test_a_store_that_lacks_candles_is_damaged_and_not_migrated(old: Path) -> None:
    with duckdb.connect(str(old)) as other:
        other.execute("DELETE FROM candles_fresh WHERE sequence = (SELECT min(sequence) + 1 FROM candles_fresh)")

    with pytest.raises(StoreDamaged):
        Store.open(old)

    assert version_of(old) == 1
    assert not old.with_name(f"{FILE}.version-1").exists()


def test_commands_read_a_store_that_no_daemon_has_migrated_yet(old: Path) -> None:
    before = old.read_bytes()

    assert verify(old) == []
    assert summarize(old).streams == len(expected("store/closed")["streams"])
    assert old.read_bytes() == before


def test_a_newer_store_is_refused_in_a_sentence_whoever_reads_it(old: Path) -> None:
    Store.open(old).close()
    with duckdb.connect(str(old)) as other:
        other.execute("UPDATE meta SET value = '3' WHERE name = 'schema_version'")

    for read in (Store.open, OfflineStore, summarize):
        with pytest.raises(StoreError, match=r"newer fluxcap \(store version 3\); upgrade fluxcap"):
            read(old)
    assert "newer fluxcap" in verify(old)[0].text


class Killed(BaseException):
    """As if the process had died there."""


def _fails_copying(patch: pytest.MonkeyPatch) -> None:
    def broken(path: Path, copy: Path, progress: Callable[[int, int], None]) -> None:
        copy.with_name(copy.name + ".part").write_bytes(path.read_bytes()[:1000])
        raise Killed

    patch.setattr(migration, "_copy", broken)


def _fails_after_copying(patch: pytest.MonkeyPatch) -> None:
    copy = migration._copy

    def broken(path: Path, target: Path, progress: Callable[[int, int], None]) -> None:
        copy(path, target, progress)
        raise Killed

    patch.setattr(migration, "_copy", broken)


def _fails_at(statement: str) -> Callable[[pytest.MonkeyPatch], None]:
    def fails(patch: pytest.MonkeyPatch) -> None:
        rows = StoreCursor.rows

        def broken(cursor: StoreCursor, sql: str, parameters: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
            if sql.startswith(statement):
                raise Killed
            return rows(cursor, sql, parameters)

        patch.setattr(StoreCursor, "rows", broken)

    return fails


@pytest.mark.parametrize(
    ("fails", "version"),
    [
        (_fails_copying, 1),
        (_fails_after_copying, 1),
        (_fails_at("ALTER TABLE candles_settled"), 1),
        (_fails_at("CREATE TABLE agreement "), 1),
        (_fails_at("UPDATE meta"), 1),
        (_fails_at("CHECKPOINT"), 2),
    ],
    ids=["half copied", "copied", "first changes", "half changed", "not marked", "not checkpointed"],
)
def test_a_start_after_a_migration_that_ended_half_way_copes(
    old: Path, monkeypatch: pytest.MonkeyPatch, fails: Callable[[pytest.MonkeyPatch], None], version: int
) -> None:
    with monkeypatch.context() as patch:
        fails(patch)
        with pytest.raises(Killed):
            Store.open(old)
    assert version_of(old) == version

    assert digest_of(old) == DIGEST
    assert version_of(old.with_name(f"{FILE}.version-1")) == 1
    assert not list(old.parent.glob("*.part"))


def test_a_disk_that_fills_while_copying_leaves_the_store_and_no_half_copy(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = old.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreFull, match=r"could not be copied .*No space left on device\. Nothing was changed"):
            Store.open(old)

    assert old.read_bytes() == before
    assert {path.name for path in old.parent.iterdir()} == {FILE, f"{FILE}.mark"}


def test_what_version_1_did_not_keep_is_not_known(old: Path) -> None:
    with Store.open(old) as store:
        reader = store.reader()
        revised = reader.page(EURUSD).candles["flags"] & CandleFlags.REVISED > 0

        assert set(reader.sealed_ms(EURUSD).tolist()) == {NOT_KNOWN_MS}
        assert revised.any()
        assert len(reader.first_versions(EURUSD)[0]) == 0
        assert {change.at_ms for change in reader.gap_changes()} == {NOT_KNOWN_MS}
        assert {change.gap for change in reader.gap_changes()} == set(reader.gaps())
        assert {change.gap.state for change in reader.gap_changes()} == set(GapState)
