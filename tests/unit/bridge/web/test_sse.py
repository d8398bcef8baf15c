"""An answer without end: it ends with its reader, and does not wait for one that takes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

from fluxcap.bridge.web.sse import EventStream


class Connection:
    """A reader who takes ``room`` pieces of the body and then no more, until ``take`` is set."""

    def __init__(self, room: int = 1_000) -> None:
        self.room = room
        self.take = asyncio.Event()
        self.leave = asyncio.Event()
        self.got: list[MutableMapping[str, Any]] = []
        self.aborted = False
        self.scope = {"type": "http", "extensions": {"fluxcap.abort": self.abort}}

    def abort(self) -> None:
        self.aborted = True

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if len(self.got) > self.room:
            await self.take.wait()
        self.got.append(message)

    async def receive(self) -> MutableMapping[str, Any]:
        await self.leave.wait()
        return {"type": "http.disconnect"}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.got)


class Events:
    def __init__(self) -> None:
        self.given = 0
        self.third = asyncio.Event()
        self.is_closed = False

    async def give(self) -> AsyncIterator[bytes]:
        try:
            while True:
                self.given += 1
                if self.given == 3:
                    self.third.set()
                yield b"data: %d\n\n" % self.given
                await asyncio.sleep(0)
        finally:
            self.is_closed = True


def test_a_reader_that_takes_nothing_for_too_long_is_told_when_it_takes_again() -> None:
    async def scenario() -> tuple[Connection, Events]:
        connection, events = Connection(room=3), Events()
        stream = EventStream(events.give(), slow_s=0.05, last_s=5)
        answering = asyncio.ensure_future(stream(connection.scope, connection.receive, connection.send))
        await asyncio.sleep(0.2)
        connection.take.set()
        await answering
        return connection, events

    connection, events = asyncio.run(scenario())

    assert connection.body.split(b"\n\n")[-2].startswith(b"event: dropped\ndata: ")
    assert connection.got[-1]["more_body"] is False
    assert events.is_closed
    assert not connection.aborted


def test_a_reader_that_never_takes_anything_again_is_cut_off() -> None:
    async def scenario() -> tuple[Connection, Events]:
        connection, events = Connection(room=3), Events()
        stream = EventStream(events.give(), slow_s=0.05, last_s=0.05)
        await asyncio.wait_for(stream(connection.scope, connection.receive, connection.send), 5)
        return connection, events

    connection, events = asyncio.run(scenario())

    assert connection.aborted
    assert events.is_closed


def test_the_events_end_when_the_reader_leaves() -> None:
    async def scenario() -> tuple[Connection, Events]:
        connection, events = Connection(), Events()
        stream = EventStream(events.give())
        answering = asyncio.ensure_future(stream(connection.scope, connection.receive, connection.send))
        await asyncio.wait_for(events.third.wait(), 5)
        connection.leave.set()
        await asyncio.wait_for(answering, 5)
        return connection, events

    connection, events = asyncio.run(scenario())

    headers = dict(connection.got[0]["headers"])
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert headers[b"cache-control"] == b"no-store"
    assert events.is_closed
