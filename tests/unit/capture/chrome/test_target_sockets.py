"""The table of a session's open sockets."""

from __future__ import annotations

from fluxcap.capture.chrome.events import SocketId
from fluxcap.capture.chrome.target import MAX_SOCKETS, SocketTable


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
