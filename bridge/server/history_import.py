"""Collected candles go into the stream of their interval: ``SOURCE.SYMBOL.1h`` beside the live ``SOURCE.SYMBOL.1m``.

Such a stream keeps the rules of every other: dense sequences, strictly increasing times, nothing published that is not
stored. Nothing is numbered again: what is older than the newest candle comes as a revision.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fluxcap.bridge.server.server import WireServer
from fluxcap.schemas.types import Candle, CandleFlags, StreamKey, candles_from


class ImportResult(msgspec.Struct, frozen=True):
    """Result of an import: new candles, and older ones that replaced another one or filled a hole."""

    published: int = 0
    revised: int = 0


def import_candles(server: WireServer, key: StreamKey, candles: Sequence[Candle]) -> ImportResult:
    """Take collected candles into a stream, all of them FILLED. On the server's thread.

    Newer than the watermark: published. Older: a revision, of sequence 0 for a time that the stream does not have. A
    candle that the daemon made itself of a shorter interval stands, unless it is BLIND; any other gives way where the
    prices differ. Starts that are none of the interval in UTC are left out, and what is older than the store keeps.

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
    known = server.store.reader().between(key, min(by_start, default=0), latest_ms + 1)
    standing = {candle.ts_ms: candle for candle in candles_from(known)}
    is_derived = server.derived.is_derived(key)
    older = [ts_ms for ts_ms in sorted(by_start) if ts_ms <= latest_ms]
    better = [by_start[ts_ms] for ts_ms in older if _is_better(by_start[ts_ms], standing.get(ts_ms), is_derived)]
    if newer:
        server.publish({key: newer})
    revised = server.revise({key: better}) if better else ()
    return ImportResult(len(newer), sum(len(revision.candles) for revision in revised))


def _is_better(candle: Candle, standing: Candle | None, is_derived: bool) -> bool:
    if standing is None:
        return True
    stands = is_derived and not standing.flags & CandleFlags.BLIND
    return not stands and _prices(candle) != _prices(standing)


def _prices(candle: Candle) -> tuple[float, float, float, float]:
    return candle.open, candle.high, candle.low, candle.close
