"""The store: all or nothing, dense, and the same after it is opened again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import msgspec
import numpy as np
import pytest

from fluxcap.bridge.server.sequencer import Sequencer
from fluxcap.bridge.store import store as store_module
from fluxcap.bridge.store.store import RecoveredCommit, Store
from fluxcap.bridge.store.verify import verify
from fluxcap.schemas.errors import ConfigError, SequenceError, StoreDamaged, StoreError, StoreFull, StoreLocked
from fluxcap.schemas.types import CandleBatch, CandleFlags, CandleRevision, Gap, StreamKey, Watermark
from tests.support.market.failing_store import lost_store
from tests.support.wire.samples import EURUSD, GBPUSD, MINUTE, candle, candle_rows, candles, minutes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.duckdb"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store.open(path) as opened:
        yield opened


def batch(key: StreamKey, start: int, count: int) -> CandleBatch:
    """Minute n under sequence n."""
    return CandleBatch(key, start, candle_rows(start, count))


def revision(start: int, sequences: list[int], minutes: list[int], close: float = 1.9) -> CandleRevision:
    given = Sequencer({EURUSD: Watermark(99_999, 99_999 * MINUTE, start - 1, 1)})
    return given.revise(EURUSD, sequences, [candle(minute, close) for minute in minutes])


def test_a_new_store_is_empty_and_has_an_identity(store: Store) -> None:
    assert store.watermarks() == {}
    assert len(store.store_id) == 32


@pytest.mark.costly
def test_the_identity_stays_and_another_store_has_another(path: Path, tmp_path: Path) -> None:
    with Store.open(path) as first:
        identity = first.store_id
    with Store.open(path) as again, Store.open(tmp_path / "other.duckdb") as other:
        assert again.store_id == identity
        assert other.store_id != identity


def test_missing_folders_are_made(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a" / "b" / "store.duckdb") as store:
        assert store.path.exists()


def test_what_was_committed_is_there_after_opening_again(path: Path) -> None:
    with Store.open(path) as store:
        store.commit([batch(EURUSD, 1, 3), batch(GBPUSD, 1, 2)])
        before = dict(store.watermarks())
    with Store.open(path) as store:
        assert store.watermarks() == before
        assert np.array_equal(store.reader().page(EURUSD).candles, candle_rows(1, 3))


def test_one_commit_takes_many_batches_of_a_stream(store: Store) -> None:
    store.commit([batch(EURUSD, 1, 3), batch(EURUSD, 4, 2)])

    assert store.watermarks()[EURUSD] == Watermark(5, 5 * MINUTE, 0, 1)


@pytest.mark.parametrize("start", [1, 3, 5, 0], ids=["repeats", "repeats the last", "skips", "goes back"])
def test_a_batch_that_does_not_follow_is_refused(store: Store, start: int) -> None:
    store.commit([batch(EURUSD, 1, 3)])

    with pytest.raises(SequenceError):
        store.commit([CandleBatch(EURUSD, start, candle_rows(10, 1))])

    assert store.watermarks()[EURUSD].latest_sequence == 3


def test_a_batch_that_goes_back_in_time_is_refused(store: Store) -> None:
    store.commit([batch(EURUSD, 1, 3)])

    with pytest.raises(SequenceError):
        store.commit([CandleBatch(EURUSD, 4, candle_rows(3, 1))])


def test_a_commit_that_fails_midway_leaves_nothing_behind(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.commit([batch(EURUSD, 1, 3)])

    def broken(*_: object) -> None:
        raise StoreError("the gaps cannot be written")

    with monkeypatch.context() as patch:
        patch.setattr(store_module.store_rows, "upsert_gaps", broken)
        with pytest.raises(StoreError, match="cannot be written"):
            store.commit([batch(EURUSD, 4, 1), batch(GBPUSD, 1, 1)], gaps=[Gap("SIM", "", 1)])

    assert set(store.watermarks()) == {EURUSD}
    store.commit([batch(EURUSD, 4, 1), batch(GBPUSD, 1, 1)])
    assert minutes(store.reader().page(EURUSD).candles) == [1, 2, 3, 4]


def test_nothing_to_commit_is_no_transaction(store: Store) -> None:
    store.commit()

    assert store.watermarks() == {}


def test_a_revision_replaces_the_published_candle_and_is_kept(store: Store) -> None:
    store.commit([batch(EURUSD, 1, 3)])

    store.commit(revisions=[revision(1, [2], [2], close=1.9)])

    page = store.reader().page(EURUSD)
    assert page.candles["close"][1] == 1.9
    assert page.candles["flags"].tolist() == [0, CandleFlags.REVISED, 0]
    assert store.watermarks()[EURUSD].latest_revision == 1
    assert store.reader().revisions(EURUSD).sequences.tolist() == [2]


def test_a_revision_of_a_minute_never_published_changes_no_candle(store: Store) -> None:
    store.commit([batch(EURUSD, 1, 3)])

    store.commit(revisions=[revision(1, [0], [2])])

    assert np.array_equal(store.reader().page(EURUSD).candles, candle_rows(1, 3))
    assert store.reader().revisions(EURUSD).sequences.tolist() == [0]


def test_the_last_word_of_several_on_one_candle_wins(store: Store) -> None:
    store.commit([batch(EURUSD, 1, 3)])
    twice = revision(1, [2, 2], [2, 2])
    twice.candles["close"] = [1.7, 1.8]

    store.commit(revisions=[twice])

    assert store.reader().page(EURUSD).candles["close"][1] == 1.8


def test_a_revision_reaches_settled_candles_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "COMPACT_ROWS", 3)
    store.commit([batch(EURUSD, 1, 3)])  # settles
    store.commit([batch(EURUSD, 4, 1)])

    store.commit(revisions=[revision(1, [2, 4], [2, 4])])

    assert store.reader().page(EURUSD).candles["close"].tolist()[1::2] == [1.9, 1.9]


def test_a_revision_that_does_not_follow_is_refused(store: Store) -> None:
    store.commit([batch(EURUSD, 1, 3)])

    with pytest.raises(SequenceError):
        store.commit(revisions=[revision(2, [2], [2])])


@pytest.mark.costly
def test_settling_changes_no_answer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "COMPACT_ROWS", 50)
    with Store.open(path) as store:
        for start in range(1, 200, 7):
            store.commit([batch(EURUSD, start, 7), batch(GBPUSD, start, 7)])
        held = store.watermarks()
        assert np.array_equal(store.reader().page(GBPUSD, 10, None, 150).candles, candle_rows(11, 150))
    with Store.open(path) as store:
        assert store.watermarks() == held
        assert np.array_equal(store.reader().page(EURUSD).candles, candle_rows(1, 203))


def test_published_finds_candles_by_time(store: Store) -> None:
    store.commit([CandleBatch(EURUSD, 1, candle_rows(100, 5)), batch(GBPUSD, 1, 200)])

    found = store.published(EURUSD, [99 * MINUTE, 100 * MINUTE, 103 * MINUTE, 9999 * MINUTE])

    assert found == {100 * MINUTE: (1, candles(100, 1)[0]), 103 * MINUTE: (4, candles(103, 1)[0])}


def test_published_knows_nothing_of_an_unknown_stream(store: Store) -> None:
    assert store.published(EURUSD, [MINUTE]) == {}


def test_a_gap_is_closed_by_the_same_gap_with_an_end(store: Store) -> None:
    store.commit(gaps=[Gap("SIM", "", 1_000, 0, "browser gone")])

    store.commit(gaps=[Gap("SIM", "", 1_000, 5_000, "browser gone")])

    assert store.reader().gaps() == [Gap("SIM", "", 1_000, 5_000, "browser gone")]


def test_each_state_of_a_gap_is_kept_with_its_time(path: Path) -> None:
    times = iter(range(1_000_000, 2_000_000))
    opened, late = Gap("SIM", "EURUSD_otc", 1_000, 0, "tab closed"), Gap("SIM", "EURUSD_otc", 7_000, 0, "tab closed")
    closed, withdrawn = Gap("SIM", "EURUSD_otc", 1_000, 5_000, "tab closed"), Gap("SIM", "EURUSD_otc", 7_000, 7_000, "")
    with Store.open(path, lambda: next(times)) as store:
        for gap in (opened, closed, late, withdrawn):
            store.commit(gaps=[gap])

        changes = store.reader().gap_changes("SIM", "EURUSD_otc")

        assert [change.gap for change in changes] == [opened, closed, late, withdrawn]
        assert [change.gap.state.value for change in changes] == ["opened", "closed", "opened", "withdrawn"]
        assert [change.at_ms for change in changes] == sorted({change.at_ms for change in changes})
        assert store.reader().gap_changes("SIM", "GBPUSD_otc") == []


# --- what a client had seen by some time ---


def test_every_candle_keeps_when_it_was_sealed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "COMPACT_ROWS", 3)
    now = 1_000
    with Store.open(path, lambda: now) as store:
        store.commit([batch(EURUSD, 1, 3)])  # settles
        now = 2_000
        store.commit([batch(EURUSD, 4, 1), batch(GBPUSD, 1, 1)])

        assert store.reader().sealed_ms(EURUSD).tolist() == [1_000, 1_000, 1_000, 2_000]
        assert store.reader().sealed_ms(EURUSD, 2, 2).tolist() == [1_000, 2_000]
        assert store.reader().sealed_ms(StreamKey("SIM", "never", "1m")).tolist() == []


@pytest.mark.costly
def test_a_revised_candle_keeps_its_first_version(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "COMPACT_ROWS", 3)
    store.commit([batch(EURUSD, 1, 3)])  # settles
    store.commit([batch(EURUSD, 4, 1)])

    store.commit(revisions=[revision(1, [2, 4], [2, 4], close=1.7)])
    store.commit(revisions=[revision(3, [2, 0], [2, 3], close=1.8)])

    sequences, first = store.reader().first_versions(EURUSD)
    assert sequences.tolist() == [2, 4]
    assert first["close"].tolist() == [candles(2, 1)[0].close, candles(4, 1)[0].close]
    assert first["flags"].tolist() == [0, 0]


def test_a_revision_keeps_when_it_was_made(path: Path) -> None:
    now = 1_000
    with Store.open(path, lambda: now) as store:
        store.commit([batch(EURUSD, 1, 3)])
        store.commit(revisions=[revision(1, [2], [2])])
        now = 2_000
        store.commit(revisions=[revision(2, [2, 3], [2, 3], close=1.7)])

        assert store.reader().revised_ms(EURUSD).tolist() == [1_000, 2_000, 2_000]
        assert store.reader().revised_ms(EURUSD, 1, 1).tolist() == [2_000]


@pytest.mark.costly
def test_pruning_forgets_what_belongs_to_pruned_candles(store: Store) -> None:
    store.commit([batch(EURUSD, 1, 10)], gaps=[Gap("SIM", "", 1, 0), Gap("SIM", "", 2, 0)])
    store.commit(revisions=[revision(1, [2, 9], [2, 9])], gaps=[Gap("SIM", "", 1, 2 * MINUTE)])

    store.prune(8 * MINUTE)

    assert store.reader().first_versions(EURUSD)[0].tolist() == [9]
    assert {change.gap.from_ms for change in store.reader().gap_changes()} == {2}


# --- facts for the next start ---


class Row(msgspec.Struct, frozen=True):
    symbol: str
    payout: int = 0


@pytest.mark.costly
def test_offset_and_asset_table_are_kept_for_the_next_start(path: Path) -> None:
    table = [Row("EURUSD_otc", 92), Row("BTC/USD")]
    with Store.open(path, lambda: 5_000) as store:
        assert store.kept_offset("SIM") is None
        assert store.kept_assets("SIM", Row) == []
        store.keep_offset("SIM", 3_600_000)
        store.keep_offset("SIM", 7_200_000)
        store.keep_assets("SIM", table[:1])
        store.keep_assets("SIM", table)

    with Store.open(path) as again:
        assert again.kept_offset("SIM") == (7_200_000, 5_000)
        assert again.kept_assets("SIM", Row) == table
        assert again.kept_offset("OTHER") is None


def test_a_kept_fact_that_cannot_be_read_counts_as_absent(store: Store) -> None:
    store.keep_assets("SIM", [Row("EURUSD_otc")])

    class Other(msgspec.Struct, frozen=True):
        name: str

    assert store.kept_assets("SIM", Other) == []


@pytest.mark.costly
def test_pruning_keeps_the_newest_candle_of_every_stream(path: Path) -> None:
    with Store.open(path) as store:
        store.commit([batch(EURUSD, 1, 10), batch(GBPUSD, 1, 3)])
        assert store.prune(8 * MINUTE) == 7 + 2
        assert store.watermarks()[EURUSD] == Watermark(10, 10 * MINUTE, 0, 8)
        assert store.watermarks()[GBPUSD] == Watermark(3, 3 * MINUTE, 0, 3)
    with Store.open(path) as store:
        store.commit([batch(GBPUSD, 4, 1)])
        assert minutes(store.reader().page(GBPUSD).candles) == [3, 4]
        assert store.oldest_ts_ms(EURUSD) == 8 * MINUTE


def test_pruning_keeps_revisions_dense_and_their_numbers_going(store: Store) -> None:
    store.commit([batch(EURUSD, 1, 10)])
    store.commit(revisions=[revision(1, [2, 9, 3], [2, 9, 3])])

    store.prune(8 * MINUTE)

    assert store.reader().revisions(EURUSD).start_revision == 2
    assert store.reader().revisions(EURUSD).sequences.tolist() == [9, 3]
    store.prune(100 * MINUTE)
    assert store.reader().revisions(EURUSD).start_revision == 3
    assert store.watermarks()[EURUSD].latest_revision == 3


def test_pruning_forgets_gaps_that_ended_before(store: Store) -> None:
    over, later, still = Gap("SIM", "", 1, 2 * MINUTE), Gap("SIM", "", 2, 9 * MINUTE), Gap("SIM", "", 3)
    store.commit(gaps=[over, later, still])

    store.prune(8 * MINUTE)

    assert store.reader().gaps() == [later, still]


def test_the_universe_is_replaced_whole_and_keeps_its_order(store: Store, tmp_path: Path) -> None:
    csv = tmp_path / "universe.csv"
    csv.write_text("filters,badge,symbol,name,market,venue\nfx,OTC,ZZZ,Last,fx,PO\nfx,OTC,AAA,First,fx,PO\n")

    assert store.load_universe(csv) == 2
    assert store.load_universe(csv) == 2

    assert [listing.symbol for listing in store.reader().universe()] == ["ZZZ", "AAA"]


def test_a_universe_that_cannot_be_read_leaves_the_old_one(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        store.load_universe(tmp_path / "absent.csv")


def test_a_store_cannot_be_opened_twice_in_a_process(store: Store, path: Path) -> None:
    with pytest.raises(StoreLocked, match="held by another"):
        Store.open(path)


def test_a_closed_store_can_be_opened_again(path: Path) -> None:
    Store.open(path).close()
    Store.open(path).close()


def test_closing_twice_does_no_harm(path: Path) -> None:
    store = Store.open(path)
    store.close()
    store.close()

    with pytest.raises(StoreError, match="closed"):
        store.commit([batch(EURUSD, 1, 1)])


def test_a_commit_is_refused_before_the_disk_is_full(path: Path) -> None:
    with Store.open(path, reserve_bytes=1 << 62) as store:
        with pytest.raises(StoreFull, match="reserve"):
            store.commit([batch(EURUSD, 1, 1)])
        assert store.watermarks() == {}
        assert store.checkpoint() is False


@pytest.mark.costly
def test_the_log_is_moved_into_the_file_when_it_has_grown(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "CHECKPOINT_BYTES", 10_000)
    log = store.path.with_name(store.path.name + ".wal")

    for start in range(1, 1001, 100):
        store.commit([batch(EURUSD, start, 100)])
        assert not log.exists() or log.stat().st_size < 30_000


def test_a_file_of_something_else_is_damage_and_left_alone(path: Path) -> None:
    path.write_bytes(b"not a store at all" * 1000)
    before = path.read_bytes()

    with pytest.raises(StoreDamaged):
        Store.open(path)

    assert path.read_bytes() == before


def test_a_database_of_something_else_is_damage(path: Path) -> None:
    with duckdb.connect(str(path)) as other:
        other.execute("CREATE TABLE something (a INTEGER)")

    with pytest.raises(StoreDamaged, match="not a fluxcap store"):
        Store.open(path)


def test_a_newer_store_is_not_damage(path: Path) -> None:
    Store.open(path).close()
    with duckdb.connect(str(path)) as other:
        other.execute("UPDATE meta SET value = '99' WHERE name = 'schema_version'")

    with pytest.raises(StoreError, match="newer fluxcap") as raised:
        Store.open(path)
    assert not isinstance(raised.value, StoreDamaged)


@pytest.mark.costly
@pytest.mark.parametrize(
    "harm",
    [
        "DELETE FROM candles_fresh WHERE sequence = 2",
        "INSERT INTO candles_fresh SELECT * FROM candles_fresh WHERE sequence = 2",
        "DELETE FROM streams",
        "DELETE FROM meta WHERE name = 'store_id'",
        "DROP TABLE gaps",
    ],
)
def test_a_store_that_lost_or_doubled_rows_is_not_opened(path: Path, harm: str) -> None:
    with Store.open(path) as store:
        store.commit([batch(EURUSD, 1, 3)])
    with duckdb.connect(str(path)) as other:
        other.execute(harm)

    with pytest.raises(StoreDamaged):
        Store.open(path)


def test_a_flipped_byte_in_the_header_is_damage(path: Path) -> None:
    with Store.open(path) as store:
        store.commit([batch(EURUSD, 1, 3)])
    content = bytearray(path.read_bytes())
    content[12_308] ^= 0xFF
    path.write_bytes(content)

    with pytest.raises(StoreDamaged, match="fluxcap verify"):
        Store.open(path)


def test_names_are_never_part_of_a_statement(store: Store) -> None:
    odd = StreamKey("SIM", "it's; DROP TABLE candles_fresh --", "1m")

    store.commit([batch(odd, 1, 1)])

    assert minutes(store.reader().page(odd).candles) == [1]


# --- a commit that fails as DuckDB gives the file up ---


def test_what_was_durable_is_returned_by_the_next_commit_which_stores_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.commit([batch(EURUSD, 1, 1)])
    failed = batch(EURUSD, 2, 1)
    with lost_store(monkeypatch), pytest.raises(StoreError):
        store.commit([failed])

    recovered = store.commit([batch(EURUSD, 2, 3)])

    assert recovered == RecoveredCommit([failed], [])
    assert store.watermarks()[EURUSD].latest_sequence == 2
    assert store.commit([batch(EURUSD, 3, 1)]) is None


def test_a_commit_of_nothing_tells_of_it_too_and_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = batch(EURUSD, 1, 1)
    with lost_store(monkeypatch), pytest.raises(StoreError):
        store.commit([failed])

    assert [store.commit(), store.commit()] == [RecoveredCommit([failed], []), None]


def test_what_was_not_durable_is_stored_by_the_next_commit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with lost_store(monkeypatch, durable=False), pytest.raises(StoreError):
        store.commit([batch(EURUSD, 1, 1)])

    assert store.commit([batch(EURUSD, 1, 2)]) is None
    assert store.watermarks()[EURUSD].latest_sequence == 2


def test_nothing_is_deleted_before_it_is_known_what_became_of_a_commit(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.commit([batch(EURUSD, 1, 3)])
    with lost_store(monkeypatch), pytest.raises(StoreError):
        store.commit([batch(EURUSD, 4, 1)])

    with pytest.raises(StoreError, match="before the next one"):
        store.prune(10**15)
    store.commit()

    assert store.prune(10**15) == 3


def test_a_commit_refused_for_lack_of_room_leaves_nothing_to_recover(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(items: int) -> None:
        raise StoreFull("no room")

    with monkeypatch.context() as patch:
        patch.setattr(store._space, "require_space", full)
        with pytest.raises(StoreFull):
            store.commit([batch(EURUSD, 1, 1)])

    assert store.commit([batch(EURUSD, 1, 1)]) is None


# --- a clock that was ahead ---


@pytest.mark.costly
def test_what_is_of_a_later_time_is_deleted_with_the_old_identity_and_the_rest_stays_dense(path: Path) -> None:
    with Store.open(path) as store:
        before = store.store_id
        store.commit([batch(EURUSD, 1, 10), batch(GBPUSD, 1, 2)])
        store.commit(revisions=[revision(1, [9, 2, 8, 3], [9, 2, 8, 3])])
        gaps = [Gap("S", "A", 2 * MINUTE, 3 * MINUTE, "x"), Gap("S", "A", 4 * MINUTE, 9 * MINUTE, "x")]
        store.commit(gaps=[*gaps, Gap("S", "A", 8 * MINUTE, 0, "x")])
        store.keep_offset("S", 7_200_000)

        renewed = store.renew_identity(forget_from_ms=6 * MINUTE)

        assert renewed != before
    assert verify(path) == []
    with Store.open(path) as store:
        reader = store.reader()
        assert reader.page(EURUSD).candles["ts_ms"].tolist() == [at * MINUTE for at in range(1, 6)]
        assert reader.revisions(EURUSD).sequences.tolist() == [2, 3]
        assert store.watermarks()[EURUSD] == Watermark(5, 5 * MINUTE, 2, 1)
        assert [(gap.from_ms, gap.to_ms) for gap in reader.gaps()] == [
            (2 * MINUTE, 3 * MINUTE),
            (4 * MINUTE, 6 * MINUTE),
        ]
        assert store.kept_offset("S") is None  # the clock of then had found it
        store.commit([batch(EURUSD, 6, 1)])


@pytest.mark.costly
def test_a_stream_that_was_ahead_altogether_begins_anew(path: Path) -> None:
    with Store.open(path) as store:
        store.commit([batch(EURUSD, 1, 3)])
        store.renew_identity(forget_from_ms=0)

    with Store.open(path) as store:
        store.commit([batch(EURUSD, 1, 1)])
        assert store.watermarks()[EURUSD].latest_sequence == 1
