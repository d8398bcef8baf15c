"""The position of a reader in each of its streams, as the id of a server-sent event, and back. Pure.

A browser that reconnects sends the id of the last event it had, and goes on exactly there. The id is

``<checksum of the streams' names>.<position>,<position>…`` in the order of the streams, where a position is
``<store_id>:<sequence>:<revision>:<ts_ms>``, without store_id where it is the one before, and empty for a stream that
has to be begun.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote, unquote
from zlib import crc32

from fluxcap.bridge.client.receiver.actions import Cursor
from fluxcap.schemas.types import StreamKey

MAX_DIGITS = 19
"""Of a number in an id; sequences and milliseconds have fewer."""


def encode_positions(keys: Sequence[StreamKey], positions: Mapping[StreamKey, Cursor]) -> str:
    """Return the id of the positions. A stream that is missing from ``positions`` has to be begun."""
    parts, store_id = [], ""
    for key in keys:
        at = positions.get(key)
        if at is None:
            parts.append("")
            continue
        name = "" if at.store_id == store_id else quote(at.store_id, safe="")
        store_id = at.store_id
        parts.append(f"{name}:{at.latest_sequence}:{at.latest_revision}:{at.latest_ts_ms}")
    return f"{_checksum(keys)}.{','.join(parts)}"


def decode_positions(text: str, keys: Sequence[StreamKey]) -> dict[StreamKey, Cursor]:
    """Return the positions of an id; {} when it is of other streams, or no id of ours."""
    checksum, _, rest = text.partition(".")
    parts = rest.split(",")
    if checksum != _checksum(keys) or len(parts) != len(keys):
        return {}
    found: dict[StreamKey, Cursor] = {}
    store_id = ""
    for key, part in zip(keys, parts, strict=True):
        if not part:
            continue
        name, *numbers = part.split(":")
        if len(numbers) != 3 or not all(_is_number(number) for number in numbers):
            return {}
        store_id = unquote(name) or store_id
        sequence, revision, ts_ms = map(int, numbers)
        found[key] = Cursor(store_id, sequence, ts_ms, revision)
    return found


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS


def _checksum(keys: Sequence[StreamKey]) -> str:
    return f"{crc32('|'.join(map(str, keys)).encode()):08x}"
