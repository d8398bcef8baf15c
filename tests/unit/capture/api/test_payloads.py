"""The Socket.IO messages, as today's chart programs read them."""

from __future__ import annotations

from typing import Any

import pytest

from fluxcap.capture.api import payloads
from fluxcap.schemas.types import Candle

CANDLE = Candle(1_760_000_040_000, 1.1, 1.4, 1.0, 1.2, 7.0, 7)
FIELDS = {
    "asset": "EURUSD_otc",
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
