"""Follow mode through the page's own clicks: no asset's ticks in another's candles, and edges that tell the truth.

Three sites in one browser, each with its daemon: one sends all assets at all times, one only the asset shown (as the
platform does), one that too, but without history. A fourth daemon attaches late, and a fifth is locked.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fluxcap.bridge.export.export import effective_gaps
from fluxcap.bridge.http.run_file import read_run_file
from fluxcap.bridge.store.store import Store
from fluxcap.bridge.store.verify import verify
from fluxcap.capture.simulator import SimulatedSite, SiteConfig, read_truth
from fluxcap.schemas.types import Candle, Gap, StreamKey, candles_from
from tests.support.browser.chromium import Chromium, chromium_executable
from tests.support.browser.devtools import Remote
from tests.support.daemon.fault_rig import MACHINE_STOOD, SHORT_WAITS, Trouble, judge, touches, wholly_known
from tests.support.daemon.forked_daemons import ForkedDaemons, forked_daemons
from tests.support.daemon.live_rig import ask_status
from tests.support.patience import await_that

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ASSETS = ("EURUSD_otc", "GBPUSD_otc", "USDJPY_otc")
SOURCE = "FOLLOW"
TURNED = "page turned to another asset"
STAY_S = 4.0
TOUR = ("GBPUSD_otc", "USDJPY_otc", "EURUSD_otc", "GBPUSD_otc")
"""What is clicked, one after the other; the page begins with the first asset."""
SITES = {
    "all tick": {"tick_all": True},
    "shown ticks": {"tick_all": False},
    "no history": {"tick_all": False, "history": False},
}


class FollowingDaemon:
    """A forked `fluxcap run` and what it says of itself."""

    def __init__(
        self, daemons: ForkedDaemons, folder: Path, browser: Chromium, site: SimulatedSite, *more: str
    ) -> None:
        folder.mkdir()
        (folder / "fluxcap.toml").write_text(SHORT_WAITS)
        self.data_dir = folder / "data"
        host = site.url.removeprefix("http://").strip("/")
        self.pid = daemons.start(
            [
                *("run", "--chrome", f"127.0.0.1:{browser.port}", "--platform-url", host, "--source", SOURCE),
                *("--config", str(folder / "fluxcap.toml"), "--data-dir", str(self.data_dir), "--interval", "1s"),
                *("--pub", "tcp://127.0.0.1:0", "--rep", "tcp://127.0.0.1:0", "--no-web", "--control-port", "0"),
                *more,
            ],
            folder / "log.txt",
        ).pid
        run = await_that(lambda: read_run_file(self.data_dir), "the run file")
        self._status = f"{run.control}/api/status"

    def status(self) -> dict[str, Any]:
        return ask_status(self._status)

    def await_status(self, holds: Any, what: str) -> dict[str, Any]:
        return await_that(lambda: (seen := self.status()) and holds(seen) and seen, what)

    def end(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

        def gone() -> bool:
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                return True
            return False

        await_that(gone, "its end")

    def kept(self, symbol: str) -> tuple[list[Candle], list[Gap]]:
        with Store.open(self.data_dir / "fluxcap.duckdb") as store:
            page = store.reader().page(StreamKey(SOURCE, symbol, "1s"), 0, None, 1_000_000)
            return list(candles_from(page.candles)), effective_gaps(store.reader().gaps(SOURCE, symbol))


class Run:
    def __init__(self) -> None:
        self.truth: dict[str, Any] = {}
        self.daemons: dict[str, FollowingDaemon] = {}
        self.detected: dict[str, list[str]] = {}
        self.followed: dict[str, set[str]] = {}
        """What was in focus at the end."""
        self.late: dict[str, Any] = {}
        self.locked: dict[str, Any] = {}
        self.period: dict[str, Any] = {}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    if chromium_executable() is None:
        pytest.skip("no Chromium on this machine; install chromium or set FLUXCAP_CHROMIUM")
    with ExitStack() as stack:
        yield _run(tmp_path_factory.mktemp("follow"), stack)


def _run(folder: Path, stack: ExitStack) -> Run:
    made = Run()
    browser = Chromium(folder / "chromium")
    stack.callback(browser.stop)
    daemons = forked_daemons()
    sites, tabs = {}, {}
    for name, options in SITES.items():
        config = SiteConfig(assets=ASSETS, rate_hz=10, truth_path=folder / f"{name}.jsonl", **options)  # type: ignore[arg-type]
        sites[name] = stack.enter_context(SimulatedSite(config))
        made.daemons[name] = FollowingDaemon(daemons, folder / name, browser, sites[name])
    locked = FollowingDaemon(daemons, folder / "locked", browser, sites["all tick"], "--focus", "USDJPY_otc")
    for daemon in (*made.daemons.values(), locked):
        daemon.await_status(lambda seen: seen["chrome"] == "attached", "the attach")
    for name, site in sites.items():
        tabs[name] = Remote(browser, str(browser.open(site.url)["id"]))
        made.detected[name] = []
    for name, daemon in made.daemons.items():
        daemon.await_status(lambda seen: seen["platform_offset_ms"] is not None, f"the clock of {name}")
    time.sleep(STAY_S)
    for symbol in TOUR:
        for tab in tabs.values():
            click_favourite(tab, symbol)
        for name, daemon in made.daemons.items():
            seen = daemon.await_status(
                lambda seen, symbol=symbol: seen["detected_asset"] == symbol, f"{symbol}, {name}"
            )
            made.detected[name].append(seen["focus_symbols"][0])
            made.followed[name] = set(seen["focus_symbols"])
        time.sleep(STAY_S)
    late = FollowingDaemon(daemons, folder / "late", browser, sites["all tick"])
    made.late = late.await_status(lambda seen: seen["detected_asset"], "what the page shows")
    late.await_status(lambda seen: any(s["latest_sequence"] >= 3 for s in seen["streams"]), "candles of it")
    made.locked = locked.status()
    choose_period(tabs["all tick"], "M5")
    made.period = locked.await_status(lambda seen: seen["detected_period_s"] == 300, "the timeframe")
    late.await_status(lambda seen: seen["detected_period_s"] == 300, "the timeframe, after a late attach")
    made.daemons |= {"late": late, "locked": locked}
    for daemon in made.daemons.values():
        daemon.end()
    for name, site in sites.items():
        site.stop()
        made.truth[name] = read_truth(site.truth_path)
    return made


def click_favourite(tab: Remote, symbol: str) -> None:
    tab.evaluate(f"document.querySelector('[data-id=\"{symbol}\"] .assets-favorites-item__line').click()")


def choose_period(tab: Remote, label: str) -> None:
    tab.evaluate(f"[...document.querySelectorAll('.list-timeframes a')].find(a => a.textContent === '{label}').click()")


@pytest.mark.parametrize("symbol", ASSETS)
@pytest.mark.parametrize("name", SITES)
def test_each_assets_candles_are_its_own_and_their_edges_tell_the_truth(run: Run, name: str, symbol: str):
    candles, gaps = run.daemons[name].kept(symbol)
    due = run.truth[name].candles(symbol, 1_000, candles[0].ts_ms, candles[-1].ts_ms + 1)
    turned = Trouble(0, 2**62, (TURNED,))

    problems = list(judge({candle.ts_ms: candle for candle in due}, candles, gaps, [turned]))

    assert problems == [], "\n".join(problems)
    assert sum(candle.flags == 0 for candle in candles) >= 2


@pytest.mark.parametrize("symbol", ASSETS)
@pytest.mark.parametrize("name", ["all tick", "shown ticks"])
def test_with_history_no_bucket_is_missing(run: Run, name: str, symbol: str):
    candles, _gaps = run.daemons[name].kept(symbol)
    due = run.truth[name].candles(symbol, 1_000, candles[0].ts_ms, candles[-1].ts_ms + 1)

    assert [candle.ts_ms for candle in candles] == [candle.ts_ms for candle in due]


@pytest.mark.parametrize("symbol", ASSETS)
def test_while_the_asset_that_was_left_goes_on_ticking_its_last_candle_is_whole(run: Run, symbol: str):
    candles, gaps = run.daemons["all tick"].kept(symbol)
    stood = [gap for gap in gaps if gap.reason == MACHINE_STOOD]

    assert all(wholly_known(c) for c in candles if not any(touches(gap, c.ts_ms) for gap in stood))


def test_while_another_asset_was_shown_nothing_new_of_the_first_was_published(run: Run):
    for symbol in ASSETS:
        candles, gaps = run.daemons["no history"].kept(symbol)
        turned_away = [gap for gap in gaps if gap.to_ms]
        for gap in turned_away:
            assert not [c for c in candles if gap.from_ms + 1_000 <= c.ts_ms < gap.to_ms - 1_000]


@pytest.mark.parametrize("name", SITES)
def test_the_focus_went_where_the_clicks_went(run: Run, name: str):
    assert run.detected[name] == list(TOUR)


def test_what_the_page_showed_before_stays_in_focus_while_it_is_sent(run: Run):
    assert run.followed["all tick"] == set(ASSETS)


@pytest.mark.parametrize("symbol", ASSETS)
def test_an_asset_that_the_page_goes_on_sending_has_a_candle_of_every_second_after_it_was_shown(run: Run, symbol: str):
    candles, gaps = run.daemons["all tick"].kept(symbol)

    assert [candle.ts_ms for candle in candles] == list(range(candles[0].ts_ms, candles[-1].ts_ms + 1, 1_000))
    newest_ms = [run.daemons["all tick"].kept(other)[0][-1].ts_ms for other in ASSETS]
    assert max(newest_ms) - candles[-1].ts_ms <= 2_000
    # The page may come back before a tick has shown that the asset is still sent: that is a moment, never a stay.
    moments = [gap for gap in gaps if gap.reason == TURNED and 0 < gap.to_ms - gap.from_ms < STAY_S / 2 * 1_000]
    assert [gap for gap in gaps if gap not in moments and gap.reason != MACHINE_STOOD] == []


def test_attached_late_the_page_is_asked_what_it_shows(run: Run):
    assert run.late["detected_asset"] == TOUR[-1]
    assert run.late["focus_symbols"] == [TOUR[-1]]
    assert verify(run.daemons["late"].data_dir / "fluxcap.duckdb") == []


def test_locked_the_detected_asset_and_timeframe_are_shown_all_the_same(run: Run):
    assert run.locked["focus_symbols"] == ["USDJPY_otc"]
    assert (run.locked["detected_asset"], run.locked["detected_period_s"]) == (TOUR[-1], 60)
    assert run.period["detected_period_s"] == 300
    assert not run.daemons["locked"].kept("EURUSD_otc")[0]
