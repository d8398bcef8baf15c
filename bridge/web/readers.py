"""All that readers over HTTP are given, over one server: candles by time, and the live feed. No routes.

The live feed of one reader is a sequence of server-sent events. Their data is JSON, and the streams in it are called
``SOURCE/SYMBOL/INTERVAL``:

=============  =======================================================================================================
``start``      the streams with the positions at which the feed begins, and the fields of a candle
``reset``      drop all candles of a stream: the server's store is another one
``snapshot``   the newest candles of a stream that is begun (where ``last`` asks for them), in place of all it has
``ready``      from here on what is new; this and what moves a position carries the id to come again with
``candles``    the next candles of a stream, the first of them with ``sequence``; ``backfill``: they had to be fetched
``revision``   better candles, each for the one of its sequence; 0: for the one of its time, if there is one
``forming``    the candle under way
``prices``     the last price of watched streams, ``{stream: [price, start of its candle]}``
``state``      the health of a stream, in the words of every client, and the state of its feed
``gap``        sequences that the server has no more
``caught_up``  all that the server has was sent; once per connection to it
``dropped``    this reader was too slow; it comes again with the last id
``end``        the server is stopping, or cannot be asked; come again
=============  =======================================================================================================

Candles are to be kept by their ``ts_ms``: what was sent twice is the same again, or newer.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from fluxcap.bridge.client.events import Candles, Event
from fluxcap.bridge.client.receiver.actions import Cursor
from fluxcap.bridge.web.event_writer import EventWriter, encode_event, stream_name
from fluxcap.bridge.web.feed import MAX_LISTENERS, FeedHub, Listener
from fluxcap.bridge.web.positions import decode_positions
from fluxcap.bridge.web.reader import CandleReader, CandleSlice, ReaderTarget
from fluxcap.schemas.errors import ConfigError, FluxcapError, NotAnswering
from fluxcap.schemas.types import Gap, StreamKey, StreamStatus

MAX_STREAMS = 200
"""With their candles, on one connection."""
MAX_WATCHED = 1_000
MAX_SNAPSHOT = 5_000
FLUSH_S = 0.2
"""Between two sendings to one reader, so that one carries many events."""
NEW_FLUSH_S = 0.02
NEW_S = 3.0
"""So long a reader that has just come is not made to wait: its chart becomes live at once."""
FLUSH_CANDLES = 2_000
KEEP_ALIVE_S = 15.0
LOOK_FOR_STREAMS_S = 5.0
RETRY_MS = 1_000
_INTERVAL = re.compile(r"[1-9][0-9]{0,5}[smhd]")

AskGaps = Callable[[StreamKey, int, int | None], list[Gap]]
"""The blind times of a stream's symbol that touch a time; blocks, and raises FluxcapError."""


class FeedRequest(msgspec.Struct, frozen=True):
    """The streams that one reader listens to.

    Attributes
    ----------
    streams
        With their candles.
    watched
        For the last price and the state.
    patterns
        Watch all streams, also those that come later, whose source, symbol and interval are these; ``*`` is any.
    last
        Begin each stream with its newest candles, so many.
    event_id
        That of the last event it had; "" for none.
    """

    streams: tuple[StreamKey, ...] = ()
    watched: tuple[StreamKey, ...] = ()
    patterns: tuple[StreamKey, ...] = ()
    last: int = 0
    event_id: str = ""

    def matching(self, keys: Iterable[StreamKey]) -> list[StreamKey]:
        """Return the keys that a pattern means."""
        return [key for key in keys if any(_matches(pattern, key) for pattern in self.patterns)]


def parse_stream(text: str) -> StreamKey:
    """``SOURCE/SYMBOL/INTERVAL`` as a stream. Raises ConfigError."""
    source, _, rest = text.partition("/")
    symbol, _, interval = rest.rpartition("/")
    if not (source and symbol and _INTERVAL.fullmatch(interval)) or len(text) > 300:
        raise ConfigError(
            f"{text[:80]!r} is no stream; write SOURCE/SYMBOL/INTERVAL, such as POCKETOPTION/EURUSD_otc/1m."
        )
    return StreamKey(source, symbol, interval)


def parse_feed(streams: Sequence[str], watch: Sequence[str], last: int, event_id: str) -> FeedRequest:
    """Turn names into a request; in ``watch`` any part may be ``*``. Raises ConfigError."""
    wanted = tuple(dict.fromkeys(map(parse_stream, streams)))
    plain, patterns = [], []
    for text in watch:
        if "*" not in text:
            plain.append(parse_stream(text))
            continue
        source, _, rest = ("*/*/*" if text == "*" else text).partition("/")
        symbol, _, interval = rest.rpartition("/")
        if not (source and symbol and interval):
            raise ConfigError(f"{text[:80]!r} names no streams; write SOURCE/*/INTERVAL, or * for all.")
        patterns.append(StreamKey(source, symbol, interval))
    if not (wanted or plain or patterns):
        raise ConfigError("Name at least one stream: stream=SOURCE/SYMBOL/INTERVAL, or watch=…")
    if len(wanted) > MAX_STREAMS or len(plain) + len(patterns) > MAX_WATCHED:
        raise ConfigError(f"One connection carries {MAX_STREAMS} streams, and {MAX_WATCHED} watched ones; use another.")
    return FeedRequest(wanted, tuple(dict.fromkeys(plain)), tuple(patterns), last, event_id)


def _matches(pattern: StreamKey, key: StreamKey) -> bool:
    return all(
        wanted in ("*", part)
        for wanted, part in (
            (pattern.source_id, key.source_id),
            (pattern.symbol, key.symbol),
            (pattern.interval, key.interval),
        )
    )


class Readers:
    """See the module.

    target: where the server is; asked each time, since a dev server can move. gaps: who knows blind times; without,
    there are none.
    """

    def __init__(
        self, target: Callable[[], ReaderTarget], gaps: AskGaps | None = None, max_listeners: int = MAX_LISTENERS
    ) -> None:
        self._target = target
        self._max_listeners = max_listeners
        self.gaps: AskGaps = gaps or (lambda key, from_ms, to_ms: [])
        self._lock = threading.Lock()
        self._now: tuple[ReaderTarget, CandleReader, FeedHub] | None = None
        self._is_closed = False

    @property
    def reader(self) -> CandleReader:
        """Candles by time. Raises NotAnswering when this server is stopping."""
        return self._parts()[1]

    @property
    def hub(self) -> FeedHub:
        """The live feed. Raises NotAnswering when this server is stopping."""
        return self._parts()[2]

    def close(self) -> None:
        """End all feeds. Idempotent; blocks for a moment."""
        with self._lock:
            self._is_closed = True
            now, self._now = self._now, None
        if now is not None:
            now[2].close()
            now[1].close()

    def _parts(self) -> tuple[ReaderTarget, CandleReader, FeedHub]:
        target = self._target()
        with self._lock:
            if self._is_closed:
                raise NotAnswering("This server is stopping.")
            before = self._now
            if before is not None and before[0] == target:
                return before
            now = self._now = (target, CandleReader(target), FeedHub(target, max_listeners=self._max_listeners))
        if before is not None:
            before[2].close()
            before[1].close()
        return now

    # --- the live feed ---------------------------------------------------------------------------------------------

    async def join(self, wanted: FeedRequest) -> AsyncIterator[bytes]:
        """Begin to listen; returns the events, as bytes. Close it. Raises TooManyListeners, ConfigError."""
        try:
            feed = await asyncio.to_thread(self._begin, wanted)
        except NotAnswering as error:
            # An answer that is no feed would keep a browser from ever coming again.
            return _only(f"retry: {RETRY_MS}\n\n".encode() + encode_event("end", {"reason": str(error)}))
        return feed.events()

    def _begin(self, wanted: FeedRequest) -> _Feed:
        _, reader, hub = self._parts()
        listener, writer, opening = open_feed(wanted, reader, hub)
        return _Feed(hub, reader, listener, writer, opening, wanted)


class PageReader(Protocol):
    """A source for the beginning of a feed; ``CandleReader`` is one."""

    def streams(self) -> Sequence[StreamStatus]: ...

    def newest(self, key: StreamKey, to_ms: int | None, limit: int) -> CandleSlice: ...


class Hub(Protocol):
    """A place where a feed listens; ``FeedHub`` is one."""

    def open(self, streams: Mapping[StreamKey, Cursor], watched: Sequence[StreamKey]) -> Listener: ...

    def leave(self, listener: Listener) -> None: ...


def open_feed(wanted: FeedRequest, reader: PageReader, hub: Hub) -> tuple[Listener, EventWriter, bytes]:
    """Begin one reader's feed; returns its events, its writer, and what it is sent first.

    Positions are taken first, listening begins second, the newest candles are read third: so nothing falls between.
    """
    statuses = {status.key: status for status in reader.streams()}
    known = decode_positions(wanted.event_id, wanted.streams) if wanted.event_id else {}
    positions: dict[StreamKey, Cursor] = {}
    resets, begun = b"", []
    for key in wanted.streams:
        status, at = statuses.get(key), known.get(key)
        reason = "" if at is None else _why_reset(at, status)
        if at is not None and not reason:
            positions[key] = at
            continue
        positions[key] = Cursor() if status is None else _newest(status)
        begun.append(key)
        if reason:
            data = {"stream": stream_name(key), "store_id": positions[key].store_id, "reason": reason}
            resets += encode_event("reset", data)
    watched = list(dict.fromkeys([*wanted.watched, *wanted.matching(statuses)]))[:MAX_WATCHED]
    writer = EventWriter(wanted.streams, positions, watched)
    listener = hub.open(positions, watched)
    try:
        snapshots = b""
        for key in begun if wanted.last else ():
            if key in statuses:
                newest = reader.newest(key, None, wanted.last)
                snapshots += writer.snapshot(key, newest.candles, newest.sequences.tolist())
    except BaseException:
        hub.leave(listener)
        raise
    retry = f"retry: {RETRY_MS}\n\n".encode()
    return listener, writer, retry + writer.start() + resets + snapshots + writer.ready()


class _Feed:
    """One reader's feed."""

    def __init__(
        self,
        hub: FeedHub,
        reader: CandleReader,
        listener: Listener,
        writer: EventWriter,
        opening: bytes,
        wanted: FeedRequest,
    ) -> None:
        self._hub = hub
        self._reader = reader
        self._listener = listener
        self._writer = writer
        self._opening = opening
        self._wanted = wanted
        self._look_s = time.monotonic() + LOOK_FOR_STREAMS_S

    async def events(self) -> AsyncIterator[bytes]:
        """Yield what is sent, until the store is replaced, the server stops, or this is closed."""
        loop, ready = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            if ready.is_set():  # the events are taken after it is cleared
                return
            with contextlib.suppress(RuntimeError):  # the loop was closed
                loop.call_soon_threadsafe(ready.set)

        queue = self._listener.queue
        queue.add_listener(tell)
        begun_s = time.monotonic()
        try:
            yield self._opening
            while True:
                ready.clear()
                batch = self._taken()
                if batch:
                    written = self._writer.write(batch)
                    if written:
                        yield written
                    if self._writer.replaced:
                        return
                elif queue.is_closed:
                    yield encode_event("end", {"reason": "this server is stopping, or cannot follow the feed"})
                    return
                else:
                    try:
                        async with asyncio.timeout(KEEP_ALIVE_S):
                            await ready.wait()
                    except TimeoutError:
                        yield b": still here\n\n"
                await self._look_for_streams()
                is_new = time.monotonic() - begun_s < NEW_S
                await asyncio.sleep(min(FLUSH_S, NEW_FLUSH_S) if is_new else FLUSH_S)
        finally:
            with contextlib.suppress(ValueError):
                queue.remove_listener(tell)
            self._hub.leave(self._listener)

    def _taken(self) -> list[Event]:
        """Take what waits; not all of it where that is much."""
        batch: list[Event] = []
        candles = 0
        with contextlib.suppress(Exception):  # why the feed ended is in the log
            while candles < FLUSH_CANDLES and (event := self._listener.queue.get(0)) is not None:
                batch.append(event)
                candles += len(event.candles) if isinstance(event, Candles) else 0
        return batch

    async def _look_for_streams(self) -> None:
        if not self._wanted.patterns or time.monotonic() < self._look_s:
            return
        self._look_s = time.monotonic() + LOOK_FOR_STREAMS_S
        with contextlib.suppress(FluxcapError):
            found = await asyncio.to_thread(self._reader.streams)
            watched = self._writer.watched
            new = [key for key in self._wanted.matching(status.key for status in found) if key not in watched]
            new = new[: MAX_WATCHED - len(watched)]
            if new:
                watched.update(new)
                await asyncio.to_thread(self._hub.watch, self._listener, new)


def _newest(status: StreamStatus) -> Cursor:
    return Cursor(status.store_id, status.latest_sequence, status.latest_ts_ms, status.latest_revision)


def _why_reset(at: Cursor, status: StreamStatus | None) -> str:
    """Return why a reader cannot go on where it was; "" when it can. What takes more than a look its receiver finds."""
    if status is not None and at.store_id and status.store_id and at.store_id != status.store_id:
        return "the server has a new store"
    return ""


async def _only(chunk: bytes) -> AsyncIterator[bytes]:
    yield chunk
