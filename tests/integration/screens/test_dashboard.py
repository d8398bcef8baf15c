"""The dashboard as people see it, in a real Chromium: one behaviour a test, and pictures of every state."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import msgspec
import pytest

from fluxcap.schemas.types import CandleFlags, FeedState
from tests.support.browser.webpage import WebPage, web_page
from tests.support.daemon.dashboard_rig import MINUTE, FakeDaemon, dashboard

pytestmark = pytest.mark.browser

COLLECTED = "data_output/assets_data/data_collect/1M_candles/{}_1m_2025_10_25_09_54_04.csv"


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeDaemon, str]]:
    folder = tmp_path_factory.mktemp("daemon")
    daemon = FakeDaemon(folder)
    for asset in ("EURUSD_otc", "AUDCAD_otc"):
        path = folder / COLLECTED.format(asset)
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [f"{60 * m + 1_761_386_040},1.1,1.2,1.3,1.0" for m in range(100)]
        path.write_text("\n".join(["timestamp,open,close,high,low", *rows]) + "\n")
    try:
        with dashboard(tmp_path_factory.mktemp("page"), daemon) as url:
            yield daemon, url
    finally:
        daemon.close()


@pytest.fixture
def daemon(rig: tuple[FakeDaemon, str]) -> FakeDaemon:
    """As it was at the start, but for its candles."""
    daemon = rig[0]
    daemon.chrome, daemon.chrome_reason, daemon.detected = "attached", "", "EURUSD_otc"
    daemon.is_ticking, daemon.feed, daemon.gaps = True, FeedState.LIVE, []
    return daemon


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebPage]:
    profile = tmp_path_factory.mktemp("profile")
    with web_page(profile) as page:
        yield page
    shutil.rmtree(profile, ignore_errors=True)


@pytest.fixture
def page(browser: WebPage, rig: tuple[FakeDaemon, str], daemon: FakeDaemon) -> Iterator[WebPage]:
    """The browser, no page open; at the end nothing was complained of and nothing fetched from outside."""
    browser.driver.get_log("browser")
    yield browser
    assert browser.complaints() == []
    assert browser.foreign_requests() == []


def fresh(page: WebPage, rig: tuple[FakeDaemon, str], source: str = "") -> None:
    """A page as it opens, and with this source chosen."""
    page.open(f"{rig[1]}?theme=dark")
    page.wait_text("overlay", "Choose where candles come from")
    if source:
        page.click_text("source", source)
        page.wait_text("overlay", "Choose an asset")


def live(page: WebPage, rig: tuple[FakeDaemon, str], asset: str = "EURUSD_otc", theme: str = "dark") -> None:
    page.open(f"{rig[1]}?source=platform&asset={asset}&theme={theme}")
    page.wait_chart(lambda chart: chart["count"] and chart["forming"], "live candles")


def test_nothing_is_shown_before_a_source_is_chosen(page: WebPage, rig: tuple[FakeDaemon, str]) -> None:
    fresh(page, rig)

    assert not page.shown("asset")
    page.wait(lambda: page.text("label") == "Off", "the daemon's status")
    page.picture("dashboard-empty")


def test_the_platform_shows_history_at_once_and_goes_live(
    page: WebPage, rig: tuple[FakeDaemon, str], daemon: FakeDaemon
) -> None:
    fresh(page, rig, "Platform")
    labels = page.options("asset")
    page.choose("asset", "EUR/USD OTC")

    chart = page.wait_chart(
        lambda chart: chart["count"] >= 300 and chart["forming"], "history and the candle under way"
    )
    page.wait_text("label", "Live, ")
    page.wait(lambda: daemon.leases, "the lease")
    assert "EUR/USD OTC, 92%" in labels
    assert "EUR/USD, 71%" in labels
    assert set(daemon.leases.values()) == {"EURUSD_otc"}
    assert chart["line"] is not None
    assert page.text("timeframe-note") == "Platform candles are 1m"
    assert not page.find("timeframe").is_enabled() or "disabled" in page.script(
        "return document.querySelector('[data-test=timeframe]').closest('.q-field').className"
    )
    page.wait_text("fact-offset", "+2h")
    page.wait_text("fact-watermark", "#")


def test_a_sealed_candle_is_added_and_nothing_else_drawn_anew(page: WebPage, rig: tuple[FakeDaemon, str]) -> None:
    live(page, rig)
    before = page.chart()["count"]
    page.script("window.replaced = 0; const c = document.querySelector('.candle-chart').fluxcap; const r = c.replace;"
                "c.replace = (...a) => { window.replaced += 1; r(...a); }")  # fmt: skip

    candle = rig[0].seal(close=1.123)

    chart = page.wait_chart(lambda chart: chart["count"] == before + 1, "the sealed candle")
    assert chart["last"][:5] == [candle.ts_ms, candle.open, candle.high, candle.low, candle.close]
    assert page.script("return window.replaced") == 0
    assert chart["to"] >= candle.ts_ms


def test_gaps_are_shaded_flagged_candles_marked_and_revised_ones_updated(
    page: WebPage, rig: tuple[FakeDaemon, str], daemon: FakeDaemon
) -> None:
    live(page, rig)
    blind = daemon.seal(flags=CandleFlags.BLIND)
    daemon.gaps = [
        {"from_ms": blind.ts_ms - 9 * MINUTE, "to_ms": blind.ts_ms - 3 * MINUTE, "reason": "socket closed"},
    ]
    page.wait_chart(lambda chart: chart["last"][6] == CandleFlags.BLIND and chart["areas"], "mark and shade")

    daemon.revise(msgspec.structs.replace(blind, high=1.2, tick_count=140))

    chart = page.wait_chart(lambda chart: chart["last"][2] == 1.2, "the revised candle")
    assert chart["last"][6] & CandleFlags.REVISED
    assert chart["areas"] == [[blind.ts_ms - 9 * MINUTE, blind.ts_ms - 3 * MINUTE, "socket closed"]]
    page.picture("dashboard-live-dark")


def test_losing_chrome_stops_it_with_the_reason_and_its_return_starts_it(
    page: WebPage, rig: tuple[FakeDaemon, str], daemon: FakeDaemon
) -> None:
    live(page, rig)
    daemon.chrome, daemon.chrome_reason, daemon.feed = "not reachable", "Chrome was closed.", FeedState.NO_BROWSER
    page.wait_text("banner", "Chrome was closed.")
    page.wait(lambda: "Live" not in page.text("label"), "a footer that says the same")
    page.wait(lambda: not daemon.leases, "the end of the lease")
    before = page.chart()
    daemon.seal()
    chart = page.wait_chart(lambda chart: chart["forming"] is None and chart["line"] is None, "the price line's end")
    assert chart["count"] == before["count"]
    page.picture("dashboard-chrome-lost")

    daemon.chrome, daemon.chrome_reason, daemon.feed = "attached", "", FeedState.LIVE

    page.wait_chart(lambda chart: chart["count"] == before["count"] + 1 and chart["forming"], "what happened meanwhile")
    page.wait(lambda: not page.shown("banner"), "the banner's end")


def test_losing_the_daemon_stops_it_with_the_reason(
    page: WebPage, rig: tuple[FakeDaemon, str], daemon: FakeDaemon
) -> None:
    live(page, rig)
    daemon.stop_control()
    try:
        page.wait_text("banner", "No fluxcap answers")
    finally:
        daemon.start_control()
    page.wait(lambda: not page.shown("banner"), "the daemon again")


def test_stop_and_start(page: WebPage, rig: tuple[FakeDaemon, str], daemon: FakeDaemon) -> None:
    live(page, rig)
    page.click("start")
    page.wait_text("banner", "Stopped.")
    page.wait(lambda: not daemon.leases, "the end of the lease")

    page.click("start")

    page.wait_chart(lambda chart: chart["forming"], "live again")


def test_another_asset_shows_its_own_candles(page: WebPage, rig: tuple[FakeDaemon, str], daemon: FakeDaemon) -> None:
    live(page, rig)

    page.choose("asset", "GBP/USD OTC")

    page.wait_chart(lambda chart: chart["count"] and 1.25 < chart["last"][4] < 1.4, "the other asset's candles")
    page.wait(lambda: set(daemon.leases.values()) == {"GBPUSD_otc"}, "the other asset's lease")


def test_following_shows_what_the_page_shows(page: WebPage, rig: tuple[FakeDaemon, str], daemon: FakeDaemon) -> None:
    live(page, rig)
    assert "EURUSD_otc at 1m" in page.text("detected")
    page.click("follow")
    page.wait(lambda: not daemon.leases, "the end of the lease")

    daemon.detected = "GBPUSD_otc"

    page.wait_chart(lambda chart: chart["count"] and chart["last"][4] > 1.25, "the page's asset")
    page.wait_text("detected", "GBPUSD_otc")


def test_a_stalled_feed_is_said_with_its_age(page: WebPage, rig: tuple[FakeDaemon, str], daemon: FakeDaemon) -> None:
    live(page, rig)
    daemon.is_ticking, daemon.feed = False, FeedState.STALLED

    page.wait_text("label", "Stale, ")

    assert "silent" in page.text("reason")
    assert "warn" in str(page.find("dot").get_attribute("class"))
    page.picture("dashboard-stalled")


def test_files_are_shown_in_any_timeframe(page: WebPage, rig: tuple[FakeDaemon, str]) -> None:
    fresh(page, rig, "CSV files")
    page.choose("asset", "AUDCAD_otc")
    chart = page.wait_chart(lambda chart: chart["count"] == 100, "the file")
    assert chart["forming"] is None

    page.choose("timeframe", "15m")

    chart = page.wait_chart(lambda chart: chart["count"] < 100, "the longer candles")
    assert chart["count"] == 8
    assert chart["last"][0] % (15 * MINUTE) == 0
    page.picture("dashboard-csv")


def test_changing_the_source_resets_an_asset_that_the_new_one_lacks(page: WebPage, rig: tuple[FakeDaemon, str]) -> None:
    fresh(page, rig, "CSV files")
    page.choose("asset", "AUDCAD_otc")
    page.wait_chart(lambda chart: chart["count"] == 100, "the file")

    page.click_text("source", "Platform")

    page.wait_text("overlay", "Choose an asset")
    assert "AUDCAD_otc is not on the platform" in page.script("return document.body.innerText")
    assert page.chart()["count"] == 0


def test_a_file_that_is_none_is_said(page: WebPage, rig: tuple[FakeDaemon, str], daemon: FakeDaemon) -> None:
    path = daemon.data_dir / COLLECTED.format("BROKEN")
    path.write_text("timestamp,open,close,high,low\n60,1,x,1,1\n")
    try:
        fresh(page, rig, "CSV files")
        page.choose("asset", "BROKEN")
        assert "Line 2" in page.wait_text("overlay", "cannot be shown")
        page.picture("dashboard-csv-broken")
    finally:
        path.unlink()


def test_the_collect_mode_is_switched(page: WebPage, rig: tuple[FakeDaemon, str], daemon: FakeDaemon) -> None:
    fresh(page, rig)
    page.wait(lambda: "Focus" in page.text("focus"), "the daemon's status")
    page.choose("collect", "Collect candles")

    page.wait(lambda: daemon.collect == "candle", "the daemon's mode")
    daemon.collect = "both"
    page.wait(lambda: "Collect both" in page.script("return document.body.innerText"), "the mode set elsewhere")


def test_dark_and_light(page: WebPage, rig: tuple[FakeDaemon, str]) -> None:
    live(page, rig, theme="light")
    assert not page.chart()["dark"]
    page.picture("dashboard-live-light")

    page.click("theme")

    page.wait_chart(lambda chart: chart["dark"], "the dark chart")


def test_a_phone_shows_all_of_it_and_scrolls_nowhere_sideways(page: WebPage, rig: tuple[FakeDaemon, str]) -> None:
    page.driver.set_window_size(500, 900)
    page.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    )
    try:
        live(page, rig)
        width, window = page.wide()
        assert width <= window == 390
        for name in ("source", "asset", "follow", "start", "collect", "health", "fact-lag"):
            assert page.shown(name), name
        page.picture("dashboard-phone")
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.driver.set_window_size(1280, 800)


def test_updates_move_nothing(page: WebPage, rig: tuple[FakeDaemon, str]) -> None:
    live(page, rig)
    page.wait_text("fact-lag", "s")
    page.script(
        "window.shifts = []; new PerformanceObserver(list => list.getEntries().forEach(e => shifts.push(e.value)))"
        ".observe({type: 'layout-shift', buffered: false})"
    )
    seen = page.chart()["updates"]
    rig[0].seal()
    page.wait_chart(lambda chart: chart["updates"] > seen + 10, "ten updates")

    assert sum(page.script("return shifts")) < 0.01


def test_zoom_stays_where_the_user_put_it(page: WebPage, rig: tuple[FakeDaemon, str]) -> None:
    live(page, rig)
    first = page.chart()["last"][0] - 200 * MINUTE
    page.script(
        "document.querySelector('.candle-chart').fluxcap.chart.dispatchAction("
        "{type: 'dataZoom', startValue: arguments[0], endValue: arguments[1]})",
        first,
        first + 60 * MINUTE,
    )
    count = page.chart()["count"]
    rig[0].seal()
    chart = page.wait_chart(lambda chart: chart["count"] == count + 1, "the next candle")

    assert abs(chart["from"] - first) < 2 * MINUTE
    assert abs(chart["to"] - first - 60 * MINUTE) < 2 * MINUTE


def test_history_that_comes_after_the_candle_under_way_is_shown_and_read_to_its_last_digit(
    page: WebPage, rig: tuple[FakeDaemon, str]
) -> None:
    fresh(page, rig)
    begin = 1_761_386_040_000
    rows = [[begin + n * MINUTE, 1.1, 1.2, 1.0, 1.12345, 5, 0] for n in range(300)]
    page.script(
        "const c = document.querySelector('.candle-chart').fluxcap; const [rows, forming] = arguments;"
        "c.replace([], forming, 60000, 2); c.apply(rows, forming, 5)",
        rows,
        [begin + 300 * MINUTE, 1.1, 1.1, 1.1, 1.1, 1, 0],
    )

    chart = page.chart()

    assert chart["from"] == begin + 180 * MINUTE
    assert chart["to"] > begin + 300 * MINUTE
    assert page.script("return document.querySelector('.candle-chart').fluxcap.digits") == 5


def test_leaving_the_page_gives_the_asset_back(page: WebPage, rig: tuple[FakeDaemon, str], daemon: FakeDaemon) -> None:
    live(page, rig)
    page.wait(lambda: daemon.leases, "the lease")

    page.driver.get("about:blank")

    page.wait(lambda: not daemon.leases, "the end of the lease")
