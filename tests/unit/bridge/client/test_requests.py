"""fluxcap.bridge.client.requests: who asked what, not too much at once, and what stands in where a server has less."""

from __future__ import annotations

import pytest

from fluxcap.bridge.client.requests import (
    MAX_IN_FLIGHT,
    POLL_NS,
    CursorPoll,
    RequestQueue,
    is_version1_error,
    require_kind,
    status_of,
)
from fluxcap.schemas.errors import CodecError, FluxcapError, WireError, WireTimeout
from fluxcap.schemas.types import (
    GetCursorRequest,
    GetCursorResponse,
    Message,
    StreamKey,
    StreamStatus,
    StreamStatusRequest,
)

A, B = StreamKey("SIM", "A", "1s"), StreamKey("SIM", "B", "1s")


class Wire:
    def __init__(self) -> None:
        self.sent: dict[int, tuple[Message, int]] = {}

    def request(self, number: int, message: Message, timeout_ns: int) -> None:
        self.sent[number] = (message, timeout_ns)


def test_an_answer_finds_its_question_once() -> None:
    wire = Wire()
    questions: RequestQueue[StreamKey] = RequestQueue(wire, 7)  # type: ignore[arg-type]

    questions.enqueue(GetCursorRequest(A), A)
    questions.enqueue(GetCursorRequest(B), B)
    questions.send()

    assert list(wire.sent.values()) == [(GetCursorRequest(A), 7), (GetCursorRequest(B), 7)]
    first, second = wire.sent
    assert (questions.resolve(second), questions.resolve(first)) == (B, A)
    assert questions.resolve(first) is None


def test_no_more_than_so_many_are_under_way_and_the_rest_wait_for_their_turn() -> None:
    wire = Wire()
    questions: RequestQueue[StreamKey] = RequestQueue(wire, 7)  # type: ignore[arg-type]
    for _ in range(MAX_IN_FLIGHT + 3):
        questions.enqueue(GetCursorRequest(A), A)

    questions.send()
    assert len(wire.sent) == MAX_IN_FLIGHT
    questions.resolve(1)
    questions.send()

    assert (len(wire.sent), questions.sent) == (MAX_IN_FLIGHT + 1, MAX_IN_FLIGHT + 1)


def test_what_a_stream_asked_is_forgotten_with_it() -> None:
    wire = Wire()
    questions: RequestQueue[StreamKey] = RequestQueue(wire, 7)  # type: ignore[arg-type]
    for key in (A, B):
        questions.enqueue(GetCursorRequest(key), key)
    questions.send()
    questions.enqueue(GetCursorRequest(A), A)

    questions.cancel(lambda key: key == A)
    questions.send()

    assert len(wire.sent) == 2
    assert [questions.resolve(number) for number in wire.sent] == [None, B]


def test_nothing_is_left_of_a_connection_that_ended() -> None:
    wire = Wire()
    questions: RequestQueue[StreamKey] = RequestQueue(wire, 7)  # type: ignore[arg-type]
    questions.enqueue(GetCursorRequest(A), A)
    questions.send()
    questions.enqueue(GetCursorRequest(B), B)

    assert questions.cancel_all() == [A, B]
    questions.send()

    assert [questions.resolve(number) for number in wire.sent] == [None]


def test_an_answer_of_another_kind_than_asked_for_is_an_error() -> None:
    request = GetCursorRequest(A)

    assert require_kind(request, GetCursorRequest) is request
    with pytest.raises(CodecError, match="answered with GetCursorRequest in place of StreamKey"):
        require_kind(request, StreamKey)


# --- what stands in for status and heartbeat where a server has none ---


KEY = StreamKey("SIM", "A", "1s")


@pytest.mark.parametrize(
    ("request_", "error", "expected"),
    [
        (StreamStatusRequest(KEY), WireError(400, "malformed"), True),
        (StreamStatusRequest(KEY), WireError(426, "version"), True),
        (StreamStatusRequest(KEY), WireError(404, "no such stream"), False),
        (StreamStatusRequest(KEY), WireError(500, "trouble"), False),
        (StreamStatusRequest(KEY), WireTimeout("late"), False),
        (GetCursorRequest(KEY), WireError(400, "malformed"), False),
    ],
)
def test_only_a_status_that_is_not_understood_shows_an_old_server(
    request_: Message, error: FluxcapError, expected: bool
) -> None:
    assert is_version1_error(request_, error) is expected


def test_a_cursor_is_a_status_that_knows_nothing_more() -> None:
    assert status_of(GetCursorResponse(KEY, 5, 5_000)) == StreamStatus(KEY, 5, 5_000)


def test_it_is_due_each_second_while_on_and_never_twice_at_a_time() -> None:
    poll = CursorPoll()
    assert not poll.is_due(10 * POLL_NS)
    poll.start(0)

    due = [poll.is_due(POLL_NS // 2), poll.is_due(POLL_NS), poll.is_due(3 * POLL_NS)]
    poll.answered()
    again = poll.is_due(3 * POLL_NS)
    poll.stop()

    assert (due, again) == ([False, True, False], True)
    assert not poll.is_due(9 * POLL_NS)
