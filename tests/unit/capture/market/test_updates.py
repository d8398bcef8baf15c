"""What the market decided, kept until it could be stored."""

from __future__ import annotations

import pytest

from fluxcap.capture.market.aggregator import MarketUpdate
from fluxcap.capture.market.candles import Revision
from fluxcap.capture.market.feeds import GapReason, GapUpdate
from fluxcap.schemas.types import Candle, Tick


def candle(ts_ms: int) -> Candle:
    return Candle(ts_ms, 1.0, 1.0, 1.0, 1.0)


def test_an_empty_outcome_is_false() -> None:
    assert not MarketUpdate()
    assert MarketUpdate(gaps=[GapUpdate("A", 1, 0, GapReason.RELOADED)])


@pytest.mark.parametrize(
    "update",
    [
        MarketUpdate(sealed={"A": [candle(1)]}),
        MarketUpdate(revised={"A": [Revision(candle(1), published=True)]}),
        MarketUpdate(gaps=[GapUpdate("A", 1, 0, GapReason.RELOADED)]),
        MarketUpdate(ticks=[Tick("A", 1, 1, 1.0)]),
    ],
    ids=["sealed", "revised", "gaps", "ticks"],
)
def test_one_that_holds_anything_is_true(update: MarketUpdate) -> None:
    assert update


def test_revisions_and_gaps_that_could_not_be_stored_stay_before_what_is_newer() -> None:
    older, newer = Revision(candle(1), published=True), Revision(candle(2), published=False)
    opened, closed = GapUpdate("A", 1, 0, GapReason.RELOADED), GapUpdate("A", 1, 5, GapReason.RELOADED)
    failed = MarketUpdate(revised={"A": [older]}, gaps=[opened])

    failed.append(MarketUpdate(revised={"A": [newer], "B": [older]}, gaps=[closed]))

    assert failed.revised == {"A": [older, newer], "B": [older]}
    assert failed.gaps == [opened, closed]


def test_what_could_not_be_stored_stays_before_what_is_newer() -> None:
    failed = MarketUpdate(sealed={"A": [candle(1)]}, ticks=[Tick("A", 1, 1, 1.0)])

    failed.append(MarketUpdate(sealed={"A": [candle(2)], "B": [candle(1)]}, ticks=[Tick("A", 2, 2, 1.0)]))

    assert failed.sealed == {"A": [candle(1), candle(2)], "B": [candle(1)]}


def test_ticks_are_not_told_twice() -> None:
    failed = MarketUpdate(sealed={"A": [candle(1)]}, ticks=[Tick("A", 1, 1, 1.0)])

    failed.append(MarketUpdate(ticks=[Tick("A", 2, 2, 1.0)]))

    assert failed.ticks == [Tick("A", 2, 2, 1.0)]
