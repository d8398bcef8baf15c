"""A market on a stage: true ticks, sockets that carry them as the platform does, and a ``Market`` that listens.

Time is made up: one UTC millisecond clock; ticks arrive ``LAG_MS`` late, the wall clock tells UTC, the monotonic clock
began at ``MONO_ZERO_MS``. Every tick goes through the real frames and the real decoder.
"""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence

from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.capture.market.candles import Revision, bucket_start
from fluxcap.capture.market.feeds import GapReason, GapUpdate
from fluxcap.capture.market.focus import Focus, FocusMode
from fluxcap.capture.market.market import Market, MarketTimeouts
from fluxcap.capture.platforms.pocketoption import PocketOption
from fluxcap.schemas.types import Candle, CandleFlags

START_MS = 1_760_000_040_000
"""A whole minute."""
MONO_ZERO_MS = 1_759_990_000_000
OFFSET_MS = 7_200_000
LAG_MS = 750
EUR, GBP, AUD = "EURUSD_otc", "GBPUSD_otc", "AUDCAD_otc"
ALL = Focus(FocusMode.ALL)


def announcement(event: str) -> str:
    return f'451-["{event}",{{"_placeholder":true,"num":0}}]'


def attachment(value: object) -> str:
    return base64.b64encode(json.dumps(value, separators=(",", ":")).encode()).decode()


def lock(*symbols: str) -> Focus:
    return Focus(FocusMode.LOCK, symbols)


class Stage:
    """Plays frames into a market and keeps what comes of it. ``truth``: every tick that happened, received or not."""

    def __init__(
        self,
        interval_ms: int = 60_000,
        focus: Focus = ALL,
        *,
        published_ts_ms: int = 0,
        times: MarketTimeouts = MarketTimeouts(),  # noqa: B008
    ) -> None:
        self.interval_ms = interval_ms
        self.market = Market(PocketOption(), interval_ms, focus, lambda symbol: published_ts_ms, times)
        self.offset_ms = OFFSET_MS
        self.wall_error_ms = 0
        self.truth: dict[str, list[tuple[int, float]]] = defaultdict(list)
        self.sealed: dict[str, list[Candle]] = defaultdict(list)
        self.revised: dict[str, list[Revision]] = defaultdict(list)
        self.gaps: list[GapUpdate] = []
        self.ticks = 0
        self.now_ms = START_MS

    # --- what the platform does ---

    def at(self, arrives_ms: int | None = None, *, drained: bool = True) -> ArrivalTime:
        if arrives_ms is not None:
            self.now_ms = max(self.now_ms, arrives_ms)
        return ArrivalTime.from_ms(self.now_ms + self.wall_error_ms, self.now_ms - MONO_ZERO_MS, drained)

    def event(self, socket: str, name: str, payload: object, arrives_ms: int | None = None) -> None:
        self.market.received(socket, 1, announcement(name), self.at(arrives_ms, drained=False))
        self.market.received(socket, 2, attachment(payload), self.at())
        self.market.advance_time(self.at())
        self._take()

    def happen(self, ts_ms: int, symbol: str = EUR) -> float:
        """A tick happens, whoever sees it. Its price follows from its time."""
        price = round(1.1 + (ts_ms * 7919 % 1000) / 1e5, 5)
        self.truth[symbol].append((ts_ms, price))
        return price

    def tick(
        self, ts_ms: int, symbol: str = EUR, socket: str = "s1", *, arrives_ms: int | None = None, known: bool = False
    ) -> None:
        """A tick happens (unless ``known``: it did before) and arrives."""
        price = dict(self.truth[symbol])[ts_ms] if known else self.happen(ts_ms, symbol)
        row = [symbol, (ts_ms + self.offset_ms) / 1_000, price]
        self.event(socket, "updateStream", [row], ts_ms + LAG_MS if arrives_ms is None else arrives_ms)

    def ticks_of(
        self, from_ms: int, to_ms: int, symbols: Sequence[str] = (EUR,), socket: str | None = "s1", every_ms: int = 500
    ) -> None:
        """All symbols tick over ``[from_ms, to_ms)``; with ``socket`` None nobody sees it."""
        for ts_ms in range(from_ms, to_ms, every_ms):
            for at, symbol in enumerate(symbols):
                if socket is None:
                    self.happen(ts_ms + at, symbol)
                else:
                    self.tick(ts_ms + at, symbol, socket)
        if socket is None:
            self.pass_time(to_ms)

    def history(
        self, from_ms: int, to_ms: int, symbol: str = EUR, socket: str = "s1", *, period_ms: int = 60_000,
        rows: Iterable[Candle] = (), arrives_ms: int | None = None, with_ticks: bool = True,
    ) -> None:  # fmt: skip
        """The page is told the true ticks of ``[from_ms, to_ms)``."""
        ticks = [tick for tick in sorted(self.truth[symbol]) if from_ms <= tick[0] < to_ms] if with_ticks else []
        payload = {
            "asset": symbol,
            "period": period_ms // 1_000,
            "history": [[(ts + self.offset_ms) / 1_000, price] for ts, price in ticks],
            "candles": [[(r.ts_ms + self.offset_ms) / 1_000, r.open, r.close, r.high, r.low] for r in rows],
        }
        self.event(socket, "updateHistoryNewFast", payload, arrives_ms)

    def turn(self, symbol: str, socket: str = "s1", arrives_ms: int | None = None) -> None:
        """The trader chooses another asset."""
        text = "42" + json.dumps(["changeSymbol", {"asset": symbol, "period": 60}])
        self.market.sent(socket, 1, text, self.at(arrives_ms))

    def lose(self, socket: str = "s1", reason: GapReason = GapReason.SOCKET_CLOSED, at_ms: int | None = None) -> None:
        self.market.on_socket_closed(socket, reason, self.at(at_ms))
        self._take()

    def pass_time(self, until_ms: int) -> None:
        """Time passes without a frame, in steps as the daemon's."""
        while self.now_ms < until_ms:
            self.market.advance_time(self.at(min(self.now_ms + 200, until_ms)))
            self._take()

    # --- what came of it ---

    def true_candle(self, start_ms: int, symbol: str = EUR) -> Candle | None:
        ticks = sorted(self.truth[symbol], key=lambda tick: tick[0])
        prices = [price for ts_ms, price in ticks if start_ms <= ts_ms < start_ms + self.interval_ms]
        if not prices:
            return None
        count = len(prices)
        return Candle(start_ms, prices[0], max(prices), min(prices), prices[-1], float(count), count)

    def flags(self, symbol: str = EUR) -> dict[int, CandleFlags]:
        """Start, counted in intervals from ``START_MS``, → flags of the sealed candles."""
        return {
            (candle.ts_ms - START_MS) // self.interval_ms: CandleFlags(candle.flags) for candle in self.sealed[symbol]
        }

    def minute(self, number: int) -> int:
        return START_MS + number * self.interval_ms

    def assert_truthful(self) -> None:
        """Time stamps strictly increase; each unflagged or filled candle is the truth, the others are within it."""
        for symbol, candles in self.sealed.items():
            starts = [candle.ts_ms for candle in candles]
            assert starts == sorted(set(starts)), symbol
            for candle in candles:
                self._assert_true(symbol, candle)
        for symbol, revisions in self.revised.items():
            for revision in revisions:
                self._assert_true(symbol, revision.candle)

    def _assert_true(self, symbol: str, candle: Candle) -> None:
        truth = self.true_candle(candle.ts_ms, symbol)
        assert truth is not None, f"invented: {candle}"
        assert candle.ts_ms == bucket_start(candle.ts_ms, self.interval_ms)
        flags = CandleFlags(candle.flags) & ~CandleFlags.REVISED
        if not flags or flags & CandleFlags.FILLED:
            assert (candle.open, candle.high, candle.low, candle.close) == (
                truth.open,
                truth.high,
                truth.low,
                truth.close,
            ), f"{symbol} {flags!r}: {candle} is not {truth}"
            assert candle.tick_count in (0, truth.tick_count)
        else:
            assert flags == CandleFlags.BLIND, f"{flags!r} may not be published"
            assert truth.low <= candle.low <= candle.high <= truth.high
            assert candle.open == truth.open
            assert candle.tick_count <= truth.tick_count

    def _take(self) -> None:
        outcome = self.market.drain()
        for symbol, candles in outcome.sealed.items():
            self.sealed[symbol] += candles
        for symbol, revisions in outcome.revised.items():
            self.revised[symbol] += revisions
        self.gaps += outcome.gaps
        self.ticks += len(outcome.ticks)
