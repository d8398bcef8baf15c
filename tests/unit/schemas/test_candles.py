"""Ticks into candles, and candles into longer ones, against the plain rule."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxcap.schemas.candles import (
    first_whole_end_ms,
    fold_candles,
    fold_ticks,
    joined_rows,
    price_decimals,
    price_text,
)
from fluxcap.schemas.types import CANDLE_DTYPE, Candle, CandleArray, CandleFlags, candles_from

MINUTE = 60_000
TICKS = st.lists(st.tuples(st.integers(0, 20 * MINUTE), st.integers(1, 9).map(float)), max_size=60)


def test_prices_are_shown_with_the_digits_they_need() -> None:
    assert price_decimals([1.17, 1.17345]) == 5
    assert price_decimals([9.123e-6]) == 8
    assert price_decimals([]) == 2


@pytest.mark.parametrize("count", [1, 2, 8, 9, 40])
def test_rows_are_joined_as_they_stand(count: int) -> None:
    every_second = np.zeros(2 * count, CANDLE_DTYPE)[::2]
    every_second["ts_ms"], every_second["flags"] = np.arange(count), 7
    parts = [every_second[at : at + 1 + at % 2] for at in range(count)]

    joined = joined_rows(parts)

    assert joined.dtype == CANDLE_DTYPE
    assert joined.tolist() == [row for part in parts for row in part.tolist()]


@pytest.mark.parametrize(
    ("price", "text"),
    [
        (1.17234, "1.17234"),
        (151.5, "151.5"),
        (100.0, "100.0"),
        (1.2045e-05, "0.000012045"),
        (9e-06, "0.000009"),
        (1e22, "10000000000000000000000"),
        (0.1 + 0.2, "0.30000000000000004"),
    ],
)
def test_prices_are_spelled_out(price: float, text: str) -> None:
    assert price_text(price) == text


@given(st.floats(min_value=0.0, exclude_min=True, allow_nan=False, allow_infinity=False))
def test_no_digit_of_a_price_is_lost_and_none_has_an_exponent(price: float) -> None:
    text = price_text(price)

    assert float(text) == price
    assert re.fullmatch(r"\d+(\.\d+)?", text)


def folded(ticks: list[tuple[int, float]], interval_ms: int = MINUTE) -> CandleArray:
    times, prices = [ts_ms for ts_ms, _ in ticks], [price for _, price in ticks]
    return fold_ticks(np.array(times, np.int64), np.array(prices, np.float64), interval_ms)


@given(TICKS)
def test_a_bucket_has_first_highest_lowest_last_and_the_number_of_its_ticks(ticks: list[tuple[int, float]]) -> None:
    buckets: dict[int, list[float]] = {}
    for ts_ms, price in sorted(ticks, key=lambda tick: tick[0]):
        buckets.setdefault(ts_ms // MINUTE * MINUTE, []).append(price)
    expected = [Candle(t, p[0], max(p), min(p), p[-1], float(len(p)), len(p)) for t, p in buckets.items()]

    assert list(candles_from(folded(ticks))) == expected


@given(TICKS)
def test_folded_in_two_steps_they_are_the_same_candles(ticks: list[tuple[int, float]]) -> None:
    assert fold_candles(folded(ticks), 5 * MINUTE).tobytes() == folded(ticks, 5 * MINUTE).tobytes()


def test_a_tick_at_the_end_of_a_bucket_belongs_to_the_next() -> None:
    assert folded([(MINUTE - 1, 1.0), (MINUTE, 2.0)])["close"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("flags", "ends_ms"),
    [
        (CandleFlags.NONE, 120_000),
        (CandleFlags.JOINED_LATE, 180_000),
        (CandleFlags.BLIND, 180_000),
        (CandleFlags.JOINED_LATE | CandleFlags.FILLED, 120_000),
    ],
)
def test_the_first_whole_bucket_is_the_one_under_way_or_the_next(flags: CandleFlags, ends_ms: int) -> None:
    assert first_whole_end_ms(Candle(60_000, 1.0, 1.0, 1.0, 1.0, 1, 1, flags), 60_000) == ends_ms
