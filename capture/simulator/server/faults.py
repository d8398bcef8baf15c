"""Troubles on purpose: what can go wrong between a platform and its page, each begun and ended on command.

But for a quiet, a thin and a bunched market none of them changes the truth: the market goes on, only its delivery
suffers. Each writes a ``fault_begun`` line into the truth, and a ``fault_ended`` line when it is over (at once, for
what is done in a moment).
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from typing import Any

import msgspec

from fluxcap.capture.simulator.server.garbage import INVALID_FRAMES, invalid_frames
from fluxcap.capture.simulator.server.outlet import FlowState
from fluxcap.capture.simulator.server.sessions import SessionRegistry
from fluxcap.schemas.errors import ConfigError

_GARBAGE_EVERY_S = 0.2


class Fault(enum.StrEnum):
    """A kind of fault."""

    CLOSE_SOCKETS = "close_sockets"
    """Every market socket is closed by the server (``abrupt``: without a close frame). Done in a moment."""
    SILENCE = "silence"
    """Market sockets stay open, but nothing is sent and what was to be sent is lost (``pings``: not even pings)."""
    QUIET_MARKET = "quiet_market"
    """No ticks happen for ``symbols``. It is the market's own: the truth has no ticks either."""
    THIN_MARKET = "thin_market"
    """Trades of ``symbols`` become rare: at random, ``mean_s`` apart on average. The market's own, as a quiet one."""
    BUNCHED_MARKET = "bunched_market"
    """Trades of ``symbols`` come several to a millisecond. The market's own, as a quiet one."""
    BACKLOG = "backlog"
    """Everything to market sockets is held, and comes in one burst at the end."""
    JITTER = "jitter"
    """Up to ``extra_ms`` more lag, different for each tick; the order stays."""
    LATE_TICKS = "late_ticks"
    """``share`` of the ticks arrives ``extra_ms`` later than its successors: out of order."""
    CLOCK_STEP = "clock_step"
    """The platform stamps with ``offset_s`` from now on, as at a daylight-saving date; the old one at the end."""
    GARBAGE = "garbage"
    """Frames that are no good, of the ``kinds`` of garbage.py; once, or for ``seconds`` over and over."""
    DUPLICATES = "duplicates"
    """``share`` of the ticks is sent twice."""
    DATE_HEADER = "date_header"
    """``Date`` headers are ``offset_s`` ahead of the truth (``omit``: there are none)."""
    LOGGED_OUT = "logged_out"
    """The session has ended: whoever is signed in is told so, and nobody can sign in."""
    REFUSE = "refuse"
    """New market sockets are refused with HTTP 503."""


_MOMENTARY = {Fault.CLOSE_SOCKETS, Fault.GARBAGE}


class FaultRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fault and its parameters. ``seconds`` None: until it is ended."""

    fault: Fault
    seconds: float | None = None
    symbols: tuple[str, ...] = ()
    """Empty means all."""
    kinds: tuple[str, ...] = ()
    """Of garbage; empty means all but the huge frame."""
    abrupt: bool = False
    pings: bool = False
    omit: bool = False
    offset_s: int = 3600
    extra_ms: float = 1500.0
    share: float = 0.2
    mean_s: float = 4.0


def parse_order(body: bytes) -> FaultRequest:
    """A fault order from JSON such as ``{"fault": "silence", "seconds": 5}``. Raises ConfigError."""
    try:
        return msgspec.json.decode(body, type=FaultRequest)
    except msgspec.DecodeError as error:
        raise ConfigError(f"That is not a fault: {error}. Faults are {', '.join(Fault)}.") from error


class FaultController:
    """Begins and ends faults on a running site. Lives on the site's loop; answers when the fault is in force."""

    def __init__(self, hub: SessionRegistry) -> None:
        self._hub = hub
        self.active: dict[Fault, FaultRequest] = {}
        self._old_offset_s = hub.config.offset_s

    def begin(self, order: FaultRequest) -> dict[str, Any]:
        """Put a fault in force. Raises ConfigError for an order that makes no sense."""
        self._check(order)
        if order.fault in self.active:
            self.end(order.fault)
        facts = {key: value for key, value in msgspec.to_builtins(order).items() if value not in (None, (), [], False)}
        self._hub.truth.event("fault_begun", self._hub.clock_ms(), **facts)
        self.active[order.fault] = order
        self._apply(order)
        if order.seconds is not None:
            _after(order.seconds, lambda: self._end_if_still(order))
        elif order.fault in _MOMENTARY:
            self.end(order.fault)
        return facts

    def end(self, fault: Fault) -> bool:
        """Put it right again; False if it was not wrong."""
        order = self.active.pop(fault, None)
        if order is None:
            return False
        self._undo(order)
        self._hub.truth.event("fault_ended", self._hub.clock_ms(), fault=str(fault))
        return True

    def end_all(self) -> None:
        for fault in list(self.active):
            self.end(fault)

    def _end_if_still(self, order: FaultRequest) -> None:
        if self.active.get(order.fault) is order:
            self.end(order.fault)

    def _check(self, order: FaultRequest) -> None:
        unknown = [symbol for symbol in order.symbols if symbol not in self._hub.exchange.markets]
        if unknown:
            raise ConfigError(f"The site has no asset {', '.join(unknown)}.")
        nonsense = [kind for kind in order.kinds if kind not in INVALID_FRAMES]
        if nonsense:
            raise ConfigError(
                f"There is no garbage called {', '.join(nonsense)}; there is {', '.join(INVALID_FRAMES)}."
            )
        if order.seconds is not None and order.seconds < 0:
            raise ConfigError("A fault's duration must not be negative.")
        if order.mean_s <= 0:
            raise ConfigError("The mean pause of a thin market is above 0 s.")

    def _apply(self, order: FaultRequest) -> None:
        hub, delivery, now_ms = self._hub, self._hub.exchange.delivery, self._hub.clock_ms()
        match order.fault:
            case Fault.CLOSE_SOCKETS:
                self._close_sockets(order.abrupt)
            case Fault.SILENCE:
                hub.market_valve.flow = FlowState.SILENT if order.pings else FlowState.SILENT_WITH_PINGS
            case Fault.QUIET_MARKET:
                for symbol in order.symbols or hub.exchange.markets:
                    hub.exchange.markets[symbol].pause(now_ms)
            case Fault.THIN_MARKET:
                for symbol in order.symbols or hub.exchange.markets:
                    hub.exchange.markets[symbol].pause(now_ms, order.mean_s)
            case Fault.BUNCHED_MARKET:
                for symbol in order.symbols or hub.exchange.markets:
                    hub.exchange.markets[symbol].bunch(now_ms)
            case Fault.BACKLOG:
                hub.market_valve.flow = FlowState.HELD
            case Fault.JITTER:
                delivery.jitter_ms = order.extra_ms
            case Fault.LATE_TICKS:
                delivery.late_share, delivery.late_ms = order.share, order.extra_ms
            case Fault.CLOCK_STEP:
                self._old_offset_s = hub.exchange.offset_ms(now_ms) // 1000
                hub.exchange.step_clock(now_ms, order.offset_s)
            case Fault.GARBAGE:
                self._throw_garbage(order)
            case Fault.DUPLICATES:
                hub.duplicate_share = order.share
            case Fault.DATE_HEADER:
                hub.date_off_s = None if order.omit else order.offset_s
            case Fault.REFUSE:
                hub.refusing = True
            case Fault.LOGGED_OUT:
                hub.logged_out = True
                for session in list(hub.market_sessions.values()):
                    session.refuse()

    def _undo(self, order: FaultRequest) -> None:
        hub, delivery, now_ms = self._hub, self._hub.exchange.delivery, self._hub.clock_ms()
        match order.fault:
            case Fault.SILENCE | Fault.BACKLOG:
                hub.open_valve()
            case Fault.QUIET_MARKET:
                for symbol in order.symbols or hub.exchange.markets:
                    hub.exchange.markets[symbol].resume(now_ms)
            case Fault.THIN_MARKET:
                for symbol in order.symbols or hub.exchange.markets:
                    hub.exchange.markets[symbol].resume(now_ms, order.mean_s)
            case Fault.BUNCHED_MARKET:
                for symbol in order.symbols or hub.exchange.markets:
                    hub.exchange.markets[symbol].unbunch(now_ms)
            case Fault.JITTER:
                delivery.jitter_ms = 0.0
            case Fault.LATE_TICKS:
                delivery.late_share = 0.0
            case Fault.CLOCK_STEP:
                hub.exchange.step_clock(now_ms, self._old_offset_s)
            case Fault.DUPLICATES:
                hub.duplicate_share = 0.0
            case Fault.DATE_HEADER:
                hub.date_off_s = hub.config.date_off_s
            case Fault.REFUSE:
                hub.refusing = False
            case Fault.LOGGED_OUT:
                hub.logged_out = False
            case Fault.CLOSE_SOCKETS | Fault.GARBAGE:
                pass

    def _close_sockets(self, abrupt: bool) -> None:
        for session in list(self._hub.market_sessions.values()):
            if abrupt:
                session.outlet.transport.abort()
            else:
                session.close(1001)

    def _throw_garbage(self, order: FaultRequest) -> None:
        now_ms = self._hub.clock_ms()
        platform_ms = now_ms + self._hub.exchange.offset_ms(now_ms)
        for session in self._hub.market_sessions.values():
            if session.streaming:
                session.outlet.send(invalid_frames(session.symbol, order.kinds, platform_ms))
        if order.seconds is not None:
            _after(_GARBAGE_EVERY_S, lambda: self._throw_again(order))

    def _throw_again(self, order: FaultRequest) -> None:
        if self.active.get(order.fault) is order:
            self._throw_garbage(order)


def _after(seconds: float, call: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(seconds, call)
