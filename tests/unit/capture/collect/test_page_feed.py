"""What the page is told, over a browser that a script plays: histories since a turn, the clock, what it asked for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest

from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.capture.collect.page_feed import HistoryFeed
from fluxcap.capture.market.clock import ClockPrior, ClockState, Trust
from fluxcap.capture.platforms.base import History
from fluxcap.capture.platforms.pocketoption import PocketOption
from fluxcap.schemas.errors import BrowserGone, PageUnavailable
from tests.support.browser.cdp import attached, created, frame, handshake, socket_closed, socket_created
from tests.support.market.simulated_market import announcement, attachment

PAGE = "https://pocketoption.com/en/cabinet/"
SOCKET = "wss://demo-api-eu.po.market/socket.io/"
SESSION = "S-T"
OFFSET = 7_200_000
T0 = 1_700_000_000_000
ROW = [5, "AXP_otc", "American Express OTC", "stock", 1, 90, 60, 30, 3, 1, 0, 0, 0, 0, True, [], 1, 1, 1]
SHORT_S = 0.05
"""So long is waited for what never comes."""


class Browser:
    """Answers every command at once, as Chrome does; says what it is told to."""

    def __init__(self) -> None:
        self.wall_ms, self.mono_ms = T0, time.monotonic_ns() // 1_000_000
        self.closed = False

    def connect(
        self,
        url: str,
        on_message: Callable[[bytes, ArrivalTime], None],
        on_end: Callable[[str], None],
        on_idle: Callable[[ArrivalTime], None],
    ) -> Browser:
        self._on_message, self.end = on_message, on_end
        return self

    def send(self, text: str) -> None:
        command = json.loads(text)
        result: dict[str, Any] = {}
        if command["method"] == "Target.setDiscoverTargets":
            self.say(created("T", PAGE))
        if command["method"] == "Target.attachToTarget":
            self.say(attached(SESSION, "T", PAGE))
            result = {"sessionId": SESSION}
        self.say(json.dumps({"id": command["id"], "result": result}))

    def close(self) -> None:
        self.closed = True

    def say(self, *messages: str, drained: bool = True) -> None:
        for message in messages:
            stamp = ArrivalTime(self.wall_ms * 1_000_000, self.mono_ms * 1_000_000, drained)
            self._on_message(message.encode(), stamp)

    def event(self, name: str, payload: object, socket: str = "1.1") -> None:
        binary = frame(SESSION, socket, attachment(payload), opcode=2)
        self.say(frame(SESSION, socket, announcement(name)), binary)

    def history(self, symbol: str, period_s: int) -> None:
        now_s = (self.wall_ms + OFFSET) // 1_000
        ticks = [[now_s - 1, 1.5], [now_s, 1.6]]
        self.event(
            "updateHistoryNewFast",
            {"asset": symbol, "period": period_s, "history": ticks, "candles": [[60, 1, 1, 1, 1]]},
        )

    def older(self, symbol: str, period_s: int) -> None:
        row = {"time": 60, "open": 1, "close": 1, "high": 1, "low": 1}
        self.event("loadHistoryPeriodFast", {"asset": symbol, "period": period_s, "data": [row], "index": 1})

    def ticks(self, count: int = 8, every_ms: int = 500, ahead_ms: int = OFFSET - 700) -> None:
        for _ in range(count):
            self.wall_ms += every_ms
            self.mono_ms += every_ms
            self.event("updateStream", [["EURUSD_otc", (self.wall_ms + ahead_ms) / 1_000, 1.5]])

    def later(self, ms: int) -> None:
        """The next messages come so much later."""
        self.mono_ms = time.monotonic_ns() // 1_000_000 + ms


@pytest.fixture
def browser() -> Browser:
    return Browser()


@pytest.fixture
def feed(browser: Browser) -> HistoryFeed:
    return feed_of(browser)


def feed_of(browser: Browser, prior: ClockPrior = ClockPrior()) -> HistoryFeed:  # noqa: B008  frozen
    feed = HistoryFeed("ws://x", PocketOption(), connect=browser.connect, prior=prior)
    feed.await_tick_ahead_ms(0.001)  # lets the attach happen
    browser.say(socket_created(SESSION, "1.1", SOCKET))
    return feed


def of(symbol: str, period_ms: int) -> Callable[[History, str | None], bool]:
    return lambda history, asked: (history.symbol, history.period_ms) == (symbol, period_ms)


def take_in(feed: HistoryFeed, found: Callable[[], object]) -> None:
    """Until there is something."""
    deadline_s = time.monotonic() + 10
    while not found() and time.monotonic() < deadline_s:
        feed.await_history(lambda history, asked: False, SHORT_S)


def test_the_history_of_that_asset_and_that_period_is_awaited(feed: HistoryFeed, browser: Browser):
    feed.reset()
    browser.later(1)
    browser.history("GBPUSD_otc", 3_600)
    browser.history("EURUSD_otc", 60)
    browser.history("EURUSD_otc", 3_600)

    found = feed.await_history(of("EURUSD_otc", 3_600_000), 5)

    assert found is not None
    assert (found.symbol, found.period_ms) == ("EURUSD_otc", 3_600_000)


def test_what_came_before_the_turn_does_not_count(feed: HistoryFeed, browser: Browser):
    browser.later(-1_000)
    browser.history("EURUSD_otc", 3_600)
    feed.reset()

    assert feed.await_history(of("EURUSD_otc", 3_600_000), SHORT_S) is None
    assert feed.requested_asset is None


def test_older_pages_of_a_chart_are_not_the_history_of_a_turn(feed: HistoryFeed, browser: Browser):
    feed.reset()
    browser.later(1)
    browser.older("EURUSD_otc", 3_600)

    assert feed.await_history(of("EURUSD_otc", 3_600_000), SHORT_S) is None


def late_row(feed: HistoryFeed, browser: Browser, newest_tick_s: int) -> list[int]:
    """Starts of the rows in a history of three, the last one from 120 s to 180 s."""
    feed.reset()
    browser.later(1)
    rows = [[start_s, 1, 1, 1, 1] for start_s in (120, 60, 0)]
    ticks = [[newest_tick_s, 1.5]]
    browser.event("updateHistoryNewFast", {"asset": "A", "period": 60, "history": ticks, "candles": rows})
    found = feed.await_history(of("A", 60_000), 5)
    assert found is not None
    return [row.ts_ms // 1_000 for row in found.candles]


def test_a_row_that_may_have_been_under_way_is_left_out_however_late_it_comes(feed: HistoryFeed, browser: Browser):
    assert late_row(feed, browser, newest_tick_s=179) == [60]
    assert late_row(feed, browser, newest_tick_s=180) == [60, 120]


def test_a_row_is_whole_if_its_socket_told_a_later_tick_before_it(feed: HistoryFeed, browser: Browser):
    browser.say(socket_created(SESSION, "1.2", SOCKET))
    browser.event("updateStream", [["B", 180.5, 1.5]], socket="1.2")
    assert late_row(feed, browser, newest_tick_s=150) == [60]

    browser.event("updateStream", [["B", 180.5, 1.5]])
    assert late_row(feed, browser, newest_tick_s=150) == [60, 120]


def test_older_ticks_of_a_chart_are_not_the_history_of_a_turn(feed: HistoryFeed, browser: Browser):
    feed.reset()
    browser.later(1)
    browser.event("loadHistoryPeriodFast", {"asset": "A", "period": 0, "data": [{"time": 60, "price": 1.5}]})

    assert feed.await_history(lambda history, asked: True, SHORT_S) is None


def test_what_the_page_asks_for_is_known(feed: HistoryFeed, browser: Browser):
    feed.reset()
    browser.later(1)
    browser.say(frame(SESSION, "1.1", '42["changeSymbol",{"asset":"AXP_otc","period":300}]', sent=True))

    take_in(feed, lambda: feed.requested_asset)

    assert feed.requested_asset is not None
    assert (feed.requested_asset.symbol, feed.requested_asset.period_ms) == ("AXP_otc", 300_000)


def test_the_asset_table_is_kept(feed: HistoryFeed, browser: Browser):
    browser.event("updateAssets", [ROW])

    take_in(feed, lambda: feed.assets)

    assert [asset.symbol for asset in feed.assets] == ["AXP_otc"]


def test_the_platforms_clock_is_measured(feed: HistoryFeed, browser: Browser):
    browser.ticks()

    assert feed.await_offset_ms(5) == OFFSET
    assert feed.await_tick_ahead_ms(1) == pytest.approx(OFFSET - 700)


HOUR = 3_600_000


def test_the_platforms_own_time_outweighs_this_computers_clock(browser: Browser):
    browser.wall_ms += HOUR  # it is wrong by an hour
    feed = feed_of(browser)
    browser.say(handshake(SESSION, "1.1", formatdate((browser.wall_ms - HOUR) / 1_000, usegmt=True)))

    browser.ticks(ahead_ms=OFFSET - HOUR - 700)

    assert feed.await_offset_ms(5) == OFFSET
    assert feed.clock_basis == "the platform's own clock"


def test_without_it_an_offset_of_earlier_runs_that_the_clock_denies_is_asked_about(browser: Browser):
    feed = feed_of(browser, ClockPrior(OFFSET))
    browser.ticks(ahead_ms=OFFSET - HOUR - 700)
    take_in(feed, lambda: feed.clock.question)

    with pytest.raises(PageUnavailable, match=r"\+1 h from UTC, by earlier runs \+2 h.*reload the trading page"):
        feed.await_offset_ms(SHORT_S)


def test_what_a_running_daemon_knows_needs_no_agreement(browser: Browser):
    feed = feed_of(browser, ClockPrior(OFFSET))
    feed.clock.trust(Trust.EARLIER)

    browser.ticks(ahead_ms=OFFSET - HOUR - 700)

    assert feed.await_offset_ms(5) == OFFSET


def test_a_clock_that_turns_out_wrong_ends_the_collection(feed: HistoryFeed, browser: Browser):
    browser.ticks(ahead_ms=OFFSET - HOUR - 700)
    assert feed.await_offset_ms(5) == OFFSET - HOUR
    assert feed.clock_basis == "this computer's clock alone"

    browser.say(handshake(SESSION, "1.1", formatdate((browser.wall_ms - HOUR) / 1_000, usegmt=True)))
    browser.ticks(ahead_ms=OFFSET - HOUR - 700)
    browser.history("EURUSD_otc", 60)

    with pytest.raises(PageUnavailable, match=r"this computer's is \+1 h off.*--restart"):
        take_in(feed, lambda: False)


def test_without_a_word_of_the_platform_the_page_is_asked_for(feed: HistoryFeed):
    with pytest.raises(PageUnavailable, match=r"received nothing from the platform.*is it loaded and logged in"):
        feed.await_offset_ms(SHORT_S)


def test_without_ticks_an_asset_that_moves_is_asked_for(feed: HistoryFeed, browser: Browser):
    browser.ticks(2)
    take_in(feed, lambda: feed.frames)

    with pytest.raises(PageUnavailable, match=r"clock could not be measured.*whose price moves"):
        feed.await_offset_ms(SHORT_S)


def test_a_clock_that_fits_no_quarter_of_an_hour_is_told(feed: HistoryFeed, browser: Browser):
    browser.ticks(ahead_ms=OFFSET + 200_000)
    take_in(feed, lambda: feed.clock.state is ClockState.AMBIGUOUS)

    with pytest.raises(PageUnavailable, match="set this computer's clock"):
        feed.await_offset_ms(SHORT_S)


def test_sockets_of_others_and_those_that_closed_are_not_read(feed: HistoryFeed, browser: Browser):
    browser.say(socket_created(SESSION, "2.1", "wss://chat.test/socket.io/"))
    browser.event("updateStream", [["EURUSD_otc", 1.0, 1.5]], socket="2.1")
    browser.say(socket_closed(SESSION, "1.1"))

    browser.say(socket_created(SESSION, "3.1", SOCKET))
    browser.event("updateAssets", [ROW], socket="3.1")
    take_in(feed, lambda: feed.assets)

    assert feed.await_tick_ahead_ms(SHORT_S) is None
    assert feed.frames == 2


def test_the_end_of_the_browser_is_told(feed: HistoryFeed, browser: Browser):
    browser.end("closed by the browser")

    with pytest.raises(BrowserGone, match="The connection to Chrome ended: closed by the browser"):
        feed.await_history(lambda history, asked: True, 5)


def test_closing_lets_go(feed: HistoryFeed, browser: Browser):
    feed.close()

    assert browser.closed
