"""Fuzzing of wire requests: ``python tests/fuzz/fuzz_requests.py --count 1000000 [--seed N] [--processes N]``.

Requests (and whatever else the wire knows), of the codec and of the generated builder, are damaged and put into frames
as REQ, DEALER and nobody sends them, and served as the responder serves them. Each gets exactly one answer: what was
asked for, from the store to the bit, or an error that says why. Nothing is the server's own fault (500), and nothing
that is asked changes what it holds.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from fluxcap.bridge.server.page_cache import CachedReader, RecentCandles
from fluxcap.bridge.server.requests import MAX_REQUEST_BYTES, RequestHandler
from fluxcap.bridge.server.responder import FairQueue, split_route
from fluxcap.bridge.server.sequencer import Sequencer
from fluxcap.bridge.store.store import Store
from fluxcap.schemas.candles import PAGE_LIMIT
from fluxcap.schemas.codec import decode, encode
from fluxcap.schemas.errors import CodecError
from fluxcap.schemas.generated import market_data as fb
from fluxcap.schemas.types import (
    BackfillCandlesRequest,
    BackfillCandlesResponse,
    Envelope,
    ErrorResponse,
    GapsRequest,
    GapsResponse,
    GetCursorRequest,
    GetCursorResponse,
    HealthRequest,
    HealthResponse,
    HistoryRequest,
    HistoryResponse,
    ListStreamsRequest,
    ListStreamsResponse,
    RevisionsRequest,
    RevisionsResponse,
    StreamStatus,
    StreamStatusRequest,
    SubscribeCandlesAck,
    SubscribeCandlesRequest,
)
from tests.fuzz import fuzz_codec
from tests.fuzz.driver import Chapter, main
from tests.support.wire import generated_wire
from tests.support.wire.samples import EURUSD, GBPUSD, MINUTE, candle, candle_rows

HELD = 120
"""Candles of the one stream."""
ANSWERS = {
    HealthRequest: HealthResponse,
    GetCursorRequest: GetCursorResponse,
    SubscribeCandlesRequest: SubscribeCandlesAck,
    BackfillCandlesRequest: BackfillCandlesResponse,
    StreamStatusRequest: StreamStatus,
    RevisionsRequest: RevisionsResponse,
    ListStreamsRequest: ListStreamsResponse,
    HistoryRequest: HistoryResponse,
    GapsRequest: GapsResponse,
}
REQUESTS = (
    HealthRequest(),
    GetCursorRequest(EURUSD),
    SubscribeCandlesRequest(EURUSD, 5),
    BackfillCandlesRequest(EURUSD),
    BackfillCandlesRequest(EURUSD, 5, 90 * MINUTE, 10),
    BackfillCandlesRequest(EURUSD, HELD - 3),
    StreamStatusRequest(EURUSD),
    RevisionsRequest(EURUSD),
    RevisionsRequest(EURUSD, 0, 10),
    ListStreamsRequest(),
    GetCursorRequest(GBPUSD),
    HistoryRequest(EURUSD),
    HistoryRequest(EURUSD, 5 * MINUTE, 90 * MINUTE, None, 10),
    HistoryRequest(EURUSD, 0, 0, 1_900_000_000_000),
    GapsRequest("SIM", "EURUSD_otc"),
    GapsRequest("SIM", "", 1, 2, 1_900_000_000_000),
)
_SEEDS = [encode(request, "asked") for request in REQUESTS]
_SEEDS += [generated_wire.build(fb, request, "asked") for request in REQUESTS]
_OTHERS = _SEEDS + fuzz_codec.seeds()


class Serving:
    """A server without its socket, over a real store."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._folder = tempfile.TemporaryDirectory(prefix="fluxcap-fuzz-")
        self._store = Store.open(Path(self._folder.name) / "store.duckdb")
        recent, sequencer = RecentCandles(), Sequencer({})
        batch = sequencer.number(EURUSD, candle_rows(1, HELD))
        self._store.commit([batch])
        recent.append(batch)
        sequencer.confirm(batch)
        revision = sequencer.revise(EURUSD, [7], [candle(7, 1.75)])
        self._store.commit([], [revision])
        recent.revise(revision)
        self._truth = self._store.reader().page(EURUSD).candles
        self._status = {EURUSD: StreamStatus(EURUSD, HELD, HELD * MINUTE, 0, 1, self._store.store_id, 1)}
        self._answers = RequestHandler(CachedReader(recent, self._store.reader()), lambda: self._status, lambda: 1)
        self._queue = FairQueue()

    def invent(self) -> list[bytes]:
        """Frames as a ROUTER receives them."""
        rng = self._rng
        match rng.randrange(20):
            case 0:
                payload = rng.randbytes(rng.randrange(300))
            case 1 | 2 | 3:
                payload = encode(self._extreme(), "asked")
            case _:
                seed = rng.choice(_SEEDS if rng.random() < 0.9 else _OTHERS)
                payload = fuzz_codec.mutate(seed, rng, _OTHERS)
        if rng.random() < 0.001:
            payload += bytes(rng.choice((MAX_REQUEST_BYTES, 1_000_000)))
        identity = b"\0" + rng.randbytes(4)
        match rng.randrange(12):
            case 0:
                return [identity, payload]
            case 1:
                return [identity, b"hop", b"", payload]
            case 2:
                return [identity] + [rng.choice((b"", payload, b"x")) for _ in range(rng.randrange(6))]
        return [identity, b"", payload]

    def _extreme(self) -> BackfillCandlesRequest | RevisionsRequest:
        """A sound request for numbers at the edge of what there is, or far beyond."""
        rng = self._rng
        after = rng.choice((None, 0, 1, HELD - 1, HELD, HELD + 1, 2**31, 2**62, 2**63, 2**64 - 1))
        limit = rng.choice((0, 1, 2, HELD, HELD + 1, PAGE_LIMIT, PAGE_LIMIT + 1, 2**31, 2**32 - 1))
        if rng.random() < 0.3:
            return RevisionsRequest(EURUSD, after, limit)
        end_ts_ms = rng.choice((None, 0, -1, MINUTE, HELD * MINUTE - 1, HELD * MINUTE, 2**62, -(2**63), 2**63 - 1))
        return BackfillCandlesRequest(EURUSD, after, end_ts_ms, limit)

    def take(self, data: list[bytes]) -> str:
        assert self._queue.add(data[0], split_route(data))
        turn = self._queue.next()
        assert turn is not None
        identity, (route, payload) = turn
        assert route == data[: len(route)]
        before = self._answers.counters["requests"]
        if len(payload) == 1:
            outcome = self._judge(payload[0], self._answers.handle(payload[0]))
        else:
            outcome = self._refused(decode(self._answers.reject("frames")), 400)
        assert self._answers.counters["requests"] == before + 1
        self._queue.served(identity)
        return outcome

    def _judge(self, request: bytes, reply: bytes) -> str:
        answer = decode(reply)
        if len(request) > MAX_REQUEST_BYTES:
            return self._refused(answer, 413)
        try:
            asked = decode(request)
        except CodecError as error:
            return self._refused(answer, error.wire_code)
        assert answer.correlation_id == asked.correlation_id
        wanted = ANSWERS.get(type(asked.message))
        if wanted is None:
            return self._refused(answer, 400)
        if getattr(asked.message, "key", EURUSD) != EURUSD:
            return self._refused(answer, 404)
        assert type(answer.message) is wanted, f"{asked.message} was answered by {answer.message}"
        if isinstance(answer.message, BackfillCandlesResponse):
            self._judge_page(asked.message, answer.message)
        return "answered"

    def _judge_page(self, asked: object, page: BackfillCandlesResponse) -> None:
        assert isinstance(asked, BackfillCandlesRequest)
        numbers = range(1 + (asked.from_sequence_exclusive or 0), HELD + 1)
        wanted = [n for n in numbers if asked.end_ts_ms is None or n * MINUTE <= asked.end_ts_ms]
        held = wanted[: min(asked.limit or PAGE_LIMIT, PAGE_LIMIT)]
        assert len(page.candles) == len(held)
        assert not held or page.candles.tobytes() == self._truth[held[0] - 1 : held[-1]].tobytes()
        assert page.has_more == (len(wanted) > len(held))
        assert page.next_sequence == page.start_sequence + len(held)
        assert not held or page.start_sequence == held[0]

    def _refused(self, answer: Envelope, code: int) -> str:
        error = answer.message
        assert isinstance(error, ErrorResponse), f"{error} is no refusal"
        assert error.code == code, f"{error} should have the code {code}"
        assert error.message
        assert answer.schema_version == 1
        return f"refused {code}"

    def end(self) -> None:
        assert len(self._queue) == 0
        assert np.array_equal(self._store.reader().page(EURUSD).candles, self._truth)
        self._store.close()
        self._folder.cleanup()


def begin(rng: random.Random) -> Chapter:
    """A chapter."""
    return Serving(rng)


if __name__ == "__main__":
    sys.exit(main(begin, __doc__))
