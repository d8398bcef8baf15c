"""The rule for a candle. One asset, interval one minute unless said; minute 0 begins at ``M0``."""

from __future__ import annotations

import pytest

from fluxcap.capture.market.candles import (
    NEVER_MS,
    REMEMBERED_MAX,
    SKIPPED_MAX,
    CandleBuilder,
    CandleTimeouts,
    Revision,
    bucket_start,
)
from fluxcap.capture.market.coverage import FeedCoverage, TimeRanges
from fluxcap.capture.market.feeds import FeedTracker, GapReason
from fluxcap.capture.market.tape import TickTape
from fluxcap.schemas.types import Candle, CandleFlags

A, B = "EURUSD_otc", "GBPUSD_otc"
M0 = 1_760_000_040_000
MINUTE = 60_000


class Bench:
    """A builder with the feeds it stands on."""

    def __init__(self, interval_ms: int = MINUTE, published_ts_ms: int = 0) -> None:
        self.feeds = FeedTracker()
        self.feed = self.feeds.feed(A)
        self.builder = CandleBuilder(
            self.feed.tape, self.feed.server_candles(interval_ms), CandleTimeouts(interval_ms), published_ts_ms
        )

    def tick(self, at_ms: int, price: float = 1.0, symbol: str = A, socket: str = "s") -> None:
        self.feeds.tick(socket, symbol, M0 + at_ms, price, M0 + at_ms)

    def ticks(self, from_ms: int, to_ms: int, price: float = 1.0, symbol: str = A, socket: str = "s") -> None:
        for at_ms in range(from_ms, to_ms, 1_000):
            self.tick(at_ms, price, symbol, socket)
            self.feeds.expire(M0 + at_ms)

    def sealed(self, at_ms: int) -> list[Candle]:
        return self.builder.sealed(M0 + at_ms, self.feeds.coverage(self.feed))

    def revisions(self) -> list[Revision]:
        return self.builder.revisions(self.feeds.coverage(self.feed))

    def forming(self) -> Candle | None:
        return self.builder.forming(self.feeds.coverage(self.feed))

    def idle_until_ms(self, now_ms: int) -> int:
        return self.builder.idle_until_ms(now_ms, self.feeds.coverage(self.feed))

    def history(self, from_ms: int, to_ms: int, price: float = 1.0, socket: str = "h") -> None:
        self.told([(at_ms, price) for at_ms in range(from_ms, to_ms, 1_000)], socket)

    def minute(self, revision: Revision) -> int:
        return (revision.candle.ts_ms - M0) // MINUTE

    def told(self, ticks: list[tuple[int, float]], socket: str = "h") -> None:
        """History, as the market takes it in."""
        times = [M0 + at_ms for at_ms, _ in ticks]
        added = self.feeds.add_history(socket, A, [(M0 + at_ms, price) for at_ms, price in ticks])
        self.builder.apply_history(times, added)


def row(minute: int, price: float = 7.0) -> Candle:
    return Candle(M0 + minute * MINUTE, price, price, price, price)


def starts(candles: list[Candle]) -> list[int]:
    return [(candle.ts_ms - M0) // MINUTE for candle in candles]


def test_a_bucket_begins_at_a_whole_interval_of_utc() -> None:
    assert bucket_start(M0 + 59_999, MINUTE) == M0
    assert bucket_start(M0 + 60_000, MINUTE) == M0 + MINUTE


def test_a_candle_is_stamped_with_its_buckets_start_not_with_its_first_tick() -> None:
    bench = Bench()
    bench.ticks(0, 61_000)

    assert bench.sealed(61_000)[0].ts_ms == M0


def test_the_first_tick_of_the_next_minute_never_touches_the_sealed_candle() -> None:
    bench = Bench()
    bench.ticks(0, 60_000, price=1.0)
    bench.tick(60_000, price=9.0)

    assert bench.sealed(60_000) == [Candle(M0, 1.0, 1.0, 1.0, 1.0, 60.0, 60)]


def test_the_open_is_the_first_tick_not_the_previous_close() -> None:
    bench = Bench()
    bench.ticks(0, 60_000, price=1.0)
    bench.ticks(60_000, 120_000, price=2.0)
    bench.tick(120_000)

    assert [candle.open for candle in bench.sealed(120_000)] == [1.0, 2.0]


def test_open_and_close_are_not_swapped() -> None:
    bench = Bench()
    bench.tick(0, 1.0)
    bench.tick(1_000, 4.0)
    bench.ticks(2_000, 60_000, 2.0)
    bench.tick(59_500, 3.0)
    bench.tick(60_000)

    (candle,) = bench.sealed(60_000)
    assert (candle.open, candle.high, candle.low, candle.close) == (1.0, 4.0, 1.0, 3.0)


def test_a_tick_of_a_later_bucket_seals_at_once() -> None:
    bench = Bench()
    bench.ticks(0, 60_000)
    assert bench.sealed(60_500) == []
    assert not bench.builder.closes_bucket(M0 + 59_999)
    assert bench.builder.closes_bucket(M0 + 60_000)

    bench.tick(60_600)
    assert starts(bench.sealed(60_600)) == [0]


def test_without_a_later_tick_the_bucket_seals_after_the_grace() -> None:
    bench = Bench()
    bench.ticks(0, 60_000)
    bench.ticks(60_000, 63_000, symbol=B)

    assert bench.sealed(61_999) == []
    assert starts(bench.sealed(62_000)) == [0]


def test_a_feed_that_is_not_proven_is_waited_for_until_the_doubt_is_over() -> None:
    bench = Bench()
    bench.ticks(0, 58_000)

    assert bench.sealed(69_999) == []
    (candle,) = bench.sealed(70_000)
    assert candle.flags == CandleFlags.BLIND


@pytest.mark.parametrize("at_ms", [0, 40_000, 59_999])
def test_a_minute_with_one_trade_goes_out_blind_and_is_whole_once_the_next_tick_proves_it(at_ms: int) -> None:
    bench = Bench()
    for before_ms in range(-1_200_000, 0, 60_000):
        bench.tick(before_ms)
    bench.tick(at_ms, 3.0)

    (blind,) = bench.sealed(70_000)[-1:]
    bench.tick(130_000, 4.0)
    (whole,) = bench.revisions()

    assert blind == Candle(M0, 3.0, 3.0, 3.0, 3.0, 1.0, 1, int(CandleFlags.BLIND))
    assert whole == Revision(Candle(M0, 3.0, 3.0, 3.0, 3.0, 1.0, 1, int(CandleFlags.REVISED)), published=True)


def test_a_bucket_covered_to_its_end_needs_no_doubt_though_its_socket_is_gone() -> None:
    bench = Bench()
    bench.ticks(0, 60_000)
    bench.ticks(60_000, 61_000, symbol=B)
    bench.feeds.on_socket_closed("s", GapReason.TAB_CLOSED)

    (candle,) = bench.sealed(62_000)
    assert candle.flags == CandleFlags.NONE


def test_while_this_process_stood_still_nothing_is_sealed_out_of_doubt() -> None:
    bench = Bench()
    bench.ticks(0, 58_000)
    bench.feeds.grace_until_ms = M0 + 100_000

    assert bench.sealed(99_999) == []
    assert starts(bench.sealed(100_000)) == [0]


def test_each_bucket_is_sealed_once_and_time_stamps_increase() -> None:
    bench = Bench()
    bench.ticks(0, 200_000)

    assert starts(bench.sealed(200_000)) == [0, 1, 2]
    assert bench.sealed(200_000) == []


def test_a_minute_without_ticks_is_no_candle() -> None:
    bench = Bench()
    bench.ticks(0, 30_000)
    bench.ticks(30_000, 190_000, symbol=B)
    bench.tick(190_000)

    assert starts(bench.sealed(200_000)) == [0]
    assert bench.builder.dropped_incomplete == 0


def test_sub_second_ticks_count_each() -> None:
    bench = Bench()
    for at_ms in range(0, 60_000, 50):
        bench.tick(at_ms, 1.0 + at_ms / 1e6)
    bench.tick(60_000)

    assert bench.sealed(60_000)[0].tick_count == 1_200


@pytest.mark.parametrize(("interval_ms", "count"), [(1_000, 3_600), (5_000, 720), (300_000, 12), (3_600_000, 1)])
def test_candles_of_any_interval_are_of_that_interval(interval_ms: int, count: int) -> None:
    bench = Bench(interval_ms)
    begin = bucket_start(M0, 3_600_000) - M0 + 3_600_000
    candles = []
    for at_ms in range(begin, begin + 3_600_001, 600_000):
        bench.ticks(at_ms, min(at_ms + 600_000, begin + 3_600_001))
        candles += bench.sealed(min(at_ms + 600_000, begin + 3_600_000))

    assert [candle.ts_ms for candle in candles] == [M0 + begin + at * interval_ms for at in range(count)]
    assert {candle.tick_count for candle in candles} == {interval_ms // 1_000}


# --- how it came about ---


def test_a_first_bucket_joined_late_is_not_published() -> None:
    bench = Bench()
    bench.ticks(20_000, 121_000)

    assert starts(bench.sealed(121_000)) == [1]
    assert bench.builder.dropped_incomplete == 1


def test_a_first_tick_exactly_at_the_start_misses_nothing() -> None:
    bench = Bench()
    bench.ticks(0, 61_000)

    assert bench.sealed(61_000)[0].flags == CandleFlags.NONE


def test_history_completes_the_bucket_joined_late() -> None:
    bench = Bench()
    bench.history(-60_000, 20_000, price=5.0, socket="s")
    bench.ticks(20_000, 61_000)

    candles = bench.sealed(61_000)

    assert starts(candles) == [-1, 0]
    assert candles[1].flags == CandleFlags.JOINED_LATE | CandleFlags.FILLED
    assert (candles[1].open, candles[1].close, candles[1].tick_count) == (5.0, 1.0, 60)


def test_a_bucket_wholly_from_history_is_filled() -> None:
    bench = Bench()
    bench.history(-60_000, 20_000, socket="s")
    bench.ticks(20_000, 21_000)

    (candle,) = bench.sealed(21_000)
    assert candle.flags == CandleFlags.FILLED


def test_a_break_within_a_bucket_makes_it_blind() -> None:
    bench = Bench()
    bench.ticks(0, 20_000)
    bench.feeds.on_socket_closed("s", GapReason.TAB_CLOSED)
    bench.ticks(30_000, 61_000, socket="t")
    bench.feeds.feed(A).hold_until_ms = 0

    (candle,) = bench.sealed(61_000)
    assert candle.flags == CandleFlags.BLIND
    assert candle.tick_count == 50


def test_history_fills_a_break() -> None:
    bench = Bench()
    bench.ticks(0, 20_000)
    bench.feeds.on_socket_closed("s", GapReason.RELOADED)
    bench.history(-60_000, 30_000, socket="t")
    bench.ticks(30_000, 61_000, socket="t")

    (candle,) = bench.sealed(61_000)[-1:]
    assert candle.flags == CandleFlags.BLIND | CandleFlags.FILLED
    assert candle.tick_count == 60


def test_a_bucket_whose_open_fell_into_the_break_is_not_published() -> None:
    bench = Bench()
    bench.ticks(0, 30_000)
    bench.ticks(30_000, 70_000, symbol=B)  # A is quiet, the socket talks into minute 1
    bench.feeds.on_socket_closed("s", GapReason.TAB_CLOSED)
    bench.ticks(90_000, 121_000, socket="t")
    bench.feeds.feed(A).hold_until_ms = 0

    assert starts(bench.sealed(121_000)) == [0]


def test_missing_minutes_are_filled_in_time_order_before_newer_ones() -> None:
    bench = Bench()
    bench.ticks(0, 30_000)
    bench.feeds.on_socket_closed("s", GapReason.RELOADED)
    bench.tick(200_000, socket="t")
    assert bench.sealed(200_000) == []  # waits for history

    bench.history(0, 201_000, socket="t")
    bench.ticks(201_000, 241_000, socket="t")

    candles = bench.sealed(241_000)
    assert starts(candles) == [0, 1, 2, 3]
    assert all(candle.flags & CandleFlags.FILLED and candle.tick_count == 60 for candle in candles)


def test_the_wait_for_history_is_bounded() -> None:
    bench = Bench()
    bench.ticks(0, 30_000)
    bench.feeds.on_socket_closed("s", GapReason.RELOADED)
    bench.ticks(200_000, 310_000, socket="t")

    assert bench.sealed(209_999) == []
    assert starts(bench.sealed(310_000)) == [0, 4]


def test_the_servers_row_wins_where_raw_history_is_partial() -> None:
    bench = Bench()
    bench.history(20_000, 90_000, socket="s")
    bench.feeds.add_server_candles(A, MINUTE, [row(0)])
    bench.ticks(90_000, 121_000)

    candles = bench.sealed(121_000)

    assert candles[0] == Candle(M0, 7.0, 7.0, 7.0, 7.0, 0.0, 0, int(CandleFlags.FILLED))
    assert candles[1].tick_count == 60


def test_ticks_win_over_the_servers_row_where_all_are_known() -> None:
    bench = Bench()
    bench.ticks(0, 61_000)
    bench.feeds.add_server_candles(A, MINUTE, [row(0)])

    assert bench.sealed(61_000)[0].open == 1.0


def test_rows_of_another_period_are_no_candles_of_this_one() -> None:
    bench = Bench()
    bench.feeds.add_server_candles(A, 300_000, [row(0)])
    bench.ticks(20_000, 61_000)

    assert bench.sealed(61_000) == []


def test_nothing_at_or_before_what_is_published_is_sealed_again() -> None:
    bench = Bench(published_ts_ms=M0 + MINUTE)
    bench.feeds.restore(A, [(M0 + at, 1.0) for at in range(0, 179_000, 1_000)], M0, M0 + 179_000)
    bench.ticks(180_000, 241_000)
    bench.feeds.feed(A).hold_until_ms = 0

    assert starts(bench.sealed(241_000)) == [2, 3]


# --- what comes later ---


def test_a_late_tick_becomes_a_revision() -> None:
    bench = Bench()
    bench.ticks(0, 61_000)
    bench.sealed(61_000)

    bench.tick(30_500, price=8.0)
    bench.builder.add_late_tick(M0 + 30_500)

    (revision,) = bench.revisions()
    assert revision.published
    assert (revision.candle.high, revision.candle.tick_count) == (8.0, 61)
    assert revision.candle.flags == CandleFlags.REVISED
    assert bench.builder.late_ticks == 1
    assert bench.revisions() == []


def test_what_changes_nothing_is_no_revision() -> None:
    bench = Bench()
    bench.ticks(0, 61_000)
    bench.sealed(61_000)
    bench.builder.add_late_tick(M0 + 30_000)
    bench.history(0, 60_000)

    assert bench.revisions() == []


def test_a_late_tick_in_a_minute_that_had_none_is_a_candle_the_stream_never_had() -> None:
    bench = Bench()
    bench.ticks(0, 61_000)
    bench.ticks(61_000, 180_000, symbol=B)
    bench.tick(180_000)
    bench.sealed(183_000)
    bench.tick(125_000, 3.0)
    bench.builder.add_late_tick(M0 + 125_000)

    (revision,) = bench.revisions()
    assert revision == Revision(Candle(M0 + 2 * MINUTE, 3.0, 3.0, 3.0, 3.0, 1.0, 1, 0), published=False)


def test_proof_that_comes_late_takes_the_blindness_back() -> None:
    bench = Bench()
    bench.ticks(0, 59_000)
    assert bench.sealed(70_000)[0].flags == CandleFlags.BLIND

    bench.ticks(59_000, 80_000)  # the backlog
    bench.builder.add_late_tick(M0 + 59_000)

    (revision,) = bench.revisions()
    assert revision.candle.flags == CandleFlags.REVISED
    assert revision.candle.tick_count == 60


SECONDS = [(at_ms, 1.0) for at_ms in range(0, 120_000, 1_000)]
LOST = (30_500, 8.0)


def test_a_tick_that_was_overtaken_and_lost_comes_with_the_history() -> None:
    bench = Bench()
    bench.ticks(0, 121_000)
    assert [candle.tick_count for candle in bench.sealed(121_000)] == [60, 60]

    bench.told(sorted([*SECONDS, LOST]))

    (revision,) = bench.revisions()
    assert revision == Revision(Candle(M0, 1.0, 8.0, 1.0, 1.0, 61.0, 61, CandleFlags.REVISED), published=True)
    assert bench.builder.late_ticks == 0
    assert bench.revisions() == []


def test_a_lost_tick_in_a_minute_that_had_none_makes_the_candle_the_stream_never_had() -> None:
    bench = Bench()
    bench.ticks(0, 60_000)
    bench.ticks(60_000, 121_000, symbol=B)
    bench.ticks(121_000, 181_000)
    assert starts(bench.sealed(181_000)) == [0, 2]

    bench.told([*SECONDS[:60], (75_000, 3.0)])

    assert bench.revisions() == [Revision(Candle(M0 + MINUTE, 3.0, 3.0, 3.0, 3.0, 1.0, 1, 0), published=False)]


def test_history_that_lacks_what_was_received_is_another_sampling_and_revises_nothing() -> None:
    bench = Bench()
    bench.ticks(0, 121_000)
    bench.sealed(121_000)

    bench.told(sorted([*SECONDS[:10], *SECONDS[11:], LOST]))

    assert bench.revisions() == []


def test_history_of_half_a_bucket_proves_nothing_of_it() -> None:
    bench = Bench()
    bench.ticks(0, 121_000)
    bench.sealed(121_000)

    bench.told([LOST, *SECONDS[31:]])

    assert bench.revisions() == []


def test_a_lost_tick_of_the_bucket_under_way_is_simply_there() -> None:
    bench = Bench()
    bench.ticks(0, 50_000)

    bench.told(sorted([*SECONDS[:50], LOST]))

    assert bench.revisions() == []
    bench.ticks(50_000, 61_000)
    assert [candle.tick_count for candle in bench.sealed(61_000)] == [61]


def test_a_lost_tick_at_the_very_start_of_the_next_bucket_goes_into_its_candle() -> None:
    bench = Bench()
    bench.ticks(0, 60_000)
    bench.tick(60_500)
    assert starts(bench.sealed(60_500)) == [0]
    bench.ticks(61_500, 121_000)

    bench.told([*SECONDS[:61], *((at_ms, 1.0) for at_ms in range(60_500, 121_000, 1_000))])

    assert bench.revisions() == []
    assert [candle.tick_count for candle in bench.sealed(121_000)] == [61]


def test_history_that_begins_within_a_blind_minute_does_not_revise_it() -> None:
    bench = Bench()
    bench.ticks(0, 30_000)
    bench.feeds.on_socket_closed("s", GapReason.RELOADED)
    bench.ticks(200_000, 250_000, socket="t")
    bench.sealed(250_000)

    bench.told([*SECONDS[:30], (40_000, 1.0)], socket="t")

    assert bench.revisions() == []


def test_a_bucket_completed_by_history_needs_no_further_proof() -> None:
    bench = Bench()
    bench.ticks(0, 58_000)
    bench.history(0, 62_000)
    assert [candle.flags for candle in bench.sealed(62_000)] == [CandleFlags.BLIND | CandleFlags.FILLED]

    assert bench.revisions() == []
    assert bench.idle_until_ms(M0 + 62_000) > 0


def test_a_hole_that_its_socket_has_passed_needs_no_further_proof() -> None:
    bench = Bench()
    bench.ticks(0, 50_000)
    assert bench.sealed(70_000)[0].flags == CandleFlags.BLIND
    assert bench.idle_until_ms(M0 + 70_000) == 0

    bench.tick(60_000)

    assert bench.revisions() == []
    assert bench.idle_until_ms(M0 + 70_000) > 0


def test_a_backlog_completes_a_bucket_though_another_tab_says_nothing() -> None:
    bench = Bench()
    bench.ticks(0, 30_000, socket="t")
    bench.ticks(0, 59_000)
    assert bench.sealed(70_000)[0].flags == CandleFlags.BLIND

    bench.ticks(59_000, 61_000)
    bench.builder.add_late_tick(M0 + 59_000)

    (revision,) = bench.revisions()
    assert revision.candle.flags == CandleFlags.REVISED


def test_history_after_the_wait_revises_blind_minutes_and_brings_those_the_stream_never_had() -> None:
    bench = Bench()
    bench.ticks(0, 30_000)
    bench.feeds.on_socket_closed("s", GapReason.RELOADED)
    bench.ticks(200_000, 250_000, socket="t")
    assert starts(bench.sealed(250_000)) == [0]

    bench.history(0, 250_000, socket="t")
    revisions = bench.revisions()

    assert [((r.candle.ts_ms - M0) // MINUTE, r.published) for r in revisions] == [
        (0, True),
        (1, False),
        (2, False),
        (3, False),
    ]
    assert all(r.candle.tick_count == 60 for r in revisions)


def test_a_revision_of_a_minute_never_published_makes_it_published() -> None:
    bench = Bench()
    bench.ticks(20_000, 61_000)
    bench.sealed(61_000)
    bench.history(0, 21_000)
    assert [r.published for r in bench.revisions()] == [False]

    bench.tick(5_500)
    bench.builder.add_late_tick(M0 + 5_500)

    assert [r.published for r in bench.revisions()] == [True]


def test_candles_of_an_earlier_run_are_not_revised() -> None:
    bench = Bench(published_ts_ms=M0)
    bench.ticks(60_000, 121_000)
    bench.sealed(121_000)

    bench.tick(30_000)
    bench.builder.add_late_tick(M0 + 30_000)
    bench.history(0, 60_000)

    assert bench.revisions() == []


def test_what_the_tape_does_not_hold_any_more_is_not_revised() -> None:
    bench = Bench()
    bench.ticks(0, 61_000)
    bench.sealed(61_000)
    bench.ticks(61_000, 5_000_000)
    bench.sealed(5_000_000)
    bench.tick(30_500)
    bench.builder.add_late_tick(M0 + 30_500)

    assert bench.revisions() == []


def test_what_may_still_be_revised_is_bounded() -> None:
    bench = Bench(1_000)
    for at_ms in range(0, 12_000_000, 4_000):
        bench.tick(at_ms)  # each in a jump of its own
        bench.feeds.on_socket_closed("s", GapReason.SOCKET_CLOSED)
        bench.feeds.feed(A).hold_until_ms = 0
        bench.sealed(at_ms + 3_900)

    assert len(bench.builder._incomplete) == REMEMBERED_MAX


def test_what_was_published_is_remembered_within_bounds() -> None:
    bench = Bench(1_000)
    bench.ticks(0, (REMEMBERED_MAX + 100) * 1_000)
    bench.sealed((REMEMBERED_MAX + 100) * 1_000)

    assert len(bench.builder._published) == REMEMBERED_MAX


# --- the candle under way ---


def test_the_candle_under_way_is_told_as_far_as_it_has_come() -> None:
    bench = Bench()
    bench.ticks(0, 90_000)
    bench.sealed(90_000)

    forming = bench.forming()

    assert forming == Candle(M0 + MINUTE, 1.0, 1.0, 1.0, 1.0, 30.0, 30, 0)


def test_the_candle_under_way_says_that_it_was_joined_late() -> None:
    bench = Bench()
    bench.ticks(20_000, 30_000)

    forming = bench.forming()

    assert forming is not None
    assert forming.flags == CandleFlags.JOINED_LATE


def test_nothing_is_under_way_before_the_first_tick_and_after_sealing() -> None:
    bench = Bench()
    assert bench.forming() is None

    bench.ticks(0, 60_000)
    bench.ticks(60_000, 63_000, symbol=B)
    bench.sealed(63_000)
    assert bench.forming() is None


# --- at the edges ---


def test_a_builder_that_was_told_nothing_knows_nothing_and_waits_for_nothing() -> None:
    builder, nothing = CandleBuilder(TickTape(), {}, CandleTimeouts(MINUTE)), FeedCoverage(TimeRanges(), TimeRanges())

    assert builder.next_ms == 0
    assert builder.idle_until_ms(M0, nothing) == NEVER_MS
    assert builder.closes_bucket(0)
    assert builder.sealed(M0, nothing) == []
    assert builder.closes_bucket(0)
    assert builder.idle_until_ms(M0, nothing) == NEVER_MS
    assert builder.revisions(nothing) == []


def test_the_wait_for_history_ends_to_the_millisecond() -> None:
    bench = Bench(1_000)
    bench.ticks(0, 20_000)

    assert bench.sealed(9_999) == []
    assert bench.idle_until_ms(M0 + 9_999) == M0 + 10_000
    assert starts_s(bench.sealed(10_000)) == list(range(19))
    assert bench.idle_until_ms(M0 + 10_000) == M0 + 20_000


def starts_s(candles: list[Candle]) -> list[int]:
    return [(candle.ts_ms - M0) // 1_000 for candle in candles]


def test_a_row_of_the_servers_alone_is_a_candle_also_at_the_very_next_bucket() -> None:
    bench = Bench()
    bench.ticks(0, 60_000)
    bench.ticks(60_000, 63_000, symbol=B)
    assert starts(bench.sealed(63_000)) == [0]
    bench.feeds.on_socket_closed("s", GapReason.RELOADED)
    bench.ticks(180_000, 241_000, socket="t")
    bench.feeds.feed(A).hold_until_ms = 0

    bench.feeds.add_server_candles(A, MINUTE, [row(1), row(2)])

    sealed = bench.sealed(241_000)
    assert starts(sealed) == [1, 2, 3]
    assert [candle.close for candle in sealed] == [7.0, 7.0, 1.0]


def test_a_row_that_comes_while_a_later_bucket_is_open_is_sealed_at_once() -> None:
    bench = Bench()
    bench.ticks(0, 61_000)
    assert starts(bench.sealed(61_000)) == [0]
    bench.feeds.on_socket_closed("s", GapReason.RELOADED)
    bench.feed.tape = bench.builder._tape = TickTape()  # the first second of bucket 1 was never seen
    bench.ticks(180_000, 200_000, socket="t")
    bench.feeds.feed(A).hold_until_ms = 0
    assert bench.sealed(200_000) == []
    assert bench.idle_until_ms(M0 + 200_000) == M0 + 240_000

    bench.feeds.add_server_candles(A, MINUTE, [row(2)])

    assert starts(bench.sealed(200_001)) == [2]


def test_a_late_tick_in_a_blind_minute_makes_it_better_and_leaves_it_blind() -> None:
    bench = Bench()
    bench.ticks(0, 30_000)
    bench.feeds.on_socket_closed("s", GapReason.RELOADED)
    bench.ticks(50_000, 62_000, socket="t")
    bench.feeds.feed(A).hold_until_ms = 0
    (published,) = bench.sealed(62_000)
    assert published.flags == CandleFlags.BLIND

    bench.tick(10_500, price=9.0, socket="t")
    bench.builder.add_late_tick(M0 + 10_500)

    (revision,) = bench.revisions()
    assert revision.published
    assert revision.candle.flags == CandleFlags.BLIND | CandleFlags.REVISED
    assert (revision.candle.high, revision.candle.tick_count) == (9.0, published.tick_count + 1)


def test_a_late_tick_in_a_minute_that_could_not_be_published_changes_nothing() -> None:
    bench = Bench()
    bench.ticks(20_000, 61_000)
    assert bench.sealed(72_000) == []

    bench.tick(30_500)
    bench.builder.add_late_tick(M0 + 30_500)

    assert bench.revisions() == []


def test_a_late_tick_before_anything_was_sealed_changes_nothing() -> None:
    bench = Bench(published_ts_ms=M0)
    bench.tick(30_000)
    bench.builder.add_late_tick(M0 + 30_000)

    assert bench.idle_until_ms(M0 + 30_000) == 0
    assert bench.revisions() == []


def test_a_candle_of_an_earlier_run_is_not_revised_though_all_of_it_is_known_now() -> None:
    bench = Bench(published_ts_ms=M0)
    bench.history(0, 61_000, socket="s")
    bench.ticks(61_000, 121_000)
    assert starts(bench.sealed(121_000)) == [1]

    bench.tick(30_500)
    bench.builder.add_late_tick(M0 + 30_500)

    assert bench.revisions() == []


def test_a_minute_passed_over_right_after_an_earlier_run_may_still_come_to_a_candle() -> None:
    bench = Bench(published_ts_ms=M0)
    bench.ticks(0, 59_000)
    bench.ticks(59_000, 121_000, symbol=B)
    bench.ticks(121_000, 181_000)
    assert starts(bench.sealed(181_000)) == [2]

    bench.tick(90_500, 3.0)
    bench.builder.add_late_tick(M0 + 90_500)

    assert [(starts([r.candle]), r.published) for r in bench.revisions()] == [([1], False)]


def test_proof_to_the_very_end_of_a_doubted_bucket_takes_the_blindness_back_without_a_tick_of_its_own() -> None:
    bench = Bench()
    bench.ticks(0, 60_000)
    assert [candle.flags for candle in bench.sealed(72_000)] == [CandleFlags.BLIND]
    assert bench.idle_until_ms(M0 + 72_000) == 0
    assert bench.revisions() == []

    bench.tick(60_000, symbol=B)  # late: all before it on this socket has arrived

    (revision,) = bench.revisions()
    assert (revision.candle.flags, revision.candle.tick_count) == (CandleFlags.REVISED, 60)
    assert bench.idle_until_ms(M0 + 72_000) == NEVER_MS


def test_the_tape_may_begin_exactly_where_the_bucket_does() -> None:
    bench = Bench()
    bench.ticks(0, 61_000)
    bench.feeds.feed(A).tape.holds_from_ms = M0

    assert [(candle.tick_count, candle.flags) for candle in bench.sealed(61_000)] == [(60, 0)]
    bench.tick(30_500)
    bench.builder.add_late_tick(M0 + 30_500)
    assert [revision.candle.tick_count for revision in bench.revisions()] == [61]


def test_incomplete_buckets_are_counted_each() -> None:
    bench = Bench()
    for minute in (0, 2, 4):
        bench.ticks(minute * MINUTE + 20_000, minute * MINUTE + 60_000)
        bench.feeds.on_socket_closed("s", GapReason.SOCKET_CLOSED)
        bench.feeds.feed(A).hold_until_ms = 0
        bench.sealed(minute * MINUTE + 75_000)

    assert bench.builder.dropped_incomplete == 3


def test_the_candle_under_way_says_that_it_was_blind() -> None:
    bench = Bench()
    bench.ticks(0, 10_000)
    bench.feeds.on_socket_closed("s", GapReason.RELOADED)
    bench.ticks(30_000, 40_000, socket="t")

    forming = bench.forming()

    assert forming is not None
    assert forming.flags == CandleFlags.BLIND


def test_the_candle_under_way_says_that_history_filled_it() -> None:
    bench = Bench()
    bench.ticks(0, 10_000)
    bench.feeds.on_socket_closed("s", GapReason.RELOADED)
    bench.history(5_000, 31_000, socket="t")
    bench.ticks(31_000, 40_000, socket="t")

    forming = bench.forming()

    assert forming is not None
    assert forming.flags == CandleFlags.BLIND | CandleFlags.FILLED
    assert forming.tick_count == 40


def test_the_candle_under_way_from_history_alone_says_so() -> None:
    bench = Bench()
    bench.history(0, 31_000, socket="t")

    forming = bench.forming()

    assert forming is not None
    assert forming.flags == CandleFlags.JOINED_LATE | CandleFlags.FILLED


def after_an_outage(minutes: int) -> Bench:
    """Minute 0 was published, nothing of the ``minutes`` after it was seen, and the one after them is published too."""
    bench = Bench()
    bench.ticks(0, 60_000)
    bench.ticks(60_000, 63_000, symbol=B)
    assert starts(bench.sealed(63_000)) == [0]
    bench.feeds.on_socket_closed("s", GapReason.RELOADED)
    back_ms = (minutes + 1) * MINUTE
    bench.ticks(back_ms - 1_000, back_ms + 61_000, socket="t")
    bench.feed.hold_until_ms = 0
    bench.sealed(back_ms + 61_000)
    bench.revisions()
    return bench


def test_a_row_for_a_minute_that_was_skipped_unseen_brings_it_as_a_revision() -> None:
    bench = after_an_outage(minutes=3)

    bench.feeds.add_server_candles(A, MINUTE, [row(1), row(2)])

    assert [(bench.minute(one), one.published) for one in bench.revisions()] == [(1, False), (2, False)]


def test_a_row_for_a_minute_that_was_seen_to_be_quiet_brings_nothing() -> None:
    bench = Bench()
    bench.ticks(0, 60_000)
    bench.ticks(60_000, 121_000, symbol=B)  # the socket goes on: of this asset nothing was traded
    bench.ticks(121_000, 182_000)
    assert starts(bench.sealed(182_000)) == [0, 2]
    bench.revisions()

    bench.feeds.add_server_candles(A, MINUTE, [row(1)])

    assert bench.revisions() == []


def test_of_a_long_outage_the_newest_minutes_may_still_come() -> None:
    bench = after_an_outage(minutes=SKIPPED_MAX + 10)

    bench.feeds.add_server_candles(A, MINUTE, [row(5), row(11), row(SKIPPED_MAX + 9)])

    assert [bench.minute(one) for one in bench.revisions()] == [11, SKIPPED_MAX + 9]
