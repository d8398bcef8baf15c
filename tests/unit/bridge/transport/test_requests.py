"""Who asked what, and not too much at a time."""

from __future__ import annotations

from fluxcap.bridge.transport.requests import MAX_IN_FLIGHT, RequestQueue
from fluxcap.schemas.types import GetCursorRequest, Message, StreamKey

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
