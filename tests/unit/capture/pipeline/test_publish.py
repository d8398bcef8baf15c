"""Publishing: commit before publish, nothing published that is not stored, what failed is tried again in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fluxcap.bridge.server.publisher import Publisher
from fluxcap.bridge.server.server import FeedInfo, WireServer
from fluxcap.bridge.store.agreement import Agreement
from fluxcap.bridge.store.store import RecoveredCommit, Store
from fluxcap.capture.market.candles import Revision
from fluxcap.capture.market.feeds import GapReason, GapUpdate
from fluxcap.capture.market.market import MarketUpdate
from fluxcap.capture.pipeline.listeners import ChromeState, ListenerGroup, PublishedUpdate
from fluxcap.capture.pipeline.publish import RETRY_NS, UNHEARD_FORMING_NS, PublishStage
from fluxcap.schemas.errors import StoreError, StoreFull
from fluxcap.schemas.types import Candle, CandleBatch, CandleFlags, StreamKey, Tick, candles_from
from tests.support.market.failing_store import lost_store
from tests.support.patience import await_that
from tests.support.wire.samples import subscribed

MINUTE_MS = 60_000
FIRST_MS = 28_000_000 * MINUTE_MS


def key_of(symbol: str) -> StreamKey:
    return StreamKey("TEST", symbol, "1m")


def candle(minute: int, price: float = 1.5, flags: int = 0) -> Candle:
    return Candle(FIRST_MS + minute * MINUTE_MS, price, price, price, price, 3.0, 3, flags)


class Market:
    """Decides what it is told to."""

    def __init__(self) -> None:
        self.outcome = MarketUpdate()
        self.focused: tuple[str, ...] = ("EURUSD_otc",)

    def seal(self, symbol: str, *candles: Candle) -> None:
        self.outcome.sealed.setdefault(symbol, []).extend(candles)

    def revise(self, symbol: str, *revisions: Revision) -> None:
        self.outcome.revised.setdefault(symbol, []).extend(revisions)

    def forming(self) -> dict[str, Candle]:
        return {"EURUSD_otc": candle(9)}

    def focused_symbols(self) -> tuple[str, ...]:
        return self.focused

    def ticks(self, symbol: str, start_ms: int) -> list[tuple[int, float]]:
        return [(start_ms, 1.5)]

    def tell_rows(self, symbol: str, *rows: Candle) -> None:
        self.outcome.rows.setdefault(symbol, []).extend(rows)


class JournalStore(Store):
    """A store that fails when told to, and writes down every commit that stood."""

    failure: Exception | None = None
    fails_on_revisions = False
    fails_to_compare = False
    journal: list[str]

    def commit(self, batches: Any = (), revisions: Any = (), gaps: Any = ()) -> RecoveredCommit | None:
        if self.failure is not None and (not self.fails_on_revisions or revisions):
            raise self.failure
        recovered = super().commit(batches, revisions, gaps)
        if recovered is None and (batches or revisions or gaps):
            self.journal.append("commit")
        return recovered

    def record_agreement(self, key: StreamKey, compared: Any) -> None:
        if self.failure is not None and self.fails_to_compare:
            raise self.failure
        super().record_agreement(key, compared)


class JournalPublisher(Publisher):
    journal: list[str] = []  # noqa: RUF012  the server makes the publisher, so the test sets this on the class

    def heard(self, keys: Iterable[StreamKey], kind: str) -> list[StreamKey]:
        return list(keys)  # nobody listens here, and what would be told is asked for

    def batch(self, batch: CandleBatch) -> None:
        self.journal.append("publish")
        super().batch(batch)


class Ear:
    """A listener that remembers, and fails when told to."""

    def __init__(self, journal: list[str]) -> None:
        self.journal = journal
        self.updates: list[PublishedUpdate] = []
        self.formed: list[StreamKey] = []
        self.hears_forming = True
        self.deaf = False

    def published(self, update: PublishedUpdate) -> None:
        if self.deaf:
            raise OSError("no room in the listener")
        self.journal.append("tell")
        self.updates.append(update)

    def forming(self, key: StreamKey, candle: Candle) -> None:
        self.formed.append(key)

    def chrome_changed(self, state: ChromeState, reason: str) -> None: ...


class Bench:
    def __init__(self, folder: Path, *, store_path: str = "s.duckdb") -> None:
        self.journal: list[str] = []
        self.now_ns = 0
        self.market = Market()
        opened = JournalStore.open(folder / store_path)
        assert isinstance(opened, JournalStore)
        self.store = opened
        self.store.journal = self.journal
        JournalPublisher.journal = self.journal
        self.server = WireServer(self.store, "tcp://127.0.0.1:0", "tcp://127.0.0.1:0", publisher=JournalPublisher)
        self.ears = [Ear(self.journal), Ear([])]
        self.publishing = PublishStage(self.market, self.server, key_of, ListenerGroup(self.ears), lambda: self.now_ns)

    def flush(self) -> None:
        self.publishing.flush(self.market.outcome)

    def close(self) -> None:
        self.server.close()
        self.store.close()

    def stored(self, symbol: str) -> list[Candle]:
        return list(candles_from(self.store.reader().page(key_of(symbol), 0, None, 1_000).candles))

    def batches(self) -> list[CandleBatch]:
        return [batch for update in self.ears[0].updates for batch in update.batches]

    def told(self, symbol: str = "") -> list[Candle]:
        """Of one symbol, or of all."""
        return [c for batch in self.batches() if symbol in batch.key.symbol for c in candles_from(batch.candles)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


# --- agreement with the platform's own rows ---


def test_a_row_that_comes_before_its_candle_is_sealed_is_compared_then(bench: Bench):
    bench.market.seal("EURUSD_otc", candle(0))
    bench.flush()

    bench.market.tell_rows("EURUSD_otc", candle(0), candle(1), candle(2, 1.7))
    bench.flush()
    assert bench.store.agreement.streams == {key_of("EURUSD_otc"): Agreement(1, 1)}
    bench.market.seal("EURUSD_otc", candle(1), candle(2))
    bench.flush()

    assert bench.store.agreement.streams == {key_of("EURUSD_otc"): Agreement(3, 2)}
    (one,) = bench.store.agreement.differing
    assert (one.ours.ts_ms, one.kept_ticks) == (candle(2).ts_ms, 1)


def test_a_candle_that_differs_is_an_event(bench: Bench, logged: list[str]):
    bench.market.seal("EURUSD_otc", candle(0), candle(1))
    bench.market.tell_rows("EURUSD_otc", candle(0, 1.7), candle(1, 1.7))

    bench.flush()

    assert logged == ["agreement.candle_differs"]
    assert bench.told() == [candle(0), candle(1)]


def test_rows_that_could_not_be_compared_for_a_full_disk_are_compared_with_the_next_candle(bench: Bench):
    bench.market.seal("EURUSD_otc", candle(0))
    bench.flush()
    bench.store.failure = StoreFull("no room")
    bench.store.fails_to_compare = True
    bench.market.tell_rows("EURUSD_otc", candle(0))
    bench.flush()
    assert bench.store.agreement.streams == {}

    bench.store.failure = None
    bench.now_ns += RETRY_NS
    bench.market.seal("EURUSD_otc", candle(1))
    bench.flush()

    assert bench.store.agreement.streams == {key_of("EURUSD_otc"): Agreement(1, 1)}


def test_rows_of_an_asset_without_a_stream_are_not_kept(bench: Bench):
    bench.market.tell_rows("GBPUSD_otc", candle(0), candle(1))
    bench.flush()

    bench.market.seal("GBPUSD_otc", candle(1))
    bench.flush()

    assert bench.store.agreement.streams == {}


def test_a_candle_is_committed_then_published_then_told(bench: Bench):
    bench.market.seal("EURUSD_otc", candle(0))

    bench.flush()

    assert bench.journal == ["commit", "publish", "tell"]
    assert bench.told() == [candle(0)]
    assert bench.publishing.commits == 1


def test_all_streams_of_one_instant_share_one_commit(bench: Bench):
    bench.market.seal("EURUSD_otc", candle(0))
    bench.market.seal("GBPUSD_otc", candle(0))

    bench.flush()

    assert bench.journal == ["commit", "publish", "publish", "tell"]


@pytest.mark.parametrize("failure", [StoreFull("no space"), StoreError("the file was given up")])
def test_what_the_store_does_not_take_is_not_published_and_is_tried_again_in_order(bench: Bench, failure: Exception):
    bench.store.failure = failure
    bench.market.seal("EURUSD_otc", candle(0))
    bench.flush()
    assert bench.journal == []
    assert bench.publishing.store_error == str(failure)

    bench.market.seal("EURUSD_otc", candle(1))
    bench.store.failure = None
    bench.flush()
    assert bench.journal == [], "not before the retry is due"

    bench.now_ns += RETRY_NS
    bench.flush()

    assert bench.stored("EURUSD_otc") == [candle(0), candle(1)] == bench.told()
    assert bench.publishing.store_error == ""


@pytest.mark.parametrize("durable", [True, False])
def test_a_commit_that_fails_with_the_store_is_told_once_whether_it_was_durable_or_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, durable: bool
):
    bench.market.seal("EURUSD_otc", candle(0))
    bench.flush()
    bench.market.seal("EURUSD_otc", candle(2))
    bench.market.seal("GBPUSD_otc", candle(2))
    with lost_store(monkeypatch, durable=durable):
        bench.flush()
    lost = bench.publishing.store_error

    bench.market.seal("EURUSD_otc", candle(3))
    bench.now_ns += RETRY_NS
    bench.flush()
    bench.market.seal("EURUSD_otc", candle(4))
    bench.flush()

    assert (lost != "", bench.publishing.store_error, bench.publishing.dropped) == (True, "", 0)
    assert bench.stored("EURUSD_otc") == [candle(0), candle(2), candle(3), candle(4)]
    for symbol in ("EURUSD_otc", "GBPUSD_otc"):
        assert bench.told(symbol) == bench.stored(symbol)
    assert bench.journal.count("publish") == len(bench.batches())
    assert bench.server.watermark(key_of("EURUSD_otc")) == bench.store.watermarks()[key_of("EURUSD_otc")]


def test_what_is_completed_while_a_commit_is_in_doubt_becomes_a_revision(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    bench.market.seal("EURUSD_otc", candle(0))
    bench.flush()
    bench.market.seal("EURUSD_otc", candle(2))
    with lost_store(monkeypatch):
        bench.flush()

    bench.market.revise("EURUSD_otc", Revision(candle(1), published=False))
    bench.now_ns += RETRY_NS
    bench.flush()

    assert bench.publishing.dropped == 0
    assert [c for update in bench.ears[0].updates for r in update.revisions for c in candles_from(r.candles)] == [
        candle(1)
    ]
    assert bench.told() == [candle(0), candle(2)]


def test_a_revision_that_fails_with_the_store_holds_up_no_later_one(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    bench.market.seal("EURUSD_otc", candle(0), candle(1))
    bench.flush()
    bench.market.revise("EURUSD_otc", Revision(candle(0, 1.6), published=True))
    with lost_store(monkeypatch):
        bench.flush()
    bench.now_ns += RETRY_NS
    bench.flush()

    bench.market.revise("EURUSD_otc", Revision(candle(1, 1.7), published=True))
    bench.flush()

    served = bench.server.pages().page(key_of("EURUSD_otc"), 0, None, 10).candles
    assert bench.publishing.dropped == 0
    assert [c.close for c in bench.stored("EURUSD_otc")] == [1.6, 1.7] == served["close"].tolist()
    assert bench.server.watermark(key_of("EURUSD_otc")).latest_revision == 2


def test_store_trouble_is_reported_once_and_its_end_once(bench: Bench, logged: list[str]):
    bench.store.failure = StoreFull("no space")
    bench.market.seal("EURUSD_otc", candle(0))
    for _ in range(3):
        bench.flush()
        bench.now_ns += RETRY_NS
    bench.store.failure = None
    bench.flush()
    bench.flush()

    assert logged == ["store.write_failed", "store.write_recovered"]


def test_what_stood_before_a_failure_is_told_and_not_done_twice(bench: Bench):
    bench.store.failure, bench.store.fails_on_revisions = StoreFull("no space"), True
    bench.market.seal("EURUSD_otc", candle(0), candle(1))
    bench.market.revise("EURUSD_otc", Revision(candle(0, 1.25), published=True))

    bench.flush()
    assert bench.told() == [candle(0), candle(1)]
    bench.store.failure = None
    bench.now_ns += RETRY_NS
    bench.flush()

    assert bench.told() == [candle(0), candle(1)]
    revised = [
        c for update in bench.ears[0].updates for revision in update.revisions for c in candles_from(revision.candles)
    ]
    assert revised == [candle(0, 1.25, CandleFlags.REVISED)]
    assert bench.stored("EURUSD_otc") == [candle(0, 1.25, CandleFlags.REVISED), candle(1)]


def test_a_bucket_completed_before_anything_newer_is_the_next_candle_and_is_told_as_such(bench: Bench):
    bench.market.seal("EURUSD_otc", candle(0))
    bench.flush()
    late = candle(1, flags=CandleFlags.FILLED)
    bench.market.revise("EURUSD_otc", Revision(late, published=False))

    bench.flush()

    assert bench.told() == [candle(0), late]
    assert bench.server.watermark(key_of("EURUSD_otc")).latest_sequence == 2
    assert all(not update.revisions for update in bench.ears[0].updates)


def test_a_bucket_completed_together_with_newer_ones_goes_before_them(bench: Bench):
    bench.market.seal("EURUSD_otc", candle(0))
    bench.flush()
    completed = candle(1, flags=CandleFlags.FILLED)
    bench.market.seal("EURUSD_otc", candle(2), candle(3))
    bench.market.revise("EURUSD_otc", Revision(completed, published=False))

    bench.flush()

    assert bench.stored("EURUSD_otc") == [candle(0), completed, candle(2), candle(3)]
    assert bench.server.watermark(key_of("EURUSD_otc")).latest_revision == 0


def test_a_bucket_completed_after_newer_ones_is_a_revision(bench: Bench):
    bench.market.seal("EURUSD_otc", candle(1))
    bench.flush()
    bench.market.revise("EURUSD_otc", Revision(candle(0), published=False))

    bench.flush()

    mark = bench.server.watermark(key_of("EURUSD_otc"))
    assert (mark.latest_sequence, mark.latest_revision) == (1, 1)


def test_candles_that_cannot_follow_harm_no_other_stream(bench: Bench):
    bench.market.seal("EURUSD_otc", candle(5))
    bench.flush()
    bench.market.seal("EURUSD_otc", candle(4))
    bench.market.seal("GBPUSD_otc", candle(4))

    bench.flush()

    assert bench.stored("EURUSD_otc") == [candle(5)]
    assert bench.stored("GBPUSD_otc") == [candle(4)]
    assert bench.publishing.dropped == 1
    assert bench.publishing.store_error == ""


def test_gaps_are_stored_and_told(bench: Bench):
    bench.market.outcome.gaps.append(GapUpdate("EURUSD_otc", FIRST_MS, 0, GapReason.CHROME_GONE))
    bench.flush()
    bench.market.outcome.gaps.append(GapUpdate("EURUSD_otc", FIRST_MS, FIRST_MS + 700, GapReason.CHROME_GONE))
    bench.flush()

    stored = bench.store.reader().gaps("TEST", "EURUSD_otc", 0, FIRST_MS * 2)
    assert [(gap.from_ms, gap.to_ms, gap.reason) for gap in stored] == [(FIRST_MS, FIRST_MS + 700, "chrome gone")]
    assert [len(update.gaps) for update in bench.ears[0].updates] == [1, 1]


def test_the_gap_of_an_asset_that_leaves_is_committed_with_its_last_candle(bench: Bench):
    bench.market.seal("EURUSD_otc", candle(0))
    bench.market.outcome.gaps.append(GapUpdate("EURUSD_otc", FIRST_MS + MINUTE_MS, 0, GapReason.NOT_IN_FOCUS))

    bench.flush()

    assert bench.journal == ["commit", "publish", "tell"]
    assert [(gap.from_ms, gap.to_ms, gap.reason) for gap in bench.store.reader().gaps("TEST")] == [
        (FIRST_MS + MINUTE_MS, 0, "not in focus")
    ]
    assert bench.ears[0].updates[0].gaps == tuple(bench.store.reader().gaps("TEST"))


def test_the_last_candle_of_an_asset_that_leaves_is_not_stored_without_its_gap(bench: Bench):
    bench.store.failure = StoreFull("no room")
    bench.market.seal("EURUSD_otc", candle(0))
    bench.market.outcome.gaps.append(GapUpdate("EURUSD_otc", FIRST_MS + MINUTE_MS, 0, GapReason.NOT_IN_FOCUS))
    bench.flush()
    assert (bench.stored("EURUSD_otc"), bench.store.reader().gaps("TEST")) == ([], [])

    bench.store.failure, bench.now_ns = None, RETRY_NS
    bench.flush()

    assert bench.stored("EURUSD_otc") == [candle(0)]
    assert len(bench.store.reader().gaps("TEST")) == 1
    assert bench.market.outcome.gaps == []


def test_gaps_that_could_not_be_stored_are_tried_again(bench: Bench):
    bench.store.failure = StoreFull("no space")
    bench.market.outcome.gaps.append(GapUpdate("EURUSD_otc", FIRST_MS, 0, GapReason.CHROME_GONE))
    bench.flush()
    bench.store.failure = None
    bench.now_ns += RETRY_NS

    bench.flush()

    assert [len(update.gaps) for update in bench.ears[0].updates] == [1]


def test_ticks_are_told_even_while_the_store_takes_nothing(bench: Bench):
    bench.store.failure = StoreFull("no space")
    bench.market.seal("EURUSD_otc", candle(0))
    bench.market.outcome.ticks.append(Tick("EURUSD_otc", FIRST_MS, FIRST_MS, 1.5))

    bench.flush()

    assert [update.ticks for update in bench.ears[0].updates] == [(Tick("EURUSD_otc", FIRST_MS, FIRST_MS, 1.5),)]
    assert not bench.ears[0].updates[0].batches


def test_a_listener_that_fails_costs_no_candle_and_no_other_listener(bench: Bench):
    bench.ears[0].deaf = True
    bench.market.seal("EURUSD_otc", candle(0))
    bench.flush()
    bench.ears[0].deaf = False
    bench.market.seal("EURUSD_otc", candle(1))
    bench.flush()

    assert bench.stored("EURUSD_otc") == [candle(0), candle(1)]
    assert len(bench.ears[1].updates) == 2
    assert bench.told() == [candle(1)]


def test_nothing_decided_touches_nothing(bench: Bench):
    bench.flush()

    assert bench.journal == []
    assert bench.ears[0].updates == []


def test_a_focused_asset_has_a_stream_before_its_first_candle(bench: Bench):
    bench.publishing.heartbeat(FIRST_MS, lambda key: FeedInfo(4, FIRST_MS, 7_200_000))

    status = bench.server.status()[key_of("EURUSD_otc")]
    assert (status.latest_sequence, status.feed_state, status.platform_offset_ms) == (0, 4, 7_200_000)


@pytest.mark.costly
def test_a_name_as_typed_is_no_stream_any_more_once_its_spelling_is_known(bench: Bench):
    bench.market.focused = ("EURUSD_OTC",)
    bench.publishing.heartbeat(FIRST_MS, lambda key: FeedInfo())
    bench.market.focused = ("EURUSD_otc",)

    bench.publishing.heartbeat(FIRST_MS, lambda key: FeedInfo())

    assert list(bench.server.status()) == [key_of("EURUSD_otc")]


def test_a_stream_with_candles_stays_when_it_leaves_the_focus(bench: Bench):
    bench.market.seal("EURUSD_otc", candle(0))
    bench.flush()
    bench.publishing.heartbeat(FIRST_MS, lambda key: FeedInfo())
    bench.market.focused = ()

    bench.publishing.heartbeat(FIRST_MS, lambda key: FeedInfo())

    assert bench.server.status()[key_of("EURUSD_otc")].latest_sequence == 1


@pytest.mark.parametrize(("wants", "times"), [(True, 5), (False, 1)])
def test_the_candle_under_way_is_looked_at_once_a_second_unless_somebody_wants_it_oftener(
    bench: Bench, wants: bool, times: int
):
    for ear in bench.ears:
        ear.hears_forming = wants

    for fifth in range(5):
        bench.publishing.forming(fifth * UNHEARD_FORMING_NS // 5)

    assert len(bench.ears[0].formed) == times


def test_the_candle_under_way_goes_out_as_soon_as_somebody_subscribes(bench: Bench):
    for ear in bench.ears:
        ear.hears_forming = False
    bench.publishing.forming(0)
    topic = key_of("EURUSD_otc").topic("forming")

    with subscribed(bench.server.pub_endpoint, [topic]) as heard:
        await_that(lambda: bench.server.is_forming_heard, "the subscription")
        bench.publishing.forming(1)

        assert heard.recv_multipart()[0] == topic


def test_the_candle_under_way_goes_to_listeners(bench: Bench):
    bench.publishing.forming(1)

    assert bench.ears[0].formed == [key_of("EURUSD_otc")]
