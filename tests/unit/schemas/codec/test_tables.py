"""The codec's tables are those of the schema, laid out as FlatBuffers asks."""

from __future__ import annotations

import itertools
import struct

import pytest

from fluxcap.schemas.codec import tables
from fluxcap.schemas.codec.tables import TABLES, Table
from fluxcap.schemas.errors import CodecError
from fluxcap.schemas.generate import SCHEMA_FOLDER
from fluxcap.schemas.types import CANDLE_DTYPE
from tests.support.wire.flatbuffer_verifier import Verifier

SCHEMA = Verifier(SCHEMA_FOLDER / "market_data.fbs").tables
FORMATS = {"long": "q", "ulong": "Q", "double": "d", "uint": "I", "ushort": "H", "byte": "b", "ubyte": "B", "bool": "?"}


def test_every_table_of_the_schema_is_there():
    assert {table.name for table in TABLES} == set(SCHEMA)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_slots_are_those_of_the_schema(table: Table):
    expected = [(name, FORMATS.get(kind, tables.REFERENCE), kind not in FORMATS) for name, kind in SCHEMA[table.name]]

    assert [(field.name, field.format, field.is_reference) for field in table.fields] == expected


def test_only_two_fields_have_a_default_that_is_not_zero():
    unusual = {
        (table.name, field.name): field.default
        for table in TABLES
        for field in table.fields
        if not field.is_reference and field.default != 0
    }

    assert unusual == {("HealthResponse", "ok"): True, ("Envelope", "schema_version"): 1}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_written_fields_are_aligned_and_do_not_overlap(table: Table):
    places = sorted(
        (table.entry + offset, width) for offset, width in zip(table.offsets, table.width, strict=True) if offset
    )

    assert all(place % width == 0 for place, width in places)
    assert all(place + width <= later for (place, width), (later, _) in itertools.pairwise(places))
    assert table.block_length % 8 == 0
    assert table.entry % 8 == 4


def test_a_candle_has_the_fields_of_the_array():
    assert tuple(field.name for field in tables.CANDLE.fields) == CANDLE_DTYPE.names


def test_an_elided_field_has_no_place_in_the_table():
    with_id, without_id = tables.ENVELOPE, tables.ENVELOPE_UNCORRELATED

    assert with_id.offsets[2] != 0
    assert without_id.offsets[2] == 0
    assert without_id.block_length <= with_id.block_length


def test_slots_beyond_a_short_vtable_are_absent():
    vtable = struct.pack("<3H", 6, 12, 4)

    assert tables.CURSOR.layout_of(vtable).offsets == (4, 0)


@pytest.mark.parametrize("offset", [1, 3, 5, 0xFFFF])
def test_a_field_outside_its_table_is_refused(offset: int):
    vtable = struct.pack("<4H", 8, 12, offset, 0)

    with pytest.raises(CodecError, match="latest_sequence lies outside"):
        tables.CURSOR.layout_of(vtable)


@pytest.mark.parametrize(
    ("offsets", "is_read_at_once"),
    [((4, 12), True), ((8, 16), True), ((12, 4), False), ((4, 8), False), ((4, 0), False)],
)
def test_a_table_is_read_at_once_where_all_its_fields_stand_in_slot_order(
    offsets: tuple[int, int], is_read_at_once: bool
):
    vtable = struct.pack("<4H", 8, 24, *offsets)

    fields = tables.CURSOR.layout_of(vtable).fields

    assert (fields is not None) is is_read_at_once
    if fields is not None:
        table = bytearray(24)
        for number, offset in enumerate(offsets):
            struct.pack_into("<q", table, offset, 1_000 + number)
        assert fields.unpack_from(table) == (1_000, 1_001)
