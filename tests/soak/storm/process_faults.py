"""Faults of what is ours: the daemon's process, its disk and its clock, the clients, and the wire between them."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from random import Random

import httpx

from fluxcap.bridge.devserver.faults import Faults
from tests.soak.storm.fault import HOUSE, Make, StormFault, client
from tests.soak.storm.rig import FAR, MORTAL, NEAR, SLOW, VIEWED, Lane, StormRig, Told, stopped
from tests.soak.storm.timeline import SHORT_MS
from tests.support.daemon.fault_rig import FOCUS, SOURCE, filled
from tests.support.daemon.live_rig import Process
from tests.support.patience import PATIENCE_S, await_that

ON_A_FULL_DISK = ("full disk", "daemon killed on a full disk")
DOWN = "fluxcap was not running"


def _lane(rig: StormRig, draw: Random) -> Lane:
    return draw.choice(rig.lanes[:-1] if rig.veteran and len(rig.lanes) > 1 else rig.lanes)


def daemon_ended(*, killed: bool, first: bool = False, torn: bool = False) -> Make:
    @contextmanager
    def make(rig: StormRig, draw: Random) -> Iterator[None]:
        lane = rig.lanes[0] if first else _lane(rig, draw)
        how = signal.SIGKILL if killed else signal.SIGTERM
        code, _seconds = lane.daemon.end(how)
        assert code == (-how if killed else 0), f"the daemon ended with {code}"
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
    with filled(rig.disk):
        yield


@contextmanager
def killed_on_a_full_disk(rig: StormRig, draw: Random) -> Iterator[None]:
    """Killed, and started again, while there is no room: it must wait for that, and lose nothing it had."""
    assert rig.disk is not None
    with filled(rig.disk):
        time.sleep(draw.uniform(0, 2))
        rig.lanes[0].kill()
        rig.start(rig.lanes[0])
        yield


@contextmanager
def small_files(rig: StormRig, _draw: Random) -> Iterator[None]:
    """No file of the daemon's may grow far beyond its log: writes fail in the middle, as on a full disk."""
    daemon = rig.lanes[0].daemon
    import resource  # Linux has it; the reports of a storm are read anywhere

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


@contextmanager
def started_by_a_wrong_clock(rig: StormRig, draw: Random) -> Iterator[None]:
    """The daemon starts, on what it kept, while the computer's clock is wrong; then that is put right. Meanwhile nobody
    does anything, or the page is reloaded, which tells the platform's own time, or the user says whom to trust."""
    lane = rig.lanes[0]
    lane.daemon.end(draw.choice((signal.SIGTERM, signal.SIGKILL)))
    with rig.clock.off_by(draw.choice((3_600, -3_600, -7_200, 86_400, 90))):
        rig.start(lane)
        await_that(lambda: is_clock_in_question(lane), "that the clock is in question")
        match draw.choice(("wait", "reload", "trust")):
            case "reload":
                rig.tab.call("Page.reload")
            case "trust":
                url = f"{lane.daemon.run_file().control}/api/clock"
                httpx.put(
                    url, json={"trust": "earlier"}, timeout=PATIENCE_S, trust_env=False, verify=False
                ).raise_for_status()
        yield


def is_clock_in_question(lane: Lane) -> bool:
    status = lane.status()
    return status is not None and status["clock"] == "clock in question"


@contextmanager
def backup_put_back(rig: StormRig, draw: Random) -> Iterator[None]:
    """A copy of a data folder is made, the daemon goes on, and later the copy is put back in its place."""
    lane = _lane(rig, draw)
    copy = lane.folder / "backup"
    lane.daemon.end()
    shutil.copytree(lane.data_dir, copy)
    rig.start(lane)
    since_s = time.time()
    went_on = False
    while not went_on and time.time() - since_s < WENT_ON_S:  # not at all beside a fault of the page
        time.sleep(0.05)
        went_on = lane.is_live(since_s * 1_000)
    yield
    lane.daemon.end(draw.choice((signal.SIGTERM, signal.SIGKILL)))
    shutil.rmtree(lane.data_dir)
    shutil.move(copy, lane.data_dir)
    if went_on and lane.interval_ms <= SHORT_MS:  # else no candle may have been lost, and there is nothing to refuse
        rig.start(lane)
        code = lane.daemon.wait()
        assert code, "a backup that was put back was taken for the store it is a copy of"
    restoring = Process(lane.folder / "restore", "restore", "--data-dir", str(lane.data_dir))
    assert restoring.wait() == 0, restoring.err
    lane.restored += 1
    rig.start(lane)


@contextmanager
def viewers(rig: StormRig, draw: Random) -> Iterator[None]:
    """Charts and clients come and go, and in the end leave, with or without a word: the focus is what it was."""
    lane = draw.choice(rig.lanes)
    order = {
        "seed": draw.randrange(2**32),
        "web": f"http://127.0.0.1:{lane.web_port}",
        "control": lane.daemon.run_file().control,
        "pub": lane.pub,
        "rep": lane.rep,
        "source": SOURCE,
        "interval": lane.interval,
        "symbols": [*FOCUS, VIEWED, VIEWED],
        "folder": str(lane.folder),
    }
    process = Process(lane.folder / f"viewers-{order['seed']}", json.dumps(order), module="tests.soak.storm.viewers")
    try:
        await_that(lambda: process.out.count("\n") >= VISITS or not process.running, "visits")
        yield
        assert process.running, process.err[-2000:]
    finally:
        process.end(draw.choice((signal.SIGTERM, signal.SIGKILL)))
    await_that(lambda: set((lane.status() or {"focus_symbols": ()})["focus_symbols"]) == set(FOCUS), "the old focus")


WENT_ON_S = 12.0
VISITS = 4
GONE = ("disconnected", "stalled")
HOUSE_FAULTS = (
    StormFault(
        "daemon killed (kill -9)",
        HOUSE,
        daemon_ended(killed=True, first=True),
        (DOWN,),
        client(NEAR, *GONE),
        (0.0, 4),
    ),
    StormFault("daemon killed, journal torn", HOUSE, daemon_ended(killed=True, torn=True), (DOWN,), None, (0.0, 3)),
    StormFault("daemon killed, and again in its start", HOUSE, daemon_killed_in_its_start, (DOWN,), None, (0.0, 2)),
    StormFault("daemon ended and started", HOUSE, daemon_ended(killed=False), (DOWN,), None, (0.0, 3)),
    StormFault("daemon stopped and going on", HOUSE, daemon_stopped, (), client(NEAR, *GONE), (3, 9)),
    StormFault("client killed (kill -9)", HOUSE, client_killed(MORTAL), (), None, (0.0, 5)),
    StormFault("client behind the bad wire killed", HOUSE, client_killed(FAR), (), None, (0.0, 5)),
    StormFault("slow client stopped and going on", HOUSE, client_stopped, (), None, (4, 12)),
    StormFault("bad wire", HOUSE, bad_wire, (), None, (3, 9)),
    StormFault("silent wire", HOUSE, silent_wire, (), client(FAR, *GONE), (3, 7)),
    StormFault("cut wire", HOUSE, cut_wire, (), client(FAR, *GONE), (1, 4)),
    StormFault("full disk", HOUSE, full_disk, (), store_trouble, (3, 7)),
    StormFault("daemon killed on a full disk", HOUSE, killed_on_a_full_disk, (DOWN,), None, (2, 5)),
    StormFault("files that may not grow", HOUSE, small_files, (), store_trouble, (3, 7)),
    StormFault("wall clock stepped", HOUSE, wall_clock_stepped, (), None, (4, 6), alone=True),
    StormFault(
        "daemon started by a wrong clock",
        HOUSE,
        started_by_a_wrong_clock,
        (DOWN, "page reloaded"),
        None,
        (3, 6),
        alone=True,
    ),
    StormFault("backup put back", HOUSE, backup_put_back, (DOWN,), None, (1, 4)),
    StormFault("viewers come and go", HOUSE, viewers, (), None, (6, 12)),
)
