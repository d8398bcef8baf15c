"""Requests of the wire to their answers: bytes in, bytes out, exactly one answer each, whatever came. No socket.

Error answers: 400 not a sound request, 404 a stream nobody has or a gap that begins before what is kept, 410 what was
known at that time was not kept, 413 too large, 426 a version we do not read, 500 our own fault. All of them are
version-1 envelopes and carry the request's correlation id where it could be read.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from fluxcap.bridge.store.as_of import NEVER_MS
from fluxcap.bridge.store.history import HistoryPage
from fluxcap.schemas.candles import HISTORY_LIMIT, MAX_SEQUENCE, CandlePage, RevisionPage, page_limit
from fluxcap.schemas.codec import decode, encode
from fluxcap.schemas.errors import CodecError, FluxcapError, MessageTooLarge, NotKnown
from fluxcap.schemas.types import (
    BackfillCandlesRequest,
    BackfillCandlesResponse,
    ErrorResponse,
    GapChange,
    GapsRequest,
    GapsResponse,
    GetCursorRequest,
    GetCursorResponse,
    HealthRequest,
    HealthResponse,
    HistoryRequest,
    HistoryResponse,
    ListStreamsRequest,
    ListStreamsResponse,
    Message,
    RevisionsRequest,
    RevisionsResponse,
    StreamKey,
    StreamStatus,
    StreamStatusRequest,
    SubscribeCandlesAck,
    SubscribeCandlesRequest,
)

_log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 64 * 1024
"""No sound request is longer; a longer one is answered 413."""


class PageSource(Protocol):
    """A source of pages of candles and revisions."""

    def page(self, key: StreamKey, after_sequence: int | None, end_ts_ms: int | None, limit: int) -> CandlePage: ...

    def revisions(self, key: StreamKey, after_revision: int | None, limit: int) -> RevisionPage: ...

    def history(
        self, key: StreamKey, from_ms: int, to_ms: int | None, as_of_ms: int | None, limit: int
    ) -> HistoryPage: ...

    def told_gaps(
        self, source_id: str, symbol: str, from_ms: int, to_ms: int | None, as_of_ms: int | None
    ) -> Sequence[GapChange]: ...


class UnknownStream(Exception):
    """A key that is in no snapshot. Never leaves this module."""


class PrunedGap(Exception):
    """The beginning of a client's gap is not kept any more. Never leaves this module."""


class RequestHandler:
    """Answers requests, for the responder's thread.

    Parameters
    ----------
    pages
        Candles and revisions, used from the caller's thread.
    status
        The newest immutable snapshot of all streams. A stream that is in it exists; one without candles has cursor 0.
    clock_ms
        Wall clock for ``server_time_ms``, UTC epoch milliseconds.
    health
        The answer to a HealthRequest.

    Attributes
    ----------
    counters
        ``requests``, and ``error_<code>`` per code.
    """

    def __init__(
        self,
        pages: PageSource,
        status: Callable[[], Mapping[StreamKey, StreamStatus]],
        clock_ms: Callable[[], int],
        health: Callable[[], HealthResponse] = HealthResponse,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._pages = pages
        self._status = status
        self._clock_ms = clock_ms
        self._health = health
        self._handlers: dict[type[Any], Callable[[Any], Message]] = {
            HealthRequest: lambda _: self._health(),
            GetCursorRequest: self._cursor,
            SubscribeCandlesRequest: self._subscribe,
            BackfillCandlesRequest: self._backfill,
            StreamStatusRequest: self._stream_status,
            RevisionsRequest: self._revisions,
            ListStreamsRequest: self._list_streams,
            HistoryRequest: self._history,
            GapsRequest: self._gaps,
        }

    def handle(self, payload: bytes) -> bytes:
        """The answer to a request, encoded. Never raises, whatever the bytes."""
        self.counters["requests"] += 1
        correlation_id = ""
        try:
            if len(payload) > MAX_REQUEST_BYTES:
                raise MessageTooLarge(f"The request has {len(payload)} bytes; {MAX_REQUEST_BYTES} is the limit.")
            envelope = decode(payload)
            correlation_id = envelope.correlation_id
            handler = self._handlers.get(type(envelope.message))
            if handler is None:
                raise CodecError(f"{type(envelope.message).__name__} is not a request.")
            return encode(handler(envelope.message), correlation_id)
        except CodecError as error:
            return self._error(error.wire_code, str(error), error.correlation_id or correlation_id)
        except UnknownStream as unknown:
            return self._error(404, f"There is no stream {unknown}.", correlation_id)
        except PrunedGap as gap:
            return self._error(404, str(gap), correlation_id)
        except NotKnown as error:
            return self._error(410, str(error), correlation_id)
        except FluxcapError as error:
            _log.warning("A request could not be answered: %s", error)
            return self._error(500, str(error), correlation_id)
        except Exception:
            _log.exception("A request could not be answered")
            return self._error(500, "Internal error; see the server's log.", correlation_id)

    def reject(self, reason: str) -> bytes:
        """The answer to frames that hold no single payload."""
        self.counters["requests"] += 1
        return self._error(400, reason, "")

    def _error(self, code: int, message: str, correlation_id: str) -> bytes:
        self.counters[f"error_{code}"] += 1
        try:
            return encode(ErrorResponse(code, message), correlation_id)
        except CodecError:  # a correlation id or text that cannot be written back
            return encode(ErrorResponse(code, "The request cannot be answered."))

    def _require_stream(self, key: StreamKey) -> StreamStatus:
        status = self._status().get(key)
        if status is None:
            raise UnknownStream(str(key)[:200])
        return status

    def _cursor(self, request: GetCursorRequest) -> GetCursorResponse:
        status = self._require_stream(request.key)
        return GetCursorResponse(request.key, status.latest_sequence, status.latest_ts_ms)

    def _subscribe(self, request: SubscribeCandlesRequest) -> SubscribeCandlesAck:
        return SubscribeCandlesAck(True, "", request.key, self._require_stream(request.key).latest_sequence)

    def _backfill(self, request: BackfillCandlesRequest) -> BackfillCandlesResponse:
        self._require_stream(request.key)
        after = request.from_sequence_exclusive
        after = None if after is None else min(after, MAX_SEQUENCE)
        page = self._pages.page(request.key, after, request.end_ts_ms, page_limit(request.limit))
        # Clients of version 1 end a gap's request with a time. Given a page that is empty, or begins later than the
        # gap, they ask again at once, for ever; given an error, once for each live batch. A start has no end and gets
        # the page from the first sequence that is kept.
        if after is not None and request.end_ts_ms is not None and page.start_sequence > after + 1:
            raise PrunedGap(
                f"{str(request.key)[:200]} is kept from sequence {page.start_sequence} on; older candles were deleted."
            )
        return BackfillCandlesResponse(
            request.key, page.start_sequence, page.candles, page.has_more, page.next_sequence
        )

    def _revisions(self, request: RevisionsRequest) -> RevisionsResponse:
        self._require_stream(request.key)
        after = request.from_revision_exclusive
        after = None if after is None else min(after, MAX_SEQUENCE)
        page = self._pages.revisions(request.key, after, page_limit(request.limit))
        return RevisionsResponse(
            request.key, page.start_revision, page.sequences, page.candles, page.has_more, page.next_revision
        )

    def _history(self, request: HistoryRequest) -> HistoryResponse:
        self._require_stream(request.key)
        limit = min(request.limit or HISTORY_LIMIT, HISTORY_LIMIT)
        from_ms, to_ms = _within_times(request.from_ms), _within_times(request.to_ms) or None
        as_of_ms = None if request.as_of_ms is None else _within_times(request.as_of_ms)
        page = self._pages.history(request.key, from_ms, to_ms, as_of_ms, limit)
        return HistoryResponse(request.key, page.candles, page.sequences, page.next_ms)

    def _gaps(self, request: GapsRequest) -> GapsResponse:
        from_ms, to_ms = _within_times(request.from_ms), _within_times(request.to_ms) or None
        as_of_ms = None if request.as_of_ms is None else _within_times(request.as_of_ms)
        gaps = self._pages.told_gaps(request.source_id, request.symbol, from_ms, to_ms, as_of_ms)
        return GapsResponse(tuple(gaps))

    def _stream_status(self, request: StreamStatusRequest) -> StreamStatus:
        return self._as_of_now(self._require_stream(request.key))

    def _list_streams(self, request: ListStreamsRequest) -> ListStreamsResponse:
        return ListStreamsResponse(tuple(self._as_of_now(status) for _, status in sorted(self._status().items())))

    def _as_of_now(self, status: StreamStatus) -> StreamStatus:
        return msgspec.structs.replace(status, server_time_ms=self._clock_ms())


def _within_times(ts_ms: int) -> int:
    """Return the nearest time that sums of times may be made with."""
    return min(max(ts_ms, 0), NEVER_MS)
