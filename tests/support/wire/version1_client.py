"""A client of version 1 as it exists in the field: generated code of its schema, plain sockets, no more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import zmq

from fluxcap.schemas import types
from fluxcap.schemas.generated import market_data_v1 as v1
from tests.support.patience import PATIENCE_MS
from tests.support.wire import generated_wire


class Version1Client:
    """Listens to everything from the start; asks when told to."""

    def __init__(self, pub: str, rep: str) -> None:
        self.heard: list[tuple[bytes, bytes]] = []
        """Topic and payload of every message."""
        self.answers: list[bytes] = []
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._feed = self._context.socket(zmq.SUB)
        self._feed.setsockopt(zmq.SUBSCRIBE, b"")
        self._feed.setsockopt(zmq.RCVHWM, 0)
        self._feed.connect(pub)
        self._requests = self._context.socket(zmq.REQ)
        self._requests.setsockopt(zmq.RCVTIMEO, PATIENCE_MS)
        self._requests.connect(rep)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._stop.is_set():
            if self._feed.poll(50):
                topic, payload = self._feed.recv_multipart()
                self.heard.append((topic, payload))

    def batches(self, key: types.StreamKey) -> list[types.CandleBatch]:
        """The live batches of one stream; the whole topic is compared. Fails on an envelope that does not say 1."""
        payloads = [payload for topic, payload in self.heard if topic == key.topic()]
        return [self._read(payload) for payload in payloads]

    def ask(self, request: types.Message) -> Any:
        """One request, and its reply as the version-1 code reads it."""
        return self.ask_bytes(generated_wire.build(v1, request, "asked"))

    def ask_bytes(self, payload: bytes) -> Any:
        self._requests.send(payload)
        answer = self._requests.recv()
        self.answers.append(answer)
        return self._read(answer)

    def fetch(self, key: types.StreamKey, page: int) -> list[tuple[float, ...]]:
        """All candles by backfill, ``page`` at a time: sequence, then the six fields of version 1."""
        rows: list[tuple[float, ...]] = []
        after = 0
        while True:
            answer = self.ask(types.BackfillCandlesRequest(key, after, None, page))
            rows += numbered(answer.start_sequence, answer.candles)
            if not answer.has_more:
                return rows
            after = answer.next_sequence - 1

    @staticmethod
    def _read(payload: bytes) -> Any:
        envelope = generated_wire.read(v1, payload)
        assert envelope.schema_version == 1, "clients that exist refuse anything but 1"
        return envelope.message

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


class DesktopStream:
    """One stream as the desktop client of the field takes it in: what it asks for, and how often.

    On a gap it asks for the missing sequences, with the time before the batch in hand as the end. An empty answer makes
    it ask again at once; an error makes it drop the batch, so that the next one shows the gap again.

    Parameters
    ----------
    ask
        One request to its reply.
    key
        The stream.
    bound
        Requests for one batch after which the test has seen enough.
    """

    def __init__(self, ask: Callable[[types.Message], Any], key: types.StreamKey, bound: int = 50) -> None:
        self.sequences: list[int] = []
        self.errors: list[types.ErrorResponse] = []
        self.asked: list[int] = []
        """Requests for each live batch."""
        self._ask = ask
        self._key = key
        self._bound = bound
        self._expected = 1

    def start(self) -> None:
        """Page from the cursor to the newest, before the first live batch."""
        more = True
        while more:
            page = self._ask(types.BackfillCandlesRequest(self._key, self._expected - 1, None, 10_000))
            self._take(page.start_sequence, page.candles)
            more = page.has_more

    def on_batch(self, batch: types.CandleBatch) -> None:
        self.asked.append(0)
        while batch.start_sequence > self._expected and self.asked[-1] < self._bound:
            end_ms = int(batch.candles["ts_ms"][0]) - self._key.interval_ms
            missing = batch.start_sequence - self._expected
            self.asked[-1] += 1
            answer = self._ask(types.BackfillCandlesRequest(self._key, self._expected - 1, end_ms, missing))
            if isinstance(answer, types.ErrorResponse):
                self.errors.append(answer)
                return
            if answer.start_sequence == self._expected:
                self._take(answer.start_sequence, answer.candles)
        self._take(batch.start_sequence, batch.candles)

    def _take(self, start_sequence: int, candles: types.CandleArray) -> None:
        self.sequences += range(start_sequence, start_sequence + len(candles))
        self._expected = start_sequence + len(candles)


def numbered(start_sequence: int, candles: types.CandleArray) -> list[tuple[float, ...]]:
    """Each candle as its sequence and the six fields that version 1 knows."""
    return [(number, *row[:6]) for number, row in enumerate(candles.tolist(), start=start_sequence)]
