"""Recent candles: the same pages as the store's, from memory, within bounds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fluxcap.bridge.server.page_cache import SPARE_PART, CachedReader, RecentCandles
from fluxcap.bridge.server.sequencer import Sequencer
from fluxcap.bridge.store.store import Store
from fluxcap.schemas.candles import CandlePage
from fluxcap.schemas.types import Candle, CandleBatch, CandleRevision, StreamKey
from tests.support.wire.samples import EURUSD, GBPUSD, MINUTE, candle, candle_rows, minutes

pytestmark = pytest.mark.costly


def batch(start: int, count: int, key: StreamKey = EURUSD) -> CandleBatch:
    return CandleBatch(key, start, candle_rows(start, count))


def held(recent: RecentCandles, key: StreamKey = EURUSD) -> list[int]:
    view = recent.view(key)
    assert view is not None
    assert minutes(view[1])[:1] == [view[0]]  # minute n has sequence n in these tests
    return minutes(view[1])


def test_appended_candles_are_held_in_order() -> None:
    recent = RecentCandles()
    for start in range(1, 301, 3):
        recent.append(batch(start, 3))

    assert held(recent) == list(range(1, 301))


def test_the_newest_are_kept_when_there_are_too_many() -> None:
    recent = RecentCandles(depth=100)
    for start in range(1, 1001):
        recent.append(batch(start, 1))

    kept = held(recent)
    assert kept[-1] == 1000
    assert 100 <= len(kept) <= 200


def test_what_is_held_and_its_spare_room_stay_close_to_the_depth_for_ever() -> None:
    recent = RecentCandles(depth=1_000)
    most = 0
    for start in range(1, 5_001):
        recent.append(batch(start, 1))
        most = max(most, recent.rows)

    assert most <= 1_000 + 1_000 // SPARE_PART
    assert held(recent)[-1_000:] == list(range(4_001, 5_001))


def test_one_batch_longer_than_the_depth_is_held_whole() -> None:
    recent = RecentCandles(depth=100)
    recent.append(batch(1, 50))
    recent.append(batch(51, 500))

    assert held(recent)[-500:] == list(range(51, 551))


def test_memory_stays_within_the_budget_of_all_streams_together() -> None:
    recent = RecentCandles(depth=10_000, budget_rows=20_000)
    keys = [StreamKey("SIM", f"S{n}", "1m") for n in range(100)]
    for start in range(1, 1001, 100):
        for key in keys:
            recent.append(batch(start, 100, key))

    assert recent.rows <= 30_000  # a stream's last batch is always held
    assert held(recent, keys[0])[-1] == 1000


def test_a_view_never_changes_under_its_reader() -> None:
    recent = RecentCandles(depth=100)
    recent.append(batch(1, 10))
    view = recent.view(EURUSD)
    assert view is not None
    before = view[1].copy()

    for start in range(11, 500):
        recent.append(batch(start, 1))
    recent.revise(CandleRevision(EURUSD, 1, np.array([490], dtype=np.uint64), candle_rows(490, 1)))

    assert np.array_equal(view[1], before)


def test_a_batch_that_does_not_follow_begins_anew() -> None:
    recent = RecentCandles()
    recent.append(batch(1, 10))
    recent.append(batch(50, 2))

    assert held(recent) == [50, 51]


def test_a_revision_replaces_what_is_held_and_nothing_else() -> None:
    recent = RecentCandles()
    recent.append(batch(11, 10))
    better = CandleRevision(
        EURUSD,
        1,
        np.array([5, 0, 15, 99], dtype=np.uint64),
        np.concatenate([candle_rows(n, 1) for n in (5, 6, 15, 99)]),
    )
    better.candles["close"] = 1.99

    recent.revise(better)

    view = recent.view(EURUSD)
    assert view is not None
    assert np.flatnonzero(view[1]["close"] == 1.99).tolist() == [4]


def test_a_revision_of_a_stream_not_held_does_nothing() -> None:
    recent = RecentCandles()

    recent.revise(CandleRevision(EURUSD, 1, np.array([1], dtype=np.uint64), candle_rows(1, 1)))

    assert recent.view(EURUSD) is None


class Served:
    """A store, what is recent of it, and pages over both."""

    def __init__(self, path: Path, depth: int) -> None:
        self.store = Store.open(path)
        self.recent = RecentCandles(depth=depth)
        self.pages = CachedReader(self.recent, self.store.reader(), depth=depth)
        self.reader = self.store.reader()

    def commit(self, start: int, count: int, remember: bool = True) -> None:
        added = batch(start, count)
        self.store.commit([added])
        if remember:
            self.recent.append(added)

    def revise(self, sequence: int, better: Candle) -> None:
        revision = Sequencer(self.store.watermarks()).revise(EURUSD, [sequence], [better])
        self.store.commit(revisions=[revision])
        self.recent.revise(revision)

    def check(self, *question: int | None) -> None:
        self.compare(self.reader.page(EURUSD, *question), *question)  # type: ignore[arg-type]

    def compare(self, stores: CandlePage, *question: int | None) -> None:
        mine = self.pages.page(EURUSD, *question)  # type: ignore[arg-type]
        assert (mine.start_sequence, mine.has_more) == (stores.start_sequence, stores.has_more)
        assert np.array_equal(mine.candles, stores.candles)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path / "store.duckdb", depth=50)
    yield served
    served.store.close()


QUESTIONS: list[tuple[int | None, int | None, int]] = [
    (after, end, limit)
    for after in (None, 0, 29, 69, 70, 98, 99, 100, 500)
    for end in (None, 1 * MINUTE, 75 * MINUTE, 99 * MINUTE, 500 * MINUTE)
    for limit in (1, 7, 10_000)
]


@pytest.fixture(scope="module")
def stored_pages(tmp_path_factory: pytest.TempPathFactory) -> list[CandlePage]:
    """What a store of candles 1 to 100 answers to each of the questions."""
    with Store.open(tmp_path_factory.mktemp("stored") / "store.duckdb") as store:
        store.commit([batch(1, 100)])
        reader = store.reader()
        return [reader.page(EURUSD, *question) for question in QUESTIONS]


@pytest.mark.parametrize("remembered_from", [1, 71, 100, 101], ids=["all", "the end", "the last", "nothing"])
def test_every_page_is_the_one_the_store_gives(
    served: Served, stored_pages: list[CandlePage], remembered_from: int
) -> None:
    if remembered_from > 1:
        served.commit(1, remembered_from - 1, remember=False)
    if remembered_from <= 100:
        served.commit(remembered_from, 101 - remembered_from)

    for _ in range(2):  # before and after what is older has been read
        for question, stored in zip(QUESTIONS, stored_pages, strict=True):
            served.compare(stored, *question)


def test_pages_near_the_end_need_one_query_only(served: Served) -> None:
    served.commit(1, 100, remember=False)
    for start in range(101, 121):
        served.commit(start, 1)

    for after in range(80, 120):
        assert len(served.pages.page(EURUSD, after).candles) == 120 - after

    assert (served.pages.misses, served.pages.hits) == (1, 40)


def test_what_was_read_before_a_revision_is_read_again(served: Served) -> None:
    served.commit(1, 100, remember=False)
    served.check(60)

    served.revise(70, candle(70, 1.99))

    served.check(60)
    assert served.pages.page(EURUSD, 69).candles["close"][0] == 1.99


def test_pruned_candles_are_not_served_from_memory(served: Served) -> None:
    served.commit(1, 100)

    served.store.prune(91 * MINUTE)

    served.check(None)
    served.check(5, None, 3)


def test_older_rows_of_few_streams_are_held_at_a_time(tmp_path: Path) -> None:
    keys = [StreamKey("SIM", f"S{n}", "1m") for n in range(5)]
    with Store.open(tmp_path / "store.duckdb") as store:
        store.commit([batch(1, 20, key) for key in keys])
        pages = CachedReader(RecentCandles(), store.reader(), depth=20, budget_rows=60)
        for key in keys:
            pages.page(key)
        misses = pages.misses
        pages.page(keys[-1])
        assert pages.misses == misses
        pages.page(keys[0])
        assert pages.misses == misses + 1


def test_the_newest_rows_of_all_streams_are_held_when_that_is_what_is_asked_for(tmp_path: Path) -> None:
    keys = [StreamKey("SIM", f"S{n}", "1m") for n in range(5)]
    with Store.open(tmp_path / "store.duckdb") as store:
        store.commit([batch(1, 200, key) for key in keys])
        pages = CachedReader(RecentCandles(), store.reader(), depth=200, budget_rows=5 * 64)
        for key in keys * 2:
            assert minutes(pages.page(key, 190).candles) == list(range(191, 201))

        assert pages.misses == 5

        assert minutes(pages.page(keys[0], 50).candles) == list(range(51, 201))
        assert pages.misses == 6


def test_a_stream_without_candles_is_an_empty_page(served: Served) -> None:
    page = served.pages.page(GBPUSD)

    assert (len(page.candles), page.start_sequence, page.has_more) == (0, 1, False)
