"""The newest message of each of many subjects, by one reading of JetStream. Coroutines.

A consumer may be served by a copy of the stream that is a little behind its leader; so the leader is asked first how
far the stream reaches, and the reading goes on until it has come as far.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Collection

from fluxcap.bridge.jetstream.consumer import PullConsumer
from fluxcap.bridge.jetstream.stream import JetStreamApi, StoredMessage
from fluxcap.bridge.jetstream.subjects import ALL_SUBJECTS
from fluxcap.schemas.errors import NatsUnavailable

LEAST_SUBJECTS = 16
"""So many at once are worth a reading of their own,"""
OTHERS_A_SUBJECT = 4
"""where there are not so many others for each of them."""
SINGLY_AT_ONCE = 256
LONE_S, GATHER_S = 0.001, 0.003
"""How long others are waited for: by the first who asks, and while more of them come."""
GATHERINGS = 20
READ_S = 5.0
"""How long JetStream may say nothing while it is known to have more."""
BEHIND_S = 0.5
"""How long a copy of the stream may be behind its leader."""


async def gather_requests(asked: Collection[object]) -> None:
    """Wait until no more are asked for, or for long enough."""
    for _ in range(GATHERINGS):
        before = len(asked)
        await asyncio.sleep(LONE_S if before == 1 else GATHER_S)
        if len(asked) == before:
            return


async def read_newest(api: JetStreamApi, most: int = sys.maxsize) -> tuple[dict[str, StoredMessage], bool]:
    """Read the newest message of every subject, without its payload, and whether none can be missing.

    Nothing is read where there are more than ``most``. Raises NatsUnavailable, NatsError.
    """
    state = await api.state()
    end = state.last_position if state.messages else 0
    found: dict[str, StoredMessage] = {}
    reader = PullConsumer(api, ALL_SUBJECTS, 1, newest_only=True)
    try:
        await reader.open()
        if reader.pending > most:
            return found, False
        while reader.pending > 0 or reader.next_position <= end:
            messages = await reader.read(READ_S if reader.pending else BEHIND_S)
            found |= {message.subject: message for message in messages}
            if not messages:
                if reader.pending:
                    raise NatsUnavailable("JetStream did not return the messages.")
                return found, False
    finally:
        await reader.close()
    return found, True


class NewestMessages:
    """The newest message of a subject, for many who ask at once: who asks during a reading waits for the next one."""

    def __init__(self, api: JetStreamApi) -> None:
        self._api = api
        self._asked: dict[str, asyncio.Future[StoredMessage | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def last(self, subject: str) -> StoredMessage | None:
        """The newest message, as it is now or later; where many are asked for, without its payload.

        Raises NatsUnavailable, NatsError.
        """
        answer = self._asked.get(subject)
        if answer is None:
            answer = self._asked[subject] = asyncio.get_running_loop().create_future()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._answer())
        return await asyncio.shield(answer)

    def close(self) -> None:
        """End what is under way."""
        if self._task is not None:
            self._task.cancel()

    async def _answer(self) -> None:
        while self._asked:
            await gather_requests(self._asked)
            asked, self._asked = self._asked, {}
            try:
                found = await self._read(asked)
            except Exception as error:
                for answer in asked.values():
                    answer.set_exception(error)
            except BaseException:
                for answer in [*asked.values(), *self._asked.values()]:
                    answer.cancel()
                raise
            else:
                for subject, answer in asked.items():
                    answer.set_result(found.get(subject))

    async def _read(self, subjects: Collection[str]) -> dict[str, StoredMessage]:
        if len(subjects) >= LEAST_SUBJECTS:
            # A user who may make no consumer is answered all the same, if late.
            with contextlib.suppress(NatsUnavailable):
                found, is_current = await read_newest(self._api, (1 + OTHERS_A_SUBJECT) * len(subjects))
                if is_current:
                    return found
        turns = asyncio.Semaphore(SINGLY_AT_ONCE)

        async def singly(subject: str) -> StoredMessage | None:
            async with turns:
                return await self._api.last(subject)

        messages = await asyncio.gather(*map(singly, subjects))
        return {message.subject: message for message in messages if message is not None}
