"""The site under the platform's own host names, tabs of other sites beside it: those are never attached to."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fluxcap.capture.chrome.connection import Connection
from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.capture.daemon.daemon import Daemon
from fluxcap.capture.platforms.pocketoption import PocketOption, PocketOptionDecoder
from fluxcap.capture.runtime.settings import Settings
from fluxcap.capture.simulator import PAGE_URL, SimulatedSite, SiteConfig, platform_flags, read_truth
from fluxcap.schemas.types import StreamKey, candles_from
from tests.support.browser.chromium import Chromium
from tests.support.browser.pages import Site
from tests.support.daemon.live_rig import differences, expectation_from_page_load
from tests.support.patience import await_that

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SYMBOL = "EURUSD_otc"
KEY = StreamKey("HOSTS", SYMBOL, "1s")


class Traffic:
    """All that went over the DevTools connection, and all that a decoder was given."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []
        self.heard: list[bytes] = []
        self.decoded: list[str] = []

    def connect(
        self,
        url: str,
        on_message: Callable[[bytes, ArrivalTime], None],
        on_end: Callable[[str], None],
        on_idle: Callable[[ArrivalTime], None],
    ) -> Connection:
        def listen(data: bytes, stamp: ArrivalTime) -> None:
            self.heard.append(data)
            on_message(data, stamp)

        traffic = self

        class Wiretap(Connection):
            def send(self, text: str) -> None:
                traffic.said.append(json.loads(text))
                super().send(text)

        return Wiretap(url, listen, on_end, on_idle)

    def events(self, method: str) -> list[dict[str, Any]]:
        messages = [json.loads(data) for data in self.heard if f'"{method}"'.encode() in data[:200]]
        return [message["params"] for message in messages if message.get("method") == method]


@pytest.fixture
def other_site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


def test_only_the_platforms_own_tabs_are_attached_and_their_chat_is_not_decoded(
    chromium: Callable[..., Chromium], other_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    traffic = Traffic()

    class Spy(PocketOptionDecoder):
        def received(self, opcode: int, payload: str) -> Any:
            traffic.decoded.append(payload)
            return super().received(opcode, payload)

    monkeypatch.setattr(PocketOption, "decoder", lambda _platform: Spy())
    config = SiteConfig(assets=(SYMBOL,), rate_hz=10, truth_path=tmp_path / "truth.jsonl")
    with SimulatedSite(config) as site:
        browser = chromium(*platform_flags(site.port))
        for path in ("/socket", "/worker", "/shared", "/service"):
            browser.open(other_site.url(path, host="platform"))
        browser.open(site.url)  # the same page under a name that is not the platform's
        with Daemon(_settings(browser, tmp_path), connect=traffic.connect) as daemon:
            await_that(lambda: daemon.pipeline.attached, "the attach")
            await_that(lambda: read_truth(site.truth_path).of_kind("history_sent"), "the other page's history")
            opened_ms = time.time() * 1_000
            browser.open(PAGE_URL)
            await_that(lambda: _reached(daemon, opened_ms), "candles")
            await_that(lambda: any(b"chat_room_list" in data for data in traffic.heard), "chat")
            browser.open(other_site.url("/socket", host="mirror"))  # one that comes later
            await_that(lambda: len(_foreign(traffic)) >= 8, "the other tabs")
            page = daemon.server.store.reader().page(KEY, 0, None, 100_000)
    found = list(candles_from(page.candles))

    truth = expectation_from_page_load(read_truth(site.truth_path), SYMBOL, KEY.interval_ms, opened_ms)
    assert differences(truth.candles(found[-1].ts_ms + 1), found) == []
    _assert_nothing_foreign_was_touched(traffic)
    assert not [payload for payload in traffic.decoded if "chat_room" in payload or "user_ready" in payload]
    assert any("updateStream" in payload for payload in traffic.decoded)


def _settings(browser: Chromium, folder: Path) -> Settings:
    return Settings(
        chrome=f"127.0.0.1:{browser.port}",
        data_dir=folder / "data",
        interval=KEY.interval,
        source=KEY.source_id,
        focus=(SYMBOL,),
        pub="tcp://127.0.0.1:0",
        rep="tcp://127.0.0.1:0",
        web=False,
        control_port=0,
    )


def _reached(daemon: Daemon, opened_ms: float) -> bool:
    """Candles of some seconds beyond the page's history."""
    status = daemon.server.status().get(KEY)
    return status is not None and status.latest_ts_ms > opened_ms + 8_000


def _foreign(traffic: Traffic) -> set[str]:
    """Targets whose address, when they were first told, is another site's."""
    platform = PocketOption()
    infos = [params["targetInfo"] for params in traffic.events("Target.targetCreated")]
    ours = {info["targetId"] for info in _told(traffic) if platform.is_page(info["url"])}
    return {info["targetId"] for info in infos} - ours


def _told(traffic: Traffic) -> list[dict[str, Any]]:
    methods = ("Target.targetCreated", "Target.targetInfoChanged", "Target.attachedToTarget")
    return [params["targetInfo"] for method in methods for params in traffic.events(method)]


def _assert_nothing_foreign_was_touched(traffic: Traffic) -> None:
    foreign = _foreign(traffic)
    attached = traffic.events("Target.attachedToTarget")
    wanted = {said["params"]["targetId"] for said in traffic.said if said["method"] == "Target.attachToTarget"}
    sessions = {params["sessionId"] for params in attached}

    assert wanted
    assert not wanted & foreign
    assert not {params["targetInfo"]["targetId"] for params in attached} & foreign
    assert {said["sessionId"] for said in traffic.said if "sessionId" in said} <= sessions
    assert not [data for data in traffic.heard if b"platform page" in data or b"mirror page" in data]
