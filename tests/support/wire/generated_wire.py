"""Every message built and read with the code that flatc generated: the reference that the codec is checked against.

``fb`` is ``fluxcap.schemas.generated.market_data``, or ``market_data_v1`` to be a client of version 1: then candles
have no ``tick_count`` and ``flags``.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import flatbuffers
import numpy as np

from fluxcap.schemas import types
from fluxcap.schemas.types import CANDLE_DTYPE, CandleArray, Envelope, Message, StreamKey

# union member and its MessageType, by our type: written out here again, so that a slip in the codec shows
MEMBERS: dict[type[Any], tuple[str, str]] = {
    types.HealthRequest: ("HealthRequest", "HEALTH_REQUEST"),
    types.HealthResponse: ("HealthResponse", "HEALTH_RESPONSE"),
    types.GetCursorRequest: ("GetCursorRequest", "GET_CURSOR_REQUEST"),
    types.GetCursorResponse: ("GetCursorResponse", "GET_CURSOR_RESPONSE"),
    types.SubscribeCandlesRequest: ("SubscribeCandlesRequest", "SUBSCRIBE_CANDLES_REQUEST"),
    types.SubscribeCandlesAck: ("SubscribeCandlesAck", "SUBSCRIBE_CANDLES_ACK"),
    types.CandleBatch: ("CandleBatch", "CANDLE_BATCH"),
    types.BackfillCandlesRequest: ("BackfillCandlesRequest", "BACKFILL_CANDLES_REQUEST"),
    types.BackfillCandlesResponse: ("BackfillCandlesResponse", "BACKFILL_CANDLES_RESPONSE"),
    types.ErrorResponse: ("ErrorResponse", "ERROR_RESPONSE"),
    types.StreamStatusRequest: ("StreamStatusRequest", "STREAM_STATUS_REQUEST"),
    types.StreamStatus: ("StreamStatusResponse", "STREAM_STATUS_RESPONSE"),
    types.CandleRevision: ("CandleRevision", "CANDLE_REVISION"),
    types.RevisionsRequest: ("RevisionsRequest", "REVISIONS_REQUEST"),
    types.RevisionsResponse: ("RevisionsResponse", "REVISIONS_RESPONSE"),
    types.TickBatch: ("TickBatch", "TICK_BATCH"),
    types.ListStreamsRequest: ("ListStreamsRequest", "LIST_STREAMS_REQUEST"),
    types.ListStreamsResponse: ("ListStreamsResponse", "LIST_STREAMS_RESPONSE"),
    types.HistoryRequest: ("HistoryRequest", "HISTORY_REQUEST"),
    types.HistoryResponse: ("HistoryResponse", "HISTORY_RESPONSE"),
    types.GapsRequest: ("GapsRequest", "GAPS_REQUEST"),
    types.GapsResponse: ("GapsResponse", "GAPS_RESPONSE"),
}
VERSION_2 = frozenset(list(MEMBERS)[10:])


# --- building ------------------------------------------------------------------------------------------------------


def build(fb: ModuleType, message: Message, correlation_id: str = "") -> bytes:
    """The message in its envelope."""
    builder = flatbuffers.Builder(1024)
    member, hint = MEMBERS[type(message)]
    table = _BUILDERS[type(message)](fb, builder, message)
    correlation = builder.CreateString(correlation_id) if correlation_id else None
    fb.EnvelopeStart(builder)
    fb.EnvelopeAddSchemaVersion(builder, 2 if type(message) in VERSION_2 else 1)
    fb.EnvelopeAddTypeHint(builder, getattr(fb.MessageType, hint))
    if correlation is not None:
        fb.EnvelopeAddCorrelationId(builder, correlation)
    fb.EnvelopeAddMessageType(builder, getattr(fb.Message, member))
    fb.EnvelopeAddMessage(builder, table)
    builder.Finish(fb.EnvelopeEnd(builder))
    return bytes(builder.Output())


def build_candles(fb: ModuleType, builder: flatbuffers.Builder, candles: CandleArray) -> int:
    """The vector, one candle after the other as a client would."""
    with_version_2 = hasattr(fb, "CandleAddFlags")
    rows = []
    for ts_ms, open_, high, low, close, volume, tick_count, flags in candles.tolist():
        fb.CandleStart(builder)
        fb.CandleAddTsMs(builder, ts_ms)
        fb.CandleAddOpen(builder, open_)
        fb.CandleAddHigh(builder, high)
        fb.CandleAddLow(builder, low)
        fb.CandleAddClose(builder, close)
        fb.CandleAddVolume(builder, volume)
        if with_version_2:
            fb.CandleAddTickCount(builder, tick_count)
            fb.CandleAddFlags(builder, flags)
        rows.append(fb.CandleEnd(builder))
    builder.StartVector(4, len(rows), 4)
    for row in reversed(rows):
        builder.PrependUOffsetTRelative(row)
    return builder.EndVector()


def build_key(fb: ModuleType, builder: flatbuffers.Builder, key: StreamKey) -> int:
    """A stream key."""
    strings = [builder.CreateString(text) for text in (key.source_id, key.symbol, key.interval)]
    fb.StreamKeyStart(builder)
    fb.StreamKeyAddSourceId(builder, strings[0])
    fb.StreamKeyAddSymbol(builder, strings[1])
    fb.StreamKeyAddInterval(builder, strings[2])
    return fb.StreamKeyEnd(builder)


def _table(fb: ModuleType, builder: flatbuffers.Builder, name: str, **fields: Any) -> int:
    getattr(fb, f"{name}Start")(builder)
    for field, value in fields.items():
        getattr(fb, f"{name}Add{field}")(builder, value)
    return getattr(fb, f"{name}End")(builder)


def _bare(name: str) -> Callable[..., int]:
    return lambda fb, builder, message: _table(fb, builder, name)


def _keyed(name: str) -> Callable[..., int]:
    return lambda fb, builder, message: _table(fb, builder, name, Key=build_key(fb, builder, message.key))


def _health_response(fb: ModuleType, builder: Any, message: types.HealthResponse) -> int:
    text = builder.CreateString(message.message)
    return _table(fb, builder, "HealthResponse", Ok=message.ok, Message=text)


def _cursor_response(fb: ModuleType, builder: Any, message: types.GetCursorResponse) -> int:
    sequence, ts_ms = message.latest_sequence, message.latest_ts_ms
    cursor = _table(fb, builder, "Cursor", LatestSequence=sequence, LatestTsMs=ts_ms)
    return _table(fb, builder, "GetCursorResponse", Key=build_key(fb, builder, message.key), Cursor=cursor)


def _from_sequence(number: int | None) -> dict[str, Any]:
    return {} if number is None else {"HasFromSequence": True, "FromSequenceExclusive": number}


def _subscribe_request(fb: ModuleType, builder: Any, message: types.SubscribeCandlesRequest) -> int:
    optional = _from_sequence(message.from_sequence_exclusive)
    return _table(fb, builder, "SubscribeCandlesRequest", Key=build_key(fb, builder, message.key), **optional)


def _subscribe_ack(fb: ModuleType, builder: Any, message: types.SubscribeCandlesAck) -> int:
    reason, key = builder.CreateString(message.reason), build_key(fb, builder, message.key)
    fields = {"Accepted": message.accepted, "Reason": reason, "Key": key, "LatestSequence": message.latest_sequence}
    return _table(fb, builder, "SubscribeCandlesAck", **fields)


def _batch(fb: ModuleType, builder: Any, message: types.CandleBatch) -> int:
    key, candles = build_key(fb, builder, message.key), build_candles(fb, builder, message.candles)
    return _table(fb, builder, "CandleBatch", Key=key, StartSequence=message.start_sequence, Candles=candles)


def _backfill_request(fb: ModuleType, builder: Any, message: types.BackfillCandlesRequest) -> int:
    optional = _from_sequence(message.from_sequence_exclusive)
    if message.end_ts_ms is not None:
        optional |= {"HasEndTsMs": True, "EndTsMs": message.end_ts_ms}
    key = build_key(fb, builder, message.key)
    return _table(fb, builder, "BackfillCandlesRequest", Key=key, **optional, Limit=message.limit)


def _backfill_response(fb: ModuleType, builder: Any, message: types.BackfillCandlesResponse) -> int:
    key, candles = build_key(fb, builder, message.key), build_candles(fb, builder, message.candles)
    page = {"HasMore": message.has_more, "NextSequence": message.next_sequence}
    start = message.start_sequence
    return _table(fb, builder, "BackfillCandlesResponse", Key=key, StartSequence=start, Candles=candles, **page)


def _error(fb: ModuleType, builder: Any, message: types.ErrorResponse) -> int:
    text = builder.CreateString(message.message)
    return _table(fb, builder, "ErrorResponse", Code=message.code, Message=text)


def _status(fb: ModuleType, builder: Any, message: types.StreamStatus) -> int:
    return _table(
        fb,
        builder,
        "StreamStatusResponse",
        Key=build_key(fb, builder, message.key),
        LatestSequence=message.latest_sequence,
        LatestTsMs=message.latest_ts_ms,
        ServerTimeMs=message.server_time_ms,
        FirstSequence=message.first_sequence,
        StoreId=builder.CreateString(message.store_id),
        LatestRevision=message.latest_revision,
        FeedState=message.feed_state,
        LastTickTsMs=message.last_tick_ts_ms,
        PlatformOffsetMs=message.platform_offset_ms,
    )


def _revised(fb: ModuleType, builder: Any, message: Any) -> dict[str, Any]:
    return {
        "Key": build_key(fb, builder, message.key),
        "StartRevision": message.start_revision,
        "Candles": build_candles(fb, builder, message.candles),
        "Sequences": _column(builder, message.sequences, builder.PrependUint64),
    }


def _column(builder: Any, column: Any, prepend: Callable[[Any], None]) -> int:
    builder.StartVector(8, len(column), 8)
    for value in reversed(column.tolist()):
        prepend(value)
    return builder.EndVector()


def _revision(fb: ModuleType, builder: Any, message: types.CandleRevision) -> int:
    return _table(fb, builder, "CandleRevision", **_revised(fb, builder, message))


def _revisions_request(fb: ModuleType, builder: Any, message: types.RevisionsRequest) -> int:
    number = message.from_revision_exclusive
    optional = {} if number is None else {"HasFromRevision": True, "FromRevisionExclusive": number}
    key = build_key(fb, builder, message.key)
    return _table(fb, builder, "RevisionsRequest", Key=key, **optional, Limit=message.limit)


def _revisions_response(fb: ModuleType, builder: Any, message: types.RevisionsResponse) -> int:
    page = {"HasMore": message.has_more, "NextRevision": message.next_revision}
    return _table(fb, builder, "RevisionsResponse", **_revised(fb, builder, message), **page)


def _ticks(fb: ModuleType, builder: Any, message: types.TickBatch) -> int:
    times = _column(builder, message.ts_ms, builder.PrependInt64)
    prices = _column(builder, message.price, builder.PrependFloat64)
    key = build_key(fb, builder, message.key)
    return _table(fb, builder, "TickBatch", Key=key, StartSequence=message.start_sequence, TsMs=times, Price=prices)


def _streams(fb: ModuleType, builder: Any, message: types.ListStreamsResponse) -> int:
    statuses = [_status(fb, builder, status) for status in message.streams]
    builder.StartVector(4, len(statuses), 4)
    for status in reversed(statuses):
        builder.PrependUOffsetTRelative(status)
    return _table(fb, builder, "ListStreamsResponse", Streams=builder.EndVector())


def _range(message: types.HistoryRequest | types.GapsRequest) -> dict[str, Any]:
    told = {} if message.as_of_ms is None else {"HasAsOf": True, "AsOfMs": message.as_of_ms}
    return {"FromMs": message.from_ms, "ToMs": message.to_ms, **told}


def _history_request(fb: ModuleType, builder: Any, message: types.HistoryRequest) -> int:
    key = build_key(fb, builder, message.key)
    return _table(fb, builder, "HistoryRequest", Key=key, **_range(message), Limit=message.limit)


def _history_response(fb: ModuleType, builder: Any, message: types.HistoryResponse) -> int:
    columns = {
        "Key": build_key(fb, builder, message.key),
        "Candles": build_candles(fb, builder, message.candles),
        "Sequences": _column(builder, message.sequences, builder.PrependUint64),
    }
    return _table(fb, builder, "HistoryResponse", **columns, NextMs=message.next_ms)


def _gaps_request(fb: ModuleType, builder: Any, message: types.GapsRequest) -> int:
    names = {"SourceId": builder.CreateString(message.source_id), "Symbol": builder.CreateString(message.symbol)}
    return _table(fb, builder, "GapsRequest", **names, **_range(message))


def _told_gap(fb: ModuleType, builder: Any, told: types.GapChange) -> int:
    texts = {
        "SourceId": builder.CreateString(told.gap.source_id),
        "Symbol": builder.CreateString(told.gap.symbol),
        "Reason": builder.CreateString(told.gap.reason),
    }
    times = {"FromMs": told.gap.from_ms, "ToMs": told.gap.to_ms, "AtMs": told.at_ms}
    return _table(fb, builder, "Gap", **texts, **times)


def _gaps(fb: ModuleType, builder: Any, message: types.GapsResponse) -> int:
    tables = [_told_gap(fb, builder, told) for told in message.gaps]
    builder.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        builder.PrependUOffsetTRelative(table)
    return _table(fb, builder, "GapsResponse", Gaps=builder.EndVector())


_BUILDERS: dict[type[Any], Callable[..., int]] = {
    types.HealthRequest: _bare("HealthRequest"),
    types.HealthResponse: _health_response,
    types.GetCursorRequest: _keyed("GetCursorRequest"),
    types.GetCursorResponse: _cursor_response,
    types.SubscribeCandlesRequest: _subscribe_request,
    types.SubscribeCandlesAck: _subscribe_ack,
    types.CandleBatch: _batch,
    types.BackfillCandlesRequest: _backfill_request,
    types.BackfillCandlesResponse: _backfill_response,
    types.ErrorResponse: _error,
    types.StreamStatusRequest: _keyed("StreamStatusRequest"),
    types.StreamStatus: _status,
    types.CandleRevision: _revision,
    types.RevisionsRequest: _revisions_request,
    types.RevisionsResponse: _revisions_response,
    types.TickBatch: _ticks,
    types.ListStreamsRequest: _bare("ListStreamsRequest"),
    types.ListStreamsResponse: _streams,
    types.HistoryRequest: _history_request,
    types.HistoryResponse: _history_response,
    types.GapsRequest: _gaps_request,
    types.GapsResponse: _gaps,
}


# --- reading -------------------------------------------------------------------------------------------------------


def read(fb: ModuleType, data: bytes) -> Envelope:
    """The message by the generated accessors; KeyError for a member that this ``fb`` does not know."""
    envelope = fb.Envelope.GetRootAs(data)
    names = {number: name for name, number in vars(fb.Message).items() if isinstance(number, int)}
    name = names[envelope.MessageType()]
    union = envelope.Message()
    table = getattr(fb, name)()
    table.Init(union.Bytes, union.Pos)
    correlation_id = _text(envelope.CorrelationId())
    return Envelope(_READERS[name](table), correlation_id, envelope.SchemaVersion())


def type_hint(fb: ModuleType, data: bytes) -> int:
    """The envelope's MessageType."""
    return fb.Envelope.GetRootAs(data).TypeHint()


def read_rows(table: Any) -> list[tuple[float, ...]]:
    """All candles of a table, every field of each."""
    rows = []
    for index in range(table.CandlesLength()):
        row = table.Candles(index)
        later = (row.TickCount(), row.Flags()) if hasattr(row, "Flags") else (0, 0)
        rows.append((row.TsMs(), row.Open(), row.High(), row.Low(), row.Close(), row.Volume(), *later))
    return rows


def _candles(table: Any) -> CandleArray:
    return np.array(read_rows(table), CANDLE_DTYPE)


def _text(data: bytes | None) -> str:
    return data.decode() if data is not None else ""


def read_key(key: Any) -> StreamKey:
    """A stream key."""
    return StreamKey(_text(key.SourceId()), _text(key.Symbol()), _text(key.Interval()))


def _read_cursor(table: Any) -> types.GetCursorResponse:
    cursor = table.Cursor()
    return types.GetCursorResponse(read_key(table.Key()), cursor.LatestSequence(), cursor.LatestTsMs())


def _read_from(table: Any) -> int | None:
    return table.FromSequenceExclusive() if table.HasFromSequence() else None


def _read_backfill_request(table: Any) -> types.BackfillCandlesRequest:
    end_ts_ms = table.EndTsMs() if table.HasEndTsMs() else None
    return types.BackfillCandlesRequest(read_key(table.Key()), _read_from(table), end_ts_ms, table.Limit())


def read_status(table: Any) -> types.StreamStatus:
    """A stream's status."""
    return types.StreamStatus(
        read_key(table.Key()),
        table.LatestSequence(),
        table.LatestTsMs(),
        table.ServerTimeMs(),
        table.FirstSequence(),
        _text(table.StoreId()),
        table.LatestRevision(),
        table.FeedState(),
        table.LastTickTsMs(),
        table.PlatformOffsetMs(),
    )


def _read_numbers(length: int, read_one: Callable[[int], float], dtype: str) -> Any:
    return np.array([read_one(index) for index in range(length)], dtype)


def _read_sequences(table: Any) -> Any:
    return _read_numbers(table.SequencesLength(), table.Sequences, "<u8")


def _read_revisions_request(table: Any) -> types.RevisionsRequest:
    revision = table.FromRevisionExclusive() if table.HasFromRevision() else None
    return types.RevisionsRequest(read_key(table.Key()), revision, table.Limit())


def _read_ticks(table: Any) -> types.TickBatch:
    times = _read_numbers(table.TsMsLength(), table.TsMs, "<i8")
    prices = _read_numbers(table.PriceLength(), table.Price, "<f8")
    return types.TickBatch(read_key(table.Key()), table.StartSequence(), times, prices)


def _read_as_of(table: Any) -> int | None:
    return table.AsOfMs() if table.HasAsOf() else None


def _read_told_gap(table: Any) -> types.GapChange:
    names = (_text(table.SourceId()), _text(table.Symbol()))
    return types.GapChange(types.Gap(*names, table.FromMs(), table.ToMs(), _text(table.Reason())), table.AtMs())


_READERS: dict[str, Callable[[Any], Message]] = {
    "HealthRequest": lambda t: types.HealthRequest(),
    "HealthResponse": lambda t: types.HealthResponse(t.Ok(), _text(t.Message())),
    "GetCursorRequest": lambda t: types.GetCursorRequest(read_key(t.Key())),
    "GetCursorResponse": _read_cursor,
    "SubscribeCandlesRequest": lambda t: types.SubscribeCandlesRequest(read_key(t.Key()), _read_from(t)),
    "SubscribeCandlesAck": lambda t: types.SubscribeCandlesAck(
        t.Accepted(), _text(t.Reason()), read_key(t.Key()), t.LatestSequence()
    ),
    "CandleBatch": lambda t: types.CandleBatch(read_key(t.Key()), t.StartSequence(), _candles(t)),
    "BackfillCandlesRequest": _read_backfill_request,
    "BackfillCandlesResponse": lambda t: types.BackfillCandlesResponse(
        read_key(t.Key()), t.StartSequence(), _candles(t), t.HasMore(), t.NextSequence()
    ),
    "ErrorResponse": lambda t: types.ErrorResponse(t.Code(), _text(t.Message())),
    "StreamStatusRequest": lambda t: types.StreamStatusRequest(read_key(t.Key())),
    "StreamStatusResponse": read_status,
    "CandleRevision": lambda t: types.CandleRevision(
        read_key(t.Key()), t.StartRevision(), _read_sequences(t), _candles(t)
    ),
    "RevisionsRequest": _read_revisions_request,
    "RevisionsResponse": lambda t: types.RevisionsResponse(
        read_key(t.Key()), t.StartRevision(), _read_sequences(t), _candles(t), t.HasMore(), t.NextRevision()
    ),
    "TickBatch": _read_ticks,
    "ListStreamsRequest": lambda t: types.ListStreamsRequest(),
    "ListStreamsResponse": lambda t: types.ListStreamsResponse(
        tuple(read_status(t.Streams(index)) for index in range(t.StreamsLength()))
    ),
    "HistoryRequest": lambda t: types.HistoryRequest(
        read_key(t.Key()), t.FromMs(), t.ToMs(), _read_as_of(t), t.Limit()
    ),
    "HistoryResponse": lambda t: types.HistoryResponse(read_key(t.Key()), _candles(t), _read_sequences(t), t.NextMs()),
    "GapsRequest": lambda t: types.GapsRequest(
        _text(t.SourceId()), _text(t.Symbol()), t.FromMs(), t.ToMs(), _read_as_of(t)
    ),
    "GapsResponse": lambda t: types.GapsResponse(
        tuple(_read_told_gap(t.Gaps(index)) for index in range(t.GapsLength()))
    ),
}
