"""The newest candle of a stream and the one under way, as events tell of them."""

from __future__ import annotations

from fluxcap.bridge.client.events import Candles, CaughtUp, Forming, StoreReplaced
from fluxcap.bridge.client.latest import LatestCandles
from fluxcap.schemas.types import Candle, CandleFlags, StreamKey, candle_array

EURUSD = StreamKey("DEMO", "EURUSD", "1m")
GBPUSD = StreamKey("DEMO", "GBPUSD", "1m")


def candle(minute: int, close: float = 1.0) -> Candle:
    return Candle(minute * 60_000, 1.0, 2.0, 0.5, close)


def sealed(start: int, *minutes: int, key: StreamKey = EURUSD) -> Candles:
    return Candles(key, start, candle_array(candle(minute) for minute in minutes), False)


def test_a_stream_that_nothing_was_told_of_is_empty() -> None:
    latest = LatestCandles()[EURUSD]

    assert (latest.sequence, latest.candle, latest.forming, latest.count) == (0, None, None, 0)


def test_the_last_of_a_batch_is_the_newest_and_all_are_counted() -> None:
    latest = LatestCandles()

    latest.on_event(sealed(7, 1, 2, 3))
    latest.on_event(sealed(1, 1, key=GBPUSD))

    assert (latest[EURUSD].sequence, latest[EURUSD].candle, latest[EURUSD].count) == (9, candle(3), 3)
    assert latest[GBPUSD].sequence == 1


def test_a_forming_candle_goes_when_its_minute_is_complete() -> None:
    latest = LatestCandles()
    latest.on_event(sealed(1, 1))

    latest.on_event(Forming(EURUSD, candle(3)))
    latest.on_event(sealed(2, 2))
    assert latest[EURUSD].forming == candle(3)

    latest.on_event(sealed(3, 3))
    assert latest[EURUSD].forming is None


def test_a_forming_candle_of_a_complete_minute_is_of_no_interest() -> None:
    latest = LatestCandles()
    latest.on_event(sealed(1, 1))

    latest.on_event(Forming(EURUSD, candle(1, close=1.5)))

    assert latest[EURUSD].forming is None


def test_a_new_store_begins_with_nothing() -> None:
    latest = LatestCandles()
    latest.on_event(sealed(9, 5))
    latest.on_event(Forming(EURUSD, candle(6)))

    latest.on_event(StoreReplaced(EURUSD, "other", "it was replaced"))

    assert (latest[EURUSD].sequence, latest[EURUSD].candle, latest[EURUSD].forming) == (0, None, None)


def test_the_end_of_the_first_whole_candle_is_known_while_there_is_none() -> None:
    latest = LatestCandles()
    assert latest[EURUSD].first_whole_ms(60_000) == 0

    latest.on_event(Forming(EURUSD, Candle(60_000, 1.0, 1.0, 1.0, 1.0, 1, 1, CandleFlags.JOINED_LATE)))
    assert latest[EURUSD].first_whole_ms(60_000) == 180_000

    latest.on_event(CaughtUp(EURUSD, 5))
    assert latest[EURUSD].first_whole_ms(60_000) == 0
