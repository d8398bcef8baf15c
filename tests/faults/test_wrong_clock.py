"""The computer's clock is wrong when fluxcap starts, and is put right while it runs; the platform tells the time.

The daemon alone is lied to, by libfaketime: its wall clock is an hour off, its monotonic clock is the machine's, and
browser and platform live in the true time. What it has stored in the end is held to the site's own record.
"""

from __future__ import annotations

import glob
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from fluxcap.bridge.store.store import Store
from fluxcap.capture.simulator import SimulatedSite, SiteConfig, Truth, read_truth
from fluxcap.schemas.types import Candle, CandleFlags, candles_from
from tests.support.browser.chromium import Chromium
from tests.support.browser.devtools import Remote
from tests.support.daemon.live_rig import DaemonProcess
from tests.support.patience import PATIENCE_S, await_that

LIBRARY = next(iter(sorted(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1"))), "")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not LIBRARY, reason="libfaketime is not installed; `make system` does it where there is apt"),
]

SYMBOL = "EURUSD_otc"
HOUR_MS = 3_600_000
SECOND_MS = 1_000


class LiedTo:
    """The wall clock of one process, to be set at any time."""

    def __init__(self, folder: Path, off_s: int) -> None:
        self._file = folder / "wall clock"
        self.set(off_s)

    def set(self, off_s: int) -> None:
        """Set the clock ``off_s`` seconds ahead of the truth."""
        beside = self._file.with_suffix(".new")
        beside.write_text(f"{off_s:+d}\n")
        beside.replace(self._file)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": LIBRARY,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }


class Scene:
    """A platform, a trader's browser and, one after another, daemons on one data folder."""

    def __init__(self, folder: Path, site: SimulatedSite, browser: Chromium) -> None:
        self.folder, self.site, self.browser = folder, site, browser
        self.daemon: DaemonProcess
        self._runs = 0

    def start(self, clock: LiedTo | None = None) -> DaemonProcess:
        """Start ``fluxcap run``; the page is attached to when this returns, if it is open."""
        self._runs += 1
        host = self.site.url.removeprefix("http://").strip("/")
        self.daemon = DaemonProcess(
            self.folder / f"run{self._runs}",
            self.browser.port,
            *("--focus", SYMBOL, "--platform-url", host),
            data_dir=self.folder / "data",
            environment=clock.environment if clock is not None else None,
            fresh=True,  # its clock is lied about by a library that is loaded first
        )
        self.daemon.await_status(lambda seen: seen["chrome"] == "attached", "the attach")
        return self.daemon

    def sequence(self) -> int:
        streams = {stream["stream"]: stream for stream in self.daemon.status()["streams"]}
        return int(streams.get(str(self.daemon.key(SYMBOL)), {"latest_sequence": 0})["latest_sequence"])

    def await_candles(self, count: int) -> None:
        wanted = self.sequence() + count
        await_that(lambda: self.sequence() >= wanted, f"{count} candles more")

    def post(self, path: str) -> None:
        url = f"{self.daemon.run_file().control}{path}"
        httpx.post(url, timeout=PATIENCE_S, trust_env=False, verify=False).raise_for_status()

    def happens(self, event: str) -> bool:
        return any(line["event"] == event for line in self.daemon.events())

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        self.daemon.end(how)

    def stored(self) -> dict[int, Candle]:
        """Every candle as it stands at the end: with its sequence, or beside the stream with none."""
        with Store.open(self.folder / "data" / "fluxcap.duckdb") as store:
            reader = store.reader()
            key = self.daemon.key(SYMBOL)
            page, revisions = reader.page(key, 0, None, 1_000_000), reader.revisions(key, 0, 1_000_000)
            stands = {candle.ts_ms: candle for candle in candles_from(page.candles)}
            for sequence, candle in zip(revisions.sequences, candles_from(revisions.candles), strict=True):
                if not sequence:
                    stands[candle.ts_ms] = candle
            return stands

    def truth(self) -> Truth:
        return read_truth(self.site.truth_path)


@pytest.fixture
def scene(tmp_path: Path, chromium: Callable[..., Chromium]) -> Iterator[Scene]:
    config = SiteConfig(assets=(SYMBOL,), rate_hz=10, truth_path=tmp_path / "truth.jsonl")
    with SimulatedSite(config) as site:
        made = Scene(tmp_path, site, chromium())
        try:
            yield made
        finally:
            made.daemon.discard()


def prices(candle: Candle) -> tuple[float, float, float, float]:
    return candle.open, candle.high, candle.low, candle.close


def wrong(scene: Scene) -> list[str]:
    """Candles that stand unflagged though they are not what happened then."""
    found = []
    stands = scene.stored()
    truth = {c.ts_ms: c for c in scene.truth().candles(SYMBOL, SECOND_MS, min(stands), max(stands) + 1)}
    for ts_ms, candle in stands.items():
        flags = CandleFlags(candle.flags) & ~CandleFlags.REVISED
        true = truth.get(ts_ms)
        whole = not flags or CandleFlags.FILLED in flags
        if whole and (true is None or prices(true) != prices(candle)):
            found.append(f"{candle} is not {true}")
    return found


def missing(scene: Scene, from_ms: float, to_ms: float) -> list[int]:
    """Seconds with ticks of which no whole candle stands."""
    stands = scene.stored()
    first_ms, last_ms = (int(ts_ms) // SECOND_MS * SECOND_MS for ts_ms in (from_ms, to_ms))
    blind = CandleFlags.BLIND | CandleFlags.JOINED_LATE
    whole = {ts_ms for ts_ms, c in stands.items() if not c.flags & blind or c.flags & CandleFlags.FILLED}
    return [c.ts_ms for c in scene.truth().candles(SYMBOL, SECOND_MS, first_ms, last_ms) if c.ts_ms not in whole]


@pytest.mark.long
@pytest.mark.parametrize("off_s", [3_600, -3_600])
def test_a_daemon_that_sees_the_page_load_makes_no_wrong_candle_and_says_that_the_clock_is_wrong(
    scene: Scene, tmp_path: Path, off_s: int
):
    clock = LiedTo(tmp_path, off_s)
    scene.start(clock)
    tab = Remote(scene.browser, str(scene.browser.open(f"{scene.site.url}control/state")["id"]))
    # From here on the daemon sees all that the tab loads, however little time this machine has for it.
    scene.daemon.await_status(lambda seen: "listening" in [tab["state"] for tab in seen["tabs"]], "the tab")
    opened_ms = time.time() * 1_000
    tab.navigate(scene.site.url)
    scene.await_candles(5)
    seen = scene.daemon.await_status(lambda seen: seen["computer_clock_off_ms"], "that the clock is wrong")
    assert seen["clock"] == "clock in question"
    assert seen["clock_basis"] == "the platform's own clock"
    assert abs(seen["computer_clock_off_ms"] - off_s * 1_000) < 60_000

    clock.set(0)
    scene.daemon.await_status(lambda seen: seen["clock"] == "synchronised", "that the clock is right")
    scene.await_candles(3)
    scene.end()

    assert scene.happens("clock.computer_wrong")
    assert scene.happens("clock.computer_right")
    assert wrong(scene) == []
    assert missing(scene, opened_ms + 3_000, max(scene.stored())) == []


@pytest.mark.long
@pytest.mark.parametrize("off_s", [3_600, -3_600])
def test_beside_a_page_that_was_open_it_errs_says_so_and_mends_all_of_it_once_the_page_is_reloaded(
    scene: Scene, tmp_path: Path, off_s: int
):
    scene.browser.open(scene.site.url)
    await_that(lambda: scene.site.state()["market_sockets"], "the page's socket")
    clock = LiedTo(tmp_path, off_s)
    scene.start(clock)
    scene.await_candles(2)
    began_ms = time.time() * 1_000
    scene.await_candles(6)
    assert scene.daemon.status()["clock_basis"] == "this computer's clock alone"

    clock.set(0)
    await_that(lambda: scene.happens("clock.computer_stepped"), "that the clock was set")
    scene.daemon.await_status(lambda seen: seen["clock"] == "clock in question", "the question")
    scene.await_candles(3)
    scene.post("/api/reload")
    await_that(lambda: scene.happens("clock.corrected"), "the correction")
    scene.daemon.await_status(lambda seen: seen["clock"] == "synchronised", "the right time")
    corrected_ms = time.time() * 1_000
    await_that(lambda: time.time() * 1_000 > corrected_ms + 5_000, "some seconds more")
    scene.end()

    assert wrong(scene) == []
    assert missing(scene, began_ms, corrected_ms) == []


@pytest.mark.long
def test_a_restart_after_a_run_whose_clock_was_ahead_loses_nothing_and_publishes_at_once(scene: Scene, tmp_path: Path):
    scene.browser.open(scene.site.url)
    await_that(lambda: scene.site.state()["market_sockets"], "the page's socket")
    scene.start(LiedTo(tmp_path, 3_600))
    scene.await_candles(8)
    scene.end(signal.SIGKILL)
    before = scene.stored()
    assert max(before) > time.time() * 1_000 + HOUR_MS // 2

    scene.start()
    scene.daemon.await_status(lambda seen: seen["sockets"], "the page's socket")
    restarted_ms = time.time() * 1_000
    scene.daemon.await_status(lambda seen: seen["clock"] == "clock in question", "the question")
    scene.post("/api/reload")
    await_that(lambda: scene.happens("clock.store_ahead"), "that the store is ahead")
    scene.daemon.await_status(lambda seen: seen["clock"] == "synchronised", "the right time")
    last_ms = time.time() * 1_000
    await_that(lambda: time.time() * 1_000 > last_ms + 4_000, "that the last second is sealed")
    scene.end()

    assert scene.happens("journal.set_aside")
    assert list((tmp_path / "data" / "journal").glob("*.ahead"))
    assert wrong(scene) == []
    assert missing(scene, restarted_ms + 1_000, last_ms - 1_000) == []
