"""A reader of server-sent events as a browser is one, and a chart that keeps what the feed's document says."""

from __future__ import annotations

import json
from typing import Any

from fluxcap.schemas.types import Candle


class EventParser:
    """Bytes in any pieces to events ``(kind, data)``; what is not ended when the connection is, is dropped."""

    def __init__(self) -> None:
        self.last_event_id = ""
        self._rest = b""

    def feed(self, chunk: bytes) -> list[tuple[str, Any]]:
        events = []
        *blocks, self._rest = (self._rest + chunk).split(b"\n\n")
        for block in blocks:
            kind, data = "message", []
            for line in block.decode().split("\n"):
                name, _, value = line.partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    data.append(value)
                elif name == "id":
                    self.last_event_id = value
            if data:
                events.append((kind, json.loads("\n".join(data))))
        return events

    def disconnect(self) -> None:
        """The connection ended."""
        self._rest = b""


class ChartReader:
    """Keeps the candles of each stream by their time, over any number of connections."""

    def __init__(self) -> None:
        self.parser = EventParser()
        self.candles: dict[str, dict[int, Candle]] = {}
        self.forming: dict[str, Candle] = {}
        self.prices: dict[str, list[float]] = {}
        self.states: dict[str, str] = {}
        self.kinds: list[str] = []

    def read(self, chunk: bytes) -> None:
        for kind, data in self.parser.feed(chunk):
            self.kinds.append(kind)
            if kind == "prices":
                self.prices |= data
                continue
            held = self.candles.setdefault(data["stream"], {}) if "stream" in data else {}
            match kind:
                case "reset":
                    held.clear()
                case "snapshot":
                    held.clear()
                    held |= by_time(data["candles"])
                case "candles" | "revision":
                    held |= by_time(data["candles"])
                case "forming":
                    self.forming[data["stream"]] = Candle(*data["candle"])
                case "state":
                    self.states[data["stream"]] = data["state"]
                case _:
                    pass


def by_time(rows: list[list[Any]]) -> dict[int, Candle]:
    return {row[0]: Candle(*row) for row in rows}
