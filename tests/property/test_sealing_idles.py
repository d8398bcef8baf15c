"""A market that looks at its assets only when something may have become due decides as one that looks every time."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.capture.market.market import Market, MarketUpdate
from tests.property.test_market_breaks import play, stories
from tests.support.examples import examples
from tests.support.market import simulated_market as stage


class WideAwake(Market):
    """Looks at everything whenever time passes."""

    def advance_time(self, at: ArrivalTime) -> None:
        self._aggregator.invalidate_idle()
        self.feeds._doubting = self.feeds._any_stalled = True
        super().advance_time(at)


class Twins:
    """One of each, told the same; they must decide the same at the same moment."""

    def __init__(self, *arguments: Any) -> None:
        self._usual, self._awake = Market(*arguments), WideAwake(*arguments)

    def __getattr__(self, name: str) -> Any:
        def both(*arguments: Any) -> Any:
            getattr(self._awake, name)(*arguments)
            return getattr(self._usual, name)(*arguments)

        return both

    def drain(self) -> MarketUpdate:
        outcome = self._usual.drain()
        assert outcome == self._awake.drain()
        return outcome


@settings(max_examples=examples(80), deadline=None)
@given(stories(), st.sampled_from([1_000, 5_000, 60_000]))
def test_idling_decides_nothing_otherwise(story: list[tuple[str, int]], interval_ms: int) -> None:
    with patch.object(stage, "Market", Twins):
        played = play(story, interval_ms)

    assert isinstance(played.market, Twins)
