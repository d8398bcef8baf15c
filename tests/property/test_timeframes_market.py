"""Candles of longer intervals are the fold of the true ticks, or say that they are not, whatever breaks."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.server.timeframes import Timeframes
from fluxcap.capture.market.feeds import GapReason
from fluxcap.capture.market.market import Market
from fluxcap.capture.pipeline.listeners import ListenerGroup
from fluxcap.capture.pipeline.publish import PublishStage
from fluxcap.capture.platforms.pocketoption import PocketOption
from fluxcap.schemas.types import Candle, CandleFlags, StreamKey, candles_from
from tests.support.examples import examples
from tests.support.market.simulated_market import ALL, EUR, GBP, LAG_MS, START_MS, Stage
from tests.support.wire.samples import ANY_PORT

pytestmark = pytest.mark.costly

BASE_MS, STEP_MS = 5_000, 500
LONGER = {"10s": 10_000, "15s": 15_000, "60s": 60_000}


class StoredStage(Stage):
    """A stage whose market publishes into a store, and can be started again on it."""

    def __init__(self, path: Path) -> None:
        super().__init__(BASE_MS)
        self.path = path
        self.open()

    def key(self, symbol: str, interval: str = "5s") -> StreamKey:
        return StreamKey("TEST", symbol, interval)

    def open(self) -> None:
        self.server = WireServer(
            self.path,
            ANY_PORT,
            ANY_PORT,
            clock_ms=lambda: self.now_ms,
            timeframes=Timeframes("TEST", "5s", tuple(LONGER)),
        )
        self.market = Market(
            PocketOption(),
            BASE_MS,
            ALL,
            lambda symbol: self.server.watermark(self.key(symbol)).latest_ts_ms,
            stored=lambda symbol, from_ms: self.server.candles_since(self.key(symbol), from_ms),
            longer_ms=tuple(LONGER.values()),
        )
        self.server.derived.is_covered = self.market.is_covered
        self.market.track([key.symbol for key in self.server.store.watermarks() if key == self.key(key.symbol)])
        self.publishing = PublishStage(self.market, self.server, self.key, ListenerGroup(), lambda: 0)

    def restart(self) -> None:
        """It is killed: what was not sealed is lost."""
        self.server.close()
        self.open()

    def _take(self) -> None:
        self.publishing.flush(self.market.pending)
        assert not self.publishing.dropped

    def standing(self, symbol: str, interval: str) -> list[Candle]:
        return list(candles_from(self.server.store.reader().between(self.key(symbol, interval), 0, 2**62)))

    def problems(self) -> list[str]:
        found = []
        for symbol in (EUR, GBP):
            base = {candle.ts_ms: candle for candle in self.standing(symbol, "5s")}
            newest_ms = max(base, default=0) + BASE_MS
            for interval, length_ms in LONGER.items():
                candles = {candle.ts_ms: candle for candle in self.standing(symbol, interval)}
                due = {ts_ms - ts_ms % length_ms for ts_ms in base}
                due = {ts_ms for ts_ms in due if ts_ms >= min(base) and ts_ms + length_ms <= newest_ms}
                found += [f"{symbol} {interval} lacks {ts_ms}" for ts_ms in due - candles.keys()]
                for candle in candles.values():
                    own = [base[ts] for ts in sorted(base) if candle.ts_ms <= ts < candle.ts_ms + length_ms]
                    found += self._wrong(symbol, interval, candle, own, length_ms)
        return found

    def _wrong(self, symbol: str, interval: str, candle: Candle, own: Sequence[Candle], length_ms: int) -> list[str]:
        fold = (own[0].open, max(c.high for c in own), min(c.low for c in own), own[-1].close)
        if (candle.open, candle.high, candle.low, candle.close) != fold:
            return [f"{symbol} {interval} {candle} is not the fold of {own}"]
        ticks = sorted(tick for tick in self.truth[symbol] if candle.ts_ms <= tick[0] < candle.ts_ms + length_ms)
        prices = [price for _, price in ticks]
        truth = (prices[0], max(prices), min(prices), prices[-1])
        if not candle.flags & CandleFlags.BLIND and fold != truth:
            return [f"{symbol} {interval} {candle} claims to be whole, the truth is {truth}"]
        return []


@st.composite
def stories(draw: st.DrawFn) -> list[tuple[str, int]]:
    acts = st.sampled_from(["tick", "tick", "tick", "dark", "reload", "reload_untold", "quiet", "late", "restart"])
    return draw(st.lists(st.tuples(acts, st.integers(1, 40)), min_size=3, max_size=10))


def play(stage: StoredStage, story: list[tuple[str, int]]) -> None:
    ts = START_MS + 130
    sockets = 0

    def both(from_ms: int, steps: int, to: str | None) -> int:
        stage.ticks_of(from_ms, from_ms + steps * STEP_MS, (EUR, GBP), to)
        return from_ms + steps * STEP_MS

    ts = both(ts, 20, "s0")
    for act, steps in story:
        name = f"s{sockets}"
        if act == "tick":
            ts = both(ts, steps, name)
        elif act == "dark":
            stage.lose(name, GapReason.TAB_CLOSED, ts + LAG_MS)
            ts = both(ts, steps, None)
            sockets += 1
        elif act in ("reload", "reload_untold"):
            stage.lose(name, GapReason.RELOADED, ts + LAG_MS)
            ts = both(ts, steps, None)
            sockets += 1
            if act == "reload":
                stage.history(ts - 400_000, ts, EUR, f"s{sockets}", arrives_ms=ts + LAG_MS)
            ts = both(ts, 4, f"s{sockets}")
        elif act == "quiet":  # one asset is quiet, the other is not
            stage.ticks_of(ts, ts + steps * STEP_MS, (GBP,), name)
            ts += steps * STEP_MS
        elif act == "late":  # a second socket tells a tick that the first had not
            stage.tick(ts - 1, EUR, name, arrives_ms=ts + LAG_MS)
            ts = both(ts, 2, name)
        else:
            stage.restart()
            ts = both(ts, steps, None)
            sockets += 1
            ts = both(ts, 20, f"s{sockets}")
    ts = both(ts, 4, f"s{sockets}")
    stage.pass_time(stage.now_ms + 90_000)


@settings(max_examples=examples(12, least=4), deadline=None)
@given(stories())
@example([("tick", 40), ("reload", 10), ("tick", 40)])
@example([("quiet", 40), ("dark", 30), ("tick", 40)])
@example([("tick", 17), ("restart", 30), ("tick", 40)])
def test_candles_of_longer_intervals_are_the_fold_of_the_true_ticks_or_say_that_they_are_not(
    story: list[tuple[str, int]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stage = StoredStage(Path(folder) / "s.duckdb")
        try:
            play(stage, story)

            assert stage.problems() == []
        finally:
            stage.server.close()


def test_a_bucket_whose_last_minute_has_no_trade_is_sealed_once_that_is_over(tmp_path: Path) -> None:
    stage = StoredStage(tmp_path / "s.duckdb")
    try:
        start_ms = START_MS + -START_MS % 60_000
        stage.ticks_of(start_ms - 5_000, start_ms + 5_000, (EUR, GBP))
        stage.ticks_of(start_ms + 5_000, start_ms + 16_000, (GBP,))  # EUR is quiet, on a talking socket

        assert start_ms in [candle.ts_ms for candle in stage.standing(EUR, "10s")]
        assert stage.standing(EUR, "10s")[-1].flags == 0
    finally:
        stage.server.close()
