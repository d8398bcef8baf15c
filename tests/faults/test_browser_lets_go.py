"""Every way a browser lets go, on a real Chromium: exact candles, or a truthful flag and gap, and told in time.

One daemon and one browser go through all of it, one trouble after the other, as on a long day; each is judged against
the site's truth when candles come again, and all of it once more at the end. How long it took until each was told is
printed (``pytest -rP``): on a machine that is free at most a second where Chrome says something, five and a poll where
nothing does. That it takes no longer is a rule of virtual time (``tests/unit/capture/chrome/test_session.py``,
``tests/unit/capture/market/test_feeds.py``); here a busy machine may take as long as it likes.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fluxcap.bridge.store.verify import verify
from fluxcap.capture.simulator import Fault
from tests.support.browser.devtools import Remote, discard
from tests.support.daemon.fault_rig import WITH_HISTORY, WITHOUT_HISTORY, FaultRig, make_rig
from tests.support.patience import await_that

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HEAP_SAMPLE = 20_000
HEAP_WALK_S = 11.0
"""How long walking the heap is to keep the page: commands time out after 5 s."""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultRig]:
    with ExitStack() as stack:
        yield make_rig(tmp_path_factory.mktemp("lets-go"), stack)


def resume(rig: FaultRig, tab: Remote | None = None) -> None:
    """The trader reloads the page."""
    (tab or rig.tab).call("Page.reload")


# --- what Chrome tells -----------------------------------------------------------------------------------------------


def test_reload(rig: FaultRig):
    with rig.trouble("page reloaded"):
        begin_s = time.time()
        resume(rig)
        rig.noticed("reload", begin_s, rig.log_tells("socket.closed", reason="reloaded"))

    assert rig.missing(WITH_HISTORY, begin_s * 1_000) == []


@pytest.mark.parametrize("where", ["another site", "another page of the platform"])
def test_navigated_away_and_back(rig: FaultRig, where: str):
    """The page that was left parks in the back/forward cache, its socket open and silent."""
    with rig.trouble("navigated away"):
        begin_s = time.time()
        rig.tab.navigate("about:blank" if where == "another site" else f"{rig.site.url}control/state")
        rig.noticed(f"navigation to {where}", begin_s, rig.log_tells("socket.closed", reason="navigated"))
        rig.noticed(f"navigation to {where}, in the feed", begin_s, rig.feed_tells("no_socket"))
        time.sleep(1.5)
        rig.tab.back()

    assert rig.missing(WITH_HISTORY, begin_s * 1_000) == []


def test_tab_closed_and_reopened(rig: FaultRig):
    with rig.trouble("tab closed"):
        begin_s = time.time()
        rig.browser.close_tab(rig.tab.id)
        rig.noticed("tab closed", begin_s, rig.log_tells("target.detached", reason="tab_closed"))
        time.sleep(1.5)
        rig.tab = rig.open_tab()

    assert rig.missing(WITH_HISTORY, begin_s * 1_000) == []


def test_tab_crashed(rig: FaultRig):
    with rig.trouble("tab crashed"):
        begin_s = time.time()
        rig.tab.crash()
        rig.noticed("tab crashed", begin_s, rig.log_tells("target.detached", reason="crashed"))
        resume(rig)

    assert rig.missing(WITH_HISTORY, begin_s * 1_000) == []


def test_renderer_killed(rig: FaultRig):
    with rig.trouble("tab crashed"):
        begin_s = time.time()
        for pid in rig.browser.group_processes():
            if b"--type=renderer" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
        rig.noticed("renderer killed", begin_s, rig.log_tells("target.detached", reason="crashed"))
        resume(rig)


def test_tab_frozen(rig: FaultRig):
    with rig.trouble("tab frozen", "page reloaded", "socket closed"):  # the site may give up a page that is silent
        begin_s = time.time()
        with rig.tab.frozen():
            rig.noticed("tab frozen", begin_s, rig.log_tells("socket.closed", reason="frozen"))
            time.sleep(1.5)
        resume(rig)

    assert rig.missing(WITH_HISTORY, begin_s * 1_000) == []


def test_tab_discarded(rig: FaultRig):
    discards = Remote(rig.browser, str(rig.browser.open("chrome://discards/")["id"]))
    with rig.trouble("tab closed"):
        begin_s = time.time()
        discard(discards, rig.site.url)
        rig.noticed("tab discarded", begin_s, rig.log_tells("target.detached", reason="tab_closed"))
        tab = next(target for target in rig.browser.targets() if target["url"] == rig.site.url)
        rig.tab = Remote(rig.browser, tab["id"])
        discards.call("Target.activateTarget", targetId=rig.tab.id)  # the trader comes back to it
    rig.browser.close_tab(discards.id)

    assert rig.missing(WITH_HISTORY, begin_s * 1_000) == []


@pytest.mark.parametrize("abrupt", [False, True])
def test_socket_closed_by_the_server(rig: FaultRig, abrupt: bool):
    with rig.trouble("socket closed", "socket broken"):
        begin_s = time.time()
        rig.site.inject(Fault.CLOSE_SOCKETS, abrupt=abrupt)
        name = f"socket closed by the server{' without a word' if abrupt else ''}"
        # On a busy machine Chrome may meet the broken connection before it hears of the close: "frame_error".
        rig.noticed(name, begin_s, rig.log_tells("socket.closed"))

    assert rig.missing(WITH_HISTORY, begin_s * 1_000) == []


def test_two_tabs_are_counted_once_and_one_of_them_may_go(rig: FaultRig):
    begin_ms = time.time() * 1_000
    second = rig.open_tab()
    await_that(lambda: len(rig.site.state()["market_sockets"]) == 2, "the second tab's socket")
    with rig.trouble():  # no reason: not even a gap
        rig.await_candles(time.time() * 1_000)
        rig.browser.close_tab(second.id)

    assert rig.missing(WITH_HISTORY, begin_ms) == rig.missing(WITHOUT_HISTORY, begin_ms) == []


# --- what nothing tells ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pings", [False, True])
def test_socket_that_says_nothing(rig: FaultRig, pings: bool):
    """With pings it is the server behind the socket that hangs, without them the way to it."""
    resume_after_silence = rig.status()["server_time_ms"]
    with rig.trouble("socket silent"):
        begin_s = time.time()
        rig.site.inject(Fault.SILENCE, pings=not pings)
        rig.noticed(f"socket silent{' but for pings' if pings else ''}", begin_s, rig.feed_tells("stalled"))
        rig.site.end(Fault.SILENCE)

    assert rig.missing(WITHOUT_HISTORY, resume_after_silence)


def test_busy_page_costs_nothing(rig: FaultRig):
    begin_s = time.time()
    with rig.trouble("socket silent"), rig.tab.busy():
        rig.noticed("page too busy to answer", begin_s, rig.feed_tells("stalled"))

    assert rig.missing(WITHOUT_HISTORY, begin_s * 1_000) == []
    assert rig.gaps_since(begin_s * 1_000) == [], "in-order delivery proved that nothing was missed"


def test_huge_heap_that_keeps_the_page_from_answering(rig: FaultRig):
    """A snapshot walks the whole heap in the page's own thread, as every query over it does."""
    fill_heap(rig.tab, HEAP_SAMPLE)
    sample_s = snapshot_s(rig.tab)
    rig.await_candles(time.time() * 1_000)
    fill_heap(rig.tab, min(int(HEAP_SAMPLE * HEAP_WALK_S / sample_s), 20 * HEAP_SAMPLE))
    rig.tab.evaluate(WATCH_PAUSES)
    begin_s = time.time()
    with rig.trouble("socket silent", "socket closed", "socket broken"):  # too long, and the server gives up on it
        snapshot_s(rig.tab)
    walk_s = float(rig.tab.evaluate("clearInterval(self.pauses); delete self.heap; self.longest")) / 1_000

    silent = rig.log_tells("chrome.command_timeout")(begin_s)
    told = f"told after {silent - begin_s:.1f} s" if silent else "not told, it was too short"
    print(f"walking the heap kept the page for {walk_s:.1f} s: {told}")
    assert silent or walk_s < 30, "a command has 5 s, one is sent every 2 s; a busy machine looks late"
    if not {gap.reason for gap in rig.gaps_since(begin_s * 1_000)} - {"socket silent"}:
        assert rig.missing(WITHOUT_HISTORY, begin_s * 1_000) == []


WATCH_PAUSES = """self.longest = 0; let last = performance.now();
self.pauses = setInterval(() => {
    const now = performance.now(); self.longest = Math.max(self.longest, now - last); last = now; }, 50); 1"""
"""Sending the snapshot takes long as well, but the page goes on meanwhile: so it measures itself how long it stood."""


def fill_heap(tab: Remote, objects: int) -> None:
    tab.evaluate(f"self.heap = Array.from({{length: {objects}}}, (_, i) => ({{i, n: {{i}}}})); 1")


def snapshot_s(tab: Remote) -> float:
    """How long a snapshot of the heap took, seconds."""
    begin_s = time.monotonic()
    tab.call("HeapProfiler.takeHeapSnapshot", reportProgress=False)
    return time.monotonic() - begin_s


def test_chrome_stopped_as_a_whole_and_going_on(rig: FaultRig):
    """As a machine asleep, or swapping: everything arrives later."""
    begin_s = time.time()
    with rig.trouble("socket silent"):
        os.killpg(rig.browser.process.pid, signal.SIGSTOP)
        try:
            rig.noticed("chrome stopped", begin_s, rig.feed_tells("stalled"))
        finally:
            os.killpg(rig.browser.process.pid, signal.SIGCONT)

    assert rig.missing(WITHOUT_HISTORY, begin_s * 1_000) == []


def test_daemon_stopped_and_going_on(rig: FaultRig):
    begin_s = time.time()
    with rig.trouble():  # no reason: Chrome keeps what came meanwhile
        os.kill(rig.daemon.pid, signal.SIGSTOP)
        time.sleep(8)
        os.kill(rig.daemon.pid, signal.SIGCONT)

    assert rig.missing(WITHOUT_HISTORY, begin_s * 1_000) == []
    assert rig.missing(WITH_HISTORY, begin_s * 1_000) == []


def test_both_asleep(rig: FaultRig):
    """The whole machine, but for the site."""
    begin_s = time.time()
    with rig.trouble("socket silent"):
        os.killpg(rig.browser.process.pid, signal.SIGSTOP)
        os.kill(rig.daemon.pid, signal.SIGSTOP)
        time.sleep(6)
        os.kill(rig.daemon.pid, signal.SIGCONT)
        os.killpg(rig.browser.process.pid, signal.SIGCONT)

    assert rig.missing(WITHOUT_HISTORY, begin_s * 1_000) == []


# --- the browser itself ----------------------------------------------------------------------------------------------


def test_browser_killed_and_back_on_the_same_port(rig: FaultRig):
    with rig.trouble("chrome gone"):
        begin_s = time.time()
        rig.browser.kill()
        rig.noticed("browser killed", begin_s, rig.log_tells("chrome.lost"))
        start_s = time.time()  # not after the start: the daemon may be the first to find the browser
        rig.browser.start()
        rig.noticed("browser back on the same port", start_s, rig.log_tells("chrome.attached"))
        rig.tab = rig.open_tab()

    assert rig.missing(WITH_HISTORY, begin_s * 1_000) == []


def test_browser_killed_and_back_on_another_port(rig: FaultRig):
    """The profile's DevToolsActivePort tells which."""
    with rig.trouble("chrome gone"):
        begin_s, old_port = time.time(), rig.browser.port
        rig.browser.kill()
        rig.noticed("browser killed", begin_s, rig.log_tells("chrome.lost"))
        with socket.create_server(("127.0.0.1", old_port)):  # somebody else has it now
            rig.browser.port = 0
            start_s = time.time()
            rig.browser.start()
            assert rig.browser.port != old_port
            rig.noticed("browser back on another port", start_s, rig.log_tells("chrome.attached"))
            rig.tab = rig.open_tab()

    assert rig.missing(WITH_HISTORY, begin_s * 1_000) == []


# --- all of it -------------------------------------------------------------------------------------------------------


def test_at_the_end_of_the_day_every_candle_is_true_and_the_store_is_sound(rig: FaultRig):
    rig.judge()

    code, _seconds = rig.daemon.end()
    assert code == 0
    assert verify(rig.daemon.data_dir / "fluxcap.duckdb") == []
    events = rig.daemon.events()
    assert {event["level"] for event in events} <= {"info", "warning"}
    for what, seconds in rig.measured:
        print(f"| {what} | {seconds * 1_000:.0f} ms |")
