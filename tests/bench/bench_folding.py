"""Folding ticks into one-minute candles, beside what other tools do: ``python -m tests.bench.bench_folding``.

The same ticks (one asset, 2.1 a second) minute by minute to each: fluxcap's tape, which puts late ticks in their place
and drops repeated ones; nautilus_trader's TimeBarAggregator and cryptofeed's OHLCV (rival_folding.py), which do
neither. "Ready-made": each gets the ticks as its folding takes them, plain numbers here, TradeTick and Trade there.
"Made first": each makes its tick from symbol, time and price in the round, as its feed does in real use. Rounds in
turn, times of CPU.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from fluxcap.capture.market.candles import CandleBuilder, CandleTimeouts
from fluxcap.capture.market.feeds import FeedTracker
from fluxcap.capture.market.tape import TickTape
from fluxcap.capture.platforms.base import RawTick
from tests.bench import rivals

TICKS = 100_000
ROUNDS = 15
EVERY_MS = 476
MINUTE_MS = 60_000
START_MS = 1_760_000_040_000
AIM = 1.4
Minutes = list[list[tuple[int, float]]]


def minutes() -> Minutes:
    """The ticks, a list a minute."""
    found: dict[int, list[tuple[int, float]]] = {}
    for at in range(TICKS):
        ts_ms = START_MS + at * EVERY_MS
        found.setdefault(ts_ms // MINUTE_MS, []).append((ts_ms, round(1.1 + at * 7919 % 997 / 1e5, 5)))
    return list(found.values())


def fold(told: Minutes) -> object:
    """The tape, and a fold a minute."""
    tape = TickTape()
    take = tape.take
    for ticks in told:
        for ts_ms, price in ticks:
            take(ts_ms, price, "s")
        start_ms = ticks[0][0] - ticks[0][0] % MINUTE_MS
        candle = tape.fold(start_ms, start_ms + MINUTE_MS)
        assert candle is not None
    return tape


def make_and_fold(told: Minutes) -> object:
    """The same, with the tick made that the decoder makes."""
    tape = TickTape()
    take = tape.take
    for ticks in told:
        for ts_ms, price in ticks:
            tick = RawTick("EURUSD_otc", ts_ms, price)
            take(tick.raw_ts_ms, tick.price, "s")
        start_ms = ticks[0][0] - ticks[0][0] % MINUTE_MS
        candle = tape.fold(start_ms, start_ms + MINUTE_MS)
        assert candle is not None
    return tape


def follow(told: Minutes) -> object:
    """All that a candle costs once a tick's time is known: coverage by socket, gaps, tape, sealing with its flags."""
    feeds = FeedTracker()
    feed = feeds.feed("A")
    builder = CandleBuilder(feed.tape, feed.server_candles(MINUTE_MS), CandleTimeouts(MINUTE_MS))
    for ticks in told:
        for ts_ms, price in ticks:
            feeds.tick("socket", "A", ts_ms, price, ts_ms)
            if builder.closes_bucket(ts_ms):
                builder.sealed(ts_ms, feeds.coverage(feed))
    return builder


class Rivals:
    """The other tools' process; ``rate(what)`` is one round, None where the tool is not installed."""

    def __init__(self, told: Minutes) -> None:
        self._process: subprocess.Popen[str] | None = None
        if not rivals.python().exists():
            return
        script = Path(__file__).with_name("rival_folding.py")
        self._process = subprocess.Popen(
            [str(rivals.python()), str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._say(json.dumps(told))

    def _say(self, line: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def rate(self, what: str) -> float | None:
        if self._process is None:
            return None
        assert self._process.stdout is not None
        self._say(what)
        answer = self._process.stdout.readline().strip()
        assert answer, "the other tools' process ended"
        return None if answer == "none" else float(answer)

    def close(self) -> None:
        if self._process is not None:
            self._process.communicate(timeout=20)


COMPARED: tuple[tuple[str, Callable[[Minutes], object], str, float | None], ...] = (
    ("candle folding, ticks ready-made: nautilus_trader", fold, "nautilus", AIM),
    ("candle folding, ticks made first: nautilus_trader", make_and_fold, "nautilus making", AIM),
    ("candle folding, ticks ready-made: cryptofeed", fold, "cryptofeed", None),
    ("candle folding, ticks made first: cryptofeed", make_and_fold, "cryptofeed making", None),
    ("folding with coverage, gaps and flags: nautilus_trader", follow, "nautilus", None),
)


def rows(rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """One row a comparison: ``name`` (ours: theirs), medians ``ours`` and ``theirs`` in ``unit``, ``ratio`` (median of
    the rounds, with ``ratio_low`` and ``ratio_high``) and its ``aim``."""
    told = minutes()
    others = Rivals(told)
    figures: list[tuple[list[float], list[float]]] = [([], []) for _ in COMPARED]
    try:
        for _ in range(rounds):
            for (_name, ours, other, _aim), (mine, their) in zip(COMPARED, figures, strict=True):
                begun_s = time.process_time()
                ours(told)
                mine.append(TICKS / (time.process_time() - begun_s))
                rate = others.rate(other)
                if rate is not None:
                    their.append(rate)
    finally:
        others.close()
    return [_row(name, *pair, aim) for (name, _ours, _other, aim), pair in zip(COMPARED, figures, strict=True)]


def _row(name: str, ours: list[float], theirs: list[float], aim: float | None) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "ours": statistics.median(ours), "unit": "ticks/s"}
    if not theirs:
        return row | {"name": f"{name} (not installed)"}
    ratios = sorted(our / their for our, their in zip(ours, theirs, strict=True))
    low_high = {"ratio_low": ratios[0], "ratio_high": ratios[-1]}
    return row | {"theirs": statistics.median(theirs), "ratio": statistics.median(ratios), "aim": aim} | low_high


def main() -> None:
    """Print the table."""
    for row in rows():
        theirs, ratio = row.get("theirs") or 0.0, row.get("ratio") or 0.0
        print(f"{row['name']:58}{row['ours']:12,.0f}{theirs:12,.0f}{ratio:8.2f} {row['unit']}")


if __name__ == "__main__":
    main()
