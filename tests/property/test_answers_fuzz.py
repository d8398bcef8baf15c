"""Whatever bytes come, one sound answer goes back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxcap.bridge.server.page_cache import CachedReader, RecentCandles
from fluxcap.bridge.server.requests import RequestHandler
from fluxcap.bridge.store.store import Store
from fluxcap.schemas.codec import decode, encode
from fluxcap.schemas.types import (
    BackfillCandlesRequest,
    BackfillCandlesResponse,
    CandleBatch,
    ErrorResponse,
    GetCursorRequest,
    RevisionsRequest,
    StreamStatus,
    StreamStatusRequest,
)
from tests.support.examples import examples
from tests.support.wire.samples import EURUSD, MINUTE, candle_rows


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RequestHandler]:
    with Store.open(tmp_path_factory.mktemp("store") / "store.duckdb") as store:
        store.commit([CandleBatch(EURUSD, 1, candle_rows(1, 300))])
        status = {EURUSD: StreamStatus(EURUSD, 300, 300 * MINUTE, 0, 1, store.store_id)}
        yield RequestHandler(CachedReader(RecentCandles(), store.reader()), lambda: status, lambda: 1)


@settings(deadline=None)
@given(payload=st.binary(max_size=400))
def test_any_bytes_get_one_sound_answer(answers: RequestHandler, payload: bytes) -> None:
    message = decode(answers.handle(payload)).message

    assert isinstance(message, ErrorResponse)


REQUESTS = [
    encode(request, "correlation")
    for request in (
        BackfillCandlesRequest(EURUSD, 5, 90 * MINUTE, 10),
        GetCursorRequest(EURUSD),
        RevisionsRequest(EURUSD, 5, 10),
        StreamStatusRequest(EURUSD),
    )
]


@settings(deadline=None, max_examples=examples(300))
@given(
    request=st.sampled_from(REQUESTS),
    harm=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_a_damaged_request_gets_one_sound_answer(
    answers: RequestHandler, request: bytes, harm: list[tuple[int, int]]
) -> None:
    damaged = bytearray(request)
    for at, value in harm:
        damaged[at % len(damaged)] = value

    message = decode(answers.handle(bytes(damaged))).message

    assert not isinstance(message, ErrorResponse) or message.code in (400, 404, 413, 426)


UINT64 = st.one_of(st.integers(0, 310), st.integers(0, 2**64 - 1))


@settings(deadline=None)
@given(
    after=st.none() | UINT64,
    end=st.none() | st.integers(0, 310 * MINUTE) | st.integers(-(2**63), 2**63 - 1),
    limit=st.integers(0, 20) | st.integers(0, 2**32 - 1),
)
def test_every_page_is_dense_and_within_what_was_asked(
    answers: RequestHandler, after: int | None, end: int | None, limit: int
) -> None:
    page = decode(answers.handle(encode(BackfillCandlesRequest(EURUSD, after, end, limit)))).message

    assert isinstance(page, BackfillCandlesResponse)
    wanted = [n for n in range(1, 301) if n > (after or 0) and (end is None or n * MINUTE <= end)]
    held = wanted[: limit or 10_000]
    assert (page.candles["ts_ms"] // MINUTE).tolist() == held
    assert page.has_more == (len(wanted) > len(held))
    assert page.next_sequence == page.start_sequence + len(held)
    if held:
        assert page.start_sequence == held[0]
