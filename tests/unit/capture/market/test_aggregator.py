"""Which ticks and candles go into an outcome as the focus changes."""

from __future__ import annotations

import pytest

from fluxcap.capture.market.aggregator import CandleAggregator, MarketUpdate
from fluxcap.capture.market.candles import CandleTimeouts, Revision
from fluxcap.capture.market.feeds import FeedTracker, GapReason, GapUpdate, TickResult
from fluxcap.schemas.types import Candle, CandleFlags, Tick

A, B = "EURUSD_otc", "GBPUSD_otc"
M0 = 1_760_000_040_000
MINUTE = 60_000


class Bench:
    def __init__(self, *focused: str, longer_ms: tuple[int, ...] = ()) -> None:
        self.feeds = FeedTracker(history_wait_ms=0)
        self.focused = set(focused)
        self.asked: list[str] = []
        self.published_ms = 0
        self.sealing = CandleAggregator(
            self.feeds,
            CandleTimeouts(MINUTE),
            self._published,
            lambda symbol: symbol in self.focused,
            longer_ms=longer_ms,
        )

    def _published(self, symbol: str) -> int:
        self.asked.append(symbol)
        return self.published_ms

    def ticks(self, from_ms: int, to_ms: int) -> None:
        for at_ms in range(M0 + from_ms, M0 + to_ms, 500):
            for symbol in (A, B):
                if self.feeds.tick("s", symbol, at_ms, 1.0, at_ms) is TickResult.NEW:
                    self.sealing.tick(self.feeds.feed(symbol), at_ms, at_ms + 7_200_000, 1.0)

    def turn_to(self, *focused: str) -> None:
        before, self.focused = self.focused, set(focused)
        now_ms = max(feed.last_tick_ts_ms for feed in self.feeds)
        self.sealing.on_focus_change(before - self.focused, self.focused - before, now_ms)


def starts(bench: Bench, symbol: str) -> list[int]:
    return [(candle.ts_ms - M0) // MINUTE for candle in bench.sealing.update.sealed.get(symbol, [])]


def test_only_focused_assets_tell_ticks_and_candles() -> None:
    bench = Bench(A)
    bench.ticks(0, 61_000)

    assert {tick.symbol for tick in bench.sealing.update.ticks} == {A}
    assert (starts(bench, A), starts(bench, B)) == ([0], [])


def test_the_store_is_asked_once_where_an_asset_left_off() -> None:
    bench = Bench(A)
    bench.ticks(0, 200_000)

    assert bench.asked == [A]


def test_an_asset_that_loses_the_focus_finishes_the_bucket_under_way() -> None:
    bench = Bench(A)
    bench.ticks(0, 90_000)
    bench.turn_to(B)
    bench.ticks(90_000, 300_000)

    assert starts(bench, A) == [0, 1]
    assert bench.sealing._leaving == {}


def test_an_asset_back_in_focus_before_its_bucket_ended_just_goes_on() -> None:
    bench = Bench(A)
    bench.ticks(0, 90_000)
    bench.turn_to(B)
    bench.turn_to(A)
    assert A not in bench.sealing._leaving
    bench.ticks(90_000, 181_000)

    assert starts(bench, A) == [0, 1, 2]


def test_an_asset_that_stops_ticking_while_leaving_is_finished_by_time() -> None:
    bench = Bench(A)
    bench.ticks(0, 90_000)
    bench.turn_to(B)
    bench.feeds.on_socket_closed("s", GapReason.TAB_CLOSED)
    bench.sealing.advance_time(M0 + 130_000)

    assert starts(bench, A) == [0, 1]
    assert bench.sealing._leaving == {}


def late_ticks(bench: Bench, from_ms: int, to_ms: int, now_ms: int) -> None:
    """Ticks of A that come all at once, as on a machine that had too much to do."""
    for at_ms in range(M0 + from_ms, M0 + to_ms, 500):
        bench.feeds.tick("s", A, at_ms, 1.0, M0 + now_ms)
        bench.sealing.tick(bench.feeds.feed(A), at_ms, at_ms + 7_200_000, 1.0)
    bench.sealing.advance_time(M0 + now_ms)


def test_a_leaving_asset_sealed_out_of_doubt_is_proven_by_the_ticks_that_come_late() -> None:
    bench = Bench(A)
    bench.ticks(0, 90_000)
    bench.turn_to(B)
    bench.sealing.advance_time(M0 + 130_000)
    (doubted,) = bench.sealing.update.sealed[A][1:]
    late_ticks(bench, 90_000, 130_000, now_ms=131_000)

    (revision,) = bench.sealing.update.revised[A]
    assert (doubted.flags, doubted.tick_count) == (CandleFlags.BLIND, 60)
    assert (revision.candle.flags, revision.candle.tick_count) == (CandleFlags.REVISED, 120)
    assert starts(bench, A) == [0, 1]
    assert bench.sealing._leaving == {}


def test_a_leaving_asset_in_doubt_is_finished_when_its_socket_ends() -> None:
    bench = Bench(A)
    bench.ticks(0, 90_000)
    bench.turn_to(B)
    bench.sealing.advance_time(M0 + 130_000)
    in_doubt = dict(bench.sealing._leaving)
    bench.feeds.on_socket_closed("s", GapReason.SOCKET_CLOSED)
    bench.sealing.invalidate_idle()
    bench.sealing.advance_time(M0 + 131_000)

    assert in_doubt == {A: M0 + MINUTE}
    assert bench.sealing._leaving == {}
    assert A not in bench.sealing.update.revised


def test_what_is_taken_is_not_told_again() -> None:
    bench = Bench(A)
    bench.ticks(0, 61_000)

    assert bench.sealing.update.take()
    assert not bench.sealing.update.take()


def test_counters_are_told_by_asset() -> None:
    bench = Bench(A)
    bench.ticks(20_000, 61_000)

    assert dict(bench.sealing.counters()) == {f"late.{A}": 0, f"dropped_incomplete.{A}": 1}


def test_a_tick_is_told_with_both_its_times_and_its_price() -> None:
    bench = Bench(A)
    bench.feeds.tick("s", A, M0, 1.25, M0)
    bench.sealing.tick(bench.feeds.feed(A), M0, M0 + 7_200_000, 1.25)

    assert bench.sealing.update.ticks == [Tick(A, M0, M0 + 7_200_000, 1.25)]


def test_the_tick_that_begins_the_next_bucket_is_not_late() -> None:
    bench = Bench(A)
    bench.ticks(0, 120_500)

    assert starts(bench, A) == [0, 1]
    assert dict(bench.sealing.counters())[f"late.{A}"] == 0


def test_late_ticks_are_counted_each() -> None:
    bench = Bench(A)
    bench.ticks(0, 61_000)
    for at_ms in (100, 200, 300):
        bench.feeds.tick("s", A, M0 + at_ms, 1.0, M0 + 61_000)
        bench.sealing.tick(bench.feeds.feed(A), M0 + at_ms, 0, 1.0)

    assert dict(bench.sealing.counters())[f"late.{A}"] == 3


def test_only_the_focused_have_a_candle_under_way() -> None:
    bench = Bench(A, B)
    bench.ticks(0, 30_000)
    bench.turn_to(B)
    forming = bench.sealing.forming()

    assert set(forming) == {B}
    assert (forming[B].ts_ms, forming[B].tick_count) == (M0, 60)


def test_a_focused_asset_without_a_tick_since_its_last_candle_has_none_under_way() -> None:
    bench = Bench(A, B)
    bench.ticks(0, 60_000)
    bench.feeds.on_socket_closed("s", GapReason.TAB_CLOSED)
    bench.sealing.advance_time(M0 + 80_000)

    assert (starts(bench, A), starts(bench, B)) == ([0], [0])
    assert bench.sealing.forming() == {}


def test_coverage_of_an_asset_that_told_nothing_begins_with_its_newest_tick() -> None:
    bench = Bench(A)
    bench.ticks(0, 30_000)

    assert bench.sealing.covered_since(bench.feeds.feed(B)) == M0 + 29_500
    assert bench.sealing.covered_since(bench.feeds.feed(A)) == M0


def test_coverage_begins_anew_when_an_asset_comes_back_into_focus() -> None:
    bench = Bench(A)
    bench.ticks(0, 61_000)
    bench.turn_to(B)
    bench.ticks(61_000, 150_000)
    bench.turn_to(A)
    bench.ticks(150_000, 160_000)

    assert bench.sealing.covered_since(bench.feeds.feed(A)) == M0 + 150_000


def test_nothing_up_to_what_the_store_holds_is_sealed_again() -> None:
    bench = Bench(A)
    bench.published_ms = M0 + MINUTE
    bench.ticks(0, 181_000)

    assert starts(bench, A) == [2]


def test_history_is_looked_at_though_time_alone_would_seal_nothing() -> None:
    bench = Bench(A)
    bench.ticks(30_000, 62_000)
    bench.sealing.advance_time(M0 + 62_000)
    assert starts(bench, A) == []
    bench.sealing.update.take()

    bench.feeds.add_history("s", A, [(M0 + at_ms, 1.0) for at_ms in range(0, 31_000, 1_000)])
    bench.sealing.advance_time(M0 + 62_001)

    (revision,) = bench.sealing.update.revised[A]
    assert (revision.candle.ts_ms, revision.published) == (M0, False)


def test_time_may_pass_before_anything_else_happens() -> None:
    bench = Bench(A)
    bench.sealing.advance_time(M0)

    assert not bench.sealing.update.take()


def test_a_tick_at_the_very_end_of_the_bucket_sealed_by_time_is_the_next_ones() -> None:
    bench = Bench(A)
    bench.ticks(0, 60_000)
    bench.feeds.tick("s", B, M0 + 63_000, 1.0, M0 + 63_000)
    bench.sealing.advance_time(M0 + 63_000)
    assert starts(bench, A) == [0]

    bench.feeds.tick("s", A, M0 + 60_000, 1.0, M0 + 63_100)
    bench.sealing.tick(bench.feeds.feed(A), M0 + 60_000, 0, 1.0)

    assert dict(bench.sealing.counters())[f"late.{A}"] == 0
    assert bench.sealing.forming()[A].ts_ms == M0 + MINUTE


def test_every_asset_that_loses_the_focus_finishes_its_bucket_whatever_stays() -> None:
    bench = Bench(A, B)
    bench.ticks(0, 90_000)
    bench.turn_to(A)
    bench.ticks(90_000, 300_000)

    assert starts(bench, B) == [0, 1]


def test_the_candle_under_way_says_that_all_of_it_was_seen() -> None:
    bench = Bench(A)
    bench.ticks(30_000, 90_000)

    forming = bench.sealing.forming()[A]

    assert (forming.ts_ms, forming.flags) == (M0 + MINUTE, 0)


def test_the_platforms_own_candle_of_the_same_interval_completes_the_first() -> None:
    bench = Bench(A)
    bench.ticks(30_000, 50_000)
    bench.feeds.feed(A).server_candles(MINUTE)[M0] = Candle(M0, 1.0, 3.0, 0.5, 1.0)
    bench.ticks(50_000, 90_000)

    (sealed,) = bench.sealing.update.sealed[A]

    assert (sealed.high, sealed.low) == (3.0, 0.5)


# --- out of focus, and back ---


AWAY, CLOSED = GapReason.NOT_IN_FOCUS, GapReason.SOCKET_CLOSED


def gaps(bench: Bench, symbol: str = A) -> list[tuple[int, int, GapReason]]:
    """Begin and end in ms since M0 (0: open), and the reason, as they were told."""
    bench.sealing.collect_gaps()
    found = [gap for gap in bench.sealing.update.gaps if gap.symbol == symbol]
    return [(gap.from_ms - M0, gap.to_ms and gap.to_ms - M0, gap.reason) for gap in found]


def test_an_asset_that_leaves_is_told_so_with_its_last_candle() -> None:
    bench = Bench(A)
    bench.ticks(0, 90_000)
    bench.turn_to(B)
    bench.ticks(90_000, 119_900)
    assert gaps(bench) == []

    bench.ticks(120_000, 120_100)

    assert starts(bench, A) == [0, 1]
    assert gaps(bench) == [(120_000, 0, AWAY)]


def test_ticks_after_the_bucket_that_is_finished_are_not_told() -> None:
    bench = Bench(A)
    bench.ticks(0, 90_000)
    bench.turn_to(B)
    bench.ticks(90_000, 300_000)

    assert max(tick.ts_ms for tick in bench.sealing.update.ticks if tick.symbol == A) == M0 + 119_500


def test_back_in_focus_what_the_tape_holds_is_sealed_and_the_gap_taken_back() -> None:
    bench = Bench(A)
    bench.ticks(0, 90_000)
    bench.turn_to(B)
    bench.ticks(90_000, 300_000)
    bench.turn_to(A)
    bench.ticks(300_000, 361_000)

    assert starts(bench, A) == [0, 1, 2, 3, 4, 5]
    assert gaps(bench) == [(120_000, 0, AWAY), (120_000, 120_000, AWAY)]


def test_the_gap_ends_with_the_first_bucket_that_the_tape_holds_whole() -> None:
    bench = Bench(A)
    bench.ticks(0, 90_000)
    bench.turn_to(B)
    bench.ticks(90_000, 3_600_000)
    bench.turn_to(A)
    bench.ticks(3_600_000, 3_661_000)

    held_ms = bench.feeds.feed(A).tape.holds_from_ms - M0
    first = -(-held_ms // MINUTE)
    assert gaps(bench)[-1] == (120_000, first * MINUTE, AWAY)
    assert starts(bench, A) == [0, 1, *range(first, 61)]


def test_an_asset_that_another_run_left_comes_back_with_its_first_whole_bucket() -> None:
    bench = Bench()
    bench.published_ms = M0 - 10 * MINUTE
    bench.sealing.restore_away(A, M0 - 9 * MINUTE)
    bench.ticks(20_000, 90_000)
    bench.focused = {A}
    bench.sealing.on_focus_change((), (A,), M0 + 90_000)
    bench.ticks(90_000, 181_000)

    assert gaps(bench) == [(-9 * MINUTE, MINUTE, AWAY)]
    assert starts(bench, A) == [1, 2]


def test_the_gap_stays_open_until_the_asset_is_heard_again() -> None:
    bench = Bench()
    bench.sealing.restore_away(A, M0)
    bench.focused = {A}
    bench.sealing.on_focus_change((), (A,), M0 + 90_000)
    bench.sealing.advance_time(M0 + 300_000)

    assert gaps(bench) == []
    assert bench.sealing.has_left_by(A, M0)


def test_gaps_of_the_feed_wait_while_the_asset_is_away() -> None:
    bench = Bench(A)
    bench.ticks(0, 90_000)
    bench.turn_to(B)
    bench.ticks(90_000, 150_000)
    bench.feeds.on_socket_closed("s", CLOSED)
    bench.ticks(200_000, 300_000)
    assert gaps(bench) == [(120_000, 0, AWAY)]

    bench.turn_to(A)
    bench.ticks(300_000, 361_000)

    assert gaps(bench)[1:] == [(120_000, 120_000, AWAY), (149_500, 200_000, CLOSED)]
    assert starts(bench, A) == [0, 1, 2, 4, 5]


def test_a_gap_of_the_feed_that_the_longer_gap_covers_is_not_told() -> None:
    bench = Bench(A)
    bench.ticks(0, 90_000)
    bench.turn_to(B)
    bench.ticks(90_000, 150_000)
    bench.feeds.on_socket_closed("s", CLOSED)
    bench.ticks(200_000, 3_600_000)
    bench.turn_to(A)
    bench.ticks(3_600_000, 3_661_000)

    assert {reason for _, _, reason in gaps(bench)} == {AWAY}


def test_a_gap_of_the_feed_that_began_before_goes_on_being_told() -> None:
    bench = Bench(A)
    bench.ticks(0, 90_000)
    bench.feeds.on_socket_closed("s", CLOSED)
    bench.turn_to(B)
    bench.sealing.advance_time(M0 + 131_000)
    bench.ticks(200_000, 201_000)

    assert gaps(bench) == [(89_500, 0, CLOSED), (120_000, 0, AWAY), (89_500, 200_000, CLOSED)]


def test_the_gap_of_an_asset_whose_feed_ended_meanwhile_goes_over_into_that_of_its_feed() -> None:
    bench = Bench(A)
    bench.ticks(0, 90_000)
    bench.turn_to(B)
    bench.ticks(90_000, 150_000)
    bench.feeds.on_socket_closed("s", CLOSED)
    bench.turn_to(A)
    bench.sealing.advance_time(M0 + 200_000)

    assert gaps(bench)[1:] == [(120_000, 120_000, AWAY), (149_500, 0, CLOSED)]


def test_of_two_gaps_with_one_begin_none_is_lost() -> None:
    bench = Bench(A)
    bench.ticks(0, 90_000)
    bench.turn_to(B)
    bench.ticks(90_000, 120_100)
    bench.feeds.on_socket_closed("s", CLOSED)  # its last tick was the very first of the next bucket
    bench.ticks(290_000, 300_000)
    bench.turn_to(A)
    bench.ticks(300_000, 361_000)

    assert gaps(bench) == [(120_000, 0, AWAY), (120_000, 120_000, AWAY), (120_000, 290_000, CLOSED)]


def test_of_two_gaps_with_one_begin_the_longer_one_tells_of_both() -> None:
    bench = Bench(A)
    bench.ticks(0, 90_000)
    bench.turn_to(B)
    bench.ticks(90_000, 120_100)
    bench.feeds.on_socket_closed("s", CLOSED)
    bench.ticks(290_000, 3_600_000)
    bench.turn_to(A)
    bench.ticks(3_600_000, 3_661_000)

    (_, opened), (begin, end) = [gap[:2] for gap in gaps(bench)]
    assert (opened, begin) == (0, 120_000)
    assert end > 1_000_000


def test_an_asset_without_a_tick_in_its_bucket_is_told_to_have_left_at_the_end_of_it() -> None:
    bench = Bench(A)
    bench.ticks(0, 59_000)
    for at_ms in range(59_000, 130_000, 500):
        bench.feeds.tick("s", B, M0 + at_ms, 1.0, M0 + at_ms)
        if at_ms == 90_000:
            bench.turn_to(B)
        bench.sealing.advance_time(M0 + at_ms)

    assert starts(bench, A) == [0]
    assert gaps(bench) == [(120_000, 0, AWAY)]


def test_an_asset_never_heard_leaves_nothing_behind() -> None:
    bench = Bench(A)
    bench.focused = set()
    bench.sealing.on_focus_change((A,), (), M0)
    bench.sealing.advance_time(M0 + 300_000)

    assert gaps(bench) == []


def test_an_asset_with_a_stream_that_was_not_heard_is_told_to_have_left_all_the_same() -> None:
    bench = Bench(A)
    bench.published_ms = M0 - MINUTE
    bench.focused = set()
    bench.sealing.on_focus_change((A,), (), M0 + 10_000)
    bench.sealing.advance_time(M0 + 59_999)
    assert gaps(bench) == []

    bench.sealing.advance_time(M0 + 60_000)

    assert gaps(bench) == [(60_000, 0, AWAY)]


def test_a_tick_that_comes_late_for_an_asset_that_has_left_revises_its_candle() -> None:
    bench = Bench(A)
    bench.ticks(0, 90_000)
    bench.turn_to(B)
    bench.ticks(90_000, 121_000)
    bench.feeds.tick("s", A, M0 + 119_700, 2.0, M0 + 121_000)
    bench.sealing.tick(bench.feeds.feed(A), M0 + 119_700, 0, 2.0)

    (revision,) = bench.sealing.update.revised[A]
    assert (revision.candle.ts_ms, revision.candle.close, revision.published) == (M0 + MINUTE, 2.0, True)


# --- assets of an earlier run ---


def heard_from(bench: Bench, from_ms: int, to_ms: int) -> None:
    """The clock becomes known, and ticks come."""
    bench.sealing.on_synchronised(M0 + from_ms)
    for at_ms in range(from_ms, to_ms, 500):
        bench.ticks(at_ms, at_ms + 500)
        bench.sealing.advance_time(M0 + at_ms)


def test_an_asset_of_an_earlier_run_that_is_not_in_focus_is_told_to_be_out_of_it() -> None:
    bench = Bench(B)
    bench.published_ms = M0 - 30 * MINUTE
    bench.sealing.track([A])
    heard_from(bench, 5_000, 15_000)
    assert gaps(bench) == []

    heard_from(bench, 15_000, 30_000)

    assert gaps(bench) == [(-29 * MINUTE, 0, AWAY)]


def test_an_asset_of_an_earlier_run_whose_gap_is_known_finishes_its_bucket() -> None:
    bench = Bench(B)
    bench.published_ms = M0 - 3 * MINUTE
    bench.feeds.restore(A, [(M0 - 119_000, 1.0), (M0 - 115_000, 1.0)], M0 - 120_000, M0 - 115_000)
    bench.sealing.track([A])
    heard_from(bench, 5_000, 70_000)

    assert starts(bench, A) == [-2]
    assert gaps(bench) == [
        (-115_000, 0, GapReason.DAEMON_DOWN),
        (-115_000, 5_000, GapReason.DAEMON_DOWN),
        (60_000, 0, AWAY),
    ]


def test_an_asset_that_comes_into_focus_before_that_is_decided_was_never_away() -> None:
    bench = Bench(B)
    bench.published_ms = M0 - 30 * MINUTE
    bench.sealing.track([A])
    heard_from(bench, 5_000, 10_000)
    bench.turn_to(A, B)
    heard_from(bench, 10_000, 80_000)

    assert gaps(bench) == [(-29 * MINUTE, 5_000, GapReason.DAEMON_DOWN)]


def test_a_stream_that_goes_on_is_told_to_have_been_interrupted_when_nothing_else_says_so() -> None:
    bench = Bench(A)
    bench.published_ms = M0 - 30 * MINUTE
    bench.sealing.track([A])
    heard_from(bench, 5_000, 10_000)

    assert gaps(bench) == [(-29 * MINUTE, 0, GapReason.DAEMON_DOWN), (-29 * MINUTE, 5_000, GapReason.DAEMON_DOWN)]


# --- what was decided, kept until it could be stored ---


def candle(ts_ms: int) -> Candle:
    return Candle(ts_ms, 1.0, 1.0, 1.0, 1.0)


def test_an_empty_outcome_is_false() -> None:
    assert not MarketUpdate()
    assert MarketUpdate(gaps=[GapUpdate("A", 1, 0, GapReason.RELOADED)])


@pytest.mark.parametrize(
    "update",
    [
        MarketUpdate(sealed={"A": [candle(1)]}),
        MarketUpdate(revised={"A": [Revision(candle(1), published=True)]}),
        MarketUpdate(gaps=[GapUpdate("A", 1, 0, GapReason.RELOADED)]),
        MarketUpdate(ticks=[Tick("A", 1, 1, 1.0)]),
    ],
    ids=["sealed", "revised", "gaps", "ticks"],
)
def test_one_that_holds_anything_is_true(update: MarketUpdate) -> None:
    assert update


def test_revisions_and_gaps_that_could_not_be_stored_stay_before_what_is_newer() -> None:
    older, newer = Revision(candle(1), published=True), Revision(candle(2), published=False)
    opened, closed = GapUpdate("A", 1, 0, GapReason.RELOADED), GapUpdate("A", 1, 5, GapReason.RELOADED)
    failed = MarketUpdate(revised={"A": [older]}, gaps=[opened])

    failed.append(MarketUpdate(revised={"A": [newer], "B": [older]}, gaps=[closed]))

    assert failed.revised == {"A": [older, newer], "B": [older]}
    assert failed.gaps == [opened, closed]


def test_what_could_not_be_stored_stays_before_what_is_newer() -> None:
    failed = MarketUpdate(sealed={"A": [candle(1)]}, ticks=[Tick("A", 1, 1, 1.0)])

    failed.append(MarketUpdate(sealed={"A": [candle(2)], "B": [candle(1)]}, ticks=[Tick("A", 2, 2, 1.0)]))

    assert failed.sealed == {"A": [candle(1), candle(2)], "B": [candle(1)]}


def test_ticks_are_not_told_twice() -> None:
    failed = MarketUpdate(sealed={"A": [candle(1)]}, ticks=[Tick("A", 1, 1, 1.0)])

    failed.append(MarketUpdate(ticks=[Tick("A", 2, 2, 1.0)]))

    assert failed.ticks == [Tick("A", 2, 2, 1.0)]


# --- the ends of longer buckets ---------------------------------------------------------------------------------------

TWO = 2 * MINUTE
END = M0 + -M0 % TWO
"""The first end of a bucket of two minutes."""


def over(bench: Bench, symbol: str = A) -> int | None:
    """Up to where all is told to be over, in seconds from the first end of a longer bucket."""
    told_ms = bench.sealing.update.over.get(symbol)
    return None if told_ms is None else (told_ms - END) // 1_000


def quiet_asset(until_ms: int) -> Bench:
    """A is traded until shortly before the first end, B until ``until_ms`` on the same socket."""
    bench = Bench(A, B, longer_ms=(TWO,))
    bench.ticks(END - TWO - M0, END - 90_000 - M0)
    for at_ms in range(END - 90_000, END + until_ms, 500):
        if bench.feeds.tick("s", B, at_ms, 1.0, at_ms) is TickResult.NEW:
            bench.sealing.tick(bench.feeds.feed(B), at_ms, at_ms, 1.0)
    return bench


def test_the_end_of_a_longer_bucket_is_told_when_its_last_minute_is_over_without_a_candle() -> None:
    bench = quiet_asset(2_500)

    bench.sealing.advance_time(END + 1_900)
    assert over(bench) == -120
    bench.sealing.advance_time(END + 2_000)

    assert over(bench) == 0


def test_a_feed_that_is_not_proven_is_awaited_for_the_idle_timeout() -> None:
    bench = quiet_asset(-30_000)
    bench.feeds.expire(END)

    bench.sealing.advance_time(END + 9_900)
    assert over(bench) == -120
    bench.sealing.advance_time(END + 10_000)

    assert over(bench) == 0


def test_each_end_is_told_once_and_after_a_pause_the_newest_alone() -> None:
    bench = quiet_asset(2_500)
    bench.sealing.advance_time(END + 2_000)
    bench.sealing.update.take()

    bench.sealing.advance_time(END + 60_000)
    assert over(bench) is None
    bench.sealing.advance_time(END + 3 * TWO + 20_000)

    assert over(bench) == 3 * TWO // 1_000


def test_without_longer_intervals_no_end_is_told() -> None:
    bench = Bench(A)
    bench.ticks(0, 300_000)
    bench.sealing.advance_time(M0 + 320_000)

    assert bench.sealing.update.over == {}


def test_an_asset_out_of_focus_ends_its_longer_buckets_by_the_idle_timeout() -> None:
    bench = Bench(A, B, longer_ms=(TWO,))
    bench.ticks(0, 90_000)
    bench.turn_to(B)
    bench.ticks(90_000, 200_000)
    bench.sealing.update.over.clear()

    at_ms = END + 2 * TWO
    bench.sealing.advance_time(at_ms + 9_999)
    before = over(bench)
    bench.sealing.advance_time(at_ms + 10_000)

    assert before != 2 * TWO // 1_000
    assert over(bench) == 2 * TWO // 1_000
