"""Pages begin where they were asked to, end where they must, and say whether there is more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fluxcap.bridge.server.sequencer import Sequencer
from fluxcap.bridge.store import store as store_module
from fluxcap.bridge.store.reader import StoreReader
from fluxcap.bridge.store.store import Store
from fluxcap.schemas.errors import StoreError
from fluxcap.schemas.types import CandleBatch, Gap
from tests.support.wire.samples import EURUSD, GBPUSD, MINUTE, candle, candle_rows, minutes


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """EURUSD has minutes 1..100 under the same sequences, revisions of 10, 20 and of a minute never published."""
    with Store.open(tmp_path_factory.mktemp("store") / "store.duckdb") as store:
        store.commit([CandleBatch(EURUSD, 1, candle_rows(1, 100))])
        sequencer = Sequencer(store.watermarks())
        store.commit(revisions=[sequencer.revise(EURUSD, [10, 20, 0], [candle(10), candle(20), candle(5)])])
        store.commit(
            gaps=[
                Gap("SIM", "", 10, 20, "browser gone"),
                Gap("SIM", "EURUSD_otc", 30, 40, "socket closed"),
                Gap("SIM", "GBPUSD_otc", 50, 0, "silent"),
                Gap("OTHER", "", 10, 20, "daemon down"),
            ]
        )
        yield store


@pytest.fixture(scope="module")
def reader(store: Store) -> StoreReader:
    return store.reader()


@pytest.mark.parametrize(
    ("after", "end", "limit", "held", "more"),
    [
        (None, None, 10, (1, 10), True),
        (0, None, 10, (1, 10), True),
        (90, None, 10, (91, 100), False),
        (89, None, 10, (90, 99), True),
        (95, None, 10, (96, 100), False),
        (10, 15, 100, (11, 15), False),
        (10, 15, 5, (11, 15), False),
        (10, 15, 4, (11, 14), True),
        (10, 100, 10, (11, 20), True),
        (10, 500, 90, (11, 100), False),
        (99, None, 1, (100, 100), False),
    ],
)
def test_a_page_holds_what_was_asked_for(
    reader: StoreReader, after: int | None, end: int | None, limit: int, held: tuple[int, int], more: bool
) -> None:
    page = reader.page(EURUSD, after, None if end is None else end * MINUTE, limit)

    assert minutes(page.candles) == list(range(held[0], held[1] + 1))
    assert (page.start_sequence, page.next_sequence, page.has_more) == (held[0], held[1] + 1, more)


def test_the_end_of_a_page_counts_within_it(reader: StoreReader) -> None:
    assert minutes(reader.page(EURUSD, 0, 3 * MINUTE).candles) == [1, 2, 3]
    assert minutes(reader.page(EURUSD, 0, 3 * MINUTE - 1).candles) == [1, 2]


@pytest.mark.parametrize("after", [100, 101, 5_000])
def test_nothing_after_the_newest_is_an_empty_page(reader: StoreReader, after: int) -> None:
    page = reader.page(EURUSD, after)

    assert (len(page.candles), page.start_sequence, page.next_sequence) == (0, after + 1, after + 1)
    assert page.has_more is False


def test_an_end_before_the_page_begins_gives_nothing_and_no_more(reader: StoreReader) -> None:
    page = reader.page(EURUSD, 50, 3 * MINUTE)

    assert (len(page.candles), page.has_more) == (0, False)


def test_a_stream_that_nobody_has_gives_an_empty_page(reader: StoreReader) -> None:
    page = reader.page(GBPUSD)

    assert (len(page.candles), page.start_sequence, page.has_more) == (0, 1, False)


def test_last_gives_the_newest_oldest_first(reader: StoreReader) -> None:
    assert minutes(reader.newest(EURUSD, 3).candles) == [98, 99, 100]
    assert len(reader.newest(EURUSD, 1_000).candles) == 100


@pytest.mark.parametrize(
    ("after", "limit", "numbers", "more"),
    [(None, 10, [10, 20, 0], False), (1, 10, [20, 0], False), (0, 2, [10, 20], True), (3, 10, [], False)],
)
def test_revisions_page_as_candles_do(
    reader: StoreReader, after: int | None, limit: int, numbers: list[int], more: bool
) -> None:
    page = reader.revisions(EURUSD, after, limit)

    assert page.sequences.tolist() == numbers
    assert page.sequences.dtype == np.uint64
    assert (page.next_revision, page.has_more) == ((after or 0) + 1 + len(numbers), more)


def test_gaps_of_the_whole_source_count_for_its_symbols(reader: StoreReader) -> None:
    assert [gap.from_ms for gap in reader.gaps("SIM", "EURUSD_otc")] == [10, 30]


def test_gaps_are_found_by_the_time_they_touch(reader: StoreReader) -> None:
    assert [gap.from_ms for gap in reader.gaps("SIM", from_ms=20, to_ms=31)] == [30]
    assert [gap.from_ms for gap in reader.gaps("SIM", from_ms=1_000)] == [50]


def test_pages_after_pruning_begin_at_the_oldest_kept(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store.duckdb") as store:
        store.commit([CandleBatch(EURUSD, 1, candle_rows(1, 100))])
        store.prune(91 * MINUTE)
        page = store.reader().page(EURUSD, 0, None, 5)

    assert (page.start_sequence, minutes(page.candles), page.has_more) == (91, [91, 92, 93, 94, 95], True)


@pytest.mark.costly
def test_a_thread_reads_beside_the_writer_and_sees_whole_commits(tmp_path: Path) -> None:
    problems: list[str] = []
    done = threading.Event()

    def read(reader: StoreReader) -> None:
        while not done.is_set():
            latest = reader.watermarks()[EURUSD].latest_sequence
            held = len(reader.page(EURUSD).candles)
            if held < latest or held % 3:
                problems.append(f"{held} candles at watermark {latest}")

    with Store.open(tmp_path / "store.duckdb") as store:
        store.commit([CandleBatch(EURUSD, 1, candle_rows(1, 3))])
        thread = threading.Thread(target=read, args=(store.reader(),))
        thread.start()
        for start in range(4, 151, 3):
            store.commit([CandleBatch(EURUSD, start, candle_rows(start, 3))])
        store.checkpoint()
        done.set()
        thread.join()

    assert problems == []


def test_a_reader_ends_with_its_store(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store.duckdb") as store:
        store.commit([CandleBatch(EURUSD, 1, candle_rows(1, 3))])
        reader = store.reader()
        reader.page(EURUSD)

    with pytest.raises(StoreError, match="closed"):
        reader.page(EURUSD)


def test_a_page_is_whole_wherever_its_candles_lie_and_after_they_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "COMPACT_ROWS", 100)
    with Store.open(tmp_path / "moving.duckdb") as store:
        reader = store.reader()
        held = 0
        for step in (30, 30, 20, 35, 5):  # 100 rows that are fresh are settled
            store.commit([CandleBatch(key, held + 1, candle_rows(held + 1, step)) for key in (EURUSD, GBPUSD)])
            held += step
            for after in range(0, held, 7):
                for limit in (1, 20, 500):
                    page = reader.page(GBPUSD, after, None, limit)

                    assert (page.start_sequence, minutes(page.candles)) == (
                        after + 1,
                        list(range(after + 1, min(after + limit, held) + 1)),
                    )
                    assert page.has_more is (after + limit < held)


def test_a_stream_that_begins_after_the_first_page_is_found(tmp_path: Path) -> None:
    with Store.open(tmp_path / "late.duckdb") as store:
        reader = store.reader()
        store.commit([CandleBatch(EURUSD, 1, candle_rows(1, 3))])
        reader.page(EURUSD)
        store.commit([CandleBatch(GBPUSD, 1, candle_rows(1, 3))])

        assert minutes(reader.page(GBPUSD).candles) == [1, 2, 3]
