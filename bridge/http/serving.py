"""Bounds of what a local web server takes from its peers: bodies, heads and connections, in size and in time.

uvicorn bounds none of them: a peer that connects and says nothing, or begins a request and never ends it, would hold a
file descriptor for ever, and capture needs those, too. ``server_config`` makes a configuration with the bounds in it,
``BoundedServer`` a server whose answers without end do not hold up its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from fluxcap.bridge.http.origin import App, Receive, Scope, Send

if TYPE_CHECKING:
    from fastapi import FastAPI

MAX_BODY_BYTES = 4 * 1024 * 1024
"""Body of a request, or a message over WebSocket: three times 10,000 collected candles."""
MAX_HEAD_BYTES = 64 * 1024
MAX_CONNECTIONS = 500
"""Half of the file descriptors that a process usually has."""
HEAD_TIMEOUT_S = 10.0
"""From a connection, or from the first byte of a further request, to the end of its headers."""
BODY_TIMEOUT_S = 30.0
DATE_S = 1.0
_ABORT = "fluxcap.abort"
_ENDINGS = "before_shutdown"
_TOO_LARGE = b'{"error": "The request is larger than 4 MiB."}'


class BodyLimit:
    """Answers a request whose body is longer than ``MAX_BODY_BYTES`` with 413, also when it did not say so before."""

    def __init__(self, app: App, max_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = max((int(value) for value in _lengths(scope)), default=0)
        if declared > self._max_bytes:
            await _refuse(send)
            return
        received, is_refused = 0, False

        async def receive_bounded() -> MutableMapping[str, Any]:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise _BodyTooLarge
            return message

        async def send_instead(message: MutableMapping[str, Any]) -> None:
            # Frameworks make a 400 of their own of whatever is raised while a body is read.
            nonlocal is_refused
            if received <= self._max_bytes:
                await send(message)
            elif not is_refused:
                is_refused = True
                await _refuse(send)

        try:
            await self._app(scope, receive_bounded, send_instead)
        except _BodyTooLarge:
            await send_instead({})


class _BodyTooLarge(Exception):
    """Never leaves ``BodyLimit``."""


def _lengths(scope: Scope) -> list[bytes]:
    return [value for name, value in scope["headers"] if name.lower() == b"content-length" and value.isdigit()]


async def _refuse(send: Send) -> None:
    # The connection stays, and what is still on its way is read and dropped: ended at once, it would be reset, and the
    # peer would never see the answer.
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(_TOO_LARGE)).encode())]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": _TOO_LARGE})


class BoundedProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """uvicorn's HTTP protocol with an end to waiting: for the head of a request, and for its body."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._waiting: asyncio.TimerHandle | None = None
        self._awaited: object = None
        """The request whose body is awaited; None: a head is."""
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
        else:
            self._wait(None, HEAD_TIMEOUT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        is_head = before is None or not before.more_body
        super().data_received(data)
        if self.cycle is not None and self.cycle is not before:
            # The application has not begun yet: its task comes later.
            self.cycle.scope.setdefault("extensions", {})[_ABORT] = self.transport.abort
        if self not in self.connections:  # a WebSocket by now, which has its own pings
            self._stop_waiting()
            return
        cycle = self.cycle
        self._head_bytes = self._head_bytes + len(data) if is_head and cycle is before else 0
        if self._head_bytes > MAX_HEAD_BYTES:
            self.transport.abort()
        elif cycle is not None and cycle.more_body:
            self._wait(cycle, BODY_TIMEOUT_S)
        elif cycle is not before or (cycle is not None and not cycle.response_complete):
            self._stop_waiting()
        else:
            self._wait(None, HEAD_TIMEOUT_S)

    def _wait(self, awaited: object, timeout_s: float) -> None:
        """Give this head or body so long, unless its time runs already."""
        if self._waiting is not None and self._awaited is awaited:
            return
        self._stop_waiting()
        self._awaited = awaited
        self._waiting = self.loop.call_later(timeout_s, self._give_up)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        self._waiting = None

    def _give_up(self) -> None:
        self._waiting = None
        if self in self.connections and not self.transport.is_closing():
            self.transport.abort()


def abort_of(scope: Scope) -> Callable[[], None]:
    """Return what cuts the connection of a request, for an answer that its reader does not take."""
    extensions = scope.get("extensions") or {}
    abort: Callable[[], None] = extensions.get(_ABORT, lambda: None)
    return abort


def before_shutdown(app: FastAPI, callback: Callable[[], None]) -> None:
    """Have something called as the server of ``app`` is stopping, before it waits for what is under way."""
    if not hasattr(app.state, _ENDINGS):
        setattr(app.state, _ENDINGS, [])
    getattr(app.state, _ENDINGS).append(callback)


class BoundedServer(uvicorn.Server):
    """uvicorn's server, which calls what ``before_shutdown`` was given; feeds without end would hold it up.

    uvicorn looks ten times a second whether it is to end. This one is told, and wakes once a second, for the date of
    its answers.
    """

    def __init__(self, app: Any, config: uvicorn.Config) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_to_exit = False
        self._exit_asked = asyncio.Event()
        super().__init__(config)
        self._app = app

    @property
    def should_exit(self) -> bool:
        """Return whether it is to end; may be set from any thread, and by a signal."""
        return self._is_to_exit

    @should_exit.setter
    def should_exit(self, is_to_exit: bool) -> None:
        self._is_to_exit = is_to_exit
        if is_to_exit and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._exit_asked.set)

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._exit_asked.wait(), DATE_S)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for callback in getattr(getattr(self._app, "state", None), _ENDINGS, ()):
            await asyncio.to_thread(callback)
        await super().shutdown(sockets)


def server_config(app: Any, **options: Any) -> uvicorn.Config:
    """A configuration for ``app`` with the bounds of this module. ``options``: as ``uvicorn.Config`` takes them."""
    given: dict[str, Any] = {"log_level": "warning", "access_log": False, "ws": "websockets-sansio"} | options
    return uvicorn.Config(BodyLimit(app), http=BoundedProtocol, ws_max_size=MAX_BODY_BYTES, **given)
