"""``encode`` and ``decode``: a message with its envelope, to bytes and back."""

from __future__ import annotations

import struct
from functools import lru_cache

import numpy as np

from fluxcap.schemas.codec.messages import MEMBER_OF_ID, MEMBER_OF_TYPE, Member
from fluxcap.schemas.codec.reading import Reader
from fluxcap.schemas.codec.tables import CANDLE_BATCH, ENVELOPE, ENVELOPE_UNCORRELATED
from fluxcap.schemas.codec.writing import CACHED_KEYS, Part, is_usual, string_part, table_part
from fluxcap.schemas.errors import CodecError, MessageTooLarge, UnsupportedVersion
from fluxcap.schemas.types import (
    CANDLE_DTYPE,
    WIRE_SCHEMA_VERSION,
    CandleArray,
    CandleBatch,
    Envelope,
    Message,
    StreamKey,
)

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""The longest message that is written or read: 16 MiB."""

_ROOT = struct.Struct("<I4x")
_VERSION = struct.Struct("<I")
_SEQUENCE = struct.Struct("<Q")
_END = bytes(2)
"""What is behind a row of ``CANDLE_DTYPE``, so that the next part stands at a multiple of 8."""
_SEQUENCE_AT = _ROOT.size + ENVELOPE_UNCORRELATED.block_length + CANDLE_BATCH.entry + CANDLE_BATCH.offsets[1]
_CANDLE_AT = -CANDLE_DTYPE.itemsize - len(_END)
"""Where a batch of one candle has its sequence and, from the end, its candle, as ``encode`` writes it."""
_LONGEST_WITH_ONE_CANDLE = 1_024
"""With any usual key it is shorter."""


def encode(message: Message, correlation_id: str = "") -> bytes:
    """A message as the wire has it, in an envelope of the lowest schema version that can read it.

    ``correlation_id`` names the request that a response answers; empty on PUB. The same message always gives the same
    bytes.

    Raises CodecError for values that do not fit their fields (a negative sequence, an array of another dtype, columns
    of unequal length), MessageTooLarge beyond ``MAX_MESSAGE_BYTES``.
    """
    try:
        if type(message) is CandleBatch and not correlation_id and _is_one_candle(message.candles):
            return _encode_one_candle(message)
        return _encode(message, correlation_id)
    except (struct.error, UnicodeError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CodecError(f"{type(message).__name__} does not fit the wire: {error}.") from error


def _is_one_candle(candles: CandleArray) -> bool:
    return isinstance(candles, np.ndarray) and candles.shape == (1,) and candles.dtype == CANDLE_DTYPE


def _encode_one_candle(batch: CandleBatch) -> bytes:
    """Return the message as ``_encode``. Nearly all that a server sends; only sequence and candle of it ever change."""
    key = batch.key
    before, between = (_frame_of_one_candle if is_usual(key) else _frame_of_one_candle.__wrapped__)(key)
    return b"".join([before, _SEQUENCE.pack(batch.start_sequence), between, batch.candles.tobytes(), _END])


@lru_cache(CACHED_KEYS)
def _frame_of_one_candle(key: StreamKey) -> tuple[bytes, bytes]:
    """The bytes of a batch of one candle that are the same each time: before the sequence, and before the candle."""
    message = _encode(CandleBatch(key, 0, np.zeros(1, CANDLE_DTYPE)), "")
    return _split(message)


def _split(message: bytes) -> tuple[bytes, bytes]:
    """Return what is before the sequence, and what is between it and the candle."""
    return message[:_SEQUENCE_AT], message[_SEQUENCE_AT + _SEQUENCE.size : _CANDLE_AT]


def _encode(message: Message, correlation_id: str) -> bytes:
    member = MEMBER_OF_TYPE.get(type(message))
    if member is None:
        raise CodecError(f"{type(message).__name__} is not a message of the wire.")
    envelope = _envelope_part(member.version, member.type_hint, correlation_id, member.id, member.part(message))
    length = _ROOT.size + envelope.length
    if length > MAX_MESSAGE_BYTES:
        raise MessageTooLarge(f"{type(message).__name__} needs {length} bytes; {MAX_MESSAGE_BYTES} is the limit.")
    return b"".join([_ROOT.pack(_ROOT.size + envelope.entry), *envelope.chunks])


def _envelope_part(version: int, type_hint: int, correlation_id: str, member_id: int, message: Part) -> Part:
    if correlation_id:
        return table_part(ENVELOPE, [version, type_hint, string_part(correlation_id), member_id, message])
    return table_part(ENVELOPE_UNCORRELATED, [version, type_hint, member_id, message])


def decode(buffer: bytes | bytearray | memoryview) -> Envelope:
    """The message in a buffer, whoever wrote it.

    Arrays of the message may be read-only views: they keep the buffer alive (a copy of it, unless it is ``bytes``).
    NaN and infinite prices pass through; so does every order of time stamps: what candles mean is not checked here.

    Raises CodecError for what is not a sound message, UnsupportedVersion for an envelope of a version above
    ``WIRE_SCHEMA_VERSION``, MessageTooLarge beyond ``MAX_MESSAGE_BYTES``; each with the correlation id where it could
    be read. Nothing else, whatever the buffer.
    """
    length = buffer.nbytes if isinstance(buffer, memoryview) else len(buffer)
    if length > MAX_MESSAGE_BYTES:
        raise MessageTooLarge(f"The message has {length} bytes; {MAX_MESSAGE_BYTES} is the limit.")
    data = buffer if type(buffer) is bytes else bytes(buffer)
    return _decode_one_candle(data) or _decode(data)


def _decode_one_candle(data: bytes) -> Envelope | None:
    """Return what ``_encode_one_candle`` wrote, None for anything else: nearly all that a client is sent."""
    if len(data) > _LONGEST_WITH_ONE_CANDLE or not (data.startswith(_BEGIN) and data.endswith(_END)):
        return None
    before, between = _split(data)
    if not between.endswith(_BEFORE_CANDLE):
        return None
    key = _key_of_frame(before, between)
    if key is None:
        return None
    (sequence,) = _SEQUENCE.unpack_from(data, _SEQUENCE_AT)
    candles = np.frombuffer(data, CANDLE_DTYPE, 1, len(data) + _CANDLE_AT)
    return Envelope(CandleBatch(key, sequence, candles), "", MEMBER_OF_TYPE[CandleBatch].version)


@lru_cache(CACHED_KEYS)
def _key_of_frame(before: bytes, between: bytes) -> StreamKey | None:
    """Return the key whose batches of one candle are written so; None when none are."""
    try:
        message = _decode(b"".join([before, bytes(_SEQUENCE.size), between, bytes(-_CANDLE_AT)])).message
    except CodecError:
        return None
    if not isinstance(message, CandleBatch) or _frame_of_one_candle.__wrapped__(message.key) != (before, between):
        return None
    return message.key


def _decode(data: bytes) -> Envelope:
    reader = Reader(data)
    root = reader.root()
    version_at, _, correlation_at, type_at, message_at = reader.offsets(root, ENVELOPE)
    version: int = _VERSION.unpack_from(reader.data, root + version_at)[0] if version_at else 1
    correlation_id = ""
    try:
        if correlation_at:
            correlation_id = reader.string(reader.follow(root + correlation_at))
        _require_known(version)
        member = _member(reader.data[root + type_at] if type_at and message_at else 0, version)
        message = member.message(reader, reader.follow(root + message_at))
    except CodecError as error:
        # An envelope of the future may hold what we cannot read: then its version is the reason to give.
        if not isinstance(error, UnsupportedVersion):
            _require_known(version)
        error.correlation_id = correlation_id
        raise
    return Envelope(message, correlation_id, version)


def _require_known(version: int) -> None:
    if not 1 <= version <= WIRE_SCHEMA_VERSION:
        raise UnsupportedVersion(f"Schema version {version} is not known here; write {WIRE_SCHEMA_VERSION} or lower.")


def _member(member_id: int, version: int) -> Member:
    member = MEMBER_OF_ID.get(member_id)
    if member is None:
        raise CodecError(f"The envelope holds no message known here (union member {member_id}).")
    if member.version > version:
        raise CodecError(f"{member.table.name} needs an envelope of schema version {member.version}, not {version}.")
    return member


_SAMPLE = _frame_of_one_candle.__wrapped__(StreamKey("", "", ""))
_BEGIN = _SAMPLE[0][: _ROOT.size + ENVELOPE_UNCORRELATED.block_length]
_BEFORE_CANDLE = _SAMPLE[1][-40:]
"""What every batch of one candle begins with, and has before its candle: others are told from it at once."""
