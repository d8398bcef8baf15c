"""What sockets prove: coverage, doubt, suspicion and the gaps told of them. Times are milliseconds from 100 s on."""

from __future__ import annotations

import pytest

from fluxcap.capture.market.feeds import (
    CONFIRMED_AFTER_MS,
    PAUSES_AT_ONCE,
    FeedTracker,
    GapReason,
    GapUpdate,
    Pauses,
    PendingUnsubscribe,
    SocketFeed,
    SymbolFeed,
    TickResult,
    silent_after_ms,
)
from fluxcap.schemas.types import Candle

A, B = "EURUSD_otc", "GBPUSD_otc"
T0 = 100_000


@pytest.fixture
def feeds() -> FeedTracker:
    return FeedTracker()


def tick(feeds: FeedTracker, from_ms: int, to_ms: int, *symbols: str, socket: str = "s", every_ms: int = 500) -> None:
    for ts_ms in range(from_ms, to_ms + 1, every_ms):
        for symbol in symbols or (A,):
            feeds.tick(socket, symbol, ts_ms, 1.0 + ts_ms / 1e7, ts_ms)
        feeds.expire(ts_ms)


def live(feeds: FeedTracker, symbol: str = A) -> list[tuple[int, int]]:
    return list(feeds.coverage(feeds.feed(symbol)).live)


def test_coverage_reaches_from_the_first_tick_to_the_newest_of_the_socket(feeds: FeedTracker) -> None:
    tick(feeds, T0, T0 + 5_000)

    assert live(feeds) == [(T0, T0 + 5_000)]


def test_a_quiet_asset_on_a_talking_socket_is_covered(feeds: FeedTracker) -> None:
    tick(feeds, T0, T0 + 1_000, A, B)
    tick(feeds, T0 + 1_500, T0 + 60_000, B)

    assert live(feeds, A) == [(T0, T0 + 60_000)]
    assert feeds.drain_gaps() == []


def test_a_tick_known_already_is_told_so(feeds: FeedTracker) -> None:
    assert feeds.tick("s", A, T0, 1.0, T0) is TickResult.NEW
    assert feeds.tick("s", A, T0, 1.0, T0) is TickResult.KNOWN


def test_the_end_of_the_socket_opens_a_gap_and_the_next_tick_closes_it(feeds: FeedTracker) -> None:
    tick(feeds, T0, T0 + 1_000)
    feeds.on_socket_closed("s", GapReason.TAB_CLOSED)
    tick(feeds, T0 + 9_000, T0 + 10_000, socket="t")

    assert feeds.drain_gaps() == [
        GapUpdate(A, T0 + 1_000, 0, GapReason.TAB_CLOSED),
        GapUpdate(A, T0 + 1_000, T0 + 9_000, GapReason.TAB_CLOSED),
    ]
    assert live(feeds) == [(T0, T0 + 1_000), (T0 + 9_000, T0 + 10_000)]


def test_a_second_tab_carries_on_without_a_gap(feeds: FeedTracker) -> None:
    tick(feeds, T0, T0 + 2_000, socket="s")
    tick(feeds, T0 + 1_000, T0 + 5_000, socket="t")
    feeds.on_socket_closed("s", GapReason.TAB_CLOSED)

    assert feeds.drain_gaps() == []
    assert live(feeds) == [(T0, T0 + 5_000)]


def test_the_last_tick_sent_again_after_a_break_does_not_bridge_it(feeds: FeedTracker) -> None:
    tick(feeds, T0, T0 + 1_000)
    feeds.on_socket_closed("s", GapReason.RELOADED)

    assert feeds.tick("t", A, T0 + 1_000, 1.0 + (T0 + 1_000) / 1e7, T0 + 4_000) is TickResult.KNOWN
    tick(feeds, T0 + 4_000, T0 + 5_000, socket="t")

    assert live(feeds) == [(T0, T0 + 1_000), (T0 + 4_000, T0 + 5_000)]


def test_the_end_of_an_unknown_socket_does_no_harm(feeds: FeedTracker) -> None:
    feeds.on_socket_closed("chat", GapReason.SOCKET_CLOSED)

    assert feeds.drain_gaps() == []
    assert feeds.watermark_ms("chat") == 0


# --- silence ---


def test_a_silent_socket_is_suspected_after_five_seconds(feeds: FeedTracker) -> None:
    tick(feeds, T0, T0 + 1_000)
    feeds.expire(T0 + 5_900)
    assert feeds.drain_gaps() == []

    feeds.expire(T0 + 6_000)

    assert feeds.drain_gaps() == [GapUpdate(A, T0 + 1_000, 0, GapReason.SOCKET_SILENT)]
    assert feeds.feed(A).stalled


def test_a_backlog_that_fills_the_silence_takes_the_gap_back(feeds: FeedTracker) -> None:
    tick(feeds, T0, T0 + 1_000)
    feeds.expire(T0 + 20_000)
    for ts_ms in range(T0 + 1_500, T0 + 20_001, 500):
        feeds.tick("s", A, ts_ms, 1.0 + ts_ms / 1e7, T0 + 20_000)
    feeds.expire(T0 + 20_000)

    assert feeds.drain_gaps() == [
        GapUpdate(A, T0 + 1_000, 0, GapReason.SOCKET_SILENT),
        GapUpdate(A, T0 + 1_000, T0 + 1_000, GapReason.SOCKET_SILENT),
    ]
    assert live(feeds) == [(T0, T0 + 20_000)]


def test_a_stream_that_died_silently_and_came_back_leaves_a_gap_though_its_socket_stayed(feeds: FeedTracker) -> None:
    tick(feeds, T0, T0 + 10_000)
    feeds.expire(T0 + 20_000)
    tick(feeds, T0 + 30_000, T0 + 31_000)

    assert feeds.drain_gaps() == [
        GapUpdate(A, T0 + 10_000, 0, GapReason.SOCKET_SILENT),
        GapUpdate(A, T0 + 10_000, T0 + 30_000, GapReason.SOCKET_SILENT),
    ]
    assert live(feeds) == [(T0, T0 + 10_000), (T0 + 30_000, T0 + 31_000)]


def test_a_jump_of_stamps_is_a_gap_even_if_nobody_looked_meanwhile(feeds: FeedTracker) -> None:
    tick(feeds, T0, T0 + 10_000)
    feeds.tick("s", A, T0 + 15_000, 2.0, T0 + 15_000)

    assert feeds.drain_gaps() == [GapUpdate(A, T0 + 10_000, T0 + 15_000, GapReason.SOCKET_SILENT)]


def test_a_jump_on_one_socket_is_no_gap_while_another_carries_the_asset(feeds: FeedTracker) -> None:
    tick(feeds, T0, T0 + 1_000, socket="s")
    tick(feeds, T0 + 500, T0 + 20_000, socket="t")
    feeds.tick("s", A, T0 + 20_000, 1.0 + (T0 + 20_000) / 1e7, T0 + 20_000)

    assert feeds.drain_gaps() == []
    assert live(feeds) == [(T0, T0 + 20_000)]


def test_a_market_that_pauses_now_and_then_is_not_taken_for_a_dead_stream(feeds: FeedTracker) -> None:
    ts_ms = T0
    for pause_ms in (500, 900, 2_000, 1_500, 5_000, 800, 4_000):  # as recorded of an ordinary asset
        ts_ms += pause_ms
        feeds.tick("s", A, ts_ms, 1.0, ts_ms)
        feeds.expire(ts_ms)

    assert feeds.drain_gaps() == []


@pytest.mark.parametrize("every_ms", [1_000, 4_000, 30_000, 120_000])
def test_a_market_that_trades_rarely_is_covered_throughout_once_its_pauses_are_known(
    feeds: FeedTracker, every_ms: int
) -> None:
    ticks = range(T0, T0 + 30 * every_ms, every_ms)
    for ts_ms in ticks:
        for at_ms in range(ts_ms - every_ms + 1_000, ts_ms, 1_000):
            feeds.expire(at_ms)
        feeds.tick("s", A, ts_ms, 1.0, ts_ms)

    assert live(feeds)[-1][1] == ticks[-1]
    assert live(feeds)[-1][0] <= ticks[4]
    assert [gap for gap in feeds.drain_gaps() if max(gap.from_ms, gap.to_ms) > ticks[4]] == []


def test_a_trade_every_four_seconds_on_a_new_socket_is_never_silence(feeds: FeedTracker) -> None:
    tick(feeds, T0, T0 + 600_000, every_ms=4_000)

    assert feeds.drain_gaps() == []
    assert live(feeds) == [(T0, T0 + 600_000)]


def test_a_thin_market_that_dies_is_found_after_its_own_silence_and_not_after_a_minute(feeds: FeedTracker) -> None:
    tick(feeds, T0, T0 + 600_000, every_ms=4_000)
    allowed_ms = silent_after_ms(2_000)

    feeds.expire(T0 + 600_000 + allowed_ms - 1_000)
    assert not feeds.feed(A).stalled

    feeds.expire(T0 + 600_000 + allowed_ms + 1_000)
    assert feeds.feed(A).stalled


def test_the_pauses_are_those_of_all_assets_of_the_socket(feeds: FeedTracker) -> None:
    for ts_ms in range(T0, T0 + 600_001, 500):
        feeds.tick("s", A if ts_ms % 30_000 == 0 else B, ts_ms, 1.0, ts_ms)
    feeds.expire(T0 + 605_500)

    assert feeds.feed(A).stalled


def test_a_page_that_leaves_its_only_asset_leaves_its_pauses(feeds: FeedTracker) -> None:
    tick(feeds, T0, T0 + 600_000, A, every_ms=30_000)
    feeds.on_asset_change("s", B, T0 + 600_000)
    tick(feeds, T0 + 600_500, T0 + 610_000, B)
    feeds.expire(T0 + 615_500)

    assert feeds.feed(B).stalled


def test_a_page_that_turns_to_another_of_many_assets_changes_no_pauses(feeds: FeedTracker) -> None:
    tick(feeds, T0, T0 + 600_000, A, B, every_ms=30_000)
    feeds.on_asset_change("s", "AUDCAD_otc", T0 + 600_000)
    feeds.expire(T0 + 629_000)

    assert not feeds.feed(A).stalled


def test_while_this_process_stood_still_nobody_is_suspected(feeds: FeedTracker) -> None:
    tick(feeds, T0, T0 + 1_000)
    feeds.grace_until_ms = T0 + 33_000
    feeds.expire(T0 + 30_000)
    assert feeds.drain_gaps() == []

    feeds.expire(T0 + 33_000)
    assert len(feeds.drain_gaps()) == 1


def test_a_new_socket_ends_the_gap_of_one_that_died_without_a_word(feeds: FeedTracker) -> None:
    tick(feeds, T0, T0 + 1_000, socket="dead")
    feeds.expire(T0 + 20_000)
    tick(feeds, T0 + 20_000, T0 + 21_000, socket="new")

    assert feeds.drain_gaps()[-1] == GapUpdate(A, T0 + 1_000, T0 + 20_000, GapReason.SOCKET_SILENT)
    assert not feeds.feed(A).stalled


def test_a_silent_socket_that_closes_names_the_better_reason(feeds: FeedTracker) -> None:
    tick(feeds, T0, T0 + 1_000)
    feeds.expire(T0 + 10_000)
    feeds.on_socket_closed("s", GapReason.TAB_CRASHED)

    assert feeds.drain_gaps()[-1] == GapUpdate(A, T0 + 1_000, 0, GapReason.TAB_CRASHED)
    assert not feeds.feed(A).stalled


# --- the page turns ---


def test_an_asset_turned_away_from_ends_when_it_stays_silent(feeds: FeedTracker) -> None:
    tick(feeds, T0, T0 + 1_000, A, B)
    feeds.on_asset_change("s", B, T0 + 1_000)
    tick(feeds, T0 + 1_500, T0 + 7_000, B)

    assert feeds.drain_gaps() == [GapUpdate(A, T0 + 1_000, 0, GapReason.UNSUBSCRIBED)]
    assert live(feeds, A) == [(T0, T0 + 1_000)]
    assert live(feeds, B) == [(T0, T0 + 7_000)]


def test_a_tick_under_way_when_the_page_turned_does_not_keep_the_asset(feeds: FeedTracker) -> None:
    tick(feeds, T0, T0 + 1_000, A, B)
    feeds.on_asset_change("s", B, T0 + 1_000)
    tick(feeds, T0 + 1_500, T0 + 2_000, A, B)
    tick(feeds, T0 + 2_500, T0 + 8_000, B)

    assert feeds.drain_gaps() == [GapUpdate(A, T0 + 2_000, 0, GapReason.UNSUBSCRIBED)]


def test_an_asset_that_ticks_on_after_the_page_turned_stays_covered(feeds: FeedTracker) -> None:
    tick(feeds, T0, T0 + 1_000, A, B)
    feeds.on_asset_change("s", B, T0 + 1_000)
    tick(feeds, T0 + 1_500, T0 + 5_000, A, B)
    tick(feeds, T0 + 5_500, T0 + 30_000, B)

    assert feeds.drain_gaps() == []
    assert live(feeds, A) == [(T0, T0 + 30_000)]


def test_turning_back_quickly_leaves_the_hole_open(feeds: FeedTracker) -> None:
    tick(feeds, T0, T0 + 1_000)
    feeds.on_asset_change("s", B, T0 + 1_000)
    tick(feeds, T0 + 1_500, T0 + 3_000, B)
    feeds.on_asset_change("s", A, T0 + 3_000)
    tick(feeds, T0 + 3_500, T0 + 5_000, A)

    assert live(feeds, A) == [(T0, T0 + 1_000), (T0 + 3_500, T0 + 5_000)]
    assert feeds.drain_gaps() == [
        GapUpdate(A, T0 + 1_000, 0, GapReason.UNSUBSCRIBED),
        GapUpdate(A, T0 + 1_000, T0 + 3_500, GapReason.UNSUBSCRIBED),
    ]


def test_the_page_turning_on_another_socket_says_nothing_of_this_one(feeds: FeedTracker) -> None:
    tick(feeds, T0, T0 + 1_000, A)
    feeds.on_asset_change("other tab", B, T0 + 1_000)
    tick(feeds, T0 + 1_500, T0 + 10_000, A)

    assert feeds.drain_gaps() == []


# --- history ---


def test_history_before_the_first_live_tick_joins_it_without_a_hole(feeds: FeedTracker) -> None:
    feeds.add_history("s", A, [(T0 + at, 1.0) for at in range(0, 9_501, 500)])
    tick(feeds, T0 + 10_000, T0 + 11_000)

    assert feeds.coverage(feeds.feed(A)).covers(T0, T0 + 11_000)


def test_history_after_the_first_live_tick_joins_it_too(feeds: FeedTracker) -> None:
    tick(feeds, T0 + 10_000, T0 + 11_000)
    feeds.add_history("s", A, [(T0, 1.0), (T0 + 10_000, 1.0 + (T0 + 10_000) / 1e7)])

    assert feeds.coverage(feeds.feed(A)).covers(T0, T0 + 11_000)


@pytest.mark.parametrize(
    ("pause_ms", "stale_ms", "joined"),
    [(500, 1_000, True), (500, 1_500, False), (3_000, 5_000, True), (30_000, 59_000, True), (30_000, 61_000, False)],
)
def test_live_ticks_join_history_only_when_they_follow_as_soon_as_its_own_ticks_do(
    feeds: FeedTracker, pause_ms: int, stale_ms: int, joined: bool
) -> None:
    end_ms = T0 + 20 * pause_ms
    feeds.add_history("s", A, [(at, 1.0) for at in range(T0, end_ms + 1, pause_ms)])
    tick(feeds, end_ms + stale_ms, end_ms + stale_ms + 1_000)

    assert feeds.coverage(feeds.feed(A)).covers(T0, end_ms + stale_ms) is joined


def test_the_last_tick_of_history_sent_again_does_not_keep_live_ticks_from_joining(feeds: FeedTracker) -> None:
    feeds.add_history("s", A, [(T0 + at, 1.0) for at in range(0, 9_501, 500)])
    assert feeds.tick("s", A, T0 + 9_500, 1.0, T0 + 9_700) is TickResult.FIRST_LIVE
    tick(feeds, T0 + 10_000, T0 + 11_000)

    assert live(feeds) == [(T0 + 9_500, T0 + 11_000)]


def test_the_first_live_tick_waits_for_history_and_history_ends_the_wait(feeds: FeedTracker) -> None:
    tick(feeds, T0, T0)
    assert feeds.feed(A).hold_until_ms == T0 + 10_000

    feeds.add_history("s", A, [(T0 - 1_000, 1.0)])
    assert feeds.feed(A).hold_until_ms == 0


def test_history_of_another_timeframe_ends_the_wait_too(feeds: FeedTracker) -> None:
    tick(feeds, T0, T0)
    feeds.add_history("s", A, [])

    assert feeds.feed(A).hold_until_ms == 0


def test_after_history_of_another_timeframe_nothing_is_waited_for(feeds: FeedTracker) -> None:
    feeds.add_history("s", A, [])
    tick(feeds, T0, T0)

    assert feeds.feed(A).hold_until_ms == 0


def test_history_returns_which_ticks_were_new(feeds: FeedTracker) -> None:
    tick(feeds, T0, T0)

    assert feeds.add_history("s", A, [(T0, 1.0 + T0 / 1e7), (T0 + 1, 1.0)]) == [T0 + 1]


def test_rows_that_are_not_on_the_interval_are_no_candles(feeds: FeedTracker) -> None:
    rows = [Candle(at, 1.0, 1.0, 1.0, 1.0) for at in (60_000, 60_001, 120_000)]
    feeds.add_server_candles(A, 60_000, rows)

    assert sorted(feeds.feed(A).rows[60_000]) == [60_000, 120_000]


def test_of_too_many_rows_the_newest_are_kept(feeds: FeedTracker) -> None:
    feeds.add_server_candles(A, 60_000, [Candle(at * 60_000, 1.0, 1.0, 1.0, 1.0) for at in range(5_000)])

    rows = feeds.feed(A).rows[60_000]
    assert (len(rows), min(rows)) == (1_000, 4_000 * 60_000)


def test_a_hole_in_the_history_makes_nothing_join_that_came_much_later(feeds: FeedTracker) -> None:
    times = [*range(T0, T0 + 10_000, 500), *range(T0 + 600_000, T0 + 610_000, 500)]
    feeds.add_history("s", A, [(at, 1.0) for at in times])
    tick(feeds, T0 + 630_000, T0 + 631_000)

    assert not feeds.coverage(feeds.feed(A)).covers(T0 + 609_000, T0 + 630_000)


# --- an earlier run ---


def test_what_an_earlier_run_received_is_covered_and_the_time_since_is_a_gap(feeds: FeedTracker) -> None:
    feeds.restore(A, [(T0, 1.0), (T0 + 500, 1.1)], T0, T0 + 500)
    tick(feeds, T0 + 9_000, T0 + 10_000)

    assert live(feeds) == [(T0, T0 + 500), (T0 + 9_000, T0 + 10_000)]
    assert feeds.drain_gaps() == [
        GapUpdate(A, T0 + 500, 0, GapReason.DAEMON_DOWN),
        GapUpdate(A, T0 + 500, T0 + 9_000, GapReason.DAEMON_DOWN),
    ]


def test_a_gap_left_open_goes_on_until_the_asset_is_heard_again(feeds: FeedTracker) -> None:
    feeds.restore_gap(A, T0 + 700, 0, GapReason.CHROME_GONE)
    feeds.restore(A, [(T0, 1.0), (T0 + 500, 1.1)], T0, T0 + 500)
    feeds.hold_until_history(T0 + 8_000)
    assert feeds.drain_gaps() == []
    assert feeds.feed(A).hold_until_ms == T0 + 18_000

    tick(feeds, T0 + 9_000, T0 + 10_000)
    assert feeds.drain_gaps() == [GapUpdate(A, T0 + 700, T0 + 9_000, GapReason.CHROME_GONE)]


def test_a_gap_left_open_that_ended_is_told_with_its_end(feeds: FeedTracker) -> None:
    feeds.restore_gap(A, T0 - 900, T0, GapReason.CHROME_GONE)
    feeds.restore(A, [(T0, 1.0)], T0, T0)

    assert feeds.drain_gaps() == [
        GapUpdate(A, T0 - 900, T0, GapReason.CHROME_GONE),
        GapUpdate(A, T0, 0, GapReason.DAEMON_DOWN),
    ]


def test_an_asset_of_which_only_the_end_is_known_has_no_feed_before_it_is_heard(feeds: FeedTracker) -> None:
    feeds.restore(A, [], T0, T0)
    assert len(feeds) == 0

    tick(feeds, T0 + 9_000, T0 + 10_000)
    assert feeds.drain_gaps() == [
        GapUpdate(A, T0, 0, GapReason.DAEMON_DOWN),
        GapUpdate(A, T0, T0 + 9_000, GapReason.DAEMON_DOWN),
    ]


def test_restored_assets_wait_for_history_once_the_time_is_known(feeds: FeedTracker) -> None:
    feeds.restore(A, [(T0, 1.0)], T0, T0 + 1)
    feeds.hold_until_history(T0 + 5_000)

    assert feeds.feed(A).hold_until_ms == T0 + 15_000


# --- the records of one socket and one asset ---


def test_a_doubt_is_over_once_the_asset_ticks_long_after_the_page_turned() -> None:
    doubt = PendingUnsubscribe(turned_ms=10_000, since_ms=9_500)

    assert not doubt.ticked(10_300)
    assert doubt.since_ms == 10_300
    assert doubt.ticked(10_000 + CONFIRMED_AFTER_MS)


@pytest.mark.parametrize(
    ("wait_ms", "silent_s"),
    [(0, 5), (250, 5), (1_000, 11.36), (4_000, 39.92), (30_000, 238.96), (120_000, 789.50), (10**9, 31_784.78)],
)
def test_a_socket_is_silent_after_so_long_that_random_trades_pause_for_it_once_a_day(
    wait_ms: float, silent_s: float
) -> None:
    assert silent_after_ms(wait_ms) / 1_000 == pytest.approx(silent_s, abs=0.01)


def pauses(*pauses_ms: int) -> Pauses:
    known = Pauses()
    for pause_ms in pauses_ms:
        known.add(pause_ms)
    return known


def test_a_new_socket_is_silent_after_five_seconds() -> None:
    source = SocketFeed()
    source.watermark_ms = 100_000

    assert (source.is_silent(104_999), source.is_silent(105_000)) == (False, True)


def test_regular_ticks_are_awaited_for_half_their_pause_and_bursts_for_more_than_their_mean() -> None:
    regular = pauses(*[4_000] * 50)
    bursts = pauses(*[10_000, *[10] * 9] * 50)  # 1 s on average, in bursts of ten

    assert regular.silent_after_ms == silent_after_ms(2_000)
    assert bursts.silent_after_ms > 40_000 > silent_after_ms(1_009)


def test_ticks_of_less_than_a_second_on_average_that_come_regularly_are_missed_after_five_seconds() -> None:
    assert pauses(*[480] * 200).silent_after_ms == 5_000
    assert pauses(*[300, 700] * 100).silent_after_ms == 5_000


def test_one_dead_stream_teaches_no_patience() -> None:
    known = pauses(*[500] * 200, 3_600_000)

    assert known.silent_after_ms == 5_000


def test_a_fast_socket_that_died_is_watched_as_closely_when_it_is_back() -> None:
    known = pauses(*[50] * 200, 60_000, *[50] * 200, 60_000, *[50] * 200, 60_000, *[50] * 40)

    assert known.silent_after_ms == 5_000


def test_a_thin_market_teaches_its_patience_in_four_pauses_whatever_came_before() -> None:
    assert pauses(*[120_000] * 4).silent_after_ms > 240_000
    assert pauses(*[500] * 200, *[30_000] * 15).silent_after_ms > 60_000


def test_old_pauses_are_forgotten() -> None:
    assert pauses(*[30_000] * 200, *[500] * 2_000).silent_after_ms < 8_000


def test_short_pauses_are_learnt_together_as_one_by_one() -> None:
    source = SocketFeed()
    one_by_one = pauses(*[900] * PAUSES_AT_ONCE, 4_000)
    for pause_ms in [900] * PAUSES_AT_ONCE:
        source.learn(pause_ms)
    source.learn(4_000)

    assert source.silent_after_ms == one_by_one.silent_after_ms > 5_000


def test_a_long_pause_is_learnt_after_the_short_ones_before_it() -> None:
    source = SocketFeed()
    for pause_ms in (900, 900, 4_000):
        source.learn(pause_ms)

    assert source.silent_after_ms == pauses(900, 900, 4_000).silent_after_ms


def test_an_asset_knows_its_own_rows_by_interval_and_start() -> None:
    feed = SymbolFeed("A")
    row = Candle(60_000, 1.0, 1.0, 1.0, 1.0)
    feed.rows[60_000] = {60_000: row}

    assert feed.server_candles(60_000) == {60_000: row}
    assert feed.server_candles(300_000) == {}


def test_an_asset_never_seen_has_no_last_tick() -> None:
    assert SymbolFeed("A").last_tick_ts_ms == 0
