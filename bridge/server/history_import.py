"""Collected candles as streams of their own: ``SOURCE.SYMBOL.1h`` beside the live ``SOURCE.SYMBOL.1m``.

Such a stream keeps the rules of every other: dense sequences, strictly increasing times, nothing published that is not
stored. It grows when something is collected; between two collections that do not overlap it lacks what lies between.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fluxcap.bridge.server.server import WireServer
from fluxcap.schemas.types import Candle, CandleFlags, StreamKey


class ImportResult(msgspec.Struct, frozen=True):
    """Result of an import: new candles, and candles that replaced a different one."""

    published: int = 0
    revised: int = 0


def import_candles(server: WireServer, key: StreamKey, candles: Sequence[Candle]) -> ImportResult:
    """Take collected candles into a stream, all of them FILLED. On the server's thread.

    Newer than the watermark: published. Older: a revision where the published candle has other prices, else nothing;
    a past that the stream never had is not made up. Starts that are none of the interval in UTC are left out.

    Raises ConfigError for an invalid interval, SequenceError for candles that cannot be, StoreFull, StoreError.
    """
    length_ms = key.interval_ms
    by_start = {
        candle.ts_ms: msgspec.structs.replace(candle, flags=candle.flags | CandleFlags.FILLED)
        for candle in candles
        if candle.ts_ms % length_ms == 0
    }
    latest_ms = server.watermark(key).latest_ts_ms
    newer = [by_start[ts_ms] for ts_ms in sorted(by_start) if ts_ms > latest_ms]
    known = server.store.published(key, [ts_ms for ts_ms in by_start if ts_ms <= latest_ms])
    better = [by_start[ts_ms] for ts_ms in sorted(known) if _prices(by_start[ts_ms]) != _prices(known[ts_ms][1])]
    if newer:
        server.publish({key: newer})
    if better:
        server.revise({key: better})
    return ImportResult(len(newer), len(better))


def _prices(candle: Candle) -> tuple[float, float, float, float]:
    return candle.open, candle.high, candle.low, candle.close
