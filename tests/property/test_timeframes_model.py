"""Derived candles are the fold of the base candles, whatever comes when, and none claims falsely to be whole."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fluxcap.bridge.server.sequencer import Sequencer
from fluxcap.bridge.server.timeframes import NEVER_MS, DerivedStreams, FoldedCandles, Timeframes
from fluxcap.schemas.types import Candle, CandleBatch, CandleFlags, CandleRevision, Gap, StreamKey, Watermark
from tests.support.examples import examples
from tests.support.wire.samples import EURUSD, MINUTE

LONGER = ("3m", "4m", "12m")
LENGTHS = {"3m": 3 * MINUTE, "4m": 4 * MINUTE, "12m": 12 * MINUTE}
FLAGS = st.sampled_from([0, 0, 0, CandleFlags.BLIND, CandleFlags.FILLED, CandleFlags.BLIND | CandleFlags.FILLED])
PRICES = st.integers(100, 140)


def unrevised(candle: Candle) -> Candle:
    return msgspec.structs.replace(candle, flags=candle.flags & ~CandleFlags.REVISED)


class ListStore:
    """Streams as plain lists, gaps as a table."""

    def __init__(self) -> None:
        self.main: dict[StreamKey, list[Candle]] = {}
        self.passed_over: dict[StreamKey, dict[int, Candle]] = {}
        self.kept_gaps: dict[tuple[str, int], Gap] = {}
        self.revisions: dict[StreamKey, int] = {}

    def watermark(self, key: StreamKey) -> Watermark:
        candles = self.main.get(key, ())
        newest = self.revisions.get(key, 0)
        return Watermark(len(candles), candles[-1].ts_ms, newest, 1) if candles else Watermark(latest_revision=newest)

    def as_it_stands(self, key: StreamKey) -> dict[int, Candle]:
        return self.passed_over.get(key, {}) | {candle.ts_ms: candle for candle in self.main.get(key, ())}

    def between(self, key: StreamKey, from_ms: int, to_ms: int) -> list[Candle]:
        standing = self.as_it_stands(key)
        return [standing[ts_ms] for ts_ms in sorted(standing) if from_ms <= ts_ms < to_ms]

    def began_ms(self, key: StreamKey) -> int:
        return min(self.as_it_stands(key), default=NEVER_MS)

    def published(self, key: StreamKey, ts_ms: Sequence[int]) -> dict[int, tuple[int, Candle]]:
        return {c.ts_ms: (n, c) for n, c in enumerate(self.main.get(key, ()), 1) if c.ts_ms in ts_ms}

    def gaps(self, source_id: str, from_ms: int) -> list[Gap]:
        return [gap for gap in self.kept_gaps.values() if not gap.to_ms or gap.to_ms > from_ms]

    def commit(
        self, batches: Sequence[CandleBatch], revised: dict[StreamKey, list[Candle]], gaps: Sequence[Gap]
    ) -> None:
        for batch in batches:
            own = self.main.setdefault(batch.key, [])
            assert batch.start_sequence == len(own) + 1
            own += [Candle(*row) for row in batch.candles.tolist()]
        for key, candles in revised.items():
            own = self.main.get(key, [])
            for candle in candles:
                assert candle.ts_ms <= own[-1].ts_ms
                self.revisions[key] = self.revisions.get(key, 0) + 1
                at = bisect_left([one.ts_ms for one in own], candle.ts_ms)
                if own[at].ts_ms == candle.ts_ms:
                    own[at] = msgspec.structs.replace(candle, flags=candle.flags | CandleFlags.REVISED)
                else:
                    self.passed_over.setdefault(key, {})[candle.ts_ms] = candle
        for gap in gaps:
            self.kept_gaps[gap.symbol, gap.from_ms] = gap


class TimeframesAgainstFold(RuleBasedStateMachine):
    @initialize(covers=st.booleans(), begins=st.integers(0, 11))
    def begin(self, covers: bool, begins: int) -> None:
        self.store = ListStore()
        self.covers = covers
        self.covered: set[int] = set()
        """Minutes that history covers, though nothing was traded."""
        self.known_covered: set[int] = set()
        self.now = 1_200 + begins
        """The next minute."""
        self.over_ms = 0
        self.start()

    def start(self) -> None:
        self.known_covered = set()
        self.derived = DerivedStreams(
            Timeframes(EURUSD.source_id, EURUSD.interval, LONGER),
            self.store,
            lambda symbol, from_ms, to_ms: from_ms // MINUTE in self.known_covered,
            lambda: self.now * MINUTE,
        )

    def do(
        self,
        sealed: Sequence[Candle] = (),
        better: Sequence[Candle] = (),
        gaps: Sequence[Gap] = (),
        over_ms: int = 0,
    ) -> FoldedCandles:
        """As the server commits."""
        numbers = Sequencer({key: self.store.watermark(key) for key in [EURUSD, *self.derived.keys(EURUSD)]})
        batches = [numbers.number(EURUSD, sealed)] if sealed else []
        revisions: list[CandleRevision] = []
        if better:
            known = self.store.published(EURUSD, [candle.ts_ms for candle in better])
            revisions = [numbers.revise(EURUSD, [known.get(c.ts_ms, (0, c))[0] for c in better], better)]
        folded = self.derived.fold(batches, revisions, gaps, {EURUSD: over_ms} if over_ms else {})
        batches += [numbers.number(key, candles) for key, candles in folded.sealed.items()]
        for key, candles in folded.revised.items():
            assert len({candle.ts_ms for candle in candles}) == len(candles)
            for candle in candles:
                standing = self.store.as_it_stands(key).get(candle.ts_ms)
                assert standing is None or unrevised(candle) != unrevised(standing), "it says nothing new"
        self.store.commit(batches, ({EURUSD: list(better)} if better else {}) | folded.revised, gaps)
        self.derived.confirm(folded)
        self.over_ms = max([self.over_ms, over_ms, *(candle.ts_ms + MINUTE for candle in sealed)])
        return folded

    def candle(self, minute: int, prices: Sequence[int], flags: int) -> Candle:
        known = [price / 100 for price in prices]
        return Candle(
            minute * MINUTE, known[0], max(known), min(known), known[-1], float(len(known)), len(known), int(flags)
        )

    @rule(steps=st.lists(st.tuples(st.integers(0, 4), st.lists(PRICES, min_size=1, max_size=4), FLAGS), max_size=6))
    def minutes_are_sealed(self, steps: list[tuple[int, list[int], int]]) -> None:
        candles = []
        for skipped, prices, flags in steps:
            self.now += skipped
            candles.append(self.candle(self.now, prices, flags))
            self.now += 1
        self.do(candles)

    @rule(minutes=st.integers(0, 15))
    def time_passes(self, minutes: int) -> None:
        self.now += minutes
        self.do(over_ms=self.now * MINUTE)

    @precondition(lambda self: self.store.main.get(EURUSD))
    @rule(prices=st.lists(PRICES, min_size=1, max_size=3), back=st.integers(0, 6), flags=FLAGS)
    def a_minute_that_was_over_comes_late(self, prices: list[int], back: int, flags: int) -> None:
        newest = self.store.main[EURUSD][-1].ts_ms // MINUTE
        minute = max(newest + 1, self.now - back)
        if minute < self.now:
            self.do([self.candle(minute, prices, flags)])

    @precondition(lambda self: self.store.main.get(EURUSD))
    @rule(changes=st.lists(st.tuples(st.integers(-3, 40), st.lists(PRICES, min_size=1, max_size=3), FLAGS), max_size=3))
    def minutes_are_revised(self, changes: list[tuple[int, list[int], int]]) -> None:
        newest = self.store.main[EURUSD][-1].ts_ms // MINUTE
        found = {newest - back: self.candle(newest - back, *what) for back, *what in changes if back >= 0}
        self.do(better=[found[minute] for minute in sorted(found)])

    @rule(back=st.integers(0, 30), length=st.integers(0, 20), tenth=st.integers(0, 9))
    def a_gap_is_told(self, back: int, length: int, tenth: int) -> None:
        from_ms = (self.now - back) * MINUTE + tenth * MINUTE // 10
        self.do(gaps=[Gap(EURUSD.source_id, EURUSD.symbol, from_ms, from_ms + length * MINUTE - 1 if length else 0)])

    @precondition(lambda self: self.store.kept_gaps)
    @rule(at=st.integers(0, 100), how=st.sampled_from(["closed", "withdrawn"]))
    def a_gap_ends(self, at: int, how: str) -> None:
        gaps = list(self.store.kept_gaps.values())
        gap = gaps[at % len(gaps)]
        end_ms = gap.from_ms if how == "withdrawn" else max(gap.from_ms + 1, self.now * MINUTE)
        self.do(gaps=[msgspec.structs.replace(gap, to_ms=end_ms)])

    @precondition(lambda self: self.covers)
    @rule(back=st.integers(1, 20))
    def history_covers_a_minute_without_a_trade(self, back: int) -> None:
        if (self.now - back) * MINUTE not in self.store.as_it_stands(EURUSD):
            self.covered.add(self.now - back)
            self.known_covered.add(self.now - back)

    @precondition(lambda self: self.store.main.get(EURUSD))
    @rule(prices=st.lists(PRICES, min_size=1, max_size=3))
    def the_candles_under_way_are_the_fold_so_far(self, prices: list[int]) -> None:
        candle = self.candle(self.now, prices, 0)
        base = self.store.as_it_stands(EURUSD)

        for key, under_way in self.derived.forming(EURUSD, candle):
            start_ms = candle.ts_ms - candle.ts_ms % LENGTHS[key.interval]
            own = [*(base[ts_ms] for ts_ms in sorted(base) if start_ms <= ts_ms < candle.ts_ms), candle]
            whole = Candle(
                start_ms,
                own[0].open,
                max(one.high for one in own),
                min(one.low for one in own),
                candle.close,
                sum(one.volume for one in own),
                sum(one.tick_count for one in own),
            )
            assert msgspec.structs.replace(under_way, flags=0) == whole, key

    @rule()
    def restart(self) -> None:
        """The market tells again what is over. What the store shows to be over is known."""
        self.start()
        self.over_ms = 0

    @invariant()
    def each_is_the_fold(self) -> None:
        base = self.store.as_it_stands(EURUSD)
        for key in self.derived.keys(EURUSD):
            length_ms = LENGTHS[key.interval]
            standing = self.store.as_it_stands(key)
            due = {ts_ms - ts_ms % length_ms for ts_ms in base}
            over_ms = self.over_ms - self.over_ms % length_ms
            newest_ms = max(base, default=0) + MINUTE
            over_ms = max(over_ms, newest_ms - newest_ms % length_ms)
            due = {start for start in due if start >= min(base) and (start < over_ms or start in standing)}
            assert set(standing) == due, key
            for start_ms in due:
                own = [base[ts_ms] for ts_ms in sorted(base) if start_ms <= ts_ms < start_ms + length_ms]
                self.check(standing[start_ms], own, length_ms)

    def check(self, found: Candle, own: list[Candle], length_ms: int) -> None:
        assert (found.open, found.close) == (own[0].open, own[-1].close)
        assert found.high == max(candle.high for candle in own)
        assert found.low == min(candle.low for candle in own)
        assert found.volume == sum(candle.volume for candle in own)
        assert found.tick_count == sum(candle.tick_count for candle in own)
        whole = CandleFlags.BLIND | CandleFlags.FILLED
        blind = any(candle.flags & whole == CandleFlags.BLIND for candle in own)
        have = {candle.ts_ms for candle in own}
        for ts_ms in range(found.ts_ms, found.ts_ms + length_ms, MINUTE):
            if ts_ms not in have and ts_ms // MINUTE not in self.covered:
                blind |= any(
                    gap.from_ms != gap.to_ms and gap.from_ms < ts_ms + MINUTE and (not gap.to_ms or gap.to_ms > ts_ms)
                    for gap in self.store.kept_gaps.values()
                )
        flags = CandleFlags(found.flags) & ~CandleFlags.REVISED
        if blind or not self.covered:
            filled = any(candle.flags & CandleFlags.FILLED for candle in own)
            expected = CandleFlags.BLIND if blind else CandleFlags.FILLED if filled else CandleFlags.NONE
            assert flags == expected, found


TestTimeframesAgainstFold = TimeframesAgainstFold.TestCase
TestTimeframesAgainstFold.settings = settings(
    max_examples=examples(60),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
