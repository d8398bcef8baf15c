"""Ticks of one stamp against the plainest reference there is.

Any sockets (each misses some ticks and sends frames again), histories and restarts: the tape holds each price as often
as one source told it, in order of arrival, and what is journaled is what a socket told for the first time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from fluxcap.capture.market.feeds import FeedTracker
from fluxcap.capture.market.tape import TickResult
from tests.support.examples import examples

START_MS = 1_760_000_040_000
SOCKETS = 3

Frame = tuple[tuple[str, int, float], ...]


class Event(NamedTuple):
    """``kind``: frame (of a socket), history (of the symbol of its first tick) or restart."""

    kind: str
    socket: int = 0
    ticks: Frame = ()


class Reference:
    """The rule as it is written."""

    def __init__(self, repeats: bool) -> None:
        self.repeats = repeats
        self.held: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
        self.told: defaultdict[Hashable, Counter[tuple[str, int, float]]] = defaultdict(Counter)
        self.last: dict[tuple[Hashable, str, int], float] = {}
        self.newest: dict[Hashable, int] = {}
        self.live: Counter[tuple[str, int, float]] = Counter()
        self.journal: list[tuple[str, int, float]] = []

    def frame(self, socket: Hashable, ticks: Frame) -> None:
        resent = all(ts_ms < self.newest.get(socket, 0) for _, ts_ms, _ in ticks)
        if resent and Counter(ticks) <= self.told[socket]:
            return
        for tick in ticks:
            self.newest[socket] = max(self.newest.get(socket, 0), tick[1])
            if self.tell(socket, tick) and self.told[socket][tick] > self.live[tick]:
                self.live[tick] += 1
                self.journal.append(tick)

    def history(self, number: int, ticks: Frame) -> None:
        for tick in ticks:
            self.tell(("history", number), tick)

    def restart(self) -> None:
        kept = sorted(self.journal, key=lambda tick: tick[1])
        self.__init__(self.repeats)  # type: ignore[misc]
        self.journal = kept
        for symbol, ts_ms, price in kept:
            self.held[symbol, ts_ms].append(price)
        self.live = Counter(kept)

    def tell(self, source: Hashable, tick: tuple[str, int, float]) -> bool:
        symbol, ts_ms, price = tick
        if not self.repeats and self.last.get((source, symbol, ts_ms)) == price:
            return False
        self.last[source, symbol, ts_ms] = price
        self.told[source][tick] += 1
        if self.told[source][tick] > self.held[symbol, ts_ms].count(price):
            self.held[symbol, ts_ms].append(price)
        return True


class Ours:
    """The tracker as the market drives it."""

    def __init__(self, repeats: bool, lag_ms: int) -> None:
        self.repeats = repeats
        self.lag_ms = lag_ms
        self.feeds = FeedTracker(repeats=repeats)
        self.journal: list[tuple[str, int, float]] = []

    def frame(self, socket: Hashable, ticks: Frame) -> None:
        if self.feeds.is_resent(socket, ticks):
            return
        for symbol, ts_ms, price in ticks:
            if self.feeds.tick(socket, symbol, ts_ms, price, ts_ms + self.lag_ms) is not TickResult.KNOWN:
                self.journal.append((symbol, ts_ms, price))

    def history(self, ticks: Frame) -> None:
        self.feeds.add_history("s0", ticks[0][0], [(ts_ms, price) for _, ts_ms, price in ticks])

    def restart(self) -> None:
        self.feeds = FeedTracker(repeats=self.repeats)
        self.journal.sort(key=lambda tick: tick[1])
        for symbol in dict.fromkeys(symbol for symbol, _, _ in self.journal):
            ticks = [(ts_ms, price) for asset, ts_ms, price in self.journal if asset == symbol]
            self.feeds.restore(symbol, ticks, ticks[0][0], ticks[-1][0])

    def held(self) -> dict[tuple[str, int], list[float]]:
        """Prices by symbol and stamp, in the tape's order."""
        found: dict[tuple[str, int], list[float]] = {}
        for feed in self.feeds:
            feed.tape.fold(0, 1)  # puts all on the columns
            for ts_ms, price in zip(feed.tape._ts, feed.tape._price, strict=True):
                found.setdefault((feed.symbol, ts_ms), []).append(price)
        return found


@st.composite
def stories(draw: st.DrawFn) -> list[Event]:
    """What happened, as each socket tells it: in its order, with losses, and with frames that come again."""
    truth = [
        (symbol, START_MS + at // 4, price)
        for at, (symbol, price) in enumerate(
            draw(st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from([1.0, 1.5, 2.0])), max_size=24))
        )
    ]
    queues: list[list[Frame]] = []
    for _ in range(SOCKETS):
        heard = [tick for tick in truth if draw(st.integers(0, 3))]
        frames: list[Frame] = []
        while heard:
            size = draw(st.integers(1, 4))
            frames.append(tuple(heard[:size]))
            heard = heard[size:]
            if draw(st.integers(0, 5)) == 0:
                frames.append(draw(st.sampled_from(frames)))
        queues.append(frames)
    events: list[Event] = []
    while any(queues):
        at = draw(st.sampled_from([at for at, queue in enumerate(queues) if queue]))
        events.append(Event("frame", at, queues[at].pop(0)))
        what = draw(st.integers(0, 11))
        if what == 0:
            symbol, until = draw(st.sampled_from("AB")), draw(st.integers(0, len(truth)))
            ticks = tuple(tick for tick in truth[:until] if tick[0] == symbol)
            events += [Event("history", ticks=ticks)] if ticks else []
        elif what == 1:
            events.append(Event("restart"))
    return events


@settings(deadline=None, max_examples=examples(300))
@given(stories(), st.booleans(), st.sampled_from([700, 5_000]))
def test_each_price_of_a_stamp_stands_as_often_as_one_source_told_it(
    events: Sequence[Event], repeats: bool, lag_ms: int
) -> None:
    ours, reference, run = Ours(repeats, lag_ms), Reference(repeats), 0
    for number, event in enumerate(events):
        if event.kind == "restart":
            run += 1
            ours.restart()
            reference.restart()
        elif event.kind == "history":
            ours.history(event.ticks)
            reference.history(number, event.ticks)
        else:
            socket = f"s{event.socket} of run {run}"
            ours.frame(socket, event.ticks)
            reference.frame(socket, event.ticks)

    held = {key: prices for key, prices in reference.held.items() if prices}
    assert ours.held() == held
    assert ours.journal == reference.journal
    for (symbol, ts_ms), prices in held.items():
        candle = ours.feeds.feed(symbol).tape.fold(ts_ms, ts_ms + 1)
        assert candle is not None
        assert (candle.open, candle.close, candle.tick_count) == (prices[0], prices[-1], len(prices))


trades = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([1.0, 2.0])), max_size=30)


@settings(deadline=None, max_examples=examples(200))
@given(trades, st.lists(st.tuples(st.integers(0, 2), st.integers(0, 29)), max_size=80), st.integers(0, 80))
def test_a_trade_with_an_id_counts_once_within_a_run_and_by_its_number_across_a_restart(
    happened: list[tuple[int, float]], tellings: list[tuple[int, int]], restart_at: int
) -> None:
    feeds, journal, seen = FeedTracker(repeats=True), Counter[tuple[int, float]](), set[int]()
    before = Counter[tuple[int, float]]()
    for at, (socket, number) in enumerate(tellings):
        if at == restart_at:
            before, seen = Counter(journal), set()
            feeds = FeedTracker(repeats=True)
            feeds.restore("A", sorted(before.elements()), 0, START_MS)
        if number < len(happened):
            ts_ms, price = START_MS + happened[number][0], happened[number][1]
            result = feeds.tick(f"s{socket}", "A", ts_ms, price, ts_ms, str(number))
            journal[ts_ms, price] += result is not TickResult.KNOWN
            seen.add(number)

    told = Counter((START_MS + happened[number][0], happened[number][1]) for number in seen)
    expected = before | told  # by its number: whichever has more of a price at a stamp
    candle = feeds.feed("A").tape.fold(0, START_MS + 10)
    assert (candle.tick_count if candle else 0) == sum(expected.values())
    assert +journal == expected
