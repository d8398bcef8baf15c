"""The dev server's panel in a real Chromium: a fault is set, and one sees the gap open and heal."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from selenium.webdriver.common.keys import Keys

from tests.support.browser.webpage import WebPage, web_page
from tests.support.daemon.live_rig import Process
from tests.support.patience import await_that

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("panel")
    ends = ["--pub", "tcp://127.0.0.1:0", "--rep", "tcp://127.0.0.1:0", "--port", "0", "--data-dir", str(folder)]
    process = Process(folder / "process", "devserver", "--panel", *ends, "--tick-ms", "200", "--history", "150")
    try:
        yield await_that(lambda: process.out.partition('"api":"')[2].partition('"')[0], "the panel")
    finally:
        process.discard()
    assert "Traceback" not in process.err, process.err[-3000:]


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory, url: str) -> Iterator[WebPage]:
    with web_page(tmp_path_factory.mktemp("profile"), "1280,950") as page:
        page.open(f"{url}/?theme=dark")
        page.wait_chart(lambda chart: chart["count"] >= 150, "the chart")
        yield page
        # The browser's own words on an answer that refuses: a wrong address, and the status of a server that moves.
        refused = ("/api/endpoints", "/api/status")
        assert [found for found in page.complaints() if not any(path in found for path in refused)] == []
        assert page.foreign_requests() == []


def status(url: str) -> dict[str, object]:
    return dict(httpx.get(f"{url}/api/status", trust_env=False, verify=False).json())


def enter(page: WebPage, name: str, value: str) -> None:
    field = page.find(name)
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(value, Keys.TAB)


def count(page: WebPage, name: str) -> int:
    return int(page.text(f"count-{name}").replace(",", ""))


def test_skipped_batches_open_gaps_that_heal(panel: WebPage, url: str) -> None:
    enter(panel, "fault-skip_every", "5")

    panel.wait(lambda: panel.text("log").count("healed") >= 2, "two healed gaps")
    assert "did not arrive" in panel.text("log")
    assert status(url)["faults"]["skip_every"] == 5  # type: ignore[index]
    panel.picture("panel-healed")
    panel.click("lift")
    panel.wait(lambda: status(url)["faults"]["skip_every"] == 0, "no fault")  # type: ignore[index]


def test_the_chart_shows_the_newest_candles_and_moves_with_them(panel: WebPage) -> None:
    first = panel.chart()

    chart = panel.wait_chart(
        lambda chart: chart["count"] > first["count"] and chart["to"] >= chart["last"][0], "the next candle in sight"
    )

    assert chart["to"] - chart["from"] > 100_000


def test_counters_live(panel: WebPage) -> None:
    stored, published = count(panel, "stored"), count(panel, "published")

    panel.wait(lambda: count(panel, "stored") > stored and count(panel, "published") > published, "more of both")
    assert count(panel, "served") > 0


def test_stop_ends_the_candles_and_start_goes_on(panel: WebPage, url: str) -> None:
    panel.click("start")
    panel.wait(lambda: status(url)["broadcasting"] is False, "the stop")
    panel.wait_text("start", "Start")

    panel.click("start")

    panel.wait(lambda: status(url)["broadcasting"] is True, "the start")
    panel.wait_text("start", "Stop")


def test_symbols_come_from_the_universe_and_are_searched(panel: WebPage, url: str) -> None:
    options = "return document.querySelectorAll('#universe option').length"
    panel.wait(lambda: panel.script(options) > 100, "the universe")
    enter(panel, "add-symbol", "gbp/usd otc")
    panel.wait_text("symbols", "GBPUSD_otc")
    panel.click("apply")

    panel.wait(lambda: "GBPUSD_otc" in status(url)["settings"]["symbols"], "the second stream")  # type: ignore[index]


def test_a_stall_is_seen_by_the_client(panel: WebPage) -> None:
    panel.click("fault-stall")
    panel.wait_text("health", "Stale")
    panel.picture("panel-stalled")

    panel.click("fault-stall")

    panel.wait_text("health", "Live")


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_nothing_stands_against_wcag_aa(panel: WebPage, theme: str) -> None:
    panel.script("window.fluxcap.setDark(arguments[0])", theme == "dark")

    assert panel.accessibility_faults() == []


def test_what_is_refused_is_said(panel: WebPage) -> None:
    enter(panel, "pub", "nonsense")
    panel.click("move")

    panel.wait_text("toasts", "nonsense can")
    panel.wait(lambda: panel.find("pub").get_attribute("value") != "nonsense", "the address as it is")
