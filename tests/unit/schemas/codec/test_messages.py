"""Each message is the member of the union that the schema says, and odd contents are refused."""

from __future__ import annotations

import typing

import numpy as np
import pytest

from fluxcap.schemas import types
from fluxcap.schemas.codec import MAX_STREAMS, decode, encode
from fluxcap.schemas.codec.messages import MAX_GAPS, MEMBERS
from fluxcap.schemas.errors import CodecError, MessageTooLarge
from fluxcap.schemas.generated import market_data, market_data_v1
from tests.support.wire import generated_wire
from tests.support.wire.wire_samples import KEY, sample_candles


def test_every_message_has_a_member():
    assert {member.value_type for member in MEMBERS} == set(typing.get_args(types.Message))


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.table.name)
def test_ids_and_hints_are_those_of_the_schema(member: typing.Any):
    name, hint = generated_wire.MEMBERS[member.value_type]

    assert member.table.name == name
    assert member.id == getattr(market_data.Message, name)
    assert member.type_hint == getattr(market_data.MessageType, hint)
    assert member.version == (1 if hasattr(market_data_v1.Message, name) else 2)


@pytest.mark.parametrize(
    "message",
    [
        types.GetCursorResponse(KEY, -1, 0),
        types.GetCursorResponse(KEY, 2**64, 0),
        types.GetCursorResponse(KEY, 1, 2**63),
        types.GetCursorResponse(KEY, 1.5, 0),  # type: ignore[arg-type]
        types.BackfillCandlesRequest(KEY, limit=2**32),
        types.BackfillCandlesRequest(KEY, from_sequence_exclusive=-1),
        types.StreamStatus(KEY, feed_state=128),
        types.HealthResponse(True, None),  # type: ignore[arg-type]
        types.ErrorResponse(400, "\ud800"),
        types.GetCursorRequest(None),  # type: ignore[arg-type]
        types.CandleBatch(KEY, 1, None),  # type: ignore[arg-type]
    ],
)
def test_a_value_that_does_not_fit_its_field_is_refused(message: types.Message):
    with pytest.raises(CodecError):
        encode(message)


def test_what_is_no_message_is_refused():
    with pytest.raises(CodecError, match="Watermark is not a message"):
        encode(types.Watermark())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "message",
    [
        types.CandleRevision(KEY, 1, np.zeros(2, "u8"), sample_candles(3)),
        types.RevisionsResponse(KEY, 1, np.zeros(3, "u8"), sample_candles(2), False, 3),
        types.TickBatch(KEY, 1, np.zeros(2, "i8"), np.zeros(3)),
        types.HistoryResponse(KEY, sample_candles(2), np.zeros(3, "u8"), 0),
    ],
    ids=lambda message: type(message).__name__,
)
def test_columns_of_unequal_length_are_refused_both_ways(message: types.Message):
    with pytest.raises(CodecError, match="need as many"):
        encode(message)
    with pytest.raises(CodecError, match="came with"):
        decode(generated_wire.build(market_data, message))


def test_more_streams_than_one_message_may_hold_are_refused():
    with pytest.raises(MessageTooLarge):
        encode(types.ListStreamsResponse((types.StreamStatus(KEY),) * (MAX_STREAMS + 1)))


def test_more_gaps_than_one_message_may_hold_are_refused():
    with pytest.raises(MessageTooLarge):
        encode(types.GapsResponse((types.GapChange(types.Gap("S", "", 1)),) * (MAX_GAPS + 1)))


def test_an_absent_cursor_reads_as_zero():
    response = types.GetCursorResponse(KEY, 7, 8)
    with_cursor = bytearray(encode(response))
    table = market_data.Envelope.GetRootAs(bytes(with_cursor)).Message()
    vtable = table.Pos - int.from_bytes(with_cursor[table.Pos : table.Pos + 4], "little", signed=True)
    with_cursor[vtable + 6 : vtable + 8] = b"\0\0"

    assert decode(bytes(with_cursor)).message == types.GetCursorResponse(KEY, 0, 0)


def test_optional_numbers_tell_zero_from_none():
    for sequence in (None, 0):
        request = types.BackfillCandlesRequest(KEY, sequence, sequence)
        assert decode(encode(request)).message == request


def test_a_forming_candle_has_sequence_zero():
    message = decode(encode(types.CandleBatch(KEY, 0, sample_candles(1)))).message

    assert isinstance(message, types.CandleBatch)
    assert message.start_sequence == 0
