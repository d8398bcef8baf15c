"""The core, from a browser's messages to candles, single-threaded: ``python tests/bench/bench_core.py``.

Ratios travel between machines, absolutes do not. "Theirs" of the whole path is the most that a browser delivers
(Chromium: 5,000 ticks/s, whatever the reader); of its parts it is the plain way of doing the same without what ours
adds (order, duplicates, coverage, bad rows). Times are this process's own, so that a busy machine counts for less. Live
frames let time pass after each; made-up time runs 500 times as fast as a real market's there.
"""

from __future__ import annotations

import base64
import binascii
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.capture.market.candles import CandleBuilder, CandleTimeouts
from fluxcap.capture.market.feeds import FeedTracker
from fluxcap.capture.market.focus import Focus, FocusMode
from fluxcap.capture.market.market import Market
from fluxcap.capture.market.tape import TickTape
from fluxcap.capture.pipeline.browser import BrowserFeed
from fluxcap.capture.pipeline.listeners import ListenerGroup
from fluxcap.capture.platforms.base import PlatformHints
from fluxcap.capture.platforms.pocketoption import PocketOption
from tests.support.browser import cdp

TICKS = 40_000
ROUNDS = 5
MINUTE = 60_000
START_MS = 1_760_000_040_000
OFFSET_MS = 7_200_000
BROWSER_TICKS_PER_S = 5_000.0
SYMBOLS = ("EURUSD_otc", "GBPUSD_otc", "AUDCAD_otc")
ANNOUNCEMENT = '451-["updateStream",{"_placeholder":true,"num":0}]'


def ticks() -> list[tuple[int, str, float]]:
    """Three assets in turn, two ticks a second each."""
    return [(START_MS + at * 167, SYMBOLS[at % 3], round(1.1 + at * 7919 % 997 / 1e5, 5)) for at in range(TICKS)]


def payload_of(ts_ms: int, symbol: str, price: float) -> str:
    row = [symbol, (ts_ms + OFFSET_MS) / 1_000, price]
    return base64.b64encode(json.dumps([row], separators=(",", ":")).encode()).decode()


def per_second(work: Callable[[], object], count: int) -> float:
    """Median rate over the rounds."""
    rates = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        work()
        rates.append(count / (time.process_time() - begun))
    return statistics.median(rates)


def whole_path(drained: bool) -> Callable[[], object]:
    """Market.received: each tick two frames, all assets focused."""
    frames = []
    for at, tick in enumerate(ticks()):
        wall_ms, mono_ms = tick[0] + 750, tick[0] - START_MS + 1_000_000
        waiting, last = (ArrivalTime.from_ms(wall_ms, mono_ms, nothing) for nothing in (False, drained or at < 100))
        frames.append((payload_of(*tick), waiting, last))

    def work() -> object:
        market = Market(PocketOption(), MINUTE, Focus(FocusMode.ALL))
        received = market.received
        sealed = 0
        for at, (payload, waiting, last) in enumerate(frames):
            received("socket", 1, ANNOUNCEMENT, waiting)
            received("socket", 2, payload, last)
            if last.drained:
                market.advance_time(last)
            if at % 500 == 0:
                sealed += len(market.drain().sealed)
        assert sealed
        return market

    return work


class _Commands:
    """A browser connection that keeps what it is told to send."""

    def __init__(self) -> None:
        self.waiting: list[dict[str, Any]] = []

    def send(self, text: str) -> None:
        self.waiting.append(json.loads(text))

    def close(self, timeout_s: float = 0.0) -> None: ...


def attached_side(market: Market) -> BrowserFeed:
    """The browser's side of the pipeline, with one tab in session ``S-T``."""
    stamp = ArrivalTime((START_MS + 749) * 1_000_000, 999_999 * 1_000_000, False)
    side, connection = (
        BrowserFeed(market, cdp.is_platform_url, ListenerGroup(), None, lambda: stamp, hints=PlatformHints()),
        _Commands(),
    )
    side.attach(connection, 1, "Chrome")
    side.receive(1, cdp.created("T").encode(), stamp)
    while connection.waiting:
        command = connection.waiting.pop(0)
        if command["method"] == "Target.attachToTarget":
            side.receive(1, cdp.attached("S-T", "T").encode(), stamp)
        result = {"sessionId": "S-T"} if command["method"] == "Target.attachToTarget" else {}
        side.receive(1, json.dumps({"id": command["id"], "result": result}).encode(), stamp)
    return side


def from_cdp_text(drained: bool) -> Callable[[], object]:
    """From the bytes that the browser's connection brings: two CDP messages a tick, all assets focused."""
    announcement = cdp.frame("S-T", text=ANNOUNCEMENT).encode()
    messages = []
    for tick in ticks():
        wall_ms, mono_ms = tick[0] + 750, tick[0] - START_MS + 1_000_000
        last = drained or len(messages) < 100  # else the platform's clock would never be known
        stamps = [
            ArrivalTime(wall_ms * 1_000_000, mono_ms * 1_000_000, nothing_waits) for nothing_waits in (False, last)
        ]
        messages.append((cdp.frame("S-T", text=payload_of(*tick), opcode=2).encode(), *stamps))

    def work() -> object:
        market = Market(PocketOption(), MINUTE, Focus(FocusMode.ALL))
        receive = attached_side(market).receive
        sealed = 0
        for at, (message, before, stamp) in enumerate(messages):
            receive(1, announcement, before)
            receive(1, message, stamp)
            if at % 500 == 0:
                sealed += len(market.drain().sealed)
        assert sealed
        return market

    return work


def decode_ours() -> Callable[[], object]:
    payloads = [payload_of(*tick) for tick in ticks()]

    def work() -> object:
        decoder = PocketOption().decoder()
        for payload in payloads:
            decoder.received(1, ANNOUNCEMENT)
            found = decoder.received(2, payload)
        return found

    return work


def decode_plainly() -> Callable[[], object]:
    payloads = [payload_of(*tick) for tick in ticks()]

    def work() -> object:
        for payload in payloads:
            name = json.loads(ANNOUNCEMENT[4:])[0]
            found = [(symbol, ts, price) for symbol, ts, price in json.loads(binascii.a2b_base64(payload))]
        return name, found

    return work


def fold_tape() -> Callable[[], object]:
    """The tape and the folds alone."""
    told = [(ts_ms, price) for ts_ms, _, price in ticks()]

    def work() -> object:
        tape = TickTape()
        take = tape.take
        end_ms = START_MS + MINUTE
        for ts_ms, price in told:
            if ts_ms >= end_ms:
                tape.fold(end_ms - MINUTE, end_ms)
                end_ms += MINUTE
            take(ts_ms, price, "s")
        return tape

    return work


def fold_with_coverage() -> Callable[[], object]:
    """Feeds and the builder: what a tick costs once it is decoded and its time is known."""
    told = [(ts_ms, price) for ts_ms, _, price in ticks()]

    def work() -> object:
        feeds = FeedTracker()
        feed = feeds.feed("A")
        builder = CandleBuilder(feed.tape, feed.server_candles(MINUTE), CandleTimeouts(MINUTE))
        for ts_ms, price in told:
            feeds.tick("s", "A", ts_ms, price, ts_ms)
            if builder.closes_bucket(ts_ms):
                builder.sealed(ts_ms, feeds.coverage(feed))
        return builder

    return work


class PlainCandle:
    __slots__ = ("close", "count", "high", "low", "open", "start_ms")

    def __init__(self, start_ms: int, price: float) -> None:
        self.start_ms = start_ms
        self.open = self.high = self.low = self.close = price
        self.count = 1

    def take(self, price: float) -> None:
        if price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        self.close = price
        self.count += 1


def fold_plainly() -> Callable[[], object]:
    told = [(ts_ms, price) for ts_ms, _, price in ticks()]

    def work() -> object:
        sealed = []
        candle = PlainCandle(START_MS, told[0][1])
        for ts_ms, price in told:
            if ts_ms >= candle.start_ms + MINUTE:
                sealed.append(candle)
                candle = PlainCandle(ts_ms - ts_ms % MINUTE, price)
            else:
                candle.take(price)
        return sealed

    return work


def rows() -> list[dict[str, Any]]:
    """One row a measurement: ``name``, medians ``ours`` and ``theirs`` in ``unit``, their ``ratio`` and its ``aim``,
    None where there is none."""
    plain_fold = per_second(fold_plainly(), TICKS)
    return [
        _row("CDP text to candles, backlog", per_second(from_cdp_text(False), TICKS), BROWSER_TICKS_PER_S, 20),
        _row("CDP text to candles, live", per_second(from_cdp_text(True), TICKS), BROWSER_TICKS_PER_S, 2),
        _row("frames to candles, backlog", per_second(whole_path(False), TICKS), BROWSER_TICKS_PER_S, 20),
        _row("frames to candles, live", per_second(whole_path(True), TICKS), BROWSER_TICKS_PER_S, 2),
        _row("decode a tick", per_second(decode_ours(), TICKS), per_second(decode_plainly(), TICKS), 1),
        _row("tape and fold", per_second(fold_tape(), TICKS), plain_fold, None),
        _row("coverage, tape and seal", per_second(fold_with_coverage(), TICKS), plain_fold, None),
    ]


def _row(name: str, ours: float, theirs: float, aim: float | None) -> dict[str, Any]:
    return {"name": name, "ours": ours, "theirs": theirs, "ratio": ours / theirs, "unit": "ticks/s", "aim": aim}


def main() -> None:
    """Print the table."""
    print(f"{'':30}{'ours':>12}{'theirs':>12}{'ratio':>9}{'aim':>7}")
    for row in rows():
        aim = f">={row['aim']}" if row["aim"] else ""
        print(f"{row['name']:30}{row['ours']:12,.0f}{row['theirs']:12,.0f}{row['ratio']:9.2f}{aim:>7} {row['unit']}")


if __name__ == "__main__":
    main()
