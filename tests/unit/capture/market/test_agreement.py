"""Which candles are compared with the platform's rows, and what counts as equal."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxcap.capture.market.agreement import compare
from fluxcap.capture.market.tape import TickTape
from fluxcap.schemas.types import Candle, CandleFlags

MINUTE = 60_000
OURS = Candle(MINUTE, 1.2, 1.5, 1.1, 1.3, 40.0, 40)


def row(candle: Candle, **changes: float) -> Candle:
    """The platform's own: it tells neither volume nor number of ticks."""
    return msgspec.structs.replace(candle, volume=0.0, tick_count=0, flags=0, **changes)


def test_the_same_prices_are_equal_whatever_the_number_of_ticks() -> None:
    (one,) = compare({MINUTE: (7, OURS)}, [row(OURS)])

    assert one.is_equal
    assert one.sequence == 7


@pytest.mark.parametrize("name", ["open", "high", "low", "close"])
def test_one_price_that_differs_is_enough(name: str) -> None:
    (one,) = compare({MINUTE: (7, OURS)}, [row(OURS, **{name: getattr(OURS, name) + 0.00001})])

    assert not one.is_equal


@pytest.mark.parametrize("flags", [flag for flag in CandleFlags if flag])
def test_a_candle_with_a_flag_is_left_out(flags: CandleFlags) -> None:
    flagged = msgspec.structs.replace(OURS, flags=int(flags))

    assert compare({MINUTE: (7, flagged)}, [row(OURS)]) == []


def test_only_times_that_both_have_are_compared_the_last_row_of_a_time_counts() -> None:
    rows = [row(OURS, close=1.4), row(OURS), row(OURS, ts_ms=3 * MINUTE)]

    (one,) = compare({MINUTE: (7, OURS), 2 * MINUTE: (8, OURS)}, rows)

    assert one.is_equal


@st.composite
def markets(draw: st.DrawFn) -> tuple[list[tuple[int, float]], set[int], set[int]]:
    """Ticks of up to six minutes, the minutes that have a flag, and those whose row lies."""
    prices = st.integers(100_000, 200_000).map(lambda points: points / 100_000)
    offsets = st.lists(st.integers(0, 6 * MINUTE - 1), min_size=1, max_size=60, unique=True)
    ticks = [(MINUTE + at, draw(prices)) for at in sorted(draw(offsets))]
    minutes = sorted({ts_ms - ts_ms % MINUTE for ts_ms, _ in ticks})
    flagged = draw(st.sets(st.sampled_from(minutes)))
    lying = draw(st.sets(st.sampled_from(minutes)))
    return ticks, flagged, lying


@given(markets(), st.sampled_from(["open", "high", "low", "close"]), st.randoms())
def test_exactly_the_rows_that_lie_differ_in_any_order(
    market: tuple[list[tuple[int, float]], set[int], set[int]], name: str, random: object
) -> None:
    ticks, flagged, lying = market
    tape = TickTape()
    by_minute: dict[int, list[float]] = {}
    for ts_ms, price in ticks:
        tape.add(ts_ms, price)
        by_minute.setdefault(ts_ms - ts_ms % MINUTE, []).append(price)
    sealed, rows = {}, []
    for sequence, (start_ms, prices) in enumerate(by_minute.items(), start=1):
        ours = tape.fold(start_ms, start_ms + MINUTE)
        assert ours is not None
        sealed[start_ms] = sequence, msgspec.structs.replace(ours, flags=4 * (start_ms in flagged))
        platform = Candle(start_ms, prices[0], max(prices), min(prices), prices[-1])
        rows.append(row(platform, **{name: getattr(platform, name) + 0.5}) if start_ms in lying else platform)
    random.shuffle(rows)  # type: ignore[attr-defined]

    found = compare(sealed, rows)

    assert [one.ours.ts_ms for one in found] == [start_ms for start_ms in sorted(sealed) if start_ms not in flagged]
    assert {one.ours.ts_ms for one in found if not one.is_equal} == lying - flagged
