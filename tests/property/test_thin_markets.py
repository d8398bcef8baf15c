"""Markets that trade at random, from once a second to once in two minutes, alone on their socket: the table of the
operations manual, on virtual time from a seed.

Each market lives ``DAYS`` days. Every eight hours its feed dies: the socket stays open, the server sends nothing more
until the silence is noticed, then goes on. All that was traded meanwhile is lost, and must be told.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from random import Random
from statistics import fmean

import msgspec
import pytest

from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.capture.market.candles import bucket_start
from fluxcap.capture.market.feeds import silent_after_ms
from fluxcap.capture.market.focus import Focus, FocusMode
from fluxcap.capture.market.market import Market
from fluxcap.capture.platforms.base import MarketEvent, RawTick
from fluxcap.capture.platforms.pocketoption import PocketOption
from fluxcap.schemas.types import Candle, CandleFlags, FeedState
from tests.support.documents import OPERATIONS, rows

pytestmark = pytest.mark.costly

MEANS_S = (1, 4, 10, 30, 60, 120)
DAYS = 3
DAY_MS = 86_400_000
DIES_EVERY_MS = DAY_MS // 3
STEP_MS = 1_000
"""So often the daemon lets time pass here."""
LAG_MS = 750
LEARNING_PAUSES = 20
"""False gaps before so many pauses are those of a socket that is not known yet."""
START_MS = 1_760_000_040_000
SYMBOL = "THIN"
TABLE = "| random trades, on average one in"


class Decoder:
    """A frame is the time of a tick and its price."""

    def __init__(self) -> None:
        self.malformed: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()

    def received(self, opcode: int, payload: str) -> Sequence[MarketEvent]:
        ts_ms, price = payload.split()
        return (RawTick(SYMBOL, int(ts_ms), float(price)),)

    def sent(self, opcode: int, payload: str) -> Sequence[MarketEvent]:
        return ()


class Platform(PocketOption):
    """The platform of those frames."""

    def decoder(self) -> Decoder:  # type: ignore[override]
        return Decoder()


class Life(msgspec.Struct):
    """What became of a market's minutes. Times in ms."""

    days: float
    minutes: int = 0
    """With a trade, but for those in which the feed was dead."""
    published: int = 0
    whole_at_once: int = 0
    whole: int = 0
    false_gaps: int = 0
    false_gaps_while_learning: int = 0
    found_after_ms: list[int] = msgspec.field(default_factory=list)


class ThinMarket:
    """One market on virtual time, and all that fluxcap says of it."""

    def __init__(self, mean_s: int) -> None:
        self._mean_ms = mean_s * 1_000
        self._draw = Random(mean_s)
        self.market = Market(Platform(), 60_000, Focus(FocusMode.ALL))
        self.now_ms = START_MS
        self.ticks: list[tuple[int, float]] = []
        """What was traded, seen or not."""
        self.seen_ms: list[int] = []
        self.dead: list[tuple[int, int]] = []
        """From the last tick before the feed died to the first one after."""
        self.first: dict[int, Candle] = {}
        self.standing: dict[int, Candle] = {}
        self.gaps: dict[int, int] = {}

    def live(self) -> None:
        next_ms = START_MS + self._pause()
        dies_ms = START_MS + DIES_EVERY_MS
        while next_ms < START_MS + DAYS * DAY_MS:
            self._trade(next_ms)
            self._pass_time(next_ms + LAG_MS)
            if next_ms >= dies_ms:
                dies_ms += DIES_EVERY_MS
                next_ms = self._die(next_ms + self._pause())
            self._deliver()
            next_ms = self.ticks[-1][0] + self._pause()
        self._pass_time(self.now_ms + 2 * 3_600_000)

    def outcome(self) -> Life:
        life = Life(DAYS)
        truth = self._truth()
        dark = [*self.dead, (START_MS, self.seen_ms[0])]
        for start_ms, true in truth.items():
            standing = self.standing.get(start_ms)
            if standing is not None and not standing.flags & ~CandleFlags.REVISED:
                assert msgspec.structs.replace(standing, flags=0) == true, "a whole candle is the truth"
            if any(from_ms < start_ms + 60_000 and to_ms >= start_ms for from_ms, to_ms in dark):
                continue
            life.minutes += 1
            life.published += start_ms in self.first
            life.whole_at_once += start_ms in self.first and not self.first[start_ms].flags
            life.whole += standing is not None and not standing.flags & ~CandleFlags.REVISED
        assert self.standing.keys() <= truth.keys(), "no candle is invented"
        learnt_ms = self.seen_ms[LEARNING_PAUSES]
        for from_ms, to_ms in self.gaps.items():
            if to_ms > from_ms and not any(a <= from_ms and to_ms <= b for a, b in self.dead):
                life.false_gaps += from_ms >= learnt_ms
                life.false_gaps_while_learning += from_ms < learnt_ms
        for from_ms, to_ms in self.dead:
            assert self.gaps.get(from_ms) == to_ms, "what the dead feed lost is told"
            life.found_after_ms.append(self._found_ms[from_ms] - from_ms)
        return life

    _found_ms: dict[int, int]

    def _pause(self) -> int:
        return max(1, round(self._draw.expovariate(1 / self._mean_ms)))

    def _trade(self, ts_ms: int) -> None:
        self.ticks.append((ts_ms, round(1 + self._draw.random(), 5)))

    def _deliver(self) -> None:
        ts_ms, price = self.ticks[-1]
        self.seen_ms.append(ts_ms)
        self.market.received("s", 1, f"{ts_ms} {price}", self._at())
        self.market.advance_time(self._at())
        self._take()

    def _die(self, next_ms: int) -> int:
        """The last trade, which has not been delivered, is lost with those that follow. Returns when it is over."""
        from_ms = self.seen_ms[-1]
        while self.market.feed_state(SYMBOL) is not FeedState.STALLED:
            self._pass_time(self.now_ms + STEP_MS)
            while next_ms <= self.now_ms:
                self._trade(next_ms)
                next_ms += self._pause()
        self._found_ms = {**getattr(self, "_found_ms", {}), from_ms: self.now_ms - LAG_MS}
        self._trade(next_ms)
        self._pass_time(next_ms + LAG_MS)
        self.dead.append((from_ms, next_ms))
        return next_ms

    def _pass_time(self, until_ms: int) -> None:
        while self.now_ms < until_ms:
            self.now_ms = min(self.now_ms + STEP_MS, until_ms)
            self.market.advance_time(self._at())
            self._take()

    def _at(self) -> ArrivalTime:
        return ArrivalTime.from_ms(self.now_ms, self.now_ms - START_MS + 1)

    def _take(self) -> None:
        if not self.market.pending:
            return
        update = self.market.drain()
        for candle in update.sealed.get(SYMBOL, ()):
            self.first[candle.ts_ms] = self.standing[candle.ts_ms] = candle
        for revision in update.revised.get(SYMBOL, ()):
            self.standing[revision.candle.ts_ms] = revision.candle
        for gap in update.gaps:
            self.gaps[gap.from_ms] = gap.to_ms

    def _truth(self) -> dict[int, Candle]:
        buckets: dict[int, list[float]] = {}
        for ts_ms, price in self.ticks:
            buckets.setdefault(bucket_start(ts_ms, 60_000), []).append(price)
        return {
            start_ms: Candle(start_ms, p[0], max(p), min(p), p[-1], float(len(p)), len(p))
            for start_ms, p in buckets.items()
        }


def share(part: int, whole: int) -> tuple[float, float]:
    """In percent, and three standard deviations of it."""
    least = max(part, 1) if part < whole else whole - 1
    return 100 * part / whole, 300 * math.sqrt(least * (whole - least) / whole) / whole


def figures(life: Life) -> list[tuple[float, float]]:
    """The table's figures of one market, each with three standard deviations."""
    found_s = [ms / 1_000 for ms in life.found_after_ms]
    return [
        share(life.published, life.minutes),
        share(life.whole_at_once, life.minutes),
        share(life.whole, life.minutes),
        (life.false_gaps / life.days, 3 * math.sqrt(max(life.false_gaps, 1)) / life.days),
        (fmean(found_s), 3 * fmean(found_s) * math.sqrt(1 / 200) / math.sqrt(len(found_s)) + STEP_MS / 1_000),
    ]


def row_of(mean_s: int, told: Iterable[tuple[float, float]]) -> str:
    """The table's row."""
    published, at_once, whole, false, found = told
    percent = [f"{value:.1f} ± {sigma:.1f} %" for value, sigma in (published, at_once, whole)]
    cells = [f"{mean_s} s", *percent, f"{false[0]:.1f} ± {false[1]:.1f}", f"{found[0]:.0f} ± {found[1]:.0f} s"]
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("mean_s", [pytest.param(s, marks=[pytest.mark.long] * (s != 60)) for s in MEANS_S])
def test_a_thin_market_loses_no_minute_and_its_death_is_noticed_as_the_manual_says(mean_s: int) -> None:
    thin = ThinMarket(mean_s)
    thin.live()
    life = thin.outcome()
    told = figures(life)
    published, _, whole, false_gaps, found_s = told

    print(row_of(mean_s, told), f"learning: {life.false_gaps_while_learning} gaps, {life.minutes} minutes")
    rule_s = silent_after_ms(mean_s * 1_000) / 1_000
    assert abs(false_gaps[0] - 1) <= 3 * math.sqrt(1 / DAYS), "random trades pause so long once a day"
    assert life.false_gaps_while_learning <= 5
    lost = life.minutes - life.published, life.minutes - life.whole
    assert max(lost) <= 3 * (life.false_gaps + life.false_gaps_while_learning), "only a gap costs a minute"
    assert abs(found_s[0] - rule_s) <= found_s[1], f"the rule says {rule_s:.1f} s"
    assert min(published[0], whole[0]) > 98.5
    manual = {row[0]: row[1:] for row in rows(OPERATIONS.read_text(encoding="utf-8"), TABLE)}
    for cell, (value, sigma) in zip(manual[f"{mean_s} s"], told, strict=True):
        assert abs(float(cell.split()[0]) - value) <= sigma + 0.5, f"the manual says {cell}: {row_of(mean_s, told)}"
