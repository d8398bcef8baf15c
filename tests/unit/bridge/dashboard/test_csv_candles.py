"""Collected files as candles."""

from __future__ import annotations

import pytest

from fluxcap.bridge.dashboard.csv_candles import read_csv
from fluxcap.schemas.errors import ConfigError
from fluxcap.schemas.types import Candle, candles_from

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
