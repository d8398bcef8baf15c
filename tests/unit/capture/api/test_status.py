"""What is seen, put into words: ages, states, nothing where nothing is known."""

from __future__ import annotations

from typing import Any

import msgspec

from fluxcap.bridge.store.agreement import Agreement, AgreementSummary, DifferingCandle
from fluxcap.capture.api.status import DaemonInfo, Status, agreement_view, build_status
from fluxcap.capture.chrome.events import ArrivalTime, SocketId
from fluxcap.capture.chrome.session import SessionSnapshot
from fluxcap.capture.chrome.target import SocketSnapshot
from fluxcap.capture.market.focus import Focus, FocusMode
from fluxcap.capture.market.market import Market
from fluxcap.capture.pipeline.listeners import ChromeState
from fluxcap.capture.pipeline.pipeline import PipelineView
from fluxcap.capture.platforms.pocketoption import PocketOption
from fluxcap.schemas.types import Candle, FeedState, StreamKey, StreamStatus

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
