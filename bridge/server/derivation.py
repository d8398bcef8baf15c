"""Derived candles of the past: those that a store lacks when it is opened, as after a timeframe was added.

``DerivedStreams`` folds what is committed from now on; this folds what the store has already, by the same rules, before
anybody is served. Each commit goes on where the one before ended: killed, the next start finishes it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fluxcap.bridge.server.sequencer import Sequencer
from fluxcap.bridge.server.timeframes import Timeframes, fold_array, longer_intervals
from fluxcap.bridge.store.reader import StoreReader
from fluxcap.bridge.store.store import Store
from fluxcap.schemas.candles import first_invalid_candle
from fluxcap.schemas.types import StreamKey, Watermark, interval_ms

ROWS_AT_ONCE = 200_000
"""Base candles that are read and folded together: about 10 MB."""


def derive_past(
    store: Store,
    timeframes: Timeframes,
    now_ms: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Fold the base candles that no derived candle has been made of, as far as their buckets are over.

    A derived stream goes on after its newest candle, also where that is one collected from the page; what lies before
    it stays as it is.

    Parameters
    ----------
    store
        An open store.
    timeframes
        What to derive.
    now_ms
        Wall clock, UTC epoch milliseconds.
    progress
        Told how many base candles were folded, and how many there are to fold, counted once for each timeframe.

    Returns
    -------
    int
        The number of candles made.

    Raises StoreFull, StoreError; what was committed by then stays.
    """
    reader = store.reader()
    longer = longer_intervals(timeframes.interval, timeframes.longer)
    work = []
    for base, mark in store.watermarks().items():
        if not mark.latest_sequence or (base.source_id, base.interval) != (timeframes.source_id, timeframes.interval):
            continue
        began_ms = None
        for timeframe in longer:
            key, length_ms = StreamKey(base.source_id, base.symbol, timeframe), interval_ms(timeframe)
            over_ms = min(mark.latest_ts_ms + base.interval_ms, now_ms)
            finished_ms = store.watermarks().get(key, Watermark()).latest_ts_ms
            if began_ms is None:
                began_ms = reader.oldest_ms(base) or 0
            from_ms = max(finished_ms + length_ms if finished_ms else 0, began_ms + -began_ms % length_ms)
            to_ms = over_ms - over_ms % length_ms
            if from_ms < to_ms:
                work.append((base, key, from_ms, to_ms))
    total = sum((to_ms - from_ms) // base.interval_ms for base, _, from_ms, to_ms in work)
    done = made = 0
    for base, key, from_ms, to_ms in work:
        step_ms = max(key.interval_ms, ROWS_AT_ONCE * base.interval_ms // key.interval_ms * key.interval_ms)
        for start_ms in range(from_ms, to_ms, step_ms):
            end_ms = min(start_ms + step_ms, to_ms)
            made += _derive(store, reader, base, key, start_ms, end_ms)
            done += (end_ms - start_ms) // base.interval_ms
            progress(done, total)
    return made


def _derive(store: Store, reader: StoreReader, base: StreamKey, key: StreamKey, from_ms: int, to_ms: int) -> int:
    candles = reader.between(base, from_ms, to_ms)
    if not len(candles):
        return 0
    gaps = [gap for gap in reader.gaps(base.source_id, base.symbol, from_ms, to_ms) if gap.to_ms != gap.from_ms]
    found = fold_array(candles, key.interval_ms, base.interval_ms, gaps)
    while len(found) and (bad := first_invalid_candle(found)) is not None:
        found = np.delete(found, bad)
    if not len(found):
        return 0
    batch = Sequencer(store.watermarks()).number(key, found)
    while store.commit([batch]) is not None:
        pass  # an earlier commit turned out to be stored; nothing is published here
    return len(found)
