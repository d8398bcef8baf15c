"""Any message survives the codec, and the codec and the generated code read each other's bytes."""

from __future__ import annotations

from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxcap.schemas import types
from fluxcap.schemas.codec import decode, encode
from fluxcap.schemas.codec import envelope as codec
from fluxcap.schemas.errors import CodecError
from fluxcap.schemas.generated import market_data, market_data_v1
from fluxcap.schemas.types import CANDLE_DTYPE, Message, StreamKey
from tests.support.examples import examples
from tests.support.wire import generated_wire
from tests.support.wire.flatbuffer_verifier import Verifier
from tests.support.wire.wire_samples import differences

VERIFIER = Verifier(Path(types.__file__).with_name("market_data.fbs"))

texts = st.text(st.characters(codec="utf-8"), max_size=40)
keys = st.builds(StreamKey, texts, texts, texts)
u64 = st.integers(0, 2**64 - 1)
i64 = st.integers(-(2**63), 2**63 - 1)
u32 = st.integers(0, 2**32 - 1)
# 40 reaches past the sizes that are handled one by one, into the vectorised layouts
lengths = st.integers(0, 40)
numbers = st.one_of(st.sampled_from([0.0, -0.0, 1.08125, np.nan, np.inf, -np.inf]), st.floats())


def candles_of(length: int) -> st.SearchStrategy[types.CandleArray]:
    row = st.tuples(st.one_of(st.just(0), i64), *[numbers] * 5, st.one_of(st.just(0), u32), st.integers(0, 2**16 - 1))
    return hnp.arrays(CANDLE_DTYPE, length, elements=row)


candles = lengths.flatmap(candles_of)
statuses = st.builds(types.StreamStatus, keys, u64, i64, i64, u64, texts, u64, st.integers(-128, 127), i64, i64)

gaps = st.builds(types.GapChange, st.builds(types.Gap, texts, texts, i64, i64, texts), i64)


def revised(length: int) -> st.SearchStrategy[tuple[np.ndarray, types.CandleArray]]:
    return st.tuples(hnp.arrays("<u8", length, elements=u64), candles_of(length))


def revisions(parts: tuple[np.ndarray, types.CandleArray]) -> st.SearchStrategy[Message]:
    given_arrays = (st.just(parts[0]), st.just(parts[1]))
    return st.one_of(
        st.builds(types.CandleRevision, keys, u64, *given_arrays),
        st.builds(types.RevisionsResponse, keys, u64, *given_arrays, st.booleans(), u64),
    )


def history(length: int) -> st.SearchStrategy[types.HistoryResponse]:
    return st.builds(types.HistoryResponse, keys, candles_of(length), hnp.arrays("<u8", length, elements=u64), i64)


def ticks(length: int) -> st.SearchStrategy[types.TickBatch]:
    times, prices = hnp.arrays("<i8", length, elements=i64), hnp.arrays("<f8", length, elements=numbers)
    return st.builds(types.TickBatch, keys, u64, times, prices)


small_messages = st.one_of(
    st.builds(types.HealthRequest),
    st.builds(types.HealthResponse, st.booleans(), texts),
    st.builds(types.GetCursorRequest, keys),
    st.builds(types.GetCursorResponse, keys, u64, i64),
    st.builds(types.SubscribeCandlesRequest, keys, st.none() | u64),
    st.builds(types.SubscribeCandlesAck, st.booleans(), texts, keys, u64),
    st.builds(types.BackfillCandlesRequest, keys, st.none() | u64, st.none() | i64, u32),
    st.builds(types.ErrorResponse, u32, texts),
    st.builds(types.StreamStatusRequest, keys),
    statuses,
    st.builds(types.RevisionsRequest, keys, st.none() | u64, u32),
    st.builds(types.ListStreamsRequest),
    st.builds(types.ListStreamsResponse, st.lists(statuses, max_size=4).map(tuple)),
    st.builds(types.HistoryRequest, keys, i64, i64, st.none() | i64, u32),
    st.builds(types.GapsRequest, texts, texts, i64, i64, st.none() | i64),
    st.builds(types.GapsResponse, st.lists(gaps, max_size=4).map(tuple)),
)
bulk_messages = st.one_of(
    st.builds(types.CandleBatch, keys, u64, candles),
    st.builds(types.BackfillCandlesResponse, keys, u64, candles, st.booleans(), u64),
    lengths.flatmap(revised).flatmap(revisions),
    lengths.flatmap(ticks),
    lengths.flatmap(history),
)
messages = st.one_of(small_messages, bulk_messages)


@given(messages, texts)
@settings(max_examples=examples(120), deadline=None)
def test_every_message_comes_back_bit_by_bit(message: Message, correlation_id: str):
    envelope = decode(encode(message, correlation_id))

    assert differences(message, envelope.message) == []
    assert envelope.correlation_id == correlation_id


@given(st.builds(types.CandleBatch, keys, u64, candles_of(1)))
@settings(max_examples=examples(60), deadline=None)
def test_a_batch_of_one_candle_is_written_as_any_other_message_and_read_back_by_all(batch: types.CandleBatch):
    for _ in range(2):  # the second time its frame is remembered
        written = encode(batch)

        assert written == codec._encode(batch, "")
        VERIFIER.verify(written)
        assert differences(batch, decode(written).message) == []


@given(messages, texts)
@settings(max_examples=examples(60), deadline=None)
def test_the_generated_reader_reads_what_the_codec_writes(message: Message, correlation_id: str):
    envelope = generated_wire.read(market_data, encode(message, correlation_id))

    # Python floats may not keep the sign bit or payload of a NaN
    assert differences(message, envelope.message, by_bit=False) == []
    assert envelope.correlation_id == correlation_id


@given(messages, texts)
@settings(max_examples=examples(60), deadline=None)
def test_the_codec_reads_what_the_generated_builder_writes(message: Message, correlation_id: str):
    envelope = decode(generated_wire.build(market_data, message, correlation_id))

    # the builder elides -0.0 as it does 0.0
    assert differences(message, envelope.message, by_bit=False) == []
    assert envelope.correlation_id == correlation_id


@given(messages)
@settings(max_examples=examples(50), deadline=None)
def test_a_verifier_accepts_what_the_codec_writes(message: Message):
    VERIFIER.verify(encode(message, "q"))


@given(st.builds(types.CandleBatch, keys, u64, candles))
@settings(max_examples=examples(50), deadline=None)
def test_the_codec_reads_candles_of_a_version_1_builder(batch: types.CandleBatch):
    expected = batch.candles.copy()
    expected["tick_count"] = expected["flags"] = 0

    envelope = decode(generated_wire.build(market_data_v1, batch))

    assert (
        differences(types.CandleBatch(batch.key, batch.start_sequence, expected), envelope.message, by_bit=False) == []
    )


@given(st.binary(max_size=200))
@settings(max_examples=examples(200), deadline=None)
def test_arbitrary_bytes_give_an_envelope_or_a_codec_error(data: bytes):
    try:
        envelope = decode(data)
    except CodecError:
        return
    assert envelope.schema_version in (1, 2)
