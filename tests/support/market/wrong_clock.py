"""Runs of fluxcap on a computer whose clock is wrong, beside a store that outlives them. Time is made up.

The store keeps a stream as the real one does: candles in order of time, revisions of their sequence, or of none. What
is in it at the end is held to what truly happened.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from fluxcap.capture.market.candles import Revision
from fluxcap.capture.market.clock import ClockBasis, ClockPrior
from fluxcap.capture.market.feeds import GapReason, GapUpdate
from fluxcap.capture.market.market import Market
from fluxcap.capture.platforms.pocketoption import PocketOption
from fluxcap.schemas.types import Candle, CandleFlags
from tests.support.market.simulated_market import EUR, Stage

LINE = "s1"


class StoredStream:
    """One asset's candles as they stand: those with a sequence, and those of times that the stream had passed over."""

    def __init__(self) -> None:
        self.candles: dict[int, Candle] = {}
        """With a sequence, by time; in order of their sequences."""
        self.beside: dict[int, Candle] = {}
        """With sequence 0, by time."""
        self.gaps: dict[int, GapUpdate] = {}

    @property
    def newest_ms(self) -> int:
        return max(self.candles, default=0)

    def publish(self, candles: Sequence[Candle]) -> None:
        for candle in candles:
            assert candle.ts_ms > self.newest_ms, f"{candle} cannot follow {self.newest_ms}"
            self.candles[candle.ts_ms] = candle

    def revise(self, revisions: Sequence[Revision]) -> None:
        for revision in revisions:
            candle = revision.candle
            if candle.ts_ms in self.candles:
                flags = candle.flags | CandleFlags.REVISED
                self.candles[candle.ts_ms] = msgspec.structs.replace(candle, flags=int(flags))
            else:
                assert candle.ts_ms <= self.newest_ms
                self.beside[candle.ts_ms] = candle

    def since(self, from_ms: int) -> list[Candle]:
        return [candle for ts_ms, candle in sorted(self.all.items()) if ts_ms >= from_ms]

    @property
    def all(self) -> dict[int, Candle]:
        """Every candle as v2 clients, API and page see it."""
        return self.beside | self.candles


class Computer(Stage):
    """A stage whose market can be started anew on the same store, with the same platform going on."""

    def __init__(self, interval_ms: int = 60_000, *, wall_error_ms: int = 0) -> None:
        self.store = StoredStream()
        self._buckets: dict[int, list[tuple[int, float]]] = defaultdict(list)
        self.kept: ClockPrior | None = None
        super().__init__(interval_ms)
        self.wall_error_ms = wall_error_ms
        self.restart()

    def restart(self) -> None:
        """End the run, as a kill does, and begin another."""
        newest_ms = self.store.newest_ms
        kept = self.kept or ClockPrior()
        prior = msgspec.structs.replace(kept, stored_to_ms=newest_ms + self.interval_ms if newest_ms else 0)
        self.market = Market(
            PocketOption(),
            self.interval_ms,
            self.market.focus,
            lambda symbol: self.store.newest_ms,
            prior=prior,
            stored=lambda symbol, from_ms: self.store.since(from_ms),
        )
        self.began_ms = self.now_ms
        self.market.advance_time(self.at())

    def happen(self, ts_ms: int, symbol: str = EUR) -> float:
        price = super().happen(ts_ms, symbol)
        self._buckets[ts_ms - ts_ms % self.interval_ms].append((ts_ms, price))
        return price

    def ticks_by_time(self) -> list[tuple[int, float]]:
        """All that happened, ascending."""
        return sorted(tick for ticks in self._buckets.values() for tick in ticks)

    def true_candle(self, start_ms: int, symbol: str = EUR) -> Candle | None:
        ticks = sorted(self._buckets.get(start_ms, []))
        if not ticks:
            return None
        prices = [price for _, price in ticks]
        count = len(prices)
        return Candle(start_ms, prices[0], max(prices), min(prices), prices[-1], float(count), count)

    def late_header(self, waited_s: int) -> None:
        """This process gets no turn for so long: the header that came in at its beginning is read at its end."""
        written_ms = self.now_ms
        self.unseen(waited_s)
        self.header(written_ms - self.now_ms)

    def header(self, away_ms: int = 0, socket: str | None = LINE) -> None:
        """The platform answers a handshake: its ``Date`` is ``away_ms`` from the truth."""
        self.market.on_platform_date((self.now_ms + away_ms) // 1_000 * 1_000, self.at(drained=False), socket)

    def trade(self, seconds: int) -> None:
        """The market goes on, and this run receives it."""
        first_ms = self.now_ms + 400
        for ts_ms in range(first_ms, first_ms + seconds * 1_000, 500):
            self.tick(ts_ms, EUR, LINE)

    def unseen(self, seconds: int) -> None:
        """The market goes on, and fluxcap does not run."""
        for ts_ms in range(self.now_ms + 400, self.now_ms + seconds * 1_000, 500):
            self.happen(ts_ms, EUR)
        self.now_ms += seconds * 1_000

    def _take(self) -> None:
        outcome = self.market.drain()
        store = self.store
        revised = outcome.revised.get(EUR, [])
        newer = [r.candle for r in revised if not r.published and r.candle.ts_ms > store.newest_ms]
        store.publish(sorted([*newer, *outcome.sealed.get(EUR, [])], key=lambda candle: candle.ts_ms))
        store.revise([r for r in revised if r.candle not in newer])
        for gap in outcome.gaps:
            store.gaps[gap.from_ms] = gap
        clock = self.market.clock
        offset_ms = clock.offset_ms
        if offset_ms is not None and (self.kept is None or self.kept.offset_ms != offset_ms):
            self.kept = ClockPrior(offset_ms, kept_ms=self.now_ms + self.wall_error_ms)

    # --- what is right ---

    def wrong_times(self) -> list[Candle]:
        """Candles without a flag that are not what happened then."""
        return [candle for candle in self.store.all.values() if self._is_wrong(candle)]

    def _is_wrong(self, candle: Candle) -> bool:
        flags = CandleFlags(candle.flags) & ~CandleFlags.REVISED
        if flags and not flags & CandleFlags.FILLED:
            return False
        truth = self.true_candle(candle.ts_ms)
        return truth is None or (truth.open, truth.high, truth.low, truth.close) != (
            candle.open, candle.high, candle.low, candle.close
        )  # fmt: skip

    def unflagged(self) -> set[int]:
        return {ts for ts, candle in self.store.all.items() if not candle.flags & ~CandleFlags.REVISED}

    def clock_gaps(self) -> list[tuple[int, int]]:
        return [(g.from_ms, g.to_ms) for g in self.store.gaps.values() if g.reason is GapReason.CLOCK_WRONG]

    @property
    def basis(self) -> ClockBasis | None:
        return self.market.clock.basis
