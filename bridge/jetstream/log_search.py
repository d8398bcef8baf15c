"""Where on the log something is: the first message of a subject of which a thing holds that holds of all after it.

The log answers "the first message of this subject at or after position p"; a search asks so a few dozen times, however
long the log is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from bridge.jetstream.log_access import LogMessage


class NextMessage(Protocol):
    """What a search needs of the log."""

    def next(self, subject: str, position: int) -> Awaitable[LogMessage | None]: ...


async def first_where(
    log: NextMessage, subject: str, low: int, last: LogMessage, holds: Callable[[LogMessage], bool]
) -> LogMessage:
    """The first message of ``subject`` at ``low`` or later of which ``holds`` is true.

    ``last`` is a later one of which it is. ``holds`` must be false up to some message and true from there on.
    """
    found, step = last, 1
    probe = low
    while probe < found.position:  # gallop: what is looked for is often near
        message = await log.next(subject, probe)
        if message is None or message.position >= found.position:
            break
        if holds(message):
            found = message
            break
        low, probe, step = message.position + 1, message.position + 1 + step, step * 2
    high = found.position - 1
    while low <= high:
        middle = (low + high) // 2
        message = await log.next(subject, middle)
        if message is None or message.position > high:  # nothing of the subject from there on
            high = middle - 1
        elif holds(message):
            found, high = message, middle - 1
        else:
            low = message.position + 1
    return found
