"""What is seen, put into words: ages, states, nothing where nothing is known."""

from __future__ import annotations

from typing import Any

import msgspec

from fluxcap.bridge.store.agreement import Agreement, AgreementSummary, DifferingCandle
from fluxcap.capture.api.status import DaemonInfo, FormingView, Status, agreement_view, build_status
from fluxcap.capture.chrome.events import ArrivalTime, SocketId
from fluxcap.capture.chrome.session import SessionSnapshot
from fluxcap.capture.chrome.target import SocketSnapshot, TabSnapshot
from fluxcap.capture.market.feeds import GapReason
from fluxcap.capture.market.focus import Focus, FocusMode
from fluxcap.capture.market.market import Market
from fluxcap.capture.pipeline.listeners import ChromeState
from fluxcap.capture.pipeline.pipeline import PipelineView
from fluxcap.capture.platforms.pocketoption import PocketOption
from fluxcap.schemas.types import Candle, CandleFlags, FeedState, StreamKey, StreamStatus
from tests.support.market.simulated_market import EUR, GBP, START_MS, Stage, lock

NOW_MS = 1_756_866_774_000
KEY = StreamKey("TEST", "EURUSD_otc", "1m")
IDENTITY = DaemonInfo("1.0", 7, "pub", "rep", "control", "data", "TEST", "1m", "127.0.0.1:9222")


def seen(stream: StreamStatus | None = None, **changes: Any) -> Status:
    market = Market(PocketOption(), 60_000, Focus(FocusMode.LOCK, ("EURUSD_otc",)))
    view = PipelineView(
        chrome=ChromeState.UNAVAILABLE,
        chrome_reason="Nothing answers.",
        browser="",
        session=None,
        market=market.view(ArrivalTime.from_ms(NOW_MS, 0)),
        streams=(stream,) if stream else (),
        queue_depth=3,
        messages=0,
        commits=0,
        store_error="",
    )
    collect = {"mode": "none"}
    view = msgspec.structs.replace(view, **changes)
    return build_status(IDENTITY, view, now_ms=NOW_MS, uptime_s=1.234, collect=collect)  # type: ignore[arg-type]


def test_before_anything_happened_nothing_is_invented():
    status = seen()

    assert (status.chrome, status.chrome_reason, status.browser) == ("not reachable", "Nothing answers.", "")
    assert (status.tabs, status.sockets, status.streams) == ((), 0, ())
    assert (status.platform_offset_ms, status.detected_asset, status.detected_period_s) == (None, None, None)
    assert (status.focus_mode, status.focus_symbols) == ("lock", ("EURUSD_otc",))
    assert (status.uptime_s, status.queue_depth) == (1.2, 3)


def test_a_stream_has_the_age_of_its_last_tick_and_its_feed_by_name():
    stream = StreamStatus(KEY, 5, NOW_MS - 60_000, feed_state=FeedState.LIVE, last_tick_ts_ms=NOW_MS - 300)

    [shown] = seen(stream).streams

    assert (shown.stream, shown.feed, shown.latest_sequence) == ("TEST.EURUSD_otc.1m", "live", 5)
    assert shown.age_ms == 300


def test_the_agreement_with_the_platform_is_summed_and_what_differs_is_told_with_both_prices():
    ours, platform = Candle(60_000, 1.0, 1.4, 0.9, 1.2), Candle(60_000, 1.0, 1.4, 0.9, 1.3)
    other = StreamKey("TEST", "GBPUSD_otc", "1m")
    agreement = AgreementSummary(
        {KEY: Agreement(5, 4), other: Agreement(2, 2)}, (DifferingCandle(KEY, 7, ours, platform, 0),)
    )

    view = agreement_view(agreement)

    assert (view.equal, view.compared) == (6, 7)
    assert view.streams["TEST.EURUSD_otc.1m"] == {"compared": 5, "equal": 4}
    (one,) = view.differing
    assert (one.sequence, one.ours, one.platform) == (7, (1.0, 1.4, 0.9, 1.2), (1.0, 1.4, 0.9, 1.3))
    assert seen().agreement.compared == 0


def test_a_stream_without_a_tick_has_no_age():
    [shown] = seen(StreamStatus(KEY)).streams

    assert shown.age_ms is None


def test_a_tick_ahead_of_this_machines_clock_is_not_older_than_now():
    [shown] = seen(StreamStatus(KEY, last_tick_ts_ms=NOW_MS + 5_000)).streams

    assert shown.age_ms == 0


def test_sockets_and_tabs_are_counted_from_the_session():
    snapshot = SessionSnapshot((), (SocketSnapshot(SocketId("S", "1"), "T", "wss://x.po.market/", 3, 0),), 0)

    assert seen(session=snapshot, chrome=ChromeState.ATTACHED, browser="Chrome/156").sockets == 1


def test_all_of_it_can_be_written_as_json():
    assert msgspec.json.decode(msgspec.json.encode(seen(StreamStatus(KEY))))["pid"] == 7


def test_a_feed_state_of_a_newer_stream_is_shown_as_unknown():
    [shown] = seen(StreamStatus(KEY, feed_state=99)).streams

    assert shown.feed == "unknown"


# --- why no candle comes ---

TAB = TabSnapshot("T", "page", "https://pocketoption.com/", "", "listening")


def why(stage: Stage, stream: StreamStatus | None = None, **changes: Any) -> str:
    """The sentence for a browser that is attached, with a tab open unless told otherwise."""
    tabs = changes.pop("tabs", (TAB,))
    session = SessionSnapshot(tabs, (), 0, changes.pop("lookalikes", ()))
    view = {"session": session, "chrome": ChromeState.ATTACHED, "market": stage.market.view(stage.at())}
    return seen(stream, **view | changes).no_candles


def ticking(focus: Focus, seconds: int = 10) -> Stage:
    stage = Stage(60_000, focus)
    stage.ticks_of(START_MS, START_MS + seconds * 1_000, (EUR,))
    return stage


def test_when_candles_come_nothing_is_said():
    stream = StreamStatus(StreamKey("TEST", EUR, "1m"), 5, START_MS)

    assert why(ticking(lock(EUR)), stream) == ""


def test_the_true_reason_is_the_first_thing_that_is_wrong():
    waiting, stage = Stage(), ticking(lock(EUR))

    assert why(stage, store_error="disk full") == "Nothing can be published: disk full"
    assert why(stage, chrome=ChromeState.UNAVAILABLE, chrome_reason="No Chrome; start it.") == "No Chrome; start it."
    assert "No tab of the platform" in why(stage, tabs=())
    assert "no tick has come" in why(waiting)
    assert "first candle follows when a whole one of 1m" in why(stage)


def test_in_the_first_minute_the_candle_under_way_is_shown_with_when_the_first_whole_one_ends():
    minute_ms = NOW_MS // 60_000 * 60_000
    forming = Candle(minute_ms, 1.1, 1.3, 1.0, 1.2, 7, 7, CandleFlags.JOINED_LATE)
    left_s = (minute_ms + 120_000 - NOW_MS) / 1_000

    [shown] = seen(StreamStatus(KEY), forming={EUR: forming}).streams
    told = why(ticking(lock(EUR)), StreamStatus(KEY), forming={EUR: forming})

    assert shown.forming == FormingView(minute_ms, 1.1, 1.3, 1.0, 1.2, 7)
    assert shown.first_whole_ms == minute_ms + 120_000
    assert f"the first whole candle of 1m ends at 02:34:00 UTC, in {left_s:.0f} s. `fluxcap reload`" in told


def test_a_minute_seen_from_its_beginning_is_the_first_whole_one_and_later_there_is_no_first():
    forming = {EUR: Candle(60_000, 1.1, 1.3, 1.0, 1.2, 7, 7)}

    [first] = seen(StreamStatus(KEY), forming=forming).streams
    [later] = seen(StreamStatus(KEY, 5, 0), forming=forming).streams

    assert first.first_whole_ms == 120_000
    assert (later.first_whole_ms, later.forming) == (0, first.forming)


def test_a_stream_of_another_interval_has_no_candle_under_way():
    key = StreamKey("TEST", "EURUSD_otc", "1h")

    [shown] = seen(StreamStatus(key), forming={EUR: Candle(60_000, 1.1, 1.3, 1.0, 1.2, 7, 7)}).streams

    assert (shown.forming, shown.first_whole_ms) == (None, 0)


def test_a_tab_that_is_on_no_list_is_named_with_the_option_that_allows_it():
    told = why(Stage(), tabs=(), lookalikes=("po9.cash",))

    assert "A tab at po9.cash" in told
    assert "`--platform-url po9.cash`" in told


def test_a_page_that_is_logged_out_is_told_so():
    stage = ticking(lock(EUR))
    stage.market.received("s1", 1, '42["NotAuthorized"]', stage.at())

    assert "logged out" in why(stage)


def test_ticks_of_a_clock_that_is_not_known_are_told_with_its_reason():
    stage = Stage()
    stage.offset_ms = 7_400_000
    stage.ticks_of(START_MS, START_MS + 20_000)

    assert why(stage) == stage.market.clock.reason
    assert "quarter-hour" in why(stage)


def test_ticks_of_other_assets_than_those_in_focus_are_named():
    told = why(ticking(lock(GBP)))

    assert EUR in told
    assert GBP in told
    assert "fluxcap focus follow" in told


def test_a_feed_that_ended_is_told_with_its_reason():
    stage = ticking(lock(EUR))
    stage.lose("s1", GapReason.SOCKET_CLOSED)

    assert "(socket closed)" in why(stage)
