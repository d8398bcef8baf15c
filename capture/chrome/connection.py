"""The one WebSocket to the browser: a thread that receives, stamps and hands over, and a thread-safe way to send.

The only importer of websocket-client. Knows nothing of CDP. A slow consumer blocks the reader; the browser then buffers
and nothing is lost.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable

import websocket

from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.schemas.errors import BrowserGone, ConsentRefused

IDLE_S = 0.2
"""After this long without a message ``on_idle`` is called, and again after each further while."""
READ_AHEAD_BYTES = 16_384
"""Of a backlog, each message costs a copy of what was read and is left: with four times as much nothing is won."""
CONNECT_TIMEOUT_S = 1.0
CLOSE_TIMEOUT_S = 2.0
HTTP_FORBIDDEN = 403


class Connection:
    """A browser connection that is open from construction until ``on_end``.

    Parameters
    ----------
    websocket_url
        From ``endpoint.probe``.
    on_message
        ``(message, stamp)`` for every message, in order, on the reader's thread: UTF-8 as it came. May block.
    on_end
        ``(reason)`` exactly once, on the reader's thread, when the connection has ended by itself or by ``close()``;
        nothing is called after it.
    on_idle
        ``(stamp)`` when nothing has arrived for 200 ms, and every 200 ms from then on. ``stamp.drained`` is True.
    open_socket
        A socket that is connected to the browser already. Then the handshake may take as long as the browser's user
        takes to answer a dialog; ``shutdown`` of the socket, from another thread, ends the waiting.
    wall_ns, mono_ns
        The clocks: UNIX epoch and monotonic nanoseconds.

    Raises BrowserGone when the connection cannot be made within a second, ConsentRefused when the user says no.
    """

    def __init__(
        self,
        websocket_url: str,
        on_message: Callable[[bytes, ArrivalTime], None],
        on_end: Callable[[str], None],
        on_idle: Callable[[ArrivalTime], None] | None = None,
        *,
        open_socket: socket.socket | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
        mono_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._on_message = on_message
        self._on_end = on_end
        self._on_idle = on_idle
        self._wall_ns = wall_ns
        self._mono_ns = mono_ns
        self._closing = threading.Event()
        try:
            self._socket = websocket.create_connection(
                websocket_url,
                timeout=CONNECT_TIMEOUT_S,
                suppress_origin=True,  # any Origin but the exact http://127.0.0.1:PORT is refused with 403
                skip_utf8_validation=True,  # 51 µs a message with it, 9 µs without
                enable_multithread=True,
                http_no_proxy=["*"],
                socket=open_socket,
                class_=_ReadingAhead,
            )
        except websocket.WebSocketBadStatusException as error:
            if open_socket is not None and error.status_code == HTTP_FORBIDDEN:
                raise ConsentRefused("The browser does not let fluxcap in.") from None
            raise BrowserGone(f"No DevTools connection to {websocket_url}: HTTP {error.status_code}.") from None
        except (websocket.WebSocketException, OSError, ValueError) as error:
            raise BrowserGone(f"No DevTools connection to {websocket_url}: {error}.") from None
        self._socket.settimeout(IDLE_S)
        raw = self._socket.sock
        assert raw is not None  # noqa: S101 - connected just now
        self._raw: socket.socket = raw
        self._reader = threading.Thread(target=self._run, name="fluxcap-chrome-reader", daemon=True)
        self._reader.start()

    @property
    def alive(self) -> bool:
        """Return whether the reader still runs."""
        return self._reader.is_alive()

    def send(self, text: str) -> None:
        """Send one message, from any thread. Raises BrowserGone when the connection has ended."""
        try:
            self._socket.send(text)
        except (websocket.WebSocketException, OSError) as error:
            self._hang_up()  # a message may be half out: nothing sensible can follow it
            raise BrowserGone(f"The connection to Chrome ended: {error}.") from None

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """End the connection and wait until ``on_end`` has returned. Does nothing the second time."""
        self._closing.set()
        self._hang_up()
        if threading.current_thread() is not self._reader:
            self._reader.join(timeout_s)

    def _hang_up(self) -> None:
        """Wake the reader, whatever it waits for; it closes the socket itself."""
        with contextlib.suppress(OSError):
            self._raw.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        reason = "closed by the browser"
        try:
            self._receive()
        except websocket.WebSocketConnectionClosedException:
            pass
        except (websocket.WebSocketException, OSError) as error:
            reason = f"connection broken: {error}"
        finally:
            self._socket.shutdown()  # type: ignore[no-untyped-call]
            self._on_end("closed" if self._closing.is_set() else reason)

    def _receive(self) -> None:
        receive, readable, ahead = self._socket.recv_data, _readable_now(self._raw), self._socket.frame_buffer
        wall_ns, mono_ns, on_message = self._wall_ns, self._mono_ns, self._on_message
        while not self._closing.is_set():
            try:
                opcode, data = receive()
            except websocket.WebSocketTimeoutException:  # a message half in is kept and completed later
                if self._on_idle is not None:
                    self._on_idle(ArrivalTime(wall_ns(), mono_ns(), True))
                continue
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return
            wall, mono = wall_ns(), mono_ns()
            on_message(data, ArrivalTime(wall, mono, not ahead.recv_buffer and not readable()))


class _ReadingAhead(websocket.WebSocket):
    """Takes what has arrived at once, where the library asks the system three times for each message.

    Its frame buffer keeps what is beyond the part that it wanted, for the next one.
    """

    def _recv(self, bufsize: int) -> bytes:
        return super()._recv(max(bufsize, READ_AHEAD_BYTES))  # type: ignore[no-any-return, no-untyped-call]


def _readable_now(sock: socket.socket) -> Callable[[], bool]:
    """Return a function that checks for bytes on the socket without waiting."""
    if hasattr(select, "poll"):  # select() fails on descriptors above 1023; Windows has no poll()
        poller = select.poll()
        poller.register(sock, select.POLLIN)
        return lambda: bool(poller.poll(0))
    return lambda: bool(select.select([sock], [], [], 0)[0])
