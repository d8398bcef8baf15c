"""A running daemon as the forwarder's source, over its wire: heartbeats and batches tell what there is, pages bring it.

One thread owns the transport; the forwarder's loop hands it questions and gets their answers back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

import msgspec

from fluxcap.bridge.transport.base import (
    Connected,
    Disconnected,
    MessageReceived,
    ReplyReceived,
    RequestFailed,
    Transport,
)
from fluxcap.bridge.transport.curve import ClientCurve
from fluxcap.bridge.transport.requests import RequestQueue
from fluxcap.bridge.transport.zeromq import ZmqTransport
from fluxcap.schemas.candles import CandlePage, RevisionPage
from fluxcap.schemas.errors import CodecError, FluxcapError, WireTimeout
from fluxcap.schemas.types import (
    BackfillCandlesRequest,
    BackfillCandlesResponse,
    CandleBatch,
    CandleRevision,
    ListStreamsRequest,
    ListStreamsResponse,
    Message,
    RevisionsRequest,
    RevisionsResponse,
    StreamKey,
    StreamStatus,
)

_log = logging.getLogger(__name__)

TOPICS = (b"candles.", b"revisions.", b"status.")
TIMEOUT_NS = 5_000_000_000
POLL_MS = 500
LIST_WAIT_S = 1.0
"""A server that does not list its streams is asked again after this; so is one after an internal error."""
_Answer = TypeVar("_Answer")
_Waiter: TypeAlias = Callable[[Message | FluxcapError], None]
"""Takes an answer, or why there is none, on the transport's thread."""


class WireSource:
    """See ForwardSource.

    Parameters
    ----------
    pub, rep
        The daemon's endpoints.
    curve
        Keys, for a daemon beyond this machine.
    now_s
        Seconds that only go forward.
    """

    def __init__(
        self,
        pub: str,
        rep: str,
        curve: ClientCurve | None = None,
        transport: Transport | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoints = (pub, rep)
        self._transport: Transport = transport or ZmqTransport(curve)
        self._statuses: dict[StreamKey, StreamStatus] = {}
        self._on_notify: Callable[[], None] = lambda: None
        self._requests: RequestQueue[_Waiter] = RequestQueue(self._transport, TIMEOUT_NS, max_in_flight=sys.maxsize)
        self._thread = threading.Thread(target=self._run, name="forward-wire", daemon=True)
        self._stop = threading.Event()
        self._now_s = now_s
        self._connected = False
        self._list_at_s = math.inf
        """When all streams are asked for, if there is a server then."""
        self._error = f"no fluxcap daemon answers at {self._endpoints[1]} yet"

    @property
    def error(self) -> str:
        return self._error

    def start(self, on_news: Callable[[], None]) -> None:
        """Raises ConfigError for endpoints that are none."""
        self._on_notify = on_news
        self._transport.connect(*self._endpoints)
        self._transport.subscribe(TOPICS)
        self._thread.start()

    def statuses(self) -> Mapping[StreamKey, StreamStatus]:
        return self._statuses

    async def candles(self, key: StreamKey, after_sequence: int, limit: int) -> CandlePage:
        found = await self._request(BackfillCandlesRequest(key, after_sequence, None, limit), BackfillCandlesResponse)
        return CandlePage(found.start_sequence, found.candles, found.has_more)

    async def revisions(self, key: StreamKey, after_revision: int, limit: int) -> RevisionPage:
        found = await self._request(RevisionsRequest(key, after_revision, limit), RevisionsResponse)
        return RevisionPage(found.start_revision, found.sequences, found.candles, found.has_more)

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._transport.wake()
            self._thread.join(5.0)
        self._transport.close()

    async def _request(self, question: Message, kind: type[_Answer]) -> _Answer:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Message] = loop.create_future()

        def settle(result: Message | FluxcapError) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(_resolve, future, result)

        self._raise_if_away()
        self._requests.enqueue(question, settle)
        try:  # the thread sets these first, and then settles what was asked by then
            self._raise_if_away()
        except WireTimeout:
            future.cancel()
            raise
        self._transport.wake()
        answer = await future
        if not isinstance(answer, kind):
            raise CodecError(f"The server answered with {type(answer).__name__} in place of {kind.__name__}.")
        return answer

    def _raise_if_away(self) -> None:
        if self._stop.is_set() or self._error:
            raise WireTimeout(self._error or "The forwarder is stopping.")

    # --- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._run_once()
            except Exception as error:  # of ours: said, and started again
                _log.exception("The daemon's wire cannot be read")
                self._error = f"internal error ({type(error).__name__}); retrying"
                self._settle_all(self._error)
                self._connected = False
                self._stop.wait(LIST_WAIT_S)
                self._transport.connect(*self._endpoints)
        self._settle_all("The forwarder is stopping.")

    def _run_once(self) -> None:
        """Ask what there is to ask, and handle what came."""
        if self._connected and self._now_s() >= self._list_at_s:
            self._list_at_s = math.inf
            self._requests.enqueue(ListStreamsRequest(), self._on_list)
        self._requests.send()
        changed = False
        for event in self._transport.receive(POLL_MS):
            changed = self._handle(event) or changed
        if changed:
            self._on_notify()

    def _handle(self, event: Any) -> bool:
        """Handle one event; return whether it brought something new."""
        match event:
            case MessageReceived(_, message):
                return self._hear(message)
            case ReplyReceived(number, result) | RequestFailed(number, result):
                settle = self._requests.resolve(number)
                if settle is not None:
                    settle(result)
                return settle == self._on_list and not isinstance(result, FluxcapError)
            case Connected():
                self._connected, self._list_at_s = True, self._now_s()
            case Disconnected(reason):
                self._connected = False
                self._error = f"{self._endpoints[1]}: {reason}"
                return True
        return False

    def _hear(self, message: Message) -> bool:
        """A heartbeat tells all; a batch or revision only its own part of a stream that is known."""
        if isinstance(message, StreamStatus):
            known = self._statuses.get(message.key)
            self._put(message)
            return known is None or _marks(known) != _marks(message)
        if not isinstance(message, CandleBatch | CandleRevision) or not len(message.candles):
            return False
        known = self._statuses.get(message.key)
        if known is None:
            return False
        if isinstance(message, CandleBatch) and message.start_sequence == known.latest_sequence + 1:
            newest = int(message.candles["ts_ms"][-1])
            first = known.first_sequence or message.start_sequence
            self._put(
                msgspec.structs.replace(
                    known, latest_sequence=message.next_sequence - 1, latest_ts_ms=newest, first_sequence=first
                )
            )
        elif isinstance(message, CandleRevision) and message.start_revision == known.latest_revision + 1:
            latest = message.start_revision + len(message.candles) - 1
            self._put(msgspec.structs.replace(known, latest_revision=latest))
        else:
            return False
        return True

    def _put(self, status: StreamStatus) -> None:
        if status.key in self._statuses:
            self._statuses[status.key] = status
        else:  # others may be iterating over the one there is
            self._statuses = self._statuses | {status.key: status}

    def _on_list(self, result: Message | FluxcapError) -> None:
        if isinstance(result, ListStreamsResponse):
            self._statuses = {status.key: status for status in result.streams}
            self._error = ""
        elif isinstance(result, FluxcapError):
            self._error = str(result)
            self._list_at_s = self._now_s() + LIST_WAIT_S

    def _settle_all(self, reason: str) -> None:
        for settle in self._requests.cancel_all():
            settle(WireTimeout(reason))


def _marks(status: StreamStatus) -> tuple[int, int, str]:
    return status.latest_sequence, status.latest_revision, status.store_id


def _resolve(future: asyncio.Future[Message], result: Message | FluxcapError) -> None:
    if future.done():
        return
    if isinstance(result, FluxcapError):
        future.set_exception(result)
    else:
        future.set_result(result)
