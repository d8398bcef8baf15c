"""Candle vectors at memory speed, both ways.

Written, a vector is one vtable, the offsets (an arithmetic series) and rows of 64 bytes: the offset back to the vtable,
4 zero bytes, the 54 bytes of a ``CANDLE_DTYPE`` row as they stand, 2 zero bytes. The builder that flatc generates for
Python needs some 13 microseconds a candle, this some 12 nanoseconds. Read back, such a vector is one strided view.

Builders of others elide fields that are zero, put fields in their own order and vtables between rows, so every other
layout is read as well: at a constant stride by column, otherwise gathered. Pure; raises CodecError only.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from fluxcap.schemas.codec.reading import Reader
from fluxcap.schemas.codec.tables import CANDLE
from fluxcap.schemas.codec.writing import Chunk, Part, chunk_of
from fluxcap.schemas.errors import CodecError
from fluxcap.schemas.types import CANDLE_DTYPE, CandleArray

_STRIDE = 64
_BODY = CANDLE_DTYPE.itemsize
_BODY_OFFSET = 8
_NAMES = tuple(field.name for field in CANDLE.fields)
_PACKED = tuple(accumulate(CANDLE.width[:-1], initial=_BODY_OFFSET))
"""Place of each slot in a row: the fields of CANDLE_DTYPE without gaps."""

_VTABLE = struct.pack("<10H", CANDLE.vtable_length, _BODY_OFFSET + _BODY, *_PACKED)
_VECTOR = len(_VTABLE)

_ROW = struct.Struct(f"<i4x{_BODY}s2x")
_ROW_DTYPE = np.dtype(
    {
        # The 8-byte number is the offset to the vtable and the 4 zero bytes behind it at once.
        "names": ["vtable", "body", "padding"],
        "formats": ["<i8", f"V{_BODY}", "<u2"],
        "offsets": [0, _BODY_OFFSET, _BODY_OFFSET + _BODY],
        "itemsize": _STRIDE,
    }
)
_VALUES = struct.Struct("<qdddddIH")

_FEW = 12
"""Up to here a loop in Python beats the fixed cost of NumPy calls."""

_LEAST_CANDLE = 8
"""Bytes of a message that a candle takes at the very least: its reference and the offset to its vtable. Rows may
share tables, so this is what bounds the memory that a message can ask for."""


def candles_part(candles: CandleArray) -> Part:
    """The vector of candles. Raises CodecError when the array is not of ``CANDLE_DTYPE`` and one-dimensional."""
    if not isinstance(candles, np.ndarray) or candles.dtype != CANDLE_DTYPE or candles.ndim != 1:
        raise CodecError("Candles must be a one-dimensional array of CANDLE_DTYPE.")
    count = len(candles)
    if count > _FEW:
        return _many_part(candles)
    head, first_row = _few_head(count)
    body = candles.tobytes()
    rows = [_ROW.pack(first_row + _STRIDE * index, body[_BODY * index : _BODY * (index + 1)]) for index in range(count)]
    return Part(_VECTOR, first_row + _STRIDE * count, [head, *rows])


@lru_cache(_FEW + 1)
def _few_head(count: int) -> tuple[bytes, int]:
    """All before the rows, and its length."""
    first_row = _first_row(count)
    head = _VTABLE + struct.pack("<I", count) + _offsets(count, first_row).tobytes()
    return head.ljust(first_row, b"\0"), first_row


@lru_cache(_FEW + 1)
def _few_references(count: int) -> bytes:
    """Return the begin of each row: the offset back to the vtable."""
    first_row = _first_row(count)
    return struct.pack(f"<{count}i", *range(first_row, first_row + _STRIDE * count, _STRIDE))


def _first_row(count: int) -> int:
    end = _VECTOR + 4 + 4 * count
    return end + -end % 8


def _offsets(count: int, first_row: int) -> npt.NDArray[np.uint32]:
    # Each is relative to its own place, 4 bytes further on than the one before.
    step = _STRIDE - 4
    start = first_row - _VECTOR - 4
    return np.arange(start, start + step * count, step, dtype="<u4")


def _many_part(candles: CandleArray) -> Part:
    count = len(candles)
    first_row = _first_row(count)
    length = first_row + _STRIDE * count
    rows = np.empty(count, _ROW_DTYPE)
    rows["vtable"] = np.arange(first_row, length, _STRIDE)
    rows["body"] = candles.view(f"V{_BODY}")
    rows["padding"] = 0
    chunks: list[Chunk] = [_VTABLE + struct.pack("<I", count), chunk_of(_offsets(count, first_row))]
    padding = first_row - _VECTOR - 4 - 4 * count
    return Part(_VECTOR, length, [*chunks, bytes(padding), chunk_of(rows)])


def read_candles(reader: Reader, position: int | None) -> CandleArray:
    """The vector of candles there, shape ``(n,)``; possibly a read-only view of the message."""
    if position is None:
        return np.empty(0, CANDLE_DTYPE)
    count, start = reader.vector(position, 4)
    if count * _LEAST_CANDLE > reader.length:
        raise CodecError(f"A vector of {count} candles does not fit a message of {reader.length} bytes.")
    if count <= _FEW:
        return _read_few(reader, start, count)
    references = np.frombuffer(reader.data, "<u4", count, start)
    rows = _regular_rows(reader, references, start)
    if rows is None:
        return _gather(reader, references, start)
    first, stride, offsets = rows
    if offsets == _PACKED:
        return np.ndarray((count,), CANDLE_DTYPE, reader.data, first + _BODY_OFFSET, (stride,))
    candles = np.zeros(count, CANDLE_DTYPE)
    for name, offset in zip(_NAMES, offsets, strict=True):
        if offset:
            candles[name] = np.ndarray((count,), CANDLE_DTYPE[name], reader.data, first + offset, (stride,))
    return candles


def _read_few(reader: Reader, start: int, count: int) -> CandleArray:
    head, first_row = _few_head(count)
    begin = start - 4 - _VECTOR
    first = begin + first_row
    if begin >= 0 and reader.data.startswith(head, begin) and first + _STRIDE * count <= reader.length and count:
        # As ``candles_part`` writes it, if the rows refer to their vtable as well.
        to_vtable = np.ndarray((count,), "<i4", reader.data, first, (_STRIDE,))
        if to_vtable.tobytes() == _few_references(count):
            return np.ndarray((count,), CANDLE_DTYPE, reader.data, first + _BODY_OFFSET, (_STRIDE,))
    rows = []
    for reference in range(start, start + 4 * count, 4):
        row = reader.follow(reference)
        if reader.offsets(row, CANDLE) == _PACKED:
            rows.append(reader.data[row + _BODY_OFFSET : row + _BODY_OFFSET + _BODY])
        else:
            rows.append(_VALUES.pack(*reader.values(row, CANDLE)))
    return np.frombuffer(b"".join(rows), CANDLE_DTYPE) if rows else np.empty(0, CANDLE_DTYPE)


def _regular_rows(
    reader: Reader, references: npt.NDArray[np.uint32], start: int
) -> tuple[int, int, tuple[int, ...]] | None:
    """``(position of the first row, stride, field offsets)`` when all rows share a vtable and stand at one stride."""
    last_index = len(references) - 1
    first = start + int(references[0])
    stride = 4 + int(references[1]) - int(references[0])
    last = start + 4 * last_index + int(references[-1])
    if first + stride * last_index != last or not 0 <= min(first, last) <= max(first, last) <= reader.length - 4:
        return None
    # Differences wrap as the numbers do; with the last row where it should be, none can have wrapped.
    if not _rises_by(references, stride - 4):
        return None
    to_vtable = np.ndarray((last_index + 1,), "<i4", reader.data, first, (stride,))
    if int(to_vtable[0]) + stride * last_index != int(to_vtable[-1]) or not _rises_by(to_vtable, stride):
        return None
    offsets = reader.offsets(first, CANDLE)
    if last > first:
        reader.offsets(last, CANDLE)
    return first, stride, offsets


def _rises_by(numbers: npt.NDArray[np.uint32] | npt.NDArray[np.int32], step: int) -> bool:
    differences = (numbers[1:] - numbers[:-1]).view(np.uint32)
    return bool((differences == np.uint32(step & 0xFFFFFFFF)).all())


def _gather(reader: Reader, references: npt.NDArray[np.uint32], start: int) -> CandleArray:
    """Rows wherever they are, in few runs that share a vtable: the first rows of a builder often have their own."""
    rows = references + np.arange(start, start + 4 * len(references), 4)
    _require((rows <= reader.length - 4).all(), "A candle lies beyond the message.")
    vtables = rows - _anywhere(reader, "<i4")[rows]
    changes = np.flatnonzero(vtables[1:] != vtables[:-1]) + 1
    if len(changes) > _FEW:
        return _gather_each(reader, rows, vtables)
    candles = np.zeros(len(rows), CANDLE_DTYPE)
    for begin, end in pairwise([0, *changes.tolist(), len(rows)]):
        run = rows[begin:end]
        # These share a vtable, so when the furthest of them ends inside the message, all do.
        for name, offset in zip(_NAMES, reader.offsets(int(run.max()), CANDLE), strict=True):
            if offset:
                candles[name][begin:end] = _anywhere(reader, CANDLE_DTYPE[name])[run + offset]
    return candles


def _gather_each(reader: Reader, rows: npt.NDArray[np.int64], vtables: npt.NDArray[np.int64]) -> CandleArray:
    """Rows wherever they are, each with any vtable: the checks of ``Reader.offsets``, on arrays."""
    length = reader.length
    shorts = _anywhere(reader, "<u2")
    _require(((vtables >= 0) & (vtables <= length - 4)).all(), "The vtable of a candle lies outside the message.")
    vtable_lengths = shorts[vtables].astype(np.int64)
    row_lengths = shorts[vtables + 2].astype(np.int64)
    sound = (vtable_lengths >= 4) & (vtable_lengths % 2 == 0) & (vtables + vtable_lengths <= length)
    sound &= (row_lengths >= 4) & (rows + row_lengths <= length)
    _require(sound.all(), "A candle or its vtable has an impossible length.")
    candles = np.zeros(len(rows), CANDLE_DTYPE)
    for slot, name in enumerate(_NAMES):
        has_slot = vtable_lengths >= 6 + 2 * slot
        offsets = np.where(has_slot, shorts[np.where(has_slot, vtables + 4 + 2 * slot, 0)], 0).astype(np.int64)
        present = offsets != 0
        inside = (offsets >= 4) & (offsets + CANDLE.width[slot] <= row_lengths)
        _require((inside | ~present).all(), f"Candle.{name} lies outside its table.")
        candles[name][present] = _anywhere(reader, CANDLE_DTYPE[name])[(rows + offsets)[present]]
    return candles


def _anywhere(reader: Reader, dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
    """The message as overlapping numbers, one beginning at each byte; indexing it reads that number."""
    kind = np.dtype(dtype)
    return np.ndarray((max(reader.length - kind.itemsize + 1, 0),), kind, reader.data, 0, (1,))


def _require(sound: np.bool, message: str) -> None:
    if not sound:
        raise CodecError(message)
