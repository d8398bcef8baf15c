"""Decides which alerts are due: the state of capture and the time in, alerts out. Pure.

An alert stands on a *condition*: that Chrome is lost, say, or that an asset's feed is not live. A condition is told
once, when it has lasted for ``after_ms``, and its end is told once, when it has been over for ``CLEAR_MS``. One that is
over sooner is never told, and one that comes back sooner has not ended. Only states count, never how long a price has
not moved: a quiet asset on a feed that works is live.

One cause makes one alert. While Chrome is lost, the page is logged out or a person has to consent, feeds that are not
live are not told beside it, but the time for which they were blind already counts.

- In quiet hours nothing is told. What lasts is told when they are over; what began and ended in them is told as past.
- What is there from the start on gets longer: a daemon may start before Chrome, and before its page.
- Losses that only grow (CSV lines, candles that differ) begin with the first one, and end when none came for long.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping

import msgspec

from fluxcap.schemas.errors import ConfigError
from fluxcap.schemas.types import FeedState

CLEAR_MS = 15_000
"""So long a condition must be over. Longer than the page's history is awaited, so that it is known what was filled."""
START_GRACE_MS = 120_000
"""So long after the daemon's start Chrome and the page may be missing before that is told."""
LOW_DISK_BYTES = 500_000_000
"""A day of one asset is about 1 MB; at 200 MB `fluxcap doctor` calls it a problem, and the store stops soon after."""
ENOUGH_DISK_BYTES = 750_000_000
CSV_OVER_MS = 600_000
DISAGREES_OVER_MS = 3_600_000
CRASH_EVERY_MS = 3_600_000
"""A daemon that crashes again and again is told once an hour, with the number."""
MINUTES_A_DAY = 1_440


class AlertKind(enum.StrEnum):
    """The subject of an alert; the names of the setting ``alert_mute``."""

    FEED = "feed"
    CHROME = "chrome"
    CONSENT = "consent"
    LOGGED_OUT = "logged_out"
    CLOCK = "clock"
    STORE = "store"
    DISK = "disk"
    DISAGREES = "disagrees"
    CSV = "csv"
    CRASH = "crash"


class Phase(enum.StrEnum):
    """The stage of what an alert is about."""

    BEGAN = "began"
    ENDED = "ended"
    PAST = "past"
    """Begun and ended in quiet hours."""
    HAPPENED = "happened"
    """Has no end of its own."""


class Facts(msgspec.Struct, frozen=True):
    """The state of capture at one instant.

    ``wall_ms`` is UTC, to tell times by; ``mono_ms`` is monotonic, to measure by. ``feeds`` has the assets that are to
    be captured now: in focus by the user's own word, and not closed by the platform's table; ``gap_reasons`` why they
    are blind. ``differing`` and ``csv_lost`` only grow.
    """

    wall_ms: int
    mono_ms: int
    has_browser: bool = True
    waits_for_consent: bool = False
    logged_out: bool = False
    clock_in_question: bool = False
    feeds: Mapping[str, FeedState] = {}
    gap_reasons: Mapping[str, str] = {}
    store_error: str = ""
    free_bytes: int = 1 << 62
    differing: int = 0
    csv_lost: int = 0


class Alert(msgspec.Struct, frozen=True):
    """One alert that is due. Times are UTC milliseconds.

    ``assets`` and ``state`` belong to ``FEED``; ``is_dropped``: they are not to be captured any more, so that it is
    over without a tick. ``reason`` is text of elsewhere. ``count``: how many candles differ, lines are lost, crashes
    there were.
    """

    kind: AlertKind
    phase: Phase
    since_ms: int
    until_ms: int = 0
    assets: tuple[str, ...] = ()
    state: FeedState = FeedState.UNKNOWN
    reason: str = ""
    count: int = 0
    is_dropped: bool = False


class OpenAlert(msgspec.Struct, frozen=True):
    """An alert that was told and whose end was not."""

    kind: AlertKind
    asset: str
    since_ms: int


class AlertMemory(msgspec.Struct, frozen=True):
    """The facts that outlive a restart, so that nothing is told twice. ``crashes``: those since one was told."""

    open: tuple[OpenAlert, ...] = ()
    crash_told_ms: int = 0
    crashes: int = 0


class QuietHours:
    """Times of the day in which nothing is told: ``22:00-07:00``, several with commas. Raises ConfigError."""

    def __init__(self, text: str) -> None:
        try:
            self._spans = [_span(part.strip()) for part in text.split(",") if part.strip()]
        except ValueError:
            raise ConfigError(f"{text!r} are no quiet hours; write them like 22:00-07:00.") from None

    def contains(self, minute_of_day: int) -> bool:
        """Return whether a minute of the local day, 0 to 1439, is within."""
        return any((minute_of_day - begin) % MINUTES_A_DAY < length for begin, length in self._spans)


def _span(text: str) -> tuple[int, int]:
    """First minute of the day, and number of minutes. Raises ValueError."""
    begin, end = (_minute(part) for part in text.split("-"))
    return begin, (end - begin) % MINUTES_A_DAY or MINUTES_A_DAY


def _minute(text: str) -> int:
    hour, minute = (int(part) if part.strip().isdecimal() else -1 for part in text.split(":"))
    if not (0 <= hour < 24 and 0 <= minute < 60):
        raise ValueError("time")
    return hour * 60 + minute


Key = tuple[AlertKind, str]

_BLINDING = (AlertKind.CHROME, AlertKind.CONSENT, AlertKind.LOGGED_OUT)
"""While one of them is there no feed can be live."""
_LOSSES = (AlertKind.CSV, AlertKind.DISAGREES)
_BLIND_STATES = frozenset(
    (
        *(FeedState.NO_BROWSER, FeedState.NO_SOCKET, FeedState.UNSYNCHRONISED, FeedState.STALLED),
        *(FeedState.UNSUBSCRIBED, FeedState.LOGGED_OUT, FeedState.WAITING_FOR_CONSENT),
    )
)


class _Condition:
    """Something that is the case, or was until a moment ago."""

    def __init__(self, facts: Facts, *, since_ms: int | None = None, told: bool = False) -> None:
        self.since_ms = facts.wall_ms if since_ms is None else since_ms
        self.timer_ms = facts.mono_ms
        self.told = told
        self.withheld = False
        """It was due in quiet hours."""
        self.gone_ms: int | None = None
        self.until_ms = 0
        self.state = FeedState.UNKNOWN
        self.reason = ""
        self.count = 0
        self.is_dropped = False


class _Losses:
    """A number that only grows."""

    def __init__(self, over_ms: int) -> None:
        self._over_ms = over_ms
        self._last: int | None = None
        self._grew_ms: int | None = None
        self.count = 0

    def is_going_on(self, number: int, mono_ms: int) -> bool:
        """Return whether it grew of late; ``count``: by how much since that began."""
        grown = 0 if self._last is None else max(0, number - self._last)
        self._last = number
        if grown:
            self._grew_ms = mono_ms
            self.count += grown
        if self._grew_ms is not None and mono_ms - self._grew_ms >= self._over_ms:
            self._grew_ms, self.count = None, 0
        return self._grew_ms is not None


class AlertRules:
    """See the module.

    Parameters
    ----------
    after_ms
        So long a condition must last before it is told.
    muted
        Kinds that are never told.
    crashed
        Whether the run before this one ended without being stopped.
    memory
        What the run before it has told.
    """

    def __init__(
        self,
        after_ms: int,
        muted: Collection[AlertKind] = (),
        *,
        crashed: bool = False,
        memory: AlertMemory = AlertMemory(),  # noqa: B008  frozen
    ) -> None:
        self._after_ms = after_ms
        self._muted = frozenset(muted)
        self._memory = memory
        self._crash_told_ms = memory.crash_told_ms
        self._crashes = memory.crashes + crashed
        self._crashed = crashed
        self._open: dict[Key, _Condition] = {}
        self._waiting: list[Alert] = []
        """Ends that came in quiet hours."""
        self._started_ms: int | None = None
        self._was_well: set[Key] = set()
        self._live_since_ms: int | None = None
        self._differing = _Losses(DISAGREES_OVER_MS)
        self._csv = _Losses(CSV_OVER_MS)

    def step(self, facts: Facts, *, is_quiet: bool = False) -> list[Alert]:
        """Return the alerts that are due now, each once. Call every few seconds."""
        if self._started_ms is None:
            self._start(facts)
        present = self._present(facts)
        self._note(present, facts)
        due = [*self._ended(present, facts), *self._began(present, facts, is_quiet)]
        ended = [alert for alert in due if alert.phase in (Phase.ENDED, Phase.PAST)]
        if is_quiet:
            self._waiting += ended
            return []
        told = [*self._waiting, *due]
        self._waiting = []
        return _grouped(told)

    def open_alerts(self) -> tuple[OpenAlert, ...]:
        """Return what was told and goes on."""
        return tuple(OpenAlert(kind, asset, one.since_ms) for (kind, asset), one in self._open.items() if one.told)

    def memory(self) -> AlertMemory:
        """Return what the next run has to know. Losses begin anew with it."""
        lasting = tuple(one for one in self.open_alerts() if one.kind not in _LOSSES)
        return AlertMemory(lasting, self._crash_told_ms, self._crashes)

    # --- within ---------------------------------------------------------------------------------------------------

    def _start(self, facts: Facts) -> None:
        self._started_ms = facts.mono_ms
        for one in self._memory.open:
            if one.kind not in self._muted:
                self._open[one.kind, one.asset] = _Condition(facts, since_ms=one.since_ms, told=True)
        if self._crashed and AlertKind.CRASH not in self._muted:
            if 0 <= facts.wall_ms - self._crash_told_ms < CRASH_EVERY_MS:
                return
            self._open[AlertKind.CRASH, ""] = _Condition(facts)

    def _present(self, facts: Facts) -> dict[Key, str]:
        """Return what is the case now, each with a reason."""
        is_lost = not facts.has_browser
        differs = self._differing.is_going_on(facts.differing, facts.mono_ms)
        loses = self._csv.is_going_on(facts.csv_lost, facts.mono_ms)
        low = ENOUGH_DISK_BYTES if (AlertKind.DISK, "") in self._open else LOW_DISK_BYTES
        cases = {
            AlertKind.CONSENT: facts.waits_for_consent,
            AlertKind.CHROME: is_lost and not facts.waits_for_consent,
            AlertKind.LOGGED_OUT: facts.logged_out and not is_lost,
            AlertKind.CLOCK: facts.clock_in_question,
            AlertKind.STORE: bool(facts.store_error),
            AlertKind.DISK: facts.free_bytes < low,
            AlertKind.DISAGREES: differs,
            AlertKind.CSV: loses,
            AlertKind.CRASH: (AlertKind.CRASH, "") in self._open,
        }
        found: dict[Key, str] = {(kind, ""): "" for kind, is_case in cases.items() if is_case}
        if facts.store_error:
            found[AlertKind.STORE, ""] = facts.store_error
        for asset, state in facts.feeds.items():
            if state in _BLIND_STATES:
                found[AlertKind.FEED, asset] = facts.gap_reasons.get(asset, "")
        return {key: reason for key, reason in found.items() if key[0] not in self._muted}

    def _note(self, present: Mapping[Key, str], facts: Facts) -> None:
        for key, reason in present.items():
            one = self._open.get(key)
            if one is None:
                one = self._open[key] = _Condition(facts)
            one.gone_ms = None
            kind, asset = key
            if not one.told:
                one.reason = reason
                one.state = facts.feeds.get(asset, FeedState.UNKNOWN) if kind is AlertKind.FEED else one.state
            if kind is AlertKind.DISAGREES:
                one.count = self._differing.count
            elif kind is AlertKind.CSV:
                one.count = self._csv.count
            elif kind is AlertKind.CRASH:
                one.count = self._crashes
        if facts.has_browser:
            self._was_well.add((AlertKind.CHROME, ""))
        self._was_well |= {(AlertKind.FEED, asset) for asset in facts.feeds} - present.keys()
        if any(kind is AlertKind.FEED for kind, _ in present):
            self._live_since_ms = None
        elif self._live_since_ms is None:
            self._live_since_ms = facts.mono_ms

    def _ended(self, present: Mapping[Key, str], facts: Facts) -> Iterable[Alert]:
        for key, one in list(self._open.items()):
            if key in present:
                continue
            if one.gone_ms is None:
                one.gone_ms, one.until_ms = facts.mono_ms, facts.wall_ms
                one.is_dropped = key[0] is AlertKind.FEED and key[1] not in facts.feeds
            if one.told or one.withheld:
                if not self._is_over(key[0], one.gone_ms, facts.mono_ms):
                    continue
                yield self._alert(key, one, Phase.ENDED if one.told else Phase.PAST)
            del self._open[key]

    def _is_over(self, kind: AlertKind, gone_ms: int, now_ms: int) -> bool:
        if kind in _LOSSES:
            return True
        if kind not in _BLINDING:
            return now_ms - gone_ms >= CLEAR_MS
        # Its end is told with what was filled: once the feeds are live again, or the reason why not was told.
        if any(other is AlertKind.FEED and one.told for (other, _), one in self._open.items()):
            return True
        return self._live_since_ms is not None and now_ms - max(gone_ms, self._live_since_ms) >= CLEAR_MS

    def _began(self, present: Mapping[Key, str], facts: Facts, is_quiet: bool) -> Iterable[Alert]:
        blinding = [self._open[key] for key in present if key[0] in _BLINDING]
        feeds = [self._open[key] for key in present if key[0] is AlertKind.FEED]
        blind_since_ms = min((one.timer_ms for one in feeds if not one.told), default=facts.mono_ms)
        for key in present:
            kind, one = key[0], self._open[key]
            if one.told or (kind is AlertKind.FEED and blinding):
                if kind is AlertKind.FEED and any(cause.told for cause in blinding):
                    one.timer_ms = facts.mono_ms  # whoever mends the cause gets the time to open the page
                continue
            since_ms = min(one.timer_ms, blind_since_ms) if kind in _BLINDING else one.timer_ms
            after_ms = 0 if kind in _LOSSES else self._after_ms
            if facts.mono_ms - since_ms < after_ms or self._may_be_starting(key, facts.mono_ms):
                continue
            one.withheld = is_quiet
            if is_quiet:
                continue
            one.told = True
            if kind is AlertKind.CRASH:
                self._crash_told_ms, self._crashes = facts.wall_ms, 0
                del self._open[key]
            yield self._alert(key, one, Phase.HAPPENED if kind is AlertKind.CRASH else Phase.BEGAN)

    def _may_be_starting(self, key: Key, now_ms: int) -> bool:
        may_start = key[0] in (AlertKind.CHROME, AlertKind.FEED) and key not in self._was_well
        return may_start and now_ms - (self._started_ms or 0) < START_GRACE_MS

    @staticmethod
    def _alert(key: Key, one: _Condition, phase: Phase) -> Alert:
        kind, asset = key
        return Alert(
            kind,
            phase,
            one.since_ms,
            one.until_ms if phase in (Phase.ENDED, Phase.PAST) else 0,
            (asset,) if asset else (),
            one.state,
            one.reason,
            one.count,
            one.is_dropped,
        )


def _grouped(alerts: Iterable[Alert]) -> list[Alert]:
    """Make one alert of those of several assets that are alike."""
    groups: dict[tuple[object, ...], Alert] = {}
    for alert in alerts:
        name: tuple[object, ...] = (alert.kind, alert.phase, alert.state, alert.reason, alert.is_dropped)
        if alert.kind is not AlertKind.FEED:
            name = (*name, alert.since_ms)
        first = groups.get(name)
        groups[name] = (
            alert
            if first is None
            else msgspec.structs.replace(
                first,
                since_ms=min(first.since_ms, alert.since_ms),
                until_ms=max(first.until_ms, alert.until_ms),
                assets=(*first.assets, *alert.assets),
            )
        )
    return list(groups.values())
