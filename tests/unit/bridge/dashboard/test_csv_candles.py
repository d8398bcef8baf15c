"""Collected files as candles, and longer candles from shorter ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxcap.bridge.dashboard.csv_candles import TIMEFRAMES, reachable_timeframes, read_csv, resample
from fluxcap.schemas.errors import ConfigError
from fluxcap.schemas.types import Candle, CandleArray, candle_array, candles_from, interval_ms

HEADER = "timestamp,open,close,high,low\n"


def test_columns_go_by_their_names_not_their_places() -> None:
    (candle,) = candles_from(read_csv(HEADER + "2025-10-25 09:54:00Z,1.1,1.2,1.3,1.0\n"))

    assert candle == Candle(1_761_386_040_000, 1.1, 1.3, 1.0, 1.2)


@pytest.mark.parametrize(
    "time",
    [
        "2025-10-25 09:54:00Z",
        "2025-10-25T09:54:00Z",
        "2025-10-25T09:54:00",
        "2025-10-25T11:54:00+02:00",
        "1761386040",
        "1761386040.0",
        "1761386040000",
    ],
)
def test_times_are_understood_in_any_usual_form(time: str) -> None:
    (candle,) = candles_from(read_csv(HEADER + f"{time},1,1,1,1\n"))

    assert candle.ts_ms == 1_761_386_040_000


def test_rows_are_put_in_order_and_the_last_of_a_time_counts() -> None:
    text = HEADER + "120,3,3,3,3\n60,1,1,1,1\n120,4,4,4,4\n" + HEADER + "\n"

    assert [(c.ts_ms, c.open) for c in candles_from(read_csv(text))] == [(60_000, 1.0), (120_000, 4.0)]


def test_volume_is_read_where_there_is_one() -> None:
    (candle,) = candles_from(read_csv("\ufefftime,open,high,low,close,volume\n60,1,2,0.5,1,7\n"))

    assert candle.volume == 7


def test_ticks_are_folded_by_their_own_time() -> None:
    text = "timestamp,asset,price\n1970-01-01T00:00:59.999Z,X,2\n1970-01-01T00:00:01Z,X,1\n1970-01-01T00:01:00Z,X,5\n"

    first, second = candles_from(read_csv(text))

    assert first == Candle(0, 1.0, 2.0, 1.0, 2.0, 2.0, 2)
    assert second == Candle(60_000, 5.0, 5.0, 5.0, 5.0, 1.0, 1)


@pytest.mark.parametrize("text", [HEADER, "timestamp,asset,price\n"])
def test_a_file_without_rows_is_no_candles(text: str) -> None:
    assert len(read_csv(text)) == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "timestamp"),
        ("a,b\n", "timestamp"),
        ("timestamp,close\n", "open"),
        (HEADER + "60,1,1\n", "Line 2"),
        (HEADER + "60,1,1,1,1\n120,x,1,1,1\n", "Line 3"),
        (HEADER + "60,nan,1,1,1\n", "price"),
        (HEADER + "60,1,1,0.5,1\n", "low and high"),
        (HEADER + "noon,1,1,1,1\n", "time"),
        ("timestamp,asset,price\n12:00:01Z,X,1\n", "no date"),
        ("timestamp,asset,price\n60\r,X,1\n", "Line 2"),
        (HEADER + "60,1,1,1," + "1" * 200_000 + "\n", "Line 2"),
        (HEADER + "9" * 400 + ",1,1,1,1\n", "time"),
        (HEADER + "253402300800000,1,1,1,1\n", "time"),
        (HEADER + "1969-12-31T23:59:59Z,1,1,1,1\n", "time"),
        (HEADER + "0001-01-01T00:00:00+14:00,1,1,1,1\n", "time"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_csv(text)


# --- longer candles from shorter ones ---


MINUTE = 60_000


def minutes(*rows: tuple[int, float, float, float, float]) -> CandleArray:
    return candle_array(Candle(m * MINUTE, o, h, low, c, 2.0, 2, m % 4) for m, o, h, low, c in rows)


def test_a_bucket_has_first_open_last_close_extremes_and_the_sum_of_volumes() -> None:
    candles = minutes((10, 1.0, 1.5, 0.9, 1.1), (12, 1.1, 1.2, 0.5, 0.7), (14, 0.7, 3.0, 0.6, 2.0), (15, 9, 9, 9, 9))

    first, second = candles_from(resample(candles, "1m", "5m"))

    assert first == Candle(10 * MINUTE, 1.0, 3.0, 0.5, 2.0, 6.0, 6, 2)
    assert second.ts_ms == 15 * MINUTE


def test_buckets_begin_at_whole_multiples_of_utc_time() -> None:
    candles = minutes(*[(m, 1, 1, 1, 1) for m in range(237, 250)])

    assert [c.ts_ms // MINUTE for c in candles_from(resample(candles, "1m", "4h"))] == [0, 240]


def test_a_time_without_candles_makes_none() -> None:
    assert len(resample(minutes((0, 1, 1, 1, 1), (60, 1, 1, 1, 1)), "1m", "15m")) == 2
    assert len(resample(minutes(), "1m", "1h")) == 0


def test_minutes_at_the_end_of_a_file_of_hours_become_its_last_hour() -> None:
    candles = minutes((0, 1, 2, 1, 2), (60, 2, 3, 2, 3), (61, 3, 9, 3, 4), (62, 4, 4, 0.5, 4))

    first, last = candles_from(resample(candles, "1h", "1h"))

    assert first.close == 2
    assert (last.ts_ms, last.open, last.high, last.low, last.close) == (60 * MINUTE, 2, 9, 0.5, 4)


@pytest.mark.parametrize(("own", "to"), [("5m", "1m"), ("1h", "15m"), ("7m", "15m")])
def test_shorter_candles_or_parts_of_candles_are_refused(own: str, to: str) -> None:
    with pytest.raises(ConfigError):
        resample(minutes(), own, to)


@pytest.mark.parametrize(
    ("own", "reach"),
    [
        ("1m", TIMEFRAMES),
        ("tick", TIMEFRAMES),
        ("5m", TIMEFRAMES[1:]),
        ("1h", ("1h", "4h")),
        ("5s", TIMEFRAMES),
        ("7m", ()),
    ],
)
def test_only_timeframes_that_can_be_made_are_offered(own: str, reach: tuple[str, ...]) -> None:
    assert reachable_timeframes(own) == reach


@given(st.lists(st.integers(0, 2_000), min_size=1, max_size=80, unique=True), st.sampled_from(TIMEFRAMES[1:]))
def test_nothing_is_lost_and_nothing_invented(at: list[int], to: str) -> None:
    candles = minutes(*[(m, m + 1.0, m + 2.0, m + 0.5, m + 1.5) for m in sorted(at)])

    folded = resample(candles, "1m", to)

    assert folded["volume"].sum() == candles["volume"].sum()
    assert folded["high"].max() == candles["high"].max()
    assert folded["low"].min() == candles["low"].min()
    assert folded["open"][0] == candles["open"][0]
    assert folded["close"][-1] == candles["close"][-1]
    assert np.all(np.diff(folded["ts_ms"]) >= interval_ms(to))
