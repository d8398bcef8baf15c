"""What the tests of the server side share: sample candles, and a plain pyzmq client."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

import zmq

from fluxcap.bridge.transport.curve import ClientCurve
from fluxcap.schemas.codec import decode, encode
from fluxcap.schemas.types import Candle, CandleArray, Envelope, Message, StreamKey, candle_array
from tests.support.patience import PATIENCE_MS

EURUSD = StreamKey("SIM", "EURUSD_otc", "1m")
GBPUSD = StreamKey("SIM", "GBPUSD_otc", "1m")
MINUTE = 60_000
ANY_PORT = "tcp://127.0.0.1:0"
"""How long a test waits for what must come; long, so that no slow machine fails it."""


def candle(minute: int, close: float = 1.5, flags: int = 0) -> Candle:
    """The candle of the n-th minute, n >= 1."""
    return Candle(minute * MINUTE, 1.0, max(2.0, close), min(0.5, close), close, 10.0, 10, flags)


def candles(first: int, count: int) -> list[Candle]:
    """Consecutive minutes, each with a close of its own."""
    return [candle(minute, 1.0 + minute % 997 / 1000) for minute in range(first, first + count)]


def candle_rows(first: int, count: int) -> CandleArray:
    return candle_array(candles(first, count))


def minutes(array: CandleArray) -> list[int]:
    """Which minutes an array holds."""
    return [int(ts_ms) // MINUTE for ts_ms in array["ts_ms"]]


class PlainClient:
    """A REQ socket, or a DEALER, as any program might open one."""

    def __init__(
        self, endpoint: str, kind: int = zmq.REQ, curve: ClientCurve | None = None, receive_buffer: int | None = None
    ) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(kind)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVTIMEO, PATIENCE_MS)
        self.socket.setsockopt(zmq.SNDTIMEO, PATIENCE_MS)
        if receive_buffer is not None:
            self.socket.setsockopt(zmq.RCVHWM, 1)
            self.socket.setsockopt(zmq.RCVBUF, receive_buffer)
        if curve is not None:
            curve.secure(self.socket)
        self.socket.connect(endpoint)

    def ask(self, message: Message, correlation_id: str = "") -> Message:
        """The answer to one request, through a REQ socket."""
        return self.ask_raw(encode(message, correlation_id)).message

    def ask_raw(self, payload: bytes) -> Envelope:
        self.socket.send(payload)
        return decode(self.socket.recv())

    def answers_within(self, timeout_ms: int) -> bool:
        return bool(self.socket.poll(timeout_ms))

    def close(self) -> None:
        self.socket.close(linger=0)
        self._context.term()

    def __enter__(self) -> PlainClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def subscribed(
    endpoint: str,
    topics: Sequence[bytes] = (b"",),
    curve: ClientCurve | None = None,
    receive_buffer: int | None = None,
) -> Iterator[zmq.Socket[bytes]]:
    """A SUB socket that is connected; whether its subscription has arrived is for the caller to find out."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.SUB)
    try:
        socket.setsockopt(zmq.RCVTIMEO, PATIENCE_MS)
        socket.setsockopt(zmq.RCVHWM, 0 if receive_buffer is None else 1)
        if receive_buffer is not None:
            socket.setsockopt(zmq.RCVBUF, receive_buffer)
        if curve is not None:
            curve.secure(socket)
        for topic in topics:
            socket.setsockopt(zmq.SUBSCRIBE, topic)
        socket.connect(endpoint)
        yield socket
    finally:
        socket.close(linger=0)
        context.term()
