"""The records of one socket and one asset."""

from __future__ import annotations

from fluxcap.capture.market.feeds import CONFIRMED_AFTER_MS, PendingUnsubscribe, SocketFeed, SymbolFeed
from fluxcap.schemas.types import Candle


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
