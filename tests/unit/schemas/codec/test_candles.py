"""Candle vectors of any layout come back exactly, and impossible ones are refused."""

from __future__ import annotations

import itertools
import struct
from typing import Any

import numpy as np
import pytest

from fluxcap.schemas.codec import decode, encode
from fluxcap.schemas.errors import CodecError
from fluxcap.schemas.generated import market_data as fb
from fluxcap.schemas.types import CANDLE_DTYPE, CandleArray, CandleBatch
from tests.support.wire import generated_wire
from tests.support.wire.wire_samples import KEY, sample_candles

# Around the sizes at which another way of reading and writing takes over.
COUNTS = [0, 1, 2, 11, 12, 13, 14, 200]


def batch(candles: CandleArray) -> CandleBatch:
    return CandleBatch(KEY, 1, candles)


def candles_of(data: bytes) -> CandleArray:
    message = decode(data).message
    assert isinstance(message, CandleBatch)
    return message.candles


def vector_of(data: bytes) -> int:
    """Position of the first reference of the candle vector."""
    table = fb.Envelope.GetRootAs(data).Message()
    return table.Vector(table.Offset(8))


def row_of(data: bytes, index: int) -> int:
    reference = vector_of(data) + 4 * index
    return reference + struct.unpack_from("<I", data, reference)[0]


def damaged(data: bytes, format_: str, position: int, number: int) -> bytes:
    buffer = bytearray(data)
    struct.pack_into(format_, buffer, position, number)
    return bytes(buffer)


@pytest.mark.parametrize("count", COUNTS)
def test_candles_come_back_bit_by_bit(count: int):
    candles = sample_candles(count)

    assert candles_of(encode(batch(candles))).tobytes() == candles.tobytes()


@pytest.mark.parametrize("count", COUNTS)
def test_candles_of_the_generated_builder_come_back(count: int):
    candles = sample_candles(count)

    assert candles_of(generated_wire.build(fb, batch(candles))).tobytes() == candles.tobytes()


@pytest.mark.parametrize("count", COUNTS)
def test_fields_that_a_builder_elides_are_zero_again(count: int):
    candles = sample_candles(count)
    candles["volume"][::2] = 0
    candles["flags"] = 0
    candles["tick_count"][1::3] = 0

    assert candles_of(generated_wire.build(fb, batch(candles))).tobytes() == candles.tobytes()


@pytest.mark.parametrize("count", COUNTS)
def test_an_array_with_gaps_or_backwards_is_written_in_its_own_order(count: int):
    candles = sample_candles(2 * count)[::-2]

    assert candles_of(encode(batch(candles))).tobytes() == candles.tobytes()


@pytest.mark.parametrize("count", [1, 200])
def test_nan_and_infinity_pass_through(count: int):
    candles = sample_candles(count)
    candles["open"], candles["high"], candles["low"] = np.nan, np.inf, -np.inf

    assert candles_of(encode(batch(candles))).tobytes() == candles.tobytes()


@pytest.mark.parametrize("count", [1, 12, 13, 5_000])
def test_the_bytes_between_fields_are_zero(count: int):
    data = encode(batch(sample_candles(count)))

    for index in range(count):
        row = row_of(data, index)
        assert data[row + 4 : row + 8] + data[row + 62 : row + 64] == bytes(6)


def test_candles_in_bulk_are_a_view_of_the_message():
    data = encode(batch(sample_candles(200)))

    candles = candles_of(data)

    assert candles.strides == (64,)
    assert not candles.flags.owndata
    assert not candles.flags.writeable


@pytest.mark.parametrize("count", [2, 7, 12])
def test_a_few_candles_as_they_are_written_here_are_a_view_of_the_message(count: int):
    candles = candles_of(encode(batch(sample_candles(count))))

    assert candles.strides == (64,)
    assert not candles.flags.owndata


@pytest.mark.parametrize("index", [0, 1, 2])
def test_one_row_of_a_few_that_refers_to_no_vtable_is_refused(index: int):
    data = encode(batch(sample_candles(3)))

    with pytest.raises(CodecError, match="vtable of Candle"):
        decode(damaged(data, "<i", row_of(data, index), 1_000_000))


@pytest.mark.parametrize("step", [-64, 128, 0])
def test_rows_at_any_constant_distance_are_read(step: int):
    count = 40
    source = sample_candles(count)
    data = bytearray(encode(batch(source)))
    vector, first = vector_of(bytes(data)), row_of(bytes(data), 0)
    vtable = first - struct.unpack_from("<i", data, first)[0]
    bodies = [data[first + 64 * index + 8 : first + 64 * index + 64] for index in range(count)]
    start = len(data) + (64 * count if step < 0 else 0)
    data += bytes(200 * count)
    for index, body in enumerate(bodies):
        row = start + step * index
        data[row : row + 64] = struct.pack("<i4x", row - vtable) + body
        struct.pack_into("<I", data, vector + 4 * index, row - vector - 4 * index)

    candles = candles_of(bytes(data))

    expected = source if step else np.repeat(source[-1:], count)
    assert candles.tobytes() == expected.tobytes()


def test_fields_in_another_order_at_a_constant_distance_are_read():
    # The generated builder puts the last added field first; without the rows that have a vtable of their own.
    candles = sample_candles(60, first=1)
    candles["flags"] = 4
    data = bytearray(generated_wire.build(fb, batch(candles)))
    vector = vector_of(bytes(data))
    regular = [row_of(bytes(data), index) for index in range(20, 60)]
    assert {earlier - later for earlier, later in itertools.pairwise(regular)} == {64}
    for index, row in enumerate(regular):
        struct.pack_into("<I", data, vector + 4 * index, row - vector - 4 * index)
    struct.pack_into("<I", data, vector - 4, 40)

    assert candles_of(bytes(data)).tobytes() == candles[20:].tobytes()


def exchanged(data: bytes, one: int, other: int) -> bytes:
    """The references to two rows exchanged: the rows themselves stay where they are."""
    buffer = bytearray(data)
    for index, row in ((one, row_of(data, other)), (other, row_of(data, one))):
        reference = vector_of(data) + 4 * index
        struct.pack_into("<I", buffer, reference, row - reference)
    return bytes(buffer)


def test_candles_come_in_the_order_of_their_references():
    candles = sample_candles(40)
    expected = candles.copy()
    expected[[5, 6]] = candles[[6, 5]]

    assert candles_of(exchanged(encode(batch(candles)), 5, 6)).tobytes() == expected.tobytes()


def test_a_row_in_no_order_that_ends_beyond_the_message_is_refused():
    data = exchanged(encode(batch(sample_candles(40))), 20, 39)

    with pytest.raises(CodecError):
        decode(data[:-4])


def test_references_that_wrap_around_are_refused():
    # Their differences, as 32-bit numbers, are all the same, and the last row stands inside the message.
    data = bytearray(encode(batch(sample_candles(41))))
    vector = vector_of(bytes(data))
    first = struct.unpack_from("<I", data, vector)[0]
    references = (first + 2**31 * np.arange(41)) % 2**32
    data[vector : vector + 4 * 41] = references.astype("<u4").tobytes()

    with pytest.raises(CodecError):
        decode(bytes(data))


def test_one_of_many_vtables_that_ends_beyond_the_message_is_refused():
    candles = sample_candles(60)
    candles["volume"][::2] = 0
    data = bytearray(generated_wire.build(fb, batch(candles)))
    data += struct.pack("<4H", 0, 0, 20, 64)
    row = row_of(bytes(data), 30)
    struct.pack_into("<i", data, row, row - (len(data) - 4))

    with pytest.raises(CodecError, match="impossible length"):
        decode(bytes(data))


@pytest.mark.parametrize(
    "candles",
    [sample_candles(4).reshape(2, 2), np.zeros(3), [], sample_candles(2).tolist(), np.zeros(3, CANDLE_DTYPE.descr[:6])],
    ids=["two dimensions", "floats", "list", "tuples", "fewer fields"],
)
def test_what_is_no_candle_array_is_refused(candles: Any):
    with pytest.raises(CodecError, match="CANDLE_DTYPE"):
        encode(batch(candles))


@pytest.mark.parametrize("count", [3, 50])
@pytest.mark.parametrize("theirs", [False, True], ids=["our layout", "foreign layout"])
class TestDamage:
    """The last row, or the vector, of a sound message is damaged."""

    def message(self, count: int, theirs: bool) -> bytes:
        message = batch(sample_candles(count))
        return generated_wire.build(fb, message) if theirs else encode(message)

    @pytest.mark.parametrize("number", [0x7FFFFFFF, 0xFFFFFFFF, 0x20000000, 100_000])
    def test_more_candles_than_there_are_bytes_are_refused(self, count: int, theirs: bool, number: int):
        data = self.message(count, theirs)

        with pytest.raises(CodecError):
            decode(damaged(data, "<I", vector_of(data) - 4, number))

    @pytest.mark.parametrize("index", [0, 1, -1])
    def test_a_row_beyond_the_message_is_refused(self, count: int, theirs: bool, index: int):
        data = self.message(count, theirs)

        with pytest.raises(CodecError):
            decode(damaged(data, "<I", vector_of(data) + 4 * (index % count), len(data)))

    @pytest.mark.parametrize("number", [2**31 - 1, -(2**31), 10**6, -(10**6)])
    @pytest.mark.parametrize("index", [0, 1, -1])
    def test_a_vtable_outside_the_message_is_refused(self, count: int, theirs: bool, index: int, number: int):
        data = self.message(count, theirs)

        with pytest.raises(CodecError):
            decode(damaged(data, "<i", row_of(data, index % count), number))

    @pytest.mark.parametrize(("at", "number"), [(0, 2), (0, 19), (0, 0xFFFF), (2, 3), (2, 0xFFFF), (4, 3), (6, 500)])
    def test_an_impossible_vtable_is_refused(self, count: int, theirs: bool, at: int, number: int):
        data = self.message(count, theirs)
        row = row_of(data, count - 1)
        vtable = row - struct.unpack_from("<i", data, row)[0]

        with pytest.raises(CodecError):
            decode(damaged(data, "<H", vtable + at, number))

    def test_every_cut_is_refused_or_leaves_the_candles_whole(self, count: int, theirs: bool):
        data = self.message(count, theirs)
        candles = sample_candles(count)

        for end in range(0, len(data), 3):
            try:
                rest = candles_of(data[:end])
            except CodecError:
                continue
            assert rest.tobytes() == candles.tobytes()
