"""A log of many subjects in memory, which counts what it is asked and what consumers read of it."""

from __future__ import annotations

import asyncio

from fluxcap.bridge.jetstream.stream import StoredMessage, StreamInfo
from fluxcap.bridge.jetstream.subjects import Position, position_headers, subject
from fluxcap.schemas.codec import encode
from fluxcap.schemas.errors import NatsUnavailable
from fluxcap.schemas.types import CandleBatch, StreamKey
from tests.support.wire.samples import candle_rows


def key(number: int) -> StreamKey:
    return StreamKey("SIM", f"S{number}", "1m")


class ManyStreams:
    """A JetStream stream in memory. ``read``: by filter, the messages that consumers brought."""

    def __init__(self) -> None:
        self.messages: list[StoredMessage] = []
        self.sequences: dict[int, int] = {}
        self.asked = 0
        self.read: dict[str, int] = {}
        self.is_away = False
        self.has_consumers = True
        self.behind = 0
        """So many of the last messages do not reach consumers before they have been looked for that often."""

    async def state(self) -> StreamInfo:
        return StreamInfo("now", len(self.messages), 1, len(self.messages), len(self.sequences), False)

    def add(self, number: int, candles: int = 1) -> None:
        """The next candles of a stream, in one message."""
        start = self.sequences.get(number, 0) + 1
        self.sequences[number] = latest = start + candles - 1
        headers = position_headers(Position("store", latest, latest * 60_000, 0, 1))
        payload = encode(CandleBatch(key(number), start, candle_rows(start, candles)))
        self.messages.append(StoredMessage(len(self.messages) + 1, subject(key(number)), headers, payload))

    async def last(self, name: str) -> StoredMessage | None:
        self.asked += 1
        if self.is_away:
            raise NatsUnavailable("The log is away.")
        return next((message for message in reversed(self.messages) if message.subject == name), None)

    async def next(self, name: str, position: int) -> StoredMessage | None:
        self.asked += 1
        found = (message for message in self.messages if message.position >= position and message.subject == name)
        return next(found, None)

    async def at(self, position: int) -> StoredMessage | None:
        return self.messages[position - 1]


class FakeReader:
    """Up to seven messages at a time of those that pass a filter."""

    def __init__(self, log: ManyStreams, name: str, position: int, most: int = 7, *, newest_only: bool = False) -> None:
        self._log, self._name, self._most = log, name, min(most, 7)
        self._newest_only = newest_only
        self.next_position = position
        log.read.setdefault(name, 0)

    def _left(self) -> list[StoredMessage]:
        messages = self._log.messages
        passing = [
            message
            for message in messages[: len(messages) - self._log.behind]
            if message.position >= self.next_position and passes(message.subject, self._name)
        ]
        if not self._newest_only:
            return passing
        newest = {message.subject: message for message in passing}
        return [StoredMessage(m.position, m.subject, m.headers, b"") for m in sorted(newest.values(), key=position_in)]

    @property
    def pending(self) -> int:
        return len(self._left())

    async def open(self) -> None: ...

    async def read(self, wait_s: float) -> list[StoredMessage]:
        await asyncio.sleep(0)
        if self._log.is_away or not self._log.has_consumers:
            raise NatsUnavailable("The log is away.")
        if self._log.behind and not self._left():
            self._log.behind -= 1
        found = self._left()[: self._most]
        self.next_position = found[-1].position + 1 if found else self.next_position
        self._log.read[self._name] += len(found)
        return found

    async def close(self) -> None: ...


def passes(name: str, name_filter: str) -> bool:
    tokens = name_filter.split(".")
    if tokens[-1] == ">":
        return name.split(".")[: len(tokens) - 1] == tokens[:-1]
    return all(a in ("*", b) for a, b in zip(tokens, name.split("."), strict=True))


def position_in(message: StoredMessage) -> int:
    return message.position
