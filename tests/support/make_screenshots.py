"""Makes the README's pictures: the dashboard and the dev server's panel, each doing its work (`make screenshots`)."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import msgspec
from selenium.webdriver.common.keys import Keys

from fluxcap.bridge.devserver.generator import GeneratedCandles
from fluxcap.schemas.candles import fold_candles
from fluxcap.schemas.types import Candle, CandleFlags, FeedState, StreamKey, candle_array, candles_from
from tests.support.browser.webpage import WebPage, web_page
from tests.support.daemon.dashboard_rig import MINUTE, SOURCE, FakeDaemon, dashboard
from tests.support.daemon.live_rig import Process
from tests.support.paths import ROOT
from tests.support.patience import await_that

FOLDER = ROOT / "bridge" / "dashboard" / "screenshots"
SIZE = "1180,760"
SPARK_LINES = "return document.querySelectorAll('.watch polyline[points]').length"
FEEDS = {
    FeedState.LIVE: "quiet",
    FeedState.STALLED: "silent",
    FeedState.LOGGED_OUT: "logged out",
    FeedState.WAITING_FOR_CONSENT: "consent",
    FeedState.NOT_IN_FOCUS: "not in focus",
    FeedState.CLOCK_IN_QUESTION: "clock",
}
"""With a word of the reason that the bar tells; LIVE without a tick is quiet."""


class PrettyDaemon(FakeDaemon):
    """As the fake one, with candles like a market's, which go on: a minute is sealed when it is over."""

    bases: ClassVar[dict[str, float]] = {
        "EURUSD_otc": 1.17, "GBPUSD_otc": 1.31, "USDJPY_otc": 151.2,
        "AUDCAD_otc": 0.915, "#AAPL_otc": 231.4, "BTCUSD": 91250.0,
    }  # fmt: skip

    def history(self, count: int) -> None:
        self.assets = {
            "EURUSD_otc": ("EUR/USD OTC", 92), "GBPUSD_otc": ("GBP/USD OTC", 87), "USDJPY_otc": ("USD/JPY OTC", 90),
            "AUDCAD_otc": ("AUD/CAD OTC", 85), "NZDJPY": ("NZD/JPY", 66), "#AAPL_otc": ("Apple OTC", 80),
            "BTCUSD": ("Bitcoin", 61),
        }  # fmt: skip
        self.last = {}
        begin_ms = (self.minute - count) * MINUTE
        for seed, (symbol, key) in enumerate(self.keys.items(), start=7):
            walk = [self.scaled(symbol, c) for c in candles_from(GeneratedCandles(key, seed, begin_ms).next(count))]
            self.last[symbol] = walk[-1]
            if symbol == "EURUSD_otc":
                self.first(key, walk, count)
            else:
                self.server.publish({key: walk})
            for timeframe in ("5m", "15m"):
                longer = StreamKey(SOURCE, symbol, timeframe)
                folded = fold_candles(candle_array(walk), longer.interval_ms)
                self.server.publish({longer: list(candles_from(folded))[:-1]})
        stream = f"{SOURCE}.EURUSD_otc.1m"
        self.agreement = {"streams": {stream: {"compared": 412, "equal": 412}}, "differing": []}
        self.alerts = {"addresses": [], "open": [], "told": {"feed": 1}}

    def first(self, key: StreamKey, walk: list[Candle], count: int) -> None:
        """One that has a blind time, flags and a revision."""
        blind = range(count - 52, count - 45)
        flags = {count - 53: CandleFlags.BLIND, count - 44: CandleFlags.FILLED, count - 20: CandleFlags.BLIND}
        marked = [msgspec.structs.replace(c, flags=flags.get(i, 0)) for i, c in enumerate(walk) if i not in blind]
        self.server.publish({key: marked})
        late = marked[-12]
        self.server.revise({key: [msgspec.structs.replace(late, high=late.high + 0.0001, tick_count=130)]})
        self.gaps = [{"from_ms": walk[blind[0]].ts_ms, "to_ms": walk[blind[-1] + 1].ts_ms, "reason": "socket closed"}]

    def under_way(self, start_ms: int, ticks: int, symbol: str = "") -> Candle:
        now_ms = int(time.time() * 1_000)
        base = self.last[symbol].close
        step = self.bases[symbol] / 10_000
        digits = 5 if base < 10 else 2
        price = round(base + step * ((ticks * 7919 + len(symbol)) % 5 - 2) / 4, digits)
        candle = Candle(
            start_ms, base, round(base + step, digits), round(base - step / 2, digits), price, ticks % 60 + 1
        )
        if now_ms >= start_ms + MINUTE:
            self.server.publish({self.keys[symbol]: [candle]})
            self.last[symbol] = candle
            return self.under_way(start_ms + MINUTE, ticks, symbol)
        return candle

    def price_of(self, symbol: str) -> float:
        return self.last[symbol].close if symbol in getattr(self, "last", {}) else self.bases[symbol]

    def scaled(self, symbol: str, candle: Candle) -> Candle:
        """Around the asset's price, some hundred ticks a minute."""
        base = self.bases[symbol]
        digits = 5 if base < 10 else 2
        prices = {n: round(base * (getattr(candle, n) / 31) ** 0.1, digits) for n in ("open", "high", "low", "close")}
        return msgspec.structs.replace(candle, **prices, volume=60 + candle.ts_ms // MINUTE * 7919 % 97, flags=0)


def picture(page: WebPage, name: str) -> None:
    """Keep it, small enough for a README."""
    path = FOLDER / f"{name}.png"
    page.script("document.activeElement.blur()")
    page.driver.save_screenshot(str(path))
    print(f"{path} {path.stat().st_size // 1024} kB")
    if path.stat().st_size > 200_000:
        sys.exit(f"{path.name} is too large.")


def dashboard_picture(folder: Path, page: WebPage) -> None:
    with pretty_dashboard(folder) as (_, url):
        page.open(f"{url}?source=platform&asset=EURUSD_otc&theme=dark&ind=sma20")
        page.wait_chart(lambda chart: chart["count"] > 200 and chart["forming"] and chart["areas"], "the chart")
        page.wait_text("fact-ticks/s", ".")
        page.wait(lambda: "OTC" in page.text("watchlist"), "the watchlist")
        page.wait(lambda: page.script(SPARK_LINES) >= 6, "lines")
        time.sleep(5)  # a rate of ticks that is a rate
        picture(page, "dashboard")


@contextlib.contextmanager
def pretty_dashboard(folder: Path) -> Iterator[tuple[PrettyDaemon, str]]:
    folder.mkdir()
    daemon = PrettyDaemon(folder, 0)
    try:
        daemon.history(600)
        with dashboard(folder / "page", daemon) as url:
            yield daemon, url
    finally:
        daemon.close()


def state_pictures(folder: Path, page: WebPage) -> None:
    """Every state of the page, to be looked at: into ``artifacts/``."""
    with pretty_dashboard(folder) as (daemon, url):
        looks(daemon, url, page)
        troubles(daemon, url, page)
        sizes(url, page)


def looks(daemon: PrettyDaemon, url: str, page: WebPage) -> None:
    """The start, live charts, drawer, grid, files."""
    page.open(f"{url}?start&theme=dark")
    page.wait_text("card-live-state", "ago")
    page.wait_text("card-csv-count", "No files")
    page.picture("page-start")
    for theme in ("dark", "light"):
        shown(page, f"{url}?source=platform&asset=EURUSD_otc&ind=sma20,rsi14&theme={theme}", f"page-live-{theme}")
    page.click("more")
    failed = [{"asset": "USD/JPY OTC", "timeframe": "1h", "reason": "no history of it came within 10 s"}]
    daemon.collection |= {"state": "running", "total": 24, "done": 7}
    page.wait_text("collection-text", "7 of 24")
    page.picture("page-drawer")
    told = "Saved 23 files with 2,277 candles. In the store: 1,700 new, 0 corrected."
    daemon.collection |= {"state": "ended", "told": told, "failed": failed}
    page.wait_text("collection-text", "Missing")
    page.script("document.querySelector('[data-test=history]').click()")
    page.picture("page-collect")
    page.script("document.querySelector('[data-test=confirm]').close()")
    daemon.collection |= {"state": "none"}
    page.script("document.querySelector('[data-test=view-menu]').open = true")
    page.picture("page-view-menu")
    page.script("document.querySelector('[data-test=help-dialog]').showModal()")
    page.picture("page-help")
    grid = "".join(
        f"&asset={quote(asset)}&tf={tf}" for asset, tf in zip(daemon.keys, ("1m", "5m", "15m", "1m"), strict=False)
    )
    shown(page, f"{url}?source=platform&grid=4&theme=dark&ind={grid}", "page-grid")
    page.open(f"{url}?source=csv&theme=dark&grid=1")
    page.wait_text("overlay", "No collected files")
    page.picture("page-no-files")
    path = daemon.data_dir / "data_output/assets_data/data_collect/1M_candles/AUDCAD_otc_1m_2026_11_30_09_54_04.csv"
    path.parent.mkdir(parents=True)
    walk = list(candles_from(GeneratedCandles(daemon.keys["AUDCAD_otc"], 3, 1_761_386_040_000).next(200)))
    lines = [f"{c.ts_ms // 1_000},{c.open},{c.close},{c.high},{c.low}" for c in walk]
    path.write_text("\n".join(["timestamp,open,close,high,low", *lines]) + "\n")
    page.open(f"{url}?source=csv&asset=AUDCAD_otc&theme=dark")
    page.wait_chart(lambda chart: chart["count"] == 200, "the file")
    page.picture("page-csv")


def troubles(daemon: PrettyDaemon, url: str, page: WebPage) -> None:
    """What can be wrong with a live chart."""
    chart = f"{url}?source=platform&asset=EURUSD_otc&theme=dark"
    page.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/api/stream*"]})
    page.open(chart)
    page.wait_text("overlay", "Loading candles")
    page.picture("page-loading")
    page.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    page.open(f"{url}?source=platform&asset=NZDJPY&theme=dark")
    page.wait_text("reason", "nothing was captured of it yet")
    page.picture("page-empty")
    daemon.gaps.append({**daemon.gaps[0], "from_ms": (daemon.minute - 3) * MINUTE, "to_ms": 0})
    shown(page, chart, "page-blind")
    daemon.gaps.pop()
    daemon.is_ticking = False
    for feed, word in FEEDS.items():
        daemon.feed, daemon.consent = feed, feed is FeedState.WAITING_FOR_CONSENT
        daemon.chrome = "waiting for your consent" if daemon.consent else "attached"
        daemon.chrome_reason = "Chrome asks whether fluxcap may read the trading page; click Allow." * daemon.consent
        page.open(chart)
        page.wait_text("reason", word)
        page.wait(lambda: page.script(SPARK_LINES) >= 6, "lines")
        page.picture("page-quiet" if feed is FeedState.LIVE else f"page-{feed.name.lower()}")
    daemon.feed, daemon.chrome, daemon.chrome_reason = FeedState.NO_BROWSER, "not reachable", "Chrome was closed."
    page.wait_text("banner", "Chrome was closed.")
    time.sleep(1.5)  # heartbeats
    page.picture("page-no-chrome")
    daemon.stop_control()
    page.wait_text("banner", "No fluxcap answers")
    page.picture("page-no-daemon")
    daemon.chrome, daemon.feed, daemon.is_ticking = "attached", FeedState.LIVE, True
    daemon.start_control()


def sizes(url: str, page: WebPage) -> None:
    """A phone, a small phone, and 4K."""
    for name, width, height, scale in (("phone", 390, 844, 2), ("small-phone", 360, 640, 2), ("4k", 3840, 2160, 1)):
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 1_000}
        page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        page.script(f"window.fluxcap.toggleList({str(width > 1_000).lower()})")
        shown(page, f"{url}?source=platform&asset=EURUSD_otc&theme=dark", f"page-{name}")
    page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def shown(page: WebPage, url: str, name: str) -> None:
    """A live chart with all that is drawn a moment later."""
    page.open(url)
    page.wait_chart(lambda found: found["forming"], "the chart")
    page.wait_text("fact-agreement", "412")
    time.sleep(1)  # spark lines, and the blind times
    page.picture(name)


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
        page.script("document.querySelector('.controls').scrollTo(0, 0)")
        picture(page, "devserver")
    finally:
        process.discard()


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fluxcap-pictures-") as name:
        folder = Path(name)
        with web_page(folder / "profile", SIZE) as page:
            dashboard_picture(folder / "dashboard", page)
            state_pictures(folder / "states", page)
            panel_picture(folder / "devserver", page)


if __name__ == "__main__":
    main()
