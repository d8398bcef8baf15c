"""The simulated page in a real Chromium: it ticks wherever its socket lives, and does what the trader clicks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxcap.capture.simulator import PAGE_URL, Fault, SimulatedSite, SiteConfig, platform_flags, read_truth
from tests.support.browser.chromium import Chromium, chromium_executable
from tests.support.browser.page_driver import PageDriver

pytestmark = pytest.mark.browser

ASSETS = ("EURUSD_otc", "GBPUSD_otc", "USDJPY_otc", "ADA-USD_otc", "LBPUSD_otc", "EURUSD", "DOGE_otc", "UKBrent_otc")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SimulatedSite]:
    config = SiteConfig(assets=ASSETS, rate_hz=10, lag_ms=(30, 40), pre_roll_s=10, truth_path=tmp_path / "truth.jsonl")
    with SimulatedSite(config) as running:
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """One browser for the tests of this file; each opens and closes a tab."""
    if chromium_executable() is None:
        pytest.skip("no Chromium on this machine; install chromium or set FLUXCAP_CHROMIUM")
    running = Chromium(tmp_path_factory.mktemp("chromium"))
    try:
        yield running
    finally:
        running.stop()


@pytest.mark.parametrize("kind", ["page", "worker", "sharedworker", "serviceworker", "frame"])
def test_ticks_arrive_wherever_the_socket_lives(site: SimulatedSite, browser: Chromium, kind: str) -> None:
    with PageDriver(browser, f"{site.url}?socket={kind}") as page:
        page.wait_until("site.ticks > 20 && site.histories.length > 0 && site.state === 'connected'")

        last = page.evaluate("site.lastTick")
        in_page = any(f":{site.port}/socket.io/" in url for url in page.socket_urls)
        assert page.errors == []
        assert in_page is (kind == "page")
    site.stop()
    truth = read_truth(site.truth_path)
    assert (round(last[1] * 1000), last[2]) in {(t.raw_ts_ms, t.price) for t in truth.sent(last[0])}


def test_a_late_socket_opens_at_the_button(site: SimulatedSite, browser: Chromium) -> None:
    with PageDriver(browser, f"{site.url}?socket=late") as page:
        page.wait_until("document.querySelectorAll('.assets-favorites-item').length === 8")
        assert page.evaluate("[site.state, site.ticks]") == ["idle", 0]

        page.click("#js-connect")

        page.wait_until("site.ticks > 5")
        assert page.evaluate("document.querySelector('#js-connect').hidden")


def test_the_page_has_the_platforms_selectors(site: SimulatedSite, browser: Chromium) -> None:
    with PageDriver(browser, site.url) as page:
        page.wait_until("site.histories.length === 1")
        labels = page.evaluate(
            "[...document.querySelectorAll('#js-assets-favorites-slider .assets-favorites-list .assets-favorites-item "
            ".assets-favorites-item__line .assets-favorites-item__label')].map((e) => e.textContent)"
        )
        payouts = page.evaluate(
            "[...document.querySelectorAll('.assets-favorites-item .payout__number')].map((e) => e.textContent)"
        )
        active = page.evaluate("document.querySelector('.assets-favorites-item--active').innerText")

        assert labels[:3] == ["EUR/USD OTC", "GBP/USD OTC", "USD/JPY OTC"]
        assert len(labels) == len(ASSETS)
        assert all(payout.startswith("+") and 0 < int(payout) <= 92 for payout in payouts)
        assert active.startswith("EUR/USD OTC")
        assert page.evaluate("document.querySelector('.current-symbol').textContent") == "EUR/USD OTC"
        assert page.evaluate(
            "!!document.querySelector('.assets-favorites-arrow--left.assets-favorites-arrow--disabled')"
        )
        assert page.evaluate("document.querySelector('.balance-info-block__balance').textContent") == "48,613.27"


def events_sent(page: PageDriver, name: str) -> list[object]:
    page.evaluate("0")  # takes in what has been reported by now
    packets = [json.loads(frame[2:]) for frame in page.sent_frames if frame.startswith("42")]
    return [packet[1] for packet in packets if packet[0] == name]


def test_a_click_on_a_favourite_changes_the_asset(site: SimulatedSite, browser: Chromium) -> None:
    with PageDriver(browser, site.url) as page:
        page.wait_until("site.histories.length === 1")

        page.click(".assets-favorites-item[data-id='USDJPY_otc'] .assets-favorites-item__label")

        page.wait_until("site.histories.length === 2")
        assert page.evaluate("site.histories[1].asset") == "USDJPY_otc"
        assert page.evaluate("document.querySelector('.current-symbol').textContent") == "USD/JPY OTC"
        assert page.evaluate("document.querySelector('.assets-favorites-item--active').dataset.id") == "USDJPY_otc"
        assert events_sent(page, "changeSymbol") == [{"asset": "USDJPY_otc", "period": 60}]
        assert len(events_sent(page, "auth")) == len(events_sent(page, "saveCharts")) == 1
        assert len(events_sent(page, "loadHistoryPeriod")) == 2
        assert page.errors == []


def test_the_timeframe_menu_opens_chooses_and_closes(site: SimulatedSite, browser: Chromium) -> None:
    menu_open = "!document.querySelector('.drop-down-modal--chart-type').hidden"
    with PageDriver(browser, site.url) as page:
        page.wait_until("site.histories.length === 1")
        assert not page.evaluate(menu_open)

        page.click("a.items__link--chart-type")
        assert page.evaluate(menu_open)
        entries = page.evaluate("[...document.querySelectorAll('.list-timeframes a')].map((e) => e.innerText)")
        assert entries == ["M1", "M5", "M15", "H1", "H4"]
        page.click("a.items__link--chart-type")
        assert not page.evaluate(menu_open)

        for number, seconds in enumerate((300, 900, 3_600, 14_400, 60), start=1):
            page.click("a.items__link--chart-type")
            page.click(f".list-timeframes li:nth-child({number % 5 + 1}) a")
            page.wait_until(f"site.histories.length === {number + 1}")
            assert page.evaluate("site.histories.at(-1).period") == seconds
            assert not page.evaluate(menu_open)

        periods = [event["period"] for event in events_sent(page, "changeSymbol")]  # type: ignore[index]
        assert periods == [300, 900, 3_600, 14_400, 60]
        assert page.errors == []


def test_arrows_scroll_the_favourites(site: SimulatedSite, browser: Chromium) -> None:
    with PageDriver(browser, site.url) as page:
        page.wait_until("site.histories.length === 1")
        assert page.evaluate("document.querySelector('.assets-favorites-list__wrap').scrollLeft") == 0

        page.click(".assets-favorites-arrow--right")

        page.wait_until("!document.querySelector('.assets-favorites-arrow--left.assets-favorites-arrow--disabled')")


def test_a_reload_opens_with_what_was_chosen_before(site: SimulatedSite, browser: Chromium) -> None:
    with PageDriver(browser, site.url) as page:
        page.wait_until("site.histories.length === 1")
        page.evaluate("site.choose('LBPUSD_otc'), site.choosePeriod(300)")
        page.wait_until("site.histories.length === 3")

        page.call("Page.reload")

        page.wait_until("window.site && site.histories.length === 1 && site.histories[0].asset === 'LBPUSD_otc'")
        assert page.evaluate("[site.symbol, site.period]") == ["LBPUSD_otc", 300]


def test_the_page_comes_back_by_itself_when_its_socket_is_closed(site: SimulatedSite, browser: Chromium) -> None:
    with PageDriver(browser, site.url) as page:
        page.wait_until("site.ticks > 5")

        site.inject(Fault.CLOSE_SOCKETS)

        page.wait_until("site.histories.length === 2 && site.state === 'connected'")
        before = page.evaluate("site.ticks")
        page.wait_until(f"site.ticks > {before + 5}")


def test_garbage_does_not_break_the_page(site: SimulatedSite, browser: Chromium) -> None:
    with PageDriver(browser, site.url) as page:
        page.wait_until("site.ticks > 5")

        site.inject(Fault.GARBAGE)

        before = page.evaluate("site.ticks")
        page.wait_until(f"site.ticks > {before + 20}")
        assert page.errors == []


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """A browser for which a site is under the platform's own names."""
    if chromium_executable() is None:
        pytest.skip("no Chromium on this machine; install chromium or set FLUXCAP_CHROMIUM")
    with SimulatedSite(SiteConfig(assets=ASSETS, rate_hz=10, lag_ms=(30, 40), pre_roll_s=10)) as site:
        running = Chromium(tmp_path_factory.mktemp("named"), *platform_flags(site.port))
        try:
            yield running
        finally:
            running.stop()


@pytest.mark.parametrize("kind", ["page", "frame", "serviceworker"])
def test_it_is_found_under_the_platforms_own_names(named: Chromium, kind: str) -> None:
    with PageDriver(named, f"{PAGE_URL}?socket={kind}") as page:
        page.wait_until("site.ticks > 10")

        urls = {target["url"].partition("?")[0] for target in named.targets()}
        assert page.evaluate("location.href") == f"http://pocketoption.com/?socket={kind}"
        assert page.errors == []
        assert any(url.startswith("ws://chat-po.site/") for url in page.socket_urls)
        in_page = any(url.startswith("ws://demo-api-eu.po.market/socket.io/") for url in page.socket_urls)
        assert in_page is (kind == "page")
        assert ("http://trade.po.market/frame" in urls) is (kind == "frame")
