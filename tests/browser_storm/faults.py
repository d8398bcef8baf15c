"""Every fault of the storm: how it is made and mended, what it may be called by, and who must tell of it.

A fault is a context manager: it is there within, and mended when it is left. ``PAGE`` faults are of site and browser,
``HOUSE`` faults of daemon, clients, wire and disk; one of each kind may happen at the same time.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from random import Random
from typing import TypeAlias

import msgspec

from bridge.devserver.faults import Faults
from capture.simulator import Fault as SiteFault
from tests.browser_storm.rig import FAR, MORTAL, NEAR, SLOW, Lane, StormRig, Told, stopped
from tests.devtools import Remote, discard
from tests.fault_rig import FOCUS

PAGE, HOUSE = "page", "house"
Make: TypeAlias = Callable[[StormRig, Random], AbstractContextManager[object]]
Teller: TypeAlias = Callable[[StormRig], Told]

DOWN = "fluxcap was not running"


class StormFault(msgspec.Struct, frozen=True):
    """``reasons``: what a gap may be told for it. ``told``: where the first word of it is looked for. ``hold_s``: how
    long it lasts. ``alone``: never together with another."""

    name: str
    side: str
    make: Make
    reasons: tuple[str, ...] = ()
    told: Teller | None = None
    hold_s: tuple[float, float] = (0.5, 2.0)
    alone: bool = False


def logged(event: str, **fields: str) -> Teller:
    return lambda rig: rig.log_tells(event, **fields)


def feed(state: str) -> Teller:
    return lambda rig: rig.feed_tells(state)


def client(name: str, *states: str) -> Teller:
    return lambda rig: rig.clients[name].tells(rig.lanes[0], *states)


# --- the site ---------------------------------------------------------------------------------------------------------


def on_site(fault: SiteFault, **settings: object) -> Make:
    @contextmanager
    def make(rig: StormRig, _draw: Random) -> Iterator[None]:
        rig.site.inject(fault, **settings)
        yield
        rig.site.end(fault)

    return make


@contextmanager
def one_asset_quiet(rig: StormRig, draw: Random) -> Iterator[None]:
    rig.site.inject(SiteFault.QUIET_MARKET, symbols=(draw.choice(FOCUS),))
    yield
    rig.site.end(SiteFault.QUIET_MARKET)


@contextmanager
def refused(rig: StormRig, _draw: Random) -> Iterator[None]:
    rig.site.inject(SiteFault.REFUSE)
    rig.site.inject(SiteFault.CLOSE_SOCKETS)
    yield
    rig.site.end(SiteFault.REFUSE)


@contextmanager
def site_down(rig: StormRig, _draw: Random) -> Iterator[None]:
    rig.site.stop()
    yield
    rig.site.start()


SILENT = "socket silent"
SITE = (
    StormFault(
        "socket closed by the server",
        PAGE,
        on_site(SiteFault.CLOSE_SOCKETS),
        ("socket closed",),
        logged("socket ended", reason="closed"),
    ),
    StormFault(
        "socket closed without a word",
        PAGE,
        on_site(SiteFault.CLOSE_SOCKETS, abrupt=True),
        ("socket closed",),
        logged("socket ended", reason="closed"),
    ),
    StormFault("socket silent", PAGE, on_site(SiteFault.SILENCE, pings=True), (SILENT,), feed("stalled"), (6, 9)),
    StormFault("socket silent but for pings", PAGE, on_site(SiteFault.SILENCE), (SILENT,), feed("stalled"), (6, 9)),
    StormFault("sockets refused", PAGE, refused, ("socket closed",), logged("socket ended", reason="closed"), (2, 6)),
    StormFault("site down", PAGE, site_down, ("socket closed",), logged("socket ended", reason="closed"), (2, 6)),
    StormFault("ticks held back, then a burst", PAGE, on_site(SiteFault.BACKLOG), (SILENT,), None, (2, 8)),
    StormFault("ticks with jitter", PAGE, on_site(SiteFault.JITTER, extra_ms=600), (), None, (2, 6)),
    StormFault("ticks twice", PAGE, on_site(SiteFault.DUPLICATES, share=0.5), (), None, (2, 6)),
    StormFault("ticks late and out of order", PAGE, on_site(SiteFault.LATE_TICKS), (), None, (2, 6), alone=True),
    StormFault("garbage", PAGE, on_site(SiteFault.GARBAGE, seconds=3.0), (), None, (3, 4)),
    StormFault("quiet market, one asset", PAGE, one_asset_quiet, (), None, (2, 8)),
    StormFault("quiet market", PAGE, on_site(SiteFault.QUIET_MARKET), (SILENT,), None, (2, 8)),
    StormFault(
        "platform's clock steps",
        PAGE,
        on_site(SiteFault.CLOCK_STEP, offset_s=3_600),
        ("platform clock changed", SILENT),
        None,
        (14, 16),
        alone=True,
    ),
)


# --- the browser ------------------------------------------------------------------------------------------------------


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


BROWSER = (
    StormFault("page reloaded", PAGE, reloaded, ("page reloaded",), logged("socket ended", reason="reloaded")),
    StormFault(
        "page left for another site",
        PAGE,
        away("about:blank"),
        ("navigated away",),
        logged("socket ended", reason="navigated"),
    ),
    StormFault(
        "page left for another of the site",
        PAGE,
        away(""),
        ("navigated away",),
        logged("socket ended", reason="navigated"),
    ),
    StormFault("tab closed", PAGE, tab_closed, ("tab closed",), logged("tab gone", reason="tab_closed")),
    StormFault("tab crashed", PAGE, tab_crashed, ("tab crashed",), logged("tab gone", reason="crashed")),
    StormFault("renderer killed", PAGE, renderer_killed, ("tab crashed",), logged("tab gone", reason="crashed")),
    StormFault(
        "tab frozen",
        PAGE,
        tab_frozen,
        ("tab frozen", "page reloaded"),
        logged("socket ended", reason="frozen"),
    ),
    StormFault("tab discarded", PAGE, tab_discarded, ("tab closed",), logged("tab gone", reason="tab_closed")),
    StormFault("page too busy to answer", PAGE, page_busy, (SILENT,), feed("stalled"), (6, 7)),
    StormFault("second tab comes and goes", PAGE, second_tab, (), None, (2, 4)),
    StormFault("Chrome stopped and going on", PAGE, chrome_stopped, (SILENT,), feed("stalled"), (6, 8)),
    StormFault("Chrome killed, back on its port", PAGE, chrome_killed, ("chrome gone",), chrome_lost, (0.5, 3)),
    StormFault("Chrome killed, back on another port", PAGE, chrome_moved, ("chrome gone",), chrome_lost, (0.5, 3)),
)


# --- daemon, clients, wire, disk --------------------------------------------------------------------------------------


def _lane(rig: StormRig, draw: Random) -> Lane:
    return draw.choice(rig.lanes[:-1] if rig.veteran and len(rig.lanes) > 1 else rig.lanes)


def daemon_ended(how: signal.Signals, *, first: bool = False, torn: bool = False) -> Make:
    @contextmanager
    def make(rig: StormRig, draw: Random) -> Iterator[None]:
        lane = rig.lanes[0] if first else _lane(rig, draw)
        lane.daemon.end(how)
        if torn:
            lane.tear_journal(draw)
        yield
        rig.start(lane)

    return make


@contextmanager
def daemon_killed_in_its_start(rig: StormRig, draw: Random) -> Iterator[None]:
    """Twice killed: the second time while it starts, attaches or measures the clock."""
    lane = rig.lanes[0]
    lane.kill()
    yield
    rig.start(lane)
    time.sleep(draw.uniform(0, 4))
    lane.kill()
    rig.start(lane)


@contextmanager
def daemon_stopped(rig: StormRig, _draw: Random) -> Iterator[None]:
    with stopped(rig.lanes[0].daemon.pid):
        yield


def client_killed(name: str) -> Make:
    @contextmanager
    def make(rig: StormRig, _draw: Random) -> Iterator[None]:
        lives = rig.clients[name]
        lives.process.end(signal.SIGKILL)
        yield
        lives.start()

    return make


@contextmanager
def client_stopped(rig: StormRig, _draw: Random) -> Iterator[None]:
    with stopped(rig.clients[SLOW].process.pid):
        yield


MILD = {
    "drop_percent": (5, 30, 80),
    "skip_every": (2, 5),
    "jitter_ms": (5, 60),
    "reorder_percent": (10, 50),
    "duplicate_percent": (10, 60),
    "garbage_percent": (5, 30),
    "answer_delay_ms": (20, 150),
    "answer_fail_percent": (30, 100),
}


@contextmanager
def wire_faults(rig: StormRig, faults: Faults) -> Iterator[None]:
    for lane in rig.lanes:
        lane.wire.set(faults)
    yield
    for lane in rig.lanes:
        lane.wire.set(Faults())


def bad_wire(rig: StormRig, draw: Random) -> AbstractContextManager[None]:
    names = draw.sample(sorted(MILD), draw.randint(2, 5))
    return wire_faults(rig, Faults(**{name: draw.choice(MILD[name]) for name in names}))


def silent_wire(rig: StormRig, _draw: Random) -> AbstractContextManager[None]:
    return wire_faults(rig, Faults(stall=True))


@contextmanager
def cut_wire(rig: StormRig, _draw: Random) -> Iterator[None]:
    for lane in rig.lanes:
        lane.wire.stop()
    yield
    for lane in rig.lanes:
        lane.wire.start()


@contextmanager
def full_disk(rig: StormRig, _draw: Random) -> Iterator[None]:
    assert rig.disk is not None
    ballast = rig.disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        size = 65_536
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
    yield
    ballast.unlink()


@contextmanager
def small_files(rig: StormRig, _draw: Random) -> Iterator[None]:
    """No file of the daemon's may grow far beyond its log: writes fail in the middle, as on a full disk."""
    daemon = rig.lanes[0].daemon
    limits = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
    room = daemon.err_path.stat().st_size + 8_000
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (room, limits[1]))
    yield
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, limits)


def store_trouble(rig: StormRig) -> Told:
    return rig.status_tells(lambda status: bool(status["store_trouble"]))


@contextmanager
def wall_clock_stepped(rig: StormRig, draw: Random) -> Iterator[None]:
    with rig.clock.off_by(draw.choice((3_600, -7_200, 90, -5, 86_400))):
        yield


GONE = ("disconnected", "stalled")
HOME = (
    StormFault(
        "daemon killed (kill -9)",
        HOUSE,
        daemon_ended(signal.SIGKILL, first=True),
        (DOWN,),
        client(NEAR, *GONE),
        (0.0, 4),
    ),
    StormFault("daemon killed, journal torn", HOUSE, daemon_ended(signal.SIGKILL, torn=True), (DOWN,), None, (0.0, 3)),
    StormFault("daemon killed, and again in its start", HOUSE, daemon_killed_in_its_start, (DOWN,), None, (0.0, 2)),
    StormFault("daemon ended and started", HOUSE, daemon_ended(signal.SIGTERM), (DOWN,), None, (0.0, 3)),
    StormFault("daemon stopped and going on", HOUSE, daemon_stopped, (), client(NEAR, *GONE), (3, 9)),
    StormFault("client killed (kill -9)", HOUSE, client_killed(MORTAL), (), None, (0.0, 5)),
    StormFault("client behind the bad wire killed", HOUSE, client_killed(FAR), (), None, (0.0, 5)),
    StormFault("slow client stopped and going on", HOUSE, client_stopped, (), None, (4, 12)),
    StormFault("bad wire", HOUSE, bad_wire, (), None, (3, 9)),
    StormFault("silent wire", HOUSE, silent_wire, (), client(FAR, *GONE), (3, 7)),
    StormFault("cut wire", HOUSE, cut_wire, (), client(FAR, *GONE), (1, 4)),
    StormFault("full disk", HOUSE, full_disk, (), store_trouble, (3, 7)),
    StormFault("files that may not grow", HOUSE, small_files, (), store_trouble, (3, 7)),
    StormFault("wall clock stepped", HOUSE, wall_clock_stepped, (), None, (4, 6), alone=True),
)
ALL_FAULTS = SITE + BROWSER + HOME
