"""The forwarder is killed at random instants, fifty times, while candles and revisions go on: the log is the store.

Forwarders are processes of their own beside a server that publishes without a pause; they hear it over the wire. The
times of the kills come from a seed, which is printed.
"""

from __future__ import annotations

import math
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fluxcap.bridge.jetstream.forward.forwarder import Forwarder
from fluxcap.bridge.jetstream.forward.wire_source import WireSource
from tests.support.nats.forked_forwarders import ForkedForwarders
from tests.support.nats.forward_market import Market, alive
from tests.support.nats.forward_rig import assert_log_is_store, await_current, make_stream, parse_address
from tests.support.nats.nats_rig import NatsServer
from tests.support.patience import await_that

pytestmark = pytest.mark.slow

WORK_S = (0.0, 0.2)
"""Every other one lives until it has reached the log, and so long; the others die on the way, wherever that is."""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows")
@pytest.mark.parametrize("kills", [10, pytest.param(50, marks=pytest.mark.long)])
def test_killed_again_and_again_the_log_holds_the_store_once_and_in_order(
    nats_server: Callable[..., NatsServer], tmp_path: Path, kills: int
):
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    draw = random.Random(seed)
    nats = nats_server()
    address = parse_address(nats.url)
    make_stream(address, duplicate_window_ns=100_000_000)  # too short to hide anything
    market = Market(tmp_path / "fluxcap.duckdb", seed)
    pub, rep = market.server.pub_endpoint, market.server.rep_endpoint
    log = tmp_path / "forwarders.log"
    forwarders = ForkedForwarders(nats.url, pub, rep, tmp_path / "memory", log)
    try:

        def lives() -> int:
            """How many forwarders so far had reached the log."""
            return log.read_text().count("FORWARDING") if log.exists() else 0

        start_s = math.inf
        for number in range(kills):
            before, begin_s = lives(), time.monotonic()
            pid = forwarders.start()
            if number % 2:
                time.sleep(draw.uniform(0, 1) * start_s)
            else:
                await_that(lambda before=before: lives() > before, "a forwarder at the log")
                start_s = min(start_s, time.monotonic() - begin_s)
                time.sleep(draw.uniform(*WORK_S))
            os.kill(pid, signal.SIGKILL)
            await_that(lambda pid=pid: not alive(pid), "the end of the killed")
        market.stop()

        with Forwarder(WireSource(pub, rep), address, tmp_path / "memory") as last:
            market.server.heartbeat(1)
            await_current(last)

        messages = assert_log_is_store(address, market.server)
        print(f"{kills} kills, {lives()} of them after the log was reached; {messages} messages")
        assert lives() >= kills / 2
        assert messages > kills / 3
    finally:
        forwarders.close()
        market.stop()
        market.server.close()
