"""The names that leave the process with events."""

from __future__ import annotations

from fluxcap.capture.chrome.events import EndReason, SocketId


def test_reasons_are_stable_words_for_gaps_and_status() -> None:
    assert [reason.value for reason in EndReason] == [
        "closed",
        "frozen",
        "frame_error",
        "navigated",
        "reloaded",
        "tab_closed",
        "crashed",
        "detached",
        "browser_gone",
    ]


def test_sockets_are_told_apart_by_session_and_request() -> None:
    assert len({SocketId("A", "1"), SocketId("B", "1"), SocketId("A", "2"), SocketId("A", "1")}) == 3
