"""Folding against the plainest reference there is, for any ticks, order, duplicates and interval."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fluxcap.capture.market.candles import CandleBuilder, CandleTimeouts, bucket_start
from fluxcap.capture.market.feeds import FeedTracker
from fluxcap.capture.market.tape import TickResult, TickTape
from fluxcap.schemas.types import Candle

ticks = st.lists(st.tuples(st.integers(0, 600_000), st.sampled_from([1.0, 1.1, 0.9, 1.05, 8.99e-06])), max_size=120)
intervals = st.sampled_from([1_000, 5_000, 7_000, 60_000, 300_000])


def counted(arrived: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """What a socket tells, by time, ties in order of arrival: without what repeats the last of its own stamp."""
    found: dict[int, list[float]] = {}
    for ts_ms, price in arrived:
        prices = found.setdefault(ts_ms, [])
        if not prices or prices[-1] != price:
            prices.append(price)
    return [(ts_ms, price) for ts_ms in sorted(found) for price in found[ts_ms]]


def reference(arrived: list[tuple[int, float]], interval_ms: int) -> list[Candle]:
    buckets: dict[int, list[float]] = {}
    for ts_ms, price in counted(arrived):
        buckets.setdefault(ts_ms // interval_ms * interval_ms, []).append(price)
    return [
        Candle(start, prices[0], max(prices), min(prices), prices[-1], float(len(prices)), len(prices))
        for start, prices in sorted(buckets.items())
    ]


@given(ticks, intervals)
def test_folding_equals_the_reference_for_any_order_and_duplicates(
    arrived: list[tuple[int, float]], interval_ms: int
) -> None:
    tape = TickTape()
    added = [tick for tick in arrived if tape.take(*tick, "s") is TickResult.NEW]

    assert sorted(added) == sorted(counted(arrived))
    starts = sorted({bucket_start(ts_ms, interval_ms) for ts_ms, _ in arrived})
    assert [tape.fold(start, start + interval_ms) for start in starts] == reference(arrived, interval_ms)


@given(ticks, st.integers(0, 600_000), st.integers(0, 600_000))
def test_any_stretch_folds_as_its_own_ticks_do(arrived: list[tuple[int, float]], one: int, other: int) -> None:
    tape = TickTape()
    for tick in arrived:
        tape.take(*tick, "s")
    from_ms, to_ms = min(one, other), max(one, other)
    prices = [price for ts_ms, price in counted(arrived) if from_ms <= ts_ms < to_ms]

    folded = tape.fold(from_ms, to_ms)

    assert (folded.tick_count if folded else 0) == len(prices)
    assert folded is None or (folded.open, folded.high, folded.low, folded.close) == (
        prices[0],
        max(prices),
        min(prices),
        prices[-1],
    )


@given(ticks, intervals)
def test_sealing_as_ticks_come_in_order_equals_the_reference(
    arrived: list[tuple[int, float]], interval_ms: int
) -> None:
    begin_ms = 1_000_000 * interval_ms
    in_order = counted([(begin_ms, 1.0), *((begin_ms + ts_ms, price) for ts_ms, price in arrived)])
    end_ms = bucket_start(in_order[-1][0], interval_ms) + interval_ms
    talk = [
        (ts_ms, "B", 1.0) for ts_ms in range(begin_ms, end_ms + 1_000, 400)
    ]  # another asset keeps the socket talking
    feeds = FeedTracker(history_wait_ms=0)
    feed = feeds.feed("A")
    builder = CandleBuilder(feed.tape, feed.server_candles(interval_ms), CandleTimeouts(interval_ms))
    sealed: list[Candle] = []
    for ts_ms, symbol, price in sorted(
        [*talk, *((ts, "A", price) for ts, price in in_order)], key=lambda tick: tick[0]
    ):
        feeds.tick("s", symbol, ts_ms, price, ts_ms)
        if symbol == "A" and builder.closes_bucket(ts_ms):
            sealed += builder.sealed(ts_ms, feeds.coverage(feed))

    sealed += builder.sealed(end_ms + 2_000, feeds.coverage(feed))

    assert sealed == reference(in_order, interval_ms)


@given(st.lists(st.tuples(st.integers(0, 5_000_000), st.just(1.0)), max_size=200), st.integers(1_000, 900_000))
def test_the_tape_never_folds_a_bucket_it_does_not_hold_whole(
    arrived: list[tuple[int, float]], horizon_ms: int
) -> None:
    tape = TickTape(horizon_ms)
    for tick in arrived:
        tape.take(*tick, "s")

    for start in range(0, 5_000_000, 60_000):
        if start >= tape.holds_from_ms:
            count = sum(start <= ts_ms < start + 60_000 for ts_ms, _ in set(arrived))
            folded = tape.fold(start, start + 60_000)
            assert (folded.tick_count if folded else 0) == count
