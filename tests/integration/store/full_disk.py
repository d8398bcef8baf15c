"""Fills the disk that a store is on, and says what happened, one JSON value a line. Run by the tests as a process.

The end of the disk is the largest size a file may have (RLIMIT_FSIZE): DuckDB meets it in the middle of a write, as it
does a full disk, and any user can set it.
"""

from __future__ import annotations

import json
import resource
import sys

from fluxcap.bridge.server.sequencer import Sequencer
from fluxcap.bridge.store.store import Store
from fluxcap.schemas.errors import StoreError
from tests.support.wire.samples import EURUSD, candle_rows


def limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def attempt(act: object) -> str:
    try:
        act()  # type: ignore[operator]
    except StoreError as error:
        return type(error).__name__
    return "done"


def main(path: str) -> None:
    store = Store.open(path, reserve_bytes=0)
    sequencer = Sequencer(store.watermarks())
    reader = store.reader()
    limit(400_000)
    outcome = "done"
    while outcome == "done":
        batch = sequencer.number(EURUSD, candle_rows(sequencer.watermark(EURUSD).latest_sequence + 1, 500))
        outcome = attempt(lambda batch=batch: store.commit([batch]))
        if outcome == "done":
            sequencer.confirm(batch)
    committed = sequencer.watermark(EURUSD).latest_sequence
    again = attempt(lambda: store.commit([batch]))
    checkpoint = attempt(store.checkpoint)  # invalidates DuckDB's instance, which the store opens anew
    readable = len(reader.page(EURUSD, committed - 100).candles)
    limit(resource.RLIM_INFINITY)
    retried = attempt(lambda: store.commit([batch]))
    tidied = attempt(store.checkpoint)
    store.close()
    with Store.open(path) as store:
        held = store.watermarks()[EURUSD].latest_sequence
    names = ("outcome", "again", "checkpoint", "readable", "retried", "tidied", "committed", "held")
    values = (outcome, again, checkpoint, readable, retried, tidied, committed, held)
    print(json.dumps(dict(zip(names, values, strict=True))))


if __name__ == "__main__":
    main(sys.argv[1])
