"""`fluxcap` with a fault of its own planted: every so often it fails to decode a frame, whatever the frame holds."""

from __future__ import annotations

import itertools
import json
from typing import Any

from fluxcap.capture.cli.app import main
from fluxcap.capture.platforms.pocketoption import PocketOptionDecoder

EVERY = 7

_received, _sent = PocketOptionDecoder.received, PocketOptionDecoder.sent
_count = itertools.count(1)


def _fail_at(payload: str) -> None:
    if not next(_count) % EVERY or (payload.startswith(("42", "451-")) and "updateStream" not in payload):
        json.loads(payload)  # what it is not: the error holds the whole of it


def received(self: PocketOptionDecoder, opcode: int, payload: str) -> Any:
    _fail_at(payload)
    return _received(self, opcode, payload)


def sent(self: PocketOptionDecoder, opcode: int, payload: str) -> Any:
    _fail_at(payload)
    return _sent(self, opcode, payload)


if __name__ == "__main__":
    PocketOptionDecoder.received = received  # type: ignore[method-assign]
    PocketOptionDecoder.sent = sent  # type: ignore[method-assign]
    main()
