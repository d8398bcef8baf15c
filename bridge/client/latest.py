"""The newest candle of each stream, and the one under way, for screens. Pure: events in.

One thread may take events in while another reads: what is read is replaced whole.
"""

from __future__ import annotations

from fluxcap.bridge.client.events import Candles, CaughtUp, Event, Forming, StoreReplaced
from fluxcap.schemas.candles import first_whole_end_ms
from fluxcap.schemas.types import Candle, CandleArray, StreamKey, candles_from


class LatestCandle:
    """The newest of one stream.

    Attributes
    ----------
    sequence
        Of the newest candle, which may have come before these events; 0 before the first.
    candle
        The newest one.
    forming
        The candle under way, if it is later than ``candle``.
    count
        How many candles came.
    """

    def __init__(self) -> None:
        self.sequence = 0
        self.candle: Candle | None = None
        self.forming: Candle | None = None
        self.count = 0

    def add(self, start_sequence: int, candles: CandleArray) -> None:
        """The next candles of the stream, at least one."""
        self.count += len(candles)
        self.sequence = start_sequence + len(candles) - 1
        self.candle = next(candles_from(candles[-1:]))
        if self.forming is not None and self.forming.ts_ms <= self.candle.ts_ms:
            self.forming = None

    def set_forming(self, candle: Candle) -> bool:
        """The candle under way has changed. False when it is the same as before, or complete by now."""
        if candle == self.forming or (self.candle is not None and candle.ts_ms <= self.candle.ts_ms):
            return False
        self.forming = candle
        return True

    def first_whole_ms(self, interval_ms: int) -> int:
        """End (UTC ms) of the first bucket seen whole, while there is no candle yet; 0 else."""
        if self.sequence or self.forming is None:
            return 0
        return first_whole_end_ms(self.forming, interval_ms)

    def reset(self) -> None:
        """The stream starts over."""
        self.sequence, self.candle, self.forming = 0, None, None


class LatestCandles:
    """The newest of every stream, as events brought it."""

    def __init__(self) -> None:
        self._streams: dict[StreamKey, LatestCandle] = {}

    def __getitem__(self, key: StreamKey) -> LatestCandle:
        """Of one stream; an empty one before its first event."""
        return self._streams.get(key) or LatestCandle()

    def on_event(self, event: Event) -> None:
        """Take in what an event says of candles; others are of no interest."""
        stream = self._streams.get(event.key)
        if stream is None:
            stream = self._streams[event.key] = LatestCandle()
        match event:
            case Candles(_, start, candles):
                stream.add(start, candles)
            case Forming(_, candle):
                stream.set_forming(candle)
            case CaughtUp(_, sequence):
                stream.sequence = max(stream.sequence, sequence)
            case StoreReplaced():
                stream.reset()
            case _:
                pass
