"""A server that publishes candles and revisions without a pause, while forwarders come and go beside it."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

from fluxcap.bridge.server.server import WireServer
from fluxcap.schemas.types import StreamKey, candle_array
from tests.support.nats.forward_rig import candle, minutes

KEYS = tuple(StreamKey("MARKET", symbol, "1m") for symbol in ("EURUSD_otc", "GBP/USD OTC", "a.b"))
HEARTBEAT_S = 0.2


class Market:
    """Publishes on a thread of its own, every ``pause_s``, until stopped. Its choices come from the seed."""

    def __init__(self, store: Path, seed: int, pause_s: float = 0.005) -> None:
        self.server = WireServer(store, "tcp://127.0.0.1:0", "tcp://127.0.0.1:0")
        self._draw = random.Random(seed)
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._failure: BaseException | None = None
        self._thread.start()

    def _run(self) -> None:
        try:
            beat_s = 0.0
            while not self._stop.wait(self._pause_s):
                key = self._draw.choice(KEYS)
                at = self.server.watermark(key).latest_sequence
                self.server.publish({key: minutes(at + 1, at + self._draw.choice((1, 1, 1, 3)))})
                if at > 5 and self._draw.random() < 0.1:
                    numbers = sorted(self._draw.sample(range(max(1, at - 200), at), 3))
                    self.server.revise({key: candle_array([candle(n, self._draw.random()) for n in numbers])})
                if time.monotonic() > beat_s:
                    beat_s = time.monotonic() + HEARTBEAT_S
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
