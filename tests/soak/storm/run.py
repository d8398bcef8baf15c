"""A storm from its first candle to its verdict."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random

from tests.soak.storm.fault import StormFault
from tests.soak.storm.faults import ALL_FAULTS
from tests.soak.storm.measure import Gauge
from tests.soak.storm.report import Facts
from tests.soak.storm.rig import NEAR, SLOW, StormRig
from tests.soak.storm.storm import Storm
from tests.soak.storm.verdict import judged

WARM_UP_S = 180.0
PAIRS_OF_A_SHORT_STORM = 0.5


def run_storm(
    minutes: float | None, seed: int, intervals: Sequence[str], folder: Path, faults: Sequence[StormFault] = ALL_FAULTS
) -> Facts:
    """``intervals``: one daemon each, the shortest first. ``folder`` gets logs, stores and copies. ``minutes`` None: as
    long as it takes until each fault was there once."""
    draw = Random(seed)
    begun = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    with ExitStack() as stack:
        rig = StormRig(folder, stack, intervals, draw)
        browser = str(rig.browser.version()["Browser"])
        begin_s = time.time()
        rig.await_live(begin_s)
        rig.await_clients(begin_s)

        def pids() -> dict[str, int]:
            daemons = {f"daemon, {lane.interval} candles": lane.daemon.pid for lane in rig.lanes}
            clients = {f"client, {name}": rig.clients[name].process.pid for name in (NEAR, SLOW)}
            return daemons | clients

        gauge = stack.enter_context(Gauge(pids))
        storm = Storm(rig, draw, faults)
        storm_s = time.time()
        if minutes is None:
            storm.blow_each(PAIRS_OF_A_SHORT_STORM)
        else:
            storm.blow(minutes * 60)
        lasted_min = minutes or (time.time() - storm_s) / 60
        memory = {name: found for name in pids() if (found := gauge.memory(name, WARM_UP_S)) is not None}
        verdict = judged(rig, storm.troubles, gauge.hiccups)
        lives = {f"daemon {lane.interval}": lane.lives for lane in rig.lanes}
        lives |= {f"client {name}": client.lives for name, client in rig.clients.items()}
        hiccups = len(gauge.hiccups)
    return Facts(lasted_min, seed, begun, browser, storm.blows, storm.skipped, verdict, memory, hiccups, lives)
