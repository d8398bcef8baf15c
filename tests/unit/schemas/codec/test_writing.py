"""Parts are relocatable, padded to 8 bytes, and say where they begin."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from fluxcap.schemas.codec import tables
from fluxcap.schemas.codec.writing import Part, column_part, key_part, string_part, table_part, tables_part
from fluxcap.schemas.errors import CodecError
from fluxcap.schemas.types import StreamKey


def joined(part: Part) -> bytes:
    data = b"".join(part.chunks)
    assert len(data) == part.length
    assert len(data) % 8 == 0
    return data


@pytest.mark.parametrize("length", range(10))
def test_a_string_has_its_length_before_and_a_zero_behind(length: int):
    data = joined(string_part("x" * length))

    assert data.startswith(struct.pack("<I", length) + b"x" * length + b"\0")
    assert set(data[4 + length :]) == {0}


def test_the_length_of_a_string_counts_bytes():
    assert joined(string_part("é"))[:4] == struct.pack("<I", 2)


def test_a_reference_leads_from_its_field_to_the_entry_of_the_part():
    text = string_part("lost")

    data = joined(table_part(tables.ERROR_RESPONSE, [404, text]))

    field = tables.ERROR_RESPONSE.references[0][1]
    target = field + struct.unpack_from("<I", data, field)[0]
    assert data[target:] == joined(text)


def test_a_table_finds_its_vtable():
    part = table_part(tables.CURSOR, [7, 8])
    data = joined(part)

    assert struct.unpack_from("<i", data, part.entry) == (part.entry,)
    assert struct.unpack_from("<H", data) == (8,)


def test_a_usual_key_is_built_once():
    key = StreamKey("SIM", "EURUSD", "1m")

    assert key_part(key) is key_part(StreamKey("SIM", "EURUSD", "1m"))


def test_a_key_of_extraordinary_length_is_not_remembered():
    key = StreamKey("SIM", "x" * 10_000, "1m")

    assert key_part(key) is not key_part(key)
    assert joined(key_part(key)) == joined(key_part(key))


def test_the_numbers_of_a_column_are_aligned():
    part = column_part(np.array([1.5, 2.5]), np.dtype("<f8"))

    assert joined(part)[part.entry :] == struct.pack("<Idd", 2, 1.5, 2.5)
    assert (part.entry + 4) % 8 == 0


def test_a_column_with_gaps_is_written_without():
    part = column_part(np.arange(6.0)[::3], np.dtype("<f8"))

    assert joined(part)[8:] == struct.pack("<dd", 0, 3)


@pytest.mark.parametrize("column", [np.zeros(2, "f4"), np.zeros((2, 2)), [1.0, 2.0], np.zeros(2, "i8")])
def test_a_column_of_another_shape_or_type_is_refused(column: object):
    with pytest.raises(CodecError):
        column_part(column, np.dtype("<f8"))  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_a_vector_of_tables_leads_to_each(count: int):
    part = tables_part([table_part(tables.CURSOR, [index, -index]) for index in range(count)])
    data = joined(part)

    assert struct.unpack_from("<I", data) == (count,)
    for index in range(count):
        place = 4 + 4 * index
        table = place + struct.unpack_from("<I", data, place)[0]
        sequence_at = table + tables.CURSOR.offsets[0]
        assert struct.unpack_from("<Q", data, sequence_at) == (index,)
