"""A client of the trading server for the tests: signs in as the page does and keeps what it is sent.

Written without the product's own decoding, so that it can be held against it.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from fluxcap.capture.simulator import Secrets
from tests.support.patience import PATIENCE_S


class MarketClient:
    """One socket. ``events`` are (name, data) in the order of arrival, ``ticks`` (symbol, raw ms, price)."""

    def __init__(self, port: int, *, session: str = Secrets().session, path: str = "/socket.io/") -> None:
        url = f"ws://127.0.0.1:{port}{path}?EIO=4&transport=websocket"
        self.events: list[tuple[str, Any]] = []
        self.packets: list[str | bytes] = []
        self.arrivals_s: list[float] = []
        """Wall-clock time of each of ``ticks``."""
        self.ticks: list[tuple[str, int, float]] = []
        self.answer_pings = True
        self._pending: str | None = None
        self._stack = ExitStack()
        self._socket = self._stack.enter_context(
            connect(url, max_size=None, max_queue=None, compression=None, proxy=None, ping_interval=None)
        )
        self._socket.send("40")
        if path == "/socket.io/":
            self.emit("auth", {"session": session, "isDemo": 1})

    def emit(self, name: str, *data: Any) -> None:
        self._socket.send("42" + json.dumps([name, *data]))

    def receive(self, timeout_s: float = PATIENCE_S) -> None:
        """Take one frame. Raises TimeoutError, ConnectionClosed."""
        frame = self._socket.recv(timeout=timeout_s)
        self.packets.append(frame)
        if isinstance(frame, bytes):
            name, self._pending = self._pending, None
            if name is not None:
                self._event(name, json.loads(frame))
        elif frame == "2":
            if self.answer_pings:
                self._socket.send("3")
        elif frame.startswith("451-"):
            self._pending = json.loads(frame[4:])[0]
        elif frame.startswith("42"):
            name, *data = json.loads(frame[2:])
            self._event(name, *data[:1])

    def _event(self, name: str, data: Any = None) -> None:
        self.events.append((name, data))
        if name == "updateStream":
            for symbol, seconds, price in data:
                self.ticks.append((symbol, round(seconds * 1000), price))
                self.arrivals_s.append(time.time())

    def await_event(self, name: str, timeout_s: float = PATIENCE_S) -> Any:
        """Data of the next event of that name from now on."""
        seen = len(self.events)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self.receive(max(0.01, deadline - time.monotonic()))
            for other, data in self.events[seen:]:
                if other == name:
                    return data
        raise TimeoutError(f"no {name} in {timeout_s} s; {[event for event, _ in self.events]}")

    def await_ticks(self, count: int, timeout_s: float = PATIENCE_S) -> list[tuple[str, int, float]]:
        """The next ``count`` ticks from now on."""
        begin = len(self.ticks)
        deadline = time.monotonic() + timeout_s
        while len(self.ticks) < begin + count:
            self.receive(max(0.01, deadline - time.monotonic()))
        return self.ticks[begin:]

    def drain(self, seconds: float) -> None:
        """Take all that comes for so long."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                self.receive(left)
            except TimeoutError:
                return

    def await_close(self, timeout_s: float = PATIENCE_S) -> int | None:
        """The close code, once the server has closed; None if it did so without one."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self.receive(max(0.01, deadline - time.monotonic()))
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else None

    def names(self) -> list[str]:
        return [name for name, _data in self.events]

    def close(self) -> None:
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
