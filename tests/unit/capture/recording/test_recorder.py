"""What the recorder makes of what the pipeline takes in: numbered sockets, both clocks, redacted frames."""

from __future__ import annotations

import pytest

from fluxcap.capture.chrome.events import (
    ArrivalTime,
    EndReason,
    FrameReceived,
    FrameSent,
    SocketClosed,
    SocketId,
    SocketOpened,
    TabAttached,
    TabGone,
)
from fluxcap.capture.market.feeds import GapReason
from fluxcap.capture.market.focus import Focus, FocusMode
from fluxcap.capture.pipeline.journal import RecoveredSpan
from fluxcap.capture.pipeline.restore import restore_market
from fluxcap.capture.platforms.pocketoption import PocketOption
from fluxcap.capture.recording import records as r
from fluxcap.capture.recording.recorder import Recorder, strip_url
from fluxcap.capture.tools.replay.playback import Playback
from fluxcap.schemas.errors import FluxcapError
from fluxcap.schemas.types import Tick
from tests.support.market.simulated_market import START_MS as T0_MS
from tests.support.market.simulated_market import Stage, announcement, attachment

MARKET, CHAT = SocketId("s1", "1.1"), SocketId("s1", "1.2")
TICK = [["EURUSD_otc", 1_760_000_000.5, 1.1]]


def at(second: float, *, skew_s: float = 1_000.0, drained: bool = True) -> ArrivalTime:
    return ArrivalTime(round((second + skew_s) * 1e9), round(second * 1e9), drained)


class Kept:
    """A writer that keeps what it gets, until its disk is full."""

    def __init__(self) -> None:
        self.records: list[r.Record] = []
        self.full = False

    def add(self, record: r.Record) -> None:
        if self.full:
            raise FluxcapError("No space left.")
        self.records.append(record)


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def recorder(kept: Kept) -> Recorder:
    return Recorder(PocketOption(), kept)


def frame(payload: str, stamp: ArrivalTime, opcode: int = 1, socket: SocketId = MARKET) -> FrameReceived:
    return FrameReceived(socket, "tab", opcode, payload, stamp)


def test_both_clocks_are_counted_from_the_record_before(recorder: Recorder, kept: Kept) -> None:
    recorder.on_time_advanced(ArrivalTime(1_000_000_000_007, 500, True))
    recorder.on_time_advanced(ArrivalTime(1_000_000_000_027, 519, True))
    recorder.on_time_advanced(ArrivalTime(900, 600, True))

    assert kept.records == [
        r.TimeAdvanced(500, 999_999_999_507),
        r.TimeAdvanced(19, 1),
        r.TimeAdvanced(81, 300 - 999_999_999_508),
    ]


def test_a_market_frame_is_kept_and_its_attachment_without_base64(recorder: Recorder, kept: Kept) -> None:
    recorder.on_event(SocketOpened(MARKET, "tab", "wss://api.po.market/socket.io/"), at(1))
    recorder.received(frame(announcement("updateStream"), at(1, drained=False)))
    recorder.received(frame(attachment(TICK), at(1), 2))

    assert kept.records[1:] == [
        r.TextFrame(0, 0, 1, False, announcement("updateStream")),
        r.BinaryFrame(0, 0, 1, True, b'[["EURUSD_otc",1760000000.5,1.1]]'),
    ]
    assert recorder.counts.frames == 2
    assert recorder.counts.withheld == 0


def test_base64_of_another_spelling_is_kept_to_the_letter(recorder: Recorder, kept: Kept) -> None:
    spelt = attachment(TICK) + "\n"

    recorder.received(frame(announcement("updateStream"), at(1)))
    recorder.received(frame(spelt, at(1), 2))

    assert kept.records[-1] == r.RawFrame(0, 0, 1, True, 2, spelt)


def test_of_any_other_frame_only_a_sign_is_kept(recorder: Recorder, kept: Kept) -> None:
    recorder.received(frame('40{"sid":"secret"}', at(1)))
    recorder.received(frame("2", at(2, drained=False)))

    assert kept.records[1:] == [r.RedactedFrame(0, 0, 1, True, True), r.RedactedFrame(10**9, 0, 1, False, False)]
    assert recorder.counts.withheld == 2


def test_a_socket_that_was_open_before_is_opened_by_its_first_frame(recorder: Recorder, kept: Kept) -> None:
    recorder.received(frame("2", at(1)))

    assert kept.records[0] == r.SocketOpened(10**9, 1_000 * 10**9, 1, "", 0)
    assert recorder.counts.sockets == 1


def test_sockets_of_others_are_not_recorded_but_the_time_they_prove_is(recorder: Recorder, kept: Kept) -> None:
    recorder.on_event(SocketOpened(CHAT, "tab", "wss://example.org/"), at(1))
    recorder.received(frame("hello", at(1, drained=False), socket=CHAT))
    recorder.received(frame("hello", at(2), socket=CHAT))
    recorder.on_time_advanced(at(2))
    recorder.on_socket_lost(SocketClosed(CHAT, EndReason.CLOSED), GapReason.SOCKET_CLOSED, at(3))

    assert [type(record) for record in kept.records] == [r.TimeAdvanced]


def test_time_that_a_drained_frame_has_proven_is_not_told_again(recorder: Recorder, kept: Kept) -> None:
    recorder.received(frame("2", at(1)))
    recorder.on_time_advanced(at(1))
    recorder.on_time_advanced(at(1.2))
    recorder.received(frame("2", at(2, drained=False)))
    recorder.on_time_advanced(at(2, drained=False))

    assert [type(record) for record in kept.records] == [
        r.SocketOpened,
        r.RedactedFrame,
        r.TimeAdvanced,
        r.RedactedFrame,
        r.TimeAdvanced,
    ]


def test_time_passes_again_when_something_happened_in_between(recorder: Recorder, kept: Kept) -> None:
    recorder.received(frame("2", at(1)))
    recorder.on_socket_lost(SocketClosed(MARKET, EndReason.CLOSED), GapReason.SOCKET_CLOSED, at(1))
    recorder.on_time_advanced(at(1))

    assert [type(record) for record in kept.records] == [r.SocketOpened, r.RedactedFrame, r.SocketLost, r.TimeAdvanced]


def test_what_the_page_sends_is_kept_only_when_allowed(recorder: Recorder, kept: Kept) -> None:
    choice = '42["changeSymbol",{"asset":"EURUSD_otc","period":60}]'

    recorder.on_event(FrameSent(MARKET, "tab", 1, '42["auth",{"session":"secret"}]', at(1)), at(1))
    recorder.on_event(FrameSent(MARKET, "tab", 1, choice, at(1)), at(1))

    assert kept.records[1:] == [r.SentFrame(0, 0, 1, 1, choice)]


def test_tabs_and_sockets_are_numbered_and_addresses_cut_short(recorder: Recorder, kept: Kept) -> None:
    recorder.on_event(TabAttached("tab", "https://pocketoption.com/cabinet?token=1#x", "You have $5"), at(1))
    recorder.on_event(SocketOpened(MARKET, "tab", "wss://u:p@api.po.market:8443/socket.io/?sid=1"), at(1))
    recorder.on_socket_lost(SocketClosed(MARKET, EndReason.TAB_CLOSED), GapReason.TAB_CLOSED, at(1))
    recorder.on_event(TabGone("tab", EndReason.TAB_CLOSED), at(1))
    recorder.on_event(TabGone("never seen", EndReason.TAB_CLOSED), at(1))

    assert kept.records == [
        r.TabAttached(10**9, 1_000 * 10**9, 1, "page", "https://pocketoption.com/cabinet"),
        r.SocketOpened(0, 0, 1, "wss://api.po.market:8443/socket.io/", 1),
        r.SocketLost(0, 0, 1, "tab closed"),
        r.TabGone(0, 0, 1, "tab_closed"),
    ]


def test_a_socket_id_used_again_is_another_socket(recorder: Recorder, kept: Kept) -> None:
    recorder.received(frame("2", at(1)))
    recorder.on_socket_lost(SocketClosed(MARKET, EndReason.CLOSED), GapReason.SOCKET_CLOSED, at(1))
    recorder.received(frame("2", at(2)))

    assert [record.socket for record in kept.records if isinstance(record, r.RedactedFrame)] == [1, 2]


def test_focus_browser_and_what_was_restored_are_kept(recorder: Recorder, kept: Kept) -> None:
    recorder.restored("EURUSD_otc", [(1, 1.5)], 1, 2, told_before=True, stamp=at(0, skew_s=0))
    recorder.restored("EURUSD_otc", [], 8, 9, told_before=False, lost=[(2, 8)], stamp=at(0, skew_s=0))
    recorder.browser(True, "Chrome/156", at(0, skew_s=0))
    recorder.focus(Focus(FocusMode.LOCK, ("EURUSD_otc",)), at(0, skew_s=0))

    assert kept.records == [
        r.Restored(0, 0, "EURUSD_otc", [(1, 1.5)], 1, 2, True),
        r.Restored(0, 0, "EURUSD_otc", [], 8, 9, False, [(2, 8)]),
        r.BrowserState(0, 0, True, "Chrome/156"),
        r.FocusChanged(0, 0, Focus(FocusMode.LOCK, ("EURUSD_otc",))),
    ]


def test_a_full_disk_ends_the_recording_once_and_harms_nobody(
    recorder: Recorder, kept: Kept, logged: list[str]
) -> None:
    kept.full = True
    recorder.on_time_advanced(at(1))
    recorder.on_time_advanced(at(2))
    kept.full = False
    recorder.on_time_advanced(at(3))

    assert kept.records == []
    assert recorder.error == "No space left."
    assert logged == ["recording.stopped_by_error"]


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("https://a.b/c/d?e=f#g", "https://a.b/c/d"),
        ("wss://user:pass@a.b:8080/x", "wss://a.b:8080/x"),
        ("", ""),
        ("about:blank", ""),
        ("https://a.b:port/", ""),
        ("http://[::1", ""),
    ],
)
def test_an_address_is_cut_to_scheme_host_and_path(url: str, bare: str) -> None:
    assert strip_url(url) == bare


def test_a_start_on_a_journal_with_losses_replays_to_the_same_gaps(recorder: Recorder, kept: Kept) -> None:
    def ticks(symbol: str, *at_ms: int) -> tuple[Tick, ...]:
        return tuple(Tick(symbol, T0_MS + ts_ms, T0_MS + ts_ms, 1.5) for ts_ms in at_ms)

    eur, gbp = "EURUSD_otc", "GBPUSD_otc"
    stretches = [
        RecoveredSpan(eur, T0_MS, ticks(eur, 0, 500)),
        RecoveredSpan(eur, T0_MS + 4_001, ticks(eur, 4_500), lost_from_ms=T0_MS + 1_000),
        RecoveredSpan(gbp, T0_MS + 4_002, ticks(gbp, 4_600), lost_from_ms=T0_MS + 1_100),
    ]
    original, replayed = Stage(), Stage()

    restore_market(original.market, stretches, recorder)
    Playback(replayed.market).play(kept.records, lambda: None)

    gaps = original.market.drain().gaps
    assert [(gap.symbol, gap.from_ms - T0_MS, gap.to_ms and gap.to_ms - T0_MS) for gap in gaps] == [
        (eur, 500, 4_001),
        (eur, 4_500, 0),
        (gbp, 1_100, 4_002),
        (gbp, 4_600, 0),
    ]
    assert replayed.market.drain().gaps == gaps
