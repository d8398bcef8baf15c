"""A client of the wire in a process of its own, for the end-to-end tests: keeps copies, prints what it is told.

``python -m tests.support.daemon.recording_client JSON`` with a list of ``{"pub", "rep", "data_dir", "streams":
[[source, symbol, interval]]}``; one line an event on stdout: client number, symbol, first sequence, number of candles,
whether it came by backfill. Ends when it is asked to stop, with its copies closed.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from fluxcap import Candles, Event, LiveClient, StreamKey
from fluxcap.bridge.system.signals import catch_stop_signals

printing = threading.Lock()


def printer(number: int) -> Callable[[Event], None]:
    def show(event: Event) -> None:
        if isinstance(event, Candles):
            line = [number, event.key.symbol, event.start_sequence, len(event.candles), event.is_backfill]
        else:
            line = [number, event.key.symbol, type(event).__name__]
        with printing:
            print(json.dumps(line), flush=True)

    return show


def main(orders: list[dict[str, Any]]) -> None:
    stop = threading.Event()
    with catch_stop_signals(stop.set), ExitStack() as stack:
        for number, order in enumerate(orders):
            keys = [StreamKey(*key) for key in order["streams"]]
            client = LiveClient(
                order["pub"], order["rep"], order["data_dir"], streams=keys, forming=False, on_event=printer(number)
            )
            stack.enter_context(client)
        while not stop.wait(0.1):
            pass


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
