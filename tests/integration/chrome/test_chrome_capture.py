"""Capture from a real Chromium: every kind of target, every way it lets go, and nothing of any other site.

Prints how long each loss took to notice (``pytest -rP``).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fluxcap.capture.chrome.endpoint import active_port, probe
from fluxcap.capture.chrome.events import (
    CommandRecovered,
    CommandRefused,
    CommandTimedOut,
    EndReason,
    FrameReceived,
    Malformed,
    SocketClosed,
    SocketOpened,
    TabAttached,
    TabGone,
)
from fluxcap.capture.chrome.launch import start_chrome
from fluxcap.schemas.errors import ChromeUnavailable
from tests.support.browser.chromium import Chromium, chromium_executable
from tests.support.browser.devtools import Capture, Condition, Remote
from tests.support.browser.pages import Site
from tests.support.patience import PATIENCE_S
from tests.support.ports import lasting_port

pytestmark = pytest.mark.browser

SHORT_NS = 500_000_000
OpenTab = Callable[[str], Remote]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


def start_browser(profile: Path) -> Chromium:
    if chromium_executable() is None:
        pytest.skip("no Chromium on this machine; install chromium or set FLUXCAP_CHROMIUM")
    profile.mkdir(parents=True, exist_ok=True)
    # Without this setting chrome://discards only says that it is switched off.
    (profile / "Local State").write_text('{"internal_only_uis_enabled":true}')
    return Chromium(profile, port=lasting_port())


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """One browser for all tests that leave it as it was; each opens tabs of its own."""
    browser = start_browser(tmp_path_factory.mktemp("capture") / "profile")
    yield browser
    browser.stop()


@pytest.fixture
def own_browser(tmp_path: Path) -> Iterator[Chromium]:
    """A browser to be killed or stopped."""
    browser = start_browser(tmp_path / "profile")
    yield browser
    browser.stop()


@pytest.fixture
def open_tab(browser: Chromium) -> Iterator[OpenTab]:
    """Open tabs, which are closed after the test."""
    opened: list[str] = []

    def open_one(url: str) -> Remote:
        opened.append(str(browser.open(url)["id"]))
        return Remote(browser, opened[-1])

    yield open_one
    alive = {target["id"] for target in browser.targets()}
    for target_id in alive.intersection(opened):
        browser.close_tab(target_id)


@pytest.fixture
def capture(browser: Chromium, site: Site, open_tab: OpenTab) -> Iterator[Capture]:
    capture = Capture(browser, site.is_platform_url)
    yield capture
    capture.close()
    assert not [event for event in capture.events if isinstance(event, Malformed)]


def closed(reason: EndReason) -> Condition:
    return lambda event: isinstance(event, SocketClosed) and event.reason is reason


def gone(target: Remote, reason: EndReason) -> Condition:
    return lambda event: event == TabGone(target.id, reason)


def frame(who: str, host: str = "platform") -> Condition:
    """A frame that this host sent to this page or worker."""
    return lambda event: isinstance(event, FrameReceived) and event.payload.startswith(f"{host} {who} ")


def timed(what: str, action: Callable[[], Any], noticed: Callable[[], Any]) -> None:
    """Do something to the browser and print how long it took until it was noticed."""
    started = time.monotonic()
    action()
    noticed()
    print(f"{what}: noticed within {(time.monotonic() - started) * 1000:.0f} ms")


def numbers(frames: list[FrameReceived]) -> list[int]:
    return [int(one.payload.split()[-1]) for one in frames]


# --- what is captured ------------------------------------------------------------------------------------------------


def test_endpoint_and_port_file_name_the_same_browser(chromium: Callable[..., Chromium]) -> None:
    browser = chromium(port=0)  # one that chooses its port writes the file

    info = probe("127.0.0.1", browser.port, timeout_s=PATIENCE_S)
    written = active_port(browser.profile)

    assert "Chrome/" in info.product
    assert written is not None
    assert info.websocket_url == f"ws://127.0.0.1:{written[0]}{written[1]}"


def test_socket_opened_after_the_attach_is_complete_from_its_first_frame(
    capture: Capture, site: Site, open_tab: OpenTab
) -> None:
    tab = open_tab(site.url("/quiet"))
    capture.until_state(tab.id, "listening")
    tab.wait_for("document.title == 'quiet'")

    tab.evaluate("self.s = new WebSocket('ws://' + location.host + '/ws?who=late'); 1")
    for _ in range(20):
        capture.until(frame("late"))

    [opened] = [e for e in capture.events if isinstance(e, SocketOpened)]
    assert (opened.target_id, opened.url) == (tab.id, f"ws://platform.localhost:{site.port}/ws")
    assert numbers(capture.frames()) == list(range(20))


def test_socket_opened_before_the_attach_is_captured_without_a_gap(
    browser: Chromium, site: Site, open_tab: OpenTab
) -> None:
    open_tab(site.url("/socket")).wait_for("self.s && s.readyState == 1")
    capture = Capture(browser, site.is_platform_url)
    for _ in range(50):
        capture.until(frame("page"))
    capture.close()

    frames = capture.frames()
    seen = numbers(frames)
    assert [e.url for e in capture.events if isinstance(e, SocketOpened)] == [""]
    assert seen == list(range(seen[0], seen[0] + len(seen)))
    assert [f.stamp.mono_ns for f in frames] == sorted(f.stamp.mono_ns for f in frames)


@pytest.mark.parametrize(
    ("path", "who", "kind"),
    [
        ("/worker", "worker", "worker"),
        ("/blob", "blob", "worker"),
        ("/shared", "shared", "shared_worker"),
        ("/service", "service", "service_worker"),
    ],
)
@pytest.mark.parametrize("attach", ["before", "after"])
def test_sockets_of_workers_are_captured(
    browser: Chromium, site: Site, open_tab: OpenTab, path: str, who: str, kind: str, attach: str
) -> None:
    before = set(site.open_sockets)
    tab = open_tab(site.url(path)) if attach == "after" else None
    if tab is not None:
        site.wait_for_socket(besides=before)
    capture = Capture(browser, site.is_platform_url)
    tab = tab or open_tab(site.url(path))

    received = capture.until(frame(who))
    capture.close()
    tab.evaluate(
        "navigator.serviceWorker.getRegistrations().then(all => Promise.all(all.map(one => one.unregister())))"
    )

    assert isinstance(received, FrameReceived)
    assert [e.kind for e in capture.events if isinstance(e, TabAttached) and e.target_id == received.target_id] == [
        kind
    ]


@pytest.mark.parametrize(("path", "who"), [("/socket", "page"), ("/worker", "worker")])
def test_sockets_of_a_frame_of_another_process_are_captured(
    capture: Capture, site: Site, open_tab: OpenTab, path: str, who: str
) -> None:
    open_tab(site.url(f"/frame?src={site.url(path, 'mirror')}"))

    assert capture.until(frame(who, "mirror"))


def test_frame_of_the_platform_in_a_page_of_another_site_is_captured_and_the_page_is_not(
    capture: Capture, site: Site, open_tab: OpenTab
) -> None:
    outer = open_tab(site.url(f"/frame?src={site.url('/socket')}", "bank"))

    capture.until(frame("page"))

    assert outer.id not in json.dumps(capture.said)


# --- what is not -----------------------------------------------------------------------------------------------------


def test_nothing_of_other_sites_is_attached_or_heard(capture: Capture, site: Site, open_tab: OpenTab) -> None:
    for path in ("/socket", "/worker", "/blob", "/shared", "/service"):
        open_tab(site.url(path, "bank"))
    mixed = open_tab(site.url(f"/frame?src={site.url('/worker', 'bank')}"))
    capture.until_state(mixed.id, "listening")
    ours = open_tab(site.url("/worker"))
    for _ in range(100):
        capture.until(frame("worker"))
    ours.navigate(site.url("/socket", "bank"))
    capture.until(gone(ours, EndReason.NAVIGATED))
    open_tab(site.url("/socket"))
    for _ in range(100):
        capture.until(frame("page"))

    platform = {tab.target_id for tab in capture.session.snapshot().tabs} | {ours.id}
    commands = [json.loads(line) for line in capture.said]
    heard = [json.loads(message) for message in capture.heard]
    sessions = {
        m["params"]["sessionId"]: m["params"]["targetInfo"]
        for m in heard
        if m.get("method") == "Target.attachedToTarget"
    }
    assert {c["params"]["targetId"] for c in commands if c["method"] == "Target.attachToTarget"} <= platform
    assert [info["url"] for info in sessions.values() if not site.is_platform_url(info["url"])] == []
    assert {m["sessionId"] for m in heard if "sessionId" in m} <= set(sessions)
    left = {session for session, info in sessions.items() if info["targetId"] == ours.id}
    spoken = [json.loads(m)["sessionId"] for m in capture.heard if b"webSocketFrame" in m and b"bank " in m]
    assert set(spoken) <= left  # what Chrome had sent before it knew that we had let go
    assert not capture.frames("bank")


def test_cookies_of_the_platform_reach_no_event(capture: Capture, site: Site, open_tab: OpenTab) -> None:
    tab = open_tab(site.url("/quiet"))
    capture.until_state(tab.id, "listening")
    tab.navigate(site.url("/socket"))
    capture.until(frame("page"))

    assert any(b"COOKIE-SECRET" in message for message in capture.heard)
    assert "COOKIE-SECRET" not in repr(capture.events)
    assert "COOKIE-SECRET" not in repr(capture.session.snapshot())


# --- every way the browser lets go -----------------------------------------------------------------------------------


@pytest.fixture
def talking(capture: Capture, site: Site, open_tab: OpenTab) -> Remote:
    """A tab of the platform whose socket talks and is captured."""
    tab = open_tab(site.url("/socket"))
    capture.until(frame("page"))
    return tab


def test_reload_ends_the_old_socket_and_the_new_one_follows(capture: Capture, talking: Remote) -> None:
    timed("reload", lambda: talking.call("Page.reload"), lambda: capture.until(closed(EndReason.RELOADED)))

    opened = capture.until(lambda e: isinstance(e, SocketOpened))
    assert isinstance(opened, SocketOpened)
    assert opened.url
    capture.until(frame("page"))


def test_navigation_and_back(capture: Capture, talking: Remote, site: Site) -> None:
    timed(
        "navigation into the back/forward cache",
        lambda: talking.navigate(site.url("/quiet")),
        lambda: capture.until(closed(EndReason.NAVIGATED)),
    )
    talking.back()
    talking.wait_for("location.pathname == '/socket'")
    talking.call("Page.reload")

    capture.until(frame("page"))
    assert [t.state for t in capture.session.snapshot().tabs if t.target_id == talking.id] == ["listening"]


def test_navigation_to_another_site_and_back(capture: Capture, talking: Remote, site: Site) -> None:
    timed(
        "navigation to another site",
        lambda: talking.navigate(site.url("/quiet", "bank")),
        lambda: capture.until(gone(talking, EndReason.NAVIGATED)),
    )
    assert capture.session.snapshot().sockets == ()
    talking.navigate(site.url("/socket"))

    capture.until(frame("page"))


def test_parked_page_ends_the_sockets_of_its_worker_and_its_frame(
    capture: Capture, site: Site, open_tab: OpenTab
) -> None:
    tab = open_tab(site.url(f"/frame?src={site.url('/worker', 'mirror')}"))
    capture.until(frame("worker", "mirror"))

    timed(
        "worker in a frame of a parked page",
        lambda: tab.navigate(site.url("/quiet")),
        lambda: capture.until(closed(EndReason.NAVIGATED)),
    )


def test_socket_closed_by_the_page(capture: Capture, talking: Remote) -> None:
    timed(
        "socket closed by the page",
        lambda: talking.evaluate("s.close()"),
        lambda: capture.until(closed(EndReason.CLOSED)),
    )


def test_socket_closed_by_the_server(capture: Capture, talking: Remote, site: Site) -> None:
    timed("socket closed by the server", site.hang_up, lambda: capture.until(closed(EndReason.CLOSED)))


def test_tab_closed(capture: Capture, talking: Remote, browser: Chromium) -> None:
    timed(
        "tab closed", lambda: browser.close_tab(talking.id), lambda: capture.until(gone(talking, EndReason.TAB_CLOSED))
    )
    assert capture.session.snapshot().sockets == ()


def test_crash_and_reload(capture: Capture, talking: Remote) -> None:
    timed("renderer crash", talking.crash, lambda: capture.until(gone(talking, EndReason.CRASHED)))
    assert closed(EndReason.CRASHED)(next(e for e in reversed(capture.events) if isinstance(e, SocketClosed)))
    talking.call("Page.reload")

    capture.until(lambda e: isinstance(e, TabAttached) and e.target_id == talking.id)
    capture.until(frame("page"))


def test_frozen_tab(capture: Capture, talking: Remote) -> None:
    with contextlib.ExitStack() as frozen:
        timed(
            "tab frozen",
            lambda: frozen.enter_context(talking.frozen()),
            lambda: capture.until(closed(EndReason.FROZEN)),
        )
    talking.call("Page.reload")

    capture.until(frame("page"))


def test_discarded_tab_hangs_until_it_is_activated(browser: Chromium, site: Site, open_tab: OpenTab) -> None:
    tab = open_tab(site.url("/socket"))
    discards = open_tab("chrome://discards/")  # a page in front, so that the other may be discarded
    capture = Capture(browser, site.is_platform_url, timeout_ns=SHORT_NS)
    capture.until(frame("page"))

    timed(
        "tab discarded",
        lambda: discard(discards, site.url("/socket")),
        lambda: capture.until(gone(tab, EndReason.TAB_CLOSED)),
    )
    silent = capture.until(lambda e: isinstance(e, CommandTimedOut) and e.method == "Network.enable")
    assert isinstance(silent, CommandTimedOut)
    assert silent.target_id != tab.id
    capture.until_state(silent.target_id, "silent")
    Remote(browser, discards.id).call("Target.activateTarget", targetId=silent.target_id)

    capture.until(lambda e: isinstance(e, TabAttached) and e.target_id == silent.target_id)
    capture.until(frame("page"))
    capture.close()
    browser.close_tab(silent.target_id)


def discard(discards: Remote, url: str) -> None:
    """Discard a tab as Chrome does when memory is short."""
    discards.wait_for("location.href == 'chrome://discards/'")
    discards.evaluate(
        "import('chrome://discards/discards.mojom-webui.js').then(async module => {"
        "  const remote = module.DetailsProvider.getRemote();"
        "  const {infos} = await remote.getTabDiscardsInfo();"
        f"  const tab = infos.find(info => info.tabUrl == {json.dumps(url)});"
        "  await remote.discardById(tab.id, 0);"
        "})"
    )


def test_busy_page_is_noticed_by_the_probe_and_loses_nothing(browser: Chromium, site: Site, open_tab: OpenTab) -> None:
    tab = open_tab(site.url("/socket"))
    capture = Capture(browser, site.is_platform_url, timeout_ns=SHORT_NS)
    capture.until(frame("page"))
    tab.evaluate("setTimeout(() => { const end = Date.now() + 3000; while (Date.now() < end); }); 1")

    capture.until(lambda e: e == CommandTimedOut("Runtime.getIsolateId", tab.id), probing=True)
    capture.until(lambda e: e == CommandRecovered("Runtime.getIsolateId", tab.id))
    for _ in range(5):
        capture.until(frame("page"))
    capture.close()

    seen = numbers(capture.frames())
    assert seen == list(range(seen[0], seen[0] + len(seen)))


def test_killed_browser_ends_everything_and_a_new_one_on_the_same_port_is_found(
    own_browser: Chromium, site: Site
) -> None:
    own_browser.open(site.url("/socket"))
    capture = Capture(own_browser, site.is_platform_url)
    capture.until(frame("page"))

    timed("browser killed", own_browser.kill, lambda: capture.until(closed(EndReason.BROWSER_GONE)))
    assert capture.end_reason
    with pytest.raises(ChromeUnavailable, match="Nothing answers"):
        probe("127.0.0.1", own_browser.port, timeout_s=PATIENCE_S)
    capture.close()

    own_browser.start()
    own_browser.open(site.url("/socket"))
    again = Capture(own_browser, site.is_platform_url)
    again.until(frame("page"))
    again.close()


def test_killed_renderers_are_crashes(own_browser: Chromium, site: Site) -> None:
    target_id = str(own_browser.open(site.url("/socket"))["id"])
    capture = Capture(own_browser, site.is_platform_url)
    capture.until(frame("page"))

    timed(
        "renderer killed",
        lambda: kill_renderers(own_browser),
        lambda: capture.until(lambda e: e == TabGone(target_id, EndReason.CRASHED)),
    )
    Remote(own_browser, target_id).call("Page.reload")
    capture.until(frame("page"))
    capture.close()


def test_tab_that_had_crashed_before_the_attach_is_heard_as_soon_as_it_is_reloaded(
    own_browser: Chromium, site: Site
) -> None:
    target_id = str(own_browser.open(site.url("/socket"))["id"])
    before = Capture(own_browser, site.is_platform_url)
    before.until(frame("page"))
    Remote(own_browser, target_id).crash()
    before.until(lambda e: e == TabGone(target_id, EndReason.CRASHED))
    before.close()

    capture = Capture(own_browser, site.is_platform_url)
    capture.until_answered("Target.setAutoAttach")  # the commands before it wait for the reload
    Remote(own_browser, target_id).call("Page.reload")

    capture.until(frame("page"))
    assert any(isinstance(e, CommandRefused) for e in capture.events)
    capture.close()


def living_processes(group: int) -> list[int]:
    """PIDs of a process group. The dead that wait for init to collect them do not count."""
    living = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):  # ended while we looked
            state, _parent, its_group = entry.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state not in "ZX":
                living.append(int(entry.parent.name))
    return living


def kill_renderers(browser: Chromium) -> None:
    for pid in browser.group_processes():
        if b"--type=renderer" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)


def test_stopped_browser_is_noticed_by_the_probe_and_everything_arrives_after_it(
    own_browser: Chromium, site: Site
) -> None:
    own_browser.open(site.url("/socket"))
    capture = Capture(own_browser, site.is_platform_url, timeout_ns=SHORT_NS)
    capture.until(frame("page"))

    def stop() -> None:
        os.killpg(own_browser.process.pid, signal.SIGSTOP)
        capture.session.probe(time.monotonic_ns())

    timed("browser stopped", stop, lambda: capture.until(lambda e: e == CommandTimedOut("Browser.getVersion", "")))
    os.killpg(own_browser.process.pid, signal.SIGCONT)
    capture.until(lambda e: e == CommandRecovered("Browser.getVersion", ""))
    for _ in range(20):
        capture.until(frame("page"))
    capture.close()

    seen = numbers(capture.frames())
    assert seen == list(range(seen[0], seen[0] + len(seen)))


def test_chrome_that_we_start_answers_and_is_ended_with_all_it_started(tmp_path: Path) -> None:
    executable = chromium_executable()
    if executable is None:
        pytest.skip("no Chromium on this machine; install chromium or set FLUXCAP_CHROMIUM")

    with start_chrome(
        0, tmp_path / "profile", headless=True, executable=Path(executable), timeout_s=PATIENCE_S
    ) as chrome:
        assert probe("127.0.0.1", chrome.port, timeout_s=PATIENCE_S) == chrome.info
        assert chrome.running
        with pytest.raises(ChromeUnavailable, match=f"already answers on port {chrome.port}"):
            start_chrome(chrome.port, tmp_path / "other", executable=Path(executable))

    assert not chrome.running
    deadline = time.monotonic() + PATIENCE_S
    while alive := living_processes(chrome.pid):
        assert time.monotonic() < deadline, f"still alive: {alive}"
        time.sleep(0.02)


def test_chrome_restarts_on_a_profile_whose_port_file_is_stale(tmp_path: Path) -> None:
    executable = chromium_executable()
    if executable is None:
        pytest.skip("no Chromium on this machine; install chromium or set FLUXCAP_CHROMIUM")
    (tmp_path / "DevToolsActivePort").write_text("1\n/devtools/browser/stale")

    with start_chrome(0, tmp_path, headless=True, executable=Path(executable), timeout_s=PATIENCE_S) as chrome:
        assert chrome.port != 1


def test_chrome_starts_on_the_port_it_is_given(tmp_path: Path) -> None:
    executable = chromium_executable()
    if executable is None:
        pytest.skip("no Chromium on this machine; install chromium or set FLUXCAP_CHROMIUM")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])

    with start_chrome(port, tmp_path, headless=True, executable=Path(executable), timeout_s=PATIENCE_S) as chrome:
        assert chrome.port == port
        assert probe("127.0.0.1", port, timeout_s=PATIENCE_S) == chrome.info
