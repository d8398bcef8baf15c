"""capture/csvfiles/format.py: names and lines exactly as the programs that read them know them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxcap.capture.csvfiles.format import (
    CsvKind,
    CsvName,
    candle_line,
    decode_symbol,
    file_name,
    parse_file_name,
    safe_name,
    series_folder,
    session_stamp,
    tick_line,
)
from fluxcap.schemas.types import Candle, Tick

STAMP = "2026_11_21_23_54_26"
SYMBOLS = st.text(min_size=1, max_size=30)


def test_tick_line_has_the_whole_utc_time_with_milliseconds() -> None:
    tick = Tick("EURUSD_otc", 1_795_305_266_123, 1_795_312_466_123, 1.17234)

    assert tick_line(tick) == b"2026-11-21T23:54:26.123Z,EURUSD_otc,1.17234\n"


def test_milliseconds_always_have_three_digits() -> None:
    assert b":26.000Z," in tick_line(Tick("X", 1_795_305_266_000, 0, 1.0))


def test_candle_line_has_close_before_high_and_low() -> None:
    candle = Candle(1_795_305_240_000, open=1.1, high=1.4, low=1.0, close=1.2, volume=9.0)

    assert candle_line(candle) == b"2026-11-21 23:54:00Z,1.1,1.2,1.4,1.0\n"


def test_headers_are_the_originals() -> None:
    assert CsvKind.TICK.header == b"timestamp,asset,price\n"
    assert CsvKind.CANDLE.header == b"timestamp,open,close,high,low\n"


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("EURUSD_otc", "EURUSD_otc"),
        ("ADA-USD_otc", "ADA-USD_otc"),
        ("#AAPL_otc", "%23AAPL_otc"),
        ("EUR/USD", "EUR%2FUSD"),
        ("..", "%2E%2E"),
        ("a%2Fb", "a%252Fb"),
    ],
)
def test_symbols_become_names_of_files(symbol: str, name: str) -> None:
    assert safe_name(symbol) == name
    assert decode_symbol(name) == symbol


@given(SYMBOLS)
def test_any_symbol_becomes_a_portable_name_of_its_own(symbol: str) -> None:
    name = safe_name(symbol)

    assert re.fullmatch(r"[A-Za-z0-9_%~-]{1,120}", name)
    if "~" not in name:
        assert decode_symbol(name) == symbol


@given(st.text(min_size=100, max_size=300), st.text(min_size=100, max_size=300))
def test_long_symbols_do_not_share_a_name(first: str, second: str) -> None:
    assert (safe_name(first) == safe_name(second)) is (first == second)


def test_folders_and_names_are_the_originals() -> None:
    root = "data_output/assets_data/realtime_stream"

    assert series_folder(CsvKind.TICK, "").as_posix() == f"{root}/1M_tick_data"
    assert series_folder(CsvKind.CANDLE, "1m").as_posix() == f"{root}/1M_candle_data"
    assert series_folder(CsvKind.CANDLE, "5s").as_posix() == f"{root}/5S_candle_data"
    assert file_name(CsvKind.TICK, "EURUSD_otc", "", STAMP, 1) == f"EURUSD_otc_ticks_{STAMP}_part001.csv"
    assert file_name(CsvKind.CANDLE, "EURUSD_otc", "1m", STAMP, 12) == f"EURUSD_otc_1m_{STAMP}_part012.csv"


def test_the_stamp_is_utc() -> None:
    assert session_stamp(1_795_305_266_999) == STAMP


@given(SYMBOLS, st.sampled_from(["", "1m", "5s", "4h", "15m"]), st.integers(1, 12_345))
def test_a_name_tells_what_the_file_holds(symbol: str, interval: str, part: int) -> None:
    kind = CsvKind.CANDLE if interval else CsvKind.TICK
    is_cut = "~" in safe_name(symbol)

    assert parse_file_name(file_name(kind, symbol, interval, STAMP, part)) == CsvName(
        kind, safe_name(symbol) if is_cut else symbol, interval, STAMP, part
    )


@pytest.mark.parametrize(
    "name",
    [
        "x.csv",
        "EURUSD_ticks_2026.csv",
        f"EURUSD_1m_{STAMP}.csv",
        f"_ticks_{STAMP}.csv",
        f"A_ticks_{STAMP}_part{10**9}.csv",
    ],
)
def test_other_files_are_none_of_ours(name: str) -> None:
    assert parse_file_name(name) is None


@pytest.mark.parametrize("symbol", ["a,b", 'a"b', "a\nb", "\ud800"])
def test_a_strange_symbol_does_not_break_the_line(symbol: str) -> None:
    line = tick_line(Tick(symbol, 1_000, 0, 1.5))

    assert line.count(b"\n") == 1
    assert line.count(b",") == 2
