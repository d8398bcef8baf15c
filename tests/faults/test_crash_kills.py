"""The daemon is killed at random instants, a hundred times: no sequence repeats or is skipped, nothing is lost.

Four daemons with candles of different length capture one page at once, each killed and started again in turn. A
subscriber hears all they publish. The times of the kills come from a seed, which is printed.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import zmq

from fluxcap.bridge.export.export import effective_gaps
from fluxcap.bridge.http.run_file import read_run_file
from fluxcap.bridge.store.store import Store
from fluxcap.bridge.store.verify import verify
from fluxcap.capture.pipeline.journal import journal_files
from fluxcap.capture.simulator import SimulatedSite, SiteConfig, Truth, read_truth
from fluxcap.schemas import codec
from fluxcap.schemas.types import Candle, CandleBatch, CandleFlags, Gap, StreamKey, candles_from, interval_ms
from tests.support.browser.chromium import Chromium, chromium_executable
from tests.support.daemon.fault_rig import SHORT_WAITS, Trouble, judge, wholly_known
from tests.support.daemon.forked_daemons import ForkedDaemons, forked_daemons
from tests.support.daemon.live_rig import ask_status
from tests.support.patience import await_that
from tests.support.ports import lasting_port

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SYMBOLS = ("EURUSD_otc", "GBPUSD_otc")
INTERVALS = ("1s", "2s", "5s", "10s")
SOURCE = "KILLED"
BRIEF_S, LONG_S = (0.0, 1.5), (3.0, 7.0)
"""Half of the lives end while the daemon starts, attaches or measures the clock, half while it publishes."""
TORN_SHARE = 0.3


class Lane:
    """One data folder, and the lives of its daemon."""

    def __init__(self, folder: Path, interval: str, seed: int, to_kill: int) -> None:
        self.folder = folder
        self.to_kill = to_kill
        self.interval = interval
        self.interval_ms = interval_ms(interval)
        self.data_dir = folder / "data"
        self.log = folder / "log.txt"
        self.pub, self.rep = (f"tcp://127.0.0.1:{lasting_port()}" for _ in range(2))
        self.draw = random.Random(seed)
        self.kills = 0
        self.torn = 0
        self.heard: list[bytes] = []
        self.failure: BaseException | None = None

    def key(self, symbol: str) -> StreamKey:
        return StreamKey(SOURCE, symbol, self.interval)

    def arguments(self, chrome_port: int, host: str) -> list[str]:
        settings = self.folder / "fluxcap.toml"
        settings.write_text(SHORT_WAITS)
        return [
            *("run", "--chrome", f"127.0.0.1:{chrome_port}", "--platform-url", host, "--config", str(settings)),
            *("--data-dir", str(self.data_dir), "--interval", self.interval, "--source", SOURCE, "--log-json"),
            *("--focus", ",".join(SYMBOLS), "--pub", self.pub, "--rep", self.rep, "--no-web", "--control-port", "0"),
        ]

    def live_and_die(self, daemons: ForkedDaemons, arguments: list[str]) -> None:
        for _ in range(self.to_kill):
            pid = daemons.start(arguments, self.log).pid
            time.sleep(self.draw.uniform(*self.draw.choice((BRIEF_S, LONG_S))))
            os.kill(pid, signal.SIGKILL)
            await_that(lambda pid=pid: not alive(pid), "the end of the killed")
            self.kills += 1
            if self.draw.random() < TORN_SHARE:
                self._tear_journal()

    def _tear_journal(self) -> None:
        """As a power failure leaves it: the last bytes did not reach the disk."""
        files = journal_files(self.data_dir / "journal")
        if files and files[-1].stat().st_size > 64:
            os.truncate(files[-1], files[-1].stat().st_size - self.draw.randint(1, 24))
            self.torn += 1

    def last_life(self, daemons: ForkedDaemons, arguments: list[str]) -> None:
        """One that is not killed: it must find everything and go on."""
        pid = daemons.start(arguments, self.log).pid
        begin_ms = time.time() * 1_000
        run = await_that(lambda: (r := read_run_file(self.data_dir)) and r.pid == pid and r, "the last life")

        def reached() -> bool:
            times = [stream["latest_ts_ms"] for stream in ask_status(f"{run.control}/api/status")["streams"]]
            return len(times) == len(SYMBOLS) and min(times) > begin_ms

        await_that(reached, "candles of the last life")
        os.kill(pid, signal.SIGTERM)
        await_that(lambda: not alive(pid), "the end of the last life")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Run:
    def __init__(self, lanes: list[Lane], truth: Truth) -> None:
        self.lanes = {lane.interval: lane for lane in lanes}
        self.truth = truth


@pytest.fixture(scope="module", params=[4, pytest.param(25, marks=pytest.mark.long)])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    if chromium_executable() is None:
        pytest.skip("no Chromium on this machine; install chromium or set FLUXCAP_CHROMIUM")
    if sys.platform == "win32":
        pytest.skip("there is no fork on Windows")
    folder = tmp_path_factory.mktemp("kills")
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    with ExitStack() as stack:
        yield _run(folder, seed, stack, request.param)


def _run(folder: Path, seed: int, stack: ExitStack, to_kill: int) -> Run:
    config = SiteConfig(assets=SYMBOLS, rate_hz=8, truth_path=folder / "truth.jsonl", history=False)
    site = stack.enter_context(SimulatedSite(config))
    browser = Chromium(folder / "chromium", url=site.url)
    stack.callback(browser.stop)
    daemons = forked_daemons()
    lanes = [Lane(folder / interval, interval, seed + number, to_kill) for number, interval in enumerate(INTERVALS)]
    for lane in lanes:
        lane.folder.mkdir()
    stop_hearing = threading.Event()
    hearing = threading.Thread(target=hear, args=(lanes, stop_hearing))
    hearing.start()
    host = site.url.removeprefix("http://").strip("/")

    def work(lane: Lane) -> None:
        arguments = lane.arguments(browser.port, host)
        try:
            lane.live_and_die(daemons, arguments)
            lane.last_life(daemons, arguments)
        except BaseException as error:
            lane.failure = error

    threads = [threading.Thread(target=work, args=(lane,)) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop_hearing.set()
    hearing.join()
    site.stop()
    for lane in lanes:
        if lane.failure is not None:
            raise AssertionError(f"{lane.interval}: {lane.log.read_text()[-3000:]}") from lane.failure
    return Run(lanes, read_truth(site.truth_path))


def hear(lanes: list[Lane], stop: threading.Event) -> None:
    """Keep every batch of candles that is published by any of them."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    poller, of = zmq.Poller(), {}
    for lane in lanes:
        feed = context.socket(zmq.SUB)
        feed.setsockopt(zmq.SUBSCRIBE, b"candles.")
        feed.setsockopt(zmq.RCVHWM, 0)
        feed.setsockopt(zmq.RECONNECT_IVL, 20)
        feed.connect(lane.pub)
        poller.register(feed, zmq.POLLIN)
        of[feed] = lane
    while not stop.is_set():
        for feed, _ in poller.poll(50):
            _topic, payload = feed.recv_multipart()
            of[feed].heard.append(payload)
    for feed in of:
        feed.close(linger=0)
    context.term()


def kept(lane: Lane, symbol: str) -> tuple[list[Candle], list[Gap]]:
    with Store.open(lane.data_dir / "fluxcap.duckdb") as store:
        page = store.reader().page(lane.key(symbol), 0, None, 1_000_000)
        assert page.start_sequence == 1
        return list(candles_from(page.candles)), effective_gaps(store.reader().gaps(SOURCE, symbol))


@pytest.mark.parametrize("interval", INTERVALS)
def test_killed_again_and_again_the_store_is_sound(run: Run, interval: str):
    lane = run.lanes[interval]

    assert lane.kills == lane.to_kill
    assert verify(lane.data_dir / "fluxcap.duckdb") == []
    print(f"{interval}: {lane.kills} kills, {lane.torn} torn journals, {len(lane.heard)} batches heard")


@pytest.mark.parametrize("interval", INTERVALS)
def test_all_that_was_published_is_in_the_store_byte_for_byte(run: Run, interval: str):
    lane = run.lanes[interval]
    stored = {}
    with Store.open(lane.data_dir / "fluxcap.duckdb") as store:
        for symbol in SYMBOLS:
            stored[lane.key(symbol)] = store.reader().page(lane.key(symbol), 0, None, 1_000_000).candles
    assert lane.heard
    given: dict[StreamKey, list[int]] = defaultdict(list)
    for payload in lane.heard:
        batch = codec.decode(payload).message
        assert isinstance(batch, CandleBatch)
        rows = stored[batch.key][batch.start_sequence - 1 : batch.next_sequence - 1]
        better = rows["flags"] & CandleFlags.REVISED != 0  # the store keeps the best that is known
        assert (rows["ts_ms"] == batch.candles["ts_ms"]).all()
        again = CandleBatch(batch.key, batch.start_sequence, np.where(better, batch.candles, rows))
        assert codec.encode(again) == payload
        given[batch.key] += range(batch.start_sequence, batch.next_sequence)
    for numbers in given.values():
        assert numbers == sorted(set(numbers)), "a sequence was published twice"


@pytest.mark.parametrize("symbol", SYMBOLS)
@pytest.mark.parametrize("interval", INTERVALS)
def test_every_candle_is_true_or_says_what_it_lacks(run: Run, interval: str, symbol: str):
    lane = run.lanes[interval]
    candles, gaps = kept(lane, symbol)
    due = run.truth.candles(symbol, lane.interval_ms, candles[0].ts_ms, candles[-1].ts_ms + 1)
    cause = Trouble(0, 2**62, ("fluxcap was not running",))

    problems = list(judge({c.ts_ms: c for c in due}, candles, gaps, [cause], lane.interval_ms))

    assert problems == [], "\n".join(problems)


def test_buckets_under_way_were_rebuilt_from_the_journal(run: Run):
    """Candles that a kill cut: open, and ticks from before it, are known from the journal alone.

    A gap begins with the last tick that is known: while it lies within the bucket, no life before had sealed it, unless
    the journal was torn and lacks what the candle in the store has. Such a one is whole.
    """
    rebuilt = [
        candle
        for lane in run.lanes.values()
        for symbol in SYMBOLS
        for candles, gaps in [kept(lane, symbol)]
        for candle in candles
        if not wholly_known(candle)
        if any(candle.ts_ms < gap.from_ms < candle.ts_ms + lane.interval_ms for gap in gaps)
    ]

    kills = sum(lane.kills for lane in run.lanes.values())
    assert rebuilt or kills < 100, "by chance a few kills cut no candle after its first tick; a hundred do"
    assert {candle.flags & ~CandleFlags.REVISED for candle in rebuilt} <= {CandleFlags.BLIND}
