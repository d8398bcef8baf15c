"""Forwarders and the log's server, killed and stopped at random: ``python tests/soak/forward_storm.py``.

Two forwarders share one store. Each round lasts a minute and ends with the log equal to the store, once and in order,
with a duplicate window too short to hide anything. A failing one is named by its seed. Rounds come from ``MINUTES``,
five at most. Exit code 1 when any failed, 0 as well where there is no nats-server.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from fluxcap.bridge.jetstream.forward.forwarder import Forwarder
from fluxcap.bridge.jetstream.forward.wire_source import WireSource
from tests.support.nats.forked_forwarders import ForkedForwarders
from tests.support.nats.forward_market import Market
from tests.support.nats.forward_rig import assert_log_is_store, await_current, make_stream, parse_address
from tests.support.nats.nats_rig import FOUND, NatsServer

ROUND_S = 60.0
SETTLE_S = 60.0


def storm(seed: int, seconds: float, folder: Path) -> dict[str, int]:
    """One round; what was done to whom, and what came of it. Raises AssertionError."""
    draw, done = random.Random(seed), Counter[str]()
    with ExitStack() as stack:
        nats = NatsServer(folder / "nats").start()
        stack.callback(nats.kill)
        address = parse_address(nats.url)
        make_stream(address, duplicate_window_ns=100_000_000)
        market = Market(folder / "store.duckdb", seed, pause_s=0.02)
        stack.callback(market.server.close)
        stack.callback(market.stop)
        wire = market.server.pub_endpoint, market.server.rep_endpoint
        rivals = [ForkedForwarders(nats.url, *wire, folder / f"memory-{n}", folder / "log.txt") for n in range(2)]
        for rival in rivals:
            stack.callback(rival.close)
        pids = [rival.start() for rival in rivals]
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            time.sleep(draw.uniform(0.05, 0.8))
            done[what := draw.choice(("forwarder killed", "forwarder killed", "server killed", "server stopped"))] += 1
            if what == "forwarder killed":
                which = draw.randrange(2)
                os.kill(pids[which], signal.SIGKILL)
                pids[which] = rivals[which].start()
            elif what == "server killed":
                nats.kill()
                time.sleep(draw.uniform(0, 0.5))
                nats.start()
            else:
                nats.pause()
                time.sleep(draw.uniform(0.05, 1.5))
                nats.resume()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        market.stop()
        with Forwarder(WireSource(*wire), address, folder / "last") as last:
            market.server.heartbeat(time.time_ns() // 1_000_000)
            await_current(last, SETTLE_S)
        return {**done, "messages": assert_log_is_store(address, market.server)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    rounds = max(1, min(5, round(float(os.environ.get("MINUTES", 30)))))
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seconds", type=float, default=ROUND_S, help="length of a round")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    options = parser.parse_args()
    if FOUND is None:
        print("there is no nats-server on this machine; install nats-server")
        return 0
    failed = []
    for seed in range(options.seed, options.seed + options.rounds):
        with tempfile.TemporaryDirectory(prefix="fluxcap-forward-") as folder:
            try:
                print(json.dumps({"seed": seed, **storm(seed, options.seconds, Path(folder))}), flush=True)
            except Exception:
                failed.append(seed)
                print(f"seed {seed} failed\n{traceback.format_exc()}", file=sys.stderr, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
