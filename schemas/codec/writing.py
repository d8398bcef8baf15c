"""Strings, tables and vectors as parts of a message being written.

A part is relocatable: all offsets in it are relative, it is a multiple of 8 bytes long and stands at a multiple of 8,
so that a message is its parts joined. References point forward only, hence a table comes before what it refers to.
Pure; errors of values that do not fit their field are struct.error and UnicodeEncodeError, which ``encode`` turns
into CodecError.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from fluxcap.schemas.codec.tables import STREAM_KEY, Table
from fluxcap.schemas.errors import CodecError
from fluxcap.schemas.types import StreamKey

Chunk: TypeAlias = bytes | memoryview
"""Contiguous bytes; what is in an array is copied only once, when the message is joined."""

CACHED_KEYS = 4096
_LONGEST_CACHED_KEY = 256
_LENGTH = struct.Struct("<I")
_LENGTH_BEFORE_WIDE = struct.Struct("<4xI")


class Part(NamedTuple):
    """``entry`` is where a reference to this part points, ``length`` its bytes in all: both in bytes."""

    entry: int
    length: int
    chunks: list[Chunk]


def table_part(table: Table, values: Sequence[Any]) -> Part:
    """A table whose ``values`` stand in slot order: numbers, and a Part for each reference; none for absent fields."""
    inline = list(values)
    chunks: list[Chunk] = [b""]
    length = table.block_length
    for index, position in table.references:
        entry, part_length, part_chunks = inline[index]
        inline[index] = length + entry - position
        length += part_length
        chunks += part_chunks
    chunks[0] = table.block.pack(table.head, *inline)
    return Part(table.entry, length, chunks)


def string_part(text: str) -> Part:
    """A string with its length before and, as readers of C want it, a zero byte behind."""
    encoded = text.encode()
    end = 4 + len(encoded) + 1
    length = end + -end % 8
    return Part(0, length, [(_LENGTH.pack(len(encoded)) + encoded).ljust(length, b"\0")])


def key_part(key: StreamKey) -> Part:
    """A stream's key. Remembered for usual keys, since a server writes the same few all day."""
    return _remembered_key_part(key) if is_usual(key) else _key_part(key)


def is_usual(key: StreamKey) -> bool:
    """Return whether a key is short enough to be remembered."""
    return len(key.source_id) + len(key.symbol) + len(key.interval) <= _LONGEST_CACHED_KEY


def _key_part(key: StreamKey) -> Part:
    names = (key.source_id, key.symbol, key.interval)
    entry, length, chunks = table_part(STREAM_KEY, [string_part(name) for name in names])
    return Part(entry, length, [b"".join(chunks)])


_remembered_key_part = lru_cache(CACHED_KEYS)(_key_part)


def chunk_of(array: npt.NDArray[Any]) -> memoryview:
    """The bytes of a contiguous array, where they are."""
    return array.view(np.uint8).data


def column_part(column: npt.NDArray[Any], dtype: np.dtype[Any]) -> Part:
    """A vector of 8-byte numbers, shape ``(n,)``. Raises CodecError when it is not of ``dtype``."""
    if not isinstance(column, np.ndarray) or column.dtype != dtype or column.ndim != 1:
        raise CodecError(f"A column must be a one-dimensional array of {dtype}.")
    return Part(4, 8 + column.nbytes, [_LENGTH_BEFORE_WIDE.pack(len(column)), chunk_of(np.ascontiguousarray(column))])


def tables_part(parts: Sequence[Part]) -> Part:
    """A vector of tables."""
    length = 4 + 4 * len(parts)
    padding = -length % 8
    length += padding
    offsets = []
    chunks: list[Chunk] = [b""]
    for index, part in enumerate(parts):
        offsets.append(length + part.entry - (4 + 4 * index))
        length += part.length
        chunks += part.chunks
    chunks[0] = struct.pack(f"<I{len(parts)}I{padding}x", len(parts), *offsets)
    return Part(0, length, chunks)
