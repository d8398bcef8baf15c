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

sys.path.insert(0, str(Path(__file__).parents[2]))

from capture.chrome.events import Stamp
from tests.cdp import Dialogue, event, frame

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


def main() -> int:
    chrome = Dialogue()
    chrome.open_tab("T")
    receive, stamp, tick = chrome.session.receive, Stamp(1, 1), frame("S-T", text=TICK, opcode=2).encode()
    frame_us = per_call_us(lambda: receive(tick, stamp), 10_000)
    print(f"frame to event       {frame_us:9.2f} us   {1e6 / frame_us:9,.0f}/s   (aim {AIM_PER_S:,}/s)")
    print(f"json.loads of it     {per_call_us(lambda: json.loads(tick), 10_000):9.2f} us")
    print(f"unread event, 2 kB   {per_call_us(lambda: receive(COOKIES, stamp), 10_000):9.2f} us   (dropped undecoded)")
    print(f"frame of 1.3 MB      {per_call_us(lambda: receive(LARGE, stamp), 10):9.2f} us")
    return 0 if 1e6 / frame_us >= AIM_PER_S else 1


if __name__ == "__main__":
    sys.exit(main())
