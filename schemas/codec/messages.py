"""Maps messages to members of the union, and encodes and decodes each as a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fluxcap.schemas import types
from fluxcap.schemas.codec import tables
from fluxcap.schemas.codec.candles import candles_part, read_candles
from fluxcap.schemas.codec.reading import Reader
from fluxcap.schemas.codec.tables import Table
from fluxcap.schemas.codec.writing import Part, column_part, key_part, string_part, table_part, tables_part
from fluxcap.schemas.errors import CodecError, MessageTooLarge

MAX_STREAMS = 65_536
"""Streams that one ListStreamsResponse may hold."""

_LEAST_STATUS = 12  # bytes: reference, offset to the vtable, key
MAX_GAPS = 65_536
"""Gaps that one GapsResponse may hold."""
_LEAST_GAP = 8  # bytes: reference, offset to the vtable

_UINT64 = np.dtype("<u8")
_INT64 = np.dtype("<i8")
_FLOAT64 = np.dtype("<f8")


class Member(NamedTuple):
    """A member of the union: its id, its MessageType, the version that brought it, and its way in and out."""

    id: int
    type_hint: int
    version: int
    value_type: type[Any]
    table: Table
    write: Callable[[Any], list[Any]]
    """Value to table fields in slot order, Parts for references."""
    read: Callable[[Reader, list[Any]], Any]
    """Table fields in slot order, positions for references, to the value."""

    def part(self, message: types.Message) -> Part:
        return table_part(self.table, self.write(message))

    def message(self, reader: Reader, position: int) -> types.Message:
        value: types.Message = self.read(reader, reader.values(position, self.table))
        return value


def _optional(number: int | None) -> tuple[bool, int]:
    return (False, 0) if number is None else (True, number)


def _only_key(message: Any) -> list[Any]:
    return [key_part(message.key)]


def _write_health_response(message: types.HealthResponse) -> list[Any]:
    return [message.ok, string_part(message.message)]


def _read_health_response(reader: Reader, values: list[Any]) -> types.HealthResponse:
    return types.HealthResponse(values[0], reader.string(values[1]))


def _write_cursor_response(message: types.GetCursorResponse) -> list[Any]:
    cursor = table_part(tables.CURSOR, [message.latest_sequence, message.latest_ts_ms])
    return [key_part(message.key), cursor]


def _read_cursor_response(reader: Reader, values: list[Any]) -> types.GetCursorResponse:
    key, cursor = values
    sequence, ts_ms = (0, 0) if cursor is None else reader.values(cursor, tables.CURSOR)
    return types.GetCursorResponse(reader.key(key), sequence, ts_ms)


def _write_subscribe_request(message: types.SubscribeCandlesRequest) -> list[Any]:
    return [key_part(message.key), *_optional(message.from_sequence_exclusive)]


def _read_subscribe_request(reader: Reader, values: list[Any]) -> types.SubscribeCandlesRequest:
    key, has_from, from_sequence = values
    return types.SubscribeCandlesRequest(reader.key(key), from_sequence if has_from else None)


def _write_subscribe_ack(message: types.SubscribeCandlesAck) -> list[Any]:
    return [message.accepted, string_part(message.reason), key_part(message.key), message.latest_sequence]


def _read_subscribe_ack(reader: Reader, values: list[Any]) -> types.SubscribeCandlesAck:
    accepted, reason, key, sequence = values
    return types.SubscribeCandlesAck(accepted, reader.string(reason), reader.key(key), sequence)


def _write_batch(message: types.CandleBatch) -> list[Any]:
    return [key_part(message.key), message.start_sequence, candles_part(message.candles)]


def _read_batch(reader: Reader, values: list[Any]) -> types.CandleBatch:
    key, start_sequence, candles = values
    return types.CandleBatch(reader.key(key), start_sequence, read_candles(reader, candles))


def _write_backfill_request(message: types.BackfillCandlesRequest) -> list[Any]:
    optional = (*_optional(message.from_sequence_exclusive), *_optional(message.end_ts_ms))
    return [key_part(message.key), *optional, message.limit]


def _read_backfill_request(reader: Reader, values: list[Any]) -> types.BackfillCandlesRequest:
    key, has_from, from_sequence, has_end, end_ts_ms, limit = values
    return types.BackfillCandlesRequest(
        reader.key(key), from_sequence if has_from else None, end_ts_ms if has_end else None, limit
    )


def _write_backfill_response(message: types.BackfillCandlesResponse) -> list[Any]:
    candles = candles_part(message.candles)
    return [key_part(message.key), message.start_sequence, candles, message.has_more, message.next_sequence]


def _read_backfill_response(reader: Reader, values: list[Any]) -> types.BackfillCandlesResponse:
    key, start, candles, has_more, following = values
    return types.BackfillCandlesResponse(reader.key(key), start, read_candles(reader, candles), has_more, following)


def _write_error(message: types.ErrorResponse) -> list[Any]:
    return [message.code, string_part(message.message)]


def _read_error(reader: Reader, values: list[Any]) -> types.ErrorResponse:
    return types.ErrorResponse(values[0], reader.string(values[1]))


def _write_status(message: types.StreamStatus) -> list[Any]:
    return [
        key_part(message.key),
        message.latest_sequence,
        message.latest_ts_ms,
        message.server_time_ms,
        message.first_sequence,
        string_part(message.store_id),
        message.latest_revision,
        message.feed_state,
        message.last_tick_ts_ms,
        message.platform_offset_ms,
    ]


def _read_status(reader: Reader, values: list[Any]) -> types.StreamStatus:
    key, sequence, ts_ms, server_time_ms, first_sequence, store_id, *rest = values
    return types.StreamStatus(
        reader.key(key), sequence, ts_ms, server_time_ms, first_sequence, reader.string(store_id), *rest
    )


def _revised(message: types.CandleRevision | types.RevisionsResponse) -> list[Any]:
    if len(message.sequences) != len(message.candles):
        raise CodecError(f"{len(message.candles)} revised candles need as many sequences.")
    candles, sequences = candles_part(message.candles), column_part(message.sequences, _UINT64)
    return [key_part(message.key), message.start_revision, candles, sequences]


def _read_revised(
    reader: Reader, values: list[Any]
) -> tuple[types.StreamKey, int, npt.NDArray[np.uint64], types.CandleArray]:
    key, start_revision = reader.key(values[0]), values[1]
    candles, sequences = read_candles(reader, values[2]), reader.column(values[3], _UINT64)
    if len(candles) != len(sequences):
        raise CodecError(f"{len(candles)} revised candles came with {len(sequences)} sequences.")
    return key, start_revision, sequences, candles


def _read_revision(reader: Reader, values: list[Any]) -> types.CandleRevision:
    return types.CandleRevision(*_read_revised(reader, values))


def _write_revisions_request(message: types.RevisionsRequest) -> list[Any]:
    return [key_part(message.key), *_optional(message.from_revision_exclusive), message.limit]


def _read_revisions_request(reader: Reader, values: list[Any]) -> types.RevisionsRequest:
    key, has_from, from_revision, limit = values
    return types.RevisionsRequest(reader.key(key), from_revision if has_from else None, limit)


def _write_revisions_response(message: types.RevisionsResponse) -> list[Any]:
    return [*_revised(message), message.has_more, message.next_revision]


def _read_revisions_response(reader: Reader, values: list[Any]) -> types.RevisionsResponse:
    return types.RevisionsResponse(*_read_revised(reader, values), values[4], values[5])


def _write_ticks(message: types.TickBatch) -> list[Any]:
    if len(message.ts_ms) != len(message.price):
        raise CodecError(f"{len(message.ts_ms)} tick times need as many prices.")
    times, prices = column_part(message.ts_ms, _INT64), column_part(message.price, _FLOAT64)
    return [key_part(message.key), message.start_sequence, times, prices]


def _read_ticks(reader: Reader, values: list[Any]) -> types.TickBatch:
    key, start_sequence, ts_ms, price = values
    times, prices = reader.column(ts_ms, _INT64), reader.column(price, _FLOAT64)
    if len(times) != len(prices):
        raise CodecError(f"{len(times)} tick times came with {len(prices)} prices.")
    return types.TickBatch(reader.key(key), start_sequence, times, prices)


def _write_streams(message: types.ListStreamsResponse) -> list[Any]:
    if len(message.streams) > MAX_STREAMS:
        raise MessageTooLarge(f"{len(message.streams)} streams are more than the {MAX_STREAMS} a message may hold.")
    return [tables_part([table_part(tables.STREAM_STATUS_RESPONSE, _write_status(s)) for s in message.streams])]


def _read_streams(reader: Reader, values: list[Any]) -> types.ListStreamsResponse:
    def status(position: int) -> types.StreamStatus:
        return _read_status(reader, reader.values(position, tables.STREAM_STATUS_RESPONSE))

    return types.ListStreamsResponse(tuple(reader.tables(values[0], _LEAST_STATUS, MAX_STREAMS, status)))


def _write_history_request(message: types.HistoryRequest) -> list[Any]:
    return [key_part(message.key), message.from_ms, message.to_ms, *_optional(message.as_of_ms), message.limit]


def _read_history_request(reader: Reader, values: list[Any]) -> types.HistoryRequest:
    key, from_ms, to_ms, has_as_of, as_of_ms, limit = values
    return types.HistoryRequest(reader.key(key), from_ms, to_ms, as_of_ms if has_as_of else None, limit)


def _write_history_response(message: types.HistoryResponse) -> list[Any]:
    if len(message.sequences) != len(message.candles):
        raise CodecError(f"{len(message.candles)} candles need as many sequences.")
    candles, sequences = candles_part(message.candles), column_part(message.sequences, _UINT64)
    return [key_part(message.key), candles, sequences, message.next_ms]


def _read_history_response(reader: Reader, values: list[Any]) -> types.HistoryResponse:
    key, candles, sequences, next_ms = values
    found, numbers = read_candles(reader, candles), reader.column(sequences, _UINT64)
    if len(found) != len(numbers):
        raise CodecError(f"{len(found)} candles came with {len(numbers)} sequences.")
    return types.HistoryResponse(reader.key(key), found, numbers, next_ms)


def _write_gap(told: types.GapChange) -> list[Any]:
    gap = told.gap
    names = (string_part(gap.source_id), string_part(gap.symbol))
    return [*names, gap.from_ms, gap.to_ms, string_part(gap.reason), told.at_ms]


def _read_gap(reader: Reader, values: list[Any]) -> types.GapChange:
    source_id, symbol, from_ms, to_ms, reason, at_ms = values
    names = (reader.string(source_id), reader.string(symbol))
    return types.GapChange(types.Gap(*names, from_ms, to_ms, reader.string(reason)), at_ms)


def _write_gaps_request(message: types.GapsRequest) -> list[Any]:
    names = (string_part(message.source_id), string_part(message.symbol))
    return [*names, message.from_ms, message.to_ms, *_optional(message.as_of_ms)]


def _read_gaps_request(reader: Reader, values: list[Any]) -> types.GapsRequest:
    source_id, symbol, from_ms, to_ms, has_as_of, as_of_ms = values
    names = (reader.string(source_id), reader.string(symbol))
    return types.GapsRequest(*names, from_ms, to_ms, as_of_ms if has_as_of else None)


def _write_gaps(message: types.GapsResponse) -> list[Any]:
    if len(message.gaps) > MAX_GAPS:
        raise MessageTooLarge(f"{len(message.gaps)} gaps are more than the {MAX_GAPS} a message may hold.")
    return [tables_part([table_part(tables.GAP, _write_gap(told)) for told in message.gaps])]


def _read_gaps(reader: Reader, values: list[Any]) -> types.GapsResponse:
    def told(position: int) -> types.GapChange:
        return _read_gap(reader, reader.values(position, tables.GAP))

    return types.GapsResponse(tuple(reader.tables(values[0], _LEAST_GAP, MAX_GAPS, told)))


def _bare(value_type: type[Any]) -> tuple[Callable[[Any], list[Any]], Callable[[Reader, list[Any]], Any]]:
    return lambda message: [], lambda reader, values: value_type()


def _keyed(value_type: type[Any]) -> tuple[Callable[[Any], list[Any]], Callable[[Reader, list[Any]], Any]]:
    return _only_key, lambda reader, values: value_type(reader.key(values[0]))


# fmt: off
MEMBERS = (
    Member(1, 1, 1, types.HealthRequest, tables.HEALTH_REQUEST, *_bare(types.HealthRequest)),
    Member(2, 2, 1, types.HealthResponse, tables.HEALTH_RESPONSE, _write_health_response, _read_health_response),
    Member(3, 3, 1, types.GetCursorRequest, tables.GET_CURSOR_REQUEST, *_keyed(types.GetCursorRequest)),
    Member(4, 4, 1, types.GetCursorResponse, tables.GET_CURSOR_RESPONSE, _write_cursor_response, _read_cursor_response),
    Member(5, 5, 1, types.SubscribeCandlesRequest, tables.SUBSCRIBE_CANDLES_REQUEST,
           _write_subscribe_request, _read_subscribe_request),
    Member(6, 6, 1, types.SubscribeCandlesAck, tables.SUBSCRIBE_CANDLES_ACK, _write_subscribe_ack, _read_subscribe_ack),
    Member(7, 7, 1, types.CandleBatch, tables.CANDLE_BATCH, _write_batch, _read_batch),
    Member(8, 8, 1, types.BackfillCandlesRequest, tables.BACKFILL_CANDLES_REQUEST,
           _write_backfill_request, _read_backfill_request),
    Member(9, 9, 1, types.BackfillCandlesResponse, tables.BACKFILL_CANDLES_RESPONSE,
           _write_backfill_response, _read_backfill_response),
    Member(10, 100, 1, types.ErrorResponse, tables.ERROR_RESPONSE, _write_error, _read_error),
    Member(11, 10, 2, types.StreamStatusRequest, tables.STREAM_STATUS_REQUEST, *_keyed(types.StreamStatusRequest)),
    Member(12, 11, 2, types.StreamStatus, tables.STREAM_STATUS_RESPONSE, _write_status, _read_status),
    Member(13, 12, 2, types.CandleRevision, tables.CANDLE_REVISION, _revised, _read_revision),
    Member(14, 13, 2, types.RevisionsRequest, tables.REVISIONS_REQUEST,
           _write_revisions_request, _read_revisions_request),
    Member(15, 14, 2, types.RevisionsResponse, tables.REVISIONS_RESPONSE,
           _write_revisions_response, _read_revisions_response),
    Member(16, 15, 2, types.TickBatch, tables.TICK_BATCH, _write_ticks, _read_ticks),
    Member(17, 16, 2, types.ListStreamsRequest, tables.LIST_STREAMS_REQUEST, *_bare(types.ListStreamsRequest)),
    Member(18, 17, 2, types.ListStreamsResponse, tables.LIST_STREAMS_RESPONSE, _write_streams, _read_streams),
    Member(19, 18, 2, types.HistoryRequest, tables.HISTORY_REQUEST, _write_history_request, _read_history_request),
    Member(20, 19, 2, types.HistoryResponse, tables.HISTORY_RESPONSE, _write_history_response, _read_history_response),
    Member(21, 20, 2, types.GapsRequest, tables.GAPS_REQUEST, _write_gaps_request, _read_gaps_request),
    Member(22, 21, 2, types.GapsResponse, tables.GAPS_RESPONSE, _write_gaps, _read_gaps),
)
# fmt: on

MEMBER_OF_TYPE: dict[type[Any], Member] = {member.value_type: member for member in MEMBERS}
MEMBER_OF_ID: dict[int, Member] = {member.id: member for member in MEMBERS}
