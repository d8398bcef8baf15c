"""How many frames a second the CDP session takes, beside plain JSON parsing: ``python tests/bench/bench_chrome.py``.

Ratios travel between machines, absolutes do not. Chromium itself delivers about 5,000 frames a second.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from fluxcap.capture.chrome.events import ArrivalTime
from tests.support.browser.cdp import Dialogue, event, frame

TICK = "W1siRVVSR0JQX290YyIsMTc1Njg2Njc3NC45NjIsMC44Nzk1MV1d"
COOKIES = event("Network.requestWillBeSentExtraInfo", {"headers": {"Cookie": "x" * 2_000}}, "S-T").encode()
LARGE = frame("S-T", text="x" * 1_300_000, opcode=2).encode()
AIM_PER_S = 100_000
ROUNDS = 9


def per_call_us(call: Callable[[], object], count: int) -> float:
    """Median over the rounds of one call's time, in microseconds."""
    rounds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(count):
            call()
        rounds.append((time.perf_counter() - started) / count)
    return statistics.median(rounds) * 1e6


def rows() -> list[dict[str, Any]]:
    """One row a measurement: ``name``, ``ours`` and ``theirs`` in ``unit``, their ``ratio`` (above 1: ours is better),
    and ``limit``: what ours must not exceed, None where there is none."""
    chrome = Dialogue()
    chrome.open_tab("T")
    receive, stamp, tick = chrome.session.receive, ArrivalTime(1, 1), frame("S-T", text=TICK, opcode=2).encode()
    return [
        _row("frame to event: json.loads", lambda: receive(tick, stamp), tick, 10_000, 1e6 / AIM_PER_S),
        _row("unread event of 2 kB: json.loads", lambda: receive(COOKIES, stamp), COOKIES, 10_000, None),
        _row("frame of 1.3 MB: json.loads", lambda: receive(LARGE, stamp), LARGE, 10, None),
    ]


def _row(name: str, ours: Callable[[], object], message: bytes, count: int, limit: float | None) -> dict[str, Any]:
    ours_us, theirs_us = per_call_us(ours, count), per_call_us(lambda: json.loads(message), count)
    ratio = theirs_us / ours_us
    return {
        "name": name,
        "ours": ours_us,
        "theirs": theirs_us,
        "ratio": ratio,
        "unit": "us",
        "aim": None,
        "limit": limit,
    }


def main() -> int:
    """Print the table. Exit code 1 when the session takes fewer frames than is aimed at."""
    table = rows()
    print(f"{'ours: theirs':36}{'ours us':>10}{'theirs us':>11}{'ratio':>8}{'a second':>12}")
    for row in table:
        figures = f"{row['ours']:10.2f}{row['theirs']:11.2f}{row['ratio']:8.2f}{1e6 / row['ours']:12,.0f}"
        print(f"{row['name']:36}{figures}" + (f"   (aim {AIM_PER_S:,})" if row["limit"] else ""))
    return 0 if all(row["limit"] is None or row["ours"] <= row["limit"] for row in table) else 1


if __name__ == "__main__":
    sys.exit(main())
