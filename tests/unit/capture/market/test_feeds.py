"""What sockets prove: coverage, doubt, suspicion and the gaps told of them. Times are milliseconds from 100 s on."""

from __future__ import annotations

import pytest

from fluxcap.capture.market.feeds import (
    CONFIRMED_AFTER_MS,
    FeedTracker,
    GapReason,
    GapUpdate,
    PendingUnsubscribe,
    SocketFeed,
    SymbolFeed,
    TickResult,
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


def test_a_message_of_an_unknown_socket_or_a_second_end_does_no_harm(feeds: FeedTracker) -> None:
    feeds.on_activity("chat", T0)
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


def test_pauses_long_ago_make_nobody_patient(feeds: FeedTracker) -> None:
    tick(feeds, T0, T0 + 2_000, every_ms=2_000)
    for _ in range(10):
        feeds.prune_before(0)
    feeds.tick("s", A, T0 + 6_000, 1.0, T0 + 6_000)

    assert [update.to_ms for update in feeds.drain_gaps()] == [T0 + 6_000]


def gappy(feeds: FeedTracker, talk_every_ms: int) -> int:
    """An ordinary asset that pauses by 2.5 s, on a socket that sends signals as well. Returns the last tick's time."""
    tick(feeds, T0, T0 + 30_000, every_ms=2_500)
    for at_ms in range(T0, T0 + 30_001, talk_every_ms):
        feeds.on_activity("s", at_ms)
    return T0 + 30_000


def test_steady_signals_prove_a_gappy_market_quiet(feeds: FeedTracker) -> None:
    last_ms = gappy(feeds, 3_000)
    for at_ms in range(last_ms + 3_000, last_ms + 60_001, 1_000):
        if at_ms % 3_000 == last_ms % 3_000:
            feeds.on_activity("s", at_ms)
        feeds.expire(at_ms)
    feeds.tick("s", A, last_ms + 61_000, 1.0, last_ms + 61_000)

    assert feeds.drain_gaps() == []
    assert len(live(feeds)) == 1


def test_signals_that_paused_as_well_prove_nothing(feeds: FeedTracker) -> None:
    last_ms = gappy(feeds, 3_000)
    for at_ms in (last_ms + 15_000, last_ms + 17_000, last_ms + 19_000):
        feeds.on_activity("s", at_ms)
        feeds.expire(at_ms)
    feeds.tick("s", A, last_ms + 20_000, 1.0, last_ms + 20_000)

    assert live(feeds) == [(T0, last_ms)]
    assert [update.to_ms for update in feeds.drain_gaps()][-1] == last_ms + 20_000


def test_signals_prove_nothing_where_ticks_never_pause(feeds: FeedTracker) -> None:
    tick(feeds, T0, T0 + 10_000)
    for at_ms in range(T0, T0 + 20_001, 1_000):
        feeds.on_activity("s", at_ms)
        feeds.expire(at_ms)
    feeds.tick("s", A, T0 + 21_000, 1.0, T0 + 21_000)

    assert live(feeds) == [(T0, T0 + 10_000)]


def test_a_signal_in_a_backlog_does_not_overtake_the_ticks_behind_it(feeds: FeedTracker) -> None:
    last_ms = gappy(feeds, 3_000)
    feeds.on_activity("s", last_ms + 3_000)
    feeds.tick("s", A, last_ms + 1_000, 1.0, last_ms + 3_000)
    feeds.expire(last_ms + 5_000)

    assert feeds.watermark_ms("s") == last_ms + 1_000


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
    ("pause_ms", "stale_ms", "joined"), [(500, 1_000, True), (500, 1_500, False), (3_000, 5_000, True)]
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


def test_a_socket_is_used_to_pauses_three_times_as_long_as_its_own_within_bounds() -> None:
    source = SocketFeed()
    told = []
    for quiet_ms in (1_000, 4_000, 50_000):
        source.max_pause_ms = quiet_ms
        told.append(source.gap_threshold_ms)

    assert told == [3_000, 12_000, 60_000]


def test_a_socket_is_silent_after_five_seconds_or_longer_if_it_is_used_to_that() -> None:
    source = SocketFeed()
    source.watermark_ms = 100_000
    assert (source.is_silent(104_999), source.is_silent(105_000)) == (False, True)

    source.max_pause_ms = 4_000
    assert (source.is_silent(111_999), source.is_silent(112_000)) == (False, True)


def test_old_pauses_are_forgotten_by_and_by() -> None:
    source = SocketFeed()
    source.max_pause_ms = 8_000
    for _ in range(20):
        source.forget_pauses()

    assert source.gap_threshold_ms == 3_000


def test_an_asset_knows_its_own_rows_by_interval_and_start() -> None:
    feed = SymbolFeed("A")
    row = Candle(60_000, 1.0, 1.0, 1.0, 1.0)
    feed.rows[60_000] = {60_000: row}

    assert feed.server_candles(60_000) == {60_000: row}
    assert feed.server_candles(300_000) == {}


def test_an_asset_never_seen_has_no_last_tick() -> None:
    assert SymbolFeed("A").last_tick_ts_ms == 0
