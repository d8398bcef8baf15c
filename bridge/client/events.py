"""Events a live client gives its consumer, in one ordered stream."""

from __future__ import annotations

from typing import TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from fluxcap.bridge.client.health import Health
from fluxcap.schemas.types import Candle, CandleArray, StreamKey


class Candles(msgspec.Struct, frozen=True, eq=False):
    """The next candles of a stream, in order and once each.

    With a ``data_dir`` they, and the cursor behind them, are on disk before this event is seen.

    Attributes
    ----------
    key
        The stream.
    start_sequence
        Sequence of the first candle; ``candles[i]`` has ``start_sequence + i``.
    candles
        Shape ``(n,)``, dtype ``CANDLE_DTYPE``.
    is_backfill
        Fetched, rather than received live.
    """

    key: StreamKey
    start_sequence: int
    candles: CandleArray
    is_backfill: bool

    @property
    def end_sequence(self) -> int:
        """Sequence of the last candle."""
        return self.start_sequence + len(self.candles) - 1


class Revision(msgspec.Struct, frozen=True, eq=False):
    """Corrected candles for delivered ones.

    Attributes
    ----------
    key
        The stream.
    start_revision
        Number of the first revision; ``candles[i]`` has ``start_revision + i``.
    sequences
        Shape ``(n,)``: the sequence of the candle that ``candles[i]`` replaces; 0: a minute that the stream never had.
    candles
        Shape ``(n,)``, dtype ``CANDLE_DTYPE``.
    """

    key: StreamKey
    start_revision: int
    sequences: npt.NDArray[np.uint64]
    candles: CandleArray


class Forming(msgspec.Struct, frozen=True):
    """The forming candle. Best effort: only the newest is kept for a slow consumer.

    Attributes
    ----------
    key
        The stream.
    candle
        As it is so far; ``ts_ms`` is the start of its bucket.
    """

    key: StreamKey
    candle: Candle


class Ticks(msgspec.Struct, frozen=True, eq=False):
    """Ticks as received, in columns of equal length. Best effort: lost ones cannot be fetched.

    Attributes
    ----------
    key
        The stream.
    start_sequence
        Number of the first tick, so that a missing one is noticed; each run of the server counts from 1.
    ts_ms
        Shape ``(n,)``: UNIX epoch milliseconds, true UTC.
    price
        Shape ``(n,)``.
    """

    key: StreamKey
    start_sequence: int
    ts_ms: npt.NDArray[np.int64]
    price: npt.NDArray[np.float64]


class HealthChanged(msgspec.Struct, frozen=True):
    """State or reason of a stream's health changed. Its age grows meanwhile: see ``LiveClient.health``.

    Attributes
    ----------
    key
        The stream.
    health
        As it is now.
    """

    key: StreamKey
    health: Health


class CaughtUp(msgspec.Struct, frozen=True):
    """All that the server is known to have was delivered; emitted once per connection.

    Attributes
    ----------
    key
        The stream.
    sequence
        That of the newest candle delivered.
    """

    key: StreamKey
    sequence: int


class Gap(msgspec.Struct, frozen=True):
    """Sequences that were passed over.

    Attributes
    ----------
    key
        The stream.
    from_sequence, to_sequence
        The first and the last of them.
    reason
        Why, in plain words.
    """

    key: StreamKey
    from_sequence: int
    to_sequence: int
    reason: str


class StoreReplaced(msgspec.Struct, frozen=True):
    """The server's store is a new one: drop all candles of this stream; its sequences start over.

    Attributes
    ----------
    key
        The stream.
    store_id
        The new store.
    reason
        How it was noticed, in plain words.
    """

    key: StreamKey
    store_id: str
    reason: str


Event: TypeAlias = Candles | Revision | Forming | Ticks | HealthChanged | CaughtUp | Gap | StoreReplaced
