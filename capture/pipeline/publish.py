"""From decided to durable to public: number, commit, publish, then tell the listeners. On the pipeline's thread.

Ticks go to the journal first, so that a killed daemon finds the bucket under way again.

In: what the market has decided. Out: candles in the store and on the wire. Nothing is published that is not stored:
what is done is taken out of the market's update, so that when the store fails, the rest is still there and is tried
again a second later, in order. What was done before the failure stays done, and the listeners hear of exactly that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from fluxcap.bridge.server.server import CandlesByStream, FeedInfo
from fluxcap.bridge.store.agreement import ComparedCandle
from fluxcap.capture.market.agreement import Comparison, compare
from fluxcap.capture.market.candles import Revision
from fluxcap.capture.market.clock import Correction
from fluxcap.capture.market.feeds import GapUpdate
from fluxcap.capture.market.market import MarketUpdate
from fluxcap.capture.pipeline.listeners import ListenerGroup, PublishedUpdate
from fluxcap.capture.runtime import log
from fluxcap.schemas.errors import SequenceError, StoreError
from fluxcap.schemas.types import Candle, CandleBatch, CandleRevision, Gap, StreamKey, StreamStatus, Tick, Watermark

RETRY_NS = 1_000_000_000
UNHEARD_FORMING_NS = 1_000_000_000
"""While nobody hears the candles under way, they are looked at no oftener: those of longer intervals are made of them.
"""
ROWS_WAITING_MAX = 10
"""So many of the platform's candles of an asset wait for ours: it has whole ones that we are about to seal."""


class FocusedMarket(Protocol):
    """The part of the market used here; see there."""

    def forming(self) -> dict[str, Candle]: ...

    def focused_symbols(self) -> tuple[str, ...]: ...

    def covered_since(self, symbol: str) -> int: ...

    def ticks(self, symbol: str, start_ms: int) -> list[tuple[int, float]]: ...


class WireOutput(Protocol):
    """The part of the wire server used here; see there."""

    def watermark(self, key: StreamKey) -> Watermark: ...

    def status(self) -> Mapping[StreamKey, StreamStatus]: ...

    def publish(
        self,
        sealed: CandlesByStream,
        completed: Mapping[StreamKey, Sequence[Candle]] = ...,
        gaps: Sequence[Gap] = ...,
        over: Mapping[StreamKey, int] = ...,
    ) -> list[CandleBatch]: ...

    def take_derived(self) -> list[CandleBatch | CandleRevision]: ...

    def forget_progress(self) -> None: ...

    def revise(self, better: CandlesByStream) -> list[CandleRevision]: ...

    def record_gaps(self, gaps: Sequence[Gap]) -> None: ...

    def not_compared(self, key: StreamKey, ts_ms: Sequence[int]) -> dict[int, tuple[int, Candle]]: ...

    def record_agreement(self, key: StreamKey, compared: Sequence[ComparedCandle]) -> None: ...

    def ensure_stream(self, key: StreamKey) -> None: ...

    def forget_stream(self, key: StreamKey) -> None: ...

    @property
    def is_forming_heard(self) -> bool: ...

    def forming(self, key: StreamKey, candle: Candle, now_mono_ns: int) -> bool: ...

    def heartbeat(self, now_ms: int, feed_of: Callable[[StreamKey], FeedInfo] | None = None) -> None: ...


class Journal(Protocol):
    """Keeps ticks until their candle is in the store."""

    def append(self, ticks: Sequence[Tick], since: Mapping[str, int]) -> None: ...

    def hold(self, waiting: Sequence[Tick]) -> None: ...

    def release(self) -> None: ...

    def restamp(self, correction: Correction) -> None: ...

    def set_aside_after(self, ts_ms: int) -> None: ...


class _Applied(msgspec.Struct):
    """The progress of publishing one market update."""

    batches: list[CandleBatch] = msgspec.field(default_factory=list)
    revisions: list[CandleRevision] = msgspec.field(default_factory=list)
    gaps: list[Gap] = msgspec.field(default_factory=list)
    ticks: list[Tick] = msgspec.field(default_factory=list)
    derived: list[CandleBatch | CandleRevision] = msgspec.field(default_factory=list)

    def published(self) -> PublishedUpdate | None:
        if not (self.batches or self.revisions or self.gaps or self.ticks or self.derived):
            return None
        return PublishedUpdate(
            tuple(self.batches), tuple(self.revisions), tuple(self.gaps), tuple(self.ticks), tuple(self.derived)
        )


class PublishStage:
    """See the module.

    Attributes
    ----------
    commits
        Times that sealed candles were committed.
    refused
        Candles that could not follow their stream and were dropped: an internal error, each is logged.
    trouble
        Why the store takes nothing at present; ``""`` while it does.
    """

    def __init__(
        self,
        market: FocusedMarket,
        server: WireOutput,
        key_of: Callable[[str], StreamKey],
        listeners: ListenerGroup,
        mono_ns: Callable[[], int],
        journal: Journal | None = None,
    ) -> None:
        self._market = market
        self._server = server
        self._key_of = key_of
        self._listeners = listeners
        self._mono_ns = mono_ns
        self._journal = journal
        self._retry_ns = 0
        self._next_forming_ns = 0
        self._announced: set[StreamKey] = set()
        self._rows: dict[str, dict[int, Candle]] = {}
        """The platform's own candles of buckets that are not published yet, by symbol and start."""
        self.commits = 0
        self.dropped = 0
        self.store_error = ""

    def flush(self, update: MarketUpdate) -> None:
        """Commit and publish what the market has decided. What is left in ``update`` could not be stored."""
        if not update or (self.store_error and self._mono_ns() < self._retry_ns):
            return
        ticks, update.ticks = update.ticks, []
        if self._journal is not None:
            self._keep(self._journal, update, ticks)
        if update.correction is not None:
            self._rows.clear()  # they stand under wrong times
            self._server.forget_progress()
        update.waiting, update.correction, update.dropped_after_ms, update.settled = [], None, 0, False
        done = _Applied(ticks=ticks)
        try:
            self._apply(update, done)
        except StoreError as error:
            self._store_failed(error)
        else:
            self._store_works()
        done.derived = self._server.take_derived()
        published = done.published()
        if published is not None:
            self._listeners.published(published)

    def _keep(self, journal: Journal, update: MarketUpdate, ticks: list[Tick]) -> None:
        """Let the journal have the ticks, and follow what became of the clock they were stamped by."""
        if update.waiting:
            journal.hold(update.waiting)
        if update.dropped_after_ms:
            journal.set_aside_after(update.dropped_after_ms)
        if update.correction is not None:
            journal.restamp(update.correction)
        if ticks:
            symbols = {tick.symbol for tick in ticks}
            journal.append(ticks, {symbol: self._market.covered_since(symbol) for symbol in symbols})
        if update.settled:
            journal.release()

    def forming(self, now_ns: int) -> None:
        """Send the candles under way. ``now_ns``: monotonic. Call it as often as they may go out."""
        if now_ns < self._next_forming_ns and not (self._server.is_forming_heard or self._listeners.hear_forming):
            return
        self._next_forming_ns = now_ns + UNHEARD_FORMING_NS
        for symbol, candle in self._market.forming().items():
            key = self._key_of(symbol)
            self._server.forming(key, candle, now_ns)
            self._listeners.forming(key, candle)

    def heartbeat(self, now_ms: int, feed_of: Callable[[StreamKey], FeedInfo]) -> None:
        """Send every stream's status. ``now_ms``: wall clock.

        What is in focus has a stream before its first candle, so that clients hear how its feed is. One that leaves the
        focus without a candle was none: a name as typed, say, before the platform sent its spelling.
        """
        focused = {self._key_of(symbol) for symbol in self._market.focused_symbols()}
        for key in self._announced - focused:
            self._server.forget_stream(key)
        for key in focused:
            self._server.ensure_stream(key)
        self._announced = focused
        self._server.heartbeat(now_ms, feed_of)

    # --- within ---------------------------------------------------------------------------------------------------

    def _apply(self, update: MarketUpdate, done: _Applied) -> None:
        """Take from ``update`` what is done, so that what is left of it can be tried again. Raises StoreError."""
        completed = {
            symbol: [revision.candle for revision in revisions if not revision.published]
            for symbol, revisions in update.revised.items()
        }
        self._publish(update, completed, done)
        while update.revised:
            symbol, revisions = next(iter(update.revised.items()))
            self._revise(self._key_of(symbol), revisions, done)
            del update.revised[symbol]
        if update.gaps:
            gaps = self._gaps(update.gaps)
            self._server.record_gaps(gaps)
            update.gaps = []
            done.gaps += gaps
        self._compare(update, done)

    def _compare(self, update: MarketUpdate, done: _Applied) -> None:
        """Compare candles with the platform's rows: what is published already, the others once they are. Once each."""
        symbols = [*update.rows, *(batch.key.symbol for batch in done.batches if batch.key.symbol in self._rows)]
        for symbol, rows in update.rows.items():
            self._rows.setdefault(symbol, {}).update((row.ts_ms, row) for row in rows)
        update.rows = {}
        for symbol in dict.fromkeys(symbols):
            self._compare_symbol(symbol)

    def _compare_symbol(self, symbol: str) -> None:
        key, rows = self._key_of(symbol), self._rows[symbol]
        found = compare(self._server.not_compared(key, sorted(rows)), rows.values())
        self._server.record_agreement(key, [self._compared(symbol, one) for one in found])
        latest_ms = self._server.watermark(key).latest_ts_ms
        later = sorted(ts_ms for ts_ms in rows if ts_ms > latest_ms > 0)
        self._rows[symbol] = {ts_ms: rows[ts_ms] for ts_ms in later[-ROWS_WAITING_MAX:]}
        if not later:
            del self._rows[symbol]
        differing = [one for one in found if not one.is_equal]
        if differing:
            newest = differing[-1]
            log.warn(
                "agreement.candle_differs",
                stream=str(key),
                candles=len(differing),
                newest_ts_ms=newest.ours.ts_ms,
                ours=_prices(newest.ours),
                platform=_prices(newest.row),
            )

    def _compared(self, symbol: str, one: Comparison) -> ComparedCandle:
        if one.is_equal:
            return ComparedCandle(one.sequence, one.ours.ts_ms)
        ticks = tuple(self._market.ticks(symbol, one.ours.ts_ms))
        return ComparedCandle(one.sequence, one.ours.ts_ms, one.row, ticks)

    def _gaps(self, gaps: Sequence[GapUpdate]) -> list[Gap]:
        return [
            Gap(self._key_of(gap.symbol).source_id, gap.symbol, gap.from_ms, gap.to_ms, gap.reason.value)
            for gap in gaps
        ]

    def _publish(self, update: MarketUpdate, completed: dict[str, list[Candle]], done: _Applied) -> None:
        """All streams in one transaction; one by one when one of them cannot follow, so that it harms no other.

        A bucket completed before anything newer was published is simply the next candle, not a revision. Gaps of a
        stream go with its candles: what was decided together stands together, or not at all.
        """
        sealed = update.sealed
        decided = [*sealed, *(symbol for symbol, candles in completed.items() if candles), *update.over]
        symbols = list(dict.fromkeys(decided))
        if not symbols:
            return
        try:
            self._publish_some(symbols, update, completed, done)
            sealed.clear()
            update.over.clear()
        except SequenceError:
            for symbol in symbols:
                try:
                    self._publish_some([symbol], update, completed, done)
                except SequenceError as error:
                    self._drop({self._key_of(symbol): sealed.get(symbol, [])}, error)
                sealed.pop(symbol, None)
                update.over.pop(symbol, None)

    def _publish_some(
        self,
        symbols: Sequence[str],
        update: MarketUpdate,
        completed: dict[str, list[Candle]],
        done: _Applied,
    ) -> None:
        gaps = self._gaps([gap for gap in update.gaps if gap.symbol in symbols])
        batches = self._server.publish(
            {self._key_of(symbol): update.sealed.get(symbol, []) for symbol in symbols},
            {self._key_of(symbol): completed[symbol] for symbol in symbols if completed.get(symbol)},
            gaps,
            {self._key_of(symbol): update.over[symbol] for symbol in symbols if symbol in update.over},
        )
        update.gaps = [gap for gap in update.gaps if gap.symbol not in symbols]
        done.batches += batches
        done.gaps += gaps
        self.commits += bool(batches)

    def _revise(self, key: StreamKey, revisions: list[Revision], done: _Applied) -> None:
        better = [revision.candle for revision in revisions]
        try:
            done.revisions += self._server.revise({key: better})
        except SequenceError as error:
            self._drop({key: better}, error)

    def _drop(self, candles: Mapping[StreamKey, list[Candle]], error: SequenceError) -> None:
        for key, dropped in candles.items():
            self.dropped += len(dropped)
            log.event(
                "store.candles_rejected", level=logging.ERROR, stream=str(key), candles=len(dropped), reason=str(error)
            )

    def _store_failed(self, error: StoreError) -> None:
        self._retry_ns = self._mono_ns() + RETRY_NS
        if not self.store_error:
            log.warn("store.write_failed", reason=str(error))
        self.store_error = str(error)

    def _store_works(self) -> None:
        if self.store_error:
            self.store_error = ""
            log.event("store.write_recovered")


def _prices(candle: Candle) -> str:
    return f"{candle.open} {candle.high} {candle.low} {candle.close}"
