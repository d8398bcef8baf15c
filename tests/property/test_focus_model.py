"""Any mixture of follow, lock, viewers, turns of the page, breaks and restarts leaves no bucket of a tracked asset out.

A bucket in which there was a trade is a candle, or touched by a gap that was told; and one of a lively asset that was
in focus and received throughout is a candle, whatever others looked at. Buckets are short here, and the tape with them,
so that a few minutes have what takes hours otherwise.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fluxcap.capture.market import candles, market, tape
from fluxcap.capture.market.candles import bucket_start
from fluxcap.capture.market.feeds import GapReason, GapUpdate
from fluxcap.capture.market.focus import Focus, FocusMode
from fluxcap.capture.pipeline.journal import TickJournal, read_journal_contents
from fluxcap.capture.pipeline.restore import restore_market
from fluxcap.schemas.types import Gap
from tests.support.examples import examples
from tests.support.market.simulated_market import AUD, EUR, GBP, LAG_MS, START_MS, Stage, lock

SECOND = 1_000
BUCKET = 10 * SECOND
HORIZON = 60 * SECOND
SYMBOLS = (EUR, GBP, AUD)
THIN_EVERY_S = 17
"""The third asset is traded so seldom that, beside one that is shown, nobody knows whether it is still sent."""
DECIDED_AFTER_S = 120
"""A start that hears the thin asset alone knows the clock after some of its ticks, and judges the focus 10 s later."""
LABELS = {EUR: "EUR/USD OTC", GBP: "GBP/USD OTC", AUD: "AUD/CAD OTC"}
FOLLOW, ALL = Focus(FocusMode.FOLLOW), Focus(FocusMode.ALL)


@pytest.fixture(autouse=True, scope="module")
def short_tape() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tape.TickTape.__init__, "__defaults__", (HORIZON,))
        patch.setattr(candles, "HORIZON_MS", HORIZON)
        patch.setattr(market, "PRUNE_EVERY_MS", 5 * SECOND)
        yield


class World:
    """A page, a daemon that is killed and started again, its journal and its store. One step is a second."""

    def __init__(self, folder: Path, *, sends_all: bool, focus: Focus = FOLLOW) -> None:
        self.folder = folder
        self.sends_all = sends_all
        self.page: str | None = EUR
        self.now_ms = START_MS
        self.runs = 0
        self.sockets = 0
        self.published: dict[str, dict[int, int]] = defaultdict(dict)
        """Start → flags of the candles in the store."""
        self.gaps: dict[tuple[str, int], GapUpdate] = {}
        """As the store has them: one of a begin."""
        self.truth: dict[str, list[tuple[int, float]]] = defaultdict(list)
        self.tracked_ms: dict[str, int] = {}
        """When an asset was first taken in while it was in focus."""
        self.received: dict[str, dict[int, tuple[int, int]]] = {symbol: {} for symbol in SYMBOLS}
        """Seconds in which an asset was in focus and sent, and in which run and on which socket."""
        self.stages: list[Stage] = []
        self._start(focus)
        self.connect()

    # --- the daemon ---

    def _start(self, focus: Focus) -> None:
        self.runs += 1
        kept = self.market.followed if self.stages else ()
        self.base, self.viewers, self.followed = focus, {}, set(kept)
        self.stage = Stage(BUCKET, focus)
        self.stages.append(self.stage)
        self.stage.truth, self.stage.now_ms = self.truth, self.now_ms
        self.market = self.stage.market
        self.market._aggregator._published_ts_ms = lambda symbol: max(self.published[symbol], default=0)
        contents = read_journal_contents(self.folder, self.published_to_ms)
        self.journal = TickJournal(
            self.folder,
            published_to_ms=self.published_to_ms,
            focused=self.market.focused_symbols,
            closed_files=contents.newest,
        )
        open_gaps = sorted((gap for gap in self.gaps.values() if not gap.to_ms), key=lambda gap: gap.from_ms)
        restore_market(
            self.market,
            contents.stretches,
            left_open=[Gap("X", gap.symbol, gap.from_ms, 0, gap.reason.value) for gap in open_gaps],
        )
        self.market.restore_followed(kept)
        self.market.track([symbol for symbol, candles in self.published.items() if candles])
        self.stage._take = self.commit  # type: ignore[method-assign]
        self.commit()

    def published_to_ms(self, symbol: str) -> int:
        newest_ms = max(self.published[symbol], default=0)
        return newest_ms + BUCKET if newest_ms else 0

    def commit(self) -> None:
        decided = self.market.drain()
        self.journal.append(
            decided.ticks, {tick.symbol: self.market.covered_since(tick.symbol) for tick in decided.ticks}
        )
        for symbol, sealed in decided.sealed.items():
            self.stage.sealed[symbol] += sealed
            for candle in sealed:
                assert candle.ts_ms > max(self.published[symbol], default=0)
                self.published[symbol][candle.ts_ms] = candle.flags
        for symbol, revisions in decided.revised.items():
            self.stage.revised[symbol] += revisions
            self.published[symbol] |= {revision.candle.ts_ms: revision.candle.flags for revision in revisions}
        for gap in decided.gaps:
            assert gap.to_ms in (0, gap.from_ms) or gap.to_ms > gap.from_ms
            self.gaps[gap.symbol, gap.from_ms] = gap

    def restart(self, down_s: int, focus: Focus) -> None:
        """It is killed; so long after it is started again, beside the page as it is then."""
        self.journal.close()
        for _ in range(down_s):
            self._happen(received=False)
        self._start(focus)
        self.sockets += 1

    # --- the page ---

    @property
    def socket(self) -> str:
        return f"s{self.sockets}"

    def connect(self) -> None:
        self.sockets += 1
        if self.page is not None:
            self.turn(self.page)

    def turn(self, symbol: str) -> None:
        self.page = symbol
        self.stage.turn(symbol, self.socket)
        self.stage._take()

    def is_sent(self, symbol: str) -> bool:
        return self.sends_all or symbol == self.page

    def is_in_focus(self, symbol: str) -> bool:
        """By the rule, as far as it is known what the page shows."""
        return (
            self.base.mode is FocusMode.ALL
            or symbol in (*self.base.symbols, *self.viewers.values())
            or (self.base.mode is FocusMode.FOLLOW and symbol in self.followed)
        )

    def _happen(self, *, received: bool) -> None:
        """A second passes."""
        second = (self.now_ms - START_MS) // SECOND
        for at, symbol in enumerate(SYMBOLS):
            if symbol == AUD and second % THIN_EVERY_S:
                continue
            ts_ms = self.now_ms + 300 * at
            if received and self.is_sent(symbol):
                self.stage.tick(ts_ms, symbol, self.socket)
                if self.is_in_focus(symbol) and self.market.clock.synchronised:
                    self.tracked_ms.setdefault(symbol, ts_ms)
            else:
                self.stage.happen(ts_ms, symbol)
        self.now_ms += SECOND

    def seconds(self, count: int, *, connected: bool = True) -> None:
        for _ in range(count):
            begin_ms = self.now_ms
            self._happen(received=connected)
            self.stage.pass_time(self.now_ms + LAG_MS)
            if self.market.active_asset_query and self.page is not None:
                self.market.on_active_asset_label(LABELS[self.page])
            if self.market.active is not None and self.base.mode is FocusMode.FOLLOW:
                self.followed.add(self.market.active.symbol)
            for symbol in SYMBOLS:
                if connected and self.is_sent(symbol) and self.is_in_focus(symbol) and self.market.clock.synchronised:
                    self.received[symbol][begin_ms] = self.runs, self.sockets

    # --- what people do ---

    def do(self, what: str, symbol: str, size: int) -> None:
        match what:
            case "wait":
                self.seconds(size)
            case "wait long":
                self.seconds(2 * HORIZON // SECOND)
            case "look":
                viewer = f"viewer {size % 2}"
                self.viewers[viewer] = symbol
                self.market.acquire_lease(viewer, symbol)
            case "leave":
                self.viewers.pop(f"viewer {size % 2}", None)
                self.market.release_lease(f"viewer {size % 2}")
            case "lock" | "follow" | "all":
                self.base = {"lock": lock(symbol), "follow": FOLLOW, "all": ALL}[what]
                self.market.set_focus(self.base)
            case "turn":
                self.turn(symbol)
            case "break":
                self.stage.lose(self.socket, GapReason.SOCKET_CLOSED)
                self.seconds(size, connected=False)
                self.connect()
            case "restart":
                self.restart(size, FOLLOW)
            case "restart locked":
                self.restart(size, lock(symbol))
        self.stage._take()
        self.seconds(1)

    # --- what must hold ---

    def problems(self) -> list[str]:
        for stage in self.stages:
            stage.assert_truthful()
        return [f"{symbol} {number}: {why}" for symbol in SYMBOLS for number, why in self._problems_of(symbol)]

    def _problems_of(self, symbol: str) -> Iterator[tuple[int, str]]:
        if symbol not in self.tracked_ms:
            return
        begin_ms = bucket_start(self.tracked_ms[symbol], BUCKET) + BUCKET
        traded = {bucket_start(ts_ms, BUCKET) for ts_ms, _ in self.truth[symbol]}
        for start_ms in range(begin_ms, bucket_start(self.now_ms, BUCKET) - 3 * BUCKET, BUCKET):
            if start_ms not in traded or start_ms in self.published[symbol]:
                continue
            number = (start_ms - START_MS) // BUCKET
            if not any(self._touches(gap, start_ms) for gap in self.gaps.values() if gap.symbol == symbol):
                yield number, "neither a candle nor in a gap"
            elif self._is_due(symbol, start_ms):
                yield number, "in focus and received throughout, and no candle"

    @staticmethod
    def _touches(gap: GapUpdate, start_ms: int) -> bool:
        return gap.from_ms != gap.to_ms and gap.from_ms < start_ms + BUCKET and (not gap.to_ms or gap.to_ms > start_ms)

    def _is_due(self, symbol: str, start_ms: int) -> bool:
        if symbol == AUD:
            return False
        seen = [self.received[symbol].get(ms) for ms in range(start_ms - BUCKET, start_ms + 2 * BUCKET, SECOND)]
        return seen[0] is not None and len(set(seen)) == 1


def steps() -> st.SearchStrategy[list[tuple[str, str, int]]]:
    what = st.sampled_from(
        [
            *("wait", "wait", "wait long", "look", "look", "leave", "lock", "follow", "all", "turn", "turn"),
            *("break", "restart", "restart locked"),
        ]
    )
    return st.lists(st.tuples(what, st.sampled_from(SYMBOLS), st.integers(1, 25)), max_size=20)


def life(story: list[tuple[str, str, int]], *, sends_all: bool) -> World:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), sends_all=sends_all)
        world.seconds(15)
        for step in story:
            world.do(*step)
        world.seconds(DECIDED_AFTER_S)
        world.journal.close()
        return world


A_VIEWER_LOOKS_AT_ANOTHER = [("look", GBP, 0), ("wait long", EUR, 0), ("leave", GBP, 0)]
THE_PAGE_TURNS = [("turn", GBP, 0), ("wait long", EUR, 0), ("turn", EUR, 0)]
LOCKED_BESIDE_A_THIN_ASSET = [
    *(("wait", EUR, seconds) for seconds in (1, 1, 15)),
    ("turn", AUD, 1),
    ("wait", EUR, 15),
    ("restart locked", EUR, 16),
    ("wait", EUR, 25),
]
AWAY_AND_BACK = [("lock", GBP, 0), ("wait long", EUR, 0), ("lock", EUR, 0)]


@settings(max_examples=examples(100), deadline=None)
@given(steps(), st.booleans())
@example(A_VIEWER_LOOKS_AT_ANOTHER, True)
@example(THE_PAGE_TURNS, True)
@example(AWAY_AND_BACK, True)
@example(LOCKED_BESIDE_A_THIN_ASSET, False)
def test_each_bucket_of_a_tracked_asset_is_a_candle_or_in_a_gap_that_was_told(
    story: list[tuple[str, str, int]], sends_all: bool
) -> None:
    world = life(story, sends_all=sends_all)

    assert world.problems() == []


@pytest.mark.parametrize("story", [A_VIEWER_LOOKS_AT_ANOTHER, THE_PAGE_TURNS], ids=["viewer", "page"])
def test_what_viewers_and_the_page_look_at_takes_no_candle_away(story: list[tuple[str, str, int]]) -> None:
    world = life(story, sends_all=True)

    starts = sorted(world.published[EUR])
    assert starts == list(range(starts[0], starts[-1] + 1, BUCKET))
    assert set(world.published[EUR].values()) == {0}
    assert not [gap for gap in world.gaps.values() if gap.symbol == EUR]


def test_an_asset_that_was_away_for_longer_than_the_tape_is_told_to_have_been() -> None:
    world = life(AWAY_AND_BACK, sends_all=True)

    [gap] = [gap for gap in world.gaps.values() if gap.symbol == EUR]
    assert gap.reason is GapReason.NOT_IN_FOCUS
    assert gap.from_ms - BUCKET in world.published[EUR]
    missing = set(range(gap.from_ms, gap.to_ms, BUCKET))
    assert missing
    assert missing.isdisjoint(world.published[EUR])
    assert gap.to_ms in world.published[EUR]


def test_an_asset_that_was_away_for_less_than_the_tape_has_all_its_candles() -> None:
    story = [("lock", GBP, 0), ("wait", EUR, 25), ("lock", EUR, 0)]

    world = life(story, sends_all=True)

    starts = sorted(world.published[EUR])
    assert starts == list(range(starts[0], starts[-1] + 1, BUCKET))
    assert [gap.to_ms - gap.from_ms for gap in world.gaps.values() if gap.symbol == EUR] == [0]
