"""The forwarder is killed at random instants, fifty times, while candles and revisions go on: the log is the store.

Forwarders are processes of their own beside a server that publishes without a pause; they hear it over the wire. The
times of the kills come from a seed, which is printed.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.jetstream.forwarder import Forwarder
from bridge.jetstream.wire_source import WireSource
from bridge.server import WireServer
from schemas.types import StreamKey, candle_array
from tests.forked_forwarders import ForkedForwarders
from tests.forward_rig import assert_log_is_store, await_current, candle, log_address, make_stream, minutes
from tests.live_rig import await_that
from tests.nats_rig import NatsServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

KILLS = 50
KEYS = tuple(StreamKey("KILLED", symbol, "1m") for symbol in ("EURUSD_otc", "GBP/USD OTC", "a.b"))
LIFE_S = (0.02, 0.25)
PAUSE_S = 0.005


class Market:
    """Publishes on a thread of its own until stopped; each stream's numbers go on with every life of the server."""

    def __init__(self, store: Path, seed: int) -> None:
        self.server = WireServer(store, "tcp://127.0.0.1:0", "tcp://127.0.0.1:0")
        self._draw = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._failure: BaseException | None = None
        self._thread.start()

    def _run(self) -> None:
        try:
            beat_s = 0.0
            while not self._stop.wait(PAUSE_S):
                key = self._draw.choice(KEYS)
                at = self.server.watermark(key).latest_sequence
                self.server.publish({key: minutes(at + 1, at + self._draw.choice((1, 1, 1, 3)))})
                if at > 5 and self._draw.random() < 0.1:
                    numbers = sorted(self._draw.sample(range(max(1, at - 200), at), 3))
                    self.server.revise({key: candle_array([candle(n, self._draw.random()) for n in numbers])})
                if time.monotonic() > beat_s:
                    beat_s = time.monotonic() + 0.2
                    self.server.heartbeat(time.time_ns() // 1_000_000)
        except BaseException as error:
            self._failure = error

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self.server.heartbeat(time.time_ns() // 1_000_000)
        if self._failure is not None:
            raise self._failure


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows")
def test_killed_fifty_times_the_log_holds_the_store_once_and_in_order(
    nats_server: Callable[..., NatsServer], tmp_path: Path
):
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    draw = random.Random(seed)
    nats = nats_server()
    address = log_address(nats.url)
    make_stream(address, duplicate_window_ns=100_000_000)  # too short to hide anything
    market = Market(tmp_path / "fluxcap.duckdb", seed)
    pub, rep = market.server.pub_endpoint, market.server.rep_endpoint
    log = tmp_path / "forwarders.log"
    forwarders = ForkedForwarders(nats.url, pub, rep, tmp_path / "memory", log)
    try:
        for _ in range(KILLS):
            pid = forwarders.start()
            time.sleep(draw.uniform(*LIFE_S))
            os.kill(pid, signal.SIGKILL)
            await_that(lambda pid=pid: not alive(pid), 20, "the end of the killed")
        market.stop()
        lives = log.read_text().count("FORWARDING")

        with Forwarder(WireSource(pub, rep), address, tmp_path / "memory") as last:
            market.server.heartbeat(1)
            await_current(last)

        messages = assert_log_is_store(address, market.server)
        print(f"{KILLS} kills, {lives} of them after the log was reached; {messages} messages")
        assert lives > KILLS / 3
        assert messages > KILLS
    finally:
        forwarders.close()
        market.stop()
        market.server.close()
