"""The open sockets of a site, and what all of them share."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from capture.simulator.account import Account
from capture.simulator.config import SiteConfig
from capture.simulator.exchange import Exchange
from capture.simulator.framing import TickFramer
from capture.simulator.outlet import Flow, Valve
from capture.simulator.truth import TruthLog, TruthTick

if TYPE_CHECKING:
    from capture.simulator.exchange import MarketTick
    from capture.simulator.sessions import EngineSession, MarketSession


class Hub:
    """Sessions register here; ticks go out from here, into the truth first and to the sockets after."""

    def __init__(self, config: SiteConfig, exchange: Exchange, truth: TruthLog, clock_ms: Callable[[], int]) -> None:
        self.config = config
        self.exchange = exchange
        self.truth = truth
        self.clock_ms = clock_ms
        self.account = Account(config.assets[0], list(config.assets), config.secrets)
        self.market_valve = Valve()
        self.other_valve = Valve()
        self.refusing = False
        """New market sockets are turned away."""
        self.duplicate_share = 0.0
        self.ticks_out = 0
        self.sessions: dict[int, EngineSession] = {}
        """All open sockets by number, oldest first."""
        self.market_sessions: dict[int, MarketSession] = {}
        """Those of the trading server."""
        self._numbers = itertools.count(1)
        self._framers = {symbol: TickFramer(symbol) for symbol in config.assets}
        self.random = random.Random(config.seed)  # noqa: S311 - a simulation, not a secret

    def add(self, session: EngineSession) -> int:
        number = next(self._numbers)
        self.sessions[number] = session
        self.truth.event("socket_opened", self.clock_ms(), socket=number, path=session.kind)
        return number

    def remove(self, number: int) -> None:
        self.market_sessions.pop(number, None)
        session = self.sessions.pop(number, None)
        if session is not None:
            self.truth.event("socket_closed", self.clock_ms(), socket=number, path=session.kind)

    def deliver(self, ticks: list[MarketTick]) -> None:
        """Send ticks to every socket that wants them, one tick an event."""
        listening = [session for session in self.market_sessions.values() if session.streaming]
        lines = []
        for symbol, ts_ms, raw_ts_ms, price in ticks:
            frames = self._framers[symbol].frames(raw_ts_ms, price) if listening else b""
            if self.duplicate_share and self.random.random() < self.duplicate_share:
                frames += frames
            sent = sum(session.offer_tick(symbol, frames) for session in listening)
            lines.append(TruthTick(symbol, raw_ts_ms, ts_ms, price, sent))
        self.truth.ticks(lines)
        self.ticks_out += len(lines)
        for session in listening:
            session.outlet.flush()

    def open_valve(self) -> None:
        """End a hold or a silence."""
        self.market_valve.flow = Flow.OPEN
        for session in self.market_sessions.values():
            session.outlet.release()
