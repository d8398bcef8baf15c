"""The forwarder: every committed batch and revision of a store, in order, once, on JetStream, whatever NATS does.

A thread of its own. It never holds up who feeds the store: it is notified of something new, and takes it from the
store when it can. Connections are recreated forever; see session.py for what happens on one of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from fluxcap.bridge.jetstream.address import NatsAddress
from fluxcap.bridge.jetstream.connection import CLOSE_TIMEOUT_S, close_connection, open_connection, require_nats
from fluxcap.bridge.jetstream.event_loop import EventLoopThread
from fluxcap.bridge.jetstream.forward.checkpoint import ForwardCheckpoint
from fluxcap.bridge.jetstream.forward.session import ForwardSession
from fluxcap.bridge.jetstream.forward.source import ForwardSource
from fluxcap.bridge.jetstream.forward.status import ForwardEvent, ForwardState, ForwardStatus, OnForwardEvent
from fluxcap.bridge.jetstream.forward.stream_state import ForwardPhase, StreamForwardState
from fluxcap.bridge.jetstream.publisher import ACK_TIMEOUT_S, AsyncPublisher
from fluxcap.bridge.jetstream.stream import JetStreamApi
from fluxcap.bridge.jetstream.subjects import STREAM_NAME
from fluxcap.bridge.transport.backoff import Backoff
from fluxcap.schemas.errors import ConfigError, NatsError, NatsUnavailable, StoreError
from fluxcap.schemas.types import StreamStatus

DRAIN_S = 0.5
"""How long ``stop`` waits for answers that are under way."""
REJECTED_WAIT_S = 5.0


class Forwarder:
    """See the module. ``start``, ``stop``; ``view`` tells how it goes.

    Parameters
    ----------
    source
        What to forward; it is begun and closed here.
    address
        Where JetStream is.
    data_dir
        Where what is known to be on JetStream is remembered; None: nowhere.
    stream
        Name of the JetStream stream.
    on_event
        Called with what the log should have; on the forwarder's thread.

    Raises ConfigError where nats-py is missing.
    """

    def __init__(
        self,
        source: ForwardSource,
        address: NatsAddress,
        data_dir: Path | None = None,
        *,
        stream: str = STREAM_NAME,
        on_event: OnForwardEvent = lambda notice, fields: None,
    ) -> None:
        require_nats()
        self._source = source
        self._address = address
        self._stream = stream
        self._emit = on_event
        self._backoff = Backoff(random.random, base_ns=250_000_000, cap_ns=5_000_000_000)
        self._checkpoint = ForwardCheckpoint(data_dir)
        self._counters: Counter[str] = Counter()
        self._session: ForwardSession | None = None
        self._loop: EventLoopThread | None = None
        self._ended = threading.Event()
        self._stop_asked: asyncio.Event | None = None
        self._changed = threading.Condition()
        self._state = ForwardState.CONNECTING
        self._reason = ""

    # --- from other threads ---------------------------------------------------------------------------------------

    def start(self) -> Forwarder:
        """Return itself at once, whether or not NATS can be reached. Raises what the source's ``start`` raises."""
        self._source.start(self._notify)
        self._loop = EventLoopThread("forwarder")
        self._loop.start(self._run())
        return self

    def stop(self) -> None:
        """Let what is under way be answered, for half a second at most, remember it, and leave. Idempotent."""
        if self._loop is not None and not self._ended.is_set():
            with contextlib.suppress(RuntimeError):
                self._loop.loop.call_soon_threadsafe(self._request_stop)
            self._ended.wait(DRAIN_S + CLOSE_TIMEOUT_S)
        if self._loop is not None:
            self._loop.close()
        self._source.close()
        self._enter(ForwardState.STOPPED)

    def view(self) -> ForwardStatus:
        """Return the current state."""
        streams, session = dict(self._checkpoint.streams), self._session
        behind = (self._behind(streams.get(key), status) for key, status in dict(self._source.statuses()).items())
        return ForwardStatus(
            state=self._state,
            reason=self._reason,
            server=str(self._address),
            stream=self._stream,
            streams=len(streams),
            behind=sum(behind),
            blocked_streams={str(stream.key): stream.reason for stream in streams.values() if stream.reason},
            source_error=self._source.error or (session.source_error if session is not None else ""),
            counters=dict(self._counters),
        )

    def await_view(self, condition: Callable[[ForwardStatus], bool], timeout_s: float) -> ForwardStatus:
        """The first view for which the condition holds, or the newest when the time is over."""
        found = self.view()

        def holds() -> bool:
            nonlocal found
            found = self.view()
            return condition(found)

        with self._changed:
            self._changed.wait_for(holds, timeout_s)
        return found

    def _notify(self) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it is stopping
                loop.loop.call_soon_threadsafe(self._wake)

    def __enter__(self) -> Forwarder:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- on the loop ----------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        if self._session is not None:
            self._session.wake()

    def _request_stop(self) -> None:
        if self._stop_asked is not None:
            self._stop_asked.set()
        if self._session is not None:
            self._session.stop()

    async def _run(self) -> None:
        self._stop_asked = asyncio.Event()
        failures = 0
        try:
            while not self._stop_asked.is_set():
                try:
                    await self._connect_and_forward()
                    failures = 0
                    continue
                except NatsUnavailable as error:
                    failures = 1 if self._state.is_connected else failures + 1
                    self._report_error(ForwardState.UNAVAILABLE, str(error))
                except (NatsError, ConfigError) as error:
                    self._report_error(ForwardState.REJECTED, str(error))
                except Exception as error:
                    failures += 1
                    self._emit(ForwardEvent.FAILED, {"reason": f"{type(error).__name__}: {error}"})
                    self._enter(ForwardState.UNAVAILABLE, "internal error")
                refused = self._state is ForwardState.REJECTED
                await self._pause(REJECTED_WAIT_S if refused else self._backoff.wait_ns(max(failures, 1)) / 1e9)
        finally:
            self._save(now=True)
            self._ended.set()

    async def _pause(self, seconds: float) -> None:
        assert self._stop_asked is not None  # noqa: S101
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop_asked.wait()

    async def _connect_and_forward(self) -> None:
        sessions: list[ForwardSession] = []

        def on_lost() -> None:
            for session in sessions:
                session.on_disconnected()

        def on_error(error: Exception) -> None:
            for session in sessions:
                session.on_server_error(error)

        client = await open_connection(self._address, "fluxcap forward", on_lost, on_error)
        try:
            self._checkpoint.bind_stream(self._stream, (await JetStreamApi(client, self._stream).state()).created)
            access = JetStreamApi(client, self._stream, timeout_s=ACK_TIMEOUT_S)  # hundreds are asked at once
            writer = AsyncPublisher(client)
            await writer.open()
            session = ForwardSession(writer, access, self._source, self._checkpoint, self._counters, self._emit)
            sessions.append(session)
            self._session = session
            if client.is_closed:
                session.on_disconnected()
            self._emit(ForwardEvent.FORWARDING, {"log": str(self._address), "stream": self._stream})
            await self._run_session(session)
        finally:
            self._session = None
            await close_connection(client)

    async def _run_session(self, session: ForwardSession) -> None:
        """Until lost or stopped; what is under way at a stop is given ``DRAIN_S``."""
        assert self._stop_asked is not None  # noqa: S101
        if self._stop_asked.is_set():
            return
        running = asyncio.create_task(session.run(self._on_poll))
        asked = asyncio.create_task(self._stop_asked.wait())
        try:
            await asyncio.wait({running, asked}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({running}, timeout=DRAIN_S)
        finally:
            asked.cancel()
            running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    # --- events and checkpoint --------------------------------------------------------------------------------------

    def _on_poll(self) -> None:
        session, streams = self._session, self._checkpoint.streams
        waits = any(
            stream.state is not ForwardPhase.BLOCKED and stream.behind(stream.store) for stream in streams.values()
        )
        busy = waits or (session is not None and not session.idle) or bool(self._source.error)
        self._enter(ForwardState.CATCHING_UP if busy else ForwardState.UP_TO_DATE)
        self._save()

    def _report_error(self, state: ForwardState, reason: str) -> None:
        if (state, reason) != (self._state, self._reason):
            notice = ForwardEvent.REJECTED if state is ForwardState.REJECTED else ForwardEvent.UNAVAILABLE
            self._emit(notice, {"reason": reason})
        self._enter(state, reason)

    def _enter(self, state: ForwardState, reason: str = "") -> None:
        """The one place where the state changes."""
        with self._changed:
            self._state, self._reason = state, reason
            self._changed.notify_all()

    @staticmethod
    def _behind(stream: StreamForwardState | None, store: StreamStatus) -> int:
        return (stream or StreamForwardState(store.key)).behind(store)

    def _save(self, *, now: bool = False) -> None:
        try:
            self._checkpoint.save(now=now)
        except StoreError as error:
            self._emit(ForwardEvent.CHECKPOINT_FAILED, {"reason": str(error)})
