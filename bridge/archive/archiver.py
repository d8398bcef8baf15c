"""Keeps an archive: reads JetStream, collects rows, writes them, moves its checkpoint; forever, or up to what is there.

While files are written JetStream is not read, and keeps what comes; so memory stays bounded, and a slow disk holds up
nobody. Nothing here needs an orderly end: killed at any instant, it goes on from its cursor.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from fluxcap.bridge.archive.checkpoint import ArchiveCheckpoint, StreamPosition
from fluxcap.bridge.archive.partition import has_names
from fluxcap.bridge.archive.partition_file import PartitionWriter
from fluxcap.bridge.archive.rows import MissingRange, RowBuffer, is_sound
from fluxcap.bridge.client.options import Via
from fluxcap.bridge.jetstream.address import parse_address
from fluxcap.bridge.jetstream.connection import close_connection, open_connection, require_nats
from fluxcap.bridge.jetstream.consumer import PullConsumer
from fluxcap.bridge.jetstream.stream import JetStreamApi, StoredMessage, StreamInfo
from fluxcap.bridge.jetstream.subjects import MESSAGE_ID, STREAM_NAME, position_of, subject_filter
from fluxcap.schemas.codec import decode
from fluxcap.schemas.errors import CodecError, NatsError, NatsUnavailable, StoreFull
from fluxcap.schemas.types import StreamKey

FLUSH_S = 60.0
FLUSH_ROWS = 200_000
"""Rows that wait at most: 16 MB, or so."""
POLL_S = 0.5
AGAIN_S = 1.0
CHECK_S = 10.0
"""How often JetStream is asked whether it is still the one that is read."""
_ANOTHER = "The JetStream stream is not the one archived before: it was recreated, or lost its newest messages."


class ArchiveProgress(msgspec.Struct, frozen=True):
    """Progress of an archiver. ``position``: all up to it is in the files. ``missing``: gaps found since start."""

    position: int = 0
    messages: int = 0
    rows: int = 0
    files: int = 0
    flushes: int = 0
    foreign: int = 0
    """Messages that no forwarder of ours can have put there, or of streams whose names are too long for a folder."""
    missing: tuple[MissingRange, ...] = ()


class Archiver:
    """One archive in a folder.

    Parameters
    ----------
    via
        JetStream.
    folder
        The archive; made when absent.
    source, symbol
        Only these; None: all.
    flush_s, flush_rows
        Files are written when rows have waited so long, or are so many.
    tell
        Gets sentences for people: NATS is unavailable, something is missing.
    """

    def __init__(
        self,
        via: Via,
        folder: Path,
        *,
        source: str | None = None,
        symbol: str | None = None,
        flush_s: float = FLUSH_S,
        flush_rows: int = FLUSH_ROWS,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        require_nats()
        self._address = parse_address(via.servers, via.credentials)
        self._stream = via.stream or STREAM_NAME
        self._folder = folder
        self._filter = subject_filter(source, symbol)
        self._flush_s = flush_s
        self._flush_rows = flush_rows
        self._notify = tell
        self._rows = RowBuffer()
        self._counts: Counter[str] = Counter()
        self._missing: list[MissingRange] = []
        self._place = StreamPosition()
        self._asked_to_stop: Callable[[], object] = lambda: False
        self._stopped = False
        self._waiting_since_s: float | None = None
        self._last_id = ""
        self._named: dict[StreamKey, bool] = {}

    @property
    def state(self) -> ArchiveProgress:
        return ArchiveProgress(self._place.position, missing=tuple(self._missing), **self._counts)

    def stop(self) -> None:
        """Write what waits, and leave; from any thread."""
        self._stopped = True

    @property
    def _stopping(self) -> bool:
        return self._stopped or bool(self._asked_to_stop())

    def run(
        self, *, once: bool = False, from_start: bool = False, stopping: Callable[[], object] = lambda: False
    ) -> ArchiveProgress:
        """Until stopped; ``once``: until all is archived that JetStream has now.

        from_start: read all of it again. stopping: asked twice a second, as good as ``stop`` when it says so.

        Raises StoreLocked, StoreDamaged, StoreError; with ``once`` also StoreFull, NatsUnavailable, NatsRejected,
        NatsError, which are otherwise waited out.
        """
        self._asked_to_stop = stopping
        cursor = ArchiveCheckpoint(self._folder)
        with contextlib.closing(cursor), PartitionWriter(self._folder) as files:
            self._checkpoint, self._files = cursor, files
            self._place = StreamPosition() if from_start else cursor.place
            asyncio.run(self._run(once))
        return self.state

    # --- JetStream ---------------------------------------------------------------------------------------------------

    async def _run(self, once: bool) -> None:
        reported = ""
        while not self._stopping:
            try:
                if await self._read(once):
                    return
                reported = ""
            except (NatsError, StoreFull) as error:
                if once:
                    raise
                if str(error) != reported:
                    reported = str(error)
                    self._notify(f"{reported} Retrying.")
                await self._rest()

    async def _rest(self) -> None:
        for _ in range(max(1, int(AGAIN_S / 0.1))):
            if not self._stopping:
                await asyncio.sleep(0.1)

    async def _read(self, once: bool) -> bool:
        """Over one connection; whether that was all. Raises NatsError, StoreError."""
        # What waited when a connection ended is read again: the cursor knows nothing of it.
        self._rows.clear()
        self._waiting_since_s = None
        client = await open_connection(self._address, "fluxcap archive")
        reader: PullConsumer | None = None
        try:
            api = JetStreamApi(client, self._stream)
            state = await api.state()
            self._place = await self._begin(api, state)
            reader = PullConsumer(api, self._filter, self._place.position + 1)
            await reader.open()
            checked_s = time.monotonic()
            while not self._stopping:
                await self._read_on(reader)
                is_all = once and (reader.pending == 0 or reader.next_position > state.last_position)
                is_due = is_all or self._is_due()
                if is_due or time.monotonic() - checked_s >= CHECK_S:
                    await self._check(api, reader)
                    checked_s = time.monotonic()
                if is_due:
                    await self._flush(reader.next_position - 1)
                if is_all:
                    return True
                if client.is_closed:
                    raise NatsUnavailable("The connection to NATS ended.")
            await self._flush(reader.next_position - 1)
            return True
        finally:
            if reader is not None:
                await reader.close()
            await close_connection(client)

    async def _begin(self, api: JetStreamApi, state: StreamInfo) -> StreamPosition:
        """Return the position to continue from.

        It is the start when the saved position does not apply: another JetStream stream or filter, or messages lost
        there.
        """
        place = self._place
        same = (place.stream, place.created, place.subject_filter) == (self._stream, state.created, self._filter)
        if same and place.position <= state.last_position:
            there = await api.at(place.position)
            discarded = there is None and place.position < state.first_position
            if discarded or (there is not None and _id(there) == place.message_id):
                return place
        return StreamPosition(self._stream, state.created, self._filter)

    async def _read_on(self, reader: PullConsumer) -> None:
        """Archive what arrives within a moment. Raises NatsUnavailable, NatsError."""
        begin = reader.next_position
        messages = await reader.read(POLL_S)
        if messages and messages[0].position < begin:
            raise NatsUnavailable(_ANOTHER)
        self._gather(messages)
        if not messages and reader.pending:
            await reader.recount()

    async def _check(self, api: JetStreamApi, reader: PullConsumer) -> None:
        """Check that positions still mean the same as when reading began. Raises NatsUnavailable, NatsError.

        A reader whose JetStream stream was recreated makes a new consumer there, and does not notice.
        """
        state = await api.state()
        if state.created != self._place.created or state.last_position < reader.next_position - 1:
            raise NatsUnavailable(_ANOTHER)

    def _gather(self, messages: list[StoredMessage]) -> None:
        for message in messages:
            self._counts["messages"] += 1
            try:
                position, body = position_of(message.headers), decode(message.payload).message
            except CodecError:
                self._counts["foreign"] += 1
                continue
            if is_sound(body) and self._has_names(body.key):
                self._rows.add(body, position, self._checkpoint.positions.get((body.key, position.store_id)))
            else:
                self._counts["foreign"] += 1
        if messages:
            self._last_id = _id(messages[-1])
            self._waiting_since_s = self._waiting_since_s or time.monotonic()

    def _has_names(self, key: StreamKey) -> bool:
        """Return whether files can be named after a stream; report once if not."""
        if key not in self._named:
            self._named[key] = has_names(key)
            if not self._named[key]:
                self._notify(f"The stream {str(key)[:60]!r}… is not archived: its name is too long for a folder.")
        return self._named[key]

    # --- the files -------------------------------------------------------------------------------------------------

    def _is_due(self) -> bool:
        if self._waiting_since_s is None:
            return False
        return self._rows.rows >= self._flush_rows or time.monotonic() - self._waiting_since_s >= self._flush_s

    async def _flush(self, position: int) -> None:
        """Write, then move the cursor. The loop goes on meanwhile, so that the server hears from us."""
        if position > self._place.position:
            await asyncio.to_thread(self._write, position)

    def _write(self, position: int) -> None:
        rows = self._rows
        files = self._files.write(rows.partitions(), rows.stores)
        place = msgspec.structs.replace(self._place, position=position, message_id=self._last_id)
        self._checkpoint.move(place, rows.positions, rows.missing)
        self._place = place
        self._counts.update(rows=rows.rows, files=files, flushes=1)
        self._missing += rows.missing
        for hole in rows.missing:
            span = f"{hole.what} {hole.first} to {hole.last}"
            self._notify(f"{hole.key}: {span} are missing, JetStream had deleted them; fluxcap export may have them.")
        rows.clear()
        self._waiting_since_s = None


def _id(message: StoredMessage) -> str:
    return f"{message.subject} {message.headers.get(MESSAGE_ID, '')}"
