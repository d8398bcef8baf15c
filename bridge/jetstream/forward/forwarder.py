"""The forwarder: every committed batch and revision of a store, in order, once, on the log, however long that is away.

A thread of its own. It never holds up who feeds the store: it is told that there is something new, and takes it from
the store when it can. Connections are made anew for ever; see forward_session.py for what happens on one of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from fluxcap.bridge.jetstream.address import LogAddress
from fluxcap.bridge.jetstream.connection import CLOSE_TIMEOUT_S, close_connection, open_connection, require_nats
from fluxcap.bridge.jetstream.event_loop import LoopThread
from fluxcap.bridge.jetstream.forward.checkpoint import ForwardMemory
from fluxcap.bridge.jetstream.forward.session import ForwardSession
from fluxcap.bridge.jetstream.forward.source import ForwardSource
from fluxcap.bridge.jetstream.forward.status import ForwardState, ForwardView, Notice, Tell
from fluxcap.bridge.jetstream.forward.stream_state import ForwardLane, LaneState
from fluxcap.bridge.jetstream.publisher import ACK_TIMEOUT_S, LogWriter
from fluxcap.bridge.jetstream.stream import LogAccess
from fluxcap.bridge.jetstream.subjects import STREAM_NAME
from fluxcap.bridge.transport.backoff import Backoff
from fluxcap.schemas.errors import ConfigError, LogError, LogUnavailable, StoreError
from fluxcap.schemas.types import StreamStatus

LEAVE_S = 0.5
"""How long ``stop`` waits for answers that are under way."""
REFUSED_WAIT_S = 5.0


class Forwarder:
    """See the module. ``start``, ``stop``; ``view`` tells how it goes.

    Parameters
    ----------
    source
        What to forward; it is begun and closed here.
    address
        Where the log is.
    data_dir
        Where what is known to be on the log is remembered; None: nowhere.
    stream
        Name of the JetStream stream.
    tell
        Told of what a log of events should have; on the forwarder's thread.

    Raises ConfigError where nats-py is missing.
    """

    def __init__(
        self,
        source: ForwardSource,
        address: LogAddress,
        data_dir: Path | None = None,
        *,
        stream: str = STREAM_NAME,
        tell: Tell = lambda notice, fields: None,
    ) -> None:
        require_nats()
        self._source = source
        self._address = address
        self._stream = stream
        self._tell = tell
        self._backoff = Backoff(random.random, base_ns=250_000_000, cap_ns=5_000_000_000)
        self._memory = ForwardMemory(data_dir)
        self._counters: Counter[str] = Counter()
        self._session: ForwardSession | None = None
        self._loop: LoopThread | None = None
        self._ended = threading.Event()
        self._stop_asked: asyncio.Event | None = None
        self._changed = threading.Condition()
        self._state = ForwardState.CONNECTING
        self._reason = ""

    # --- from other threads ---------------------------------------------------------------------------------------

    def start(self) -> Forwarder:
        """Returns itself at once, whether or not the log can be reached. Raises what the source's ``start`` raises."""
        self._source.begin(self._news)
        self._loop = LoopThread("forwarder")
        self._loop.start(self._life())
        return self

    def stop(self) -> None:
        """Let what is under way be answered, for half a second at most, remember it, and leave. Idempotent."""
        if self._loop is not None and not self._ended.is_set():
            with contextlib.suppress(RuntimeError):
                self._loop.loop.call_soon_threadsafe(self._ask_to_stop)
            self._ended.wait(LEAVE_S + CLOSE_TIMEOUT_S)
        if self._loop is not None:
            self._loop.close()
        self._source.close()
        self._enter(ForwardState.STOPPED)

    def view(self) -> ForwardView:
        """Return the current state."""
        lanes, session = dict(self._memory.lanes), self._session
        behind = (self._behind(lanes.get(key), status) for key, status in dict(self._source.statuses()).items())
        return ForwardView(
            state=self._state,
            reason=self._reason,
            log=str(self._address),
            stream=self._stream,
            streams=len(lanes),
            behind=sum(behind),
            held={str(lane.key): lane.reason for lane in lanes.values() if lane.reason},
            source_trouble=self._source.trouble or (session.source_trouble if session is not None else ""),
            counters=dict(self._counters),
        )

    def await_view(self, condition: Callable[[ForwardView], bool], timeout_s: float) -> ForwardView:
        """The first view for which the condition holds, or the newest when the time is over."""
        found = self.view()

        def holds() -> bool:
            nonlocal found
            found = self.view()
            return condition(found)

        with self._changed:
            self._changed.wait_for(holds, timeout_s)
        return found

    def _news(self) -> None:
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

    def _ask_to_stop(self) -> None:
        if self._stop_asked is not None:
            self._stop_asked.set()
        if self._session is not None:
            self._session.stop()

    async def _life(self) -> None:
        self._stop_asked = asyncio.Event()
        failures = 0
        try:
            while not self._stop_asked.is_set():
                try:
                    await self._connect_and_forward()
                    failures = 0
                    continue
                except LogUnavailable as error:
                    failures = 1 if self._state.is_connected else failures + 1
                    self._trouble(ForwardState.AWAY, str(error))
                except (LogError, ConfigError) as error:
                    self._trouble(ForwardState.REFUSED, str(error))
                except Exception as error:
                    failures += 1
                    self._tell(Notice.FAILED, {"reason": f"{type(error).__name__}: {error}"})
                    self._enter(ForwardState.AWAY, "internal error")
                refused = self._state is ForwardState.REFUSED
                await self._pause(REFUSED_WAIT_S if refused else self._backoff.wait_ns(max(failures, 1)) / 1e9)
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
                session.lost()

        def on_error(error: Exception) -> None:
            for session in sessions:
                session.told(error)

        client = await open_connection(self._address, "fluxcap forward", on_lost, on_error)
        try:
            self._memory.meet(self._stream, (await LogAccess(client, self._stream).state()).created)
            access = LogAccess(client, self._stream, timeout_s=ACK_TIMEOUT_S)  # hundreds are asked at once
            writer = LogWriter(client)
            await writer.open()
            session = ForwardSession(writer, access, self._source, self._memory, self._counters, self._tell)
            sessions.append(session)
            self._session = session
            if client.is_closed:
                session.lost()
            self._tell(Notice.FORWARDING, {"log": str(self._address), "stream": self._stream})
            await self._run(session)
        finally:
            self._session = None
            await close_connection(client)

    async def _run(self, session: ForwardSession) -> None:
        """Until lost or stopped; what is under way at a stop is given ``LEAVE_S``."""
        assert self._stop_asked is not None  # noqa: S101
        if self._stop_asked.is_set():
            return
        running = asyncio.create_task(session.run(self._look))
        asked = asyncio.create_task(self._stop_asked.wait())
        try:
            await asyncio.wait({running, asked}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({running}, timeout=LEAVE_S)
        finally:
            asked.cancel()
            running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    # --- what is told and remembered --------------------------------------------------------------------------------

    def _look(self) -> None:
        session, lanes = self._session, self._memory.lanes
        waits = any(lane.state is not LaneState.BLOCKED and lane.behind(lane.store) for lane in lanes.values())
        busy = waits or (session is not None and not session.idle) or bool(self._source.trouble)
        self._enter(ForwardState.CATCHING_UP if busy else ForwardState.CURRENT)
        self._save()

    def _trouble(self, state: ForwardState, reason: str) -> None:
        if (state, reason) != (self._state, self._reason):
            notice = Notice.REFUSED if state is ForwardState.REFUSED else Notice.AWAY
            self._tell(notice, {"reason": reason})
        self._enter(state, reason)

    def _enter(self, state: ForwardState, reason: str = "") -> None:
        """The one place where the state changes."""
        with self._changed:
            self._state, self._reason = state, reason
            self._changed.notify_all()

    @staticmethod
    def _behind(lane: ForwardLane | None, store: StreamStatus) -> int:
        return (lane or ForwardLane(store.key)).behind(store)

    def _save(self, *, now: bool = False) -> None:
        try:
            self._memory.save(now=now)
        except StoreError as error:
            self._tell(Notice.CURSOR_UNWRITTEN, {"reason": str(error)})
