"""fluxcap.bridge.client.requests: who asked what, and not too much at a time."""

from __future__ import annotations

from fluxcap.bridge.client.requests import UNDER_WAY_MAX, Question, Questions
from fluxcap.schemas.types import GetCursorRequest, Message, StreamKey

A, B = StreamKey("SIM", "A", "1s"), StreamKey("SIM", "B", "1s")


class Wire:
    def __init__(self) -> None:
        self.sent: dict[int, tuple[Message, int]] = {}

    def request(self, number: int, message: Message, timeout_ns: int) -> None:
        self.sent[number] = (message, timeout_ns)


def question(key: StreamKey) -> Question:
    return Question(key, GetCursorRequest(key))


def test_an_answer_finds_its_question_once() -> None:
    wire = Wire()
    questions = Questions(wire, 7)  # type: ignore[arg-type]

    questions.ask(question(A))
    questions.ask(question(B))
    questions.send()

    assert list(wire.sent.values()) == [(GetCursorRequest(A), 7), (GetCursorRequest(B), 7)]
    first, second = wire.sent
    assert (questions.answered(second), questions.answered(first)) == (question(B), question(A))
    assert questions.answered(first) is None


def test_no_more_than_so_many_are_under_way_and_the_rest_wait_for_their_turn() -> None:
    wire = Wire()
    questions = Questions(wire, 7)  # type: ignore[arg-type]
    for _ in range(UNDER_WAY_MAX + 3):
        questions.ask(question(A))

    questions.send()
    assert len(wire.sent) == UNDER_WAY_MAX
    questions.answered(1)
    questions.send()

    assert (len(wire.sent), questions.sent) == (UNDER_WAY_MAX + 1, UNDER_WAY_MAX + 1)


def test_what_a_stream_asked_is_forgotten_with_it() -> None:
    wire = Wire()
    questions = Questions(wire, 7)  # type: ignore[arg-type]
    for key in (A, B):
        questions.ask(question(key))
    questions.send()
    questions.ask(question(A))

    questions.forget(A)
    questions.send()

    assert len(wire.sent) == 2
    assert [questions.answered(number) for number in wire.sent] == [None, question(B)]


def test_nothing_is_left_of_a_connection_that_ended() -> None:
    wire = Wire()
    questions = Questions(wire, 7)  # type: ignore[arg-type]
    questions.ask(question(A))
    questions.send()
    questions.ask(question(B))

    questions.forget_all()
    questions.send()

    assert [questions.answered(number) for number in wire.sent] == [None]
