"""One target of a browser: its address, its state, its sockets."""

from __future__ import annotations

import pytest

from fluxcap.capture.chrome.events import SocketId
from fluxcap.capture.chrome.messages import TargetInfo
from fluxcap.capture.chrome.target import (
    MAX_SOCKETS,
    Attachment,
    SocketTable,
    TabSnapshot,
    Target,
    TargetState,
    origin,
    without_query,
)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://host.test/path?token=1#x", "https://host.test/path"),
        ("wss://user:secret@host.test:8443/socket.io/?sid=1", "wss://host.test:8443/socket.io/"),
        ("https://[::1]:80/", "https://[::1]:80/"),
        ("https://[broken/", ""),
        ("blob:https://host.test/0b1c", "blob:https://host.test"),
        ("data:text/javascript,secret", "data:"),
        ("about:blank", "about:blank"),
        ("", ""),
        ("nonsense", ""),
    ],
)
def test_user_query_and_fragment_are_dropped(url: str, kept: str) -> None:
    assert without_query(url) == kept


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://u@host.test:1/x?y", "https://host.test:1"),
        ("blob:https://host.test/0b1c", "https://host.test"),
        ("data:text/javascript,1", ""),
        ("https://[broken", ""),
        ("", ""),
    ],
)
def test_origin_is_scheme_and_host(url: str, expected: str) -> None:
    assert origin(url) == expected


# --- one target: its state, what holds it, what of it is shown ---


def test_new_target_is_not_attached() -> None:
    target = Target(TargetInfo("T", "page", "https://platform.test/"))

    assert target.state is TargetState.LOST
    assert target.session is None
    assert target.outer_id == ""


def test_worker_is_held_by_the_page_whose_session_brought_it() -> None:
    page, worker = Target(TargetInfo("T", "page")), Target(TargetInfo("W", "worker", parent_id="elsewhere"))
    worker.session = Attachment("S-W", worker, Attachment("S-T", page, None))

    assert worker.outer_id == "T"


def test_frame_is_held_by_the_target_the_browser_names() -> None:
    assert Target(TargetInfo("F", "iframe", parent_id="T")).outer_id == "T"


def test_snapshot_shows_the_state_and_no_query() -> None:
    target = Target(TargetInfo("T", "page", "https://platform.test/x?sid=SECRET", "title"))
    target.set_state(TargetState.SILENT)

    assert target.snapshot() == TabSnapshot("T", "page", "https://platform.test/x", "title", "silent")


# --- the table of a session's open sockets ---


def test_socket_is_open_until_it_ends() -> None:
    table = SocketTable("S")
    table.add("1.1", "wss://host.test/x?token=1")

    assert table.open["1.1"].url == "wss://host.test/x"
    assert table.end("1.1") == SocketId("S", "1.1")
    assert table.end("1.1") is None


def test_ending_all_names_each_in_the_order_of_opening() -> None:
    table = SocketTable("S")
    table.add("2", "")
    table.add("1", "")

    assert table.end_all() == [SocketId("S", "2"), SocketId("S", "1")]
    assert table.end_all() == []


def test_page_that_leaks_sockets_loses_its_oldest() -> None:
    table = SocketTable("S")
    evicted = [old for number in range(MAX_SOCKETS + 2) for old in table.add(str(number), "")[1]]

    assert evicted == [SocketId("S", "0"), SocketId("S", "1")]
    assert len(table.open) == MAX_SOCKETS
