"""The platform's clock: estimates and removes its offset from UTC. Pure.

The platform stamps ticks two hours ahead of UTC (7,200 s in every recording; winter is unknown). Latency only ever
lowers ``tick time - arrival``, so the maximum over a window is the offset less the shortest delivery (0.7-0.8 s). The
offset proper is a multiple of 900 s, the finest step of the world's time zones.

Until the offset is known nothing may be published. It is taken when several ticks, spread over some seconds of
*arrival*, agree with one multiple of 900 s; ticks of a backlog arrive all at once and therefore never qualify. It is
changed only on longer evidence, by ticks that no longer fit and none that still do, so noise never moves it.

Two local clocks go in. The wall clock serves only to choose the multiple. All else (what time it is on the platform
now, whether a tick continues the ones before it) stands on the monotonic clock: a stepped wall clock changes nothing.
A wall clock that is wrong by a multiple of 15 minutes from the start looks like a platform in another zone.
"""

from __future__ import annotations

import enum

import msgspec

from fluxcap.capture.chrome.events import ArrivalTime

STEP_MS = 900_000
TOLERANCE_MS = 30_000
"""How far the wall clock may be off. Candles do not depend on it: they stand on the platform's own stamps."""
MAX_DRIFT_MS = 3_000
"""Ticks agree when tick time and arrival advance alike within this; a draining backlog does not."""
MAX_AHEAD_MS = 5_000
"""Latency only lowers timestamps, so a tick further ahead of the platform's now waits until the clock is checked."""
MAX_BACK_MS = 60_000
"""So far a stamp may lie behind what its socket said before."""
MAX_BACKLOG_MS = 600_000
"""So far the first stamp of a socket may lie behind the platform's now."""
LEAD_WINDOW_MS = 300_000
"""The shortest lag is remembered for one to two of these."""
RUNS_MAX = 4
"""Lines of ticks followed at a time while the offset is measured: one true, the others noise."""


class EvidenceThreshold(msgspec.Struct, frozen=True):
    """The evidence needed for an offset: a number of ticks over a span of arrival time."""

    ticks: int
    span_ms: int


FIRST_EVIDENCE = EvidenceThreshold(5, 2_000)
CHANGE_EVIDENCE = EvidenceThreshold(10, 10_000)


class ClockState(enum.StrEnum):
    """The state of measuring the platform's offset."""

    WAITING = "waiting for ticks"
    MEASURING = "measuring the platform's clock"
    AMBIGUOUS = "the platform's clock fits no multiple of 15 minutes"
    SYNCHRONISED = "synchronised"


_SYNCHRONISED = ClockState.SYNCHRONISED
"""Python 3.11 takes 0.1 µs to find a member of an enum: too long to do it for every frame."""


class _OffsetEstimate:
    """Ticks that advance as the local clocks do: one line of ``raw = mono + lead``."""

    __slots__ = ("_first", "_first_raw_ms", "_last", "_last_raw_ms", "mono_offset_ms", "ticks", "wall_offset_ms")

    def __init__(self, raw_ts_ms: int, at: ArrivalTime) -> None:
        self._first = self._last = at
        self._first_raw_ms = self._last_raw_ms = raw_ts_ms
        self.wall_offset_ms = raw_ts_ms - at.wall_ms
        self.mono_offset_ms = raw_ts_ms - at.mono_ms
        self.ticks = 1

    @property
    def last_mono_ms(self) -> int:
        return self._last.mono_ms

    def add(self, raw_ts_ms: int, at: ArrivalTime) -> bool:
        """Return whether the tick belongs to this line; if so, it is part of it now."""
        for was_raw_ms, was in ((self._last_raw_ms, self._last), (self._first_raw_ms, self._first)):
            elapsed_ms = at.mono_ms - was.mono_ms
            if abs(raw_ts_ms - was_raw_ms - elapsed_ms) > MAX_DRIFT_MS:
                return False
            if abs(at.wall_ms - was.wall_ms - elapsed_ms) > MAX_DRIFT_MS:
                return False  # the wall clock was stepped: what it said before counts no more
        self._last_raw_ms, self._last = raw_ts_ms, at
        self.wall_offset_ms = max(self.wall_offset_ms, raw_ts_ms - at.wall_ms)
        self.mono_offset_ms = max(self.mono_offset_ms, raw_ts_ms - at.mono_ms)
        self.ticks += 1
        return True

    def is_sufficient(self, evidence: EvidenceThreshold) -> bool:
        return self.ticks >= evidence.ticks and self._last.mono_ms - self._first.mono_ms >= evidence.span_ms


class PlatformClock:
    """Observes tick times and their arrivals; knows the offset."""

    def __init__(self) -> None:
        self.offset_ms: int | None = None
        self.state = ClockState.WAITING
        self.changes = 0
        self._estimates: list[_OffsetEstimate] = []
        self._residual_ms = 0
        self._last: ArrivalTime | None = None
        self._mono_offset_ms = 0
        self._newer_mono_offset_ms = self._older_mono_offset_ms = 0
        self._window_from_ms = 0

    @property
    def synchronised(self) -> bool:
        """Return whether ticks get their time now. False also while a known offset is in question."""
        return self.state is _SYNCHRONISED

    def accept(self, raw_ts_ms: int, at: ArrivalTime, socket_watermark_raw_ms: int = 0) -> bool:
        """Return whether a tick fits the offset taken; those that do keep the clock's now.

        ``socket_watermark_raw_ms``: the newest stamp of the same socket, 0 for none. A tick that does not fit is an
        absurd stamp, or the platform's clock was changed (daylight saving): pass it to ``add_sample``.
        """
        if self.offset_ms is None:
            return False
        mono_ms = at.mono_ms
        mono_offset_ms = raw_ts_ms - mono_ms
        ahead_ms = mono_offset_ms - self._mono_offset_ms
        if ahead_ms > MAX_AHEAD_MS and ahead_ms > MAX_AHEAD_MS + self._suspended_ms(at):
            return False
        if raw_ts_ms < socket_watermark_raw_ms - MAX_BACK_MS or (
            not socket_watermark_raw_ms and ahead_ms < -MAX_BACKLOG_MS
        ):
            return False
        self._last = at
        if self._estimates:
            self._estimates.clear()
            self.state = ClockState.SYNCHRONISED
        if ahead_ms > 0 or mono_ms - self._window_from_ms > LEAD_WINDOW_MS:
            self._follow(mono_offset_ms, mono_ms)
        elif mono_offset_ms > self._newer_mono_offset_ms:
            self._newer_mono_offset_ms = mono_offset_ms
        return True

    def add_sample(self, raw_ts_ms: int, at: ArrivalTime) -> bool:
        """Take a tick that ``accept`` refused, from a drained connection. True when it settled the offset."""
        run = self._run_of(raw_ts_ms, at)
        if run.is_sufficient(FIRST_EVIDENCE if self.offset_ms is None else CHANGE_EVIDENCE):
            return self._evaluate(run, at)
        if self.state is ClockState.WAITING:
            self.state = ClockState.MEASURING
        return False

    def now_ms(self, mono_ms: int) -> int:
        """UTC of the ticks being delivered at ``mono_ms``: the platform's now less its shortest lag. 0 if unknown."""
        if self.offset_ms is None:
            return 0
        return mono_ms + self._mono_offset_ms - self.offset_ms

    @property
    def reason(self) -> str:
        """One sentence for ``status``."""
        if self.state is ClockState.AMBIGUOUS:
            return (
                f"Tick times are {self._residual_ms / 1_000:+.0f} s away from any quarter-hour offset: set this "
                "computer's clock; if it is right, the platform's has changed. Nothing is published until they agree."
            )
        if self.offset_ms is None:
            return f"{self.state.value.capitalize()}; nothing is published yet."
        text = f"The platform stamps ticks {self.offset_ms / 3_600_000:+g} h from UTC; removed."
        by_wall_ms = self._offset_by_wall_ms()
        if by_wall_ms != self.offset_ms:
            text += (
                f" This computer's clock was changed since; by the new time it is {by_wall_ms / 3_600_000:+g} h away."
                " If it is right now, restart fluxcap."
            )
        return text

    def _suspended_ms(self, at: ArrivalTime) -> int:
        """Return the ms the wall clock ran longer than the monotonic one since the last tick: a suspended computer."""
        last = self._last
        return 0 if last is None else max(0, at.wall_ms - last.wall_ms - (at.mono_ms - last.mono_ms))

    def _offset_by_wall_ms(self) -> int:
        last = self._last
        return _nearest_step(self._mono_offset_ms + last.mono_ms - last.wall_ms) if last else self.offset_ms or 0

    def _run_of(self, raw_ts_ms: int, at: ArrivalTime) -> _OffsetEstimate:
        for run in self._estimates:
            if run.add(raw_ts_ms, at):
                return run
        if len(self._estimates) == RUNS_MAX:
            self._estimates.remove(min(self._estimates, key=lambda run: run.last_mono_ms))
        self._estimates.append(_OffsetEstimate(raw_ts_ms, at))
        return self._estimates[-1]

    def _evaluate(self, run: _OffsetEstimate, at: ArrivalTime) -> bool:
        candidate_ms = _nearest_step(run.wall_offset_ms)
        fits = abs(run.wall_offset_ms - candidate_ms) <= TOLERANCE_MS
        if self.offset_ms is not None:
            jump_ms = _nearest_step(run.mono_offset_ms - self._mono_offset_ms)
            if not jump_ms or (fits and candidate_ms == self.offset_ms):
                # Only the local clocks or the latency jumped, not the platform's: its stamps mean what they meant.
                return self._settle(self.offset_ms, run, at)
            fits = fits and candidate_ms - self.offset_ms == jump_ms
        if fits:
            return self._settle(candidate_ms, run, at)
        self.state = ClockState.AMBIGUOUS
        self._residual_ms = run.wall_offset_ms - candidate_ms
        return False

    def _settle(self, offset_ms: int, run: _OffsetEstimate, at: ArrivalTime) -> bool:
        self.changes += self.offset_ms is not None and self.offset_ms != offset_ms
        self.offset_ms = offset_ms
        self.state = ClockState.SYNCHRONISED
        self._last = at
        self._mono_offset_ms = self._newer_mono_offset_ms = self._older_mono_offset_ms = run.mono_offset_ms
        self._window_from_ms = at.mono_ms
        self._estimates.clear()
        return True

    def _follow(self, mono_offset_ms: int, mono_ms: int) -> None:
        if mono_ms - self._window_from_ms > LEAD_WINDOW_MS:
            self._older_mono_offset_ms, self._newer_mono_offset_ms = self._newer_mono_offset_ms, mono_offset_ms
            self._window_from_ms = mono_ms
        else:
            self._newer_mono_offset_ms = max(self._newer_mono_offset_ms, mono_offset_ms)
        self._mono_offset_ms = max(self._newer_mono_offset_ms, self._older_mono_offset_ms)


def _nearest_step(wall_offset_ms: int) -> int:
    return round(wall_offset_ms / STEP_MS) * STEP_MS
