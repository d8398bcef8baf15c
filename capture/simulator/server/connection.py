"""The server's sockets: HTTP/1.1 for the page and the controls, WebSocket for the sessions, on one port.

Framing, masking and the handshakes of WebSocket are those of ``websockets``; this file moves the bytes. One
HTTP request a connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import SplitResult, urlsplit

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from fluxcap.capture.simulator.server.outlet import FlowControl, FrameWriter
from fluxcap.capture.simulator.server.sessions import EngineSession

_MAX_REQUEST_BYTES = 64 * 1024
_MAX_CLIENT_FRAME_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response of a route."""

    body: bytes
    content_type: str = "application/json"
    status: HTTPStatus = HTTPStatus.OK


@dataclass(frozen=True, slots=True)
class Routes:
    """The server's callbacks: a response for HTTP, a session for a WebSocket path (None refuses with 503)."""

    http: Callable[[str, SplitResult, bytes], HttpResponse]
    valve: Callable[[SplitResult], FlowControl | None]
    session: Callable[[SplitResult, FrameWriter, Callable[[int], None]], EngineSession]
    date: Callable[[], str | None]
    """The time for a ``Date`` header; None for none."""


class SiteConnection(asyncio.Protocol):
    """One TCP connection: an HTTP request, or a WebSocket for its life."""

    def __init__(self, routes: Routes, open_connections: set[SiteConnection]) -> None:
        self._routes = routes
        self._open_connections = open_connections
        self._received = b""
        self._websocket: ServerProtocol | None = None
        self._session: EngineSession | None = None
        self._fragments: list[bytes] = []
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream server makes no other
        self._transport = transport
        self._open_connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open_connections.discard(self)
        if self._session is not None:
            self._session.closed()
            self._session = None

    def abort(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._websocket is not None:
            self._receive_frames(data)
            return
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            if len(self._received) > _MAX_REQUEST_BYTES or self._received[:1] == b"\x16":  # a TLS hello
                self._transport.abort()
            return
        headers = _headers(head)
        if headers.get("upgrade", "").lower() == "websocket":
            self._upgrade(self._received)
        elif len(body) >= _content_length(headers):
            self._answer(head, body)

    # --- HTTP -------------------------------------------------------------------------------------------------------

    def _answer(self, head: bytes, body: bytes) -> None:
        method, _, rest = head.split(b"\r\n", 1)[0].decode("latin-1").partition(" ")
        response = self._routes.http(method, urlsplit(rest.rpartition(" ")[0]), body)
        lines = [
            f"HTTP/1.1 {response.status.value} {response.status.phrase}",
            f"Content-Type: {response.content_type}",
            f"Content-Length: {len(response.body)}",
            "Cache-Control: no-store",
            "Connection: close",
        ]
        if (date := self._routes.date()) is not None:
            lines.append(f"Date: {date}")
        payload = b"" if method == "HEAD" else response.body
        self._transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + payload)
        self._transport.close()

    # --- WebSocket --------------------------------------------------------------------------------------------------

    def _upgrade(self, request: bytes) -> None:
        self._websocket = ServerProtocol(max_size=_MAX_CLIENT_FRAME_BYTES)
        self._receive_frames(request)

    def _receive_frames(self, data: bytes) -> None:
        assert self._websocket is not None  # noqa: S101 - for the type checker
        self._websocket.receive_data(data)
        for event in self._websocket.events_received():
            if isinstance(event, Request):
                self._handshake(event)
            elif isinstance(event, Frame):
                self._frame(event)
        self._write_out()

    def _handshake(self, request: Request) -> None:
        assert self._websocket is not None  # noqa: S101
        url = urlsplit(request.path)
        valve = self._routes.valve(url)
        if valve is None:
            self._websocket.send_response(self._websocket.reject(HTTPStatus.SERVICE_UNAVAILABLE, "Not now.\n"))
            return
        response = self._websocket.accept(request)
        del response.headers["Date"]
        if (date := self._routes.date()) is not None:
            response.headers["Date"] = date
        self._websocket.send_response(response)
        self._write_out()
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            self._session = self._routes.session(url, FrameWriter(self._transport, valve), self._close)
            self._session.opened()

    def _frame(self, frame: Frame) -> None:
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        self._fragments.append(bytes(frame.data))
        if frame.fin:
            message, self._fragments = b"".join(self._fragments), []
            if self._session is not None:
                self._session.received(message.decode("utf-8", errors="replace"))

    def _close(self, code: int) -> None:
        assert self._websocket is not None  # noqa: S101
        if not self._transport.is_closing() and self._websocket.state.name == "OPEN":
            self._websocket.send_close(code)
            self._write_out()

    def _write_out(self) -> None:
        assert self._websocket is not None  # noqa: S101
        for chunk in self._websocket.data_to_send():
            if chunk:
                self._transport.write(chunk)
            else:
                self._transport.close()

    def eof_received(self) -> bool:
        if self._websocket is not None:
            self._websocket.receive_eof()
        return False


def _headers(head: bytes) -> dict[str, str]:
    headers = {}
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return headers


def _content_length(headers: dict[str, str]) -> int:
    length = headers.get("content-length", "0")
    return int(length) if length.isdecimal() else 0
