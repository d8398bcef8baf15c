"""The health of a stream, in five states. Pure: time goes in as monotonic nanoseconds.

The facts come from three places: the connection (is there a server), the server's word on the stream (a heartbeat each
second, with the state of its own feed) and the updates themselves. ``StreamHealth._compute`` turns them into a state,
and ``StreamHealth._set_state`` is the one place where the state changes.
"""

from __future__ import annotations

import enum

import msgspec

from fluxcap.schemas.types import FeedState, StreamStatus

HEARTBEAT_SILENCE_NS = 1_600_000_000
"""Heartbeats come each second; with a look each 0.1 s, silence is noticed within 2 s."""
CONNECT_TIMEOUT_NS = 2_000_000_000
"""How long a first connection counts as under way."""
_NS_PER_MS = 1_000_000


class HealthState(enum.Enum):
    DISCONNECTED = "disconnected"
    """No server answers."""
    CONNECTING = "connecting"
    SUBSCRIBED = "subscribed"
    """The server is there and talks; nothing has come for this stream (idle)."""
    RECEIVING = "receiving"
    STALLED = "stalled"
    """Updates should come and do not."""


class Health(msgspec.Struct, frozen=True):
    """The health of one stream at one moment.

    Attributes
    ----------
    state
        One of five.
    reason
        Why, in plain words; ``""`` while receiving.
    age_ns
        Nanoseconds since the last update of a price; None before the first.
    feed_state
        What the server says of its own feed.
    """

    state: HealthState
    reason: str = ""
    age_ns: int | None = None
    feed_state: FeedState = FeedState.UNKNOWN

    @property
    def label(self) -> str:
        """For a footer: ``"Live, 0.3s ago"``, ``"Stale, 8.2s"``, ``"Idle"``, ``"Connecting"``, ``"Disconnected"``."""
        word, tail = _LABELS[self.state]
        return word if self.age_ns is None or tail is None else f"{word}, {format_age(self.age_ns)}{tail}"


_LABELS: dict[HealthState, tuple[str, str | None]] = {
    HealthState.DISCONNECTED: ("Disconnected", ""),
    HealthState.CONNECTING: ("Connecting", None),
    HealthState.SUBSCRIBED: ("Idle", " ago"),
    HealthState.RECEIVING: ("Live", " ago"),
    HealthState.STALLED: ("Stale", ""),
}

_FEED_REASONS: dict[FeedState, tuple[HealthState, str]] = {
    FeedState.NO_BROWSER: (HealthState.STALLED, "server up, no browser"),
    FeedState.NO_SOCKET: (HealthState.STALLED, "browser connected, no trading page"),
    FeedState.STALLED: (HealthState.STALLED, "the trading page's connection has gone silent"),
    FeedState.UNSYNCHRONISED: (HealthState.SUBSCRIBED, "ticks arrive, but the platform's clock is not measured yet"),
    FeedState.UNSUBSCRIBED: (HealthState.SUBSCRIBED, "the trading page shows other assets"),
    FeedState.LOGGED_OUT: (HealthState.STALLED, "the trading page is logged out of the platform"),
    FeedState.WAITING_FOR_CONSENT: (HealthState.STALLED, "Chrome waits for your consent to be attached to"),
    FeedState.NOT_IN_FOCUS: (HealthState.SUBSCRIBED, "not in focus: no candles are made of it at present"),
    FeedState.CLOCK_IN_QUESTION: (HealthState.SUBSCRIBED, "the server's clock is in question"),
}


def format_age(age_ns: int) -> str:
    """``0.3s``, ``8.2s``, ``75s``, ``12m``, ``3h``."""
    seconds = age_ns / 1e9
    if seconds < 60:
        return f"{seconds:.1f}s"
    if seconds < 600:
        return f"{seconds:.0f}s"
    return f"{seconds / 60:.0f}m" if seconds < 7200 else f"{seconds / 3600:.0f}h"


class StreamHealth:
    """Judge of one stream. Every ``on_…`` returns the new Health when state or reason changed, else None.

    idle_after_ms: age of the last update from which a stream is idle instead of receiving; give it more than one
    interval, since a server without forming candles sends once an interval.
    """

    def __init__(self, now_ns: int, *, idle_after_ms: int) -> None:
        self._idle_after_ns = idle_after_ms * _NS_PER_MS
        self._health = Health(HealthState.CONNECTING, "looking for the server")
        self._connected = False
        self._was_connected = False
        self._epoch_ns = now_ns
        self._down_reason = ""
        self._last_heartbeat_ns: int | None = None
        self._update_ns: int | None = None
        self._feed = FeedState.UNKNOWN
        self._refusal = ""
        self._local_error = ""

    def now(self, now_ns: int) -> Health:
        """The health with its age as of now."""
        return msgspec.structs.replace(self._health, age_ns=self._age_ns(now_ns))

    def on_connecting(self, now_ns: int) -> Health | None:
        """A new address: begin as if never connected."""
        self._connected = self._was_connected = False
        self._epoch_ns, self._last_heartbeat_ns, self._down_reason = now_ns, None, ""
        return self._set_state(now_ns)

    def on_connected(self, now_ns: int) -> Health | None:
        self._connected = self._was_connected = True
        self._epoch_ns, self._last_heartbeat_ns, self._refusal = now_ns, None, ""
        return self._set_state(now_ns)

    def on_disconnected(self, reason: str, now_ns: int) -> Health | None:
        self._connected, self._down_reason = False, reason
        return self._set_state(now_ns)

    def on_heartbeat(self, status: StreamStatus, now_ns: int) -> Health | None:
        """The server's word on the stream, asked for or not. Its clock is compared with its own stamps only."""
        self._last_heartbeat_ns, self._refusal = now_ns, ""
        self._feed = FeedState(status.feed_state)
        if status.last_tick_ts_ms > 0 and status.server_time_ms > 0:
            age_ns = max(0, status.server_time_ms - status.last_tick_ts_ms) * _NS_PER_MS
            ticked_ns = now_ns - age_ns
            self._update_ns = ticked_ns if self._update_ns is None else max(self._update_ns, ticked_ns)
        return self._set_state(now_ns)

    def on_update(self, now_ns: int) -> Health | None:
        """A live batch or forming candle."""
        self._last_heartbeat_ns = self._update_ns = now_ns
        self._refusal = ""
        return self._set_state(now_ns)

    def on_refused(self, reason: str, now_ns: int) -> Health | None:
        """The server answered that it does not have the stream."""
        self._refusal = reason
        return self._set_state(now_ns)

    def on_local_error(self, reason: str, now_ns: int) -> Health | None:
        """Nothing can be stored here at present, so nothing is emitted; ``""``: it can again."""
        self._local_error = reason
        return self._set_state(now_ns)

    def on_time(self, now_ns: int) -> Health | None:
        return self._set_state(now_ns)

    def _age_ns(self, now_ns: int) -> int | None:
        return None if self._update_ns is None else max(0, now_ns - self._update_ns)

    def _compute(self, now_ns: int) -> tuple[HealthState, str]:
        if not self._connected:
            if self._was_connected:
                return HealthState.DISCONNECTED, self._down_reason or "connection lost; reconnecting"
            if now_ns - self._epoch_ns >= CONNECT_TIMEOUT_NS:
                return HealthState.DISCONNECTED, self._down_reason or "no server answers; retrying"
            return HealthState.CONNECTING, "looking for the server"
        if self._local_error:
            return HealthState.STALLED, self._local_error
        if self._refusal:
            return HealthState.SUBSCRIBED, self._refusal
        if (
            now_ns - (self._epoch_ns if self._last_heartbeat_ns is None else self._last_heartbeat_ns)
            >= HEARTBEAT_SILENCE_NS
        ):
            return HealthState.STALLED, "no heartbeat from the server"
        if self._last_heartbeat_ns is None:
            return HealthState.CONNECTING, "waiting for the server's first heartbeat"
        if self._feed in _FEED_REASONS:
            return _FEED_REASONS[self._feed]
        age_ns = self._age_ns(now_ns)
        if age_ns is None:
            return HealthState.SUBSCRIBED, "no update yet"
        if age_ns > self._idle_after_ns:
            return HealthState.SUBSCRIBED, "a quiet market: no update for a while"
        return HealthState.RECEIVING, ""

    def _set_state(self, now_ns: int) -> Health | None:
        state, reason = self._compute(now_ns)
        if (state, reason, self._feed) == (self._health.state, self._health.reason, self._health.feed_state):
            return None
        self._health = Health(state, reason, self._age_ns(now_ns), self._feed)
        return self._health
