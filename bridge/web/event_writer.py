"""Events of a client as server-sent events, with the reader's position in each stream. Pure.

See ``fluxcap.bridge.web.readers`` for the kinds of events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from fluxcap.bridge.client.events import (
    Candles,
    CaughtUp,
    Event,
    Forming,
    Gap,
    HealthChanged,
    Revision,
    StoreReplaced,
)
from fluxcap.bridge.client.receiver.actions import Cursor
from fluxcap.bridge.web.positions import encode_positions
from fluxcap.schemas.types import Candle, CandleArray, StreamKey

CANDLE_FIELDS = ("ts_ms", "open", "high", "low", "close", "volume", "tick_count", "flags")
"""A candle in JSON is a list of these."""


class StoreKnown(msgspec.Struct, frozen=True):
    """The store of a stream that began without one; before the first candle of it."""

    key: StreamKey
    store_id: str


def stream_name(key: StreamKey) -> str:
    """``POCKETOPTION/EURUSD_otc/1m``."""
    return f"{key.source_id}/{key.symbol}/{key.interval}"


def candle_rows(candles: CandleArray) -> list[list[Any]]:
    """Candles as lists of ``CANDLE_FIELDS``."""
    return [list(row) for row in candles.tolist()]


def candle_row(candle: Candle) -> list[Any]:
    """One candle as a list of ``CANDLE_FIELDS``."""
    return [getattr(candle, name) for name in CANDLE_FIELDS]


def encode_event(kind: str, data: Any, event_id: str = "") -> bytes:
    """One server-sent event. JSON has no line ends, so that the data is one line."""
    head = f"id: {event_id}\nevent: {kind}\n" if event_id else f"event: {kind}\n"
    return b"%bdata: %b\n\n" % (head.encode(), msgspec.json.encode(data))


class EventWriter:
    """One reader's events.

    Parameters
    ----------
    streams
        Streams with their candles, in the order of the event id.
    positions
        Where the reader stands in them.
    watched
        Streams of which the last price and the state are told, and nothing else.

    Attributes
    ----------
    positions
        Where the reader stands after all that was written.
    watched
        The watched streams; more may be added.
    replaced
        A stream's store is another one: the reader has to come again.
    """

    def __init__(
        self, streams: Sequence[StreamKey], positions: Mapping[StreamKey, Cursor], watched: Iterable[StreamKey] = ()
    ) -> None:
        self.positions = dict(positions)
        self.replaced = False
        self._streams = tuple(streams)
        self._candles_of = frozenset(streams)
        self.watched = set(watched)
        self._prices: dict[StreamKey, tuple[float, int]] = {}
        self._priced_ms: dict[StreamKey, int] = {}

    @property
    def event_id(self) -> str:
        return encode_positions(self._streams, self.positions)

    def start(self) -> bytes:
        """The first event: the streams, and where the feed of each begins."""
        rows = [
            {
                "stream": stream_name(key),
                "store_id": at.store_id,
                "sequence": at.latest_sequence,
                "revision": at.latest_revision,
            }
            for key in self._streams
            for at in (self.positions.get(key, Cursor()),)
        ]
        return encode_event("start", {"streams": rows, "candle": CANDLE_FIELDS})

    def ready(self) -> bytes:
        """The reader has what it begins with: only from here on it may come again with an id."""
        return encode_event("ready", {}, self.event_id)

    def snapshot(self, key: StreamKey, candles: CandleArray, sequences: Iterable[int]) -> bytes:
        """The newest candles of a stream, in place of all that the reader has of it."""
        at = self.positions.get(key, Cursor())
        return encode_event(
            "snapshot",
            {
                "stream": stream_name(key),
                "store_id": at.store_id,
                "candles": candle_rows(candles),
                "sequences": list(sequences),
            },
        )

    def reset(self, key: StreamKey, store_id: str, reason: str) -> bytes:
        """The reader has to drop what it has of a stream; coming again, it begins it."""
        self.positions.pop(key, None)
        data = {"stream": stream_name(key), "store_id": store_id, "reason": reason}
        return encode_event("reset", data, self.event_id)

    def write(self, events: Iterable[Event | StoreKnown]) -> bytes:
        """Write what came, up to a store that was replaced. The last event that moves a position carries the id."""
        parts: list[tuple[str, Any]] = []
        moving = -1
        ending = b""
        for event in events:
            key = event.key
            if key in self._candles_of:
                if isinstance(event, StoreReplaced):
                    self.replaced = True
                    ending = self.reset(key, event.store_id, event.reason)
                    break
                if self._move(event):
                    moving = len(parts)
                data = _data_of(event)
                if data is not None:
                    parts.append(data)
                elif moving == len(parts):
                    moving -= 1
            if key in self.watched:
                self._note_price(event)
                if isinstance(event, HealthChanged) and key not in self._candles_of:
                    parts.append(_state(event))
        if self._prices:
            rows = {stream_name(key): price for key, price in self._prices.items()}
            parts.append(("prices", rows))
            self._prices.clear()
        event_id = self.event_id if moving >= 0 and not ending else ""
        written = [encode_event(kind, data, event_id if at == moving else "") for at, (kind, data) in enumerate(parts)]
        return b"".join(written) + ending

    def _move(self, event: Event | StoreKnown) -> bool:
        at = self.positions.get(event.key, Cursor())
        match event:
            case StoreKnown(_, store_id):
                moved = msgspec.structs.replace(at, store_id=store_id)
            case Candles(_, start, candles):
                ts_ms = int(candles["ts_ms"][-1])
                moved = Cursor(at.store_id, start + len(candles) - 1, ts_ms, at.latest_revision)
            case Revision(_, start, _, candles):
                moved = msgspec.structs.replace(at, latest_revision=start + len(candles) - 1)
            case Gap(_, _, last):
                # The time of a sequence that the server has no more is not known.
                moved = Cursor(at.store_id, last, 0, at.latest_revision)
            case _:
                return False
        self.positions[event.key] = moved
        return True

    def _note_price(self, event: Event | StoreKnown) -> None:
        match event:
            case Forming(key, candle):
                price, ts_ms = candle.close, candle.ts_ms
            case Candles(key, _, candles):
                price, ts_ms = float(candles["close"][-1]), int(candles["ts_ms"][-1])
            case _:
                return
        # A candle is sealed when the next one is under way already.
        if ts_ms >= self._priced_ms.get(key, 0):
            self._priced_ms[key] = ts_ms
            self._prices[key] = (price, ts_ms)


def _data_of(event: Event | StoreKnown) -> tuple[str, Any] | None:
    match event:
        case Candles(key, start, candles, is_backfill):
            return "candles", {
                "stream": stream_name(key),
                "sequence": start,
                "backfill": is_backfill,
                "candles": candle_rows(candles),
            }
        case Revision(key, start, sequences, candles):
            return "revision", {
                "stream": stream_name(key),
                "revision": start,
                "sequences": sequences.tolist(),
                "candles": candle_rows(candles),
            }
        case Forming(key, candle):
            return "forming", {"stream": stream_name(key), "candle": candle_row(candle)}
        case Gap(key, first, last, reason):
            return "gap", {"stream": stream_name(key), "from_sequence": first, "to_sequence": last, "reason": reason}
        case CaughtUp(key, sequence):
            return "caught_up", {"stream": stream_name(key), "sequence": sequence}
        case HealthChanged():
            return _state(event)
        case _:
            return None


def _state(event: HealthChanged) -> tuple[str, Any]:
    health = event.health
    return "state", {
        "stream": stream_name(event.key),
        "state": health.state.value,
        "label": health.label,
        "reason": health.reason,
        "feed_state": health.feed_state.name.lower(),
        "age_ms": None if health.age_ns is None else health.age_ns // 1_000_000,
    }
