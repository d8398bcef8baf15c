"""The server side of the wire in one piece: number, commit, publish, answer. Daemon and dev server both stand on it.

``WireServer.publish`` is the only way a candle reaches the wire: number → commit (durable) → remember → publish. So
whatever a client has received can be fetched, and a crash between commit and publish is healed by the next heartbeat.

All methods are for one thread, the pipeline's. The responder has a thread of its own inside; it reads an immutable
status snapshot that is swapped here, and a cursor of the store.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import NamedTuple

import msgspec
import numpy as np
import zmq

from fluxcap.bridge.server.page_cache import CachedReader, RecentCandles
from fluxcap.bridge.server.publisher import Publisher
from fluxcap.bridge.server.requests import RequestHandler
from fluxcap.bridge.server.responder import Responder
from fluxcap.bridge.server.sequencer import Sequencer
from fluxcap.bridge.server.timeframes import NEVER_MS, DerivedStreams, FoldedCandles, Timeframes
from fluxcap.bridge.store.agreement import ComparedCandle
from fluxcap.bridge.store.file import now_ms
from fluxcap.bridge.store.store import Store
from fluxcap.bridge.transport.addresses import DEFAULT_PUB, DEFAULT_REP
from fluxcap.bridge.transport.curve import ServerCurve, gatekeeper
from fluxcap.schemas.candles import as_candle_array, first_invalid_candle
from fluxcap.schemas.errors import SequenceError
from fluxcap.schemas.types import (
    Candle,
    CandleArray,
    CandleBatch,
    CandleFlags,
    CandleRevision,
    FeedState,
    Gap,
    HealthResponse,
    StreamKey,
    StreamStatus,
    TickBatch,
    Watermark,
    candles_from,
)

Candles = Sequence[Candle] | CandleArray
CandlesByStream = Mapping[StreamKey, Candles] | Iterable[tuple[StreamKey, Candles]]
"""Candles by stream, each stream once and in time order."""
_NONE: Mapping[StreamKey, Sequence[Candle]] = MappingProxyType({})
_NOT_OVER: Mapping[StreamKey, int] = MappingProxyType({})
PAGE = 10_000
DERIVED_FORMING_NS = 1_000_000_000
"""The candle under way of a derived stream goes out at most once in so long, and only when it has changed."""


class FeedInfo(NamedTuple):
    """Facts of a stream's feed, sent with the heartbeat."""

    feed_state: int = FeedState.UNKNOWN
    last_tick_ts_ms: int = 0
    platform_offset_ms: int = 0


_NO_FEED, _NO_WATERMARK = FeedInfo(), Watermark()


class WireServer:
    """Serves as soon as it is made, until ``close``. A context manager.

    Parameters
    ----------
    store
        An open store, which stays the caller's to close; or a path, or a function that opens one, which is closed here.
    pub, rep
        Endpoints to bind; port 0 picks a free one.
    clock_ms
        Wall clock, UTC epoch milliseconds, for ``server_time_ms``.
    curve
        Keys for both sockets; needed beyond loopback.
    health
        The answer to a HealthRequest; called in the responder's thread.
    observe
        Called with the time that a step took: ``observe("commit", seconds)``, ``observe("publish", seconds)``.
    timeframes
        What streams of longer intervals are derived from those that are published, in the same commit.
    publisher, handler
        Where a test harness puts faults between the server and its clients; made like the originals.

    Attributes
    ----------
    pub_endpoint, rep_endpoint
        As bound.
    store
        The store; use it from the same thread.
    derived
        Which streams are derived from others.

    Raises AlreadyRunning, ConfigError, and what ``Store.open`` raises.
    """

    def __init__(
        self,
        store: Store | Path | str | Callable[[], Store],
        pub: str = DEFAULT_PUB,
        rep: str = DEFAULT_REP,
        *,
        clock_ms: Callable[[], int] = now_ms,
        curve: ServerCurve | None = None,
        health: Callable[[], HealthResponse] = HealthResponse,
        observe: Callable[[str, float], None] = lambda step, seconds: None,
        timeframes: Timeframes = Timeframes(),  # noqa: B008  frozen
        publisher: Callable[..., Publisher] = Publisher,
        handler: Callable[..., RequestHandler] = RequestHandler,
    ) -> None:
        self._clock_ms = clock_ms
        self._observe = observe
        self._feed_of: Callable[[StreamKey], tuple[int, int, int]] = lambda key: _NO_FEED
        self._recent = RecentCandles()
        with contextlib.ExitStack() as closing:
            if isinstance(store, Store):
                self.store = store
            elif callable(store):
                self.store = closing.enter_context(store())
            else:
                self.store = closing.enter_context(Store.open(store, clock_ms))
            self._recovered: dict[StreamKey, CandleBatch] = {}
            """What a failed ``publish`` had made durable after all, until it is called again."""
            self._sequencer = Sequencer(self.store.watermarks())
            self.derived = DerivedStreams(timeframes, _Stored(self.store), now_ms=clock_ms)
            self._derived_published: list[CandleBatch | CandleRevision] = []
            self._derived_forming: dict[StreamKey, Candle] = {}
            """The forming candle that was sent last, by derived stream that somebody hears."""
            self._derived_forming_ns: dict[StreamKey, int] = {}
            """When those of derived streams were looked at last, by base stream."""
            context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
            closing.callback(context.term)
            closing.enter_context(gatekeeper(context, curve))
            self._publisher = publisher(context, pub, curve)
            closing.callback(self._publisher.close)
            self._snapshot: MappingProxyType[StreamKey, StreamStatus] = MappingProxyType(
                {key: self._status(key, clock_ms()) for key in self.store.watermarks()}
            )
            self._pages = CachedReader(self._recent, self.store.reader())
            answering = handler(self._pages, lambda: self._snapshot, clock_ms, health)
            self._responder = Responder(context, rep, answering, curve)
            closing.callback(self._responder.stop)
            self._responder.start()
            self._closing = closing.pop_all()
        self.pub_endpoint = self._publisher.endpoint
        self.rep_endpoint = self._responder.endpoint

    @property
    def store_id(self) -> str:
        return self.store.store_id

    def watermark(self, key: StreamKey) -> Watermark:
        """The newest published of a stream; all 0 for one that has nothing yet."""
        return self._sequencer.watermark(key)

    def pages(self) -> CachedReader:
        """A way to candles and revisions for one more thread: from memory where it can be, else from the store."""
        return CachedReader(self._recent, self.store.reader())

    def status(self) -> Mapping[StreamKey, StreamStatus]:
        """The snapshot that clients see: every known stream. Immutable; may be read from any thread."""
        return self._snapshot

    @property
    def counters(self) -> dict[str, int]:
        """Messages sent by topic (``sent_…``), the responder's counters, pages from memory and from the store."""
        sent = {f"sent_{kind}": count for kind, count in dict(self._publisher.counters).items()}
        pages = {"pages_from_memory": self._pages.hits, "pages_from_store": self._pages.misses}
        return sent | self._responder.counters | pages

    def ensure_stream(self, key: StreamKey) -> None:
        """Make a stream known before its first candle: cursor 0, empty pages, a heartbeat. Raises ConfigError."""
        _ = key.interval_ms  # refuses an invalid interval
        if key not in self._snapshot:
            self._swap_snapshot([key, *(one for one in self.derived.keys(key) if one not in self._snapshot)])

    def forget_stream(self, key: StreamKey) -> None:
        """Take back ``ensure_stream``; does nothing for a stream that has candles or revisions."""
        marks = {one: self.watermark(one) for one in (key, *self.derived.keys(key))}
        empty = {one for one, mark in marks.items() if not mark.latest_sequence and not mark.latest_revision}
        if empty:
            self._snapshot = MappingProxyType({k: status for k, status in self._snapshot.items() if k not in empty})

    def publish(
        self,
        sealed: CandlesByStream,
        completed: Mapping[StreamKey, Sequence[Candle]] = _NONE,
        gaps: Sequence[Gap] = (),
        over: Mapping[StreamKey, int] = _NOT_OVER,
    ) -> list[CandleBatch]:
        """Number, commit and publish sealed candles of any number of streams; one batch per stream with candles.

        Candles of derived streams that are finished by it are committed and published with them: ``take_derived``.

        All or nothing: if anything raises, no number is used and nothing was published, and the same call may be made
        again. It then also returns what the failed call had made durable after all.

        Parameters
        ----------
        sealed
            What comes next on each stream.
        completed
            Candles of buckets that were passed over and are complete by now. Those newer than the watermark go out
            with ``sealed``, in time order; the others are for ``revise``.
        gaps
            Blind times to be durable together with the candles, as ``record_gaps``.
        over
            By stream, the time (UTC ms) before which all of its buckets are over, with a candle or without.

        Raises SequenceError for candles that do not follow (see ``Sequencer.number``), StoreFull while the disk is
        full, StoreError.
        """
        entries = dict(sealed.items() if isinstance(sealed, Mapping) else sealed)
        entries |= {key: () for key in completed if key not in entries}
        while True:
            batches = self._numbered(entries, completed)
            derived = self._derive(batches, gaps=gaps, over=over)
            begun_s = time.perf_counter()
            if self._commit([*batches, *derived.batches], derived.revisions, gaps):
                break
        committed_s = time.perf_counter()
        self._confirm(batches, (), derived)
        if batches or derived.batches:
            self._observe("commit", committed_s - begun_s)
            self._observe("publish", time.perf_counter() - committed_s)
        return [self._recovered.pop(key) for key in entries if key in self._recovered] + batches

    def take_derived(self) -> list[CandleBatch | CandleRevision]:
        """Remove and return what was committed and published of derived streams, in order."""
        taken, self._derived_published = self._derived_published, []
        return taken

    def forget_progress(self) -> None:
        """The clock was corrected: which buckets are over is told anew."""
        self.derived.forget_progress()

    def _derive(
        self,
        batches: Sequence[CandleBatch] = (),
        revisions: Sequence[CandleRevision] = (),
        gaps: Sequence[Gap] = (),
        over: Mapping[StreamKey, int] = _NOT_OVER,
    ) -> _Derived:
        """Number what derived streams get by a commit. A candle that cannot be one, such as by its volume, is none."""
        folded = self.derived.fold(batches, revisions, gaps, over)
        better: list[CandleRevision] = []
        try:
            numbered = self._sequencer.number_all(folded.sealed)
        except SequenceError:  # hardly ever
            sound = {key: [one for one in candles if _is_sound(one)] for key, candles in folded.sealed.items()}
            numbered = self._sequencer.number_all({key: candles for key, candles in sound.items() if candles})
        for key, candles in folded.revised.items():
            if (revision := self._revision(key, [one for one in candles if _is_sound(one)])) is not None:
                better.append(revision)
        return _Derived(numbered, better, folded)

    def _confirm(self, batches: Sequence[CandleBatch], revisions: Sequence[CandleRevision], derived: _Derived) -> None:
        """All of it is committed: its numbers are given, and it goes out."""
        batches, revisions = [*batches, *derived.batches], [*revisions, *derived.revisions]
        if batches or revisions:
            self._sequencer = Sequencer(self.store.watermarks())  # the store has counted them already
        self.derived.confirm(derived.folded)
        self._derived_published += [*derived.batches, *derived.revisions]
        if batches or revisions:
            self._publish_committed(batches, revisions)

    def _numbered(
        self, entries: Mapping[StreamKey, Candles], completed: Mapping[StreamKey, Sequence[Candle]]
    ) -> list[CandleBatch]:
        """Return the batch to be stored next of each stream. Raises SequenceError."""
        next_: dict[StreamKey, Candles] = {}
        for key, candles in entries.items():
            if key in completed:
                newest_ms = self.watermark(key).latest_ts_ms
                early = [candle for candle in completed[key] if candle.ts_ms > newest_ms]
                candles = sorted([*early, *candles_from(as_candle_array(candles))], key=lambda candle: candle.ts_ms)
            if key in self._recovered:
                array = as_candle_array(candles)
                candles = array[~np.isin(array["ts_ms"], self._recovered[key].candles["ts_ms"])]
            if len(candles):
                next_[key] = candles
        return self._sequencer.number_all(next_)

    def _commit(
        self,
        batches: Sequence[CandleBatch] = (),
        revisions: Sequence[CandleRevision] = (),
        gaps: Sequence[Gap] = (),
    ) -> bool:
        """Return whether all of it is stored, which is the only way to the wire.

        False when an earlier commit that had failed turned out to be stored: it is published now, and what comes next
        must be numbered again.
        """
        recovered = self.store.commit(batches, revisions, gaps)
        if recovered is None:
            return True
        derived = self.derived.is_derived
        self._recovered.update((batch.key, batch) for batch in recovered.batches if not derived(batch.key))
        self._derived_published += [batch for batch in recovered.batches if derived(batch.key)]
        self._derived_published += [revision for revision in recovered.revisions if derived(revision.key)]
        self._sequencer = Sequencer(self.store.watermarks())
        self.derived.forget_progress()
        self._publish_committed(recovered.batches, recovered.revisions)
        return False

    def _publish_committed(self, batches: Sequence[CandleBatch] = (), revisions: Sequence[CandleRevision] = ()) -> None:
        """Remember and send what is committed."""
        for batch in batches:
            self._recent.append(batch)
        for revision in revisions:
            self._recent.revise(revision)
        self._swap_snapshot([*(batch.key for batch in batches), *(revision.key for revision in revisions)])
        self._publisher.batches(batches)
        for revision in revisions:
            self._publisher.revision(revision)

    def revise(self, better: CandlesByStream) -> list[CandleRevision]:
        """Commit and publish better candles for minutes that are past; the newest of each stream's are revisions.

        A minute that was published keeps its sequence; one that never was goes out with sequence 0. Left out are
        candles equal to what is published (flags aside from REVISED included) and those older than the store keeps.

        Raises SequenceError for a candle newer than the watermark, StoreFull, StoreError; nothing was changed then.
        """
        entries = list(better.items() if isinstance(better, Mapping) else better)
        self._commit()  # what is published is looked up: nothing may be unresolved
        revisions = [r for r in (self._revision(key, candles) for key, candles in entries) if r is not None]
        if not revisions:
            return []
        derived = self._derive(revisions=revisions)
        self._commit(derived.batches, [*revisions, *derived.revisions])
        self._confirm((), revisions, derived)
        return revisions

    def _revision(self, key: StreamKey, candles: Candles) -> CandleRevision | None:
        values = list(candles_from(as_candle_array(candles)))
        published = self.store.published(key, [candle.ts_ms for candle in values])
        oldest_ms = self.store.oldest_ts_ms(key)
        sequences, changed = [], []
        for candle in values:
            sequence, old = published.get(candle.ts_ms, (0, None))
            if candle.ts_ms >= oldest_ms and not (old and _same(candle, old)):
                sequences.append(sequence)
                changed.append(candle)
        return self._sequencer.revise(key, sequences, changed) if changed else None

    def candles_since(self, key: StreamKey, from_ms: int) -> list[Candle]:
        """Return the candles of a stream from a time on as they stand, oldest first; of passed over minutes, too.

        Raises StoreError.
        """
        reader = self.store.reader()
        found = {candle.ts_ms: candle for candle in candles_from(reader.passed_over(key, from_ms))}
        after = self.watermark(key).latest_sequence
        while after > 0:
            after, before = max(after - PAGE, 0), after
            page = list(candles_from(reader.page(key, after, None, before - after).candles))
            within = [candle for candle in page if candle.ts_ms >= from_ms]
            found |= {candle.ts_ms: candle for candle in within}
            if len(within) < len(page) or not page:
                break
        return [found[ts_ms] for ts_ms in sorted(found)]

    def not_compared(self, key: StreamKey, ts_ms: Sequence[int]) -> dict[int, tuple[int, Candle]]:
        """The published candles without a flag at these times that were not compared yet, as ``Store.not_compared``."""
        return self.store.not_compared(key, ts_ms)

    def record_agreement(self, key: StreamKey, compared: Sequence[ComparedCandle]) -> None:
        """Keep what a comparison with the platform's rows told, as ``Store.record_agreement``. Raises StoreError."""
        self.store.record_agreement(key, compared)

    def record_gaps(self, gaps: Sequence[Gap]) -> None:
        """Commit blind times; one of the same source, symbol and ``from_ms`` is replaced. Raises StoreError."""
        while True:
            derived = self._derive(gaps=gaps)
            if self._commit(derived.batches, derived.revisions, gaps):
                break
        self._confirm((), (), derived)

    def heartbeat(
        self, now_ms: int, feed_of: Callable[[StreamKey], FeedInfo | tuple[int, int, int]] | None = None
    ) -> None:
        """Send every known stream's status. Call it once a second.

        Parameters
        ----------
        now_ms
            Wall clock, for ``server_time_ms``.
        feed_of
            What is known of a stream's feed. None: as it was said last time, at first FeedState.UNKNOWN.
        """
        if feed_of is not None:
            self._feed_of = feed_of
        self._swap_snapshot(list(self._snapshot))
        self._publisher.heartbeats(self._snapshot, now_ms)

    def forming(self, key: StreamKey, candle: Candle, now_mono_ns: int) -> bool:
        """Send the candle under way, and those of derived streams once a second, to whoever subscribes to them.

        False when nobody does, when one went out within 200 ms, or an equal one within a second.
        """
        due_ns = self._derived_forming_ns.get(key, now_mono_ns - DERIVED_FORMING_NS) + DERIVED_FORMING_NS
        if now_mono_ns >= due_ns and self.derived.is_base(key):
            self._derived_forming_ns[key] = now_mono_ns
            for one, under_way in self.derived.forming(key, candle, self._wanted_forming(key).__contains__):
                if self._derived_forming.get(one) != under_way:
                    self._publisher.forming(one, under_way, now_mono_ns)
                    self._derived_forming[one] = under_way
        return self._publisher.forming(key, candle, now_mono_ns)

    @property
    def is_forming_heard(self) -> bool:
        """Return whether somebody subscribes to the candle under way of any stream."""
        return self._publisher.is_forming_heard

    def _wanted_forming(self, base: StreamKey) -> set[StreamKey]:
        """The streams derived from a base stream whose candle under way somebody wants.

        Whoever comes later to another one gets it at once.
        """
        derived = self.derived.keys(base)
        wanted = set(self._publisher.heard(derived, "forming"))
        for key in derived:
            if key not in wanted:
                self._derived_forming.pop(key, None)
        return wanted

    def ticks(self, ticks: TickBatch) -> None:
        """Send ticks; they are not stored."""
        self._publisher.ticks(ticks)

    def checkpoint(self) -> bool:
        """Tidy the store, as ``Store.checkpoint``."""
        return self.store.checkpoint()

    def prune(self, before_ts_ms: int) -> int:
        """Forget what is older than a time, as ``Store.prune``; clients see the new ``first_sequence``.

        What is still to be folded into a candle of a longer interval stays until it is.
        """
        deleted = self.store.prune(min(before_ts_ms, self.derived.needed_from_ms()))
        self.derived.forget_progress()
        self._sequencer = Sequencer(self.store.watermarks())
        self._swap_snapshot(list(self._snapshot))
        return deleted

    def _status(self, key: StreamKey, now_ms: int) -> StreamStatus:
        mark = self._sequencer.watermark(key)
        feed_state, last_tick_ts_ms, platform_offset_ms = self._feed_of(key)
        return StreamStatus(
            key=key,
            latest_sequence=mark.latest_sequence,
            latest_ts_ms=mark.latest_ts_ms,
            server_time_ms=now_ms,
            first_sequence=mark.first_sequence,
            store_id=self.store.store_id,
            latest_revision=mark.latest_revision,
            feed_state=feed_state,
            last_tick_ts_ms=last_tick_ts_ms,
            platform_offset_ms=platform_offset_ms,
        )

    def _swap_snapshot(self, changed: Iterable[StreamKey]) -> None:
        now_ms = self._clock_ms()
        # Not dict(…) of the proxy, which asks it for each of its keys.
        self._snapshot = MappingProxyType(self._snapshot | {key: self._status(key, now_ms) for key in changed})

    def close(self) -> None:
        """Stop answering, let queued messages leave (bounded), close the sockets, and the store if it was opened here.

        Idempotent.
        """
        self._closing.close()

    def __enter__(self) -> WireServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Derived(NamedTuple):
    """The part of derived streams in a commit, numbered."""

    batches: list[CandleBatch]
    revisions: list[CandleRevision]
    folded: FoldedCandles


class _Stored:
    """The store as ``DerivedStreams`` wants it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reader = store.reader()

    def watermark(self, key: StreamKey) -> Watermark:
        return self._store.watermarks().get(key, _NO_WATERMARK)

    def between(self, key: StreamKey, from_ms: int, to_ms: int) -> list[Candle]:
        return list(candles_from(self._reader.between(key, from_ms, to_ms)))

    def began_ms(self, key: StreamKey) -> int:
        oldest_ms = self._reader.oldest_ms(key)
        return NEVER_MS if oldest_ms is None else oldest_ms

    def gaps(self, source_id: str, from_ms: int) -> list[Gap]:
        return self._reader.gaps(source_id, from_ms=from_ms)


def _is_sound(candle: Candle) -> bool:
    return first_invalid_candle(as_candle_array([candle])) is None


def _same(candle: Candle, published: Candle) -> bool:
    revised = published.flags & CandleFlags.REVISED
    return msgspec.structs.replace(candle, flags=candle.flags | revised) == published
