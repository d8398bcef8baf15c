"""Records back into a market: each as the pipeline gave the original, with the same times."""

from __future__ import annotations

from typing import Any

import pytest

from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.capture.market.feeds import GapReason
from fluxcap.capture.market.focus import Focus, FocusMode
from fluxcap.capture.market.market import MarketUpdate
from fluxcap.capture.recording import records as r
from fluxcap.capture.tools.replay.playback import Playback
from tests.support.market.simulated_market import attachment


class Heard:
    """A market that only notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.pending = MarketUpdate()

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **named: self.told.append((name, *args, *named.values()))


@pytest.fixture
def market() -> Heard:
    return Heard()


def play(market: Heard, *records: r.Record, keep_focus: bool = False) -> Playback:
    playback = Playback(market, keep_focus=keep_focus)  # type: ignore[arg-type]
    playback.play(records, lambda: None)
    return playback


AT = 5_000_000, 7_000_000
"""Monotonic 5 ms, wall 12 ms."""
ARRIVAL, WAITING = ArrivalTime.from_ms(12, 5), ArrivalTime.from_ms(12, 5, drained=False)
ADVANCED = ("advance_time", ARRIVAL)


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (r.TextFrame(*AT, 3, True, "42[]"), ("received", 3, 1, "42[]", ARRIVAL)),
        (r.BinaryFrame(*AT, 3, False, b"[1]"), ("received", 3, 2, attachment([1]), WAITING)),
        (r.RawFrame(*AT, 3, False, 9, "x"), ("received", 3, 9, "x", WAITING)),
        (r.RedactedFrame(*AT, 3, True, False), ("received_withheld", 3)),
        (r.SentFrame(*AT, 3, 1, "x"), ("sent", 3, 1, "x", WAITING)),
        (r.SocketLost(*AT, 3, "page reloaded"), ("on_socket_closed", 3, GapReason.RELOADED, WAITING)),
        (r.SocketLost(*AT, 3, "of a later version"), ("on_socket_closed", 3, GapReason.SOCKET_CLOSED, WAITING)),
        (r.FocusChanged(*AT, Focus(FocusMode.ALL)), ("set_focus", Focus(FocusMode.ALL), False)),
        (r.ActiveAssetLabel(*AT, "EUR/USD OTC"), ("on_active_asset_label", "EUR/USD OTC")),
        (r.Restored(*AT, "X", [(1, 1.5)], 1, 2, False), ("restore", "X", [(1, 1.5)], 1, 2)),
    ],
)
def test_a_record_is_given_as_the_original_was(market: Heard, record: r.Record, told: tuple[Any, ...]) -> None:
    play(market, record)

    assert [call for call in market.told if call != ADVANCED] == [told]


def test_a_socket_is_the_platforms_and_its_addresses_tell_of_its_account(market: Heard) -> None:
    play(market, r.TabAttached(*AT, 1, "page", "https://p/demo"), r.SocketOpened(*AT, 3, "wss://x/", 1))

    told = [call for call in market.told if call != ADVANCED and call[0] != "advance_time"]
    assert told == [("socket_opened", 3, ""), ("note_account", 3, "wss://x/", "https://p/demo")]


@pytest.mark.parametrize(
    ("record", "advances"),
    [
        (r.TextFrame(*AT, 3, True, "42[]"), True),
        (r.TextFrame(*AT, 3, False, "42[]"), False),
        (r.BinaryFrame(*AT, 3, True, b"[1]"), True),
        (r.RawFrame(*AT, 3, True, 9, "x"), True),
        (r.RedactedFrame(*AT, 3, True, False), True),
        (r.RedactedFrame(*AT, 3, False, False), False),
        (r.TimeAdvanced(*AT), True),
        (r.SentFrame(*AT, 3, 1, "x"), False),
    ],
)
def test_time_passes_after_a_record_behind_which_nothing_waited(
    market: Heard, record: r.Record, advances: bool
) -> None:
    play(market, record)

    assert (market.told[-1] == ADVANCED) is advances


@pytest.mark.parametrize(
    "record",
    [r.TabAttached(*AT, 1, "page", ""), r.TabGone(*AT, 1, ""), r.BrowserState(*AT, True, ""), r.EndOfRecording(*AT, 0)],
)
def test_what_is_told_for_the_readers_sake_does_nothing(market: Heard, record: r.Record) -> None:
    play(market, record)

    assert market.told == []


def test_times_add_up_on_both_clocks(market: Heard) -> None:
    playback = play(
        market, r.TimeAdvanced(2_500_000, 10_000_000), r.TimeAdvanced(1_000_000, 0), r.TimeAdvanced(600_000, -2_000_000)
    )

    assert [told[1] for told in market.told] == [
        ArrivalTime(12_500_000, 2_500_000),
        ArrivalTime(13_500_000, 3_500_000),
        ArrivalTime(12_100_000, 4_100_000),
    ]
    assert (playback.mono_ns, playback.wall_ns) == (4_100_000, 12_100_000)


def test_gaps_told_before_are_not_told_again(market: Heard) -> None:
    play(market, r.Restored(*AT, "X", [], 1, 2, True))

    assert [told[0] for told in market.told] == ["restore", "drain"]


def test_what_the_journal_had_lost_is_told_before_the_rest(market: Heard) -> None:
    play(market, r.Restored(*AT, "X", [(9, 1.5)], 8, 9, False, [(2, 8)]))

    assert market.told == [("restore_loss", "X", 2, 8), ("restore", "X", [(9, 1.5)], 8, 9)]


def test_gaps_left_open_are_told_before_the_rest(market: Heard) -> None:
    play(market, r.Restored(*AT, "X", [], 8, 8, False, [], [(2, 5, "chrome gone"), (8, 0, "of a later version")]))

    assert market.told == [
        ("restore_gap", "X", 2, 5, GapReason.CHROME_GONE),
        ("restore_gap", "X", 8, 0, GapReason.DAEMON_DOWN),
        ("restore", "X", [], 8, 8),
    ]


def test_recorded_changes_of_the_focus_give_way_to_a_focus_asked_for(market: Heard) -> None:
    play(market, r.FocusChanged(*AT, Focus(FocusMode.ALL)), keep_focus=True)

    assert market.told == []


@pytest.mark.parametrize("what", ["revised", "sealed"])
def test_what_was_decided_is_taken_before_the_next_record(market: Heard, what: str) -> None:
    taken: list[int] = []
    playback = Playback(market)  # type: ignore[arg-type]
    getattr(market.pending, what)["X"] = []

    def take() -> None:
        taken.append(len(market.told))
        market.pending = MarketUpdate()

    playback.play([r.TimeAdvanced(*AT), r.TimeAdvanced(*AT), r.TimeAdvanced(*AT)], take)

    assert taken == [1]


def test_it_counts_what_it_plays(market: Heard) -> None:
    playback = play(
        market,
        r.SocketOpened(*AT, 1, "", 0),
        r.TextFrame(0, 0, 1, True, "x"),
        r.BinaryFrame(0, 0, 1, True, b""),
        r.RedactedFrame(0, 0, 1, True, True),
        r.SentFrame(0, 0, 1, 1, "x"),
        r.TimeAdvanced(3_000_000, 0),
    )

    played = playback.played
    assert (played.records, played.frames, played.withheld, played.sockets) == (6, 4, 1, 1)
    assert (played.first_ms, played.last_ms) == (12, 15)


@pytest.mark.parametrize("first", [r.TextFrame(*AT, 3, True, "42[]"), r.SentFrame(*AT, 3, 1, "x"), r.TimeAdvanced(*AT)])
def test_a_replay_begins_with_the_first_record_whatever_it_is(market: Heard, first: r.Record) -> None:
    playback = play(market, first, r.TimeAdvanced(1_000_000, 0))

    assert playback.played.first_ms == ARRIVAL.wall_ms
