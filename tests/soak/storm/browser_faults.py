"""Every way a browser lets go of the page, and every way it comes back."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from tests.soak.storm.fault import PAGE, SILENT, Make, StormFault, feed, logged
from tests.soak.storm.rig import StormRig, Told, stopped
from tests.support.browser.devtools import Remote, discard


@contextmanager
def reloaded(rig: StormRig, _draw: Random) -> Iterator[None]:
    rig.tab.call("Page.reload")
    yield


def away(elsewhere: str) -> Make:
    @contextmanager
    def make(rig: StormRig, _draw: Random) -> Iterator[None]:
        rig.tab.navigate(elsewhere or f"{rig.site.url}control/state")
        yield
        rig.tab.back()

    return make


@contextmanager
def tab_closed(rig: StormRig, _draw: Random) -> Iterator[None]:
    rig.browser.close_tab(rig.tab.id)
    yield
    rig.tab = rig.open_tab()


@contextmanager
def tab_crashed(rig: StormRig, _draw: Random) -> Iterator[None]:
    rig.tab.crash()
    yield
    rig.tab.call("Page.reload")


@contextmanager
def renderer_killed(rig: StormRig, _draw: Random) -> Iterator[None]:
    for pid in rig.browser.group_processes():
        with contextlib.suppress(OSError):
            if b"--type=renderer" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
    yield
    rig.tab.call("Page.reload")


@contextmanager
def tab_frozen(rig: StormRig, _draw: Random) -> Iterator[None]:
    with rig.tab.frozen():
        yield
    rig.tab.call("Page.reload")


@contextmanager
def tab_discarded(rig: StormRig, _draw: Random) -> Iterator[None]:
    discards = Remote(rig.browser, str(rig.browser.open("chrome://discards/")["id"]))
    discard(discards, rig.site.url)
    yield
    tab = next(target for target in rig.browser.targets() if target["url"] == rig.site.url)
    rig.tab = Remote(rig.browser, tab["id"])
    discards.call("Target.activateTarget", targetId=rig.tab.id)  # the trader comes back to it
    rig.browser.close_tab(discards.id)


@contextmanager
def page_busy(rig: StormRig, _draw: Random) -> Iterator[None]:
    rig.tab.evaluate("setTimeout(() => { const end = Date.now() + 7000; while (Date.now() < end); }); 1")
    yield
    rig.tab.evaluate("1")


@contextmanager
def second_tab(rig: StormRig, _draw: Random) -> Iterator[None]:
    tab = rig.open_tab()
    yield
    rig.browser.close_tab(tab.id)


@contextmanager
def chrome_stopped(rig: StormRig, _draw: Random) -> Iterator[None]:
    with stopped(rig.browser.process.pid, group=True):
        yield


@contextmanager
def chrome_killed(rig: StormRig, _draw: Random) -> Iterator[None]:
    rig.browser.kill()
    yield
    rig.browser.port = rig.home_port
    rig.browser.start()
    rig.tab = rig.open_tab()


@contextmanager
def chrome_moved(rig: StormRig, _draw: Random) -> Iterator[None]:
    """Killed, and back on another port: the profile's DevToolsActivePort tells which."""
    old_port = rig.browser.port
    rig.browser.kill()
    yield
    with socket.create_server(("127.0.0.1", old_port)):  # somebody else has it now
        rig.browser.port = 0
        rig.browser.start()
        rig.tab = rig.open_tab()


def chrome_lost(rig: StormRig) -> Told:
    return rig.status_tells(lambda status: status["chrome"] == "not reachable")


BROWSER_FAULTS = (
    StormFault("page reloaded", PAGE, reloaded, ("page reloaded",), logged("socket.closed", "reloaded")),
    StormFault(
        "page left for another site",
        PAGE,
        away("about:blank"),
        ("navigated away",),
        logged("socket.closed", "navigated"),
    ),
    StormFault(
        "page left for another of the site",
        PAGE,
        away(""),
        ("navigated away",),
        logged("socket.closed", "navigated"),
    ),
    StormFault("tab closed", PAGE, tab_closed, ("tab closed",), logged("target.detached", "tab_closed")),
    StormFault("tab crashed", PAGE, tab_crashed, ("tab crashed",), logged("target.detached", "crashed")),
    StormFault("renderer killed", PAGE, renderer_killed, ("tab crashed",), logged("target.detached", "crashed")),
    StormFault(
        "tab frozen",
        PAGE,
        tab_frozen,
        ("tab frozen", "page reloaded"),
        logged("socket.closed", "frozen"),
    ),
    StormFault("tab discarded", PAGE, tab_discarded, ("tab closed",), logged("target.detached", "tab_closed")),
    StormFault("page too busy to answer", PAGE, page_busy, (SILENT,), feed("stalled"), (6, 7)),
    StormFault("second tab comes and goes", PAGE, second_tab, (), None, (2, 4)),
    StormFault("Chrome stopped and going on", PAGE, chrome_stopped, (SILENT,), feed("stalled"), (6, 8)),
    StormFault("Chrome killed, back on its port", PAGE, chrome_killed, ("chrome gone",), chrome_lost, (0.5, 3)),
    StormFault("Chrome killed, back on another port", PAGE, chrome_moved, ("chrome gone",), chrome_lost, (0.5, 3)),
)
