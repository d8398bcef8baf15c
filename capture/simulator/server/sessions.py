"""The talk on one socket: Engine.IO below, then what the trading, the chat and the cabinet server say.

A session takes the client's text packets and answers through its outlet. It knows no WebSocket and no HTTP.
The registry of sessions is what all open sockets of a site share.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from typing import Any, ClassVar

from fluxcap.capture.simulator.assets import asset_table
from fluxcap.capture.simulator.config import SiteConfig
from fluxcap.capture.simulator.market.exchange import Exchange, MarketTick
from fluxcap.capture.simulator.market.history import PERIODS_S
from fluxcap.capture.simulator.server import account, framing
from fluxcap.capture.simulator.server.account import Account
from fluxcap.capture.simulator.server.framing import TickFramer
from fluxcap.capture.simulator.server.outlet import FlowControl, FlowState, FrameWriter
from fluxcap.capture.simulator.truth import TruthLog, TruthTick

_PING_FRAME = framing.text_frame(framing.PING)
_CLOSED_NORMALLY = 1000


class EngineSession:
    """Engine.IO 4 and Socket.IO 5: open, join, ping and events."""

    kind: ClassVar[str] = "engine"
    max_payload: ClassVar[int | None] = 1_000_000

    def __init__(self, hub: SessionRegistry, outlet: FrameWriter, close: Callable[[int], None]) -> None:
        """``close(code)`` ends the WebSocket with a close frame."""
        self.hub = hub
        self.outlet = outlet
        self.close = close
        self.joined = False
        self.number = hub.add(self)
        self._timers: set[asyncio.TimerHandle] = set()
        self._last_pong_s = 0.0

    def opened(self) -> None:
        """The WebSocket is there: greet, and begin to ping."""
        config = self.hub.config
        packet = framing.open_packet(
            self._sid("E"),
            ping_interval_s=self.ping_interval_s,
            ping_timeout_s=config.ping_timeout_s,
            max_payload=self.max_payload,
        )
        self.outlet.send(framing.text_frame(packet))
        self.later(self.ping_interval_s, self._ping)

    def closed(self) -> None:
        """The WebSocket is gone."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self.hub.remove(self.number)

    def received(self, packet: str) -> None:
        """One text frame of the client."""
        if packet == framing.PONG:
            self._last_pong_s = _loop_s()
        elif packet.startswith(framing.JOIN):
            self.joined = True
            self.outlet.send(framing.text_frame(framing.joined_packet(self._sid("S"))))
            self.on_joined()
        elif (event := framing.parse_event(packet)) is not None and self.joined:
            self.on_event(event[0], event[1])

    def on_joined(self) -> None:
        """The namespace is joined."""

    def on_event(self, name: str, data: list[Any]) -> None:
        """An event of the client."""

    @property
    def ping_interval_s(self) -> float:
        return self.hub.config.ping_interval_s

    def emit(self, name: str, data: Any) -> None:
        """An event with its data as binary attachment."""
        self.outlet.send(framing.binary_event(name, data))

    def emit_text(self, name: str, *data: Any) -> None:
        self.outlet.send(framing.text_event(name, *data))

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call later, unless the socket is gone by then."""

        def run() -> None:
            self._timers.discard(timer)
            call()

        timer = asyncio.get_running_loop().call_later(seconds, run)
        self._timers.add(timer)

    def _ping(self) -> None:
        sent_s = _loop_s()
        self.outlet.send_ping(_PING_FRAME)
        self.later(self.hub.config.ping_timeout_s, lambda: self._expect_pong(sent_s))
        self.later(self.ping_interval_s, self._ping)

    def _expect_pong(self, since_s: float) -> None:
        if self._last_pong_s < since_s:
            self.close(_CLOSED_NORMALLY)

    def _sid(self, kind: str) -> str:
        return f"{self.hub.config.secrets.sid_prefix}{kind}{self.number:06d}"


class MarketSession(EngineSession):
    """The trading server: assets, history and ticks."""

    kind = "market"

    def __init__(self, hub: SessionRegistry, outlet: FrameWriter, close: Callable[[int], None]) -> None:
        super().__init__(hub, outlet, close)
        hub.market_sessions[self.number] = self
        self.streaming = False
        """Signed in; ticks may go to it."""
        self.symbol = hub.account.symbol
        self.asked_for: set[str] = set()
        """By ``subfor``, besides the open asset."""

    @property
    def subscribed(self) -> list[str]:
        """The assets that tick on this socket."""
        if not self.streaming:
            return []
        assets = self.hub.config.assets
        return [symbol for symbol in assets if self.hub.config.tick_all or self._asked(symbol)]

    def offer_tick(self, symbol: str, frames: bytes) -> bool:
        """Queue a tick's frames if this socket has asked for the asset; True if they will go out."""
        return (self.hub.config.tick_all or self._asked(symbol)) and self.outlet.queue(frames)

    def _asked(self, symbol: str) -> bool:
        return symbol == self.symbol or symbol in self.asked_for

    def on_joined(self) -> None:
        self._send_assets()
        self.later(self.hub.config.second_assets_s, self._send_assets)

    def on_event(self, name: str, data: list[Any]) -> None:
        argument: Any = data[0] if data else None
        if name == "auth":
            self._sign_in(argument)
        elif not self.streaming:
            return
        elif name == "changeSymbol" and isinstance(argument, dict):
            self._change_symbol(argument.get("asset"), argument.get("period"))
        elif name == "subfor" and self._is_open(argument):
            self.asked_for.add(argument)
        elif name == "unsubfor" and self._is_open(argument):
            self.asked_for.discard(argument)
        elif name == "loadHistoryPeriod" and isinstance(argument, dict):
            self._send_earlier(argument)
        elif name == "favorite/change" and isinstance(argument, list):
            self.hub.account.favourites = [symbol for symbol in argument if self._is_open(symbol)]
            self.emit("successfavorite/change", self.hub.account.favourites)

    def refuse(self) -> None:
        """The session is not good any more: say so as the platform does. The page closes the socket."""
        self.streaming = False
        self.emit_text("NotAuthorized")
        self.outlet.send(framing.text_frame("41"))

    def _sign_in(self, credentials: Any) -> None:
        user = self.hub.account
        if self.hub.logged_out:
            self.refuse()
            return
        if not isinstance(credentials, dict) or credentials.get("session") != user.secrets.session:
            self.outlet.send(framing.text_frame("41"))
            return
        self.emit("successauth", {"id": user.secrets.user_id})
        for name, payload in user.personal_events():
            self.emit(name, payload)
        self.symbol = user.symbol
        self.streaming = True
        self._send_history()
        if self.hub.config.noise:
            self.emit("signals/load", account.signals_load(self._platform_s()))
            self.emit("successprice-alert/load", [])
            self.later(3.0, self._send_stats)
            self.later(self.hub.random.uniform(4.0, 10.0), self._send_signals)

    def _change_symbol(self, symbol: Any, period_s: Any) -> None:
        user = self.hub.account
        if not self._is_open(symbol) or period_s not in PERIODS_S:
            return
        self.symbol = user.symbol = symbol
        user.period_s = period_s
        self._send_history()

    def _send_history(self) -> None:
        if not self.hub.config.history:
            return
        user = self.hub.account
        payload = self.hub.exchange.recent_history(self.symbol, user.period_s)
        if self.outlet.send(framing.binary_event("updateHistoryNewFast", payload)):
            self._record_history(payload["history"], user.period_s)

    def _record_history(self, ticks: Any, period_s: int) -> None:
        until_ms = self.hub.exchange.released_ms[self.symbol]
        self.hub.truth.event(
            "history_sent",
            self.hub.clock_ms(),
            socket=self.number,
            symbol=self.symbol,
            period_s=period_s,
            ticks=len(ticks),
            until_ts_ms=until_ms,
        )

    def _send_earlier(self, request: dict[str, Any]) -> None:
        symbol, period_s, last_start_s = request.get("asset"), request.get("period"), request.get("time")
        index = request.get("index", 0)
        if not self.hub.config.history or not self._is_open(symbol) or period_s not in PERIODS_S:
            return
        if isinstance(last_start_s, int) and isinstance(index, int):
            payload = self.hub.exchange.earlier_history(str(symbol), int(period_s), last_start_s, index)
            self.emit("loadHistoryPeriodFast", payload)

    def _is_open(self, symbol: Any) -> bool:
        """Return whether a client's text names an asset with an open market."""
        return isinstance(symbol, str) and symbol in self.hub.exchange.markets

    def _send_assets(self) -> None:
        self.emit("updateAssets", asset_table(self._platform_s()))

    def _send_stats(self) -> None:
        self.emit("successsignals/stats", account.signals_stats(self._platform_s(), self.symbol))

    def _send_signals(self) -> None:
        self.emit("signals/update", account.signals_update(self._platform_s(), self.hub.random))
        self.emit("successupdateBalance", self.hub.account.balance())
        self.later(self.hub.random.uniform(5.0, 15.0), self._send_signals)

    def _platform_s(self) -> int:
        now_ms = self.hub.clock_ms()
        return (now_ms + self.hub.exchange.offset_ms(now_ms)) // 1000


class ChatSession(EngineSession):
    """The chat server: text events only, and a slower ping."""

    kind = "chat"
    max_payload = None

    @property
    def ping_interval_s(self) -> float:
        return 1.8 * self.hub.config.ping_interval_s

    def on_joined(self) -> None:
        self.emit_text("user_ready", self.hub.account.chat_user())
        self.emit_text("chat_room_list", self.hub.account.chat_rooms())
        if self.hub.config.noise:
            self.later(5.0, self._update)

    def _update(self) -> None:
        self.emit_text("chat_room_list_update", self.hub.account.chat_rooms())
        self.later(self.hub.random.uniform(5.0, 15.0), self._update)


class CabinetSession(EngineSession):
    """The cabinet server: counters of the user's messages."""

    kind = "cabinet"

    def on_joined(self) -> None:
        self.emit_text("auth/success")
        self.emit_text("counters/all/success", self.hub.account.counters())


def _loop_s() -> float:
    return asyncio.get_running_loop().time()


class SessionRegistry:
    """Sessions register here; ticks go out from here, into the truth first and to the sockets after."""

    def __init__(self, config: SiteConfig, exchange: Exchange, truth: TruthLog, clock_ms: Callable[[], int]) -> None:
        self.config = config
        self.exchange = exchange
        self.truth = truth
        self.clock_ms = clock_ms
        self.account = Account(config.assets[0], list(config.assets), config.secrets)
        self.market_valve = FlowControl()
        self.other_valve = FlowControl()
        self.refusing = False
        self.logged_out = False
        """New market sockets are turned away."""
        self.date_off_s = config.date_off_s
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
        self.market_valve.flow = FlowState.OPEN
        for session in self.market_sessions.values():
            session.outlet.release()
