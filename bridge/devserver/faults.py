"""Decides which fault each message to a client suffers. Pure: time and randomness go in.

``FaultInjector.publish`` turns one message into the messages that really leave, with the time each is due;
``FaultInjector.answer`` turns one answer into what the client gets of it.
"""

from __future__ import annotations

from collections import Counter
from random import Random

import msgspec

from fluxcap.schemas.errors import ConfigError

_NS_PER_MS = 1_000_000


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Faults in force; the default is none. Percentages are of messages, each decided by itself."""

    drop_percent: float = 0.0
    """Published messages of every kind that never leave."""
    skip_every: int = 0
    """Every so many batches of a server one is stored but not published."""
    jitter_ms: int = 0
    """Published messages leave up to so much later, in their order."""
    reorder_percent: float = 0.0
    """Published messages that leave after later ones."""
    duplicate_percent: float = 0.0
    """Published messages that leave twice."""
    garbage_percent: float = 0.0
    """Published messages and answers that are damaged on their way."""
    stall: bool = False
    """Nothing is published at all, heartbeats included; requests are answered."""
    feed_state: int = 4
    """What heartbeats say of the feed, see ``fluxcap.schemas.types.FeedState``."""
    answer_delay_ms: int = 0
    """Every answer comes so much later."""
    answer_fail_percent: float = 0.0
    """Backfill answers that are an ErrorResponse 500."""
    answer_empty_percent: float = 0.0
    """Backfill answers that hold nothing, though there is something."""

    def check(self) -> Faults:
        """Itself. Raises ConfigError."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            most = 100 if name.endswith("_percent") else 1_000_000
            if not 0 <= value <= most:
                raise ConfigError(f"{name} must be from 0 to {most}, not {value}.")
        return self


class Departure(msgspec.Struct, frozen=True):
    """A payload, and when it leaves (monotonic nanoseconds)."""

    due_ns: int
    payload: bytes


class FaultInjector:
    """Decides under the faults in force, which may be swapped at any time. One thread per method.

    Two random streams, one for what is published and one for answers: with a seed each repeats itself whatever the
    other does.
    """

    REORDER_BY_MS = 40

    def __init__(self, seed: int) -> None:
        self.faults = Faults()
        self._published = Random(f"published {seed}")  # noqa: S311
        self._answered = Random(f"answered {seed}")  # noqa: S311
        self._batches = 0
        self._last_due_ns = 0
        self.dropped: Counter[str] = Counter()
        """Messages that never left, by kind."""

    def publish(self, kind: str, payload: bytes, now_ns: int) -> list[Departure]:
        """Return the messages to send in place of one; ``kind`` is that of its topic."""
        faults, random = self.faults, self._published
        if faults.stall or self._is_skipped(kind, faults) or _hits(random, faults.drop_percent):
            self.dropped[kind] += 1
            return []
        if _hits(random, faults.garbage_percent):
            payload = damaged(payload, random)
        due_ns = now_ns
        if faults.jitter_ms:
            # Never earlier than the message before: jitter delays, only reordering reorders.
            due_ns = max(now_ns + int(random.random() * faults.jitter_ms * _NS_PER_MS), self._last_due_ns)
        self._last_due_ns = due_ns
        if _hits(random, faults.reorder_percent):
            due_ns += int((0.2 + 0.8 * random.random()) * self.REORDER_BY_MS * _NS_PER_MS)
        departures = [Departure(due_ns, payload)]
        if _hits(random, faults.duplicate_percent):
            departures.append(Departure(due_ns + int(random.random() * self.REORDER_BY_MS * _NS_PER_MS), payload))
        return departures

    def answer(self, is_backfill: bool) -> str:
        """``"good"``, ``"fail"``, ``"empty"`` or ``"garbage"``."""
        faults, random = self.faults, self._answered
        if is_backfill and _hits(random, faults.answer_fail_percent):
            return "fail"
        if is_backfill and _hits(random, faults.answer_empty_percent):
            return "empty"
        return "garbage" if _hits(random, faults.garbage_percent) else "good"

    def damage_answer(self, payload: bytes) -> bytes:
        return damaged(payload, self._answered)

    def _is_skipped(self, kind: str, faults: Faults) -> bool:
        if kind != "candles":
            return False
        self._batches += 1
        return faults.skip_every > 0 and self._batches % faults.skip_every == 0


def damaged(payload: bytes, random: Random) -> bytes:
    """Bytes that no reader can take for a message: cut short, emptied, or noise of the same length.

    Single flipped bits are left out on purpose: the wire has no checksum above TCP's, so that a flipped price would be
    a price.
    """
    how = random.randrange(3)
    if how == 0:
        return payload[: random.randrange(max(1, min(len(payload), 16)))]
    if how == 1:
        return b""
    # A root offset far outside: no noise may happen to be a message.
    return b"\xff\xff\xff\x7f" + random.randbytes(max(0, len(payload) - 4))


def _hits(random: Random, percent: float) -> bool:
    return percent > 0 and random.random() * 100 < percent
