"""What the market gets of a browser: sockets of mirrors, tabs that look alike, and what is told of accounts."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.capture.chrome.session import CdpSession
from fluxcap.capture.market.clock import ClockPrior
from fluxcap.capture.market.focus import Focus, FocusMode
from fluxcap.capture.market.market import Market
from fluxcap.capture.pipeline.browser import BrowserFeed
from fluxcap.capture.pipeline.listeners import ListenerGroup
from fluxcap.capture.platforms.base import PlatformHints
from fluxcap.capture.platforms.pocketoption import PocketOption
from tests.support.browser.cdp import attached, created, frame, socket_created
from tests.support.market.simulated_market import EUR, announcement, attachment

OWN, MIRROR = "https://pocketoption.com/en/cabinet/", "https://po.cash/en/cabinet/"
START_S = 1_760_000_040


class Transport:
    """Takes commands and answers none."""

    def send(self, text: str) -> None: ...

    def close(self, timeout_s: float = 0) -> None: ...


class Bench:
    """A browser with one tab, whose messages come by hand, one a quarter of a second."""

    def __init__(self, url: str, prior: ClockPrior = ClockPrior()) -> None:  # noqa: B008  frozen
        platform = PocketOption()
        self.market = Market(platform, 60_000, Focus(FocusMode.ALL), prior=prior)
        self.now_ms = 0
        hints = PlatformHints(platform)
        self.feed = BrowserFeed(self.market, platform.is_page, ListenerGroup([]), None, self.stamp, hints=hints)
        self.feed.attach(Transport(), 1, "Chrome/1")
        self.say(created("T", url))
        self.say(attached("S-T", "T", url))

    def stamp(self) -> ArrivalTime:
        return ArrivalTime.from_ms(START_S * 1_000 + self.now_ms, 1_000 + self.now_ms)

    def say(self, message: str) -> None:
        self.now_ms += 250
        self.feed.receive(1, message.encode(), self.stamp())

    def ticks(self, request_id: str, count: int = 12) -> None:
        """So many ticks on a socket, half a second apart, as the platform sends them."""
        for number in range(count):
            row = [EUR, START_S + 7_200 + (self.now_ms + 500) / 1_000, 1.1 + number / 1e5]
            self.say(frame("S-T", request_id, announcement("updateStream")))
            self.say(frame("S-T", request_id, attachment([row]), opcode=2))


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.fixture
def bench(caplog: pytest.LogCaptureFixture) -> Callable[[str], Bench]:
    caplog.set_level(logging.INFO, "fluxcap")
    return Bench


def test_a_socket_that_was_open_before_the_attach_counts_on_the_platforms_own_page(bench: Callable[[str], Bench]):
    own = bench(OWN)
    own.ticks("1.1")

    assert own.market.feeds.tick_count == 12


def test_on_a_mirror_it_does_not_and_that_is_told(bench: Callable[[str], Bench], caplog: pytest.LogCaptureFixture):
    mirror = bench(MIRROR)
    mirror.ticks("1.1")

    assert mirror.market.feeds.tick_count == 0
    assert any("socket.unseen" in text for text in events(caplog))


@pytest.mark.parametrize(
    ("url", "count"), [("wss://api-eu.po.market/socket.io/", 12), ("wss://api.po.cash/socket.io/", 0)]
)
def test_of_a_mirror_only_sockets_to_the_platforms_own_hosts_count(bench: Callable[[str], Bench], url: str, count: int):
    mirror = bench(MIRROR)
    mirror.say(socket_created("S-T", "2.1", url))
    mirror.ticks("2.1")

    assert mirror.market.feeds.tick_count == count


def test_a_tab_on_no_list_is_told_once_with_its_option(bench: Callable[[str], Bench], caplog: pytest.LogCaptureFixture):
    own = bench(OWN)
    own.say(created("U", "https://po9.cash/en/cabinet/quick-high-low/"))
    own.say(created("V", "https://po9.cash/en/cabinet/quick-high-low/"))

    told = [record for record in caplog.records if "target.lookalike" in record.getMessage()]
    assert len(told) == 1
    assert told[0].fields == {"host": "po9.cash", "option": "--platform-url po9.cash"}  # type: ignore[attr-defined]


def test_two_kinds_of_account_are_told_once(bench: Callable[[str], Bench], caplog: pytest.LogCaptureFixture):
    own = bench(OWN)
    own.say(socket_created("S-T", "2.1", "wss://demo-api-eu.po.market/"))
    own.say(socket_created("S-T", "3.1", "wss://api-eu.po.market/"))
    own.ticks("2.1")
    own.ticks("3.1")
    own.ticks("2.1")

    assert own.market.accounts == {EUR: "demo"}
    assert sum("platform.accounts_differ" in text for text in events(caplog)) == 1


def test_the_page_is_asked_for_its_asset_with_the_first_tick_and_then_every_two_seconds(
    monkeypatch: pytest.MonkeyPatch,
):
    asked_ms: list[int] = []
    monkeypatch.setattr(
        CdpSession, "query_active_asset", lambda session, query, mono_ns: asked_ms.append(mono_ns // 1_000_000)
    )
    own = Bench(OWN, ClockPrior(offset_ms=7_200_000))

    own.ticks("1.1", 6)

    first_tick_ms = 1_000 + 4 * 250  # two messages of the attach, two of the tick
    assert asked_ms == [first_tick_ms, first_tick_ms + 2_000]
