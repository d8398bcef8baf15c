"""News on their way from the pipeline's thread to the event loop."""

from __future__ import annotations

from fluxcap.capture.api.relay import CandleEvent, Event, EventRelay
from fluxcap.capture.pipeline.listeners import ChromeState, PublishedUpdate
from fluxcap.schemas.types import CandleBatch
from tests.support.wire.samples import EURUSD, GBPUSD, candle, candle_rows


def listening(limit: int = 100) -> tuple[EventRelay, list[int]]:
    relay, wakes = EventRelay(limit), []
    relay.listen(lambda: wakes.append(1))
    return relay, wakes


def sealed(first: int, count: int) -> PublishedUpdate:
    return PublishedUpdate((CandleBatch(EURUSD, first, candle_rows(first, count)),), (), (), ())


def minutes(events: list[Event]) -> list[int]:
    return [one.candle.ts_ms // 60_000 for one in events if isinstance(one, CandleEvent)]


def test_nothing_is_kept_while_nobody_listens() -> None:
    relay = EventRelay()

    relay.forming(EURUSD, candle(1))
    relay.published(sealed(1, 3))

    assert relay.drain() == []


def test_candles_under_way_are_wanted_often_only_while_somebody_listens() -> None:
    relay = EventRelay()
    wanted = [relay.hears_forming]
    relay.listen(lambda: None)
    wanted.append(relay.hears_forming)
    relay.listen(None)

    assert [*wanted, relay.hears_forming] == [False, True, False]


def test_the_newest_candle_under_way_replaces_the_one_that_waits() -> None:
    relay, wakes = listening()

    for close in (1.1, 1.2, 1.3):
        relay.forming(EURUSD, candle(5, close))
    relay.forming(GBPUSD, candle(5))

    events = relay.drain()
    assert [(one.symbol, one.candle.close) for one in events if isinstance(one, CandleEvent)] == [
        (EURUSD.symbol, 1.3),
        (GBPUSD.symbol, 1.5),
    ]
    assert len(wakes) == 1


def test_a_sealed_candle_comes_before_what_was_under_way_after_it() -> None:
    relay, _ = listening()

    relay.forming(EURUSD, candle(1))
    relay.published(sealed(1, 1))
    relay.forming(EURUSD, candle(2))

    assert minutes(relay.drain()) == [1, 1, 2]


def test_the_queue_is_bounded_and_says_what_it_gave_up() -> None:
    relay, _ = listening(limit=10)

    relay.published(sealed(1, 25))

    assert minutes(relay.drain()) == list(range(16, 26))
    assert relay.dropped == 15


def test_a_forming_candle_that_was_given_up_is_not_waited_for() -> None:
    relay, _ = listening(limit=2)
    relay.forming(GBPUSD, candle(1))
    relay.published(sealed(1, 2))

    relay.forming(GBPUSD, candle(2))

    assert [one.symbol for one in relay.drain() if isinstance(one, CandleEvent)][-1] == GBPUSD.symbol


def test_chrome_is_known_even_while_nobody_listens() -> None:
    relay = EventRelay()

    relay.chrome_changed(ChromeState.ATTACHED, "")

    assert relay.chrome.state is ChromeState.ATTACHED


def test_it_wakes_again_after_the_news_were_taken() -> None:
    relay, wakes = listening()
    relay.published(sealed(1, 1))
    relay.drain()

    relay.published(sealed(2, 1))

    assert len(wakes) == 2
