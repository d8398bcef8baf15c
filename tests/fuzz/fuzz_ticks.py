"""Fuzzing of what platforms say: ``python tests/fuzz/fuzz_ticks.py --count 1000000 [--seed N] [--processes N]``.

Payloads of market events (ticks, histories, assets, charts …) and the frames of a described platform are damaged,
framed soundly, and taken in by a whole market, beside a socket that tells the truth. Nothing raises; no candle, tick
or revision holds a number that no input told; the truth stays whole.
"""

from __future__ import annotations

import base64
import random
import sys
from pathlib import Path
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).parents[2]))

from fluxcap.capture.platforms.generic import GenericPlatform
from fluxcap.capture.platforms.pocketoption import PocketOption
from fluxcap.capture.simulator.server.framing import number
from tests.fuzz.damage import damaged
from tests.fuzz.driver import Chapter, main
from tests.fuzz.market_chapter import OFFSET_MS, START_MS, TRUE, TRUE_SOCKET, MarketChapter
from tests.fuzz.market_seeds import SYMBOLS, Seeds, text

SOCKETS = ("noise-1", "noise-2")
TRADES: dict[str, Any] = {
    "pages": ["https://exchange.test/*"],
    "messages": "data",
    "symbol": "s",
    "time": "T",
    "price": "p",
    "filter": {"e": "trade"},
}


def announcement(name: str) -> str:
    """As the platform writes it."""
    return f'451-["{name}",{{"_placeholder":true,"num":0}}]'


class Events(MarketChapter):
    """Events of the platform whose ticks come over Socket.IO."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng, PocketOption())
        self._seeds = Seeds(START_MS, OFFSET_MS)
        self.open()

    def tell_truth(self, ts_ms: int, price: float) -> None:
        payload = f'[["{TRUE}",{number((ts_ms + self.offset_ms) / 1_000)},{number(price)}]]'
        self.hear(TRUE_SOCKET, "updateStream", payload.encode())

    def hear(self, socket: str, name: str, payload: bytes) -> None:
        frames = ((1, announcement(name)), (2, base64.b64encode(payload).decode()))
        for opcode, frame in frames:
            self.witness.frame(socket, opcode, frame)
            self.market.received(socket, opcode, frame, msgspec.structs.replace(self.at, drained=opcode == 2))
            if opcode == 2:
                self.market.advance_time(self.at)

    def invent(self) -> tuple[str, str, bytes]:
        self.pass_ms(self.rng.choice((1, 10, 40)))
        name, payload = self._seeds.event(self.now_ms, self.rng)
        return self.rng.choice(SOCKETS), name, damaged(payload.encode(), self.rng, self._seeds.texts)

    def take(self, data: tuple[str, str, bytes]) -> str:
        self.check()
        self.hear(*data)
        return "taken" if self.check() else "without a tick"


class Trades(MarketChapter):
    """Frames of a described platform: JSON as exchanges send it."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng, GenericPlatform((), **TRADES), offset_ms=0)
        self._texts = [self._trade(symbol, START_MS, 1.5).encode() for symbol in SYMBOLS]
        self.open()

    def _trade(self, symbol: str, ts_ms: int, price: float) -> str:
        return text({"stream": "x", "data": {"e": "trade", "s": symbol, "p": f"{price:.8f}", "T": ts_ms, "m": True}})

    def tell_truth(self, ts_ms: int, price: float) -> None:
        self.hear(TRUE_SOCKET, self._trade(TRUE, ts_ms, price))

    def hear(self, socket: str, payload: str) -> None:
        self.witness.trade(payload)
        self.market.received(socket, 1, payload, self.at)
        self.market.advance_time(self.at)

    def invent(self) -> tuple[str, str]:
        self.pass_ms(self.rng.choice((1, 10, 40)))
        ts_ms = self.now_ms - self.rng.randrange(700, 900)
        sound = self._trade(self.rng.choice(SYMBOLS), ts_ms, self.rng.randrange(1, 99_999) / 1e5)
        bad = damaged(sound.encode(), self.rng, self._texts)
        return self.rng.choice(SOCKETS), bad.decode("utf-8", "surrogateescape")

    def take(self, data: tuple[str, str]) -> str:
        self.check()
        self.hear(*data)
        return "taken" if self.check() else "without a tick"


def begin(rng: random.Random) -> Chapter:
    """A chapter of one of the two."""
    return rng.choice((Events, Events, Trades))(rng)


if __name__ == "__main__":
    sys.exit(main(begin, __doc__))
