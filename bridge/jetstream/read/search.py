"""Binary search in JetStream: finds a subject's first message that fulfils a condition all later ones fulfil.

JetStream answers "the first message of this subject at or after position p"; a search asks so a few dozen times,
however many messages there are. A search for many things asks many questions at once, and so waits no longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from fluxcap.bridge.jetstream.stream import StoredMessage

MAX_CONCURRENT_REQUESTS = 64


class NextMessage(Protocol):
    """The part of JetStream a search needs."""

    def next(self, subject: str, position: int) -> Awaitable[StoredMessage | None]: ...


async def bisect_first(
    api: NextMessage, subject: str, low: int, last: StoredMessage, holds: Callable[[StoredMessage], bool]
) -> StoredMessage:
    """The first message of ``subject`` at ``low`` or later of which ``holds`` is true.

    ``last`` is a later one of which it is. ``holds`` must be false up to some message and true from there on.
    """
    found, high, step = last, last.position - 1, 1
    probe = low
    while probe < last.position:  # gallop: what is looked for is often near
        message = await api.next(subject, probe)
        if message is None or message.position >= last.position:
            high = probe - 1  # between the probe and what it found is nothing of the subject
            break
        if holds(message):
            found, high = message, probe - 1
            break
        low, probe, step = message.position + 1, message.position + 1 + step, step * 2
    while low <= high:
        middle = (low + high) // 2
        message = await api.next(subject, middle)
        if message is None or message.position > high:  # nothing of the subject from there on
            high = middle - 1
        elif holds(message):
            found, high = message, middle - 1
        else:
            low = message.position + 1
    return found


async def bisect_steps(
    api: NextMessage, subject: str, low: int, last: StoredMessage, number: Callable[[StoredMessage], int], before: int
) -> list[StoredMessage]:
    """Every message of ``subject``, from ``low`` up to ``last``, that says a higher number than all before it.

    Oldest first. The number never falls; it was ``before`` ahead of ``low``, and is higher at ``last``.
    """
    turns = asyncio.Semaphore(MAX_CONCURRENT_REQUESTS)

    async def between(low: int, end: int, before: int, high: StoredMessage) -> list[StoredMessage]:
        """``high``: the first message at ``end`` or later, with a number above ``before``."""
        while low < end:
            middle = (low + end) // 2
            async with turns:
                message = await api.next(subject, middle)
            if message is None or message.position >= end:
                end = middle
            elif number(message) <= before:
                low = message.position + 1
            elif number(message) >= number(high):
                high, end = message, middle
            else:
                older = between(low, middle, before, message)
                newer = between(message.position + 1, end, number(message), high)
                return [found for half in await asyncio.gather(older, newer) for found in half]
        return [high]

    return await between(low, last.position, before, last)
