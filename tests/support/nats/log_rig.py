"""Puts candles on a real log as a forwarder would, message by message, for tests of those who read it.

It shares nothing with the forwarder but the names of things; that both do the same is shown where the real one is used.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import msgspec
import nats
import numpy as np
from nats.aio.client import Client

from fluxcap.bridge.jetstream.event_loop import EventLoopThread
from fluxcap.bridge.jetstream.stream import JetStreamApi
from fluxcap.bridge.jetstream.subjects import (
    ALL_SUBJECTS,
    MESSAGE_ID,
    STREAM_NAME,
    Position,
    message_id,
    position_headers,
    revision_id,
    status_subject,
    subject,
)
from fluxcap.schemas.codec import encode
from fluxcap.schemas.types import CandleArray, CandleBatch, CandleRevision, FeedState, StreamKey, StreamStatus
from tests.support.patience import PATIENCE_S


class LogFeeder:
    """One store's way to the log. A context manager; ``open`` connects, also after the server was away."""

    def __init__(self, url: str, store_id: str = "store-1", *, make_stream: bool = True, **limits: Any) -> None:
        self._url = url
        self._loop = EventLoopThread("feeder")
        self._client: Client | None = None
        self.store_id = store_id
        self.positions: dict[StreamKey, Position] = {}
        self.open()
        if make_stream:
            self.ask(f"STREAM.CREATE.{STREAM_NAME}", stream_config(**limits))

    def open(self) -> None:
        self._client = self._loop.run(nats.connect(self._url, allow_reconnect=False), PATIENCE_S)

    def ask(self, what: str, question: dict[str, Any], absent: int | None = None) -> Any:
        """A question of JetStream's API; None when the error is ``absent``."""
        return self._loop.run(JetStreamApi(self._need(), timeout_s=30).request(what, question, absent), PATIENCE_S)

    def replace_store(self, store_id: str) -> None:
        """From now on another store, whose numbers begin anew."""
        self.store_id = store_id
        self.positions.clear()

    def add(self, key: StreamKey, candles: CandleArray, *, start: int | None = None) -> int:
        """The next candles as one message; returns their first sequence. ``start``: with this sequence."""
        have = self._position(key)
        first = start or have.latest_sequence + 1
        batch = CandleBatch(key, first, candles)
        reached = msgspec.structs.replace(
            have,
            latest_sequence=batch.next_sequence - 1,
            latest_ts_ms=int(candles["ts_ms"][-1]),
            first_sequence=have.first_sequence or first,
        )
        self._store(key, encode(batch), message_id(self.store_id, key, first), reached)
        return first

    def add_many(self, key: StreamKey, candles: CandleArray) -> None:
        """The next candles, a message each, without a wait between them."""

        async def send() -> None:
            client = self._need()
            for n in range(len(candles)):
                first = self._position(key).latest_sequence + 1
                reached = Position(self.store_id, first, int(candles["ts_ms"][n]), 0, 1)
                payload = encode(CandleBatch(key, first, candles[n : n + 1]))
                headers = {MESSAGE_ID: message_id(self.store_id, key, first), **position_headers(reached)}
                await client.publish(subject(key), payload, headers=headers)
                self.positions[key] = reached
            await client.flush(PATIENCE_S)

        before = self._messages
        self._loop.run(send(), PATIENCE_S)
        while self._messages < before + len(candles):
            time.sleep(0.02)

    @property
    def _messages(self) -> int:
        return int(self.ask(f"STREAM.INFO.{STREAM_NAME}", {})["state"]["messages"])

    def revise(self, key: StreamKey, sequences: Sequence[int], candles: CandleArray) -> None:
        """The next revisions as one message."""
        have = self._position(key)
        revision = CandleRevision(key, have.latest_revision + 1, np.array(sequences, np.uint64), candles)
        reached = msgspec.structs.replace(have, latest_revision=have.latest_revision + len(candles))
        name = revision_id(self.store_id, key, revision.start_revision)
        self._store(key, encode(revision), name, reached)

    def beat(self, feed_state: int = FeedState.LIVE) -> None:
        """A heartbeat of every stream."""
        for key, have in self.positions.items():
            status = StreamStatus(
                key,
                have.latest_sequence,
                have.latest_ts_ms,
                1_000_000,
                have.first_sequence,
                self.store_id,
                have.latest_revision,
                feed_state,
            )
            self._loop.run(self._need().publish(status_subject(key), encode(status)), PATIENCE_S)
        self._loop.run(self._need().flush(PATIENCE_S), PATIENCE_S)

    def put_raw(self, key: StreamKey, payload: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Any bytes on a stream's subject."""
        work = self._need().jetstream().publish(subject(key), payload, headers=dict(headers or {}), timeout=PATIENCE_S)
        self._loop.run(work, PATIENCE_S)

    def keep_from(self, log_position: int) -> None:
        """Have the log forget what is before a position."""
        self.ask(f"STREAM.PURGE.{STREAM_NAME}", {"seq": log_position})

    @property
    def consumers(self) -> int:
        """How many readers the server holds."""
        return int(self.ask(f"STREAM.INFO.{STREAM_NAME}", {})["state"]["consumer_count"])

    def _position(self, key: StreamKey) -> Position:
        return self.positions.get(key) or Position(self.store_id)

    def _store(self, key: StreamKey, payload: bytes, name: str, reached: Position) -> None:
        self.put_raw(key, payload, {MESSAGE_ID: name, **position_headers(reached)})
        self.positions[key] = reached

    def _need(self) -> Client:
        assert self._client is not None
        return self._client

    def close(self) -> None:
        if self._client is not None:
            self._loop.run(self._client.close(), PATIENCE_S)
        self._loop.close()

    def __enter__(self) -> LogFeeder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def stream_config(**limits: Any) -> dict[str, Any]:
    return {"name": STREAM_NAME, "subjects": [ALL_SUBJECTS], "storage": "file", "num_replicas": 1, **limits}
