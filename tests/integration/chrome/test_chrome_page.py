"""The trading page driven through the gate, on the simulated site, beside a tab that must stay untouched."""

from __future__ import annotations

import json
import queue
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from fluxcap.capture.chrome.connection import Connection
from fluxcap.capture.chrome.endpoint import probe
from fluxcap.capture.chrome.events import ArrivalTime, FrameReceived, FrameSent
from fluxcap.capture.chrome.session import CdpSession
from fluxcap.capture.chrome.share import SharedBrowser
from fluxcap.capture.collect.cdp_proxy import SingleTabProxy
from fluxcap.capture.collect.page import Favourite, TradingPage
from fluxcap.capture.simulator import SimulatedSite, SiteConfig
from fluxcap.schemas.errors import ConfigError, PageUnavailable, UnknownAsset
from tests.support.browser.chromium import Chromium, chromium_executable
from tests.support.browser.devtools import Capture, Remote
from tests.support.browser.pages import Site
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.browser

ASSETS = ("EURUSD_otc", "USDJPY_otc", "LBPUSD_otc", "AUDCAD_otc", "EURCHF_otc", "GBPUSD_otc", "EURNZD_otc")


@pytest.fixture(scope="module")
def trading_site() -> Iterator[SimulatedSite]:
    with SimulatedSite(SiteConfig(assets=ASSETS)) as site:
        yield site


@pytest.fixture(scope="module")
def other_site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    if chromium_executable() is None or shutil.which("chromedriver") is None:
        pytest.skip("no Chromium and chromedriver on this machine; install chromium and chromium-driver")
    browser = Chromium(tmp_path_factory.mktemp("page") / "profile")
    yield browser
    browser.stop()


@pytest.fixture(scope="module")
def is_trading_page(trading_site: SimulatedSite) -> Callable[[str], bool]:
    return lambda url: url == trading_site.url


def open_trading_page(browser: Chromium, url: str) -> Remote:
    tab = Remote(browser, str(browser.open(url)["id"]))
    tab.wait_for("self.site && site.state == 'connected' && site.histories.length")
    return tab


@pytest.fixture(scope="module")
def tab(browser: Chromium, trading_site: SimulatedSite, other_site: Site) -> Remote:
    """The trading page, hidden behind a page of another site."""
    tab = open_trading_page(browser, trading_site.url)
    browser.open(other_site.url("/frame?src=/quiet", "bank"))
    return tab


@pytest.fixture(scope="module")
def shared(browser: Chromium) -> Iterator[SharedBrowser]:
    """The one connection that the gate uses; what is not a guest's on it is nobody's here."""
    shared = SharedBrowser()
    url = probe("127.0.0.1", browser.port, timeout_s=PATIENCE_S).websocket_url
    connection = Connection(url, lambda data, _stamp: strays.append(data) if not shared.take(data) else None, print)
    strays: list[bytes] = []
    shared.opened(connection.send)
    yield shared
    connection.close()
    assert strays == []


@pytest.fixture(scope="module")
def gate(shared: SharedBrowser, is_trading_page: Callable[[str], bool]) -> Iterator[SingleTabProxy]:
    gate = SingleTabProxy(shared, is_trading_page)
    yield gate
    gate.close()


@pytest.fixture(scope="module")
def page(gate: SingleTabProxy, tab: Remote) -> Iterator[TradingPage]:
    with TradingPage.attach(gate.address) as page:
        yield page


def targets(browser: Chromium) -> list[dict[str, Any]]:
    """All targets with whether anybody is attached to them, tabs included."""
    with connect(browser.version()["webSocketDebuggerUrl"], max_size=None, proxy=None) as connection:
        connection.send(json.dumps({"id": 1, "method": "Target.getTargets", "params": {"filter": [{}]}}))
        return list(json.loads(connection.recv(timeout=PATIENCE_S))["result"]["targetInfos"])


def test_favourites_are_read_with_payout_and_the_active_one(page: TradingPage) -> None:
    favourites = page.favourites()

    assert len(favourites) == len(ASSETS)
    assert all(isinstance(one, Favourite) and one.payout and 0 < one.payout <= 100 for one in favourites)
    assert [one.label for one in favourites if one.active] == [page.active_asset()]


def test_chosen_asset_shows_on_the_page_and_in_the_frames(
    page: TradingPage, browser: Chromium, is_trading_page: Callable[[str], bool]
) -> None:
    capture = Capture(browser, is_trading_page)
    capture.until(lambda e: isinstance(e, FrameReceived))

    page.choose_asset("EUR/NZD OTC")

    sent = capture.until(lambda e: isinstance(e, FrameSent) and "changeSymbol" in e.payload)
    capture.close()
    assert isinstance(sent, FrameSent)
    assert "EURNZD_otc" in sent.payload
    assert page.active_asset() == "EUR/NZD OTC"


def test_unknown_label_is_refused_with_the_nearest_ones(page: TradingPage) -> None:
    with pytest.raises(UnknownAsset) as caught:
        page.choose_asset("EUR/CHF")

    assert caught.value.nearest[0] == "EUR/CHF OTC"


def test_chosen_timeframe_is_asked_for_by_the_page(page: TradingPage, tab: Remote) -> None:
    page.choose_timeframe("M15")

    tab.wait_for("site.period == 900 && site.histories.some(one => one.period == 900)")


def test_timeframe_that_the_page_does_not_have(page: TradingPage) -> None:
    with pytest.raises(ConfigError, match="M1, M5, M15, H1, H4"):
        page.choose_timeframe("M2")


def test_other_tabs_are_neither_attached_nor_closed_nor_moved(
    browser: Chromium, page: TradingPage, tab: Remote, trading_site: SimulatedSite
) -> None:
    page.choose_asset("EUR/CHF OTC")
    page.choose_timeframe("H1")
    page.favourites()

    attached = {target["url"] for target in targets(browser) if target["attached"]}
    tabs = {
        target["url"]: target["embedderData"]["tabActive"] for target in targets(browser) if target["type"] == "tab"
    }
    assert attached == {trading_site.url}
    assert [active for url, active in tabs.items() if "bank" in url] == [True]


def test_the_traders_tab_cannot_be_closed_by_mistake(browser: Chromium, page: TradingPage, tab: Remote) -> None:
    with pytest.raises(Exception, match="not allowed"):
        page._driver.close()

    assert tab.id in {target["id"] for target in browser.targets()}


def test_detaching_leaves_browser_and_tabs_as_they_are(
    browser: Chromium, shared: SharedBrowser, trading_site: SimulatedSite
) -> None:
    tab = open_trading_page(browser, trading_site.url + "?detach")
    before = {(target["id"], target["url"]) for target in browser.targets()}
    gate = SingleTabProxy(shared, lambda url: url.endswith("?detach"))
    page = TradingPage.attach(gate.address)
    page.detach()
    page.detach()
    gate.close()

    assert {(target["id"], target["url"]) for target in browser.targets()} == before
    assert not [target for target in targets(browser) if target["attached"] and target["url"].endswith("?detach")]
    assert tab.evaluate("site.state") == "connected"


def test_missing_element_is_named_and_photographed(
    browser: Chromium,
    shared: SharedBrowser,
    trading_site: SimulatedSite,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fluxcap.capture.collect.page.FIND_TIMEOUT_S", 0.2)
    tab = open_trading_page(browser, trading_site.url + "?missing")
    tab.evaluate("document.querySelector('#js-assets-favorites-slider').remove(); 1")
    picture = tmp_path / "page.png"

    with (
        closing(SingleTabProxy(shared, lambda url: url.endswith("?missing"))) as gate,
        TradingPage.attach(gate.address, screenshot=picture) as page,
        pytest.raises(PageUnavailable, match=r"no favourites bar \(#js-assets-favorites-slider\).*page\.png"),
    ):
        page.favourites()

    assert picture.read_bytes().startswith(b"\x89PNG")


def test_page_that_is_not_open_is_said_before_a_driver_is_started(shared: SharedBrowser, tmp_path: Path) -> None:
    gate = SingleTabProxy(shared, lambda _url: False)
    with pytest.raises(PageUnavailable, match="open the trading page"):
        TradingPage.attach(gate.address, chromedriver=tmp_path / "absent")
    gate.close()


# --- the gate itself -------------------------------------------------------------------------------------------------


def get(gate: SingleTabProxy, path: str, **headers: str) -> httpx.Response:
    given = {"Host": gate.endpoint, **headers}
    return httpx.get(
        f"http://127.0.0.1:{gate.port}{path}", headers=given, trust_env=False, verify=False, timeout=PATIENCE_S
    )


def test_gate_lists_the_platforms_tab_only(gate: SingleTabProxy, tab: Remote) -> None:
    assert [page["id"] for page in get(gate, "/json/list").json()] == [tab.id]


def test_gate_is_no_way_into_the_browser_for_web_pages(gate: SingleTabProxy) -> None:
    assert get(gate, "/json/version").status_code == 200
    assert get(gate, "/json/version", Origin="https://evil.test").status_code == 403


@pytest.mark.parametrize("path", ["/", "/json/new?x", "/json/close/1", "/devtools/page/1", "/json/protocol"])
def test_gate_has_no_other_doors(gate: SingleTabProxy, path: str) -> None:
    assert get(gate, path).status_code == 404


def test_a_reader_through_the_gate_hears_the_platforms_frames_and_of_no_other_tab(
    gate: SingleTabProxy, tab: Remote, browser: Chromium, trading_site: SimulatedSite
) -> None:
    messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    session = CdpSession(lambda url: url == trading_site.url)
    connection = Connection(gate.feed_url, lambda data, _stamp: messages.put(data), lambda _reason: None)
    heard, raw = 0, b""
    session.start(time.monotonic_ns())
    while not heard:
        for command in session.outgoing():
            connection.send(command)
        data = messages.get(timeout=PATIENCE_S)
        raw += data
        stamp = ArrivalTime(time.time_ns(), time.monotonic_ns(), True)
        heard += sum(isinstance(event, FrameReceived) for event in session.receive(data, stamp))
    connection.close()
    others = [one["targetId"] for one in targets(browser) if one["type"] == "page" and one["targetId"] != tab.id]

    assert tab.id.encode() in raw
    assert others
    assert not any(other.encode() in raw for other in others)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "wrong.localhost", ""])
def test_without_the_token_nothing_answers(gate: SingleTabProxy, host: str) -> None:
    assert get(gate, "/json/version", Host=f"{host}:{gate.port}").status_code == 403
    for path in ("/devtools/browser/tab", "/wrong/feed"):
        with pytest.raises(InvalidStatus, match="403"):
            connect(f"ws://127.0.0.1:{gate.port}{path}", proxy=None)


def test_gate_of_an_absent_browser_says_so(is_trading_page: Callable[[str], bool]) -> None:
    gate = SingleTabProxy(SharedBrowser(), is_trading_page)
    answer = get(gate, "/json/version")
    gate.close()

    assert (answer.status_code, answer.text) == (502, "There is no connection to Chrome.")
