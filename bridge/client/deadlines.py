"""When requests under way run out of time. Pure: ``deadlines`` is request id → monotonic ns, and so is ``now_ns``."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping


def patience_ms(deadlines: Mapping[int, int], timeout_ms: int, now_ns: int) -> int:
    """How long to wait at most: to the first deadline, never beyond ``timeout_ms``."""
    if not deadlines:
        return timeout_ms
    left_ms = (min(deadlines.values()) - now_ns) // 1_000_000 + 1
    return max(0, min(timeout_ms, left_ms))


def take_expired(deadlines: MutableMapping[int, int], now_ns: int) -> list[int]:
    """Take out the requests whose time is over; returns their ids."""
    late = [request_id for request_id, deadline_ns in deadlines.items() if deadline_ns <= now_ns]
    for request_id in late:
        del deadlines[request_id]
    return late
