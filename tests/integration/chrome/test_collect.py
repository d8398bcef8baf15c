"""Topdown collection on the simulated site, in a real Chromium, alone and beside a daemon that captures live."""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fluxcap.bridge.http.run_file import read_run_file
from fluxcap.bridge.store.store import Store
from fluxcap.capture.csvfiles.collected import COLLECT_FOLDER
from fluxcap.capture.simulator import SimulatedSite, SiteConfig, Truth, read_truth
from fluxcap.capture.simulator.market.exchange import Exchange
from fluxcap.capture.simulator.market.history import candle_rows
from fluxcap.schemas.types import Candle, CandleFlags, StreamKey, candles_from
from tests.support.browser.chromium import Chromium
from tests.support.browser.page_driver import PageDriver
from tests.support.daemon.live_rig import SOURCE, DaemonProcess, Process, stored, stored_gaps
from tests.support.patience import await_that

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LOCKED, OTHERS = "EURUSD_otc", ("USDJPY_otc", "AUDCAD_otc")
LABELS = {"EURUSD_otc": "EUR/USD OTC", "USDJPY_otc": "USD/JPY OTC", "AUDCAD_otc": "AUD/CAD OTC"}
PERIODS = {"1h": ("1H_candles", "60m", 3_600), "15m": ("15M_candles", "15m", 900)}
PERIODS |= {"5m": ("5M_candles", "5m", 300), "1m": ("1M_candles", "1m", 60)}
SECOND_MS = 1_000


@pytest.fixture
def start_site(tmp_path: Path) -> Iterator[Callable[..., SimulatedSite]]:
    sites = []

    def start(**config: Any) -> SimulatedSite:
        assets = (LOCKED, *OTHERS)
        site = SimulatedSite(SiteConfig(assets=assets, truth_path=tmp_path / "truth.jsonl", **config))
        site.start()
        sites.append(site)
        return site

    yield start
    for site in sites:
        site.stop()


@pytest.fixture
def browser(chromium: Callable[..., Chromium]) -> Chromium:
    if shutil.which("chromedriver") is None:
        pytest.skip("no chromedriver on this machine; install chromium-driver")
    return chromium()


def open_page(browser: Chromium, site: SimulatedSite) -> PageDriver:
    page = PageDriver(browser, site.url)
    page.wait_until("site.state == 'connected' && site.histories.length")
    return page


def collect(folder: Path, browser: Chromium, site: SimulatedSite, data_dir: Path, *options: str) -> Process:
    return Process(
        folder,
        *("collect", "--chrome", f"127.0.0.1:{browser.port}", "--platform-url", f"127.0.0.1:{site.port}"),
        *("--source", SOURCE, "--data-dir", str(data_dir), "--json", *options),
    )


def rows_of(path: str | Path) -> list[tuple[int, float, float, float, float]]:
    """Start (s, UTC), open, close, high, low; checks header and ascent on the way."""
    with Path(path).open(newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header == ["timestamp", "open", "close", "high", "low"]
    assert all(len(row[0]) == 20 and row[0][10] == " " and row[0].endswith("Z") for row in rows)
    found = [(int(time_s(row[0])), *map(float, row[1:])) for row in rows]
    assert [row[0] for row in found] == sorted({row[0] for row in found})
    return found  # type: ignore[return-value]


def time_s(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def expected_rows(site: SimulatedSite, symbol: str, period_s: int, starts: list[int]) -> list[Any]:
    """By the site's own market; its rows are start in platform seconds, open, close, high, low."""
    market = Exchange(site.config, round(time.time() * 1_000)).markets[symbol]
    offset_s = site.config.offset_s
    count = (starts[-1] - starts[0]) // period_s + 1
    rows = candle_rows(
        market, period_s=period_s, last_start_s=starts[-1] + offset_s, count=count, offset_ms=offset_s * 1_000
    )
    return [(start - offset_s, *prices) for start, *prices in rows if start - offset_s in starts]


def test_a_collection_saves_every_timeframe_of_every_favourite_and_leaves_the_page_as_it_was(
    browser: Chromium, start_site: Callable[..., SimulatedSite], tmp_path: Path
):
    site = start_site()
    with open_page(browser, site) as page:
        page.evaluate("site.choosePeriod(300)")
        page.wait_until("site.histories.some(one => one.period == 300)")
        data_dir = tmp_path / "data"
        run = collect(tmp_path / "run", browser, site, data_dir)
        code = run.wait()
        assert code == 0, run.err
        shown = page.evaluate("[site.symbol, site.period]")
        errors = page.errors
    summary = json.loads(run.out)

    assert (summary["failed"], summary["page_trouble"], summary["store_trouble"]) == ([], "", "")
    assert summary["platform_offset_ms"] == 7_200_000
    assert shown == [LOCKED, 300]
    assert errors == []
    assert {(one["asset"], one["timeframe"]) for one in summary["saved"]} == {
        (symbol, timeframe) for symbol in LABELS for timeframe in PERIODS
    }
    for saved in summary["saved"]:
        check_file(site, saved, data_dir)
    check_store(site, summary, data_dir)


def check_file(site: SimulatedSite, saved: dict[str, Any], data_dir: Path) -> None:
    """Named as ever, only rows of its period, ascending, in UTC, and exactly the market's."""
    folder, suffix, period_s = PERIODS[saved["timeframe"]]
    path = Path(saved["path"])
    rows = rows_of(path)
    starts = [row[0] for row in rows]
    assert path.parent == data_dir / COLLECT_FOLDER / folder
    assert path.name.startswith(f"{saved['asset']}_{suffix}_")
    assert 90 <= len(rows) <= 110
    assert {start % period_s for start in starts} == {0}, "H1, M15 and M5 files ended with one-minute rows"
    assert starts[-1] + period_s <= time.time()
    # What is older than the simulator keeps exactly is sampled around the point it is asked from: compare the newest.
    recent = [row for row in rows if row[0] > time.time() - 3 * period_s - 3_600]
    assert recent == expected_rows(site, saved["asset"], period_s, [row[0] for row in recent])


def check_store(site: SimulatedSite, summary: dict[str, Any], data_dir: Path) -> None:
    """Other intervals than the live one are streams of their own, FILLED, the very rows of the files."""
    with Store.open(data_dir / "fluxcap.duckdb") as store:
        reader = store.reader()
        for saved in summary["saved"]:
            key = StreamKey(SOURCE, saved["asset"], saved["timeframe"])
            if saved["timeframe"] == "1m":
                assert key not in store.watermarks()
                continue
            page = reader.page(key, 0, None, 1_000)
            candles = list(candles_from(page.candles))
            assert page.start_sequence == 1
            assert {candle.flags for candle in candles} == {int(CandleFlags.FILLED)}
            assert [(c.ts_ms // 1_000, c.open, c.close, c.high, c.low) for c in candles] == rows_of(saved["path"])


def test_a_run_that_was_interrupted_goes_on_where_it_stopped(
    browser: Chromium, start_site: Callable[..., SimulatedSite], tmp_path: Path
):
    site = start_site()
    data_dir = tmp_path / "data"
    with open_page(browser, site) as page:
        first = collect(tmp_path / "first", browser, site, data_dir, "--timeframes", "1h,5m")
        await_that(lambda: len(list(data_dir.rglob("*.csv"))) >= 2, "two files")
        import signal

        code, _ = first.end(signal.SIGINT)
        saved = set(data_dir.rglob("*.csv"))
        second = collect(tmp_path / "second", browser, site, data_dir, "--timeframes", "1h,5m")
        assert second.wait() == 0, second.err
        shown = page.evaluate("[site.symbol, site.period]")
    summary = json.loads(second.out)

    assert code == 130, first.err
    assert summary["skipped"] == len(saved)
    assert len(summary["saved"]) == 6 - len(saved)
    assert saved < set(data_dir.rglob("*.csv"))
    assert not (data_dir / COLLECT_FOLDER / "unfinished.json").exists()
    assert shown == [LOCKED, 60]


def test_a_page_without_its_favourites_bar_is_told_with_a_picture(
    browser: Chromium, start_site: Callable[..., SimulatedSite], tmp_path: Path
):
    site = start_site()
    with open_page(browser, site) as page:
        page.evaluate("document.querySelector('#js-assets-favorites-slider').remove(); 1")
        run = collect(tmp_path / "run", browser, site, tmp_path / "data")
        code = run.wait()

    picture = tmp_path / "data" / COLLECT_FOLDER / "page.png"
    assert code == 1
    assert "The page has no favourites bar (#js-assets-favorites-slider)" in run.err
    assert str(picture) in run.err
    assert len(run.err.splitlines()) == 1
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "tick_all",
    [
        pytest.param(True, id="every asset ticks", marks=pytest.mark.long),
        pytest.param(False, id="only the open asset ticks"),
    ],
)
def test_live_capture_of_a_locked_asset_stays_exact_or_says_that_it_is_not(
    browser: Chromium, start_site: Callable[..., SimulatedSite], tmp_path: Path, tick_all: bool
):
    site = start_site(tick_all=tick_all, rate_hz=8)
    host = f"127.0.0.1:{site.port}"
    daemon = DaemonProcess(tmp_path / "daemon", browser.port, "--platform-url", host, "--focus", LOCKED)
    try:
        daemon.await_status(lambda seen: seen["chrome"] == "attached", "the attach")
        with open_page(browser, site):
            daemon.await_status(lambda seen: sequence(seen, "1s") >= 3, "candles")
            run = collect(tmp_path / "run", browser, site, daemon.data_dir, "--timeframes", "1h,1m")
            code = run.wait()
            assert code == 0, run.err
            after = sequence(daemon.status(), "1s")
            seen = daemon.await_status(lambda seen: sequence(seen, "1s") >= after + 4, "candles after it")
        assert read_run_file(daemon.data_dir) is not None
        daemon.end()
    finally:
        daemon.discard()
    summary = json.loads(run.out)
    live = stored(daemon.data_dir, daemon.key(LOCKED))
    hourly = stored(daemon.data_dir, StreamKey(SOURCE, LOCKED, "1h"))

    assert (summary["failed"], summary["store_trouble"], summary["page_trouble"]) == ([], "", "")
    assert [c.ts_ms // 1_000 for c in hourly] == [r[0] for r in rows_of(path_of(summary, LOCKED, "1h"))]
    assert {s["stream"]: s["feed"] for s in seen["derived_streams"]}[str(StreamKey(SOURCE, LOCKED, "1h"))] == "live"
    check_truthful(read_truth(site.truth_path), live, stored_gaps(daemon.data_dir, LOCKED), tick_all=tick_all)


def sequence(status: dict[str, Any], interval: str) -> int:
    name = f"{SOURCE}.{LOCKED}.{interval}"
    return next((int(s["latest_sequence"]) for s in status["streams"] if s["stream"] == name), 0)


def path_of(summary: dict[str, Any], symbol: str, timeframe: str) -> str:
    return next(s["path"] for s in summary["saved"] if (s["asset"], s["timeframe"]) == (symbol, timeframe))


def check_truthful(truth: Truth, live: list[Candle], gaps: list[Any], *, tick_all: bool) -> None:
    """A candle that does not say BLIND or JOINED_LATE has the truth's prices; a minute that lacks lies in a gap."""
    expected = {c.ts_ms: c for c in truth.candles(LOCKED, SECOND_MS, live[0].ts_ms, live[-1].ts_ms + 1)}
    found = {c.ts_ms: c for c in live}
    unsure = CandleFlags.BLIND | CandleFlags.JOINED_LATE
    whole = {ts: c for ts, c in found.items() if not c.flags & unsure or c.flags & CandleFlags.FILLED}
    assert {ts: prices(c) for ts, c in whole.items()} == {ts: prices(expected[ts]) for ts in whole}
    missing = sorted(set(expected) - set(whole))
    assert [ts for ts in missing if not any(g.from_ms < ts + SECOND_MS and ts < g.to_ms for g in gaps)] == []
    if tick_all:
        live_only = [c for c in live if not c.flags]
        assert not missing
        assert len(live_only) >= len(live) - 800  # all but what the page's history told of the time before it
        assert live_only[-1] is live[-1]
    else:
        assert gaps


def prices(candle: Candle) -> tuple[float, ...]:
    return candle.open, candle.high, candle.low, candle.close, candle.tick_count
