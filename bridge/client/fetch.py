"""One-shot questions to a server: ask, wait, return. No thread stays behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import msgspec
import numpy as np

from fluxcap.bridge.client.options import RequestLine, ViaLike, connect_requests
from fluxcap.bridge.client.version1 import is_version1_error, status_of
from fluxcap.bridge.transport.base import Connected, Disconnected, ReplyReceived, RequestFailed
from fluxcap.bridge.transport.curve import ClientCurve
from fluxcap.schemas.candles import PAGE_LIMIT, CandlePage, RevisionPage, StreamSize, joined_rows
from fluxcap.schemas.errors import CodecError, WireError, WireTimeout
from fluxcap.schemas.types import (
    CANDLE_DTYPE,
    BackfillCandlesRequest,
    BackfillCandlesResponse,
    CandleArray,
    Gap,
    GetCursorRequest,
    GetCursorResponse,
    ListStreamsRequest,
    ListStreamsResponse,
    Message,
    RevisionsRequest,
    RevisionsResponse,
    StreamKey,
    StreamStatus,
    StreamStatusRequest,
)

ATTEMPTS = 3
"""How often a question without an answer is asked before giving up."""

_Answer = TypeVar("_Answer")


class RequestConnection:
    """Requests over one connection, one at a time. For one thread at a time."""

    def __init__(self, line: RequestLine) -> None:
        self._transport = line.transport
        self._server = line.server
        self._timeout_ns = line.timeout_ns
        self._number = 0
        self._connected = False

    def close(self) -> None:
        self._transport.close()

    def request(self, message: Message, kind: type[_Answer]) -> _Answer:
        """The answer, which must be of this kind. Raises WireError, WireTimeout, CodecError."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = self._request_once(message)
            except (WireTimeout, CodecError):
                if attempt == ATTEMPTS:
                    raise
                continue
            if not isinstance(answer, kind):
                raise CodecError(f"The server answered with {type(answer).__name__} in place of {kind.__name__}.")
            return answer
        raise AssertionError("not reached")

    def _request_once(self, message: Message) -> Message:
        if not self._connected:
            self.await_connection()
        self._number += 1
        self._transport.request(self._number, message, self._timeout_ns)
        while True:
            for event in self._transport.receive(1_000):
                match event:
                    case ReplyReceived(number, answer) if number == self._number:
                        return answer
                    case RequestFailed(number, error) if number == self._number:
                        raise error
                    case Disconnected():
                        self._connected = False
                    case Connected():
                        self._connected = True

    def await_connection(self) -> None:
        """Raises WireTimeout when no server greets us in time; a refusal of our keys is said at once."""
        waited_ms, step_ms = 0, 50
        while waited_ms * 1_000_000 < self._timeout_ns:
            for event in self._transport.receive(step_ms):
                if isinstance(event, Connected):
                    self._connected = True
                    return
                if isinstance(event, Disconnected) and not self._connected:
                    # A whole sentence says where; anything else is why.
                    whole = event.reason.endswith((".", "?"))
                    raise WireTimeout(event.reason if whole else f"No connection to {self._server}: {event.reason}.")
            waited_ms += step_ms
        raise WireTimeout(f"No server answers at {self._server}; is fluxcap running there?")


@contextmanager
def _dialogue(
    rep: str | None, timeout: float, curve: ClientCurve | None, via: ViaLike = None
) -> Iterator[RequestConnection]:
    dialogue = RequestConnection(connect_requests(rep, timeout, curve, via))
    try:
        dialogue.await_connection()
        yield dialogue
    finally:
        dialogue.close()


def stream_status(dialogue: RequestConnection, key: StreamKey) -> StreamStatus:
    """Ask for a stream's status; a server of version 1 has its cursor only. Raises as ``request``."""
    question = StreamStatusRequest(key)
    try:
        return dialogue.request(question, StreamStatus)
    except WireError as error:
        if not is_version1_error(question, error):
            raise
        return status_of(dialogue.request(GetCursorRequest(key), GetCursorResponse))


def fetch_status(
    key: StreamKey,
    rep: str | None = None,
    *,
    timeout: float = 2.0,
    curve: ClientCurve | None = None,
    via: ViaLike = None,
) -> StreamStatus:
    """Return a stream's watermark, feed state and store.

    Parameters
    ----------
    key
        The stream.
    rep
        Address of the request socket; see ``endpoints``.
    timeout
        Seconds per attempt, of which there are three; with ``via`` 10 seconds at least.
    curve
        CURVE keys (``load_client``), for a server beyond this machine.
    via
        JetStream in place of a server, as in ``LiveClient``.

    Returns
    -------
    StreamStatus
        As of now.

    Raises
    ------
    WireError
        Code 404: the server has no such stream.
    WireTimeout
        When no server answers in time.
    CodecError
        When what answers is no fluxcap server.
    ConfigError
        For an address, keys or credentials that cannot be used.
    """
    with _dialogue(rep, timeout, curve, via) as dialogue:
        return stream_status(dialogue, key)


def list_streams(
    rep: str | None = None, *, timeout: float = 2.0, curve: ClientCurve | None = None, via: ViaLike = None
) -> tuple[StreamStatus, ...]:
    """Return the status of every stream a server has.

    Parameters
    ----------
    rep
        Address of the request socket; see ``endpoints``.
    timeout
        Seconds per attempt, of which there are three; with ``via`` 10 seconds at least.
    curve
        CURVE keys (``load_client``), for a server beyond this machine.
    via
        JetStream in place of a server, as in ``LiveClient``.

    Returns
    -------
    tuple
        One ``StreamStatus`` a stream.

    Raises
    ------
    WireError, WireTimeout, CodecError, ConfigError
        As ``fetch_status``.
    """
    with _dialogue(rep, timeout, curve, via) as dialogue:
        return dialogue.request(ListStreamsRequest(), ListStreamsResponse).streams


def backfill(
    key: StreamKey,
    rep: str | None = None,
    *,
    from_sequence_exclusive: int = 0,
    limit: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    timeout: float = 5.0,
    curve: ClientCurve | None = None,
    via: ViaLike = None,
) -> CandleArray:
    """Fetch the candles of a stream, up to its newest at the time of the call.

    Sequences that the server has no more, or never had, are passed over.

    Parameters
    ----------
    key
        The stream.
    rep
        Address of the request socket; see ``endpoints``.
    from_sequence_exclusive
        The sequence before the first one wanted.
    limit
        At most so many candles; None: all.
    on_progress
        Called with ``(candles so far, candles in all)`` after each page.
    timeout
        Seconds per attempt, of which there are three for each page; with ``via`` 10 seconds at least.
    curve
        CURVE keys (``load_client``), for a server beyond this machine.
    via
        JetStream in place of a server, as in ``LiveClient``.

    Returns
    -------
    numpy.ndarray
        Shape ``(n,)``, dtype ``CANDLE_DTYPE``, ascending.

    Raises
    ------
    WireTimeout
        Also for an answer without candles, since a server can always serve what it has numbered.
    WireError, CodecError, ConfigError
        As ``fetch_status``.
    """
    found = candle_pages(
        key, rep, from_sequence_exclusive=from_sequence_exclusive, limit=limit, timeout=timeout, curve=curve, via=via
    )
    pages = []
    done = 0
    for page, total in found:
        pages.append(page.candles)
        done += len(page.candles)
        if on_progress is not None:
            on_progress(done, total)
    return joined_rows(pages) if pages else np.empty(0, CANDLE_DTYPE)


def candle_pages(
    key: StreamKey,
    rep: str | None = None,
    *,
    from_sequence_exclusive: int = 0,
    limit: int | None = None,
    timeout: float = 5.0,
    curve: ClientCurve | None = None,
    via: ViaLike = None,
) -> Iterator[tuple[BackfillCandlesResponse, int]]:
    """As ``backfill``, page by page, each with the number of candles in all. Holds the connection while iterated.

    That number shrinks when a page begins later than it could: what is between, the server has no more.
    """
    with _dialogue(rep, timeout, curve, via) as dialogue:
        status = stream_status(dialogue, key)
        have, latest = max(from_sequence_exclusive, status.first_sequence - 1), status.latest_sequence
        done, left = 0, latest if limit is None else limit
        while (wanted := min(latest - have, left)) > 0:
            request = BackfillCandlesRequest(key, have, None, min(PAGE_LIMIT, wanted))
            page = dialogue.request(request, BackfillCandlesResponse)
            if not len(page.candles) or page.start_sequence <= have:
                raise WireTimeout(f"The server sent nothing of {key} after sequence {have}, though it has more.")
            page = _up_to(latest, page)
            have = page.next_sequence - 1
            done, left = done + len(page.candles), left - len(page.candles)
            if len(page.candles):
                yield page, done + max(0, min(latest - have, left))


def _up_to(latest: int, page: BackfillCandlesResponse) -> BackfillCandlesResponse:
    """Without what was published after the call: a page that passes something over reaches that far."""
    candles = page.candles[: max(0, latest + 1 - page.start_sequence)]
    following = page.start_sequence + len(candles)
    return msgspec.structs.replace(page, candles=candles, next_sequence=following)


def revision_pages(
    key: StreamKey,
    rep: str | None = None,
    *,
    timeout: float = 5.0,
    curve: ClientCurve | None = None,
    via: ViaLike = None,
) -> Iterator[RevisionsResponse]:
    """The revisions a server keeps of a stream, page by page. Parameters and errors as ``fetch_status``."""
    with _dialogue(rep, timeout, curve, via) as dialogue:
        have, more = 0, True
        while more:
            page = dialogue.request(RevisionsRequest(key, have, PAGE_LIMIT), RevisionsResponse)
            if not len(page.candles):
                return
            have, more = page.start_revision + len(page.candles) - 1, page.has_more
            yield page


class RemoteStore:
    """A server over the wire. ``gaps``: how to ask for them, since the wire has no such question."""

    def __init__(
        self, rep: str | None, gaps: Callable[[], list[Gap]], *, timeout: float = 5.0, curve: ClientCurve | None = None
    ) -> None:
        self._rep = rep
        self._gaps = gaps
        self._timeout = timeout
        self._curve = curve

    def streams(self) -> list[StreamSize]:
        found = list_streams(self._rep, timeout=self._timeout, curve=self._curve)
        return [
            StreamSize(s.key, s.latest_sequence - s.first_sequence + 1 if s.first_sequence else 0, s.latest_revision)
            for s in found
        ]

    def candles(self, key: StreamKey) -> Iterator[CandlePage]:
        for page, _ in candle_pages(key, self._rep, timeout=self._timeout, curve=self._curve):
            yield CandlePage(page.start_sequence, page.candles)

    def revisions(self, key: StreamKey) -> Iterator[RevisionPage]:
        for page in revision_pages(key, self._rep, timeout=self._timeout, curve=self._curve):
            yield RevisionPage(page.start_revision, page.sequences, page.candles)

    def gaps(self) -> list[Gap]:
        return self._gaps()
