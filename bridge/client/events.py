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

    ``candles`` has shape ``(n,)`` and dtype ``CANDLE_DTYPE``; ``candles[i]`` has sequence ``start_sequence + i``. With
    a data_dir they, and the cursor behind them, are on disk before this event is seen.
    """

    key: StreamKey
    start_sequence: int
    candles: CandleArray
    is_backfill: bool
    """Fetched, rather than heard live."""

    @property
    def end_sequence(self) -> int:
        """Sequence of the last candle."""
        return self.start_sequence + len(self.candles) - 1


class Revision(msgspec.Struct, frozen=True, eq=False):
    """Corrected candles for delivered ones.

    ``candles[i]`` replaces the candle with sequence ``sequences[i]``; 0 is a minute that the stream never had.
    """

    key: StreamKey
    start_revision: int
    sequences: npt.NDArray[np.uint64]
    candles: CandleArray


class Forming(msgspec.Struct, frozen=True):
    """The candle under way. Best effort: only the newest is kept for a slow consumer."""

    key: StreamKey
    candle: Candle


class Ticks(msgspec.Struct, frozen=True, eq=False):
    """Ticks as received, in columns of equal length. Best effort: lost ones cannot be fetched.

    They are numbered from ``start_sequence``, so that a missing one is noticed; each run of the server counts from 1.
    """

    key: StreamKey
    start_sequence: int
    ts_ms: npt.NDArray[np.int64]
    price: npt.NDArray[np.float64]


class HealthChanged(msgspec.Struct, frozen=True):
    """State or reason of a stream's health changed. Its age grows meanwhile: see ``LiveClient.health``."""

    key: StreamKey
    health: Health


class CaughtUp(msgspec.Struct, frozen=True):
    """All that the server is known to have was delivered, up to ``sequence``; said once per connection."""

    key: StreamKey
    sequence: int


class Gap(msgspec.Struct, frozen=True):
    """Sequences ``from_sequence`` to ``to_sequence`` were passed over; ``reason`` says why."""

    key: StreamKey
    from_sequence: int
    to_sequence: int
    reason: str


class StoreReplaced(msgspec.Struct, frozen=True):
    """The server's store is a new one: drop all candles of this stream; its sequences start over."""

    key: StreamKey
    store_id: str
    reason: str


Event: TypeAlias = Candles | Revision | Forming | Ticks | HealthChanged | CaughtUp | Gap | StoreReplaced
