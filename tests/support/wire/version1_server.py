"""A server of version 1 as it exists in the field: generated code of its schema, REP and PUB sockets, no more.

It refuses what it does not know with an error, has no heartbeat, and answers each request once.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, Self

import numpy as np
import zmq

from fluxcap.schemas import types
from fluxcap.schemas.generated import market_data_v1 as v1
from fluxcap.schemas.types import CANDLE_DTYPE, CandleArray, CandleBatch, StreamKey
from tests.support.wire import generated_wire


class Version1Server:
    """One stream. ``publish`` may be told to lose what it numbers."""

    def __init__(self, key: StreamKey) -> None:
        self.key = key
        self.refused = 0
        self._rows = np.empty(0, CANDLE_DTYPE)
        self._lock = threading.Lock()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._feed = self._context.socket(zmq.PUB)
        self._feed.bind("tcp://127.0.0.1:0")
        self._requests = self._context.socket(zmq.REP)
        self._requests.bind("tcp://127.0.0.1:0")
        self.pub = _endpoint(self._feed)
        self.rep = _endpoint(self._requests)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._answer_all)
        self._thread.start()

    def publish(self, candles: CandleArray, *, lost: bool = False) -> None:
        with self._lock:
            start = len(self._rows) + 1
            self._rows = np.concatenate([self._rows, candles])
        if not lost:
            batch = CandleBatch(self.key, start, candles)
            self._feed.send_multipart([self.key.topic(), generated_wire.build(v1, batch)])

    def _answer_all(self) -> None:
        while not self._stop.is_set():
            if self._requests.poll(20):
                self._requests.send(self._answer(self._requests.recv()))

    def _answer(self, payload: bytes) -> bytes:
        envelope = v1.Envelope.GetRootAs(payload)
        correlation_id = (envelope.CorrelationId() or b"").decode()
        if envelope.SchemaVersion() != 1:
            self.refused += 1
            return generated_wire.build(v1, types.ErrorResponse(400, "unsupported schema version"), correlation_id)
        request: Any = generated_wire.read(v1, payload).message
        with self._lock:
            rows = self._rows
        if request.key != self.key:
            return generated_wire.build(v1, types.ErrorResponse(404, "unknown stream"), correlation_id)
        return generated_wire.build(v1, self._reply(request, rows), correlation_id)

    def _reply(self, request: Any, rows: CandleArray) -> types.Message:
        if isinstance(request, types.GetCursorRequest):
            return types.GetCursorResponse(self.key, len(rows), int(rows["ts_ms"][-1]) if len(rows) else 0)
        assert isinstance(request, types.BackfillCandlesRequest)
        after = request.from_sequence_exclusive or 0
        page = rows[after : after + (request.limit or 10_000)]
        following = after + len(page) + 1
        return types.BackfillCandlesResponse(self.key, after + 1, page, following <= len(rows), following)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._feed.close(linger=0)
        self._requests.close(linger=0)
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _endpoint(socket: zmq.Socket[bytes]) -> str:
    bound = socket.getsockopt(zmq.LAST_ENDPOINT)
    assert isinstance(bound, bytes)
    return bound.rstrip(b"\0").decode()
