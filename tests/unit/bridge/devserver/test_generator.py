"""fluxcap.bridge.devserver.generator: sane candles, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fluxcap.bridge.devserver.generator import GeneratedCandles, ReplayedCandles, read_candles
from fluxcap.bridge.devserver.settings import DevSettings
from fluxcap.bridge.export.candle_file import export_candles
from fluxcap.schemas.candles import first_invalid_candle
from fluxcap.schemas.errors import ConfigError
from fluxcap.schemas.types import StreamKey

KEY = StreamKey("SIM", "EURUSD", "5s")


def test_candles_are_sane_and_one_interval_apart() -> None:
    rows = GeneratedCandles(KEY, 1, 100_000).next(5_000)

    assert first_invalid_candle(rows) is None
    assert rows["ts_ms"][0] == 105_000
    assert set(np.diff(rows["ts_ms"])) == {5_000}
    assert (rows["high"] > rows["low"]).any()


def test_the_same_seed_makes_the_same_and_another_another() -> None:
    first = GeneratedCandles(KEY, 1, 0).next(50)

    assert GeneratedCandles(KEY, 1, 0).next(50).tobytes() == first.tobytes()
    assert GeneratedCandles(KEY, 2, 0).next(50).tobytes() != first.tobytes()
    assert GeneratedCandles(StreamKey("SIM", "GBPUSD", "5s"), 1, 0).next(50).tobytes() != first.tobytes()


def test_the_walk_goes_on_from_call_to_call() -> None:
    source = GeneratedCandles(KEY, 1, 0)
    first, second = source.next(10), source.next(10)

    assert second["ts_ms"][0] == first["ts_ms"][-1] + 5_000
    assert abs(second["open"][0] / first["close"][-1] - 1) < 0.01
    assert len(source.next(0)) == 0


def test_a_walk_can_start_at_a_price() -> None:
    assert abs(GeneratedCandles(KEY, 1, 0, 7.0).next(1)["open"][0] - 7.0) < 0.1


def test_what_was_exported_can_be_replayed(tmp_path: Path) -> None:
    rows = GeneratedCandles(KEY, 1, 0).next(20)

    again = read_candles(export_candles(rows, tmp_path / "c.csv"))

    assert again.tobytes() == rows.tobytes()


def test_replay_begins_after_a_time_and_ends_with_the_file() -> None:
    rows = GeneratedCandles(KEY, 1, 0).next(5)
    source = ReplayedCandles(rows, 10_000)

    assert source.next(2)["ts_ms"].tolist() == [15_000, 20_000]
    assert source.next(2)["ts_ms"].tolist() == [25_000]
    assert len(source.next(2)) == 0


def test_foreign_files_may_have_other_columns_no_order_and_repetitions(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text(
        "close,timestamp,open,high,low,note\n"
        "1.5,2026-01-11T09:01:00Z,1,2,0.5,x\n"
        "1.4,2026-01-11 09:00:00,1,2,0.5,x\n"
        "1.6,2026-01-11T09:01:00+00:00,1,2,0.5,x\n"
    )

    rows = read_candles(path)

    assert rows["close"].tolist() == [1.4, 1.6]


@pytest.mark.parametrize(
    "row",
    [
        "2026-01-11T09:01:00Z,1,0.5,2,1",
        "2026-01-11T09:01:00Z,nan,2,0.5,1",
        "2026-01-11T09:01:00Z,1,inf,0.5,1",
        "1960-01-11T09:01:00Z,1,2,0.5,1",
    ],
)
def test_rows_that_no_candle_can_look_like_are_not_replayed(tmp_path: Path, row: str) -> None:
    path = tmp_path / "c.csv"
    path.write_text(f"timestamp,open,high,low,close\n{row}\n")

    with pytest.raises(ConfigError, match="not a valid candle:"):
        read_candles(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a,b\n1,2\n",
        "timestamp,open,high,low,close\nsoon,1,2,0.5,1\n",
        "open,high,low,close,timestamp\n1,2,0.5,1\n",
        f"timestamp,open,high,low,close,tick_count\n2026-01-11T09:01:00Z,1,2,0.5,1,{10**30}\n",
        "timestamp,open,high,low,close,flags\n2026-01-11T09:01:00Z,1,2,0.5,1,70000\n",
    ],
)
def test_what_cannot_be_replayed_is_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.csv"
    path.write_text(text or "timestamp,open,high,low,close\nx\n")

    with pytest.raises(ConfigError, match="columns timestamp"):
        read_candles(path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"interval": "1x"},
        {"symbols": ()},
        {"symbols": ("A", "A")},
        {"source": "a.b"},
        {"tick_ms": 0},
        {"batch_size": 10_001},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        DevSettings(**wrong).validate()  # type: ignore[arg-type]
