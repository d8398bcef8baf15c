"""Live messages of many streams: a reader for each filter, all into one place, at the pace of whoever takes them.

Coroutines, and one task a filter. A filter that replaces others goes on from where the first of them was, so that
streams can come and go without anything being missed; what comes twice is known by its sequences.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bridge.jetstream.log_access import LogAccess, LogMessage
from bridge.jetstream.log_reader import LogReader
from schemas.errors import FluxcapError, LogUnavailable

AGAIN_S = 0.2


class Following:
    """Parameters

    take
        Gets the messages of a filter, in the order of the log.
    room
        Set while more may be taken; nothing is read otherwise.
    failed
        Told when a reader cannot go on; once for each.
    """

    def __init__(
        self,
        log: LogAccess,
        take: Callable[[list[LogMessage]], None],
        room: asyncio.Event,
        failed: Callable[[FluxcapError], None],
    ) -> None:
        self._log = log
        self._take = take
        self._room = room
        self._failed = failed
        self._readers: dict[str, tuple[LogReader, asyncio.Task[None]]] = {}

    def follow(self, filters: frozenset[str], newest_position: int) -> None:
        """Follow these and no others; what is new begins behind ``newest_position`` at the latest."""
        gone = [self._readers.pop(name) for name in self._readers.keys() - filters]
        for _, task in gone:
            task.cancel()
        begin = min([newest_position + 1, *(reader.next_position for reader, _ in gone)])
        for name in filters - self._readers.keys():
            reader = LogReader(self._log, name, begin)
            self._readers[name] = (reader, asyncio.create_task(self._read(reader)))

    def close(self) -> None:
        """End all of it."""
        self.follow(frozenset(), 0)

    async def _read(self, reader: LogReader) -> None:
        try:
            while True:
                await self._room.wait()
                try:
                    self._take(await reader.read())
                except LogUnavailable:  # whether that lasts is for others to judge
                    await asyncio.sleep(AGAIN_S)
        except FluxcapError as error:
            self._failed(error)
        finally:
            await reader.close()
