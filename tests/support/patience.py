"""How long tests wait for what must happen."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_S = 240.0
"""No promise: who waits for an event has it as soon as it comes, and only a broken product is waited for so long. A
machine that does much else takes its time; a shorter wait would be a bet on it."""
PATIENCE_MS = int(PATIENCE_S * 1_000)
T = TypeVar("T")


def await_that(found: Callable[[], T | None], what: str) -> T:
    """Poll until there is something true, and return it; AssertionError with ``what`` when it does not come."""
    begin_s = time.monotonic()
    while (waited_s := time.monotonic() - begin_s) < PATIENCE_S:
        value = found()
        if value:
            return value
        time.sleep(pause_s(waited_s))
    raise AssertionError(f"{what} did not happen within {PATIENCE_S:g} s")


def pause_s(waited_s: float) -> float:
    """How long to leave what was waited for so long: asking costs, too, and others have work to do."""
    return min(max(waited_s / 10, 0.02), 0.25)
