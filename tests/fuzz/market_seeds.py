"""Sound events of the simulated site, as JSON texts, for the fuzzers to damage."""

from __future__ import annotations

import json
import random
from functools import cache
from typing import Any

from fluxcap.capture.simulator.assets import asset_table, load_assets
from fluxcap.capture.simulator.config import Secrets
from fluxcap.capture.simulator.market.history import earlier_history, recent_history
from fluxcap.capture.simulator.market.prices import SimulatedMarket
from fluxcap.capture.simulator.server.account import Account, signals_stats, signals_update
from fluxcap.capture.simulator.server.framing import event_header, joined_packet, number, open_packet, text_event
from fluxcap.capture.simulator.server.garbage import INVALID_FRAMES

SYMBOLS = ("EURUSD_otc", "GBPUSD_otc", "#AAPL_otc", "ADA-USD_otc", "LBPUSD_otc", "100GBP")


def text(value: Any) -> str:
    """JSON as the platform writes it."""
    return json.dumps(value, separators=(",", ":"))


class Seeds:
    """Sound events around a time. ``now_ms``: true UTC, ``offset_ms``: how far the platform is ahead of it."""

    def __init__(self, now_ms: int, offset_ms: int) -> None:
        self._offset_ms = offset_ms
        self.events: list[tuple[str, str]] = _events(now_ms, offset_ms)
        """Event name → payload."""
        self.texts = [payload.encode() for _, payload in self.events if len(payload) < 4_000]

    def event(self, now_ms: int, rng: random.Random) -> tuple[str, str]:
        """Mostly a tick, as on the platform."""
        if rng.random() < 0.6:
            return "updateStream", self.ticks(now_ms, rng)
        return rng.choice(self.events)

    def ticks(self, now_ms: int, rng: random.Random) -> str:
        rows = []
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            raw_ts_ms = now_ms + self._offset_ms - rng.randrange(700, 900)
            price = rng.randrange(1, 99_999) / 1e5
            rows.append(f'["{rng.choice(SYMBOLS)}",{number(raw_ts_ms / 1_000)},{number(price)}]')
        return f"[{','.join(rows)}]"


@cache
def _events(now_ms: int, offset_ms: int) -> list[tuple[str, str]]:
    raw_s = (now_ms + offset_ms) // 1_000
    account = Account("EURUSD_otc", list(SYMBOLS), Secrets())
    market = SimulatedMarket(load_assets()["EURUSD_otc"], seed=1, rate_hz=2.1)
    told: list[tuple[str, Any]] = [
        *account.personal_events(),
        ("updateAssets", asset_table(raw_s)[:6]),
        ("signals/update", signals_update(raw_s, random.Random(1))),
        ("successsignals/stats", signals_stats(raw_s, "EURUSD_otc")),
    ]
    for period_s in (1, 60):
        recent = recent_history(
            market, period_s=period_s, until_ms=now_ms, depth_ms=20_000, max_ticks=30, offset_ms=offset_ms
        )
        recent["candles"] = list(recent["candles"])[:6]  # type: ignore[call-overload]
        earlier = earlier_history(market, period_s=period_s, last_start_s=raw_s - 10, index=1, offset_ms=offset_ms)
        earlier["data"] = list(earlier["data"])[-6:]  # type: ignore[call-overload]
        told += [("updateHistoryNewFast", recent), ("updateHistoryNew", recent), ("loadHistoryPeriodFast", earlier)]
    return [(name, text(payload)) for name, payload in told]


def packets(now_ms: int) -> list[tuple[int, bytes]]:
    """Other frames of the platform, sound and not: (opcode, payload)."""
    framed = [event_header(name) for name in ("updateStream", "updateAssets", "successupdateBalance")]
    framed += [text_event("updateStream", [["EURUSD_otc", 1, 2]]), text_event("x")]
    framed += [
        INVALID_FRAMES[kind]("EURUSD_otc", now_ms)
        for kind in INVALID_FRAMES
        if kind not in ("huge_frame", "deep_nesting")
    ]
    plain = [open_packet("sid", ping_interval_s=25, ping_timeout_s=20), joined_packet("sid"), "2", "3", "41", "6"]
    return [frame for data in framed for frame in unframed(data)] + [(1, packet.encode()) for packet in plain]


def unframed(data: bytes) -> list[tuple[int, bytes]]:
    """Frames of a server's WebSocket stream: (opcode, payload)."""
    found = []
    while data:
        size, begin = data[1], 2
        if size == 126:
            size, begin = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, begin = int.from_bytes(data[2:10], "big"), 10
        found.append((data[0] & 0x0F, data[begin : begin + size]))
        data = data[begin + size :]
    return found
