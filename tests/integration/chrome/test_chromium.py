"""The browser fixture keeps what it promises, since every browser test stands on it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.browser.chromium import Chromium
from tests.support.ports import lasting_port

pytestmark = pytest.mark.browser


def test_a_killed_browser_comes_back_on_the_same_port(chromium: Callable[..., Chromium]) -> None:
    browser = chromium(port=lasting_port())
    port = browser.port
    browser.kill()
    with pytest.raises(ConnectionRefusedError):
        browser.version()

    browser.restart()

    assert browser.port == port
    assert browser.version()["webSocketDebuggerUrl"].startswith(f"ws://127.0.0.1:{port}/")


def test_stopping_leaves_no_process_of_the_group(chromium: Callable[..., Chromium]) -> None:
    browser = chromium()
    tab = browser.open("data:text/html,<title>hello</title>")
    assert tab["id"] in {target["id"] for target in browser.targets()}
    assert len(browser.group_processes()) > 1

    browser.stop()

    assert not browser.running
    assert browser.group_processes() == []
