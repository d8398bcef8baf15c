"""Fuzzing of ``decode``: ``python tests/fuzz/fuzz_codec.py --count 1000000 [--seed N] [--processes N]``.

Sound messages, of the codec and of the generated builder, are damaged: bits, bytes, words, cuts, joins, and with
knowledge of the format: offsets, lengths and vtables set to places and counts that matter. Whatever comes, ``decode``
gives an envelope of sound shape or raises CodecError, in memory bounded by the length of the buffer.
"""

from __future__ import annotations

import random
import struct
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import flatbuffers
import msgspec
import numpy as np

from fluxcap.schemas.codec import decode, encode
from fluxcap.schemas.errors import CodecError
from fluxcap.schemas.generated import market_data as fb
from tests.fuzz.driver import Chapter, main
from tests.support.wire import generated_wire
from tests.support.wire.wire_samples import KEY, SAMPLES

MEMORY_PER_BYTE = 64
FREE_MEMORY = 512 * 1024
"""A decode may take ``FREE_MEMORY + MEMORY_PER_BYTE * len(buffer)`` bytes at its peak."""

_NUMBERS = (0, 1, 2, 3, 4, 5, 7, 8, 16, 0x7F, 0x80, 0xFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def seeds() -> list[bytes]:
    """Sound messages of every kind in every layout."""
    ours = [encode(message, correlation_id) for message, correlation_id in SAMPLES.values()]
    theirs = [generated_wire.build(fb, message, identity) for message, identity in SAMPLES.values()]
    return ours + theirs


def mutate(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """A damaged copy: one to four mutations."""
    buffer = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        if len(buffer) < 8:
            break
        rng.choice(_MUTATIONS)(buffer, rng, others)
    return bytes(buffer)


def _flip_bit(buffer: bytearray, rng: random.Random, others: list[bytes]) -> None:
    buffer[rng.randrange(len(buffer))] ^= 1 << rng.randrange(8)


def _set_byte(buffer: bytearray, rng: random.Random, others: list[bytes]) -> None:
    buffer[rng.randrange(len(buffer))] = rng.randrange(256)


def _set_word(buffer: bytearray, rng: random.Random, others: list[bytes]) -> None:
    number = rng.choice((*_NUMBERS, len(buffer), len(buffer) // 4, rng.getrandbits(32)))
    struct.pack_into("<I", buffer, 4 * rng.randrange(len(buffer) // 4), number & 0xFFFFFFFF)


def _set_short(buffer: bytearray, rng: random.Random, others: list[bytes]) -> None:
    # among the first bytes stand the vtables of the envelope and the message
    end = len(buffer) if rng.random() < 0.5 else min(len(buffer), 160)
    number = rng.choice((*_NUMBERS, rng.randrange(80)))
    struct.pack_into("<H", buffer, 2 * rng.randrange(end // 2), number & 0xFFFF)


def _nudge_word(buffer: bytearray, rng: random.Random, others: list[bytes]) -> None:
    position = 4 * rng.randrange(len(buffer) // 4)
    number = struct.unpack_from("<I", buffer, position)[0] + rng.choice((-64, -60, -8, -4, -2, -1, 1, 2, 4, 8, 60, 64))
    struct.pack_into("<I", buffer, position, number & 0xFFFFFFFF)


def _point_elsewhere(buffer: bytearray, rng: random.Random, others: list[bytes]) -> None:
    """A word that looks like a reference (it points into the buffer) points to some other place of it."""
    words = struct.unpack_from(f"<{len(buffer) // 4}I", buffer)
    references = [i for i, word in enumerate(words) if 0 < word < len(buffer) - 4 * i]
    if references:
        index = rng.choice(references)
        struct.pack_into("<I", buffer, 4 * index, rng.randrange(len(buffer) - 4 * index))


def _share_reference(buffer: bytearray, rng: random.Random, others: list[bytes]) -> None:
    """Neighbouring references point to the same place, as if many rows shared a table."""
    start, count = 4 * rng.randrange(len(buffer) // 4), rng.randrange(2, 40)
    if start + 4 * count <= len(buffer):
        target = start + struct.unpack_from("<I", buffer, start)[0]
        offsets = [max(target - start - 4 * index, 0) & 0xFFFFFFFF for index in range(count)]
        struct.pack_into(f"<{count}I", buffer, start, *offsets)


def _cut(buffer: bytearray, rng: random.Random, others: list[bytes]) -> None:
    del buffer[rng.randrange(len(buffer)) :]


def _remove(buffer: bytearray, rng: random.Random, others: list[bytes]) -> None:
    start = rng.randrange(len(buffer))
    del buffer[start : start + rng.choice((1, 2, 4, 8, 64))]


def _insert(buffer: bytearray, rng: random.Random, others: list[bytes]) -> None:
    start = rng.randrange(len(buffer))
    buffer[start:start] = bytes(rng.choice((1, 2, 4, 8, 64)))


def _splice(buffer: bytearray, rng: random.Random, others: list[bytes]) -> None:
    other = rng.choice(others)
    buffer[rng.randrange(len(buffer)) :] = other[rng.randrange(len(other)) :]


def _copy_within(buffer: bytearray, rng: random.Random, others: list[bytes]) -> None:
    start, length = rng.randrange(len(buffer)), rng.choice((4, 8, 20, 64))
    block = buffer[start : start + length]
    target = rng.randrange(len(buffer))
    buffer[target : target + len(block)] = block


_MUTATIONS: tuple[Callable[[bytearray, random.Random, list[bytes]], None], ...] = (
    _flip_bit,
    _set_byte,
    _set_word,
    _set_word,
    _set_short,
    _set_short,
    _nudge_word,
    _nudge_word,
    _point_elsewhere,
    _point_elsewhere,
    _share_reference,
    _cut,
    _remove,
    _insert,
    _splice,
    _copy_within,
)


def check(data: bytes) -> bool:
    """True when the buffer was decoded, False when it was refused; anything else is raised.

    What was decoded must also be readable to its last byte and of a size in proportion to the buffer.
    """
    try:
        envelope = decode(data)
    except CodecError:
        return False
    size = sum(_size(getattr(envelope.message, name)) for name in envelope.message.__struct_fields__)
    assert size <= FREE_MEMORY + MEMORY_PER_BYTE * len(data), f"{size} bytes of values from {len(data)} of message"
    return True


def _size(value: object) -> int:
    if isinstance(value, np.ndarray):
        value.tobytes()
        return value.nbytes
    if isinstance(value, msgspec.Struct):
        return 48 + sum(_size(getattr(value, name)) for name in value.__struct_fields__)
    if isinstance(value, tuple):
        return sum(map(_size, value))
    return sys.getsizeof(value)


def check_memory(data: bytes) -> None:
    """Decode under tracemalloc (slow) and hold its peak against the bound."""
    tracemalloc.start()
    try:
        check(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    limit = FREE_MEMORY + MEMORY_PER_BYTE * len(data)
    assert peak <= limit, f"decoding {len(data)} bytes took {peak}, more than {limit}"


class Decoding:
    """Damaged buffers, each decoded by itself."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._sound = seeds()
        self._taken = 0

    def invent(self) -> bytes:
        return mutate(self._rng.choice(self._sound), self._rng, self._sound)

    def take(self, data: bytes) -> str:
        self._taken += 1
        if self._taken % 100 == 0:  # the driver's bound is a wide one
            check_memory(data)
        return "decoded" if check(data) else "refused"

    def end(self) -> None:
        pass


def begin(rng: random.Random) -> Chapter:
    """A chapter."""
    return Decoding(rng)


def amplifiers() -> dict[str, bytes]:
    """Messages that ask for far more than their length: tables and strings that others share without end.

    The first two are filled up to the length at which so many references are just allowed.
    """
    count = 5_000
    batch = (fb.Message.CandleBatch, "CandleBatch", "Candles")
    streams = (fb.Message.ListStreamsResponse, "ListStreamsResponse", "Streams")
    return {
        "candles that share a table": _shared(_candles, 1, count, *batch).ljust(8 * count, b"\0"),
        "streams that share a table": _shared(_streams, 1, count, *streams).ljust(12 * count, b"\0"),
        "streams that share a long string": _shared(_streams, 2_000, 2_000, *streams),
    }


def _shared(
    build_rows: Callable[..., list[int]], rows: int, references: int, member: int, table: str, vector: str
) -> bytes:
    builder = flatbuffers.Builder(1024)
    key = generated_wire.build_key(fb, builder, KEY)
    built = build_rows(builder, key, rows)
    builder.StartVector(4, references, 4)
    for row in built * (references // rows):
        builder.PrependUOffsetTRelative(row)
    vector_offset = builder.EndVector()
    getattr(fb, f"{table}Start")(builder)
    if table == "CandleBatch":
        fb.CandleBatchAddKey(builder, key)
    getattr(fb, f"{table}Add{vector}")(builder, vector_offset)
    message = getattr(fb, f"{table}End")(builder)
    fb.EnvelopeStart(builder)
    fb.EnvelopeAddSchemaVersion(builder, 2)
    fb.EnvelopeAddMessageType(builder, member)
    fb.EnvelopeAddMessage(builder, message)
    builder.Finish(fb.EnvelopeEnd(builder))
    return bytes(builder.Output())


def _candles(builder: flatbuffers.Builder, key: int, rows: int) -> list[int]:
    fb.CandleStart(builder)
    return [fb.CandleEnd(builder)]


def _streams(builder: flatbuffers.Builder, key: int, rows: int) -> list[int]:
    store_id = builder.CreateString("x" * 50 * rows)
    statuses = []
    for _ in range(rows):
        fb.StreamStatusResponseStart(builder)
        fb.StreamStatusResponseAddKey(builder, key)
        fb.StreamStatusResponseAddStoreId(builder, store_id)
        statuses.append(fb.StreamStatusResponseEnd(builder))
    return statuses


def bounded_amplifiers() -> None:
    """Hold every one of them to the bound, and say so."""
    for name, data in amplifiers().items():
        check_memory(data)
        print(f"bounded: {name} ({len(data):,} bytes)")


if __name__ == "__main__":
    bounded_amplifiers()
    sys.exit(main(begin, __doc__))
