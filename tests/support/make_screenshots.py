"""Makes the README's pictures: the dashboard and the dev server's panel, each doing its work (`make screenshots`)."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import msgspec
from selenium.webdriver.common.keys import Keys

from fluxcap.bridge.devserver.generator import GeneratedCandles
from fluxcap.schemas.types import Candle, CandleFlags, FeedState, candles_from
from tests.support.browser.webpage import WebPage, web_page
from tests.support.daemon.dashboard_rig import MINUTE, FakeDaemon, dashboard
from tests.support.daemon.live_rig import Process
from tests.support.paths import ROOT
from tests.support.patience import await_that

FOLDER = ROOT / "bridge" / "dashboard" / "screenshots"
SIZE = "1180,760"


class PrettyDaemon(FakeDaemon):
    """As the fake one, with candles like a market's."""

    def history(self, count: int) -> None:
        key = self.keys["EURUSD_otc"]
        begin_ms = (self.minute - count) * MINUTE
        walk = [scaled(candle) for candle in candles_from(GeneratedCandles(key, 7, begin_ms).next(count))]
        blind = range(count - 52, count - 45)
        flags = {count - 53: CandleFlags.BLIND, count - 44: CandleFlags.FILLED, count - 20: CandleFlags.BLIND}
        marked = [msgspec.structs.replace(c, flags=flags.get(i, 0)) for i, c in enumerate(walk) if i not in blind]
        self.last = walk[-1]
        self.server.publish({key: marked})
        late = marked[-12]
        self.server.revise({key: [msgspec.structs.replace(late, high=late.high + 0.0001, tick_count=130)]})
        self.gaps = [{"from_ms": walk[blind[0]].ts_ms, "to_ms": walk[blind[-1] + 1].ts_ms, "reason": "socket closed"}]

    def under_way(self, start_ms: int, ticks: int) -> Candle:
        base = self.last.close
        return Candle(start_ms, base, base + 0.0002, base - 0.0001, base + 0.00011, ticks % 60 + 1)


def scaled(candle: Candle) -> Candle:
    """Around 1.17, five decimals, some hundred ticks a minute."""
    prices = {n: round(1.17 * (getattr(candle, n) / 31) ** 0.1, 5) for n in ("open", "high", "low", "close")}
    return msgspec.structs.replace(candle, **prices, volume=90 + candle.ts_ms // MINUTE * 7919 % 60, flags=0)


def picture(page: WebPage, name: str) -> None:
    """Keep it, small enough for a README."""
    path = FOLDER / f"{name}.png"
    page.script("document.activeElement.blur()")
    page.driver.save_screenshot(str(path))
    print(f"{path} {path.stat().st_size // 1024} kB")
    if path.stat().st_size > 200_000:
        sys.exit(f"{path.name} is too large.")


def dashboard_picture(folder: Path, page: WebPage) -> None:
    daemon = PrettyDaemon(folder, 0)
    try:
        daemon.history(300)
        with dashboard(folder / "page", daemon) as url:
            page.open(f"{url}?source=platform&asset=EURUSD_otc&theme=dark")
            page.wait_chart(lambda chart: chart["count"] > 200 and chart["forming"] and chart["areas"], "the chart")
            page.wait_text("fact-ticks/s", ".")
            page.wait(lambda: "OTC" in page.text("watchlist"), "the watchlist")
            time.sleep(5)  # a rate of ticks that is a rate
            picture(page, "dashboard")
    finally:
        daemon.close()


def state_pictures(folder: Path, page: WebPage) -> None:
    """Every state of the page, to be looked at: into ``artifacts/``."""
    daemon = PrettyDaemon(folder, 0)
    try:
        daemon.history(300)
        with dashboard(folder / "page", daemon) as url:
            chart = f"{url}?source=platform&asset=EURUSD_otc&theme="
            page.open(f"{url}?start&theme=dark")
            page.wait_text("card-live-state", "ago")
            page.picture("page-start")
            for theme in ("dark", "light"):
                page.open(f"{chart}{theme}&ind=sma20,rsi14")
                page.wait_chart(lambda found: found["forming"] and found["areas"], "the chart")
                page.picture(f"page-live-{theme}")
            page.script("window.fluxcap.toggleDrawer(true)")
            page.picture("page-drawer")
            page.open(f"{chart}dark&grid=2&asset=EURUSD_otc&ind=")
            page.wait_chart(lambda found: found["forming"], "the grid")
            page.picture("page-grid")
            page.open(f"{url}?source=csv&theme=dark&grid=1")
            page.wait_text("overlay", "No collected files")
            page.picture("page-no-files")
            for feed in (FeedState.STALLED, FeedState.LOGGED_OUT, FeedState.WAITING_FOR_CONSENT, FeedState.LIVE):
                daemon.feed, daemon.is_ticking = feed, feed is FeedState.LIVE
                page.open(f"{chart}dark")
                page.wait_text("label", "Live" if feed is FeedState.LIVE else "Stale")
                page.picture(f"page-{feed.name.lower()}")
            daemon.chrome, daemon.chrome_reason = "not reachable", "Chrome was closed."
            page.wait_text("banner", "Chrome was closed.")
            page.picture("page-no-chrome")
            daemon.stop_control()
            page.wait_text("banner", "No fluxcap answers")
            page.picture("page-no-daemon")
            daemon.chrome = "attached"
            daemon.start_control()
            phone = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
            page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
            page.script("localStorage.setItem('fluxcap', '{\"list\": false}')")
            page.open(f"{chart}dark")
            page.wait_chart(lambda found: found["forming"], "the chart")
            page.picture("page-phone")
            page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    finally:
        daemon.close()


def panel_picture(folder: Path, page: WebPage) -> None:
    arguments = ["--pub", "tcp://127.0.0.1:0", "--rep", "tcp://127.0.0.1:0", "--port", "0", "--data-dir", str(folder)]
    process = Process(
        folder / "panel", "devserver", "--panel", *arguments, "--symbols", "EURUSD_otc,GBPUSD_otc", "--tick-ms", "400"
    )
    try:
        url = await_that(lambda: process.out.partition('"api":"')[2].partition('"')[0], "the panel")
        page.driver.set_window_size(1180, 880)
        page.open(f"{url}/?theme=dark")
        page.wait_chart(lambda chart: chart["count"] > 300, "the chart")
        fault = page.find("fault-skip_every")
        fault.send_keys(Keys.CONTROL, "a")
        fault.send_keys("9", Keys.TAB)
        page.wait(lambda: page.text("log").count("healed") >= 3, "healed gaps")
        picture(page, "devserver")
    finally:
        process.discard()


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fluxcap-pictures-") as name:
        folder = Path(name)
        (folder / "dashboard").mkdir()
        with web_page(folder / "profile", SIZE) as page:
            dashboard_picture(folder / "dashboard", page)
            (folder / "states").mkdir()
            state_pictures(folder / "states", page)
            panel_picture(folder / "devserver", page)


if __name__ == "__main__":
    main()
