"""The live client: one thread that talks to the server, and three ways to hear of it.

A callback, an iterator and an async iterator stand over the same core and give the same events in the same order.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fluxcap.bridge.client.cache import Cache, CandleCache, NoCache
from fluxcap.bridge.client.coordinator import Coordinator
from fluxcap.bridge.client.events import Event
from fluxcap.bridge.client.health import Health
from fluxcap.bridge.client.options import (
    ViaLike,
    default_requests,
    default_timeout_s,
    endpoints,
    open_transport,
    require_address,
    require_start,
    require_stream,
    to_via,
)
from fluxcap.bridge.client.queues import CallbackThread, CommandQueue, EventQueue, SlowConsumer
from fluxcap.bridge.client.receiver.actions import Cursor, StartFrom
from fluxcap.bridge.transport.base import Transport
from fluxcap.bridge.transport.curve import ClientCurve
from fluxcap.schemas.errors import ConfigError, FluxcapError
from fluxcap.schemas.types import CandleArray, StreamKey

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

_NOT_RUNNING = "The client is not running: call start() first, or use it in a with statement."


class LiveClient:
    """Streams of candles from a fluxcap server: in order, once each, gaps fetched while live goes on.

    Use it as a context manager, or call ``start`` and ``close``.

    Parameters
    ----------
    pub, rep
        Addresses of the feed and of the request socket; see ``endpoints``.
    data_dir
        Folder of ``client.duckdb``, where candles and cursor are kept together, so that a restart resumes exactly.
        None keeps no candles. One process at a time can hold it.
    streams
        Streams to subscribe to from the start; more with ``subscribe``.
    start_from
        Where a stream begins: ``StartFrom.RESUME`` (default), ``EARLIEST`` or ``LATEST``; a number ``n > 0`` is the
        first sequence wanted, ``n < 0`` that many candles before the newest. Anything but RESUME drops what the cache
        holds of the stream.
    forming
        Emit the forming candle, too (``Forming``, at most five a second and stream).
    ticks
        Emit every tick, too (``Ticks``), where the server sends them (``fluxcap run --publish-ticks``).
    slow_consumer, queue_candles
        What to do when more than ``queue_candles`` candles wait to be taken.
    on_event
        Called with each event, in a thread of its own, in place of ``events`` and ``stream``. What it raises is logged.
    curve
        CURVE keys (``load_client``), for a server beyond this machine.
    via
        JetStream in place of a server: ``"nats://HOST:4222"``, or ``Via`` with a file of credentials; then ``pub`` and
        ``rep`` are of no use. All is the same but that there are no ticks and no forming candles. Needs the extra
        ``fluxcap[nats]``.
    page_limit, request_timeout
        Candles per backfill request (the server allows 10 000); seconds to wait for an answer (2 of a server, 10 of
        JetStream, which has to be read for it).
    transport
        In place of ZeroMQ; the client closes it.

    Raises
    ------
    ConfigError
        For what is no address, stream or start.
    """

    def __init__(
        self,
        pub: str | None = None,
        rep: str | None = None,
        data_dir: str | Path | None = None,
        *,
        streams: Iterable[StreamKey] = (),
        start_from: StartFrom | int = StartFrom.RESUME,
        forming: bool = True,
        ticks: bool = False,
        slow_consumer: SlowConsumer = SlowConsumer.BLOCK,
        queue_candles: int = 200_000,
        on_event: Callable[[Event], None] | None = None,
        curve: ClientCurve | None = None,
        page_limit: int = 10_000,
        request_timeout: float | None = None,
        transport: Transport | None = None,
        via: ViaLike = None,
    ) -> None:
        self._via = to_via(via)
        self._endpoints = self._addresses(pub, rep if self._via is None else None)
        self._data_dir = data_dir
        self._first_streams = tuple(require_stream(key) for key in streams)
        self._start_from = require_start(start_from)
        self._forming = forming
        self._ticks = ticks
        self._queue = EventQueue(slow_consumer, limit=queue_candles)
        self._curve = curve
        self._page_limit = page_limit
        self._request_timeout_ns = int((request_timeout or default_timeout_s(self._via)) * 1e9)
        self._transport = transport
        self._cache: Cache = NoCache()
        self._coordinator: Coordinator | None = None
        self._commands = CommandQueue(self._wake)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._callback = None if on_event is None else CallbackThread(self._queue, on_event)

    # --- life ------------------------------------------------------------------------------------------------------

    def start(self) -> LiveClient:
        """Open the cache and begin; the server may come later.

        Returns
        -------
        LiveClient
            Itself.

        Raises
        ------
        StoreLocked
            When another process holds ``data_dir``.
        StoreError
            When the cache cannot be opened.
        ConfigError
            For an address, keys or credentials that cannot be used, or when it was started before.
        """
        if self._coordinator is not None:
            raise ConfigError("A client starts once; make a new one.")
        cache: Cache = NoCache() if self._data_dir is None else CandleCache(self._data_dir)
        transport = self._transport
        try:
            transport = transport or open_transport(self._via, self._curve)
            coordinator = Coordinator(
                transport,
                cache,
                self._queue.put,
                clock_ns=time.monotonic_ns,
                random=random.random,
                forming=self._forming,
                ticks=self._ticks,
                page_limit=self._page_limit,
                request_timeout_ns=self._request_timeout_ns,
                max_requests=default_requests(self._via),
                is_durable=self._data_dir is not None,
            )
            for key in self._first_streams:
                coordinator.add(key, self._start_from)
            coordinator.connect(*self._endpoints)
        except BaseException:
            if transport is not None:
                transport.close()
            cache.close()
            raise
        self._transport, self._cache = transport, cache
        thread = threading.Thread(target=self._run, args=(coordinator, transport), name="fluxcap-client", daemon=True)
        thread.start()
        self._thread, self._coordinator = thread, coordinator  # only now is there somebody to obey
        if self._callback is not None:
            self._callback.start()
        return self

    def close(self) -> None:
        """End; what was emitted is stored. Idempotent. Events that wait can still be taken.

        ``on_event`` is called with what waits; one call that lasts 10 s is left to itself.
        """
        self._stopping.set()
        self._queue.close()
        if self._coordinator is not None:
            self._wake()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        if self._callback is not None:
            self._callback.join()

    def __enter__(self) -> LiveClient:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- commands --------------------------------------------------------------------------------------------------

    def subscribe(self, key: StreamKey, start_from: StartFrom | int | None = None) -> None:
        """Subscribe to one more stream.

        Parameters
        ----------
        key
            The stream.
        start_from
            As in the class; None: what the client was made with.

        Raises
        ------
        ConfigError
            For what is no stream or no start, and while the client does not run.
        StoreError
            When the cache cannot be read.
        """
        wanted = require_stream(key)
        start = self._start_from if start_from is None else require_start(start_from)
        self._command(lambda coordinator: coordinator.add(wanted, start))

    def unsubscribe(self, key: StreamKey) -> None:
        """Leave a stream. Its cache stays, so that a later ``subscribe`` resumes.

        Parameters
        ----------
        key
            The stream.

        Raises
        ------
        ConfigError
            For what is no stream, and while the client does not run.
        """
        wanted = require_stream(key)
        self._command(lambda coordinator: coordinator.remove(wanted))

    def reconnect(self, pub: str | None = None, rep: str | None = None) -> None:
        """Go to another server (or to the same again). If its store is another one, streams start over.

        Parameters
        ----------
        pub, rep
            As in the class; for a client of JetStream ``rep`` names its servers.

        Raises
        ------
        ConfigError
            For what is no address (the client has no server then), and while the client does not run.
        """
        target = self._addresses(pub, rep)
        self._command(lambda coordinator: coordinator.connect(*target))

    def _addresses(self, pub: str | None, rep: str | None) -> tuple[str, str]:
        pub, rep = require_address(pub), require_address(rep)
        if self._via is None:
            return endpoints(pub, rep)
        servers = rep or self._via.servers
        return servers, servers

    # --- what is known ---------------------------------------------------------------------------------------------

    def health(self, key: StreamKey) -> Health:
        """Return the health of a subscribed stream, with the age of its last update.

        Parameters
        ----------
        key
            The stream.

        Returns
        -------
        Health
            As of now.

        Raises
        ------
        ConfigError
            When the stream is not subscribed to.
        """
        health = None if self._coordinator is None else self._coordinator.health(key)
        if health is None:
            raise ConfigError(f"{key} is not subscribed to.")
        return health

    def cursor(self, key: StreamKey) -> Cursor | None:
        """Return up to where a stream is stored.

        Parameters
        ----------
        key
            The stream.

        Returns
        -------
        Cursor or None
            None before its first candle.
        """
        return self._cache.cursor(key)

    def candles(
        self, key: StreamKey, *, from_sequence_exclusive: int = 0, limit: int | None = None
    ) -> tuple[npt.NDArray[np.uint64], CandleArray]:
        """Return the cached candles in order.

        Parameters
        ----------
        key
            The stream.
        from_sequence_exclusive
            The sequence before the first one wanted.
        limit
            At most so many candles; None: all.

        Returns
        -------
        tuple
            ``(sequences, candles)``, both of shape ``(n,)``: uint64, and dtype ``CANDLE_DTYPE``.

        Raises
        ------
        ConfigError
            When the client has no cache.
        StoreError
            When the cache cannot be read.
        """
        return self._cache.candles(key, from_sequence_exclusive=from_sequence_exclusive, limit=limit)

    @property
    def counters(self) -> dict[str, int]:
        """Return counters by name: candles, revisions, duplicates, requests, failed_requests, garbled and others."""
        return {} if self._coordinator is None else dict(self._coordinator.counters)

    # --- three faces -----------------------------------------------------------------------------------------------

    def events(self, timeout: float | None = None) -> Iterator[Event]:
        """Iterate over events as they come, until the client is closed.

        Parameters
        ----------
        timeout
            Seconds without an event after which the iteration ends, too; None: never.

        Returns
        -------
        Iterator
            Of ``Event``.

        Raises
        ------
        StoreError
            When the cache cannot go on.
        ConfigError
            When the client was never started, so that nothing would ever come.
        """
        self._require_started()
        while True:
            event = self._queue.get(timeout)
            if event is None:
                return
            yield event

    async def stream(self) -> AsyncIterator[Event]:
        """Iterate over events as they come, for asyncio, until the client is closed.

        Returns
        -------
        AsyncIterator
            Of ``Event``.

        Raises
        ------
        StoreError, ConfigError
            As ``events``.
        """
        import asyncio  # a fifth of what importing the client would cost, for those who do not use it

        self._require_started()
        loop, ready = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed
                loop.call_soon_threadsafe(ready.set)

        self._queue.add_listener(tell)
        try:
            while True:
                ready.clear()
                while (event := self._queue.get(0)) is not None:
                    yield event
                if self._queue.is_closed:
                    return
                await ready.wait()
        finally:
            self._queue.remove_listener(tell)

    def _require_started(self) -> None:
        if self._coordinator is None and not self._stopping.is_set():
            raise ConfigError(_NOT_RUNNING)

    # --- threads ---------------------------------------------------------------------------------------------------

    def _run(self, coordinator: Coordinator, transport: Transport) -> None:
        error: BaseException | None = None
        try:
            while not self._stopping.is_set():
                self._commands.run_pending()
                if self._queue.wait_for_capacity():
                    coordinator.run_once()
        except BaseException as raised:
            error = raised
            level = logging.ERROR if isinstance(raised, FluxcapError) else logging.CRITICAL
            log.log(level, "the live client stops: %s", raised, exc_info=level == logging.CRITICAL)
        finally:
            self._stopping.set()
            with contextlib.ExitStack() as ending:  # from the last to the first, each even if one before it fails
                ending.callback(self._commands.close)
                ending.callback(self._queue.close, error)
                ending.callback(self._cache.close)
                ending.callback(transport.close)

    def _command(self, command: Callable[[Coordinator], None]) -> None:
        coordinator = self._coordinator
        if coordinator is None or self._stopping.is_set():
            raise ConfigError(_NOT_RUNNING)
        if threading.current_thread() is self._thread:
            raise ConfigError("This cannot be called from on_event: the client's thread would wait for itself.")
        self._commands.call(lambda: command(coordinator))

    def _wake(self) -> None:
        self._queue.wake_producer()
        if self._transport is not None:
            self._transport.wake()
