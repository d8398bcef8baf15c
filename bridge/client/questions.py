"""The requests of all streams: those that wait for their turn, and those under way. Over a transport; no thread."""

from __future__ import annotations

import itertools
from collections import deque
from typing import NamedTuple

from bridge.client.transport import Transport
from schemas.types import Message, StreamKey

UNDER_WAY_MAX = 32
"""Most requests of all streams together: a thousand streams that resume must not bury the server."""


class Question(NamedTuple):
    """A request of a stream. ``is_poll``: asked in place of a heartbeat, not because the receiver wants it."""

    key: StreamKey
    message: Message
    is_poll: bool = False


class Questions:
    """sent: how many went out, ever."""

    def __init__(self, transport: Transport, timeout_ns: int) -> None:
        self._transport = transport
        self._timeout_ns = timeout_ns
        self._waiting: deque[Question] = deque()
        self._under_way: dict[int, Question] = {}
        self._numbers = itertools.count(1)
        self.sent = 0

    def ask(self, question: Question) -> None:
        """Have it sent when its turn comes."""
        self._waiting.append(question)

    def send(self) -> None:
        """As many as may be under way."""
        while self._waiting and len(self._under_way) < UNDER_WAY_MAX:
            question, number = self._waiting.popleft(), next(self._numbers)
            self._under_way[number] = question
            self.sent += 1
            self._transport.request(number, question.message, self._timeout_ns)

    def answered(self, number: int) -> Question | None:
        """What the answer, or failure, of this number is to; None when nobody waits for it any more."""
        return self._under_way.pop(number, None)

    def forget(self, key: StreamKey) -> None:
        """The stream was left."""
        self._waiting = deque(question for question in self._waiting if question.key != key)
        self._under_way = {n: question for n, question in self._under_way.items() if question.key != key}

    def forget_all(self) -> None:
        """The connection ended."""
        self._waiting.clear()
        self._under_way.clear()
