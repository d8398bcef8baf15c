"""Delays before a retry. Pure: the randomness is an argument."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Backoff(msgspec.Struct, frozen=True):
    """Exponential waits with jitter, so that clients that lost the same batch do not all ask at once.

    base_ns: the first wait. cap_ns: the longest. random: returns a number in [0, 1).
    """

    random: Callable[[], float]
    base_ns: int = 50_000_000
    cap_ns: int = 1_000_000_000

    def wait_ns(self, attempt: int) -> int:
        """The wait after failed attempt number ``attempt`` (from 1): between half and all of the doubled base."""
        full = min(self.cap_ns, self.base_ns << min(attempt - 1, 30))
        return int(full * (0.5 + 0.5 * self.random()))
