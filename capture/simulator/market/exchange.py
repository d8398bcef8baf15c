"""All markets of a site and the way of their ticks up to the socket. Pure: the time comes as an argument.

Ticks of all assets come out in order of time, each one lag after it happened, as on the real socket. The offset that
the platform's stamps have, quiet markets and troubles of delivery live here too.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fluxcap.capture.simulator.assets import SimulatedAsset, load_assets
from fluxcap.capture.simulator.config import SiteConfig
from fluxcap.capture.simulator.market.history import earlier_history, recent_history
from fluxcap.capture.simulator.market.prices import SimulatedMarket

_AHEAD_MS = 200
_BLOCK_TICKS = 4_000
"""Roughly so many ticks are made at a time: often enough to stay short, rarely enough to be cheap."""


class MarketTick(NamedTuple):
    """A tick on its way: true time, stamp of the platform, price."""

    symbol: str
    ts_ms: int
    raw_ts_ms: int
    price: float


@dataclass(slots=True)
class DeliveryFaults:
    """The current faults of delivery; all off by default."""

    jitter_ms: float = 0.0
    """Up to so much is added to the lag."""
    late_share: float = 0.0
    """This share of the ticks is overtaken by later ones..."""
    late_ms: float = 1500.0
    """...by so much."""


class Exchange:
    """``due(now_ms)`` hands out the ticks that are to be sent by now, in order."""

    def __init__(self, config: SiteConfig, start_ms: int) -> None:
        """``start_ms``: the first instant (true UTC) whose ticks are delivered; what was before is history."""
        self._config = config
        self.markets = {symbol: self._market(symbol) for symbol in config.assets}
        self.delivery = DeliveryFaults()
        self._offsets: list[tuple[int, int]] = [(0, config.offset_s * 1000)]
        self._random = random.Random(config.seed)  # noqa: S311 - a simulation, not a secret
        self._block_ms = self._block_length_ms()
        self.restart(start_ms)

    def restart(self, start_ms: int) -> None:
        """Deliver from ``start_ms`` on; what happened between is history. Prices go on as if nothing had been."""
        self.released_ms = dict.fromkeys(self.markets, start_ms - 1)
        """Per symbol, true time of the newest tick handed out: the end of its history."""
        self._made_until_ms = start_ms
        self._queue: deque[tuple[int, SimulatedMarket, int]] = deque()
        self._late: list[tuple[float, MarketTick]] = []
        self._newest: dict[str, MarketTick] = {}
        self._head_due_ms: float | None = None
        self._last_due_ms = 0.0

    def _market(self, symbol: str) -> SimulatedMarket:
        asset: SimulatedAsset = load_assets()[symbol]
        if symbol in self._config.decimals:
            asset = asset.with_decimals(self._config.decimals[symbol])
        mean_pause_s = self._config.thin.get(symbol, 0.0)
        return SimulatedMarket(asset, seed=self._config.seed, rate_hz=self._config.rate_hz, mean_pause_s=mean_pause_s)

    def _block_length_ms(self) -> int:
        ticks_a_ms = len(self._config.assets) * self._config.rate_hz / 1000
        return int(min(5_000, max(250, _BLOCK_TICKS / ticks_a_ms)))

    # --- time -------------------------------------------------------------------------------------------------------

    def offset_ms(self, ts_ms: int) -> int:
        """Return the ms the platform's timestamps are ahead of UTC for events at ``ts_ms``."""
        return next(offset for begin, offset in reversed(self._offsets) if begin <= ts_ms)

    def step_clock(self, at_ms: int, offset_s: int) -> None:
        """From ``at_ms`` on the platform stamps with another offset (history then has that one, too)."""
        self._offsets.append((at_ms, offset_s * 1000))

    # --- ticks ------------------------------------------------------------------------------------------------------

    def past(self, from_ms: int, to_ms: int) -> list[MarketTick]:
        """All ticks with ``from_ms <= ts_ms < to_ms``, in order of time."""
        return [self._stamped(*entry) for entry in self._block(from_ms, to_ms)]

    def due(self, now_ms: float) -> list[MarketTick]:
        """The ticks whose lag is over. A tick of a quiet market never happened."""
        self._make_ahead(now_ms)
        ready: list[MarketTick] = []
        while (due_ms := self._next_in_order_ms()) is not None and due_ms <= now_ms:
            tick = self._pop()
            if tick is None:
                continue
            if self.delivery.late_share and self._random.random() < self.delivery.late_share:
                heapq.heappush(self._late, (due_ms + self.delivery.late_ms, tick))
                continue
            self.released_ms[tick.symbol] = tick.ts_ms
            ready.append(tick)
        while self._late and self._late[0][0] <= now_ms:
            ready.append(heapq.heappop(self._late)[1])
        return ready

    def next_due_ms(self) -> float | None:
        """Return when (ms) the next tick is due; None before the first was made."""
        due_ms = self._next_in_order_ms()
        if not self._late:
            return due_ms
        return self._late[0][0] if due_ms is None else min(due_ms, self._late[0][0])

    def undelivered(self, now_ms: float) -> list[MarketTick]:
        """Return the ticks up to now that were never sent; for the end of a site."""
        happened = [self._happened(*entry) for entry in self._queue if entry[0] <= now_ms]
        return [tick for _due, tick in sorted(self._late)] + [tick for tick in happened if tick is not None]

    def _make_ahead(self, now_ms: float) -> None:
        while self._made_until_ms < now_ms + _AHEAD_MS:
            until_ms = self._made_until_ms + self._block_ms
            # A quiet may end before they are due: whether it has is looked at when they are.
            self._queue.extend(self._block(self._made_until_ms, until_ms, heed_quiet=False))
            self._made_until_ms = until_ms

    def _block(self, from_ms: int, to_ms: int, *, heed_quiet: bool = True) -> list[tuple[int, SimulatedMarket, int]]:
        markets = list(self.markets.values())
        runs = [market.ticks(from_ms, to_ms, heed_quiet=heed_quiet) for market in markets]
        ts = np.concatenate([run[0] for run in runs])
        points = np.concatenate([run[1] for run in runs])
        owner = np.repeat(np.arange(len(runs)), [len(run[0]) for run in runs])
        order = np.argsort(ts, kind="stable")
        columns = (ts[order].tolist(), owner[order].tolist(), points[order].tolist())
        return [(at, markets[of], level) for at, of, level in zip(*columns, strict=True)]

    def _next_in_order_ms(self) -> float | None:
        if self._head_due_ms is None and self._queue:
            low, high = self._config.lag_ms
            lag_ms = low + (high - low + self.delivery.jitter_ms) * self._random.random()
            self._head_due_ms = max(self._last_due_ms, self._queue[0][0] + lag_ms)
        return self._head_due_ms

    def _pop(self) -> MarketTick | None:
        ts_ms, market, points = self._queue.popleft()
        self._last_due_ms = self._head_due_ms or self._last_due_ms
        self._head_due_ms = None
        return self._happened(ts_ms, market, points)

    def _happened(self, ts_ms: int, market: SimulatedMarket, points: int) -> MarketTick | None:
        """The next tick that was made ahead, as it happened; None for one that did not."""
        if market.pauses and market.paused_at(ts_ms):
            return None
        tick = self._stamped(market.bunched_at(ts_ms), market, points)
        if market.bunches:
            before, self._newest[tick.symbol] = self._newest.get(tick.symbol), tick
            if before is not None and before.ts_ms == tick.ts_ms and before.price == tick.price:
                return None
        return tick

    def _stamped(self, ts_ms: int, market: SimulatedMarket, points: int) -> MarketTick:
        return MarketTick(market.asset.symbol, ts_ms, ts_ms + self.offset_ms(ts_ms), market.price(points))

    # --- history ----------------------------------------------------------------------------------------------------

    def recent_history(self, symbol: str, period_s: int) -> dict[str, object]:
        """Payload of updateHistoryNewFast: ends with the last tick handed out; live ticks go on from there."""
        until_ms = self.released_ms[symbol]
        return recent_history(
            self.markets[symbol],
            period_s=period_s,
            until_ms=until_ms,
            depth_ms=round(self._config.history_s * 1000),
            max_ticks=self._config.history_max_ticks,
            offset_ms=self.offset_ms(until_ms),
        )

    def earlier_history(self, symbol: str, period_s: int, last_start_s: int, index: int) -> dict[str, object]:
        """Payload of loadHistoryPeriodFast."""
        return earlier_history(
            self.markets[symbol],
            period_s=period_s,
            last_start_s=last_start_s,
            index=index,
            offset_ms=self.offset_ms(self.released_ms[symbol]),
        )
