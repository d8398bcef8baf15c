"""The browser of every day with its real dialog: counted, answered by keys, and read over the one connection.

``make consent`` runs these; they need Xvfb, xdotool and a Chromium of version 144 or later.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxcap.capture.pipeline.consent import ConsentFile
from fluxcap.capture.simulator import SimulatedSite, SiteConfig
from tests.consent.real_browser import RealBrowser, Screen, what_is_missing
from tests.support.browser.consent_browser import NOT_FOUND
from tests.support.browser.pages import Site
from tests.support.daemon.live_rig import SOURCE, DaemonProcess, Process, stored

pytestmark = pytest.mark.skipif(bool(what_is_missing()), reason=f"not on this machine: {what_is_missing()}")

QUIET_S = 12.0
"""Two looks of the watch over Chrome, and more: the time in which nothing may be asked."""


class Bench:
    """A screen, a browser with the trading page and a page of another site, and daemons on one data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = SimulatedSite(SiteConfig(assets=("EURUSD_otc", "USDJPY_otc")))
        self.site.start()
        self.other = Site()
        self.screen = Screen(folder / "screen")
        other_url = self.other.url("/frame?src=/quiet", "bank")
        self.browser = RealBrowser(folder / "profile", self.screen, other_url, self.site.url)
        self.daemons: list[DaemonProcess] = []

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    def daemon(self) -> DaemonProcess:
        """Start fluxcap, for the first time or once more."""
        options = ("--consent", "--chrome-profile", str(self.browser.profile))
        options += ("--platform-url", f"127.0.0.1:{self.site.port}")
        folder = self.folder / f"daemon-{len(self.daemons)}"
        self.daemons.append(DaemonProcess(folder, 9, *options, data_dir=self.data_dir))
        return self.daemons[-1]

    def ask(self) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "fluxcap.capture.cli", "chrome", "--ask", "--data-dir", str(self.data_dir)],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def close(self) -> None:
        for daemon in self.daemons:
            daemon.discard()
        self.browser.stop()
        self.screen.close()
        self.other.close()
        self.site.stop()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def waiting(daemon: DaemonProcess, word: str) -> dict[str, object]:
    return daemon.await_status(
        lambda seen: seen["chrome"] == "waiting for your consent" and word in seen["chrome_reason"], word
    )


def attached(daemon: DaemonProcess) -> dict[str, object]:
    return daemon.await_status(lambda seen: seen["chrome"] == "attached" and seen["sockets"], "the attach")


def test_the_browser_answers_http_as_the_fake_one_of_the_other_tests_does(bench: Bench):
    assert {bench.browser.get(path) for path in ("/json/version", "/json/list", "/")} == {NOT_FOUND}
    assert bench.screen.dialogs == 0


def test_allow_gives_candles_and_a_collection_over_the_one_connection(bench: Bench):
    """One dialog serves for all of it; the daemon started again within the hour opens none."""
    daemon = bench.daemon()
    waiting(daemon, "click Allow")
    bench.screen.allow()
    seen = attached(daemon)
    key = daemon.key("EURUSD_otc")
    daemon.await_status(lambda told: any(one["latest_sequence"] > 3 for one in told["streams"]), "four candles")
    run = None
    if shutil.which("chromedriver"):
        run = Process(
            bench.folder / "collect",
            *("collect", "--timeframes", "5m", "--platform-url", f"127.0.0.1:{bench.site.port}", "--json"),
            *("--source", SOURCE, "--data-dir", str(bench.data_dir)),
        )
        assert run.wait() == 0, run.err
    daemon.end(signal.SIGKILL)
    again = bench.daemon()
    waiting(again, "asks again by itself")
    time.sleep(QUIET_S)

    assert [tab["url"] for tab in seen["tabs"]] == [bench.site.url]  # type: ignore[attr-defined]
    assert bench.screen.dialogs == 1
    again.end()
    assert len(stored(bench.data_dir, key)) > 3
    if run is not None:
        assert {one["asset"] for one in json.loads(run.out)["saved"]} == {"EURUSD_otc", "USDJPY_otc"}


def test_cancel_is_heard_and_each_word_of_the_user_opens_one_dialog(bench: Bench):
    daemon = bench.daemon()
    bench.screen.cancel()
    waiting(daemon, "You did not let fluxcap into")
    time.sleep(QUIET_S)
    before = bench.screen.dialogs

    told = bench.ask()
    bench.screen.allow()
    attached(daemon)

    assert (before, bench.screen.dialogs) == (1, 2)
    assert "click Allow" in told


def test_each_start_of_the_browser_is_asked_once(bench: Bench):
    daemon = bench.daemon()
    bench.screen.allow()
    attached(daemon)

    bench.browser.stop()
    daemon.await_status(lambda seen: seen["chrome"] == "not reachable", "the end of the browser")
    bench.browser.start()
    bench.screen.allow()
    attached(daemon)

    assert bench.screen.dialogs == 2


def test_a_browser_closed_while_it_asks_has_not_refused(bench: Bench):
    daemon = bench.daemon()
    waiting(daemon, "click Allow")

    bench.browser.stop()
    daemon.await_status(lambda seen: seen["chrome"] == "not reachable", "the end of the browser")

    assert ConsentFile(bench.data_dir).read().answer == "none"
