"""What a trader is told in a real Chromium when the page is logged out, and when a tab is on no list."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fluxcap.capture.simulator import Fault, SimulatedSite, SiteConfig
from tests.support.browser.chromium import Chromium, chromium_executable
from tests.support.browser.devtools import Remote
from tests.support.daemon.live_rig import DaemonProcess
from tests.support.patience import await_that

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SYMBOL = "EURUSD_otc"


@pytest.fixture(autouse=True)
def _needs_chromium() -> None:
    if chromium_executable() is None:
        pytest.skip("no Chromium on this machine; install chromium or set FLUXCAP_CHROMIUM")


def feed(status: dict[str, Any]) -> str:
    return next((str(stream["feed"]) for stream in status["streams"]), "")


def test_a_page_that_is_logged_out_is_told_and_a_log_in_ends_it(tmp_path: Path) -> None:
    with ExitStack() as stack:
        site = stack.enter_context(SimulatedSite(SiteConfig(assets=(SYMBOL,), rate_hz=10)))
        browser = Chromium(tmp_path / "chromium")
        stack.callback(browser.stop)
        host = site.url.removeprefix("http://").strip("/")
        daemon = DaemonProcess(tmp_path, browser.port, "--platform-url", host, "--focus", SYMBOL)
        stack.callback(daemon.discard)
        daemon.run_file()
        tab = Remote(browser, str(browser.open(site.url)["id"]))
        daemon.await_status(lambda seen: feed(seen) == "live", "a live feed")

        site.inject(Fault.LOGGED_OUT)
        told = daemon.await_status(lambda seen: feed(seen) == "logged_out", "the log-out")
        await_that(lambda: "platform.logged_out" in daemon.err, "its log event")
        site.end(Fault.LOGGED_OUT)
        tab.call("Page.reload")
        again = daemon.await_status(lambda seen: feed(seen) == "live", "the log-in")
        daemon.await_status(lambda seen: not seen["no_candles"], "candles")
        await_that(lambda: "platform.logged_in" in daemon.err, "the log event of the log-in")
        daemon.end()

    assert "logged out" in told["no_candles"]
    assert "logged out" not in again["no_candles"]
    events = [event["event"] for event in daemon.events()]
    assert events.count("platform.logged_out") == events.count("platform.logged_in") == 1


def test_a_tab_that_looks_like_the_platform_is_named_with_the_option_that_allows_it(tmp_path: Path) -> None:
    with ExitStack() as stack:
        site = stack.enter_context(SimulatedSite(SiteConfig(assets=(SYMBOL,))))
        port = site.url.rstrip("/").rpartition(":")[2]
        unlisted = f"pocketoption.example:{port}"
        browser = Chromium(tmp_path / "chromium", "--host-resolver-rules=MAP pocketoption.example 127.0.0.1")
        stack.callback(browser.stop)
        browser.open(f"http://{unlisted}/")
        daemon = DaemonProcess(tmp_path, browser.port, "--focus", SYMBOL)
        stack.callback(daemon.discard)

        told = daemon.await_status(lambda seen: seen["lookalikes"], "the tab")
        daemon.end()

    assert told["lookalikes"] == [unlisted]
    assert told["tabs"] == []
    assert f"`--platform-url {unlisted}`" in told["no_candles"]
    (event,) = [event for event in daemon.events() if event["event"] == "target.lookalike"]
    assert (event["host"], event["option"]) == (unlisted, f"--platform-url {unlisted}")
