"""A witness of what came over the sockets: reads frames by itself, with the standard library, as their shapes are told.

It knows every tick and every candle row that a sound reader may take from what it was shown, and so can tell whether
what was published has anything in it that no input said. It is slow and plain on purpose, and shares nothing with the
code it is held against.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections import defaultdict
from contextlib import suppress
from typing import Any

from fluxcap.capture.platforms.symbols import encode_symbol
from fluxcap.schemas.types import Candle

_SYMBOL = re.compile(r"[#A-Za-z0-9_~][A-Za-z0-9_#&~-]*")
_ANNOUNCEMENT = re.compile(r'45([0-9]{1,3})-(?:/[^,]*,)?\d*\["([^"]*)"', re.DOTALL)
_EVENT = re.compile(r'42(?:/[^,]*,)?\d*\["([^"]*)"(?:,(.*))?\]', re.DOTALL)
_HISTORIES = ("updateHistoryNewFast", "updateHistoryNew")
_PERIODS = ("loadHistoryPeriodFast", "loadHistoryPeriod")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")

ANY = ""
"""In place of an asset that a history leaves out."""


class Witness:
    """``offset_ms``: how far the platform's stamps are ahead of UTC. ``interval_ms``: of the candles."""

    def __init__(self, offset_ms: int, interval_ms: int) -> None:
        self._offset_ms = offset_ms
        self._interval_ms = interval_ms
        self._awaited: dict[object, tuple[str, int]] = {}
        self.ticks: defaultdict[str, set[tuple[int, float]]] = defaultdict(set)
        """Of each symbol: (raw stamp, price) of every tick told, live or as history."""
        self._prices: defaultdict[tuple[str, int], set[float]] = defaultdict(set)
        self._counts: defaultdict[tuple[str, int], int] = defaultdict(int)

    def knows(self, symbol: str, raw_ts_ms: int, price: float) -> bool:
        """Whether some input told this tick."""
        return (raw_ts_ms, price) in self.ticks[symbol]

    def fault_of(self, symbol: str, candle: Candle) -> str:
        """What of a candle no input told; "" when all of it was told."""
        bucket = (symbol, candle.ts_ms)
        if candle.ts_ms % self._interval_ms:
            return f"{candle} starts at no bucket"
        for price in (candle.open, candle.high, candle.low, candle.close):
            if price not in self._prices[bucket] and price not in self._prices[(ANY, candle.ts_ms)]:
                return f"no input told {price} for {symbol} in the bucket of {candle}"
        if candle.tick_count > self._counts[bucket]:
            return f"{symbol}: {candle} has more ticks than were told ({self._counts[bucket]})"
        return ""

    # --- what it sees ---------------------------------------------------------------------------------------------

    def message(self, data: bytes) -> Any:
        """A message of the browser's. Returns it read."""
        value = _read(data)
        if not isinstance(value, dict) or value.get("method") != "Network.webSocketFrameReceived":
            return value
        params = value.get("params")
        body = params.get("response") if isinstance(params, dict) else None
        if isinstance(body, dict) and isinstance(body.get("payloadData"), str):
            socket = json.dumps([value.get("sessionId", ""), params.get("requestId")])
            self.frame(socket, body.get("opcode"), body["payloadData"])
        return value

    def frame(self, socket: object, opcode: Any, payload: str) -> None:
        """A frame of a platform that speaks Socket.IO."""
        if opcode == 1 and payload[:2] == "45":
            told = _ANNOUNCEMENT.match(payload)
            self._awaited.pop(socket, None)
            if told:
                self._awaited[socket] = told[2], int(told[1])
        elif opcode == 1 and (told := _EVENT.fullmatch(payload)) and told[2] is not None:
            self.event(told[1], told[2].encode("utf-8", "surrogatepass"))
        elif opcode == 2 and socket in self._awaited:
            name, left = self._awaited.pop(socket)
            if left > 1:
                self._awaited[socket] = name, left - 1
            with suppress(ValueError):
                self.event(name, base64.b64decode(payload.encode("ascii", "ignore") + b"=="))

    def event(self, name: str, payload: bytes) -> None:
        """A Socket.IO event."""
        value = _read(payload)
        if name == "updateStream":
            for row in _rows(value):
                if len(row) >= 3:
                    self._tick(row[0], row[1], row[2])
        elif name in _HISTORIES and isinstance(value, dict):
            for row in _rows(value.get("history")):
                if len(row) >= 2:
                    self._tick(value.get("asset"), row[0], row[1])
            for row in _rows(value.get("candles")):
                if len(row) >= 5:
                    self._row(value.get("asset"), value.get("period"), row[0], *row[1:5])
        elif name in _PERIODS and isinstance(value, dict) and isinstance(value.get("data"), list):
            for row in value["data"]:
                if isinstance(row, dict):
                    prices = [row.get(column) for column in ("open", "close", "high", "low")]
                    self._row(value.get("asset"), value.get("period"), row.get("time"), *prices)
                    self._tick(value.get("asset"), row.get("time"), row.get("price"))

    def trade(self, payload: str) -> None:
        """A frame of an exchange: ``{"data": {"e": "trade", "s": …, "T": milliseconds, "p": "1.5"}}``."""
        value = _read(payload.encode("utf-8", "surrogatepass"))
        data = value.get("data") if isinstance(value, dict) else None
        if isinstance(data, dict) and data.get("e") == "trade" and isinstance(data.get("s"), str):
            time_ms, price = _number(data.get("T"), texts=True), _number(data.get("p"), texts=True)
            if time_ms is not None and data["s"].isprintable():
                self._tick(encode_symbol(data["s"]), time_ms / 1_000, price)

    # --- what it makes of it --------------------------------------------------------------------------------------

    def _tick(self, symbol: Any, ts_s: Any, price: Any) -> None:
        ts_s, price = _number(ts_s), _number(price)
        if not _is_symbol(symbol) or ts_s is None or price is None or price <= 0 or not 0 < ts_s < 1e11:
            return
        # The float of a stamp may lie below the decimal that was written, so either side of it may be meant.
        for raw_ts_ms in {math.floor(ts_s * 1_000 + half) for half in (-0.001, 0, 0.5)}:
            self.ticks[symbol].add((raw_ts_ms, price))
            bucket = (symbol, self._bucket(raw_ts_ms))
            self._prices[bucket].add(price)
            self._counts[bucket] += 1  # several of one stamp and price may each count

    def _row(self, symbol: Any, period_s: Any, start_s: Any, *prices: Any) -> None:
        start_s, numbers = _number(start_s), [_number(price) for price in prices]
        if start_s is None or not 0 < start_s < 1e11 or None in numbers:
            return
        # Without its period a history may mean any, and without its asset that of a request.
        period_s = _number(period_s)
        if not period_s or period_s < 1 or period_s % 1 or period_s == self._interval_ms / 1_000:
            asset = symbol if _is_symbol(symbol) else ANY
            self._prices[(asset, round(start_s * 1_000) - self._offset_ms)].update(numbers)

    def _bucket(self, raw_ts_ms: int) -> int:
        ts_ms = raw_ts_ms - self._offset_ms
        return ts_ms - ts_ms % self._interval_ms


def _read(data: bytes) -> Any:
    """JSON, as leniently as can be; None for what is none."""
    try:
        text = data.decode("utf-8", "surrogateescape")
        return json.loads(text, strict=False, parse_int=lambda digits: int(digits) if len(digits) < 300 else None)
    except (ValueError, RecursionError):
        return None


def _rows(value: Any) -> list[list[Any]]:
    return [row for row in value if isinstance(row, list)] if isinstance(value, list) else []


def _is_symbol(value: Any) -> bool:
    return isinstance(value, str) and _SYMBOL.fullmatch(value) is not None


def _number(value: Any, *, texts: bool = False) -> float | None:
    if isinstance(value, str) and texts and _DECIMAL.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e13 else None
