"""A client of the wire in a process of its own: keeps durable copies of every lane, prints what it is told and has.

``python -m tests.soak.storm.client JSON``: ``{"slow_s": seconds its consumer takes for a batch, "queue_candles",
"lanes": [{"pub", "rep", "data_dir", "streams": [[source, symbol, interval]]}]}``. One JSON line an event on standard
output, each with ``t`` (epoch seconds). Ends on SIGTERM, with its copies closed.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from contextlib import ExitStack
from typing import Any

from fluxcap import Candles, Event, Gap, HealthChanged, LiveClient, Revision, StoreReplaced, StreamKey

CURSOR_EVERY_S = 0.1

_printing = threading.Lock()


def tell(kind: str, key: StreamKey, **facts: Any) -> None:
    with _printing:
        print(json.dumps({"t": time.time(), "kind": kind, "stream": str(key), **facts}), flush=True)


class Consumer:
    """Takes events as fast, or as slowly, as it is told to."""

    def __init__(self, slow_s: float, stop: threading.Event) -> None:
        self._slow_s = slow_s
        self._stop = stop

    def __call__(self, event: Event) -> None:
        match event:
            case Candles(key, start, candles, is_backfill):
                tell("candles", key, start=start, count=len(candles), backfill=is_backfill)
                self._stop.wait(self._slow_s)
            case HealthChanged(key, health):
                tell("health", key, state=health.state.value, reason=health.reason)
            case Gap(key, first, last, reason):
                tell("gap", key, first=first, last=last, reason=reason)
            case StoreReplaced(key, store_id, reason):
                tell("replaced", key, store_id=store_id, reason=reason)
            case Revision(key, start, sequences, _):
                tell("revision", key, start=start, count=len(sequences))
            case _:
                pass


def main(order: dict[str, Any]) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with ExitStack() as stack:
        clients = []
        for lane in order["lanes"]:
            keys = [StreamKey(*key) for key in lane["streams"]]
            client = LiveClient(
                lane["pub"],
                lane["rep"],
                lane["data_dir"],
                streams=keys,
                queue_candles=order["queue_candles"],
                on_event=Consumer(order["slow_s"], stop),
            )
            clients.append((stack.enter_context(client), keys))
        told: dict[StreamKey, object] = {}
        while not stop.wait(CURSOR_EVERY_S):
            for client, keys in clients:
                for key in keys:
                    cursor = client.cursor(key)
                    if cursor is not None and told.get(key) != cursor:
                        told[key] = cursor
                        standing = [cursor.latest_sequence, cursor.latest_ts_ms, cursor.latest_revision]
                        tell("cursor", key, standing=standing)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
