"""The page that a trader keeps open, in a real Chromium: one behaviour a test, one browser and one server for all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from selenium.webdriver.common.keys import Keys

from fluxcap.schemas.types import CandleFlags, FeedState
from tests.support.browser.webpage import WebPage, web_page
from tests.support.daemon.dashboard_rig import MINUTE, NO_COLLECTION, FakeDaemon, dashboard

pytestmark = pytest.mark.browser

COLLECTED = "data_output/assets_data/data_collect/1M_candles/{}_1m_2025_10_25_09_54_04.csv"
Rig = tuple[FakeDaemon, str]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("daemon")
    daemon = FakeDaemon(folder)
    for asset in ("EURUSD_otc", "AUDCAD_otc"):
        path = folder / COLLECTED.format(asset)
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [f"{60 * m + 1_761_386_040},1.1,1.2,1.3,1.0" for m in range(100)]
        path.write_text("\n".join(["timestamp,open,close,high,low", *rows]) + "\n")
    try:
        with dashboard(tmp_path_factory.mktemp("page"), daemon) as url:
            yield daemon, url
    finally:
        daemon.close()


@pytest.fixture
def daemon(rig: Rig) -> FakeDaemon:
    """As it was at the start, but for its candles."""
    daemon = rig[0]
    daemon.chrome, daemon.chrome_reason, daemon.detected = "attached", "", "EURUSD_otc"
    daemon.is_ticking, daemon.feed, daemon.gaps, daemon.collect = True, FeedState.LIVE, [], "none"
    daemon.agreement, daemon.reloads, daemon.asked, daemon.consent = {}, 0, 0, False
    daemon.collection, daemon.refusal = dict(NO_COLLECTION), ""
    return daemon


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebPage]:
    profile = tmp_path_factory.mktemp("profile")
    with web_page(profile, "1100,640") as page:
        yield page
    shutil.rmtree(profile, ignore_errors=True)


@pytest.fixture
def page(browser: WebPage, rig: Rig, daemon: FakeDaemon) -> Iterator[WebPage]:
    """The browser, nothing remembered; at the end nothing was complained of and nothing fetched from outside."""
    origin = {"origin": rig[1].rstrip("/"), "storageTypes": "local_storage"}
    browser.driver.execute_cdp_cmd("Storage.clearDataForOrigin", origin)
    daemon.leases.clear()  # a wish of the page before may have overtaken its end
    browser.driver.get_log("browser")
    yield browser
    assert browser.complaints() == []
    assert browser.foreign_requests() == []


TURN = """
const [search, done] = arguments, app = window.fluxcap, script = document.querySelector("script[type=module]");
if (!app || document.hidden) done(false);
else import(new URL("choices.js", script.src)).then(({ readChoices }) => {
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  for (const menu of document.querySelectorAll("details[open]")) menu.open = false;
  document.querySelector("[data-test=drawer]").hidden = true;
  document.querySelector("[data-test=toasts]").replaceChildren();
  document.querySelector("[data-test=search]").value = app.search = "";
  document.activeElement.blur();
  for (const cell of app.cells.splice(0)) cell.close();
  app.known.clear();
  delete app.save; // one test has its own
  app.feed.close();
  app.files = app.collection = null;
  app.due = {};
  localStorage.clear();
  history.replaceState(null, "", search);
  app.choices = readChoices(search, "");
  app.setTheme(app.choices.theme !== "light");
  app.begin();
  app.layOut();
  app.look();
  done(true);
});
"""
"""An open page becomes what that address opens, with nothing known or remembered: a load costs twenty times as much."""


def turned(page: WebPage, rig: Rig, search: str) -> None:
    """The page at that address: the one that is open, else a new one."""
    if not page.driver.current_url.startswith(rig[1]) or not page.driver.execute_async_script(TURN, search):
        page.open(rig[1] + search)


def live(page: WebPage, rig: Rig, more: str = "", asset: str = "EURUSD_otc", theme: str = "dark") -> dict[str, Any]:
    turned(page, rig, f"?source=platform&asset={asset}&theme={theme}{more}")
    return page.wait_chart(lambda chart: chart["count"] and chart["forming"], "live candles")


def soon(page: WebPage) -> None:
    """Have the page ask now for what it asks every few seconds."""
    page.script("window.fluxcap.due = {}")


def key(page: WebPage, *keys: str) -> None:
    page.driver.switch_to.active_element.send_keys(*keys)


def shown_menu(page: WebPage, name: str) -> None:
    page.script('document.querySelector(`[data-test="${arguments[0]}"]`).open = true', name)


# --- 1 start --------------------------------------------------------------------------------------------------------


def test_two_cards_say_what_there_is_and_one_click_shows_it_live(page: WebPage, rig: Rig, daemon: FakeDaemon) -> None:
    page.open(f"{rig[1]}?theme=dark")
    page.wait_text("card-live-asset", "EUR/USD OTC")
    page.wait_text("card-live-state", "ago")
    assert page.wait_text("card-csv-count", "2 files of 2 assets")
    assert not page.shown("charts")
    assert not daemon.leases

    page.click("card-live")

    page.wait_chart(lambda chart: chart["count"] >= 300 and chart["forming"], "history and the candle under way")
    page.wait_text("label", "Live, ")
    page.wait(lambda: set(daemon.leases.values()) == {"EURUSD_otc"}, "the lease")
    assert "source=platform&asset=EURUSD_otc" in page.driver.current_url


def test_the_address_opens_the_chart_at_once_and_the_choice_is_remembered(page: WebPage, rig: Rig) -> None:
    page.open(f"{rig[1]}?source=platform&asset=EURUSD_otc&bars=50&ind=sma20&log=1&zone=platform")
    page.wait_chart(lambda chart: chart["count"] and chart["forming"], "live candles")
    page.wait(lambda: "bars=50" in page.driver.current_url, "the zoom in the address")
    page.wait_text("legend", "SMA 20")
    assert page.chart()["log"]

    page.open(rig[1])

    chart = page.wait_chart(lambda chart: chart["forming"] and chart["indicators"], "what was remembered")
    assert chart["log"]
    assert chart["to"] - chart["from"] <= 51 * MINUTE


def test_a_chart_that_is_drawn_anew_before_its_next_frame_still_shows_what_was_asked_for(page: WebPage, rig: Rig):
    page.open(f"{rig[1]}?source=platform&asset=EURUSD_otc&bars=80")
    page.wait_chart(lambda chart: chart["forming"] and chart["to"] - chart["from"] <= 81 * MINUTE, "80 candles")

    page.script(
        "const c = document.querySelector('.plot').fluxcap; for (let n = 0; n < 2; n++) { c.zoom(0.5); c.drawAll(); }"
    )

    page.wait_chart(lambda chart: chart["to"] - chart["from"] <= 21 * MINUTE, "20 candles")


def test_looking_takes_the_focus_from_nobody_and_leaving_gives_it_back(
    page: WebPage, rig: Rig, daemon: FakeDaemon
) -> None:
    live(page, rig)
    page.wait(lambda: set(daemon.leases.values()) == {"EURUSD_otc"}, "the lease beside the daemon's own focus")

    page.driver.get("about:blank")

    page.wait(lambda: not daemon.leases, "the end of the lease")


# --- 2 watchlist ----------------------------------------------------------------------------------------------------


def test_the_watchlist_has_prices_payouts_and_states_and_a_key_turns_the_chart(
    page: WebPage, rig: Rig, daemon: FakeDaemon
) -> None:
    live(page, rig)
    page.wait(lambda: "92%" in page.text("watchlist") and "87%" in page.text("watchlist"), "payouts")
    page.wait(lambda: page.script("return document.querySelectorAll('.watch polyline[points]').length") == 2, "lines")
    assert "EUR/USD OTC" in page.text("watchlist")

    key(page, Keys.ARROW_DOWN)

    page.wait_chart(lambda chart: chart["count"] and 1.25 < chart["last"][4] < 1.5, "the other asset's candles")
    page.wait(lambda: set(daemon.leases.values()) == {"GBPUSD_otc"}, "the other asset's lease")
    assert "asset=GBPUSD_otc" in page.driver.current_url


def test_a_chart_that_was_shown_before_turns_within_a_tenth_of_a_second(page: WebPage, rig: Rig) -> None:
    live(page, rig)
    key(page, Keys.ARROW_DOWN)
    page.wait_chart(lambda chart: chart["count"] >= 300 and chart["last"][4] > 1.25, "the other asset")
    took_ms = page.script(
        """const begin = performance.now(); document.querySelector('.watch li[data-id="EURUSD_otc"]').click();
        const chart = document.querySelector('.plot').fluxcap.facts();
        return chart.last[4] < 1.25 ? performance.now() - begin : -1"""
    )

    assert took_ms >= 0, "drawn before anything is asked of the server"


def test_a_search_finds_by_name_and_favourites_stand_on_top(page: WebPage, rig: Rig) -> None:
    live(page, rig)
    page.wait(lambda: "GBP/USD OTC" in page.text("watchlist"), "the list")
    key(page, "/")
    key(page, "gbp")
    page.wait(lambda: "EUR" not in page.text("watchlist"), "what was searched")
    page.script("document.querySelector('.watch .star').click()")
    key(page, Keys.ESCAPE)

    page.wait(lambda: page.text("watchlist").lstrip("★\n").startswith("GBP"), "the favourite on top")


# --- 3 chart --------------------------------------------------------------------------------------------------------


def test_a_sealed_candle_is_added_and_nothing_else_drawn_anew(page: WebPage, rig: Rig) -> None:
    before = live(page, rig)  # all of them at once: there are fewer than a page

    candle = rig[0].seal(close=1.123)

    chart = page.wait_chart(lambda chart: chart["count"] == before["count"] + 1, "the sealed candle")
    assert chart["last"][:5] == [candle.ts_ms, candle.open, candle.high, candle.low, candle.close]
    assert chart["fullDraws"] == before["fullDraws"]
    assert chart["to"] >= candle.ts_ms


def test_gaps_are_hatched_flags_and_differing_candles_marked_and_told_in_words(
    page: WebPage, rig: Rig, daemon: FakeDaemon
) -> None:
    live(page, rig)
    blind = daemon.seal(flags=CandleFlags.BLIND)
    daemon.gaps = [
        {"from_ms": blind.ts_ms - 9 * MINUTE, "to_ms": blind.ts_ms - 3 * MINUTE, "reason": "socket closed"},
    ]
    stream = f"TEST.EURUSD_otc.{'1m'}"
    daemon.agreement = {
        "streams": {stream: {"compared": 412, "equal": 411}},
        "differing": [{"stream": stream, "ts_ms": blind.ts_ms, "platform": [1.1, 1.2, 1.0, 1.15]}],
    }
    soon(page)
    page.wait_chart(lambda chart: chart["areas"] and chart["marked"], "mark and hatching")
    daemon.revise(msgspec.structs.replace(blind, high=1.2, tick_count=140))

    chart = page.wait_chart(lambda chart: chart["last"][2] == 1.2, "the revised candle")
    assert chart["last"][7] & CandleFlags.REVISED
    assert chart["areas"] == [[blind.ts_ms - 9 * MINUTE, blind.ts_ms - 3 * MINUTE, "socket closed"]]
    page.wait_text("fact-agreement", "411 of 412 candles equal")
    page.script(
        "const [cell] = window.fluxcap.cells, tsMs = arguments[0];"
        "cell.hover = {row: cell.series.at(tsMs), tsMs}; cell.showLegend()",
        blind.ts_ms,
    )
    legend = page.text("legend")
    assert "blind for a part of it" in legend
    assert "revised after it was published" in legend
    assert "differs from the platform's 1.1" in legend


def test_the_price_has_a_line_and_the_time_that_is_left_of_its_candle(page: WebPage, rig: Rig) -> None:
    live(page, rig)

    chart = page.wait_chart(lambda chart: chart["line"] is not None and chart["countdown"], "price and countdown")

    assert chart["line"] == chart["forming"][4]
    assert ":" in chart["countdown"]


def test_timeframes_are_the_streams_that_are_there(page: WebPage, rig: Rig, daemon: FakeDaemon) -> None:
    daemon.publish_other("5m", 40)
    live(page, rig)
    page.wait_text("timeframes", "5m")

    key(page, "2")

    chart = page.wait_chart(lambda chart: chart["count"] == 40, "candles of five minutes")
    assert chart["last"][0] % (5 * MINUTE) == 0
    assert "tf=5m" in page.driver.current_url


def test_indicators_are_drawn_told_and_follow_the_live_price(page: WebPage, rig: Rig) -> None:
    live(page, rig)
    shown_menu(page, "indicators-menu")
    for name in ("sma20", "bb20", "rsi14"):
        page.script("document.querySelector(`input[value=${arguments[0]}]`).click()", name)
    chart = page.wait_chart(lambda chart: len(chart["indicators"]) == 3, "three indicators")

    rows = page.script("return window.fluxcap.cells[0].series.all().slice(-20).map((row) => row[4])")
    mean = page.script("return window.fluxcap.cells[0].chart.indicatorsAt(null)[0].values[0]")

    assert [one["name"] for one in chart["indicators"]] == ["SMA 20", "BB 20", "RSI 14"]
    assert abs(mean - sum(rows) / 20) < 1e-4  # a tick may have come between
    assert page.script("return window.fluxcap.cells[0].chart.chart.panes().length") == 2


def test_zoom_stays_where_the_user_put_it(page: WebPage, rig: Rig) -> None:
    live(page, rig)
    for _ in range(3):
        key(page, Keys.ARROW_LEFT)
    before = page.chart()
    rig[0].seal()
    chart = page.wait_chart(lambda chart: chart["count"] == before["count"] + 1, "the next candle")

    assert abs(chart["from"] - before["from"]) <= MINUTE
    assert abs(chart["to"] - before["to"]) <= MINUTE

    key(page, Keys.END)

    page.wait_chart(lambda chart: chart["to"] >= chart["last"][0], "the newest candle")


def test_a_jump_puts_a_time_into_view(page: WebPage, rig: Rig) -> None:
    first = live(page, rig)
    wanted = first["last"][0] - 250 * MINUTE
    shown_menu(page, "view-menu")
    page.script(
        """const field = document.querySelector('[data-test=jump]');
        field.value = new Date(arguments[0]).toISOString().slice(0, 16); field.form.requestSubmit();""",
        wanted,
    )

    page.wait_chart(lambda chart: chart["from"] <= wanted <= chart["to"], "the time")


def test_pictures_and_csv_are_of_what_is_seen(page: WebPage, rig: Rig) -> None:
    chart = live(page, rig)
    page.script(
        "window.saved = []; const app = window.fluxcap; app.save = (blob, ending) => blob.arrayBuffer()"
        ".then((bytes) => saved.push([ending, bytes.byteLength, new TextDecoder().decode(bytes)]))"
    )
    page.script("window.fluxcap.saveCsv(); window.fluxcap.savePicture()")
    page.wait(lambda: page.script("return saved.length") == 2, "both files")
    saved = {ending: (size, text) for ending, size, text in page.script("return saved")}

    lines = saved["csv"][1].strip().split("\n")
    assert lines[0] == "timestamp,open,high,low,close,volume,tick_count,flags"
    assert 50 < len(lines) < chart["count"]
    assert saved["png"][0] > 5_000


def test_the_time_axis_is_in_the_zone_that_was_chosen(page: WebPage, rig: Rig) -> None:
    live(page, rig)
    utc = page.script("const c = window.fluxcap.cells[0].chart; return c.wordsMs(c.timeOf(1_700_000_000_000))")
    page.script("window.fluxcap.setZone('platform')")

    shifted = page.script("const c = window.fluxcap.cells[0].chart; return c.wordsMs(c.timeOf(1_700_000_000_000))")

    assert shifted - utc == 2 * 60 * MINUTE


def test_keys_are_told(page: WebPage, rig: Rig) -> None:
    live(page, rig)
    key(page, "?")

    page.wait(lambda: page.find("help-dialog").get_attribute("open"), "the help")
    assert "to the newest candle" in page.text("help-dialog")
    assert "Apache License 2.0" in page.text("help-dialog")


# --- 4 grid ---------------------------------------------------------------------------------------------------------


def test_two_charts_have_their_own_assets_and_one_crosshair(page: WebPage, rig: Rig, daemon: FakeDaemon) -> None:
    live(page, rig, "&grid=2&asset=GBPUSD_otc")
    facts = "return document.querySelectorAll('.plot')[1]?.fluxcap?.facts()"
    page.wait(lambda: (page.script(facts) or {}).get("forming"), "the second chart")
    assert page.script(facts)["last"][4] > 1.25
    page.wait(lambda: sorted(daemon.leases.values()) == ["EURUSD_otc", "GBPUSD_otc"], "both leases")

    page.script("const app = window.fluxcap; app.pointAt(app.cells[0], app.cells[0].series.lastMs - 5 * 60000)")

    page.wait(lambda: page.script("return window.fluxcap.cells[1].hover !== null"), "the other's crosshair")


# --- 5 truth bar ----------------------------------------------------------------------------------------------------


def test_losing_chrome_stops_it_with_the_reason_and_its_return_starts_it(
    page: WebPage, rig: Rig, daemon: FakeDaemon
) -> None:
    live(page, rig)
    daemon.chrome, daemon.chrome_reason, daemon.feed = "not reachable", "Chrome was closed.", FeedState.NO_BROWSER
    soon(page)
    page.wait_text("banner", "Chrome was closed.")
    page.wait(lambda: "Live" not in page.text("label"), "a bar that says the same")
    page.wait(lambda: not daemon.leases, "the end of the lease")
    page.wait_chart(lambda chart: chart["forming"] is None and chart["line"] is None, "the price line's end")

    daemon.chrome, daemon.chrome_reason, daemon.feed = "attached", "", FeedState.LIVE
    soon(page)

    page.wait_chart(lambda chart: chart["forming"], "the live candle")
    page.wait(lambda: not page.shown("banner"), "the banner's end")


def test_losing_the_daemon_stops_it_with_the_reason(page: WebPage, rig: Rig, daemon: FakeDaemon) -> None:
    live(page, rig)
    daemon.stop_control()
    soon(page)
    try:
        page.wait_text("banner", "No fluxcap answers")
    finally:
        daemon.start_control()
    soon(page)
    page.wait(lambda: not page.shown("banner"), "the daemon again")
    page.driver.get_log("browser")  # the refused answers, which a browser complains of by itself


@pytest.mark.parametrize(
    ("feed", "reason", "todo"),
    [
        (FeedState.STALLED, "silent", "Reload the trading page"),
        (FeedState.LOGGED_OUT, "logged out", "Log in"),
        (FeedState.WAITING_FOR_CONSENT, "consent", "Allow"),
    ],
)
def test_a_feed_that_stands_still_is_said_with_age_reason_and_what_to_do(
    page: WebPage, rig: Rig, daemon: FakeDaemon, feed: FeedState, reason: str, todo: str
) -> None:
    live(page, rig)
    daemon.is_ticking, daemon.feed = False, feed

    page.wait_text("label", "Stale, ")
    page.wait_text("reason", reason)
    page.wait_text("todo", todo)
    assert "warn" in str(page.find("dot").get_attribute("class"))


def test_the_drawer_tells_gaps_flags_and_counters_and_its_buttons_ask_first(
    page: WebPage, rig: Rig, daemon: FakeDaemon
) -> None:
    live(page, rig)
    candle = daemon.seal(flags=CandleFlags.FILLED)
    daemon.gaps = [{"from_ms": candle.ts_ms - 3 * MINUTE, "to_ms": candle.ts_ms, "reason": "socket closed"}]
    soon(page)
    key(page, "d")
    page.wait_text("flagged", "filled from the platform's history")
    page.wait_text("gaps", "socket closed")
    page.wait_text("counters", "duplicate")

    page.click("reload")
    page.wait(lambda: page.find("confirm").get_attribute("open"), "the question")
    assert daemon.reloads == 0
    page.click("confirm-yes")
    page.wait(lambda: daemon.reloads == 1, "the reload")

    page.script(
        "const s = document.querySelector('[data-test=collect]'); s.value = 'candle';"
        "s.dispatchEvent(new Event('change'))"
    )
    page.click("confirm-yes")
    page.wait(lambda: daemon.collect == "candle", "the daemon's mode")


def test_history_is_collected_after_a_question_with_progress_outcome_and_refusals_in_the_drawer(
    page: WebPage, rig: Rig, daemon: FakeDaemon
) -> None:
    live(page, rig)
    key(page, "d")
    daemon.refusal = "The trading page is logged out of the platform; log in there."
    page.click("history")
    assert daemon.collection["state"] == "none", "nothing before the question is answered"
    page.click("confirm-yes")
    page.wait_text("toasts", daemon.refusal)
    page.driver.get_log("browser")  # the refusal, of which a browser complains by itself

    daemon.refusal = ""
    page.click("history")
    page.click("confirm-yes")
    page.wait_text("collection-text", "looking at the page's favourites")
    daemon.collection |= {"total": 12, "done": 5}
    page.wait_text("collection-text", "5 of 12 saved")
    assert page.find("history").get_attribute("disabled")
    assert page.find("collection-bar").get_attribute("value") == "5"
    page.click("collection-stop")
    page.click("confirm-yes")
    page.wait_text("collection-text", "Stopping")
    failed = [{"asset": "EUR/USD OTC", "timeframe": "1h", "reason": "no history of it came"}]
    daemon.collection |= {"state": "ended", "told": "Saved 5 files with 495 candles.", "failed": failed}

    page.wait_text("collection-text", "Missing: EUR/USD OTC 1h (no history of it came).")
    assert "Saved 5 files with 495 candles." in page.text("toasts")
    assert not page.shown("collection-bar")
    assert not page.find("history").get_attribute("disabled")


def test_a_browser_that_let_nobody_in_can_be_asked_once_more(page: WebPage, rig: Rig, daemon: FakeDaemon) -> None:
    live(page, rig)
    assert not page.shown("ask")
    daemon.consent, daemon.feed, daemon.is_ticking = True, FeedState.WAITING_FOR_CONSENT, False
    daemon.chrome, daemon.chrome_reason = "not reachable", "You did not let fluxcap into Chrome at 09:12."
    soon(page)
    page.wait_text("banner", "You did not let fluxcap into Chrome")

    page.click("ask")
    assert daemon.asked == 0
    daemon.chrome, daemon.chrome_reason = "waiting for your consent", "Chrome asks; click Allow."
    page.click("confirm-yes")

    page.wait_text("toasts", "click Allow")
    assert daemon.asked == 1
    daemon.chrome, daemon.chrome_reason = "attached", ""
    soon(page)
    page.wait(lambda: not page.shown("ask"), "the button's end")


# --- collected files -------------------------------------------------------------------------------------------------


def test_files_are_shown_in_any_timeframe(page: WebPage, rig: Rig) -> None:
    turned(page, rig, "?start")
    page.click("card-csv")
    page.wait_text("overlay", "Choose an asset")
    page.wait_text("watchlist", "AUDCAD_otc")
    page.click_on(lambda: page.driver.find_element("css selector", '.watch li[data-id="AUDCAD_otc"]'))
    chart = page.wait_chart(lambda chart: chart["count"] == 100, "the file")
    assert chart["forming"] is None
    assert page.text("timeframes").split() == ["1m", "5m", "15m", "1h", "4h"]

    key(page, "3")

    chart = page.wait_chart(lambda chart: 0 < chart["count"] < 100, "the longer candles")
    assert chart["count"] == 8
    assert chart["last"][0] % (15 * MINUTE) == 0


def test_changing_the_source_says_that_an_asset_is_not_there(page: WebPage, rig: Rig) -> None:
    turned(page, rig, "?source=csv&asset=AUDCAD_otc")
    page.wait_chart(lambda chart: chart["count"] == 100, "the file")
    page.click("home")
    page.wait_text("card-live-asset", "EUR/USD OTC")

    page.click("card-live")

    page.wait_text("toasts", "AUDCAD_otc is not on the platform")
    page.wait_chart(lambda chart: chart["count"] >= 300, "what its page shows")


def test_a_file_that_is_none_is_said(page: WebPage, rig: Rig, daemon: FakeDaemon) -> None:
    path = daemon.data_dir / COLLECTED.format("BROKEN")
    path.write_text("timestamp,open,close,high,low\n60,1,x,1,1\n")
    try:
        turned(page, rig, "?source=csv&asset=BROKEN")
        page.wait_text("overlay", "cannot be shown")
        assert "Line 2" in page.text("overlay")
        page.driver.get_log("browser")  # the refusal
    finally:
        path.unlink()


# --- 7 looks --------------------------------------------------------------------------------------------------------


def test_following_shows_what_the_trading_page_shows(page: WebPage, rig: Rig, daemon: FakeDaemon) -> None:
    live(page, rig)
    page.click("follow")
    page.wait(lambda: not daemon.leases, "the end of the lease")

    daemon.detected = "GBPUSD_otc"
    soon(page)

    page.wait_chart(lambda chart: chart["count"] and chart["last"][4] > 1.25, "the page's asset")


def test_dark_and_light(page: WebPage, rig: Rig) -> None:
    live(page, rig, theme="light")
    assert not page.chart()["dark"]

    page.click("theme")

    page.wait_chart(lambda chart: chart["dark"], "the dark chart")


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_nothing_stands_against_wcag_aa(page: WebPage, rig: Rig, daemon: FakeDaemon, theme: str) -> None:
    turned(page, rig, f"?start&theme={theme}")
    page.wait_text("card-live-asset", "EUR/USD OTC")
    assert page.accessibility_faults() == []

    live(page, rig, "&ind=sma20,rsi14", theme=theme)
    page.wait(lambda: "92%" in page.text("watchlist"), "the watchlist")
    daemon.gaps = [{"from_ms": 1, "to_ms": 0, "reason": "socket closed"}]
    soon(page)
    key(page, "d")
    page.wait_text("gaps", "socket closed")
    shown_menu(page, "view-menu")
    assert page.accessibility_faults() == []

    daemon.chrome, daemon.chrome_reason = "not reachable", "Chrome was closed."
    soon(page)
    page.wait_text("banner", "Chrome was closed.")
    key(page, Keys.ESCAPE, "?")
    assert page.accessibility_faults() == []


def test_the_keyboard_alone_reaches_everything(page: WebPage, rig: Rig) -> None:
    live(page, rig)
    page.wait(lambda: "GBP/USD OTC" in page.text("watchlist"), "the watchlist")
    page.script("document.activeElement.blur()")
    seen: list[str] = []
    for _ in range(24):
        key(page, Keys.TAB)
        found = page.script(
            "const now = document.activeElement; const ring = getComputedStyle(now);"
            "const name = now.dataset.test || now.tagName + now.textContent;"
            "return [name, ring.outlineStyle, parseFloat(ring.outlineWidth)]"
        )
        if found[0] in seen:
            break
        seen.append(found[0])
        assert found[1:] != ["none", 0.0], f"{found[0]} shows no focus"

    wanted = {"home", "asset", "BUTTON1m", "follow", "theme", "help", "search", "watchlist", "more"}
    assert wanted - set(seen) == set()
    assert [name for name in seen if name.startswith("SUMMARY")] == ["SUMMARYIndicators", "SUMMARYView"]


def test_a_phone_shows_all_of_it_and_scrolls_nowhere_sideways(page: WebPage, rig: Rig) -> None:
    page.driver.set_window_size(500, 900)
    for width in (390, 360):
        page.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 780, "deviceScaleFactor": 2, "mobile": True},
        )
        try:
            live(page, rig)
            page.script("window.fluxcap.toggleList(false)")
            wide, window = page.wide()
            assert wide <= window == width
            for name in ("asset", "timeframes", "indicators-menu", "view-menu", "label", "more"):
                assert page.shown(name), name
            tops = "return [...document.querySelectorAll('.asset, [data-test=help]')].map((one) => one.offsetTop)"
            first, last = page.script(tops)
            assert abs(first - last) < 20, "one row of buttons"
        finally:
            page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    page.driver.set_window_size(1100, 640)


def test_updates_move_nothing(page: WebPage, rig: Rig) -> None:
    live(page, rig)
    page.wait_text("fact-lag", "s")
    page.script(
        "window.shifts = []; new PerformanceObserver(list => list.getEntries().forEach(e => shifts.push(e.value)))"
        ".observe({type: 'layout-shift', buffered: false})"
    )
    seen = page.chart()["updates"]
    rig[0].seal()
    page.wait_chart(lambda chart: chart["updates"] > seen + 10, "ten updates")

    assert sum(page.script("return shifts")) < 0.01
