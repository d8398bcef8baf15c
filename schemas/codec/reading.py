"""A buffer from somebody else, read with every offset and length checked before it is used.

Layouts of all builders are taken: fields in any order, absent ones, vtables shared or not, anywhere. Nothing is
allocated for a length that the buffer cannot hold. Pure; raises CodecError only.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fluxcap.schemas.codec.tables import STREAM_KEY, Layout, Table
from fluxcap.schemas.errors import CodecError, MessageTooLarge
from fluxcap.schemas.types import StreamKey

_Item = TypeVar("_Item")

_SIGNED = struct.Struct("<i")
_LENGTH = struct.Struct("<I")
_VTABLE_START = struct.Struct("<HH")
_UNPACK = {format_: struct.Struct("<" + format_).unpack_from for format_ in "qQdIHbB?"}

# Strings may be shared between tables, so that their sum can honestly exceed the buffer, but not by much.
_STRING_BYTES_PER_BYTE = 8
_FREE_STRING_BYTES = 65_536


class Reader:
    """One message. ``position`` is always a place in ``data``, counted in bytes from its beginning."""

    __slots__ = ("_string_bytes_left", "data", "length")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.length = len(data)
        self._string_bytes_left = _FREE_STRING_BYTES + _STRING_BYTES_PER_BYTE * len(data)

    def root(self) -> int:
        """Position of the root table."""
        return self.follow(0)

    def follow(self, position: int) -> int:
        """Return the target of the reference at ``position``: always a place with at least 4 bytes."""
        if position + 4 > self.length:
            raise CodecError("The message ends within a reference.")
        target: int = position + _LENGTH.unpack_from(self.data, position)[0]
        if target + 4 > self.length:
            raise CodecError("A reference points beyond the message.")
        return target

    def offsets(self, position: int, table: Table) -> tuple[int, ...]:
        """Place of each slot within the table at ``position``, 0 where absent; all lie inside the buffer."""
        return self._layout(position, table).offsets

    def _layout(self, position: int, table: Table) -> Layout:
        data, length = self.data, self.length
        vtable: int = position - _SIGNED.unpack_from(data, position)[0]
        if not 0 <= vtable <= length - 4:
            raise CodecError(f"The vtable of {table.name} lies outside the message.")
        vtable_length, table_length = _VTABLE_START.unpack_from(data, vtable)
        if vtable_length < 4 or vtable_length % 2 or vtable + vtable_length > length or table_length < 4:
            raise CodecError(f"The vtable of {table.name} has an impossible length.")
        if position + table_length > length:
            raise CodecError(f"{table.name} ends beyond the message.")
        return table.layout_of(data[vtable : vtable + min(vtable_length, table.vtable_length)])

    def values(self, position: int, table: Table) -> list[Any]:
        """Fields in slot order: numbers, and for a reference the position it points to or None."""
        data = self.data
        offsets, fields, references = self._layout(position, table)
        values: list[Any] = []
        if fields is not None:
            values += fields.unpack_from(data, position)
            for slot in references:
                values[slot] = self.follow(position + offsets[slot])
            return values
        for offset, field in zip(offsets, table.fields, strict=True):
            if not offset:
                values.append(field.default)
            elif field.is_reference:
                values.append(self.follow(position + offset))
            else:
                values.append(_UNPACK[field.format](data, position + offset)[0])
        return values

    def string(self, position: int | None) -> str:
        """The text there; empty where there is none."""
        if position is None:
            return ""
        length: int = _LENGTH.unpack_from(self.data, position)[0]
        end = position + 4 + length
        if end > self.length:
            raise CodecError("A string ends beyond the message.")
        self._string_bytes_left -= length
        if self._string_bytes_left < 0:
            raise MessageTooLarge("The strings of the message overlap and add up to far more than its length.")
        try:
            return self.data[position + 4 : end].decode()
        except UnicodeDecodeError as error:
            raise CodecError("A string is not UTF-8.") from error

    def key(self, position: int | None) -> StreamKey:
        """The stream key there. Every message that may have one needs it."""
        if position is None:
            raise CodecError("The message names no stream: its key is absent.")
        source_id, symbol, interval = self.values(position, STREAM_KEY)
        return StreamKey(self.string(source_id), self.string(symbol), self.string(interval))

    def vector(self, position: int, item_length: int) -> tuple[int, int]:
        """``(number of items, position of the first)`` of a vector whose items are ``item_length`` bytes each."""
        count: int = _LENGTH.unpack_from(self.data, position)[0]
        if position + 4 + count * item_length > self.length:
            raise CodecError("A vector ends beyond the message.")
        return count, position + 4

    def column(self, position: int | None, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """A vector of numbers, shape ``(n,)``: a read-only view of the message."""
        if position is None:
            return np.empty(0, dtype)
        count, start = self.vector(position, dtype.itemsize)
        return np.frombuffer(self.data, dtype, count, start) if count else np.empty(0, dtype)

    def tables(self, position: int | None, least_length: int, most: int, read: Callable[[int], _Item]) -> list[_Item]:
        """A vector of tables, each read by ``read(position)``.

        ``least_length`` is what an item costs at least, its reference included, in bytes, however much it shares with
        others; ``most`` is how many a message may hold. Raises MessageTooLarge beyond either.
        """
        if position is None:
            return []
        count, start = self.vector(position, 4)
        if count > most or count * least_length > self.length:
            raise MessageTooLarge(f"A vector of {count} tables is more than one message may hold.")
        return [read(self.follow(start + 4 * index)) for index in range(count)]
