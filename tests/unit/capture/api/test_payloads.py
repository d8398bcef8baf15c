"""The Socket.IO messages, as today's chart programs read them."""

from __future__ import annotations

from typing import Any

import pytest

from fluxcap.capture.api import payloads
from fluxcap.schemas.types import Candle

CANDLE = Candle(1_760_000_040_000, 1.1, 1.4, 1.0, 1.2, 7.0, 7)
FIELDS = {
    "asset": "EURUSD_otc",
    "symbol": "EURUSD_otc",
    "timestamp": 1_760_000_040,
    "open": 1.1,
    "high": 1.4,
    "low": 1.0,
    "close": 1.2,
    "volume": 7.0,
    "date": "2025-10-09T08:54:00+00:00",
}


def test_a_candle_update_has_the_candle_flat_and_nested() -> None:
    assert payloads.candle_update("EURUSD_otc", CANDLE) == {**FIELDS, "candle": FIELDS}


def test_a_candle_is_stamped_with_its_start_in_whole_seconds() -> None:
    assert type(payloads.candle_fields("X", CANDLE)["timestamp"]) is int


def test_history_says_how_many_candles_and_where_they_are_from() -> None:
    message = payloads.historical_candles("EURUSD_otc", [CANDLE], "store", 1_760_000_000_250)

    assert message == {
        "asset": "EURUSD_otc",
        "symbol": "EURUSD_otc",
        "candles": [FIELDS],
        "count": 1,
        "source": "store",
        "timestamp": "2025-10-09T08:53:20.250+00:00",
    }


def test_connection_status_tells_of_chrome() -> None:
    assert payloads.connection_status(True, 0)["chrome"] == "connected"
    assert payloads.connection_status(False, 0) == {
        "status": "connected",
        "chrome": "disconnected",
        "timestamp": "1970-01-01T00:00:00+00:00",
    }


@pytest.mark.parametrize("data", [None, "EURUSD_otc", 3, [], {}, {"asset": 7}, {"asset": None}, {"asset": "x" * 65}])
def test_what_names_no_asset_is_none(data: Any) -> None:
    assert payloads.requested_asset(data) == ""


@pytest.mark.parametrize("timeframe", [None, "", "1m", "1M", "M1", "m1", 60, "60"])
def test_the_same_timeframe_is_understood_in_any_spelling(timeframe: Any) -> None:
    assert not payloads.is_other_timeframe({"asset": "X", "timeframe": timeframe}, "1m")


@pytest.mark.parametrize("timeframe", ["5m", "M5", "1h", 300, "nonsense", ["1m"]])
def test_another_timeframe_is_told_apart(timeframe: Any) -> None:
    assert payloads.is_other_timeframe({"asset": "X", "timeframe": timeframe}, "1m")


def test_a_client_reads_its_own_name_of_the_asset_and_the_platforms_beside_it() -> None:
    update = payloads.candle_update("EURUSD_otc", CANDLE, "EURUSD_OTC")
    history = payloads.historical_candles("EURUSD_otc", [CANDLE], "store", 0, "EURUSD_OTC")

    for named in (update, update["candle"], history, history["candles"][0]):
        assert (named["asset"], named["symbol"]) == ("EURUSD_OTC", "EURUSD_otc")


@pytest.mark.parametrize("data", [None, {}, {"asset": ""}, {"asset": None}, {"timeframe": "1m"}])
def test_a_request_without_a_name_leaves_the_asset_to_us(data: Any) -> None:
    assert payloads.names_no_asset(data)


@pytest.mark.parametrize("data", ["x", 3, [], {"asset": 7}, {"asset": "EURUSD_otc"}, {"asset": "x" * 65}])
def test_a_request_with_a_name_or_with_nonsense_does_not(data: Any) -> None:
    assert not payloads.names_no_asset(data)


def test_a_client_that_is_back_is_told_of_chrome() -> None:
    assert payloads.backend_reconnected(False, 0) == {
        "timestamp": "1970-01-01T00:00:00+00:00",
        "chrome_status": "disconnected",
    }
