"""Actions a stream's receiver returns to its coordinator. Values only."""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from fluxcap.schemas.types import CandleArray


class Cursor(msgspec.Struct, frozen=True):
    """A client's position in a stream: all up to it has been delivered (and, with a cache, stored).

    Attributes
    ----------
    store_id
        The server's store these numbers belong to; ``""`` before the first contact.
    latest_sequence, latest_ts_ms
        Sequence of the newest candle, and the start of its bucket (UNIX epoch milliseconds, true UTC); 0: none yet.
    latest_revision
        Number of the newest revision; 0: none yet.
    """

    store_id: str = ""
    latest_sequence: int = 0
    latest_ts_ms: int = 0
    latest_revision: int = 0


class StartFrom(enum.Enum):
    """The start of a subscription. An ``int`` is accepted as well: see LiveClient."""

    RESUME = "resume"
    """Where the cache's cursor stands; from the oldest candle when there is none."""
    EARLIEST = "earliest"
    """From the oldest candle the server keeps."""
    LATEST = "latest"
    """Only what comes after now."""


class RestartReason(enum.Enum):
    STORE_REPLACED = "the server has a new store"
    STORE_WENT_BACK = "the server's store is older than what it served before"
    STORE_DIFFERS = "the server's store has other candles under the same sequences"


class Deliver(msgspec.Struct, frozen=True, eq=False):
    """The next candles of the stream: ``candles[i]`` has sequence ``start_sequence + i``."""

    start_sequence: int
    candles: CandleArray
    is_backfill: bool


class DeliverRevisions(msgspec.Struct, frozen=True, eq=False):
    """The next corrections; ``sequences[i]`` (0: a minute without one) is what ``candles[i]`` replaces."""

    start_revision: int
    sequences: npt.NDArray[np.uint64]
    candles: CandleArray


class RequestStatus(msgspec.Struct, frozen=True):
    """Ask for the stream's watermark."""


class RequestCandles(msgspec.Struct, frozen=True):
    """Ask for candles after a sequence; ``limit`` is never 0."""

    from_sequence_exclusive: int
    limit: int


class RequestRevisions(msgspec.Struct, frozen=True):
    from_revision_exclusive: int
    limit: int


class Buffered(msgspec.Struct, frozen=True):
    """Taken in, waits for what comes before it."""

    start_sequence: int
    count: int


class Duplicate(msgspec.Struct, frozen=True):
    """Candles dropped since they, or their time stamps, were delivered before."""

    count: int


class Restart(msgspec.Struct, frozen=True):
    """All delivered so far belongs to a store that is no more: drop it and start over."""

    reason: RestartReason
    store_id: str


class SkipGap(msgspec.Struct, frozen=True):
    """Candles that the server cannot serve: skipped, and said so."""

    from_sequence: int
    to_sequence: int
    reason: str


Action: TypeAlias = (
    Deliver
    | DeliverRevisions
    | RequestStatus
    | RequestCandles
    | RequestRevisions
    | Buffered
    | Duplicate
    | Restart
    | SkipGap
)
