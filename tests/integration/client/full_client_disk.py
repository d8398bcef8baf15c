"""Fills the disk that a client's cache is on, and says what happened as JSON. Run by the tests as a process.

As tests/integration/store/full_disk.py: the end of the disk is the largest size a file may have.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import numpy as np

from fluxcap.bridge.client import cache as cache_module
from fluxcap.bridge.client.cache import Append, CandleCache
from fluxcap.bridge.client.receiver.actions import Cursor
from fluxcap.schemas.errors import StoreError
from fluxcap.schemas.types import CANDLE_DTYPE, StreamKey

KEY = StreamKey("SIM", "A", "1s")
COUNT = 500


def limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def merge(cache: CandleCache, start: int) -> str:
    rows = np.zeros(COUNT, CANDLE_DTYPE)
    rows["ts_ms"] = 1_000 * np.arange(start, start + COUNT)
    last = start + COUNT - 1
    try:
        cache.commit([Append(KEY, start, rows)], {KEY: Cursor("a", last, 1_000 * last)})
    except StoreError as error:
        return type(error).__name__
    return "done"


def main(folder: str, tidy_rows: int) -> None:
    cache_module.CHECKPOINT_ROWS = tidy_rows
    cache = CandleCache(Path(folder), reserve_bytes=0)
    limit(400_000)
    stored, outcome = 0, "done"
    while (outcome := merge(cache, stored + 1)) == "done":
        stored += COUNT
    again = merge(cache, stored + 1)
    limit(resource.RLIM_INFINITY)
    retried = merge(cache, stored + 1)
    held = cache.candles(KEY)[0]
    cache.close()
    cache = CandleCache(Path(folder))
    reopened = cache.candles(KEY)[0]
    cursor = cache.cursor(KEY)
    cache.close()
    dense = bool((reopened == np.arange(1, len(reopened) + 1)).all())
    values = {"outcome": outcome, "again": again, "retried": retried, "stored": stored, "dense": dense}
    values |= {"held": len(held), "reopened": len(reopened), "cursor": cursor.latest_sequence if cursor else 0}
    print(json.dumps(values))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
