"""The receiver of one stream: from a lossy live feed and a request socket to every candle in order, once.

Pure: messages and time (``now_ns``, monotonic) go in, actions come out. It never has two requests under way, never
asks again at once after an answer that brought nothing, and hands out nothing before the server's store is known to be
the one its position belongs to:

    OFFLINE ──connected──▶ VERIFYING ──same store──▶ CATCHING_UP ⇄ LIVE
       ▲                       │ other store: Restart, from its first candle
       └──────disconnected─────┴───────────────────────────────────

The order is that of the ZeroMQ guide's Clone pattern: subscribe first, learn the watermark second, fetch what lies
between, and drop from the live feed what the fetch had.

A server whose store was put back from a backup gives the same sequences to other candles, under the same store_id. So
after each connecting the time of the newest candle delivered is compared with the one that the server has under its
sequence, before anything else is delivered: a candle's time never changes, so another one means another store.
"""

from __future__ import annotations

import enum

import numpy as np

from fluxcap.bridge.client.receiver.actions import (
    Action,
    Buffered,
    Cursor,
    Deliver,
    DeliverRevisions,
    Duplicate,
    RequestCandles,
    RequestRevisions,
    RequestStatus,
    Restart,
    RestartReason,
    SkipGap,
    StartFrom,
)
from fluxcap.bridge.client.receiver.pacing import RequestKind, RequestPacer
from fluxcap.bridge.client.receiver.reorder_buffer import Offer, ReorderBuffer, Rows
from fluxcap.bridge.transport.backoff import Backoff
from fluxcap.schemas.types import (
    CANDLE_DTYPE,
    BackfillCandlesResponse,
    CandleArray,
    CandleBatch,
    CandleRevision,
    RevisionsResponse,
    StreamStatus,
)

REVISION_DTYPE = np.dtype([("sequence", "<u8"), ("candle", CANDLE_DTYPE)])
"""A row of the revisions' reorder buffer."""

HOLE_CONFIRMATIONS = 5
"""How often the server must answer with later candles only before the ones between count as lost."""
ROLLBACK_CONFIRMATIONS = 5
"""How many status answers in a row must lie before our position. A snapshot may trail a publish by a moment."""
MAX_EMPTY_REPLIES = 4
"""After so many vain requests, sequences beyond the server's own watermark are taken for a forgery."""


class ReceiverState(enum.Enum):
    OFFLINE = "offline"
    VERIFYING = "verifying"
    """Connected; which store the server has is not known yet. Live batches are kept back."""
    CATCHING_UP = "catching up"
    LIVE = "live"
    """All that the server is known to have was delivered."""


class StreamReceiver:
    """State machine of one stream. Every ``on_…`` returns the actions to carry out, in order.

    cursor: where to resume, or None. start: where to begin without one; a number above 0 is the first sequence
    wanted, below 0 how many candles before the newest. page_limit: most candles per request. buffer_rows: most
    candles kept waiting.
    """

    def __init__(
        self,
        backoff: Backoff,
        *,
        cursor: Cursor | None = None,
        start: StartFrom | int = StartFrom.RESUME,
        page_limit: int = 10_000,
        buffer_rows: int = 50_000,
    ) -> None:
        known = cursor or Cursor()
        self.state = ReceiverState.OFFLINE
        self._pacer = RequestPacer(backoff)
        self._page_limit = page_limit
        # Servers of version 1 name no store: a position alone is a cursor too.
        self._start: StartFrom | int | None = None if known.store_id or known.latest_sequence else start
        self._store_id = known.store_id
        self._last_ts_ms = known.latest_ts_ms
        self._last_sequence = known.latest_sequence if known.latest_ts_ms else 0
        """The sequence of the candle at ``_last_ts_ms``; 0 for none."""
        self._candles = ReorderBuffer(known.latest_sequence, limit_rows=buffer_rows)
        self._revisions = ReorderBuffer(known.latest_revision, limit_rows=buffer_rows)
        self._out: list[Action] = []
        self._reset_connection()

    @property
    def cursor(self) -> Cursor:
        return Cursor(self._store_id, self._candles.position, self._last_ts_ms, self._revisions.position)

    @property
    def target_sequence(self) -> int:
        """Highest sequence the server is known to have."""
        return self._candles.target

    @property
    def buffered_rows(self) -> int:
        return self._candles.buffered_rows + self._revisions.buffered_rows

    @property
    def wake_ns(self) -> int | None:
        """Return when (ns) ``on_time`` must be called; None: not before another input."""
        return self._pacer.wake_ns if self._connected else None

    @property
    def empty_replies(self) -> int:
        """Requests that failed or brought nothing, ever."""
        return self._pacer.empty_replies

    # --- inputs ----------------------------------------------------------------------------------------------------

    def on_connected(self, now_ns: int) -> list[Action]:
        """Both sockets talk to a server: a new one for all we know."""
        self._reset_connection()
        self._connected = True
        return self._advance(now_ns)

    def on_disconnected(self, now_ns: int) -> list[Action]:
        self._reset_connection()
        return self._advance(now_ns)

    def on_batch(self, batch: CandleBatch, now_ns: int) -> list[Action]:
        """A live batch."""
        if self._connected and _is_sound(batch.start_sequence, batch.candles):
            start, rows = batch.start_sequence, batch.candles
            if start == self._candles.position + 1 and rows["ts_ms"].item(0) <= self._last_ts_ms:
                # The right number on the wrong time: let the server's store say which it is.
                self._candles.target = max(self._candles.target, batch.next_sequence - 1)
                self._pacer.status_due = True
            elif self._verified and not self._is_checking and self._candles.pass_next(start, rows):
                self._deliver(start, rows, is_backfill=False)
            else:
                self._take_in(start, rows)
        return self._advance(now_ns)

    def on_heartbeat(self, status: StreamStatus, now_ns: int) -> list[Action]:
        """Take an unrequested watermark. It may be old: it never restarts a stream, but shows what may be missing."""
        if self._connected:
            if self._is_other_store(status):
                self._unverify()
            else:
                self._check_newest(status, is_answer=False)
                self._verify(status)
                self._pacer.status_due = self._pacer.status_due or status.latest_sequence < self._candles.position
        return self._advance(now_ns)

    def on_status(self, status: StreamStatus, now_ns: int) -> list[Action]:
        """The answer to RequestStatus."""
        if self._pacer.complete(RequestKind.STATUS):
            if self._is_other_store(status):
                self._restart(RestartReason.STORE_REPLACED, status.store_id)
            else:
                self._check_went_back(status, now_ns)
                self._check_newest(status, is_answer=True)
            self._verify(status)
            if self._pacer.consecutive_empty >= MAX_EMPTY_REPLIES:
                self._clamp_to_watermark(status)
        return self._advance(now_ns)

    def on_page(self, page: BackfillCandlesResponse, now_ns: int) -> list[Action]:
        """The answer to Request."""
        if self._pacer.complete(RequestKind.CANDLES) and self._verified:
            if self._is_checking:
                self._on_checked(page, now_ns)
            elif self._candles.missing(1) is None:
                self._progress()  # the live feed was quicker
            elif not _is_sound(page.start_sequence, page.candles):
                self._pacer.on_empty(now_ns)
            elif page.start_sequence > self._candles.position + 1:
                self._candles.offer(page.start_sequence, page.candles, is_backfill=True)
                self._on_hole(page.start_sequence, now_ns)
            elif self._candles.offer(page.start_sequence, page.candles, is_backfill=True) is Offer.KEPT:
                self._progress()
            else:
                self._pacer.on_empty(now_ns)
        return self._advance(now_ns)

    def on_revision(self, revision: CandleRevision, now_ns: int) -> list[Action]:
        """Corrections from the live feed."""
        if self._connected and len(revision.candles) and revision.start_revision >= 1:
            self._revisions.offer(
                revision.start_revision, _revision_rows(revision.sequences, revision.candles), is_backfill=False
            )
        return self._advance(now_ns)

    def on_revisions(self, page: RevisionsResponse, now_ns: int) -> list[Action]:
        """The answer to RequestRevisions. Older ones than it begins with are not kept by the server any more."""
        if self._pacer.complete(RequestKind.REVISIONS) and self._verified:
            rows = _revision_rows(page.sequences, page.candles)
            if len(rows) and page.start_revision > self._revisions.position + 1:
                self._revisions.skip_to(page.start_revision - 1)
            if self._revisions.offer(page.start_revision, rows, is_backfill=True) is Offer.KEPT:
                self._progress()
            else:
                self._pacer.on_empty(now_ns)
        return self._advance(now_ns)

    def on_failed(self, now_ns: int) -> list[Action]:
        """The request under way got an error, or no answer in time."""
        if self._pacer.kind is not None and self._pacer.complete(self._pacer.kind):
            self._pacer.on_empty(now_ns)
            self._give_up_checking()
        return self._advance(now_ns)

    def on_time(self, now_ns: int) -> list[Action]:
        return self._advance(now_ns)

    # --- rules -----------------------------------------------------------------------------------------------------

    def _reset_connection(self) -> None:
        """Forget what belongs to one connection: its requests, and rows not yet known to be of our store."""
        self._connected = False
        self._pacer.reset()
        self._verified = False
        self._to_check = (self._last_sequence, self._last_ts_ms) if self._last_sequence else None
        self._is_checking = False
        self._holes = 0
        self._went_back = 0
        self._candles.clear()
        self._revisions.clear()

    def _take_in(self, start: int, rows: CandleArray) -> None:
        offer = self._candles.offer(start, rows, is_backfill=False)
        if offer is Offer.DUPLICATE:
            self._out.append(Duplicate(len(rows)))
        elif offer is Offer.KEPT and (not self._verified or self._is_checking or start > self._candles.position + 1):
            self._out.append(Buffered(start, len(rows)))

    def _is_other_store(self, status: StreamStatus) -> bool:
        return bool(self._store_id and status.store_id and status.store_id != self._store_id)

    def _unverify(self) -> None:
        """The feed speaks of another store: keep everything back until an answer says which it is."""
        self._verified = False
        self._pacer.cancel_backoff()
        self._candles.clear()
        self._revisions.clear()

    def _check_newest(self, status: StreamStatus, *, is_answer: bool) -> None:
        """Compare the newest candle that was delivered with the server's, by its status or by a page of one candle."""
        if self._to_check is None or self._is_checking:
            return
        sequence, ts_ms = self._to_check
        if status.first_sequence > sequence:
            self._to_check = None  # the server keeps it no more
        elif status.latest_sequence == sequence and status.latest_ts_ms:
            if status.latest_ts_ms == ts_ms:
                self._to_check = None
            elif is_answer:
                self._restart(RestartReason.STORE_DIFFERS, self._store_id)
            else:
                self._pacer.status_due = True
        elif status.latest_sequence > sequence:
            self._is_checking = True

    def _on_checked(self, page: BackfillCandlesResponse, now_ns: int) -> None:
        """The answer to the request for the newest candle that was delivered."""
        sequence, ts_ms = self._to_check or (0, 0)
        if not _is_sound(page.start_sequence, page.candles) or page.start_sequence < sequence:
            self._pacer.on_empty(now_ns)
            self._give_up_checking()
        elif page.start_sequence == sequence and int(page.candles["ts_ms"][0]) != ts_ms:
            self._restart(RestartReason.STORE_DIFFERS, self._store_id)
            self._pacer.status_due = True  # it says where the stream begins
            self._progress()
        else:
            self._to_check, self._is_checking = None, False
            self._progress()

    def _give_up_checking(self) -> None:
        """A server that cannot show the candle keeps nobody waiting for ever."""
        if self._is_checking and self._pacer.consecutive_empty >= MAX_EMPTY_REPLIES:
            self._to_check, self._is_checking = None, False

    def _restart(self, reason: RestartReason, store_id: str) -> None:
        self._candles.restart()
        self._revisions.restart()
        self._last_ts_ms = self._last_sequence = 0
        self._to_check, self._is_checking = None, False
        self._went_back = 0
        self._store_id = store_id
        self._start = StartFrom.EARLIEST
        self._out.append(Restart(reason, store_id))

    def _verify(self, status: StreamStatus) -> None:
        self._verified = True
        self._store_id = self._store_id or status.store_id
        if self._start is not None:
            self._set_start(self._start, status)
            self._start = None
        elif status.first_sequence > self._candles.position + 1:
            self._skip_gap(status.first_sequence - 1, "older than the oldest candle the server keeps")
        self._candles.target = max(self._candles.target, status.latest_sequence)
        self._revisions.target = max(self._revisions.target, status.latest_revision)

    def _set_start(self, start: StartFrom | int, status: StreamStatus) -> None:
        """Turn the wish where to begin into a position. Pages come with older revisions already in them."""
        before_oldest = max(0, status.first_sequence - 1)
        position, revision = status.latest_sequence, status.latest_revision
        if start is StartFrom.EARLIEST or start is StartFrom.RESUME:
            # Revisions from the first one: only they hold the minutes that never had a sequence.
            position, revision = before_oldest, 0
        elif isinstance(start, int):
            wanted = start - 1 if start > 0 else position + start
            position = min(position, max(0, wanted))
        self._candles.skip_to(position)
        self._revisions.skip_to(revision)
        if before_oldest > position:
            if isinstance(start, int) and start > 0:
                self._skip_gap(before_oldest, "older than the oldest candle the server keeps")
            self._candles.skip_to(before_oldest)

    def _skip_gap(self, to_sequence: int, reason: str) -> None:
        self._out.append(SkipGap(self._candles.position + 1, to_sequence, reason))
        self._candles.skip_to(to_sequence)
        self._holes = 0

    def _on_hole(self, start: int, now_ns: int) -> None:
        """The answer began later than asked: the oldest candles went meanwhile, or the server lacks some."""
        self._holes += 1
        if self._holes >= HOLE_CONFIRMATIONS:
            self._skip_gap(start - 1, "the server has no such candles")
            self._progress()
        else:
            self._pacer.on_empty(now_ns)

    def _check_went_back(self, status: StreamStatus, now_ns: int) -> None:
        if self._start is not None or status.latest_sequence >= self._candles.position:
            self._went_back = 0
            return
        self._went_back += 1
        if self._went_back >= ROLLBACK_CONFIRMATIONS:
            self._restart(RestartReason.STORE_WENT_BACK, status.store_id)
        else:
            self._pacer.on_empty(now_ns)

    def _clamp_to_watermark(self, status: StreamStatus) -> None:
        """Vain requests for sequences beyond the server's watermark: whoever named them was not the server."""
        if status.latest_sequence < self._candles.target:
            self._candles.clear(status.latest_sequence)
        if status.latest_revision < self._revisions.target:
            self._revisions.clear(status.latest_revision)

    def _progress(self) -> None:
        self._pacer.on_success()
        self._holes = 0

    # --- the one place where things go on --------------------------------------------------------------------------

    def _advance(self, now_ns: int) -> list[Action]:
        if self._verified and not self._is_checking:
            self._deliver_candles()
            self._deliver_revisions()
        if self._connected:
            self._request(now_ns)
        self._set_state()
        out, self._out = self._out, []
        return out

    def _deliver_candles(self) -> None:
        for run in self._candles.drain():
            start, rows = run.start, run.rows
            if rows["ts_ms"].item(0) <= self._last_ts_ms:
                known = int(np.searchsorted(rows["ts_ms"], self._last_ts_ms, side="right"))
                self._out.append(Duplicate(known))
                start, rows = start + known, rows[known:]
            if len(rows):
                self._deliver(start, rows, is_backfill=run.is_backfill)

    def _deliver(self, start: int, rows: CandleArray, *, is_backfill: bool) -> None:
        self._last_ts_ms, self._last_sequence = rows["ts_ms"].item(-1), start + len(rows) - 1
        self._out.append(Deliver(start, rows, is_backfill))

    def _deliver_revisions(self) -> None:
        for run in self._revisions.drain(self._revisable):
            self._out.append(DeliverRevisions(run.start, run.rows["sequence"], run.rows["candle"]))

    def _revisable(self, rows: Rows) -> int:
        """A correction waits for the candle it corrects, else the older version would come last."""
        ahead = rows["sequence"] > self._candles.position
        return int(ahead.argmax()) if ahead.any() else len(rows)

    def _request(self, now_ns: int) -> None:
        if not self._pacer.can_send(now_ns):
            return
        if not self._verified or self._pacer.status_due:
            self._pacer.begin(RequestKind.STATUS)
            self._out.append(RequestStatus())
        elif self._is_checking and self._to_check is not None:
            self._pacer.begin(RequestKind.CANDLES)
            self._out.append(RequestCandles(self._to_check[0] - 1, 1))
        elif missing := self._candles.missing(self._page_limit):
            self._pacer.begin(RequestKind.CANDLES)
            self._out.append(RequestCandles(*missing))
        elif missing := self._revisions.missing(self._page_limit):
            self._pacer.begin(RequestKind.REVISIONS)
            self._out.append(RequestRevisions(*missing))

    def _set_state(self) -> None:
        if not self._connected:
            self.state = ReceiverState.OFFLINE
        elif not self._verified:
            self.state = ReceiverState.VERIFYING
        elif self._start is not None or self._is_checking or self._candles.missing(1) or self._revisions.missing(1):
            self.state = ReceiverState.CATCHING_UP
        else:
            self.state = ReceiverState.LIVE


def _is_sound(start: int, candles: CandleArray) -> bool:
    """Return whether rows are valid: numbered from 1, with strictly increasing timestamps."""
    if len(candles) < 2:  # nearly always: a live batch
        return start >= 1 and len(candles) == 1
    ts_ms = candles["ts_ms"]
    return start >= 1 and bool((ts_ms[1:] > ts_ms[:-1]).all())


def _revision_rows(sequences: Rows, candles: CandleArray) -> Rows:
    rows = np.empty(len(candles), REVISION_DTYPE)
    rows["sequence"] = sequences
    rows["candle"] = candles
    return rows
