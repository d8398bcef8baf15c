"""A fingerprint of what a store holds: equal digests, equal rows to the bit.

Sequences, candles with their flags, revisions and gaps go in; the store's own identity and its times of writing do not.
"""

from __future__ import annotations

import hashlib

import msgspec

from fluxcap.bridge.store.reader import StoreReader
from fluxcap.schemas.types import StreamKey

_ROWS = 50_000
_LENGTH = 16


class StreamDigest(msgspec.Struct, frozen=True):
    """One stream. ``digest``: 16 hexadecimal digits over sequences, candles and revisions."""

    key: StreamKey
    candles: int
    revisions: int
    first_ts_ms: int
    last_ts_ms: int
    digest: str


class StoreDigest(msgspec.Struct, frozen=True):
    """A whole store. ``digest`` is over all streams and gaps."""

    streams: tuple[StreamDigest, ...]
    gaps: int
    digest: str


def store_digest(reader: StoreReader, interval: str | None = None) -> StoreDigest:
    """Read all of it, or the streams of one interval alone, from which others are derived. Raises StoreError."""
    keys = [key for key in sorted(reader.watermarks()) if interval in (None, key.interval)]
    streams = tuple(_stream_digest(reader, key) for key in keys)
    gaps = sorted(reader.gaps(), key=lambda gap: (gap.source_id, gap.symbol, gap.from_ms))
    whole = hashlib.sha256()
    for stream in streams:
        whole.update(f"{stream.key}\n{stream.digest}\n".encode())
    for gap in gaps:
        whole.update(msgspec.json.encode(gap))
    return StoreDigest(streams, len(gaps), whole.hexdigest()[:_LENGTH])


def _stream_digest(reader: StoreReader, key: StreamKey) -> StreamDigest:
    mark = reader.watermarks()[key]
    found = hashlib.sha256()
    candles, first_ms = 0, 0
    after = None
    while True:
        page = reader.page(key, after, None, _ROWS)
        if len(page.candles):
            first_ms = first_ms or int(page.candles["ts_ms"][0])
            found.update(f"candles {page.start_sequence} {len(page.candles)}\n".encode())
            found.update(page.candles.tobytes())
            candles += len(page.candles)
        if not page.has_more:
            break
        after = page.next_sequence - 1
    revisions = _add_revisions(reader, key, found)
    return StreamDigest(key, candles, revisions, first_ms, mark.latest_ts_ms, found.hexdigest()[:_LENGTH])


def _add_revisions(reader: StoreReader, key: StreamKey, into: hashlib._Hash) -> int:
    count, after = 0, None
    while True:
        page = reader.revisions(key, after, _ROWS)
        if len(page.candles):
            into.update(f"revisions {page.start_revision} {len(page.candles)}\n".encode())
            into.update(page.sequences.tobytes())
            into.update(page.candles.tobytes())
            count += len(page.candles)
        if not page.has_more:
            return count
        after = page.next_revision - 1
