"""Fuzzing of Socket.IO framing: ``python tests/fuzz/fuzz_socketio.py --count 1000000 [--seed N] [--processes N]``.

Frames of the simulated site, its garbage among them, are damaged in opcode, text, base64 and order, and taken in by a
whole market, beside a socket that tells the truth. Nothing raises; what is published was told by some input; of each
socket only so much is remembered, and the truth stays whole.
"""

from __future__ import annotations

import base64
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from fluxcap.capture.market.feeds import GapReason
from fluxcap.capture.platforms.pocketoption import PocketOptionDecoder
from tests.fuzz.damage import damaged
from tests.fuzz.driver import Chapter, main
from tests.fuzz.fuzz_ticks import Events, announcement
from tests.fuzz.market_chapter import START_MS, TRUE_SOCKET
from tests.fuzz.market_seeds import packets

OPCODES = (0, 1, 2, 3, 8, 9, 10, -1, 255, 2**40)
Frames = tuple[str, list[tuple[int, str]]]


class Framing(Events):
    """Bursts of frames on sockets that come and go."""

    def __init__(self, rng: random.Random) -> None:
        self._packets = [_as_cdp(opcode, payload) for opcode, payload in packets(START_MS)]
        self._others = [payload.encode() for _, payload in self._packets]
        self._names = [f"noise-{index}" for index in range(4)]
        super().__init__(rng)

    def invent(self) -> Frames:  # type: ignore[override]
        rng = self.rng
        self.pass_ms(rng.choice((1, 10, 40)))
        frames = self._sound()
        for _ in range(rng.choice((1, 1, 2))):
            self._harm(frames)
        if rng.random() < 0.01:
            self._names[rng.randrange(len(self._names))] = f"noise-{rng.getrandbits(32)}"
        return rng.choice(self._names), frames

    def _sound(self) -> list[tuple[int, str]]:
        if self.rng.random() < 0.3:
            return [self.rng.choice(self._packets)]
        name, payload = self._seeds.event(self.now_ms, self.rng)
        if self.rng.random() < 0.3:
            return [(1, f'42["{name}",{payload}]')]
        return [(1, announcement(name)), (2, base64.b64encode(payload.encode()).decode())]

    def _harm(self, frames: list[tuple[int, str]]) -> None:
        rng, at = self.rng, self.rng.randrange(len(frames))
        opcode, payload = frames[at]
        match rng.randrange(8):
            case 0:
                frames[at] = rng.choice(OPCODES), payload
            case 1:
                frames.insert(at, rng.choice(self._packets))
            case 2:
                frames.append(frames[at])
            case 3:
                frames.reverse()
            case 4 if len(frames) > 1:
                del frames[at]
            case _:
                bad = damaged(payload.encode("utf-8", "surrogateescape"), rng, self._others)
                frames[at] = opcode, bad.decode("utf-8", "surrogateescape")

    def take(self, data: Frames) -> str:  # type: ignore[override]
        self.check()
        socket, frames = data
        for opcode, payload in frames:
            self.witness.frame(socket, opcode, payload)
            if self.rng.random() < 0.05:
                self.market.sent(socket, opcode, payload, self.at)
            self.market.received(socket, opcode, payload, self.at)
            self.market.advance_time(self.at)
        outcome = "taken" if self.check() else "without a tick"
        if self.rng.random() < 0.01:
            self.market.on_socket_closed(socket, self.rng.choice(list(GapReason)), self.at)
        return outcome

    def end(self) -> None:
        for socket, decoder in self.market._decoders.items():
            if socket != TRUE_SOCKET and isinstance(decoder, PocketOptionDecoder):
                framing = decoder._inbound
                assert len(framing._attachments) <= 1
                assert len(framing._announced) <= 256
                assert len(framing.dropped) <= 202
        super().end()


def _as_cdp(opcode: int, payload: bytes) -> tuple[int, str]:
    """As Chrome tells a frame: text as it is, binary in base64."""
    if opcode == 2:
        return opcode, base64.b64encode(payload).decode()
    return opcode, payload.decode("utf-8", "replace")


def begin(rng: random.Random) -> Chapter:
    """A chapter."""
    return Framing(rng)


if __name__ == "__main__":
    sys.exit(main(begin, __doc__))
