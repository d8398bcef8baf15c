"""One stream on its way to JetStream: what to do next, and what each answer means. Pure.

In: what the store has (its StreamStatus), what JetStream says of the stream's subject, what became of each message.
Out: the next step. At most one message of a stream is under way: the next one says which JetStream position it must
follow, so that order holds against anything, a second forwarder included.

JetStream is the truth. Its last message says where the stream stands, so a message whose answer was lost is neither
sent twice nor skipped: when anything is uncertain JetStream is asked first. What the forwarder remembers
(checkpoint.py) counts only where JetStream has discarded its messages, and to know a store that has been replaced from
one that replaces. JetStream discards its oldest messages, so that it begins behind them; what is missing from where it
still reaches was lost, by a power failure mostly, and is sent again.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

from fluxcap.bridge.jetstream.subjects import Position
from fluxcap.schemas.types import StreamKey, StreamStatus

CANDLES_A_MESSAGE = 500
"""About 40 KB; far below a server's usual limit of 1 MB."""

AHEAD = "JetStream is ahead of this store"


class ForwardPhase(enum.Enum):
    UNKNOWN = "its position in JetStream is not known yet"
    SYNCED = "its position in JetStream is known"
    BLOCKED = "sending would contradict what is in JetStream"


class CheckpointEntry(msgspec.Struct, frozen=True):
    """A stream's saved position in JetStream. ``stream_position``: that of the subject's last message."""

    position: Position
    stream_position: int = msgspec.field(name="log_position")


class FetchLast(msgspec.Struct, frozen=True):
    """Ask JetStream for the last message of the subject; then ``answered``."""


class CompareCandle(msgspec.Struct, frozen=True):
    """Look up the store's candle of this sequence; then ``compared``."""

    sequence: int


class SendCandles(msgspec.Struct, frozen=True):
    """Send the store's candles after this sequence."""

    after_sequence: int


class SendRevisions(msgspec.Struct, frozen=True):
    """Send the store's revisions after one, up to another.

    A newer one may name a candle that is not in JetStream yet.
    """

    after_revision: int
    to_revision: int


Step: TypeAlias = FetchLast | CompareCandle | SendCandles | SendRevisions


_NOTHING = Position()


class StreamForwardState:
    """See the module.

    Attributes
    ----------
    position
        What JetStream holds of this store.
    stream_position
        Of the subject's last message; 0: none. The next message must follow it.
    reason
        Why it is blocked, or waits; "" while all is well.
    goes_on
        Whether the next step may be done at once; else the stream is let rest for a moment.
    max_candles
        In one message; halved when JetStream finds one too large.
    """

    def __init__(self, key: StreamKey, remembered: CheckpointEntry | None = None) -> None:
        self.key = key
        self.state = ForwardPhase.UNKNOWN
        self.position = Position()
        self.stream_position = 0
        self.reason = ""
        self.goes_on = True
        self.max_candles = CANDLES_A_MESSAGE
        self._remembered = remembered
        self._store = StreamStatus(key)
        self._compared = False

    @property
    def store(self) -> StreamStatus:
        return self._store

    def behind(self, store: StreamStatus) -> int:
        """Candles and revisions of the store, as it is now, that are not on JetStream, as far as is known."""
        have = self.position if self.position.store_id == store.store_id else _NOTHING
        candles = store.latest_sequence - max(have.latest_sequence, store.first_sequence - 1)
        return max(0, candles) + max(0, store.latest_revision - have.latest_revision)

    @property
    def had_messages(self) -> bool:
        """Return whether messages of this store are known to be in JetStream."""
        return self._remembered is not None and self._remembered.position.store_id == self._store.store_id

    @property
    def checkpoint(self) -> CheckpointEntry | None:
        """For the cursor; None before anything is known."""
        if self.state is ForwardPhase.SYNCED and self.position.first_sequence:
            return CheckpointEntry(self.position, self.stream_position)
        return self._remembered

    def set_store_status(self, store: StreamStatus) -> None:
        """The store's newest. One of another ``store_id`` restarts the stream."""
        if store.store_id != self._store.store_id and self._store.store_id:
            self._remembered = self.checkpoint
            self._enter(ForwardPhase.UNKNOWN)
        self._store = store

    def next(self) -> Step | None:
        """Return the next step; None until something changes."""
        store, have = self._store, self.position
        if not store.store_id or not (store.latest_sequence or store.latest_revision):
            return None
        if self.state is ForwardPhase.UNKNOWN:
            return FetchLast()
        if self.state is ForwardPhase.BLOCKED:
            return None
        if have.latest_sequence > store.latest_sequence or have.latest_revision > store.latest_revision:
            self.reason = AHEAD
            return None
        if self.reason == AHEAD:
            self.reason = ""
        if not self._compared:
            if store.first_sequence <= have.latest_sequence:
                return CompareCandle(have.latest_sequence)
            self._compared = True  # that candle was pruned by the store, or there is none yet
        if have.latest_sequence < store.latest_sequence:
            return SendCandles(have.latest_sequence)
        if have.latest_revision < store.latest_revision:
            return SendRevisions(have.latest_revision, store.latest_revision)
        self.reason = ""  # whatever it waited for: all is there
        return None

    def answered(self, last: Position | None, log_position: int = 0, *, first_position: int = 0) -> bool:
        """Handle the position of the subject's last message; None where it has no message.

        ``first_position``: JetStream's first, of any subject; needed where there is no message and ``had_messages``.
        True when this store begins on a subject that another one had before.
        """
        mine, begins = self._store.store_id, False
        if last is None:
            position = self._forgotten(first_position)
        elif last.store_id == mine:
            position = last
        elif self.had_messages:
            self.block("another store publishes under this name; give one of the two machines another source")
            return False
        else:
            position, begins = Position(mine), True
        self.position, self.stream_position = position, log_position
        self._enter(ForwardPhase.SYNCED)
        self._compared = not position.latest_sequence
        return begins

    def _forgotten(self, first_position: int) -> Position:
        """Return the position before which messages were deleted by JetStream and need not be sent again."""
        memory = self._remembered
        if memory is not None and self.had_messages and memory.stream_position < first_position:
            return memory.position
        return Position(self._store.store_id)

    def compared(self, ts_ms: int | None) -> None:
        """The time of the store's candle under JetStream's newest sequence; None where it has none any more."""
        self._compared = True
        if ts_ms is not None and ts_ms != self.position.latest_ts_ms:
            self.block("JetStream has other candles with the same sequences: this store was restored from a backup")

    def stored(self, position: Position, log_position: int) -> None:
        """A message is on JetStream; ``position`` includes it."""
        self.position, self.stream_position = position, log_position
        self.reason = ""

    def invalidate(self) -> None:
        """It is not known what JetStream has: a connection ended, an answer did not come, somebody else was quicker."""
        self._remembered = self.checkpoint
        self._enter(ForwardPhase.UNKNOWN)

    def hold(self, reason: str) -> None:
        """JetStream did not take it, though it may later. It is asked again first."""
        self.invalidate()
        self.reason = reason
        self.goes_on = False

    def too_large(self) -> bool:
        """JetStream found a message too large. False when it cannot be made smaller."""
        if self.max_candles == 1:
            self.block("the JetStream stream's max_msg_size is too small for a single candle; raise it")
            return False
        self.max_candles //= 2
        return True

    def block(self, reason: str) -> None:
        """Nothing more is sent until JetStream is asked again."""
        self._enter(ForwardPhase.BLOCKED)
        self.reason = reason

    def _enter(self, state: ForwardPhase) -> None:
        self.state = state
        self.goes_on = state is not ForwardPhase.BLOCKED
        if state is not ForwardPhase.SYNCED:
            self.reason = ""
