"""``fluxcap.history(as_of=…)`` tells what a client had seen: views recorded in a storm, asked for again at its end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import count, islice
from pathlib import Path
from random import Random

import msgspec
import pytest

from fluxcap import history
from fluxcap.bridge.client.fetch import RequestConnection
from fluxcap.bridge.client.options import connect_requests
from fluxcap.bridge.history.source import HistorySource, Range, ServerHistory, StoppedHistory
from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.server.timeframes import Timeframes
from fluxcap.bridge.store.offline import OfflineStore
from fluxcap.schemas.codec import decode
from fluxcap.schemas.types import (
    Candle,
    CandleBatch,
    CandleRevision,
    Gap,
    GapState,
    StreamKey,
    candles_from,
)
from tests.support.patience import PATIENCE_S
from tests.support.wire.samples import ANY_PORT, EURUSD, GBPUSD, MINUTE, subscribed

TIMEFRAMES = Timeframes("SIM", "1m", ("5m",))
KEYS = (EURUSD, StreamKey("SIM", "EURUSD_otc", "5m"))
"""The streams that are compared; those of GBPUSD run beside them."""
BEGAN_MS = 1_795_262_400_000

Rows = dict[int, Candle]


class View(msgspec.Struct, frozen=True):
    """All that a client had at an instant: the candles of each stream by time, and the gaps."""

    at_ms: int
    candles: dict[StreamKey, Rows]
    gaps: list[Gap]


class Storm:
    """A server in which all happens at random, and a client that reads its feed."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.random = Random(seed)
        self.path = folder / "fluxcap.duckdb"
        self.now_ms = BEGAN_MS
        self.newest = dict.fromkeys((EURUSD, GBPUSD), 100)
        self.candles: dict[StreamKey, Rows] = defaultdict(dict)
        self.gaps: dict[tuple[str, int], Gap] = {}
        self.count = dict.fromkeys(("batches", "revisions", "passed over", "withdrawn"), 0)
        self._running = ExitStack()
        self.start()

    def start(self) -> None:
        """Start the server, again if it ran, and subscribe to it."""
        self._running.close()
        server = WireServer(self.path, ANY_PORT, ANY_PORT, clock_ms=lambda: self.now_ms, timeframes=TIMEFRAMES)
        self.server = self._running.enter_context(server)
        self._feed = self._running.enter_context(subscribed(server.pub_endpoint))
        probe = StreamKey("PROBE", "A", "1m")
        server.ensure_stream(probe)
        while not self._feed.poll(20):  # until the subscription has arrived
            server.heartbeat(self.now_ms)
        server.forget_stream(probe)

    def stop(self) -> None:
        self._running.close()

    def step(self) -> None:
        """Let one thing happen, and have the client take what was sent of it."""
        self.now_ms += self.random.randint(1, 4_000)
        self.random.choices((self.seal, self.revise, self.blind), (6, 3, 2))[0]()
        while self._feed.poll(0) or self._awaited:
            topic, payload = self._feed.recv_multipart()
            if not topic.startswith((b"candles.", b"revisions.")):
                continue
            message = decode(payload).message
            assert isinstance(message, CandleBatch | CandleRevision)
            self._awaited -= 1
            self.candles[message.key] |= {candle.ts_ms: candle for candle in candles_from(message.candles)}
            self.count["batches"] += isinstance(message, CandleBatch)
            if isinstance(message, CandleRevision):
                self.count["revisions"] += 1
                self.count["passed over"] += int((message.sequences == 0).sum())

    def seal(self) -> None:
        sealed, over = {}, {}
        for key in self.random.choice(((EURUSD,), (GBPUSD,), (EURUSD, GBPUSD))):
            first = self.newest[key] + self.random.choice((1, 1, 1, 2, 4))
            rows = [self.candle(minute) for minute in range(first, first + self.random.choice((1, 1, 3)))]
            self.newest[key] = rows[-1].ts_ms // MINUTE
            sealed[key], over[key] = rows, rows[-1].ts_ms + MINUTE
        self.sent(len(self.server.publish(sealed, over=over)))

    def revise(self) -> None:
        """Better candles for any minutes before, published or not."""
        key = self.random.choice((EURUSD, GBPUSD))
        newest = self.newest[key]
        if newest > 100:
            chosen = {self.random.randint(max(101, newest - 40), newest) for _ in range(self.random.randint(1, 4))}
            rows = [self.candle(minute) for minute in sorted(chosen)]
            self.sent(len(self.server.revise({key: rows})))

    def blind(self) -> None:
        """A gap begins, ends, or is taken back."""
        symbol = self.random.choice(("", "EURUSD_otc"))
        begun = [gap for gap in self.gaps.values() if gap.symbol == symbol and gap.state is GapState.OPENED]
        if begun:
            gap = begun[0]
            to_ms = self.random.choice((gap.from_ms, gap.from_ms + self.random.randint(1, 300_000)))
            gap = msgspec.structs.replace(gap, to_ms=to_ms)
        else:
            from_ms = self.newest[EURUSD] * MINUTE + self.random.randint(0, 90_000)
            gap = Gap("SIM", symbol, from_ms, 0, "silent")
        self.server.record_gaps([gap])
        self.gaps[symbol, gap.from_ms] = gap
        self.count["withdrawn"] += gap.state is GapState.WITHDRAWN
        self.sent(0)

    def sent(self, count: int) -> None:
        self._awaited = count + len(self.server.take_derived())

    def candle(self, minute: int) -> Candle:
        close = 1.0 + self.random.randint(0, 999) / 1_000
        flags = self.random.choice((0, 0, 0, 2, 4))
        return Candle(minute * MINUTE, 1.5, 2.0, 1.0, close, 7.0, self.random.randint(0, 9), flags)

    def view(self, at_ms: int) -> View:
        gaps = [gap for gap in self.gaps.values() if gap.state is not GapState.WITHDRAWN]
        return View(
            at_ms,
            {key: dict(self.candles[key]) for key in KEYS},
            sorted(gaps, key=lambda gap: (gap.from_ms, gap.symbol)),
        )

    _awaited = 0


def recorded(storm: Storm) -> Iterator[View]:
    """Views at random instants between what happens; now and then the server starts again."""
    for number in count(1):
        for _ in range(storm.random.choice((0, 1, 1, 2))):
            storm.step()
        yield storm.view(storm.now_ms)
        storm.now_ms += storm.random.randint(0, 500)
        yield storm.view(storm.now_ms)
        if number % 200 == 12:
            storm.start()


def told(source: HistorySource, view: View) -> View:
    """The view of that instant, asked for now."""
    candles: dict[StreamKey, Rows] = {}
    for key in KEYS:
        found, _ = source.candles(key, Range(0, None, view.at_ms))
        assert found["ts_ms"].tolist() == sorted(found["ts_ms"].tolist())
        candles[key] = {candle.ts_ms: candle for candle in candles_from(found)}
    return View(view.at_ms, candles, source.gaps(EURUSD, Range(0, None, view.at_ms)))


@pytest.mark.parametrize(
    "instants", [pytest.param(30, marks=pytest.mark.costly), pytest.param(1_000, marks=pytest.mark.long)]
)
def test_views_of_a_storm_are_what_as_of_tells_later(tmp_path: Path, instants: int) -> None:
    """The longer storm asks the running server for every other view, and the stopped store for those between."""
    storm = Storm(20_261_130 + instants, tmp_path)
    try:
        views = list(islice(recorded(storm), instants))
        rep = storm.server.rep_endpoint
        of_server, of_store = (views, views) if instants < 100 else (views[::2], views[1::2])
        with closing(RequestConnection(connect_requests(rep, PATIENCE_S, None, None))) as connection:
            server = ServerHistory(connection, rep)
            assert [view.at_ms for view in of_server if told(server, view) != view] == []
        whole = history("EURUSD_otc", source=rep, as_of=views[-1].at_ms, timeout=PATIENCE_S)
    finally:
        storm.stop()

    with OfflineStore(storm.path) as store:
        stopped = StoppedHistory(store, "")
        assert [view.at_ms for view in of_store if told(stopped, view) != view] == []
    again = history("EURUSD_otc", source=storm.path, as_of=views[-1].at_ms)
    assert whole.candles.tobytes() == again.candles.tobytes()
    assert whole.sequences.tolist() == again.sequences.tolist()
    assert whole.gaps == again.gaps
    assert len({view.at_ms for view in views}) > instants // 2
    if instants > 100:
        assert all(storm.count.values()), f"Not all was tried: {storm.count}"
        print(f"{instants} views, all equal: {storm.count}")


def test_a_view_that_was_told_wrongly_is_noticed(tmp_path: Path) -> None:
    storm = Storm(1, tmp_path)
    try:
        for _ in range(12):
            storm.step()
        view = storm.view(storm.now_ms)
        with closing(RequestConnection(connect_requests(storm.server.rep_endpoint, PATIENCE_S, None, None))) as asked:
            server = ServerHistory(asked, "")

            assert told(server, view) == view
            assert told(server, msgspec.structs.replace(view, at_ms=BEGAN_MS)) != view
    finally:
        storm.stop()
