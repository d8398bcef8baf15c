"""Writers that commit to a store until they are killed. Run by the tests as a process.

For each seed on stdin a writer is forked (what takes long is imported once) and its PID said; it says the newest
sequences and revision after each commit, and never before. When it has been killed, "ended" is said.
"""

from __future__ import annotations

import os
import random
import sys

from fluxcap.bridge.server.sequencer import Sequencer
from fluxcap.bridge.store.store import Store
from fluxcap.schemas.types import Gap
from tests.support.wire.samples import EURUSD, GBPUSD, candle, candles


def write(path: str, seed: int) -> None:
    rng = random.Random(seed)
    store = Store.open(path)
    sequencer = Sequencer(store.watermarks())
    while True:
        marks = {key: sequencer.watermark(key) for key in (EURUSD, GBPUSD)}
        batches = [
            sequencer.number(key, candles(mark.latest_sequence + 1, rng.choice([1, 1, 1, 40])))
            for key, mark in marks.items()
        ]
        latest = marks[EURUSD].latest_sequence
        revisions = []
        if latest and rng.random() < 0.3:
            number = rng.randint(1, latest)
            revisions = [sequencer.revise(EURUSD, [number], [candle(number, 1.9)])]
        store.commit(batches, revisions, [Gap("SIM", "", latest + 1, latest + 2, "test")])
        for batch in batches:
            sequencer.confirm(batch)
        for revision in revisions:
            sequencer.confirm_revision(revision)
        if rng.random() < 0.1:
            store.checkpoint()
        ends = [sequencer.watermark(key).latest_sequence for key in marks]
        print(*ends, sequencer.watermark(EURUSD).latest_revision, flush=True)


def main(path: str) -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            print(os.getpid(), flush=True)
            write(path, int(line))
        os.waitpid(child, 0)
        print("ended", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
