"""On a mirror only a socket of a known address counts."""

from __future__ import annotations

import pytest

from fluxcap.capture.chrome.events import EndReason, SocketId, SocketOpened, TabAttached, TabChanged, TabGone
from fluxcap.capture.platforms.base import PlatformHints
from fluxcap.capture.platforms.pages import UNSEEN_SOCKET, WatchedPages
from fluxcap.capture.platforms.pocketoption import PocketOption

OWN, MIRROR = "https://pocketoption.com/en/cabinet/", "https://po.cash/en/cabinet/"
SOCKET = SocketId("S", "1")


def pages(*attached: tuple[str, str]) -> WatchedPages:
    made = WatchedPages(PlatformHints(PocketOption()))
    for target_id, url in attached:
        made.on_event(TabAttached(target_id, url, "", "page"))
    return made


def opened(target_id: str = "T", url: str = "") -> SocketOpened:
    return SocketOpened(SOCKET, target_id, url)


def test_a_socket_that_was_open_before_the_attach_counts_on_the_platforms_own_page() -> None:
    assert pages(("T", OWN)).socket_url(opened()) == ""


@pytest.mark.parametrize("url", [MIRROR, "blob:https://po.cash"])
def test_it_does_not_on_a_mirror_whose_name_may_have_changed_hands(url: str) -> None:
    assert pages(("T", url)).socket_url(opened()) == UNSEEN_SOCKET
    assert not PocketOption().is_socket(UNSEEN_SOCKET)


def test_a_socket_whose_address_was_seen_keeps_it() -> None:
    assert pages(("T", MIRROR)).socket_url(opened(url="wss://api-eu.po.market/")) == "wss://api-eu.po.market/"


def test_a_worker_without_an_address_may_be_a_mirrors() -> None:
    assert pages(("T", "data:"), ("U", MIRROR)).socket_url(opened()) == UNSEEN_SOCKET
    assert pages(("T", "data:"), ("U", OWN)).socket_url(opened()) == ""


def test_a_tab_is_judged_by_where_it_is_now() -> None:
    watched = pages(("T", MIRROR))
    watched.on_event(TabChanged("T", OWN, ""))
    assert watched.socket_url(opened()) == ""

    watched.on_event(TabGone("T", EndReason.TAB_CLOSED))
    assert watched.url("T") == ""


def test_a_platform_that_tells_nothing_of_its_addresses_has_no_mirrors() -> None:
    hints = PlatformHints()

    assert (hints.is_mirror(MIRROR), hints.resembles_page(MIRROR), hints.account(MIRROR, OWN)) == (False, False, "")
    assert WatchedPages(hints).socket_url(opened()) == ""
