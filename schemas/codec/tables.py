"""Every table of ``market_data.fbs``: its slots, how fluxcap lays it out, and how any other layout of it is read.

A FlatBuffers table is a signed offset back to its vtable, then the fields in any order. The vtable holds its own
length, the table's length, and the place of each slot in the table (0: absent, so the default holds). fluxcap writes
each table right behind a vtable of its own, fields in slot order. Pure: no buffer is touched here.

https://flatbuffers.dev/internals/ is the specification.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

from fluxcap.schemas.errors import CodecError

REFERENCE = "I"
"""Struct format of a field that refers to a string, table or vector: unsigned, relative to the field itself."""

_WIDTH = {"q": 8, "Q": 8, "d": 8, "I": 4, "H": 2, "b": 1, "B": 1, "?": 1}
_KNOWN_VTABLES = 512


class Field(NamedTuple):
    """One slot: the schema's name, struct format, the default of an absent field, and whether it is a reference."""

    name: str
    format: str
    default: int | float | bool | None = 0
    is_reference: bool = False


class Layout(NamedTuple):
    """The layout that one builder gives a table.

    ``offsets`` is the place of each slot in the table, 0 where absent; ``fields`` reads all of them at once where none
    is absent and they stand in slot order, as fluxcap writes them; ``references`` are the slots that hold one.
    """

    offsets: tuple[int, ...]
    fields: struct.Struct | None
    references: tuple[int, ...]


class Table:
    """A table of the schema, by slot.

    ``width[slot]`` is the field's length in bytes. The rest serves writing: a *block* is the vtable, padding that puts
    the first field at a multiple of 8, and the table; ``entry`` is where the table begins in it, ``references`` the
    ``(index among the fields written, position in the block)`` of each reference.
    """

    def __init__(self, name: str, *fields: Field, absent: frozenset[str] = frozenset()) -> None:
        self.name = name
        self.fields = fields
        self.width = tuple(_WIDTH[field.format] for field in fields)
        self.vtable_length = 4 + 2 * len(fields)
        self._reference_slots = tuple(slot for slot, field in enumerate(fields) if field.is_reference)
        self.layout_of = lru_cache(_KNOWN_VTABLES)(self._parse_vtable)
        """The layout of a table with this vtable. Raises CodecError.

        It may be cut after ``vtable_length`` bytes: slots beyond are of a later version.
        """
        self._lay_out(absent)

    def _lay_out(self, absent: frozenset[str]) -> None:
        self.entry = self.vtable_length + (4 - self.vtable_length) % 8
        self.offsets: tuple[int, ...] = ()
        format_ = ""
        end = 4
        for field, width in zip(self.fields, self.width, strict=True):
            if field.name in absent:
                self.offsets += (0,)
                continue
            # Aligned to the start of the block, where the table begins 4 before a multiple of 8.
            padding = -(end + 4) % width
            format_ += f"{padding}x{field.format}"
            self.offsets += (end + padding,)
            end += padding + width
        vtable = struct.pack(f"<{2 + len(self.fields)}H", self.vtable_length, end, *self.offsets)
        self.head = vtable.ljust(self.entry, b"\0") + struct.pack("<i", self.entry)
        self.block_length = self.entry + end + -(self.entry + end) % 8
        self.block = struct.Struct(f"<{len(self.head)}s{format_}{self.block_length - self.entry - end}x")
        written = [(field, offset) for field, offset in zip(self.fields, self.offsets, strict=True) if offset]
        self.references = tuple(
            (index, self.entry + offset) for index, (field, offset) in enumerate(written) if field.is_reference
        )

    def _parse_vtable(self, vtable: bytes) -> Layout:
        _, table_length, *offsets = struct.unpack_from(f"<{len(vtable) // 2}H", vtable)
        offsets += [0] * (len(self.fields) - len(offsets))
        for field, width, offset in zip(self.fields, self.width, offsets, strict=True):
            if offset and not 4 <= offset <= table_length - width:
                raise CodecError(f"{self.name}.{field.name} lies outside its table.")
        return Layout(tuple(offsets), self._in_slot_order(offsets), self._reference_slots)

    def _in_slot_order(self, offsets: list[int]) -> struct.Struct | None:
        format_, end = "<", 0
        for field, width, offset in zip(self.fields, self.width, offsets, strict=True):
            if offset < max(end, 4):
                return None
            format_ += f"{offset - end}x{field.format}"
            end = offset + width
        return struct.Struct(format_)


def _reference(name: str) -> Field:
    return Field(name, REFERENCE, None, True)


_KEY = _reference("key")

STREAM_KEY = Table("StreamKey", _reference("source_id"), _reference("symbol"), _reference("interval"))
CANDLE = Table(
    "Candle",
    Field("ts_ms", "q"),
    Field("open", "d", 0.0),
    Field("high", "d", 0.0),
    Field("low", "d", 0.0),
    Field("close", "d", 0.0),
    Field("volume", "d", 0.0),
    Field("tick_count", "I"),
    Field("flags", "H"),
)
CANDLE_BATCH = Table("CandleBatch", _KEY, Field("start_sequence", "Q"), _reference("candles"))
HEALTH_REQUEST = Table("HealthRequest")
HEALTH_RESPONSE = Table("HealthResponse", Field("ok", "?", True), _reference("message"))
GET_CURSOR_REQUEST = Table("GetCursorRequest", _KEY)
CURSOR = Table("Cursor", Field("latest_sequence", "Q"), Field("latest_ts_ms", "q"))
GET_CURSOR_RESPONSE = Table("GetCursorResponse", _KEY, _reference("cursor"))
SUBSCRIBE_CANDLES_REQUEST = Table(
    "SubscribeCandlesRequest", _KEY, Field("has_from_sequence", "?", False), Field("from_sequence_exclusive", "Q")
)
SUBSCRIBE_CANDLES_ACK = Table(
    "SubscribeCandlesAck", Field("accepted", "?", False), _reference("reason"), _KEY, Field("latest_sequence", "Q")
)
BACKFILL_CANDLES_REQUEST = Table(
    "BackfillCandlesRequest",
    _KEY,
    Field("has_from_sequence", "?", False),
    Field("from_sequence_exclusive", "Q"),
    Field("has_end_ts_ms", "?", False),
    Field("end_ts_ms", "q"),
    Field("limit", "I"),
)
BACKFILL_CANDLES_RESPONSE = Table(
    "BackfillCandlesResponse",
    _KEY,
    Field("start_sequence", "Q"),
    _reference("candles"),
    Field("has_more", "?", False),
    Field("next_sequence", "Q"),
)
ERROR_RESPONSE = Table("ErrorResponse", Field("code", "I"), _reference("message"))

STREAM_STATUS_REQUEST = Table("StreamStatusRequest", _KEY)
STREAM_STATUS_RESPONSE = Table(
    "StreamStatusResponse",
    _KEY,
    Field("latest_sequence", "Q"),
    Field("latest_ts_ms", "q"),
    Field("server_time_ms", "q"),
    Field("first_sequence", "Q"),
    _reference("store_id"),
    Field("latest_revision", "Q"),
    Field("feed_state", "b"),
    Field("last_tick_ts_ms", "q"),
    Field("platform_offset_ms", "q"),
)
CANDLE_REVISION = Table(
    "CandleRevision", _KEY, Field("start_revision", "Q"), _reference("candles"), _reference("sequences")
)
REVISIONS_REQUEST = Table(
    "RevisionsRequest",
    _KEY,
    Field("has_from_revision", "?", False),
    Field("from_revision_exclusive", "Q"),
    Field("limit", "I"),
)
REVISIONS_RESPONSE = Table(
    "RevisionsResponse",
    _KEY,
    Field("start_revision", "Q"),
    _reference("candles"),
    _reference("sequences"),
    Field("has_more", "?", False),
    Field("next_revision", "Q"),
)
TICK_BATCH = Table("TickBatch", _KEY, Field("start_sequence", "Q"), _reference("ts_ms"), _reference("price"))
LIST_STREAMS_REQUEST = Table("ListStreamsRequest")
LIST_STREAMS_RESPONSE = Table("ListStreamsResponse", _reference("streams"))
HISTORY_REQUEST = Table(
    "HistoryRequest",
    _KEY,
    Field("from_ms", "q"),
    Field("to_ms", "q"),
    Field("has_as_of", "?", False),
    Field("as_of_ms", "q"),
    Field("limit", "I"),
)
HISTORY_RESPONSE = Table("HistoryResponse", _KEY, _reference("candles"), _reference("sequences"), Field("next_ms", "q"))
GAP = Table(
    "Gap",
    _reference("source_id"),
    _reference("symbol"),
    Field("from_ms", "q"),
    Field("to_ms", "q"),
    _reference("reason"),
    Field("at_ms", "q"),
)
GAPS_REQUEST = Table(
    "GapsRequest",
    _reference("source_id"),
    _reference("symbol"),
    Field("from_ms", "q"),
    Field("to_ms", "q"),
    Field("has_as_of", "?", False),
    Field("as_of_ms", "q"),
)
GAPS_RESPONSE = Table("GapsResponse", _reference("gaps"))

_ENVELOPE_FIELDS = (
    Field("schema_version", "I", 1),
    Field("type_hint", "b"),
    _reference("correlation_id"),
    Field("message_type", "B"),
    _reference("message"),
)
ENVELOPE = Table("Envelope", *_ENVELOPE_FIELDS)
ENVELOPE_UNCORRELATED = Table("Envelope", *_ENVELOPE_FIELDS, absent=frozenset({"correlation_id"}))
"""What is written when there is no correlation id: the field is absent, not empty."""

TABLES = tuple(value for value in list(globals().values()) if isinstance(value, Table))
