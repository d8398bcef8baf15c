"""Candles of a server by time, as its readers should see them.

That is those of the main stream, as revised, and the minutes that only a revision brought.
Blocking; one question at a time over one connection, which is kept. Everything is asked over the wire, so that it works
wherever a client does.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import msgspec
import numpy as np
import numpy.typing as npt

from fluxcap.bridge.client.fetch import RequestConnection, stream_status
from fluxcap.bridge.client.options import Via, connect_requests
from fluxcap.bridge.transport.curve import ClientCurve
from fluxcap.schemas.candles import PAGE_LIMIT, joined_rows
from fluxcap.schemas.errors import FluxcapError, NotAnswering, WireError, WireTimeout
from fluxcap.schemas.types import (
    CANDLE_DTYPE,
    BackfillCandlesRequest,
    BackfillCandlesResponse,
    CandleArray,
    ListStreamsRequest,
    ListStreamsResponse,
    RevisionsRequest,
    RevisionsResponse,
    StreamKey,
    StreamStatus,
)

TIMEOUT_S = 2.0
BUSY_S = 5.0
"""How long a question waits for those before it."""
SEARCH_PAGE = 500
"""Candles that are fetched rather than halved further in the search for a time."""
PROBES_BY_GUESS = 4
"""Steps of that search that guess by the length of the interval; the rest halve."""
_NO_SEQUENCES = np.empty(0, np.uint64)
_NO_CANDLES = np.empty(0, CANDLE_DTYPE)


class ReaderTarget(msgspec.Struct, frozen=True):
    """Addresses of a server. ``curve``: keys, if it requires them. ``via``: JetStream in place of a server."""

    pub: str
    rep: str
    curve: ClientCurve | None = None
    via: Via | None = None


class CandleSlice(msgspec.Struct, frozen=True, eq=False):
    """Candles of a stream within a time, ascending.

    Attributes
    ----------
    status
        The stream as it stood before.
    candles, sequences
        Shape ``(n,)``; sequence 0 is a minute that the main stream never had.
    next_ms
        Where to go on, UTC epoch milliseconds; None: there are no more.
    """

    status: StreamStatus
    candles: CandleArray
    sequences: npt.NDArray[np.uint64]
    next_ms: int | None


class _PassedOver:
    """Minutes of one stream that only revisions brought; by their time, ascending."""

    def __init__(self, status: StreamStatus) -> None:
        self.store = (status.store_id, status.first_sequence)
        self.revision = 0
        self.candles = _NO_CANDLES

    def add(self, page: RevisionsResponse) -> None:
        self.revision = page.start_revision + len(page.candles) - 1
        both = joined_rows([self.candles, page.candles[page.sequences == 0]])
        # Of a time the last one counts: it is the newest.
        _, last = np.unique(both["ts_ms"][::-1], return_index=True)
        self.candles = both[len(both) - 1 - last]


class CandleReader:
    """See the module. May be used from any thread. connect: a connection to ask over, for a test.

    Every call raises NotAnswering where the server cannot be reached, and WireError (404: no such stream).
    """

    def __init__(self, target: ReaderTarget, connect: Callable[[], RequestConnection] | None = None) -> None:
        self._connect = connect or (
            lambda: RequestConnection(connect_requests(target.rep, TIMEOUT_S, target.curve, target.via))
        )
        self._lock = threading.Lock()
        self._connection: RequestConnection | None = None
        self._passed_over: dict[StreamKey, _PassedOver] = {}
        self._is_closed = False

    def streams(self) -> tuple[StreamStatus, ...]:
        """Every stream of the server."""
        with self._asking() as server:
            return server.request(ListStreamsRequest(), ListStreamsResponse).streams

    def status(self, key: StreamKey) -> StreamStatus:
        """One stream."""
        with self._asking() as server:
            return stream_status(server, key)

    def oldest(self, key: StreamKey, from_ms: int, to_ms: int | None, limit: int) -> CandleSlice:
        """Up to ``limit`` candles that begin in ``[from_ms, to_ms)``, the oldest of them."""
        with self._asking() as server:
            status = stream_status(server, key)
            extra = _within(self._extra(server, status), from_ms, to_ms)
            after = _first_from(server, status, from_ms) - 1
            last_ms = None if to_ms is None else to_ms - 1
            main, sequences, more = _page(server, status, after, last_ms, limit)
        if more:
            extra = _within(extra, 0, int(main["ts_ms"][-1]))
        candles, numbers = _merged(main, sequences, extra)
        more = more or len(candles) > limit
        candles, numbers = candles[:limit], numbers[:limit]
        next_ms = int(candles["ts_ms"][-1]) + 1 if more and len(candles) else None
        return CandleSlice(status, candles, numbers, next_ms)

    def newest(self, key: StreamKey, to_ms: int | None, limit: int, from_ms: int = 0) -> CandleSlice:
        """Up to ``limit`` candles that begin in ``[from_ms, to_ms)``, the newest of them.

        ``next_ms`` is the ``to_ms`` of those before.
        """
        with self._asking() as server:
            status = stream_status(server, key)
            extra = _within(self._extra(server, status), from_ms, to_ms)
            end = status.latest_sequence + 1 if to_ms is None else _first_from(server, status, to_ms)
            after = max(end - 1 - limit, status.first_sequence - 1, 0)
            main, sequences, _ = _page(server, status, after, None, end - 1 - after)
        has_older = after > max(status.first_sequence - 1, 0)
        if has_older:
            extra = _within(extra, int(main["ts_ms"][0]) if len(main) else 0, None)
        candles, numbers = _merged(main, sequences, extra)
        kept = candles["ts_ms"] >= from_ms
        has_older = int(kept.sum()) > limit or (has_older and bool(kept.all()))
        candles, numbers = candles[kept][-limit:], numbers[kept][-limit:]
        return CandleSlice(status, candles, numbers, int(candles["ts_ms"][0]) if has_older and len(candles) else None)

    def close(self) -> None:
        """Let go of the connection. Idempotent."""
        self._is_closed = True
        if self._lock.acquire(timeout=BUSY_S):
            try:
                self._drop()
            finally:
                self._lock.release()

    @contextlib.contextmanager
    def _asking(self) -> Iterator[RequestConnection]:
        if not self._lock.acquire(timeout=BUSY_S):
            raise NotAnswering("The server is too slow for so many questions; ask again.")
        try:
            if self._is_closed:
                raise NotAnswering("This server is stopping.")
            if self._connection is None:
                self._connection = self._connect()
            yield self._connection
        except WireTimeout as error:
            self._drop()
            raise NotAnswering(str(error)) from None
        except WireError:
            raise
        except FluxcapError:
            self._drop()
            raise
        finally:
            self._lock.release()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _extra(self, server: RequestConnection, status: StreamStatus) -> CandleArray:
        """The minutes that only revisions brought; reads those that came since the last time."""
        known = self._passed_over.get(status.key)
        store = (status.store_id, status.first_sequence)
        if known is None or known.store != store or known.revision > status.latest_revision:
            known = self._passed_over[status.key] = _PassedOver(status)
        while known.revision < status.latest_revision:
            page = server.request(RevisionsRequest(status.key, known.revision, PAGE_LIMIT), RevisionsResponse)
            if not len(page.candles) or page.start_revision <= known.revision:
                break
            known.add(page)
        return known.candles


def _page(
    server: RequestConnection, status: StreamStatus, after: int, last_ms: int | None, limit: int
) -> tuple[CandleArray, npt.NDArray[np.uint64], bool]:
    """Candles after a sequence, theirs, and whether more follow up to ``last_ms``."""
    if limit <= 0 or after >= status.latest_sequence:
        return _NO_CANDLES, _NO_SEQUENCES, False
    request = BackfillCandlesRequest(status.key, after, last_ms, limit)
    page = server.request(request, BackfillCandlesResponse)
    numbers = np.arange(page.start_sequence, page.start_sequence + len(page.candles), dtype=np.uint64)
    return page.candles, numbers, page.has_more and len(page.candles) > 0


def _first_from(server: RequestConnection, status: StreamStatus, ts_ms: int) -> int:
    """Return the sequence of the first candle that begins at a time or later; one beyond the newest where none does."""
    low, high = max(status.first_sequence, 1), status.latest_sequence + 1
    if status.latest_ts_ms < ts_ms or low >= high:
        return high
    # A stream has at most one candle an interval: so many from a known one is as far as it can be.
    step_ms = status.key.interval_ms
    guess = status.latest_sequence - (status.latest_ts_ms - ts_ms) // step_ms
    for probe in range(64):
        if high - low <= SEARCH_PAGE:
            break
        at = min(max(guess if probe < PROBES_BY_GUESS else (low + high) // 2, low), high - 1)
        found, numbers, _ = _page(server, status, at - 1, None, 1)
        if not len(found):
            break
        found_ms, at = int(found["ts_ms"][0]), int(numbers[0])
        if found_ms == ts_ms:
            return at
        if found_ms > ts_ms:
            high = min(high, at)
            guess = at - (found_ms - ts_ms) // step_ms
        else:
            low = at + 1
            guess = at + (ts_ms - found_ms) // step_ms
        if high <= low:
            return high
    found, numbers, _ = _page(server, status, low - 1, None, min(high - low, PAGE_LIMIT))
    place = int(np.searchsorted(found["ts_ms"], ts_ms))
    return int(numbers[place]) if place < len(found) else high


def _within(candles: CandleArray, from_ms: int, to_ms: int | None) -> CandleArray:
    begin = int(np.searchsorted(candles["ts_ms"], from_ms))
    end = len(candles) if to_ms is None else int(np.searchsorted(candles["ts_ms"], to_ms))
    return candles[begin:end]


def _merged(
    main: CandleArray, sequences: npt.NDArray[np.uint64], extra: CandleArray
) -> tuple[CandleArray, npt.NDArray[np.uint64]]:
    extra = extra[~np.isin(extra["ts_ms"], main["ts_ms"])] if len(extra) else extra
    if not len(extra):
        return main, sequences
    candles = joined_rows([main, extra])
    numbers = np.concatenate([sequences, np.zeros(len(extra), np.uint64)])
    order = np.argsort(candles["ts_ms"], kind="stable")
    return candles[order], numbers[order]
