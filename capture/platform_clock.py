"""The platform's clock: estimates and removes its offset from UTC. Pure.

The platform stamps ticks two hours ahead of UTC (7,200 s in every recording; winter is unknown). Latency only ever
lowers ``tick time - arrival``, so the maximum over a window is the offset less the shortest delivery (0.7-0.8 s). The
offset proper is a multiple of 900 s, the finest step of the world's time zones.

Until the offset is known nothing may be published. It is taken when several ticks in a row, spread over some seconds of
*arrival*, agree with one multiple of 900 s; ticks of a backlog arrive all at once and therefore never qualify. It is
changed only on longer evidence for another multiple, so noise never moves it.

Two local clocks go in. The wall clock serves only to choose the multiple. All else (what time it is on the platform
now, whether a tick continues the ones before it) stands on the monotonic clock: a stepped wall clock changes nothing.
"""

from __future__ import annotations

import enum
from collections import deque

import msgspec

STEP_MS = 900_000
TOLERANCE_MS = 30_000
"""How far the wall clock may be off. Candles do not depend on it: they stand on the platform's own stamps."""
MAX_DRIFT_MS = 3_000
"""Ticks in a row agree when tick time and arrival advance alike within this; a draining backlog does not."""
MAX_JUMP_MS = 60_000
"""A tick further ahead of, or behind, what the ones before it allow is held until the clock has been judged anew."""
WINDOW = 256


class Evidence(msgspec.Struct, frozen=True):
    """How many ticks in a row, over how much arrival time, before an offset is taken."""

    ticks: int
    span_ms: int


FIRST_EVIDENCE = Evidence(5, 2_000)
CHANGE_EVIDENCE = Evidence(10, 10_000)


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """When a message came in, on both local clocks, in milliseconds."""

    wall_ms: int
    mono_ms: int


class ClockState(enum.StrEnum):
    """Whether the platform's offset is known."""

    WAITING = "waiting for ticks"
    MEASURING = "measuring the platform's clock"
    AMBIGUOUS = "the platform's clock fits no multiple of 15 minutes"
    SYNCHRONISED = "synchronised"


class _Sight(msgspec.Struct, frozen=True, gc=False):
    raw_ts_ms: int
    wall_ms: int
    mono_ms: int


class PlatformClock:
    """Observes tick times and their arrivals; tells the offset."""

    def __init__(self) -> None:
        self.offset_ms: int | None = None
        self.state = ClockState.WAITING
        self.changes = 0
        self._run: deque[_Sight] = deque(maxlen=WINDOW)
        self._leads: deque[int] = deque(maxlen=WINDOW)
        self._lead_ms = 0
        self._last: _Sight | None = None

    def observe(self, raw_ts_ms: int, at: Arrival) -> bool:
        """Take a tick that came over a drained connection. True when it settled the offset, or changed it."""
        sight = _Sight(raw_ts_ms, at.wall_ms, at.mono_ms)
        if self._run and not (self._agree(self._run[-1], sight) and self._agree(self._run[0], sight)):
            self._run.clear()
        self._run.append(sight)
        evidence = FIRST_EVIDENCE if self.offset_ms is None else CHANGE_EVIDENCE
        if len(self._run) < evidence.ticks or at.mono_ms - self._run[0].mono_ms < evidence.span_ms:
            if self.state is ClockState.WAITING:
                self.state = ClockState.MEASURING
            return False
        return self._judge()

    def accept(self, raw_ts_ms: int, at: Arrival) -> bool:
        """Whether a tick continues the ones before it under the offset taken; those that do move the clock's now.

        A jump back or ahead of more than a minute does not: it is an absurd stamp, or the platform's clock was changed
        (daylight saving), which ``observe`` will tell.
        """
        if self.offset_ms is None:
            return False
        last = self._last
        if last is not None:
            elapsed_ms = max(at.mono_ms - last.mono_ms, at.wall_ms - last.wall_ms)
            if not -MAX_JUMP_MS <= raw_ts_ms - last.raw_ts_ms <= elapsed_ms + MAX_JUMP_MS:
                return False
        self._last = _Sight(raw_ts_ms, at.wall_ms, at.mono_ms)
        self._lead(raw_ts_ms - at.mono_ms)
        return True

    def now_ms(self, mono_ms: int) -> int:
        """UTC of the ticks being delivered at ``mono_ms``: the platform's now less its shortest lag. 0 if unknown."""
        if self.offset_ms is None or not self._leads:
            return 0
        return mono_ms + self._lead_ms - self.offset_ms

    @property
    def last_raw_ts_ms(self) -> int:
        return self._last.raw_ts_ms if self._last else 0

    @property
    def reason(self) -> str:
        """One sentence for ``status``."""
        if self.state is ClockState.SYNCHRONISED and self.offset_ms is not None:
            return f"The platform stamps ticks {self.offset_ms / 3_600_000:+g} h from UTC; removed."
        if self.state is ClockState.AMBIGUOUS and self._run:
            away_ms = self._away_ms()
            off_s = (away_ms - _nearest_step(away_ms)) / 1_000
            return (
                f"Tick times are {off_s:+.0f} s away from any quarter-hour offset: set this computer's clock, "
                "or the platform's has moved. Nothing is published until they agree."
            )
        return f"{self.state.value.capitalize()}; nothing is published yet."

    def _agree(self, first: _Sight, second: _Sight) -> bool:
        advanced_ms = second.raw_ts_ms - first.raw_ts_ms
        return abs(advanced_ms - (second.mono_ms - first.mono_ms)) <= MAX_DRIFT_MS

    def _away_ms(self) -> int:
        return max(sight.raw_ts_ms - sight.wall_ms for sight in self._run)

    def _judge(self) -> bool:
        away_ms = self._away_ms()
        candidate = _nearest_step(away_ms)
        if abs(away_ms - candidate) > TOLERANCE_MS:
            if self.offset_ms is None:
                self.state = ClockState.AMBIGUOUS
            return False
        if candidate == self.offset_ms or not self._may_change():
            return False
        self.changes += self.offset_ms is not None
        self.offset_ms = candidate
        self.state = ClockState.SYNCHRONISED
        self._last = self._run[0]
        self._leads = deque((sight.raw_ts_ms - sight.mono_ms for sight in self._run), maxlen=WINDOW)
        self._lead_ms = max(self._leads)
        return True

    def _may_change(self) -> bool:
        """Once known, the offset moves only when tick times themselves jumped; a stepped wall clock moves nothing."""
        if self.offset_ms is None or self._last is None:
            return True
        last, first = self._last, self._run[0]
        jump_ms = (first.raw_ts_ms - last.raw_ts_ms) - (first.mono_ms - last.mono_ms)
        return abs(jump_ms) > MAX_JUMP_MS

    def _lead(self, lead_ms: int) -> None:
        full = len(self._leads) == WINDOW
        dropped = self._leads[0] if full else None
        self._leads.append(lead_ms)
        if lead_ms >= self._lead_ms or len(self._leads) == 1:
            self._lead_ms = lead_ms
        elif dropped == self._lead_ms:
            self._lead_ms = max(self._leads)


def _nearest_step(away_ms: int) -> int:
    return round(away_ms / STEP_MS) * STEP_MS
