"""The publishing socket: batches, heartbeats, forming candles, revisions and ticks, each on its own topic.

Heartbeats, forming and sealed candles are made and sent only while somebody subscribes to them: with no client, that is
half of what the pipeline's thread would do, and most streams of longer intervals are heard by nobody. So the socket is
an XPUB, which is a PUB that tells what its subscribers ask for. A PUB drops what nobody has asked for, too, once made.

Used from the pipeline's thread alone. Sending never blocks and never fails because of a subscriber: what a slow one
cannot take waits in its own queue, and what does not fit there any more is dropped for it alone. It finds out by the
next sequence or heartbeat and fetches what it missed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import zmq

from fluxcap.bridge.transport.curve import ServerCurve
from fluxcap.bridge.transport.endpoint import bind, enable_keepalive
from fluxcap.schemas.codec import encode
from fluxcap.schemas.types import (
    Candle,
    CandleBatch,
    CandleRevision,
    Message,
    StreamKey,
    StreamStatus,
    TickBatch,
    candle_array,
)

SEND_QUEUE = 100_000
"""Messages that wait for one slow subscriber before it loses some.

libzmq's default of 1,000 loses messages within a second of a busy market. A queue entry is 64 bytes and the message
itself is shared by all queues: 6.4 MB a stuck subscriber, plus about 30 MB of messages once, at the very most. At
1,000 streams with a heartbeat each second that bridges more than a minute and a half.
"""
_MORE_FOLLOWS = int(zmq.SNDMORE)
_READABLE = int(zmq.POLLIN)
FORMING_SPACING_NS = 200_000_000
"""A forming candle goes out at most five times a second per stream."""
FORMING_AGAIN_NS = 1_000_000_000
"""One that has not changed goes out again after so long, for whoever has come since: of 16 assets at two ticks a second
two thirds of what could go out five times a second is what went out before."""
_BEGINS, _ENDS = b"\x01", b"\x00"
"""The first byte of what a subscriber says: it begins, or ends, to listen to the topics that begin with the rest."""


class Subscriptions:
    """The topics that somebody listens to, as an XPUB socket tells it."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._prefixes: set[bytes] = set()
        self._lengths: tuple[int, ...] = ()
        """Of the prefixes, each once: a topic is looked up by its own beginnings, however many prefixes there are."""
        self._known: dict[str, dict[StreamKey, bool]] = {}
        """By kind of topic, the streams that were looked up since somebody came or went."""

    def heard(self, keys: Iterable[StreamKey], kind: str) -> list[StreamKey]:
        """Return the streams of which somebody listens to a kind of topic: one look at who has come for all of them.

        Whoever begins to listen at this very moment may be missed.
        """
        self._drain()
        known = self._known.setdefault(kind, {})
        found = []
        for key in keys:
            is_heard = known.get(key)
            if is_heard is None:
                is_heard = known[key] = self._holds(key.topic(kind))
            if is_heard:
                found.append(key)
        return found

    def include_some(self, beginning: bytes) -> bool:
        """Return whether somebody listens to a topic that begins so."""
        self._drain()
        return any(prefix.startswith(beginning) or beginning.startswith(prefix) for prefix in self._prefixes)

    def _holds(self, topic: bytes) -> bool:
        return any(topic[:length] in self._prefixes for length in self._lengths)

    def _drain(self) -> None:
        has_changed = False
        while self._socket.getsockopt(zmq.EVENTS) & _READABLE:  # type: ignore[operator]
            self._take(self._socket.recv())
            has_changed = True
        if has_changed:  # once for all that a client of many streams asks for
            self._lengths = tuple({len(prefix) for prefix in self._prefixes})
            self._known.clear()

    def _take(self, said: bytes) -> None:
        """libzmq tells of a prefix when the first subscriber begins with it, and when the last one ends."""
        prefix = said[1:]
        if said[:1] == _BEGINS:
            self._prefixes.add(prefix)
        elif said[:1] == _ENDS:
            self._prefixes.discard(prefix)


class Publisher:
    """Owns the socket.

    Parameters
    ----------
    context
        ZeroMQ context.
    endpoint
        Where to bind, such as ``tcp://127.0.0.1:5556``; port 0 picks a free one.
    curve
        Keys; needed for an endpoint beyond loopback.

    Attributes
    ----------
    endpoint
        As bound.
    counters
        Messages sent by kind of topic.

    Raises AlreadyRunning when the endpoint is in use, ConfigError when it cannot be bound or lacks keys.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, curve: ServerCurve | None = None
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._forming_sent: dict[StreamKey, tuple[int, Candle]] = {}
        """When the candle under way of a stream went out last, and which."""
        self._socket = context.socket(zmq.XPUB)
        self._subscriptions = Subscriptions(self._socket)
        self._socket.setsockopt(zmq.SNDHWM, SEND_QUEUE)
        enable_keepalive(self._socket)
        try:
            self.endpoint = bind(self._socket, endpoint, curve)
        except BaseException:
            self._socket.close(linger=0)
            raise

    def batches(self, batches: Sequence[CandleBatch]) -> None:
        """Numbered candles, each on its ``candles.…``; skipped while nobody hears it. The store must hold them already.

        Whoever begins to listen now learns of them by the watermark, as after any lost message.
        """
        heard = set(self.heard([batch.key for batch in batches], "candles"))
        for batch in batches:
            if batch.key in heard:
                self.batch(batch)

    def batch(self, batch: CandleBatch) -> None:
        """Numbered candles of one stream, sent whether somebody hears it or not."""
        self._send(batch.key, "candles", batch)

    def is_heard(self, key: StreamKey, kind: str) -> bool:
        """Return whether somebody subscribes to a stream's topic; ``kind``: as ``StreamKey.topic``."""
        return bool(self._subscriptions.heard((key,), kind))

    def heard(self, keys: Iterable[StreamKey], kind: str) -> list[StreamKey]:
        """Return those of some streams to whose topics somebody subscribes; ``kind``: as ``StreamKey.topic``."""
        return self._subscriptions.heard(keys, kind)

    @property
    def is_forming_heard(self) -> bool:
        """Return whether somebody subscribes to the candle under way of any stream."""
        return self._subscriptions.include_some(b"forming.")

    def heartbeats(self, statuses: Mapping[StreamKey, StreamStatus], now_ms: int) -> None:
        """The watermarks on ``status.…``, so that a lost last batch is noticed; each skipped while nobody hears it.

        ``now_ms``: wall clock, for their ``server_time_ms``.
        """
        for key in self.heard(statuses, "status"):
            self._send(key, "status", msgspec.structs.replace(statuses[key], server_time_ms=now_ms))

    def forming(self, key: StreamKey, candle: Candle, now_mono_ns: int) -> bool:
        """The candle under way on ``forming.…``.

        Skipped (False) within 200 ms of the one before, within a second of an equal one, and while nobody hears it.
        """
        sent_ns, sent = self._forming_sent.get(key, (now_mono_ns - FORMING_AGAIN_NS, None))
        if now_mono_ns - sent_ns < (FORMING_AGAIN_NS if candle == sent else FORMING_SPACING_NS):
            return False
        if not self.is_heard(key, "forming"):
            return False
        self._forming_sent[key] = now_mono_ns, candle
        self._send(key, "forming", CandleBatch(key, 0, candle_array([candle])))
        return True

    def revision(self, revision: CandleRevision) -> None:
        """Better candles on ``revisions.…``. The store must hold them already."""
        self._send(revision.key, "revisions", revision)

    def ticks(self, ticks: TickBatch) -> None:
        """Ticks on ``ticks.…``; best effort."""
        self._send(ticks.key, "ticks", ticks)

    def _send(self, key: StreamKey, kind: str, message: Message) -> None:
        # Not send_multipart: it checks each frame's type and flags again, a tenth of a minute's end of 1,000 streams.
        self._socket.send(key.topic(kind), _MORE_FOLLOWS)
        self._socket.send(encode(message))
        self.counters[kind] += 1

    def close(self, linger_ms: int = 500) -> None:
        """Close the socket; what is queued has ``linger_ms`` to leave. Idempotent."""
        self._socket.close(linger=linger_ms)
