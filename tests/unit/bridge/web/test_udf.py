"""TradingView's UDF as its public text has it: which fields, in which form, for which question.

Written from the public description of the protocol, and from what public datafeeds read; not tried with TradingView's
own library.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fluxcap.bridge.web import udf
from fluxcap.bridge.web.reader import CandleReader, ReaderTarget
from fluxcap.schemas.errors import ConfigError
from fluxcap.schemas.types import CandleFlags, Gap, StreamKey, StreamStatus, candle_array
from tests.support.wire.memory_server import MemoryConnection, MemoryServer
from tests.support.wire.samples import candle

MINUTE = 60_000
EURUSD, HOURS = StreamKey("DESK", "EURUSD_otc", "1m"), StreamKey("DESK", "EURUSD_otc", "1h")
KEYS = (
    *(EURUSD, HOURS),
    StreamKey("DESK", "GBPUSD_otc", "15s"),
    StreamKey("DESK", "#AAPL_otc", "1d"),
    StreamKey("LAB", "EURUSD_otc", "1m"),
)
STREAMS = [StreamStatus(key) for key in KEYS]


@pytest.fixture
def reader() -> CandleReader:
    """Minutes 10 to 19 and 30 to 39."""
    server = MemoryServer()
    server.publish(EURUSD, [candle(minute, minute / 10) for minute in (*range(10, 20), *range(30, 40))])
    return CandleReader(ReaderTarget("", ""), lambda: MemoryConnection(server))  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    ("interval", "resolution"), [("1m", "1"), ("5m", "5"), ("4h", "240"), ("1d", "1D"), ("15s", "15S"), ("60s", "1")]
)
def test_an_interval_is_a_resolution_in_minutes_seconds_or_days(interval: str, resolution: str) -> None:
    assert udf.resolution_of(interval) == resolution


@pytest.mark.parametrize(("text", "minutes"), [("1", 1), ("60", 60), ("1D", 1_440), ("D", 1_440), ("W", 10_080)])
def test_a_resolution_is_understood_as_the_library_writes_it(text: str, minutes: int) -> None:
    assert udf.resolution_ms(text) == minutes * MINUTE


@pytest.mark.parametrize("text", ["", "M", "1M", "x", "0", "-5", "1.5"])
def test_what_is_no_resolution_of_ours_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        udf.resolution_ms(text)


def test_config_says_what_is_supported() -> None:
    told = udf.config(STREAMS)

    assert told["supported_resolutions"] == ["15S", "1", "60", "1D"]
    assert told["supports_search"] is True
    assert told["supports_group_request"] is False  # one of the two has to be true, never both
    assert told["supports_marks"] is True
    assert told["supports_time"] is True
    assert told["supports_timescale_marks"] is False
    assert [sorted(one) for one in told["exchanges"]] == [["desc", "name", "value"]] * 3
    assert [one["value"] for one in told["exchanges"]] == ["", "DESK", "LAB"]


def test_a_symbol_is_described_with_the_fields_that_the_library_needs() -> None:
    keys = udf.symbol_streams(STREAMS, "DESK:EURUSD_otc")

    told = udf.symbol_info(keys, decimals=5)

    needed = {"name", "ticker", "description", "type", "session", "timezone", "minmov", "pricescale", "has_intraday"}
    assert needed | {"exchange", "listed_exchange", "supported_resolutions", "intraday_multipliers"} <= told.keys()
    assert told["ticker"] == "DESK:EURUSD_otc"
    assert (told["minmov"], told["pricescale"]) == (1, 100_000)
    assert (told["session"], told["timezone"]) == ("24x7", "Etc/UTC")
    assert told["supported_resolutions"] == told["intraday_multipliers"] == ["1", "60"]
    assert (told["has_seconds"], told["has_daily"]) == (False, False)


def test_a_symbol_without_its_source_means_the_first_source_that_has_it() -> None:
    assert udf.symbol_streams(STREAMS, "EURUSD_otc") == [EURUSD, HOURS]
    assert udf.symbol_streams(STREAMS, "LAB:EURUSD_otc") == [KEYS[-1]]
    assert udf.symbol_streams(STREAMS, "nobody") == []


def test_search_finds_names_and_puts_first_what_begins_so() -> None:
    found = udf.search(STREAMS, "usd", "", 30)

    assert [row["ticker"] for row in udf.search(STREAMS, "gbp", "", 30)] == ["DESK:GBPUSD_otc"]
    assert [row["ticker"] for row in found] == ["DESK:EURUSD_otc", "DESK:GBPUSD_otc", "LAB:EURUSD_otc"]
    assert found[0].keys() == {"symbol", "ticker", "full_name", "description", "exchange", "type"}
    assert [row["ticker"] for row in udf.search(STREAMS, "", "LAB", 30)] == ["LAB:EURUSD_otc"]
    assert len(udf.search(STREAMS, "", "", 1)) == 1


def test_history_is_columns_of_equal_length_with_times_in_seconds(reader: CandleReader) -> None:
    told = udf.history(reader, EURUSD, 12 * 60, 15 * 60, None)

    assert told["s"] == "ok"
    assert told["t"] == [12 * 60, 13 * 60, 14 * 60]
    assert told["c"] == [1.2, 1.3, 1.4]
    assert {len(told[name]) for name in "tohlcv"} == {3}


def test_countback_goes_before_from(reader: CandleReader) -> None:
    told = udf.history(reader, EURUSD, 33 * 60, 35 * 60, 8)

    assert told["t"] == [60 * minute for minute in (17, 18, 19, 30, 31, 32, 33, 34)]


def test_a_time_without_bars_says_where_the_last_one_before_it_is(reader: CandleReader) -> None:
    assert udf.history(reader, EURUSD, 22 * 60, 25 * 60, None) == {"s": "no_data", "nextTime": 19 * 60}
    assert udf.history(reader, EURUSD, 0, 5 * 60, None) == {"s": "no_data"}
    assert udf.history(reader, EURUSD, 0, 5 * 60, 10) == {"s": "no_data"}


def test_the_stream_of_a_resolution_is_found_or_refused() -> None:
    assert udf.stream_of(KEYS[:2], "60") == HOURS
    with pytest.raises(ConfigError, match="no candles of resolution 5"):
        udf.stream_of(KEYS[:2], "5")


def marks(candles: Any, *gaps: Gap) -> dict[str, list[Any]]:
    return udf.marks(candle_array(candles), gaps)


def test_marks_show_flags_and_gaps_at_the_times_of_bars() -> None:
    candles = [candle(10, 1.0), candle(11, 1.0, flags=CandleFlags.BLIND | CandleFlags.REVISED), candle(14, 1.0)]
    gap = Gap("DESK", "EURUSD_otc", 11 * MINUTE + 30_000, 13 * MINUTE, "chrome gone")
    lasting = Gap("DESK", "EURUSD_otc", 14 * MINUTE + 1, 0, "socket closed")

    told = marks(candles, gap, lasting)

    assert told["time"] == [11 * 60, 11 * 60, 11 * 60, 14 * 60]
    assert told["label"] == ["B", "G", "R", "G"]
    assert told["text"][1] == "Not seen for 90 s: chrome gone."
    assert told["text"][3] == "Not seen until now: socket closed."
    assert len(set(told["id"])) == 4
    assert told.keys() == {"id", "time", "color", "text", "label", "labelFontColor", "minSize"}
    assert {len(column) for column in told.values()} == {4}
    assert set(told["time"]) <= {row.ts_ms // 1_000 for row in candles}
    assert set(told["color"]) <= {"red", "green", "blue", "yellow"}


def test_a_bar_has_ten_marks_at_most_and_a_gap_before_all_bars_stands_at_the_first() -> None:
    gaps = [Gap("DESK", "EURUSD_otc", 10 * MINUTE + number, 0, "x") for number in range(30)]

    assert len(marks([candle(10, 1.0), candle(11, 1.0)], *gaps)["time"]) == 10
    assert marks([candle(10, 1.0)], Gap("DESK", "", 1, 2, "x"))["time"] == [600]
    assert marks([], *gaps)["time"] == []
    assert np.unique(marks([candle(10, 1.0)], *gaps)["id"]).size == 10
