"""Sealed candles compared with the platform's own rows, as the store keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fluxcap.bridge.store.connection import StoreCursor
from fluxcap.bridge.store.schema import CANDLE_COLUMNS
from fluxcap.schemas.types import Candle, CandleFlags, StreamKey, candles_from


class ComparedCandle(msgspec.Struct, frozen=True):
    """A candle of ours that was compared with the platform's own row.

    Attributes
    ----------
    sequence, ts_ms
        The candle's.
    platform
        The platform's row where it differs, None where both have the same prices.
    ticks
        Our ticks of a candle that differs, ``(ts_ms, price)`` in their order; empty where they are no longer known.
    """

    sequence: int
    ts_ms: int
    platform: Candle | None = None
    ticks: tuple[tuple[int, float], ...] = ()


class Agreement(msgspec.Struct, frozen=True):
    """The number of candles compared with the platform's own rows, and of those that are equal."""

    compared: int = 0
    equal: int = 0


class DifferingCandle(msgspec.Struct, frozen=True):
    """A candle that differs from the platform's own row. ``kept_ticks``: how many of its ticks are kept, 0 for none."""

    key: StreamKey
    sequence: int
    ours: Candle
    platform: Candle
    kept_ticks: int


class AgreementSummary(msgspec.Struct, frozen=True):
    """Agreement by stream, and the newest candles that differ, newest first."""

    streams: Mapping[StreamKey, Agreement] = {}
    differing: tuple[DifferingCandle, ...] = ()


def insert_compared(cursor: StoreCursor, stream_id: int, compared: Sequence[ComparedCandle], now_ms: int) -> None:
    """Keep comparisons, within a transaction of the caller's. Raises StoreError."""
    rows = [one.platform for one in compared]
    count = len(compared)
    columns: dict[str, npt.NDArray[Any]] = {
        "stream_id": np.full(count, stream_id, dtype=np.int32),
        "sequence": np.array([one.sequence for one in compared], dtype=np.uint64),
        "ts_ms": np.array([one.ts_ms for one in compared], dtype=np.int64),
        "equal": np.array([row is None for row in rows], dtype=bool),
    }
    for name in ("open", "high", "low", "close"):
        columns[name] = np.array([0.0 if row is None else getattr(row, name) for row in rows])
    columns["kept_ticks"] = np.array([len(one.ticks) for one in compared], dtype=np.uint32)
    columns["compared_ms"] = np.full(count, now_ms, dtype=np.int64)
    prices = ", ".join(f"CASE WHEN equal THEN NULL ELSE {name} END" for name in ("open", "high", "low", "close"))
    cursor.load(
        f"INSERT INTO agreement SELECT stream_id, sequence, ts_ms, equal, {prices}, kept_ticks, compared_ms "  # noqa: S608
        "FROM incoming",
        columns,
    )
    ticks = [(one.sequence, place, *tick) for one in compared for place, tick in enumerate(one.ticks)]
    if ticks:
        sequences, places, times, tick_prices = zip(*ticks, strict=True)
        cursor.load(
            "INSERT INTO agreement_ticks SELECT * FROM incoming",
            {
                "stream_id": np.full(len(ticks), stream_id, dtype=np.int32),
                "sequence": np.array(sequences, dtype=np.uint64),
                "place": np.array(places, dtype=np.uint32),
                "ts_ms": np.array(times, dtype=np.int64),
                "price": np.array(tick_prices, dtype=np.float64),
            },
        )


def not_compared(cursor: StoreCursor, stream_id: int, ts_ms: Iterable[int]) -> dict[int, tuple[int, Candle]]:
    """The unflagged candles at these times that were never compared: ``{ts_ms: (sequence, candle)}``.

    Raises StoreError.
    """
    times = sorted({int(time) for time in ts_ms})
    if not times:
        return {}
    candles, columns = cursor.candles(
        f"SELECT sequence, {CANDLE_COLUMNS} FROM candles AS c WHERE stream_id = $1 AND ts_ms BETWEEN $2 AND $3 "  # noqa: S608
        f"AND list_contains($4::BIGINT[], ts_ms) AND flags = {int(CandleFlags.NONE)} AND ts_ms NOT IN "
        "(SELECT ts_ms FROM agreement WHERE stream_id = $1 AND ts_ms BETWEEN $2 AND $3)",
        (stream_id, times[0], times[-1], times),
    )
    return {
        candle.ts_ms: (sequence, candle)
        for sequence, candle in zip(columns["sequence"].tolist(), candles_from(candles), strict=True)
    }


def read_agreement(cursor: StoreCursor) -> dict[int, Agreement]:
    """Return how many candles agree, by ``stream_id``. Raises StoreError."""
    sql = "SELECT stream_id, count(*), count(*) FILTER (equal) FROM agreement GROUP BY stream_id"
    return {stream_id: Agreement(compared, equal) for stream_id, compared, equal in cursor.rows(sql)}


def differing_candles(cursor: StoreCursor, limit: int) -> list[DifferingCandle]:
    """The newest candles that differ from the platform's rows, newest first. Raises StoreError."""
    ours = ", ".join(f"c.{name.strip()}" for name in CANDLE_COLUMNS.split(","))
    rows = cursor.rows(
        f"SELECT s.source_id, s.symbol, s.interval, a.sequence, a.kept_ticks, a.open, a.high, a.low, a.close, {ours} "  # noqa: S608
        "FROM agreement AS a JOIN streams AS s USING (stream_id) "
        "JOIN candles AS c ON c.stream_id = a.stream_id AND c.sequence = a.sequence "
        "WHERE NOT a.equal ORDER BY a.ts_ms DESC, s.symbol LIMIT ?",
        (limit,),
    )
    return [
        DifferingCandle(StreamKey(*row[:3]), row[3], Candle(*row[9:]), Candle(row[9], *row[5:9]), row[4])
        for row in rows
    ]
