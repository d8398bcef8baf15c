"""Two tabs on the same assets, each with its own lag, breaks and histories: no wrong candle, and no tick lost or told
twice."""

from __future__ import annotations

import heapq
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from fluxcap.capture.market.feeds import GapReason
from fluxcap.schemas.types import CandleFlags
from tests.support.examples import examples
from tests.support.market.simulated_market import EUR, GBP, START_MS, Stage

STEP_MS = 500
LENGTH_MS = 60_000
"""No life is longer."""
SEEN_STEPS = 11
"""A server's silence shorter than this cannot be told from the market's."""
SYMBOLS = (EUR, GBP)


class Part(NamedTuple):
    """A stretch of a tab's life. ``stall``: what is sent in it comes at its end; ``mute``: it is never sent."""

    steps: int
    kind: str
    history_ahead_ms: int


PARTS = st.builds(
    Part,
    st.integers(2, 20),
    st.sampled_from(["tick", "tick", "tick", "stall", "mute", "closed"]),
    st.sampled_from([-1, -1, 0, 300, 1_200]),
)
LIVES = st.tuples(st.integers(100, 1_500), st.lists(PARTS, min_size=1, max_size=6))


def arrivals(tab: str, lag_ms: int, life: list[Part]) -> list[tuple[int, int, str, str, int, int]]:
    """``(arrives_ms, order, what, socket, from_ms, to_ms)`` of a tab; a socket's messages keep their order."""
    found: list[tuple[int, int, str, str, int, int]] = []
    ts_ms, number, open_ = START_MS, 0, False
    newest_ms = 0
    for part in life:
        end_ms = ts_ms + part.steps * STEP_MS
        socket = f"{tab}{number}"

        def add(what: str, at_ms: int, from_ms: int = 0, to_ms: int = 0, socket: str = socket) -> None:
            nonlocal newest_ms
            newest_ms = max(newest_ms, at_ms)
            found.append((newest_ms, len(found), what, socket, from_ms, to_ms))

        if part.kind == "closed":
            if open_:
                add("lose", ts_ms + lag_ms)
            number, open_ = number + 1, False
        else:
            if part.history_ahead_ms >= 0:
                add("history", ts_ms + lag_ms, ts_ms - 30_000, ts_ms + part.history_ahead_ms)
            open_ = True
            for at_ms in range(ts_ms, end_ms, STEP_MS):
                if part.kind != "mute" or part.steps < SEEN_STEPS:
                    add("tick", (end_ms if part.kind == "stall" else at_ms) + lag_ms, at_ms, at_ms + STEP_MS)
        ts_ms = end_ms
    if open_:
        found.append((newest_ms, len(found), "lose", f"{tab}{number}", 0, 0))
    return found


def play(lives: list[tuple[int, list[Part]]], interval_ms: int) -> tuple[Stage, set[tuple[str, int]]]:
    """The stage at the end, and every tick that came live."""
    stage = Stage(interval_ms)
    for ts_ms in range(START_MS - 40_000, START_MS + LENGTH_MS + 2_000, STEP_MS):
        for number, symbol in enumerate(SYMBOLS):
            stage.happen(ts_ms + number, symbol)
    prices = {symbol: dict(stage.truth[symbol]) for symbol in SYMBOLS}
    came: set[tuple[str, int]] = set()
    queue = [event for tab, (lag_ms, life) in zip("ab", lives, strict=False) for event in arrivals(tab, lag_ms, life)]
    heapq.heapify(queue)
    while queue:
        arrives_ms, _, what, socket, from_ms, to_ms = heapq.heappop(queue)
        if arrives_ms - stage.now_ms > 200:
            stage.pass_time(arrives_ms)
        if what == "lose":
            stage.lose(socket, GapReason.SOCKET_CLOSED, arrives_ms)
        elif what == "history":
            stage.history(from_ms, to_ms, EUR, socket, arrives_ms=arrives_ms)
        else:
            for number, symbol in enumerate(SYMBOLS):
                ts_ms = from_ms + number
                row = [symbol, (ts_ms + stage.offset_ms) / 1_000, prices[symbol][ts_ms]]
                stage.event(socket, "updateStream", [row], arrives_ms)
                came.add((symbol, ts_ms))
    stage.pass_time(stage.now_ms + interval_ms + 30_000)
    return stage, came


@settings(deadline=None, max_examples=examples(60))
@given(st.lists(LIVES, min_size=2, max_size=2), st.sampled_from([5_000, 15_000]))
def test_no_candle_is_wrong_and_every_lack_is_told(lives: list[tuple[int, list[Part]]], interval_ms: int) -> None:
    stage, came = play(lives, interval_ms)

    stage.assert_truthful()
    for symbol in SYMBOLS:
        gaps = {gap.from_ms: gap.to_ms or 2**62 for gap in stage.gaps if gap.symbol == symbol}
        standing = {candle.ts_ms: candle for candle in stage.sealed[symbol]}
        standing |= {revision.candle.ts_ms: revision.candle for revision in stage.revised[symbol]}
        for candle in standing.values():
            end_ms = candle.ts_ms + interval_ms
            if candle.flags & ~CandleFlags.REVISED == CandleFlags.BLIND:
                assert any(a < end_ms and b > candle.ts_ms for a, b in gaps.items()), (candle, gaps)
    if stage.market.clock.synchronised:
        assert stage.ticks == len(came)
