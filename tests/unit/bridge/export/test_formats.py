"""Files for other programs, to the letter."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from fluxcap.bridge.export.formats import CandleFormat, bar_type_of, write_candles
from fluxcap.schemas.errors import ConfigError, StoreError
from fluxcap.schemas.types import Candle, CandleArray, StreamKey, candle_array

KEY = StreamKey("DESK", "EURUSD_otc", "1m")
T0_MS = 1_795_305_240_000
PAGES = [
    candle_array([Candle(T0_MS, 1.17234, 1.1725, 1.172, 1.17241, 14.0, 14)]),
    candle_array([Candle(T0_MS + 60_000, 9e-06, 1.0, 1e-07, 0.5, 3.0, 3, 2)]),
]
TEXTS = {
    CandleFormat.TRADINGVIEW: (
        "time,open,high,low,close,Volume\n"
        "1795305240,1.17234,1.1725,1.172,1.17241,14\n"
        "1795305300,0.000009,1.0,0.0000001,0.5,3\n"
    ),
    CandleFormat.METATRADER5: (
        "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n"
        "2026.11.21\t23:54:00\t1.17234\t1.1725\t1.172\t1.17241\t14\t0\t0\n"
        "2026.11.21\t23:55:00\t0.000009\t1.0\t0.0000001\t0.5\t3\t0\t0\n"
    ),
    CandleFormat.FREQTRADE: (
        "[[1795305240000,1.17234,1.1725,1.172,1.17241,14.0],[1795305300000,0.000009,1.0,0.0000001,0.5,3.0]]"
    ),
}


@pytest.mark.parametrize("form", TEXTS)
def test_a_file_is_what_its_program_reads(form: CandleFormat, tmp_path: Path) -> None:
    target = tmp_path / "out"

    count = write_candles(form, KEY, PAGES, target)

    assert count == 2
    assert target.read_text() == TEXTS[form]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_without_candles_is_sound(tmp_path: Path) -> None:
    assert write_candles(CandleFormat.FREQTRADE, KEY, [], tmp_path / "out") == 0
    assert json.loads((tmp_path / "out").read_text()) == []


def test_what_fails_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_text("before")

    def pages() -> object:
        yield PAGES[0]
        raise StoreError("the store is gone")

    with pytest.raises(StoreError, match="the store is gone"):
        write_candles(CandleFormat.TRADINGVIEW, KEY, pages(), target)  # type: ignore[arg-type]

    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_metatrader_takes_minutes_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="1-minute bars"):
        write_candles(CandleFormat.METATRADER5, StreamKey("DESK", "A", "5m"), PAGES, tmp_path / "out")


@pytest.mark.parametrize("form", TEXTS)
def test_a_folder_that_is_not_there_is_said(form: CandleFormat, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no folder"):
        write_candles(form, KEY, PAGES, tmp_path / "none" / "out")


def test_nautilus_is_asked_for_where_it_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nautilus_trader", None)

    with pytest.raises(ConfigError, match="needs nautilus_trader beside fluxcap"):
        write_candles(CandleFormat.NAUTILUS, KEY, PAGES, tmp_path / "catalog")


@pytest.mark.parametrize(
    ("interval", "told"),
    [("1m", "1-MINUTE"), ("15s", "15-SECOND"), ("4h", "4-HOUR"), ("60m", "1-HOUR"), ("1d", "1-DAY")],
)
def test_a_stream_is_a_bar_type_of_nautilus(interval: str, told: str) -> None:
    assert bar_type_of(StreamKey("DESK", "EURUSD_otc", interval)) == f"EURUSD_otc.DESK-{told}-LAST-EXTERNAL"


def rows_of(array: CandleArray) -> list[tuple[float, ...]]:
    return [tuple(row) for row in array[["ts_ms", "open", "high", "low", "close", "volume"]].tolist()]


def test_no_digit_is_lost(tmp_path: Path) -> None:
    write_candles(CandleFormat.FREQTRADE, KEY, PAGES, tmp_path / "out")

    told = [tuple(row) for row in json.loads((tmp_path / "out").read_text())]
    assert told == [row for page in PAGES for row in rows_of(page)]
