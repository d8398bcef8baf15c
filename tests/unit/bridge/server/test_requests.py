"""Every request gets exactly one answer, and the wire note says which."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from fluxcap.bridge.server.requests import MAX_REQUEST_BYTES, RequestHandler
from fluxcap.bridge.store.history import HistoryPage
from fluxcap.schemas.candles import HISTORY_LIMIT, PAGE_LIMIT, CandlePage, RevisionPage
from fluxcap.schemas.codec import decode, encode
from fluxcap.schemas.errors import NotKnown, StoreError
from fluxcap.schemas.types import (
    BackfillCandlesRequest,
    BackfillCandlesResponse,
    CandleBatch,
    Envelope,
    ErrorResponse,
    Gap,
    GapChange,
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
    Message,
    RevisionsRequest,
    RevisionsResponse,
    StreamKey,
    StreamStatus,
    StreamStatusRequest,
    SubscribeCandlesAck,
    SubscribeCandlesRequest,
)
from tests.support.wire.samples import EURUSD, GBPUSD, MINUTE, candle_rows, minutes

NOBODYS = StreamKey("SIM", "NOBODY", "1m")
NOW_MS = 1_700_000_000_123
STREAMS: Mapping[StreamKey, StreamStatus] = {
    GBPUSD: StreamStatus(GBPUSD),
    EURUSD: StreamStatus(EURUSD, 20_000, 20_000 * MINUTE, 5, 1, "store", 3),
}


class Pages:
    """EURUSD has the minutes 1 to 20 000; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    def page(self, key: StreamKey, after_sequence: int | None, end_ts_ms: int | None, limit: int) -> CandlePage:
        self.asked.append((key, after_sequence, end_ts_ms, limit))
        if key != EURUSD:
            return CandlePage(1, candle_rows(1, 0))
        after = after_sequence or 0
        count = max(0, min(limit, 20_000 - after))
        return CandlePage(after + 1, candle_rows(after + 1, count), after + count < 20_000)

    def revisions(self, key: StreamKey, after_revision: int | None, limit: int) -> RevisionPage:
        self.asked.append((key, after_revision, limit))
        return RevisionPage(2, np.array([7, 0], dtype=np.uint64), candle_rows(7, 2), True)

    def history(self, key: StreamKey, from_ms: int, to_ms: int | None, as_of_ms: int | None, limit: int) -> HistoryPage:
        self.asked.append((key, from_ms, to_ms, as_of_ms, limit))
        return HistoryPage(candle_rows(7, 2), np.array([7, 0], dtype=np.uint64), 9 * MINUTE)

    def told_gaps(
        self, source_id: str, symbol: str, from_ms: int, to_ms: int | None, as_of_ms: int | None
    ) -> list[GapChange]:
        self.asked.append((source_id, symbol, from_ms, to_ms, as_of_ms))
        if as_of_ms == 1:
            raise NotKnown("Not known: that was not kept.")
        return [GapChange(Gap("SIM", "", 5, 0, "silent"), 6)]


@pytest.fixture
def pages() -> Pages:
    return Pages()


@pytest.fixture
def answers(pages: Pages) -> RequestHandler:
    return RequestHandler(pages, lambda: STREAMS, lambda: NOW_MS)


Ask = Callable[[Message], Message]


@pytest.fixture
def ask(answers: RequestHandler) -> Ask:
    def ask(request: Message) -> Message:
        reply = decode(answers.handle(encode(request, "corr-7")))
        assert reply.correlation_id == "corr-7"
        return reply.message

    return ask


def test_health_is_ok(ask: Ask) -> None:
    assert ask(HealthRequest()) == HealthResponse()


def test_health_says_what_it_is_told() -> None:
    answers = RequestHandler(Pages(), lambda: STREAMS, lambda: NOW_MS, lambda: HealthResponse(False, "no browser"))

    assert decode(answers.handle(encode(HealthRequest()))).message == HealthResponse(False, "no browser")


def test_the_cursor_is_the_watermark(ask: Ask) -> None:
    assert ask(GetCursorRequest(EURUSD)) == GetCursorResponse(EURUSD, 20_000, 20_000 * MINUTE)


def test_a_known_stream_without_candles_has_cursor_zero_and_an_empty_page(ask: Ask) -> None:
    assert ask(GetCursorRequest(GBPUSD)) == GetCursorResponse(GBPUSD, 0, 0)
    page = ask(BackfillCandlesRequest(GBPUSD))
    assert isinstance(page, BackfillCandlesResponse)
    assert (page.start_sequence, page.next_sequence, page.has_more, len(page.candles)) == (1, 1, False, 0)


def test_subscribing_is_accepted_with_the_newest_sequence(ask: Ask) -> None:
    assert ask(SubscribeCandlesRequest(EURUSD, 5)) == SubscribeCandlesAck(True, "", EURUSD, 20_000)


@pytest.mark.parametrize(
    ("request_", "asked"),
    [
        (HistoryRequest(EURUSD), (EURUSD, 0, None, None, HISTORY_LIMIT)),
        (HistoryRequest(EURUSD, 5, 9, 7, 20), (EURUSD, 5, 9, 7, 20)),
        (HistoryRequest(EURUSD, -5, -9, -7, 2**32 - 1), (EURUSD, 0, None, 0, HISTORY_LIMIT)),
        (HistoryRequest(EURUSD, 2**63 - 1, 2**63 - 1), (EURUSD, 2**62, 2**62, None, HISTORY_LIMIT)),
    ],
)
def test_history_is_asked_for_within_what_a_page_and_a_time_can_be(
    ask: Ask, pages: Pages, request_: HistoryRequest, asked: tuple[object, ...]
) -> None:
    answer = ask(request_)

    assert isinstance(answer, HistoryResponse)
    assert (minutes(answer.candles), answer.sequences.tolist(), answer.next_ms) == ([7, 8], [7, 0], 9 * MINUTE)
    assert pages.asked == [asked]


def test_gaps_come_with_when_they_were_told(ask: Ask, pages: Pages) -> None:
    assert ask(GapsRequest("SIM", "EURUSD_otc", 5, 0, 8)) == GapsResponse(
        (GapChange(Gap("SIM", "", 5, 0, "silent"), 6),)
    )
    assert pages.asked == [("SIM", "EURUSD_otc", 5, None, 8)]


def test_history_of_a_stream_nobody_has_is_404_and_what_was_not_kept_is_410(ask: Ask, answers: RequestHandler) -> None:
    assert ask(HistoryRequest(NOBODYS)) == ErrorResponse(404, f"There is no stream {NOBODYS}.")
    assert ask(GapsRequest("SIM", "", 0, 0, 1)) == ErrorResponse(410, "Not known: that was not kept.")
    assert answers.counters["error_410"] == 1


class PrunedPages(Pages):
    """As ``Pages``, but the minutes 1 to 99 were deleted."""

    def page(self, key: StreamKey, after_sequence: int | None, end_ts_ms: int | None, limit: int) -> CandlePage:
        page = super().page(key, max(after_sequence or 0, 99), end_ts_ms, limit)
        if end_ts_ms is None:
            return page
        kept = page.candles[page.candles["ts_ms"] <= end_ts_ms]
        return CandlePage(page.start_sequence, kept)


def ask_pruned(request: Message) -> Message:
    return decode(RequestHandler(PrunedPages(), lambda: STREAMS, lambda: NOW_MS).handle(encode(request))).message


@pytest.mark.parametrize(("after", "until"), [(9, 50), (9, 99), (9, 120), (98, 120)])
def test_a_gap_whose_beginning_was_deleted_is_404_with_the_first_sequence_that_is_kept(after: int, until: int) -> None:
    answer = ask_pruned(BackfillCandlesRequest(EURUSD, after, until * MINUTE, until - after))

    assert isinstance(answer, ErrorResponse)
    assert (answer.code, answer.message) == (
        404,
        "SIM.EURUSD_otc.1m is kept from sequence 100 on; older candles were deleted.",
    )


@pytest.mark.parametrize(
    ("request_", "sequences"),
    [
        (BackfillCandlesRequest(EURUSD, 9, None, 3), [100, 101, 102]),
        (BackfillCandlesRequest(EURUSD, None, None, 3), [100, 101, 102]),
        (BackfillCandlesRequest(EURUSD, None, 101 * MINUTE, 3), [100, 101]),
        (BackfillCandlesRequest(EURUSD, 99, 101 * MINUTE, 3), [100, 101]),
        (BackfillCandlesRequest(EURUSD, 150, 152 * MINUTE, 2), [151, 152]),
    ],
    ids=["a start with an old cursor", "from the first", "from the first to a time", "a gap from there", "a later gap"],
)
def test_what_begins_no_gap_before_it_gets_the_page_from_the_first_sequence_kept(
    request_: BackfillCandlesRequest, sequences: list[int]
) -> None:
    page = ask_pruned(request_)

    assert isinstance(page, BackfillCandlesResponse)
    assert (page.start_sequence, minutes(page.candles)) == (sequences[0], sequences)


def test_backfill_answers_with_where_to_go_on(ask: Ask, pages: Pages) -> None:
    page = ask(BackfillCandlesRequest(EURUSD, 17, 99 * MINUTE, 3))

    assert isinstance(page, BackfillCandlesResponse)
    assert (page.key, page.start_sequence, page.next_sequence, page.has_more) == (EURUSD, 18, 21, True)
    assert minutes(page.candles) == [18, 19, 20]
    assert pages.asked == [(EURUSD, 17, 99 * MINUTE, 3)]


@pytest.mark.parametrize("limit", [0, PAGE_LIMIT, PAGE_LIMIT + 1, 2**32 - 1])
def test_no_page_is_longer_than_the_limit(ask: Ask, limit: int) -> None:
    page = ask(BackfillCandlesRequest(EURUSD, limit=limit))

    assert isinstance(page, BackfillCandlesResponse)
    assert (len(page.candles), page.next_sequence, page.has_more) == (PAGE_LIMIT, PAGE_LIMIT + 1, True)


def test_a_sequence_beyond_all_reason_gives_an_empty_page(ask: Ask) -> None:
    page = ask(BackfillCandlesRequest(EURUSD, 2**64 - 1))

    assert isinstance(page, BackfillCandlesResponse)
    assert (len(page.candles), page.has_more) == (0, False)
    assert page.next_sequence == page.start_sequence


def test_status_carries_the_time_of_its_answer(ask: Ask) -> None:
    status = ask(StreamStatusRequest(EURUSD))

    assert status == StreamStatus(EURUSD, 20_000, 20_000 * MINUTE, NOW_MS, 1, "store", 3)


def test_streams_are_listed_in_order(ask: Ask) -> None:
    listed = ask(ListStreamsRequest())

    assert isinstance(listed, ListStreamsResponse)
    assert [status.key for status in listed.streams] == [EURUSD, GBPUSD]
    assert {status.server_time_ms for status in listed.streams} == {NOW_MS}


def test_revisions_answer_with_where_to_go_on(ask: Ask, pages: Pages) -> None:
    response = ask(RevisionsRequest(EURUSD, 1, 99_999))

    assert isinstance(response, RevisionsResponse)
    assert (response.start_revision, response.next_revision, response.has_more) == (2, 4, True)
    assert response.sequences.tolist() == [7, 0]
    assert pages.asked == [(EURUSD, 1, PAGE_LIMIT)]


@pytest.mark.parametrize(
    "request_type",
    [GetCursorRequest, SubscribeCandlesRequest, BackfillCandlesRequest, StreamStatusRequest, RevisionsRequest],
)
def test_a_stream_that_nobody_has_is_404(ask: Ask, request_type: Callable[[StreamKey], Message]) -> None:
    error = ask(request_type(NOBODYS))

    assert isinstance(error, ErrorResponse)
    assert error.code == 404
    assert "SIM.NOBODY.1m" in error.message


def reply_to(answers: RequestHandler, payload: bytes) -> tuple[Envelope, ErrorResponse]:
    envelope = decode(answers.handle(payload))
    assert isinstance(envelope.message, ErrorResponse)
    return envelope, envelope.message


@pytest.mark.parametrize(
    "garbage", [b"", b"\0", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 40, bytes(1000), encode(HealthRequest())[:-3]]
)
def test_garbage_is_400(answers: RequestHandler, garbage: bytes) -> None:
    assert reply_to(answers, garbage)[1].code == 400


@pytest.mark.parametrize(
    "answer", [HealthResponse(), ErrorResponse(1, "x"), CandleBatch(EURUSD, 1, candle_rows(1, 1)), StreamStatus(EURUSD)]
)
def test_an_answer_sent_as_a_request_is_400(answers: RequestHandler, answer: Message) -> None:
    envelope, error = reply_to(answers, encode(answer, "corr-7"))

    assert (error.code, envelope.correlation_id) == (400, "corr-7")


def test_a_request_too_long_is_413(answers: RequestHandler) -> None:
    assert reply_to(answers, bytes(MAX_REQUEST_BYTES + 1))[1].code == 413


def envelope_of_version(version: int) -> bytes:
    payload = bytearray(encode(StreamStatusRequest(EURUSD), "corr-7"))
    at = payload.index(b"\x02\0\0\0", 8)  # the version is the only field of four bytes that says 2
    payload[at] = version
    return bytes(payload)


def test_an_unknown_version_is_426_in_version_1(answers: RequestHandler) -> None:
    envelope, error = reply_to(answers, envelope_of_version(9))

    assert (error.code, envelope.schema_version, envelope.correlation_id) == (426, 1, "corr-7")


def test_every_error_is_an_envelope_of_version_1(answers: RequestHandler) -> None:
    for payload in (b"", encode(GetCursorRequest(NOBODYS)), bytes(MAX_REQUEST_BYTES + 1)):
        assert reply_to(answers, payload)[0].schema_version == 1


class Broken(Pages):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def page(self, key: StreamKey, after_sequence: int | None, end_ts_ms: int | None, limit: int) -> CandlePage:
        raise self.error


@pytest.mark.parametrize("error", [StoreError("the disk is on fire"), ZeroDivisionError("secret detail")])
def test_our_own_fault_is_500_and_says_no_more_than_it_should(error: Exception) -> None:
    answers = RequestHandler(Broken(error), lambda: STREAMS, lambda: NOW_MS)

    message = reply_to(answers, encode(BackfillCandlesRequest(EURUSD)))[1]

    assert message.code == 500
    assert "secret" not in message.message
    assert answers.counters == {"requests": 1, "error_500": 1}


def test_frames_that_hold_no_single_payload_are_400(answers: RequestHandler) -> None:
    refused = decode(answers.reject("A request is one frame, not 2.")).message

    assert refused == ErrorResponse(400, "A request is one frame, not 2.")
    assert answers.counters == {"requests": 1, "error_400": 1}
