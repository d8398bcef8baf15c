"""``encode`` and ``decode``: a message with its envelope, to bytes and back."""

from __future__ import annotations

import struct

from fluxcap.schemas.codec.messages import MEMBER_OF_ID, MEMBER_OF_TYPE, Member
from fluxcap.schemas.codec.reading import Reader
from fluxcap.schemas.codec.tables import ENVELOPE, ENVELOPE_UNCORRELATED
from fluxcap.schemas.codec.writing import Part, string_part, table_part
from fluxcap.schemas.errors import CodecError, MessageTooLarge, UnsupportedVersion
from fluxcap.schemas.types import WIRE_SCHEMA_VERSION, Envelope, Message

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""The longest message that is written or read: 16 MiB."""

_ROOT = struct.Struct("<I4x")
_VERSION = struct.Struct("<I")


def encode(message: Message, correlation_id: str = "") -> bytes:
    """A message as the wire has it, in an envelope of the lowest schema version that can read it.

    ``correlation_id`` names the request that a response answers; empty on PUB. The same message always gives the same
    bytes.

    Raises CodecError for values that do not fit their fields (a negative sequence, an array of another dtype, columns
    of unequal length), MessageTooLarge beyond ``MAX_MESSAGE_BYTES``.
    """
    member = MEMBER_OF_TYPE.get(type(message))
    if member is None:
        raise CodecError(f"{type(message).__name__} is not a message of the wire.")
    try:
        envelope = _envelope_part(member.version, member.type_hint, correlation_id, member.id, member.part(message))
    except (struct.error, UnicodeError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CodecError(f"{type(message).__name__} does not fit the wire: {error}.") from error
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
    reader = Reader(buffer if type(buffer) is bytes else bytes(buffer))
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
