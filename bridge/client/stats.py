"""Figures of a live stream, and their words, for the footer of a chart and for the watch screen. Pure."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime

import msgspec

from fluxcap.bridge.client.health import Health, HealthState

COLOURS: dict[HealthState, str] = {
    HealthState.DISCONNECTED: "bad",
    HealthState.CONNECTING: "wait",
    HealthState.SUBSCRIBED: "idle",
    HealthState.RECEIVING: "good",
    HealthState.STALLED: "warn",
}
"""State → CSS class of the dot."""


class StreamStats(msgspec.Struct, frozen=True):
    """Facts of a stream beside its candles; None: unknown."""

    watermark_sequence: int | None = None
    watermark_ts_ms: int | None = None
    offset_ms: int | None = None
    lag_ms: int | None = None
    ticks_per_second: float | None = None
    compared: int | None = None
    equal: int | None = None


def stats_rows(sequence: int, facts: StreamStats) -> list[tuple[str, str]]:
    """Label and value of each fact, always all of them, so that nothing moves when one becomes known."""
    return [
        ("sequence", f"#{sequence}" if sequence else "-"),
        ("watermark", watermark_text(facts)),
        ("offset", offset_text(facts.offset_ms)),
        ("ticks/s", "-" if facts.ticks_per_second is None else f"{facts.ticks_per_second:.1f}"),
        ("lag", "-" if facts.lag_ms is None else f"{facts.lag_ms / 1_000:.1f}s"),
        ("agreement", f"{facts.equal} of {facts.compared}" if facts.compared else "-"),
    ]


def watermark_text(facts: StreamStats) -> str:
    """``#1207 23:54:00``."""
    if not facts.watermark_sequence:
        return "-"
    when = datetime.fromtimestamp((facts.watermark_ts_ms or 0) / 1_000, UTC)
    return f"#{facts.watermark_sequence} {when:%H:%M:%S}"


def offset_text(offset_ms: int | None) -> str:
    """``+2h``, ``-30m``, ``+2h15m``, ``0``: how far the platform's clock is ahead of UTC."""
    if offset_ms is None:
        return "-"
    minutes = round(abs(offset_ms) / 60_000)
    if not minutes:
        return "0"
    hours, minutes = divmod(minutes, 60)
    return ("-" if offset_ms < 0 else "+") + (f"{hours}h" if hours else "") + (f"{minutes}m" if minutes else "")


def state_text(health: Health | None) -> tuple[str, str, str]:
    """CSS class of the dot, label (``Live, 0.3s ago``) and reason."""
    if health is None:
        return "off", "Off", ""
    return COLOURS[health.state], health.label, health.reason


class RateWindow:
    """Rate of a counter and the smallest of a value over the last looks. Times in milliseconds."""

    def __init__(self, window_ms: int = 10_000) -> None:
        self._window_ms = window_ms
        self._samples: deque[tuple[int, int, int | None]] = deque()

    def sample(self, now_ms: int, count: int, age_ms: int | None) -> tuple[float | None, int | None]:
        """One look; returns (counts per second, smallest age), each None while unknown."""
        if self._samples and count < self._samples[-1][1]:  # it started again
            self._samples.clear()
        self._samples.append((now_ms, count, age_ms))
        while self._samples[0][0] < now_ms - self._window_ms:
            self._samples.popleft()
        begin_ms, begin, _ = self._samples[0]
        rate = (count - begin) * 1_000 / (now_ms - begin_ms) if now_ms > begin_ms else None
        ages = [age for _, _, age in self._samples if age is not None]
        return rate, min(ages) if ages else None
