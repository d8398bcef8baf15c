"""A recording on its way through market, store and wire, at the recorded pace or as fast as it goes.

At full speed decisions are gathered and committed many at a time. A stream's sequences depend on the order of its
candles alone, and that stays; only what a revision becomes depends on what is published by then, so whenever there is
one all that was decided before is committed first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from fluxcap.bridge.server.server import FeedInfo, WireServer
from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.capture.market.clock import ClockPrior
from fluxcap.capture.market.focus import Focus, FocusMode
from fluxcap.capture.market.market import Market, MarketUpdate
from fluxcap.capture.pipeline.listeners import ListenerGroup
from fluxcap.capture.pipeline.publish import PublishStage
from fluxcap.capture.platforms.base import Platform
from fluxcap.capture.recording.records import Header, Record
from fluxcap.capture.tools.replay.playback import Playback
from fluxcap.schemas.errors import StoreError
from fluxcap.schemas.types import Candle, StreamKey, interval_ms

BATCH_MAX = 400
"""At full speed so many times candles are sealed before all of them are committed."""
TICKS_MAX = 50_000
"""Ticks that nobody is sent are not kept longer than this."""
HEARTBEAT_S = 1.0
FORMING_S = 0.2
POLL_S = 0.05
"""How long it sleeps at a time while the next record is not due: Ctrl-C and heartbeats do not wait longer."""


class Clock(Protocol):
    """Time as the player sees it."""

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class Replayer:
    """Plays records. ``interval``, ``focus``: in place of the recorded ones.

    Attributes
    ----------
    market, playback
        To look at.
    """

    def __init__(
        self,
        header: Header,
        platform: Platform,
        server: WireServer,
        *,
        interval: str | None = None,
        focus: Focus | None = None,
        clock: Clock = time,
    ) -> None:
        self._server = server
        self._source = header.source
        self._interval = interval or header.interval
        # Of another interval the store of that time said nothing.
        self._published = header.published if self._interval == header.interval else {}
        self._clock = clock
        self.market = Market(
            platform,
            interval_ms(self._interval),
            focus or _begun_with(header.focus),
            self._published_ts_ms,
            header.times,
            header.prior or ClockPrior(),
            self._stored,
            [interval_ms(timeframe) for timeframe in server.derived.timeframes],
        )
        server.derived.is_covered = self.market.is_covered
        self.playback = Playback(self.market, keep_focus=focus is not None)
        self._decisions = _BatchedUpdates(self.market)
        self.market.restore_followed(header.focus.symbols if header.focus.mode is FocusMode.FOLLOW else ())
        self.market.track(self._published)
        self._publishing = PublishStage(
            self.market, server, self.key, ListenerGroup(), lambda: int(self._clock.monotonic() * 1e9)
        )
        self._heartbeat_s = self._forming_s = 0.0

    def key(self, symbol: str) -> StreamKey:
        """The stream of a symbol."""
        return StreamKey(self._source, symbol, self._interval)

    def at(self) -> ArrivalTime:
        """The recording's time now."""
        return ArrivalTime(self.playback.wall_ns, self.playback.mono_ns)

    def play_all(self, blocks: Iterable[Sequence[Record]], on_progress: Callable[[], None] = lambda: None) -> None:
        """Play as fast as it goes. ``on_progress`` is called now and then. Raises StoreError."""
        for block in blocks:
            if self._server.derived.timeframes:
                # Gathered, a candle of a longer interval would be told once where one by one it is told and revised.
                for record in block:
                    self.playback.play((record,), self._flush)
                    self._flush()
            else:
                self.playback.play(block, self._decided)
            if len(self.market.pending.ticks) >= TICKS_MAX:
                self._decisions.collect()
            if self._clock.monotonic() >= self._heartbeat_s:
                on_progress()
                self._heartbeat()
        self._flush()
        self._heartbeat()

    def play_paced(
        self, blocks: Iterable[Sequence[Record]], speed: float, on_progress: Callable[[], None] = lambda: None
    ) -> None:
        """Play at ``speed`` times the recorded pace. Raises StoreError."""
        begun_s, first_ns = self._clock.monotonic(), 0
        for block in blocks:
            for record in block:
                first_ns = first_ns or record.mono_ns
                due_ns = self.playback.mono_ns + record.mono_ns - first_ns
                self._wait_until(begun_s + due_ns / 1e9 / speed, on_progress)
                self.playback.play((record,), self._flush)
                self._flush()
        self._heartbeat()

    # --- within ---------------------------------------------------------------------------------------------------

    def _wait_until(self, due_s: float, on_progress: Callable[[], None]) -> None:
        while True:
            now_s = self._clock.monotonic()
            if now_s >= self._heartbeat_s:
                on_progress()
                self._heartbeat()
            if now_s >= self._forming_s:
                self._forming_s = now_s + FORMING_S
                self._publishing.forming(int(now_s * 1e9))
            if now_s >= due_s:
                return
            self._clock.sleep(min(POLL_S, due_s - now_s))

    def _decided(self) -> None:
        """After a record that led to candles, at full speed."""
        if self.market.pending.revised:
            self._commit()
            self._flush()
            return
        self._decisions.collect()
        if self._decisions.times >= BATCH_MAX:
            self._commit()

    def _flush(self) -> None:
        """Commit all that was decided."""
        self._decisions.collect()
        self._commit()

    def _commit(self) -> None:
        """Commit what was gathered."""
        self._decisions.times = 0
        self._publishing.flush(self._decisions.update)
        if self._publishing.store_error:
            raise StoreError(self._publishing.store_error)

    def _heartbeat(self) -> None:
        self._heartbeat_s = self._clock.monotonic() + HEARTBEAT_S
        self._publishing.heartbeat(time.time_ns() // 1_000_000, self._feed_info)

    def _feed_info(self, key: StreamKey) -> FeedInfo:
        market, symbol = self.market, key.symbol
        return FeedInfo(market.feed_state(symbol), market.last_tick_ts_ms(symbol), market.clock.offset_ms or 0)

    def _published_ts_ms(self, symbol: str) -> int:
        """Newest candle published, or about to be: what was decided is committed later here than in the daemon."""
        decided = [*self._decisions.sealed(symbol), *self.market.pending.sealed.get(symbol, ())]
        newest_ms = decided[-1].ts_ms if decided else 0
        return max(self._server.watermark(self.key(symbol)).latest_ts_ms, self._published.get(symbol, 0), newest_ms)

    def _stored(self, symbol: str, from_ms: int) -> list[Candle]:
        """Return what the store has, with what was decided and is committed later here than in the daemon."""
        decided = [candle for candle in self._decisions.sealed(symbol) if candle.ts_ms >= from_ms]
        return [*self._server.candles_since(self.key(symbol), from_ms), *decided]


def _begun_with(focus: Focus) -> Focus:
    """The focus of a recording's header, without what had been followed before it."""
    return Focus(FocusMode.FOLLOW) if focus.mode is FocusMode.FOLLOW else focus


class _BatchedUpdates:
    """Market updates of several times, committed together.

    ``update``: all of them that is not committed yet. ``times``: their number since the last commit.
    """

    def __init__(self, market: Market) -> None:
        self._market = market
        self.update = MarketUpdate()
        self.times = 0

    def collect(self) -> None:
        """Add what the market has decided since. Its ticks are sent to nobody."""
        self.update.append(self._market.drain())
        self.update.ticks = []
        self.times += 1

    def sealed(self, symbol: str) -> Sequence[Candle]:
        return self.update.sealed.get(symbol, ())
