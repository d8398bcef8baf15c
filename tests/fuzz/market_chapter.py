"""A market under fire: one socket tells the truth throughout, others bring damage, and a witness reads everything.

What is published must come from inputs that told it, number without a fault, and leave the true asset exactly as it
was: damage may cost what it damaged, and nothing else.
"""

from __future__ import annotations

import random
from collections import defaultdict

from fluxcap.bridge.server.sequencer import Sequencer
from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.capture.market.focus import Focus, FocusMode
from fluxcap.capture.market.market import ASSETS_MAX, Market
from fluxcap.capture.platforms.base import Platform
from fluxcap.schemas.types import Candle, StreamKey
from tests.fuzz.witness import Witness

INTERVAL_MS = 1_000
OFFSET_MS = 7_200_000
START_MS = 1_760_000_040_000
MONO_ZERO_MS = 1_759_990_000_000
LAG_MS = 750
TICK_MS = 250
TRUE = "TRUTH_otc"
TRUE_SOCKET = "true"
OPENING_MS = 6_000
ENDING_MS = 25_000


class MarketChapter:
    """Base of the fuzzers that end in a market. Override ``tell_truth``, ``invent`` and ``drain``.

    ``now_ms``: UTC. ``offset_ms``: how far stamps are ahead of it.
    """

    def __init__(self, rng: random.Random, platform: Platform, offset_ms: int = OFFSET_MS) -> None:
        self.rng = rng
        self.offset_ms = offset_ms
        self.now_ms = START_MS
        self.market = Market(platform, INTERVAL_MS, Focus(FocusMode.ALL))
        self.witness = Witness(offset_ms, INTERVAL_MS)
        self._sequencer = Sequencer({})
        self._true: defaultdict[int, list[float]] = defaultdict(list)
        self._published: list[Candle] = []
        self._next_tick_ms = START_MS - TICK_MS

    @property
    def at(self) -> ArrivalTime:
        return ArrivalTime.from_ms(self.now_ms, self.now_ms - MONO_ZERO_MS)

    def tell_truth(self, ts_ms: int, price: float) -> None:
        """A sound tick of the true asset, on its own socket."""
        raise NotImplementedError

    def open(self) -> None:
        """The truth alone, until the clock is known."""
        self.pass_ms(OPENING_MS)
        assert self.market.clock.synchronised, "the truth alone sets the clock"

    def pass_ms(self, ms: int) -> None:
        """Time goes by, and the truth with it."""
        until_ms = self.now_ms + ms
        while self._next_tick_ms + LAG_MS <= until_ms:
            ts_ms = self._next_tick_ms
            self.now_ms = ts_ms + LAG_MS
            price = round(1 + ts_ms * 7_919 % 100_000 / 1e5, 5)
            self._true[ts_ms - ts_ms % INTERVAL_MS].append(price)
            self.tell_truth(ts_ms, price)
            self._next_tick_ms += TICK_MS
        self.now_ms = until_ms

    def check(self) -> bool:
        """Hold what was decided against what was told. Returns whether anything was."""
        clock = self.market.clock
        assert clock.offset_ms in (None, self.offset_ms), f"damage moved the platform's clock to {clock.offset_ms}"
        outcome = self.market.drain()
        for tick in outcome.ticks:
            known = self.witness.knows(tick.symbol, tick.raw_ts_ms, tick.price)
            assert known, f"no input told {tick}"
            assert tick.ts_ms == tick.raw_ts_ms - self.offset_ms
        for symbol, candles in outcome.sealed.items():
            for candle in candles:
                assert not (fault := self.witness.fault_of(symbol, candle)), fault
            key = StreamKey("FUZZ", symbol, "1s")
            key.topic().decode("ascii")
            self._sequencer.confirm(self._sequencer.number(key, candles))
            if symbol == TRUE:
                self._published += candles
        for symbol, revisions in outcome.revised.items():
            assert symbol != TRUE, f"damage revised the truth: {revisions}"
            for revision in revisions:
                assert not (fault := self.witness.fault_of(symbol, revision.candle)), fault
        return bool(outcome.ticks)

    def end(self) -> None:
        """The truth goes on alone for a while; then it must all be there, and whole."""
        for _ in range(ENDING_MS // 100):
            self.pass_ms(100)
            self.market.advance_time(self.at)
            self.check()
        self.market.view(self.at)
        self.market.forming()
        assert len(self.market.feeds) <= ASSETS_MAX
        last_ms = self._next_tick_ms - self._next_tick_ms % INTERVAL_MS - 2 * INTERVAL_MS
        # The bucket in which the socket was joined is not published: its first ticks were not told.
        told = {start_ms: prices for start_ms, prices in self._true.items() if START_MS <= start_ms <= last_ms}
        wanted = [_candle(start_ms, prices) for start_ms, prices in told.items()]
        held = [candle for candle in self._published if candle.ts_ms <= last_ms]
        lost = [candle for candle in wanted if candle not in held]
        assert held == wanted, f"the truth is not whole: {lost[:3]} lack, {[c for c in held if c not in wanted][:3]}"


def _candle(start_ms: int, prices: list[float]) -> Candle:
    count = len(prices)
    return Candle(start_ms, prices[0], max(prices), min(prices), prices[-1], float(count), count)
