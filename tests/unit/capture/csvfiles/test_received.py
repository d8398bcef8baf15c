"""Candles that a chart program sends, kept as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fluxcap.capture.csvfiles.catalog import list_csv_files
from fluxcap.capture.csvfiles.received import MOST_CANDLES, keep_received, received_candles
from fluxcap.schemas.errors import ConfigError, StoreError
from fluxcap.schemas.types import CandleArray

NOW_MS = 1_760_000_000_000


def row(time: Any, **changes: Any) -> dict[str, Any]:
    return {"timestamp": time, "open": 1.1, "high": 1.2, "low": 1.0, "close": 1.15} | changes


def candles(*seconds: int, **changes: Any) -> CandleArray:
    return received_candles([row(second, **changes) for second in seconds])


@pytest.mark.parametrize(
    "time", [1_760_000_040, 1_760_000_040_000, "1760000040", "2025-10-09 08:54:00Z", "2025-10-09T08:54:00+00:00"]
)
def test_a_time_is_understood_as_charts_write_it(time: Any) -> None:
    assert received_candles([row(time)])["ts_ms"].tolist() == [1_760_000_040_000]


def test_candles_are_put_in_order_each_time_once() -> None:
    assert candles(180, 60, 120, 60)["ts_ms"].tolist() == [60_000, 120_000, 180_000]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (None, "no candles"),
        ([], "no candles"),
        ("x", "no candles"),
        ([row(60), {"timestamp": 120}], "Candle 2"),
        ([row(60), 7], "Candle 2"),
        ([row(60, open=None)], "Candle 1"),
        ([row(60, open=True)], "Candle 1"),
        ([row("60,70")], "Candle 1"),
        ([row(60, open="much")], "much"),
        ([row(60, high=0.5)], "Line 2"),
        ([row(60, open=float("nan"))], "Line 2"),
        ([row(60)] * (MOST_CANDLES + 1), "too many"),
    ],
)
def test_what_is_no_list_of_candles_is_refused_with_a_sentence(rows: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        received_candles(rows)


def test_they_become_a_file_of_their_asset_and_timeframe(tmp_path: Path) -> None:
    path = keep_received(tmp_path, "#AAPL_otc", candles(300, 600, 900), NOW_MS)

    assert path is not None
    assert path.read_text().splitlines() == [
        "timestamp,open,close,high,low",
        "1970-01-01 00:05:00Z,1.1,1.15,1.2,1.0",
        "1970-01-01 00:10:00Z,1.1,1.15,1.2,1.0",
        "1970-01-01 00:15:00Z,1.1,1.15,1.2,1.0",
    ]
    [listed] = list_csv_files(tmp_path)
    assert (listed["path"], listed["symbol"], listed["timeframe"]) == (str(path), "#AAPL_otc", "5m")


@pytest.mark.parametrize(
    ("distance_s", "timeframe"), [(5, "5s"), (60, "1m"), (900, "15m"), (3_600, "1h"), (14_400, "4h"), (86_400, "1d")]
)
def test_the_distance_of_the_candles_tells_the_timeframe(tmp_path: Path, distance_s: int, timeframe: str) -> None:
    keep_received(tmp_path, "EURUSD_otc", candles(distance_s, 2 * distance_s, 5 * distance_s), NOW_MS)

    assert [file["timeframe"] for file in list_csv_files(tmp_path)] == [timeframe]


def test_one_candle_alone_is_of_a_minute(tmp_path: Path) -> None:
    keep_received(tmp_path, "EURUSD_otc", candles(60), NOW_MS)

    assert [file["timeframe"] for file in list_csv_files(tmp_path)] == ["1m"]


def test_what_a_file_holds_already_is_not_written_a_second_time(tmp_path: Path) -> None:
    keep_received(tmp_path, "EURUSD_otc", candles(60, 120, 180), NOW_MS)

    assert keep_received(tmp_path, "EURUSD_otc", candles(60, 120, 180), NOW_MS + 5_000) is None
    assert keep_received(tmp_path, "EURUSD_otc", candles(120, 180), NOW_MS + 5_000) is None
    assert len(list_csv_files(tmp_path)) == 1


@pytest.mark.parametrize(
    ("symbol", "more"),
    [
        ("EURUSD_otc", candles(60, 120, 240)),
        ("EURUSD_otc", candles(60, 120, close=1.16)),
        ("GBPUSD_otc", candles(60, 120)),
    ],
)
def test_another_candle_makes_another_file(tmp_path: Path, symbol: str, more: CandleArray) -> None:
    keep_received(tmp_path, "EURUSD_otc", candles(60, 120, 180), NOW_MS)

    assert keep_received(tmp_path, symbol, more, NOW_MS) is not None
    assert len(list_csv_files(tmp_path)) == 2


def test_a_damaged_file_holds_nothing(tmp_path: Path) -> None:
    first = keep_received(tmp_path, "EURUSD_otc", candles(60, 120), NOW_MS)
    assert first is not None
    first.write_bytes(b"\xff\xfe")

    assert keep_received(tmp_path, "EURUSD_otc", candles(60, 120), NOW_MS) is not None


def test_a_disk_that_takes_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "data_output").write_text("a file in the way")

    with pytest.raises(StoreError, match="cannot be written"):
        keep_received(tmp_path, "EURUSD_otc", candles(60, 120), NOW_MS)
