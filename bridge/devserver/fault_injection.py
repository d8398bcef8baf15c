"""Publisher and answers of the real server with a fault gate in front of the network. Nothing else differs."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from typing import Any

import zmq

from fluxcap.bridge.devserver.faults import FaultInjector
from fluxcap.bridge.server.publisher import Publisher
from fluxcap.bridge.server.requests import RequestHandler
from fluxcap.bridge.transport.curve import ServerCurve
from fluxcap.schemas.codec import decode, encode
from fluxcap.schemas.errors import CodecError
from fluxcap.schemas.types import (
    BackfillCandlesRequest,
    BackfillCandlesResponse,
    ErrorResponse,
    Message,
    RevisionsRequest,
    RevisionsResponse,
    StreamKey,
)


class FaultyPublisher(Publisher):
    """A publisher whose delayed messages wait until ``release``; those still waiting at ``close`` are lost."""

    def __init__(
        self,
        gate: FaultInjector,
        clock_ns: Callable[[], int],
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        curve: ServerCurve | None = None,
    ) -> None:
        super().__init__(context, endpoint, curve)
        self._gate = gate
        self._clock_ns = clock_ns
        self._delayed: list[tuple[int, int, bytes, bytes]] = []
        self._number = 0

    def _send(self, key: StreamKey, kind: str, message: Message) -> None:
        now_ns = self._clock_ns()
        self.counters[kind] += 1
        for departure in self._gate.publish(kind, encode(message), now_ns):
            self._number += 1
            heapq.heappush(self._delayed, (departure.due_ns, self._number, key.topic(kind), departure.payload))
        self.release(now_ns)

    def release(self, now_ns: int) -> None:
        """Send what is due."""
        while self._delayed and self._delayed[0][0] <= now_ns:
            _, _, topic, payload = heapq.heappop(self._delayed)
            self._socket.send_multipart([topic, payload])

    @property
    def next_due_ns(self) -> int | None:
        return self._delayed[0][0] if self._delayed else None


class FaultyRequestHandler(RequestHandler):
    """Answers late, badly or not at all (which is: later than anybody waits)."""

    def __init__(self, gate: FaultInjector, closing: threading.Event, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._gate = gate
        self._closing = closing

    def handle(self, payload: bytes) -> bytes:
        good = super().handle(payload)
        end_ns = time.monotonic_ns() + self._gate.faults.answer_delay_ms * 1_000_000
        # In slices: a fault that is lifted ends at once.
        while time.monotonic_ns() < end_ns and self._gate.faults.answer_delay_ms and not self._closing.wait(0.01):
            pass
        try:
            envelope = decode(payload)
        except CodecError:
            return good
        request = envelope.message
        fate = self._gate.answer(isinstance(request, BackfillCandlesRequest | RevisionsRequest))
        if fate == "fail":
            return encode(ErrorResponse(500, "A fault was requested."), envelope.correlation_id)
        if fate == "garbage":
            return self._gate.damage_answer(good)
        if fate == "empty":
            return encode(_emptied(decode(good).message), envelope.correlation_id)
        return good


def _emptied(answer: Message) -> Message:
    if isinstance(answer, BackfillCandlesResponse):
        return BackfillCandlesResponse(
            answer.key, answer.start_sequence, answer.candles[:0], True, answer.start_sequence
        )
    if isinstance(answer, RevisionsResponse):
        start = answer.start_revision
        return RevisionsResponse(answer.key, start, answer.sequences[:0], answer.candles[:0], True, start)
    return answer
