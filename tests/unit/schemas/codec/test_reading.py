"""Every offset and length of a foreign buffer is checked before it is used."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from fluxcap.schemas.codec import tables
from fluxcap.schemas.codec.reading import Reader
from fluxcap.schemas.codec.writing import key_part, string_part, table_part
from fluxcap.schemas.errors import CodecError, MessageTooLarge
from fluxcap.schemas.types import StreamKey


def cursor(vtable_length: int = 8, table_length: int = 20, to_vtable: int = 8) -> Reader:
    """A Cursor at position 8 behind its vtable at 0."""
    vtable = struct.pack("<4H", vtable_length, table_length, 4, 12)
    return Reader(vtable + struct.pack("<iQq", to_vtable, 7, -8))


def test_fields_come_in_slot_order():
    assert cursor().values(8, tables.CURSOR) == [7, -8]


def test_absent_fields_have_their_default():
    data = struct.pack("<2H", 4, 4) + struct.pack("<i", 4)

    assert Reader(data).values(4, tables.HEALTH_RESPONSE) == [True, None]


@pytest.mark.parametrize(
    "reader",
    [
        cursor(to_vtable=9),
        cursor(to_vtable=-100),
        cursor(to_vtable=2**31 - 1),
        cursor(vtable_length=3),
        cursor(vtable_length=7),
        cursor(vtable_length=0),
        cursor(vtable_length=2000),
        cursor(table_length=21),
        cursor(table_length=19),
        cursor(table_length=3),
    ],
    ids=["before", "behind", "far", "short", "odd", "zero", "long", "table long", "field cut", "table short"],
)
def test_an_impossible_table_is_refused(reader: Reader):
    with pytest.raises(CodecError):
        reader.values(8, tables.CURSOR)


@pytest.mark.parametrize("data", [b"", b"\1\0\0", struct.pack("<I", 1), struct.pack("<I", 0xFFFFFFFF)])
def test_a_reference_beyond_the_message_is_refused(data: bytes):
    with pytest.raises(CodecError):
        Reader(data).root()


def test_strings_are_read_and_an_absent_one_is_empty():
    reader = Reader(b"".join(string_part("häuser").chunks))

    assert reader.string(0) == "häuser"
    assert reader.string(None) == ""


def test_a_string_that_is_not_utf_8_is_refused():
    with pytest.raises(CodecError, match="UTF-8"):
        Reader(struct.pack("<I", 1) + b"\xff\0\0\0").string(0)


def test_a_string_longer_than_the_message_is_refused():
    with pytest.raises(CodecError, match="beyond"):
        Reader(struct.pack("<I", 5) + b"four").string(0)


def test_a_string_read_over_and_over_is_refused_at_last():
    reader = Reader(b"".join(string_part("x" * 1_000).chunks))

    assert len([reader.string(0) for _ in range(70)]) == 70
    with pytest.raises(MessageTooLarge):
        [reader.string(0) for _ in range(30)]


def test_a_key_comes_back_and_an_absent_one_is_refused():
    key = StreamKey("SIM", "EURUSD", "1m")
    part = key_part(key)
    reader = Reader(b"".join(part.chunks))

    assert reader.key(part.entry) == key
    with pytest.raises(CodecError, match="names no stream"):
        reader.key(None)


def test_a_vector_longer_than_the_message_is_refused():
    reader = Reader(struct.pack("<I", 0x20000000) + bytes(64))

    with pytest.raises(CodecError):
        reader.vector(0, 8)


def test_a_column_is_a_read_only_view_wherever_it_stands():
    column = Reader(b"..." + struct.pack("<Iqq", 2, -1, 5)).column(3, np.dtype("<i8"))

    assert column.tolist() == [-1, 5]
    assert not column.flags.writeable


def test_an_absent_column_is_empty():
    assert Reader(b"").column(None, np.dtype("<u8")).shape == (0,)


@pytest.mark.parametrize(("least_length", "most"), [(9, 100), (1, 1)])
def test_more_tables_than_a_message_may_hold_are_refused(least_length: int, most: int):
    reader = Reader(struct.pack("<3I", 2, 4, 4) + bytes(4))

    with pytest.raises(MessageTooLarge):
        reader.tables(0, least_length, most, lambda position: position)


def test_tables_are_read_where_their_references_lead():
    reader = Reader(struct.pack("<3I", 2, 8, 0) + bytes(4))

    assert reader.tables(0, 8, 2, lambda position: position) == [12, 8]
    assert reader.tables(None, 8, 2, lambda position: position) == []


def test_a_longer_vtable_of_a_later_version_is_read_as_far_as_known():
    part = table_part(tables.CURSOR, [7, 8])
    data = b"".join(part.chunks)
    later = struct.pack("<6H", 12, part.length - part.entry, *tables.CURSOR.offsets, 4, 4)
    table = struct.pack("<i", 12) + data[part.entry + 4 :]

    assert Reader(later + table).values(12, tables.CURSOR) == [7, 8]
