"""A server in memory: streams, revisions, a store that can be pruned, rolled back and replaced; and a transport to it.

It answers with the product's own request handler. Nothing here waits, and nothing has a thread or a clock.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np

from fluxcap.bridge.server.requests import RequestHandler
from fluxcap.bridge.transport.base import (
    Connected,
    Disconnected,
    MessageReceived,
    ReplyReceived,
    RequestFailed,
    TransportEvent,
)
from fluxcap.schemas.candles import CandlePage, RevisionPage
from fluxcap.schemas.codec import decode, encode
from fluxcap.schemas.errors import WireError, WireTimeout
from fluxcap.schemas.types import (
    Candle,
    CandleBatch,
    CandleRevision,
    ErrorResponse,
    FeedState,
    Message,
    StreamKey,
    StreamStatus,
    candle_array,
)


class MemoryStream:
    """One stream: ``candles[i]`` has sequence ``i + 1``, ``revisions[i]`` number ``i + 1``; the first may be pruned."""

    def __init__(self) -> None:
        self.candles: list[Candle] = []
        self.revisions: list[tuple[int, Candle]] = []
        self.first_sequence = 1
        self.first_revision = 1

    def view(self) -> dict[int, Candle]:
        """The candles that are kept, by time: of the main stream, and those that only a revision brought."""
        kept = self.candles[self.first_sequence - 1 :]
        oldest = kept[0].ts_ms if kept else 0
        passed = {c.ts_ms: c for sequence, c in self.revisions if sequence == 0 and c.ts_ms >= oldest}
        return passed | {candle.ts_ms: candle for candle in kept}


class MemoryServer:
    """See the module."""

    def __init__(self, keys: Iterable[StreamKey] = ()) -> None:
        self.store_id = "store-1"
        self.streams = {key: MemoryStream() for key in keys}
        self._stores = 1
        self._handler = RequestHandler(self, lambda: {key: self.status(key) for key in self.streams}, lambda: 0)

    def status(self, key: StreamKey) -> StreamStatus:
        stream = self.streams[key]
        newest = stream.candles[-1].ts_ms if stream.candles else 0
        return StreamStatus(
            key,
            latest_sequence=len(stream.candles),
            latest_ts_ms=newest,
            server_time_ms=newest,
            first_sequence=stream.first_sequence if stream.candles else 0,
            store_id=self.store_id,
            latest_revision=len(stream.revisions),
            feed_state=FeedState.LIVE,
            last_tick_ts_ms=newest,
        )

    def publish(self, key: StreamKey, candles: Iterable[Candle]) -> CandleBatch:
        stream = self.streams.setdefault(key, MemoryStream())
        start, new = len(stream.candles) + 1, list(candles)
        stream.candles += new
        return CandleBatch(key, start, candle_array(new))

    def revise(self, key: StreamKey, rows: Iterable[tuple[int, Candle]]) -> CandleRevision:
        """Better candles, each for the one of its sequence; 0: a minute that the main stream passed over."""
        stream, new = self.streams[key], list(rows)
        start = len(stream.revisions) + 1
        for sequence, candle in new:
            if sequence:
                stream.candles[sequence - 1] = candle
        stream.revisions += new
        return CandleRevision(
            key, start, np.array([sequence for sequence, _ in new], np.uint64), candle_array(c for _, c in new)
        )

    def prune(self, key: StreamKey, first_sequence: int) -> None:
        """Forget older candles, and their revisions."""
        stream = self.streams[key]
        stream.first_sequence = max(stream.first_sequence, min(first_sequence, len(stream.candles)))
        oldest = stream.candles[stream.first_sequence - 1].ts_ms
        while (
            stream.first_revision <= len(stream.revisions)
            and stream.revisions[stream.first_revision - 1][1].ts_ms < oldest
        ):
            stream.first_revision += 1

    def backup(self) -> Any:
        return copy.deepcopy(self.streams)

    def restore(self, backup: Any) -> None:
        """The store as it was, under the same identity."""
        self.streams = copy.deepcopy(backup)

    def replace_store(self) -> None:
        """A new store, without candles."""
        self._stores += 1
        self.store_id = f"store-{self._stores}"
        self.streams = {key: MemoryStream() for key in self.streams}

    def answer(self, message: Message) -> Message:
        """Raises WireError for an error."""
        reply = decode(self._handler.handle(encode(message))).message
        if isinstance(reply, ErrorResponse):
            raise WireError(reply.code, reply.message)
        return reply

    # --- pages, for the request handler ----------------------------------------------------------------------------

    def page(self, key: StreamKey, after_sequence: int | None, end_ts_ms: int | None, limit: int) -> CandlePage:
        stream = self.streams[key]
        after = max(after_sequence or 0, stream.first_sequence - 1)
        found = [c for c in stream.candles[after:] if end_ts_ms is None or c.ts_ms <= end_ts_ms]
        return CandlePage(after + 1, candle_array(found[:limit]), len(found) > limit)

    def revisions(self, key: StreamKey, after_revision: int | None, limit: int) -> RevisionPage:
        stream = self.streams[key]
        after = max(after_revision or 0, stream.first_revision - 1)
        found = stream.revisions[after : after + limit]
        numbers = np.array([sequence for sequence, _ in found], np.uint64)
        candles = candle_array(candle for _, candle in found)
        return RevisionPage(after + 1, numbers, candles, after + limit < len(stream.revisions))


class MemoryConnection:
    """Stands in for ``RequestConnection``. asked: how many requests so far."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server
        self.asked = 0

    def request(self, message: Message, kind: type[Any]) -> Any:
        self.asked += 1
        reply = self._server.answer(message)
        assert isinstance(reply, kind)
        return reply

    def close(self) -> None:
        pass


class MemoryTransport:
    """A transport to a server in memory. failing: requests get no answer."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server
        self._coming: list[TransportEvent] = []
        self.topics: set[bytes] = set()
        self.is_connected = False
        self.failing = False

    def connect(self, pub: str | None, rep: str) -> None:
        self.come()

    def come(self) -> None:
        """The server is there, again."""
        self.is_connected = True
        self._coming.append(Connected())

    def go(self) -> None:
        """The server is gone, and with it all that was under way."""
        self.is_connected = False
        self._coming = [event for event in self._coming if isinstance(event, RequestFailed)]
        self._coming.append(Disconnected("gone"))

    def send(self, topic: bytes, message: Message) -> None:
        """Publish to whoever subscribes to it."""
        if self.is_connected and topic in self.topics:
            self._coming.append(MessageReceived(topic, decode(encode(message)).message))

    def subscribe(self, topics: Iterable[bytes]) -> None:
        self.topics |= set(topics)

    def unsubscribe(self, topics: Iterable[bytes]) -> None:
        self.topics -= set(topics)

    def request(self, request_id: int, message: Message, timeout_ns: int) -> None:
        if not self.is_connected or self.failing:
            self._coming.append(RequestFailed(request_id, WireTimeout("no answer")))
            return
        try:
            self._coming.append(ReplyReceived(request_id, self._server.answer(message)))
        except WireError as error:
            self._coming.append(RequestFailed(request_id, error))

    def receive(self, timeout_ms: int) -> list[TransportEvent]:
        coming, self._coming = self._coming, []
        return coming

    def wake(self) -> None:
        pass

    def close(self) -> None:
        pass
