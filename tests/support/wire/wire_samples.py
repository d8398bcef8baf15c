"""One message of every kind and shape, for golden files, fuzzing and readers of other languages; and their equality."""

from __future__ import annotations

import msgspec
import numpy as np

from fluxcap.schemas.types import (
    CANDLE_DTYPE,
    BackfillCandlesRequest,
    BackfillCandlesResponse,
    CandleArray,
    CandleBatch,
    CandleRevision,
    ErrorResponse,
    Gap,
    GapChange,
    GapsRequest,
    GapsResponse,
    GetCursorRequest,
    GetCursorResponse,
    HealthRequest,
    HealthResponse,
    HistoryRequest,
    HistoryResponse,
    ListStreamsRequest,
    ListStreamsResponse,
    Message,
    RevisionsRequest,
    RevisionsResponse,
    StreamKey,
    StreamStatus,
    StreamStatusRequest,
    SubscribeCandlesAck,
    SubscribeCandlesRequest,
    TickBatch,
)

KEY = StreamKey("POCKETOPTION", "EURUSD_otc", "1m")
OTHER_KEY = StreamKey("SIM", "#AAPL", "1s")
START_MS = 1_756_850_400_000


def sample_candles(count: int, *, first: int = 0) -> CandleArray:
    """Candles whose prices are short decimals and differ in every field; some quality flags among them."""
    index = np.arange(first, first + count)
    candles = np.zeros(count, CANDLE_DTYPE)
    candles["ts_ms"] = START_MS + 60_000 * index
    candles["open"] = 1.0 + index / 8
    candles["high"] = 1.75 + index / 8
    candles["low"] = 0.5 + index / 8
    candles["close"] = 1.25 + index / 8
    candles["volume"] = 100 + index
    candles["tick_count"] = 100 + index
    candles["flags"] = np.array([0, 1, 2, 4, 8])[index % 5]
    return candles


STATUS = StreamStatus(
    KEY,
    latest_sequence=1_405,
    latest_ts_ms=START_MS,
    server_time_ms=START_MS + 61_250,
    first_sequence=1,
    store_id="0f8fad5b-d9cb-469f-a165-70867728950e",
    latest_revision=3,
    feed_state=4,
    last_tick_ts_ms=START_MS + 61_003,
    platform_offset_ms=7_200_000,
)

SAMPLES: dict[str, tuple[Message, str]] = {
    "health_request": (HealthRequest(), "q-1"),
    "health_response": (HealthResponse(True, "Live."), "q-1"),
    "health_response_not_ok": (HealthResponse(False, "Chrome ist weg \N{EM DASH} 待って"), "q-1"),
    "get_cursor_request": (GetCursorRequest(KEY), "q-2"),
    "get_cursor_response": (GetCursorResponse(KEY, 1_405, START_MS), "q-2"),
    "subscribe_candles_request": (SubscribeCandlesRequest(KEY), "q-3"),
    "subscribe_candles_request_from_start": (SubscribeCandlesRequest(KEY, 0), "q-3"),
    "subscribe_candles_ack": (SubscribeCandlesAck(True, "", KEY, 1_405), "q-3"),
    "subscribe_candles_ack_refused": (SubscribeCandlesAck(False, "No such stream.", OTHER_KEY, 0), "q-3"),
    "candle_batch_one": (CandleBatch(KEY, 1_405, sample_candles(1)), ""),
    "candle_batch_few": (CandleBatch(KEY, 1, sample_candles(3)), ""),
    "candle_batch_many": (CandleBatch(OTHER_KEY, 2**40, sample_candles(30)), ""),
    "candle_batch_empty": (CandleBatch(KEY, 1, sample_candles(0)), ""),
    "backfill_candles_request": (BackfillCandlesRequest(KEY), "q-4"),
    "backfill_candles_request_for_gap": (BackfillCandlesRequest(KEY, 0, START_MS - 60_000, 7), "q-4"),
    "backfill_candles_response": (BackfillCandlesResponse(KEY, 2, sample_candles(25), True, 27), "q-4"),
    "backfill_candles_response_empty": (BackfillCandlesResponse(KEY, 28, sample_candles(0), False, 28), "q-4"),
    "error_response": (ErrorResponse(404, "There is no stream SIM.#AAPL.1s."), "q-5"),
    "stream_status_request": (StreamStatusRequest(KEY), "q-6"),
    "stream_status_response": (STATUS, "q-6"),
    "stream_status_heartbeat": (StreamStatus(OTHER_KEY), ""),
    "candle_revision": (CandleRevision(KEY, 2, np.array([17, 0], "u8"), sample_candles(2)), ""),
    "revisions_request": (RevisionsRequest(KEY), "q-7"),
    "revisions_request_from": (RevisionsRequest(KEY, 1, 500), "q-7"),
    "revisions_response": (
        RevisionsResponse(KEY, 2, np.arange(20, 35, dtype="u8"), sample_candles(15), True, 17),
        "q-7",
    ),
    "tick_batch": (TickBatch(KEY, 9, START_MS + np.array([1, 500, 503]), np.array([1.08125, 1.0825, 1.08])), ""),
    "list_streams_request": (ListStreamsRequest(), "q-8"),
    "list_streams_response": (ListStreamsResponse((STATUS, StreamStatus(OTHER_KEY))), "q-8"),
    "list_streams_response_empty": (ListStreamsResponse(), "q-8"),
    "history_request": (HistoryRequest(KEY), "q-9"),
    "history_request_as_of": (HistoryRequest(KEY, START_MS, START_MS + 60_000, START_MS + 90_500, 500), "q-9"),
    "history_response": (
        HistoryResponse(KEY, sample_candles(15), np.array([*range(7), 0, *range(8, 15)], "u8"), START_MS + 900_000),
        "q-9",
    ),
    "history_response_empty": (HistoryResponse(KEY, sample_candles(0), np.zeros(0, "u8"), 0), "q-9"),
    "gaps_request": (GapsRequest("POCKETOPTION"), "q-10"),
    "gaps_request_as_of": (
        GapsRequest("POCKETOPTION", "EURUSD_otc", START_MS, START_MS + 60_000, START_MS + 90_500),
        "q-10",
    ),
    "gaps_response": (
        GapsResponse(
            (
                GapChange(
                    Gap("POCKETOPTION", "EURUSD_otc", START_MS, START_MS + 61_250, "tab closed"), START_MS + 61_300
                ),
                GapChange(Gap("POCKETOPTION", "", START_MS + 120_000, 0, "Chrome ist weg"), 0),
            )
        ),
        "q-10",
    ),
    "gaps_response_empty": (GapsResponse(), "q-10"),
}
"""``name -> (message, correlation id)``; the names are those of the golden files."""


def differences(message: Message, other: Message, *, by_bit: bool = True) -> list[str]:
    """Names of the fields in which two messages differ; empty when they are the same.

    Arrays are compared bit by bit, or by value (-0.0 equals 0.0, NaN equals NaN) when not ``by_bit``.
    """
    if type(message) is not type(other):
        return [f"{type(message).__name__} is not {type(other).__name__}"]
    pairs = {
        name: (getattr(message, name), getattr(other, name))
        for name in (f.name for f in msgspec.structs.fields(message))
    }
    return [name for name, (mine, yours) in pairs.items() if not _same(mine, yours, by_bit)]


def _same(mine: object, yours: object, by_bit: bool) -> bool:
    if not isinstance(mine, np.ndarray):
        return type(mine) is type(yours) and mine == yours
    if not isinstance(yours, np.ndarray) or mine.dtype != yours.dtype or mine.shape != yours.shape:
        return False
    if by_bit:
        return mine.tobytes() == yours.tobytes()
    columns = [(mine[name], yours[name]) for name in mine.dtype.names] if mine.dtype.names else [(mine, yours)]
    return all(np.array_equal(a, b, equal_nan=True) for a, b in columns)
