"""A storm of every fault around a real Chromium: ``python tests/soak/browser_storm.py --minutes 30 [--seed N]``.

A simulated site with its truth, daemons and clients as processes, and faults of site, browser, daemon, clients, wire
and disk in an order that comes from the seed. Ends with truth = store = clients, or a flag and a gap for each
difference; see ``tests/browser_storm``. Writes its section of ``report.md``. Exit code 1 for any untruth.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.browser_storm.gauge import Gauge
from tests.browser_storm.report import Facts, save, section
from tests.browser_storm.rig import NEAR, SLOW, StormRig
from tests.browser_storm.storm import Storm
from tests.browser_storm.verdict import judged

ROOT = Path(__file__).parents[2]
REPORT = Path(__file__).parent / "report.md"
WARM_UP_S = 120.0


def run(minutes: float, seed: int, intervals: tuple[str, ...], folder: Path) -> Facts:
    """One storm from its first candle to its verdict."""
    draw = Random(seed)
    begun = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    with ExitStack() as stack:
        rig = StormRig(folder, stack, intervals, draw)
        browser = str(rig.browser.version()["Browser"])
        begin_s = time.time()
        rig.await_live(begin_s, 90)
        rig.await_clients(begin_s, 60)

        def pids() -> dict[str, int]:
            daemons = {f"daemon, {lane.interval} candles": lane.daemon.pid for lane in rig.lanes}
            clients = {f"client, {name}": rig.clients[name].process.pid for name in (NEAR, SLOW)}
            return daemons | clients

        gauge = stack.enter_context(Gauge(pids))
        storm = Storm(rig, draw)
        storm.blow(minutes * 60)
        verdict = judged(rig, storm.troubles, gauge.hiccups)
        lives = {f"daemon {lane.interval}": lane.lives for lane in rig.lanes}
        lives |= {f"client {name}": client.lives for name, client in rig.clients.items()}
        memory = {name: found for name in pids() if (found := gauge.memory(name, WARM_UP_S)) is not None}
        hiccups = len(gauge.hiccups)
    return Facts(minutes, seed, begun, browser, storm.blows, storm.skipped, verdict, memory, hiccups, lives)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("MINUTES", 30)))
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3)))
    parser.add_argument("--intervals", default="1s,1m", help="one daemon each, the shortest first")
    parser.add_argument("--report", type=Path, default=REPORT)
    parser.add_argument("--keep", type=Path, help="folder for logs, stores and copies, which are dropped otherwise")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # nothing is left behind
    os.chdir(ROOT)  # the processes find the tests from there
    print(f"seed {options.seed}, {options.minutes:g} minutes", flush=True)
    with ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fluxcap-storm-")))
        facts = run(options.minutes, options.seed, tuple(options.intervals.split(",")), folder)
    text = section(facts)
    print(text)
    save(options.report, options.minutes, text)
    return 1 if facts.failures else 0


if __name__ == "__main__":
    sys.exit(main())
