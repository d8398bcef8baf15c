"""The platform's clock: estimates and removes its offset from UTC. Pure.

The platform stamps ticks two hours ahead of UTC (7,200 s in every recording; winter is unknown). Latency only ever
lowers ``tick time - arrival``, so the maximum over a window is the offset less the shortest delivery (0.7-0.8 s). The
offset proper is a multiple of 900 s, the finest step of the world's time zones.

Until the offset is known nothing may be published. It is taken when several ticks, spread over some seconds of
*arrival*, agree with one multiple of 900 s; ticks of a backlog arrive all at once and therefore never qualify. It is
changed only on longer evidence, by ticks that no longer fit and none that still do, so noise never moves it.

Three witnesses choose the multiple. The ``Date`` headers of the platform's own responses decide wherever they are seen
(``platform_dates.py``). Without them the offset of earlier runs is taken, if this computer's wall clock agrees with it:
then one tick suffices. If the two contradict each other, or by the wall clock it would be earlier than the newest
stored candle, one of them is wrong and nobody knows which: nothing is published until a header comes or the user says
which to trust. Where nothing was kept, the wall clock alone is believed, and the state says so.

All else (what time it is on the platform now, whether a tick continues the ones before it) stands on the monotonic
clock: a stepped wall clock changes nothing, but is told. An offset that turns out wrong is corrected at once
(``correction``): whoever stamped by it stamps again.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

import msgspec

from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.capture.market.platform_dates import DATE_STEP_MS, PlatformDates
from fluxcap.schemas.errors import ConfigError

STEP_MS = 900_000
TOLERANCE_MS = 30_000
"""How far the wall clock may be off. Candles do not depend on it: they stand on the platform's own stamps."""
DATE_TOLERANCE_MS = 3_000
"""The same for a ``Date`` header, which is a server's own time..."""
DATE_LATE_MS = 30_000
"""...and which delivery only ever makes late: by so much on a computer that has too much to do. Of quarter hours it
tells the right one all the same."""
KEPT_BEHIND_MS, KEPT_AHEAD_MS = 5_000, 1_000
"""So far a single tick may lie from the wall clock less the kept offset for the two to agree at once."""
WALL_OFF_MS = 2_000
"""The wall clock is wrong when it is further than this from the platform's own; a step of it is as large."""
DRIFT_PER_MS = 1e-4
"""Two quartzes part by no more, while no newer header comes."""
WAITED_MAX_MS = 300_000
"""A header that may have waited longer before it was read is left out; one that waited less tells one quarter hour,
as long as this and its lateness are well below half of one."""
STORE_AHEAD_MS = 5_000
"""Now may be so much earlier than the end of the newest stored candle: what a sealing tick can be ahead of now."""
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
JUMPS_MAX = 4
RUNS_MAX = 4
"""Lines of ticks followed at a time while the offset is measured: one true, the others noise."""


class EvidenceThreshold(msgspec.Struct, frozen=True):
    """The evidence needed for an offset: a number of ticks over a span of arrival time."""

    ticks: int
    span_ms: int


FIRST_EVIDENCE = EvidenceThreshold(5, 2_000)
CHANGE_EVIDENCE = EvidenceThreshold(10, 10_000)


class ClockPrior(msgspec.Struct, frozen=True):
    """Knowledge of the clock before the first tick; part of a recording, since it decides candles.

    Attributes
    ----------
    offset_ms
        The platform's offset as earlier runs found it; None for none.
    stored_to_ms
        End (UTC ms) of the newest candle in the store; 0 for none.
    kept_ms
        When that offset was found, by the clock of then (UTC ms).
    """

    offset_ms: int | None = None
    stored_to_ms: int = 0
    kept_ms: int = 0


class ClockBasis(enum.StrEnum):
    """The witness that the offset stands on."""

    PLATFORM = "the platform's own clock"
    KEPT = "earlier runs and this computer's clock"
    WALL = "this computer's clock alone"
    USER = "your word"


class Trust(enum.StrEnum):
    """The user's choice where the witnesses contradict each other."""

    WALL = "wall"
    EARLIER = "earlier"


class ClockEvent(enum.Enum):
    """A change of the clock, for the log."""

    SETTLED = enum.auto()
    CORRECTED = enum.auto()
    IN_QUESTION = enum.auto()
    WALL_WRONG = enum.auto()
    WALL_RIGHT = enum.auto()
    WALL_STEPPED = enum.auto()
    STORE_AHEAD = enum.auto()


class Correction(NamedTuple):
    """An offset that was wrong, and the right one."""

    wrong_ms: int
    right_ms: int


class ClockState(enum.StrEnum):
    """The state of measuring the platform's offset."""

    WAITING = "waiting for ticks"
    MEASURING = "measuring the platform's clock"
    AMBIGUOUS = "the platform's clock fits no multiple of 15 minutes"
    IN_QUESTION = "clock in question"
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

    @property
    def last(self) -> ArrivalTime:
        """Arrival of its newest tick."""
        return self._last

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
    """Observes tick times and their arrivals, and the witnesses of UTC; tells the offset.

    Attributes
    ----------
    offset_ms
        How far the platform's stamps are ahead of UTC; None until it is known.
    basis
        What it stands on.
    changes
        How often the platform changed its clock.
    correction
        The offset was found wrong: whoever stamped by it stamps again, then takes it over with ``take_correction``.
    news
        What happened and is to be logged; whoever tells it takes it out.
    """

    def __init__(self, prior: ClockPrior = ClockPrior()) -> None:  # noqa: B008  frozen
        self.offset_ms: int | None = None
        self.basis: ClockBasis | None = None
        self.state = ClockState.WAITING
        self.changes = 0
        self.correction: Correction | None = None
        self.events: list[tuple[ClockEvent, dict[str, object]]] = []
        self.dates = PlatformDates()
        self._prior = prior
        self._trusted: Trust | None = None
        self._corrected_by = ClockBasis.PLATFORM
        self._estimates: list[_OffsetEstimate] = []
        self._residual_ms = 0
        self._question = ""
        """Why the offset is not taken, as a sentence."""
        self._doubted = False
        self._accepted_by_wall_ms: int | None = None
        """What the wall clock said when the user took another offset: only something else is news."""
        self._last: ArrivalTime | None = None
        self._dates_before_jump: PlatformDates | None = None
        self._jumps_before: list[int] = []
        """Jumps of the wall clock since those headers, before any tick showed whether the computer slept."""
        self._passed: ArrivalTime | None = None
        """Up to here everything that had arrived was taken in."""
        self._jumped_ms = 0
        """The wall clock jumped ahead: the next tick shows whether it was set, or the computer slept."""
        self._attentive = False
        """Whether the next ticks are looked at closely: after a jump, or after a header."""
        self._date_unchecked = False
        self._against = 0
        self._against_since_ms = 0
        """Ticks in a row by which a header says that the offset is wrong, and since when."""
        self._wall_off_ms = 0
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
        if self._attentive and at.drained:
            self._attend(mono_offset_ms, ahead_ms, mono_ms)
        return True

    def add_sample(self, raw_ts_ms: int, at: ArrivalTime) -> bool:
        """Take a tick that ``accept`` refused, from a drained connection. True when it settled the offset."""
        run = self._run_of(raw_ts_ms, at)
        if self.offset_ms is None and self._fits_kept(raw_ts_ms, at):
            return True
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

    # --- witnesses ------------------------------------------------------------------------------------------------

    def add_date(self, date_ms: int, at: ArrivalTime, *, is_handshake: bool) -> bool:
        """Take the ``Date`` header (UTC ms) of a response of the platform's. Return whether it counts.

        One that may have waited to be read, behind a backlog, may be later by as much; where that is too long to tell
        quarter hours apart it is left out.
        """
        passed = self._passed
        if passed is None or not 0 <= at.mono_ms - passed.mono_ms <= WAITED_MAX_MS:
            return False
        waited_ms = at.mono_ms - passed.mono_ms
        if not self.dates.add(date_ms, at.mono_ms, is_handshake=is_handshake, waited_ms=waited_ms):
            return False
        self._date_unchecked = self._attentive = True
        self._against = 0
        return True

    def observe(self, at: ArrivalTime) -> None:
        """Everything that arrived before ``at`` was taken in: look at the local clocks."""
        passed, self._passed = self._passed, at
        if passed is not None:
            jumped_ms = at.wall_ms - at.mono_ms - (passed.wall_ms - passed.mono_ms)
            if abs(jumped_ms) > WALL_OFF_MS:
                self._on_wall_jump(jumped_ms)
        self._judge_wall(at)

    def trust(self, word: Trust) -> None:
        """Let the user decide where the witnesses contradict each other.

        Raises ConfigError when there is nothing to decide, or when what is to be trusted fits no quarter of an hour.
        """
        if self.basis is ClockBasis.PLATFORM:
            raise ConfigError("The platform's own clock has decided already; nothing is in question.")
        if self.offset_ms is None:
            if word is Trust.EARLIER and self._prior.offset_ms is None:
                raise ConfigError("No earlier run has left an offset; trust the wall clock, or reload the page.")
            self._trusted = word
            best = max(self._estimates, key=lambda run: run.ticks, default=None)
            if best is not None and best.is_sufficient(FIRST_EVIDENCE):
                self._evaluate_first(best, best.last)
            return
        if word is Trust.WALL:
            by_wall_ms = self._offset_by_wall_ms()
            if abs(self._lead_by_wall_ms() - by_wall_ms) > TOLERANCE_MS:
                raise ConfigError("This computer's clock fits no quarter of an hour: set it first.")
            if by_wall_ms != self.offset_ms:
                self._corrected_by = ClockBasis.USER
                self.correction = Correction(self.offset_ms, by_wall_ms)
                return
        self.basis = ClockBasis.USER
        self._accepted_by_wall_ms = self._offset_by_wall_ms()

    def take_correction(self) -> Correction | None:
        """Take the corrected offset into force. Return what was wrong; None while nothing is."""
        found, self.correction = self.correction, None
        if found is not None:
            self.offset_ms = found.right_ms
            self.basis = self._corrected_by
            self._date_unchecked = False
            self._against = 0
            hours = {"was_h": found.wrong_ms / 3_600_000, "is_h": found.right_ms / 3_600_000}
            self.events.append((ClockEvent.CORRECTED, {**hours, "by": str(self.basis)}))
        return found

    @property
    def in_question(self) -> bool:
        """Return whether the witnesses contradict each other, or this computer's clock is known to be wrong."""
        return self.state is ClockState.IN_QUESTION or bool(self._wall_off_ms) or self._has_wall_changed()

    @property
    def question(self) -> str:
        """Return why the offset is not taken, as a sentence; "" while nothing is in question."""
        return self._question if self.state is ClockState.IN_QUESTION else ""

    @property
    def wall_off_ms(self) -> int:
        """Milliseconds that this computer's clock is ahead of the platform's own; 0 while right, or not known."""
        return self._wall_off_ms

    @property
    def reason(self) -> str:
        """One sentence for ``status``."""
        if self.state is ClockState.IN_QUESTION:
            return f"{self._question} Nothing is published; ticks are kept. {_WAYS_OUT}"
        if self.state is ClockState.AMBIGUOUS:
            return (
                f"Tick times are {self._residual_ms / 1_000:+.0f} s away from any quarter-hour offset: set this "
                "computer's clock; if it is right, the platform's has changed. Nothing is published until they agree."
            )
        if self.offset_ms is None:
            return f"{self.state.value.capitalize()}; nothing is published yet."
        told = f"The platform stamps ticks {_hours(self.offset_ms)} from UTC{_BASIS_WORDS[self.basis]}; removed."
        if self._wall_off_ms:
            way = "ahead of" if self._wall_off_ms > 0 else "behind"
            return (
                f"{told} This computer's clock is {abs(self._wall_off_ms) / 1_000:.0f} s {way} the platform's own: set "
                "it. Candles do not depend on it."
            )
        return f"{told} {self._change_of_wall()}" if self._has_wall_changed() else told

    # --- within ---------------------------------------------------------------------------------------------------

    def _suspended_ms(self, at: ArrivalTime) -> int:
        """Return the ms the wall clock ran longer than the monotonic one since the last tick: a suspended computer."""
        last = self._last
        return 0 if last is None else max(0, at.wall_ms - last.wall_ms - (at.mono_ms - last.mono_ms))

    def _lead_by_wall_ms(self) -> int:
        last = self._last
        return self._mono_offset_ms + last.mono_ms - last.wall_ms if last else self.offset_ms or 0

    def _offset_by_wall_ms(self) -> int:
        return _nearest_step(self._lead_by_wall_ms())

    def _has_wall_changed(self) -> bool:
        """Return whether an offset that stands on the wall clock is another one by what that clock says now."""
        if self.offset_ms is None or self.basis is ClockBasis.PLATFORM:
            return False
        return self._offset_by_wall_ms() not in (self.offset_ms, self._accepted_by_wall_ms)

    def _change_of_wall(self) -> str:
        by_wall = _hours(self._offset_by_wall_ms())
        return f"This computer's clock was changed since; by the new time it is {by_wall} away. {_WAYS_OUT}"

    def _on_wall_jump(self, jumped_ms: int) -> None:
        """The wall clock was set back; or it was set ahead, or the computer slept: the next tick shows which."""
        if jumped_ms < 0:
            self.events.append((ClockEvent.WALL_STEPPED, {"seconds": jumped_ms / 1_000}))
        elif self.offset_ms is None:
            if self.dates.zero_ms is not None:
                self._dates_before_jump, self._jumps_before = self.dates, []
            self.dates = PlatformDates()
            self._jumps_before.append(jumped_ms)
        else:
            self._dates_before_jump = self._dates_before_jump or self.dates
            self.dates = PlatformDates()
            self._jumped_ms += jumped_ms
            self._attentive = True

    def _attend(self, mono_offset_ms: int, ahead_ms: int, mono_ms: int) -> None:
        """Look closely at a fitting tick, the newest there is."""
        if self._jumped_ms:
            jumped_ms, self._jumped_ms = self._jumped_ms, 0
            before, self._dates_before_jump = self._dates_before_jump, None
            if ahead_ms <= jumped_ms // 2:  # else the computer slept: from before it nothing can be counted
                self.events.append((ClockEvent.WALL_STEPPED, {"seconds": jumped_ms / 1_000}))
                if before is not None and self.dates.zero_ms is None:
                    self.dates = before
        if self._date_unchecked:
            self._check_date(mono_offset_ms, mono_ms)
        self._attentive = self._date_unchecked

    def _check_date(self, mono_offset_ms: int, mono_ms: int) -> None:
        """Hold a tick to the platform's own time: it confirms the offset, or, with some more, corrects it."""
        by_date_ms = self._offset_by_date(mono_offset_ms)
        if by_date_ms is None:
            self._date_unchecked = self.dates.zero_ms is not None
            self._against = 0
        elif by_date_ms == self.offset_ms:
            self._date_unchecked = False
            self._against = 0
            if self.basis is not ClockBasis.PLATFORM:
                self.basis = ClockBasis.PLATFORM
                self._tell_settled()
        elif self.offset_ms is not None:
            if not self._against:
                self._against_since_ms = mono_ms
            self._against += 1
            enough = self._against >= FIRST_EVIDENCE.ticks
            if enough and mono_ms - self._against_since_ms >= FIRST_EVIDENCE.span_ms:
                self._corrected_by = ClockBasis.PLATFORM
                self.correction = Correction(self.offset_ms, by_date_ms)

    def _offset_by_date(self, mono_offset_ms: int) -> int | None:
        """The offset by the platform's own headers; None without one, or when it fits no quarter of an hour."""
        if self.dates.zero_ms is None:
            return None
        lead_ms = mono_offset_ms - self.dates.zero_ms
        by_date_ms = _nearest_step(lead_ms)
        late_ms = DATE_LATE_MS + self.dates.waited_ms
        return by_date_ms if -DATE_TOLERANCE_MS <= lead_ms - by_date_ms <= late_ms else None

    def _offsets_by_older_dates(self, mono_offset_ms: int) -> set[int]:
        """The offsets that headers from before a jump of the wall clock allow: it was set, or the computer slept.

        A sleep is no whole number of quarter hours but by accident, so mostly one is left.
        """
        before = self._dates_before_jump
        if before is None or before.zero_ms is None or self.dates.zero_ms is not None:
            return set()
        slept = {0}
        for jumped_ms in self._jumps_before[-JUMPS_MAX:]:
            slept |= {slept_ms + jumped_ms for slept_ms in slept}
        leads = {mono_offset_ms - before.zero_ms - slept_ms for slept_ms in slept}
        return {_nearest_step(lead) for lead in leads if abs(lead - _nearest_step(lead)) <= DATE_TOLERANCE_MS}

    def _judge_wall(self, at: ArrivalTime) -> None:
        """See how far this computer's clock is off, by the platform's own; without one, whether it has changed."""
        if self._jumped_ms:
            return
        off_ms = self._wall_off(at)
        if bool(off_ms) != bool(self._wall_off_ms):
            told: dict[str, object] = {"seconds": off_ms / 1_000} if off_ms else {}
            self.events.append((ClockEvent.WALL_WRONG if off_ms else ClockEvent.WALL_RIGHT, told))
        self._wall_off_ms = off_ms
        doubted, self._doubted = self._doubted, self._has_wall_changed()
        if self._doubted and not doubted:
            self.events.append((ClockEvent.IN_QUESTION, {"reason": self._change_of_wall()}))

    def _wall_off(self, at: ArrivalTime) -> int:
        """Return the ms that the wall clock is ahead of the platform's own time; 0 when right, or not known."""
        utc_ms = self.dates.utc_ms(at.mono_ms)
        if utc_ms is None or (self.offset_ms is not None and self.basis is not ClockBasis.PLATFORM):
            return 0
        if self.offset_ms is not None:
            utc_ms = max(utc_ms, self.now_ms(at.mono_ms))
        ahead_ms = at.wall_ms - utc_ms
        slack_ms = WALL_OFF_MS + DRIFT_PER_MS * (at.mono_ms - self.dates.newest_mono_ms)
        if self.offset_ms is None:
            slack_ms += TOLERANCE_MS + self.dates.waited_ms  # a header alone may have been on its way for some seconds
        elif self._wall_off_ms:
            slack_ms /= 2  # what lies at the edge is not told over and over
        if -slack_ms <= ahead_ms <= slack_ms + DATE_STEP_MS:
            return 0
        return ahead_ms

    def _fits_kept(self, raw_ts_ms: int, at: ArrivalTime) -> bool:
        """Settle at once by the offset of earlier runs, where another witness confirms it."""
        kept_ms = self._prior.offset_ms
        if kept_ms is None:
            return False
        utc_ms = self.dates.utc_ms(at.mono_ms)
        if utc_ms is not None:
            if self._offset_by_date(raw_ts_ms - at.mono_ms) != kept_ms:
                return False
            return self._settle(kept_ms, raw_ts_ms - at.mono_ms, at, ClockBasis.PLATFORM)
        away_ms = raw_ts_ms - kept_ms - at.wall_ms
        if not -KEPT_BEHIND_MS <= away_ms <= KEPT_AHEAD_MS or self._is_before_store(raw_ts_ms - kept_ms):
            return False
        return self._settle(kept_ms, raw_ts_ms - at.mono_ms, at, ClockBasis.KEPT)

    def _is_before_store(self, now_ms: int) -> bool:
        return now_ms < self._prior.stored_to_ms - STORE_AHEAD_MS

    def _run_of(self, raw_ts_ms: int, at: ArrivalTime) -> _OffsetEstimate:
        for run in self._estimates:
            if run.add(raw_ts_ms, at):
                return run
        if len(self._estimates) == RUNS_MAX:
            self._estimates.remove(min(self._estimates, key=lambda run: run.last_mono_ms))
        self._estimates.append(_OffsetEstimate(raw_ts_ms, at))
        return self._estimates[-1]

    def _evaluate(self, run: _OffsetEstimate, at: ArrivalTime) -> bool:
        return self._evaluate_first(run, at) if self.offset_ms is None else self._evaluate_change(run, at)

    def _evaluate_first(self, run: _OffsetEstimate, at: ArrivalTime) -> bool:
        """Let the witnesses choose the multiple. Return whether they could."""
        by_date_ms = self._offset_by_date(run.mono_offset_ms)
        if by_date_ms is not None:
            return self._settle(by_date_ms, run.mono_offset_ms, at, ClockBasis.PLATFORM)
        by_older_ms = self._offsets_by_older_dates(run.mono_offset_ms)
        if len(by_older_ms) == 1:
            return self._settle(by_older_ms.pop(), run.mono_offset_ms, at, ClockBasis.PLATFORM)
        kept_ms = self._prior.offset_ms
        by_wall_ms = _nearest_step(run.wall_offset_ms)
        if self._trusted is Trust.EARLIER and kept_ms is not None:
            self._accepted_by_wall_ms = by_wall_ms
            return self._settle(kept_ms, run.mono_offset_ms, at, ClockBasis.USER)
        self._residual_ms = run.wall_offset_ms - by_wall_ms
        fits = abs(self._residual_ms) <= TOLERANCE_MS
        zero_ms = self.dates.zero_ms
        by_near_date_ms = by_wall_ms if zero_ms is None else _nearest_step(run.mono_offset_ms - zero_ms)
        now_ms = at.mono_ms + run.mono_offset_ms - by_wall_ms
        question = ""
        if by_older_ms:
            question = "This computer's clock jumped before the first tick, and nobody knows whether it slept."
        elif by_near_date_ms != by_wall_ms:
            question = "The platform's own clock and this computer's contradict each other."
        elif not fits and kept_ms is not None:
            question = f"This computer's clock is {self._residual_ms / 1_000:+.0f} s away from any quarter of an hour."
        elif fits and self._trusted is Trust.WALL:
            return self._settle(by_wall_ms, run.mono_offset_ms, at, ClockBasis.USER)
        elif fits and self._is_before_store(now_ms):
            stored = _utc(self._prior.stored_to_ms)
            question = f"By this computer's clock it is {_utc(now_ms)}, but the store has candles up to {stored}."
        elif fits and kept_ms not in (None, by_wall_ms):
            question = (
                f"By this computer's clock the platform stamps ticks {_hours(by_wall_ms)} from UTC, by earlier runs "
                f"{_hours(kept_ms or 0)}."
            )
        elif fits:
            basis = ClockBasis.WALL if kept_ms is None else ClockBasis.KEPT
            return self._settle(by_wall_ms, run.mono_offset_ms, at, basis)
        if question:
            if self.state is not ClockState.IN_QUESTION:
                self.events.append((ClockEvent.IN_QUESTION, {"reason": question}))
            self._question = question
        self.state = ClockState.IN_QUESTION if question else ClockState.AMBIGUOUS
        return False

    def _evaluate_change(self, run: _OffsetEstimate, at: ArrivalTime) -> bool:
        """Ticks no longer fit: find out whose clock has jumped."""
        offset_ms = self.offset_ms or 0
        by_date_ms = self._offset_by_date(run.mono_offset_ms)
        if by_date_ms is not None:
            return self._settle(by_date_ms, run.mono_offset_ms, at, ClockBasis.PLATFORM)
        candidate_ms = _nearest_step(run.wall_offset_ms)
        fits = abs(run.wall_offset_ms - candidate_ms) <= TOLERANCE_MS
        jump_ms = _nearest_step(run.mono_offset_ms - self._mono_offset_ms)
        if not jump_ms or (fits and candidate_ms == offset_ms):
            # Only the local clocks or the latency jumped, not the platform's: its stamps mean what they meant.
            return self._settle(offset_ms, run.mono_offset_ms, at, self.basis)
        if fits and candidate_ms - offset_ms == jump_ms:
            return self._settle(candidate_ms, run.mono_offset_ms, at, self.basis)
        self.state = ClockState.AMBIGUOUS
        self._residual_ms = run.wall_offset_ms - candidate_ms
        return False

    def _settle(self, offset_ms: int, mono_offset_ms: int, at: ArrivalTime, basis: ClockBasis | None) -> bool:
        is_new = (self.offset_ms, self.basis) != (offset_ms, basis)
        self.changes += self.offset_ms is not None and self.offset_ms != offset_ms
        self.offset_ms, self.basis = offset_ms, basis
        self.state = ClockState.SYNCHRONISED
        self._last = at
        self._mono_offset_ms = self._newer_mono_offset_ms = self._older_mono_offset_ms = mono_offset_ms
        self._window_from_ms = at.mono_ms
        self._estimates.clear()
        if is_new:
            self._tell_settled()
        return True

    def _tell_settled(self) -> None:
        self.events.append((ClockEvent.SETTLED, {"offset_h": (self.offset_ms or 0) / 3_600_000, "by": str(self.basis)}))

    def _follow(self, mono_offset_ms: int, mono_ms: int) -> None:
        if mono_ms - self._window_from_ms > LEAD_WINDOW_MS:
            self._older_mono_offset_ms, self._newer_mono_offset_ms = self._newer_mono_offset_ms, mono_offset_ms
            self._window_from_ms = mono_ms
        else:
            self._newer_mono_offset_ms = max(self._newer_mono_offset_ms, mono_offset_ms)
        self._mono_offset_ms = max(self._newer_mono_offset_ms, self._older_mono_offset_ms)


def _nearest_step(wall_offset_ms: int) -> int:
    return round(wall_offset_ms / STEP_MS) * STEP_MS


_WAYS_OUT = (
    "`fluxcap reload` reloads the trading page, and the platform's own clock decides; or say which is right: "
    "`fluxcap clock trust wall` or `fluxcap clock trust earlier`."
)
_BASIS_WORDS = {
    None: "",
    ClockBasis.PLATFORM: "",
    ClockBasis.KEPT: ", as in earlier runs",
    ClockBasis.WALL: ", by this computer's clock alone",
    ClockBasis.USER: ", as you said",
}


def _hours(offset_ms: int) -> str:
    return f"{offset_ms / 3_600_000:+g} h"


def _utc(ts_ms: int) -> str:
    """A time for people, to the minute."""
    minutes = ts_ms // 60_000
    return f"{minutes // 60 % 24:02d}:{minutes % 60:02d}Z"
