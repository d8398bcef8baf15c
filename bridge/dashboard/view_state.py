"""Decides what one page shows and whether it may be live. Pure: the known state goes in, the decision comes out.

``decide`` is the one place that decides; the page only carries out what changed since the last decision.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

import msgspec

CHOOSE, STOPPED = "Choose an asset.", "Stopped."


class ChartSource(enum.StrEnum):
    """A chart's source of candles; chosen by the user, never guessed."""

    CSV = "csv"
    PLATFORM = "platform"


class LiveState(enum.Enum):
    OFF = "off"
    """Not asked for."""
    PAUSED = "paused"
    """Asked for, but it cannot be at present; goes on by itself."""
    LIVE = "live"


class ViewRequest(msgspec.Struct, frozen=True):
    """The user's choices. ``is_on``: start was pressed, and stop was not."""

    source: ChartSource | None = None
    asset: str | None = None
    follows: bool = False
    is_on: bool = True


class DaemonState(msgspec.Struct, frozen=True):
    """The state of the daemon. ``assets``: symbols that may be chosen; empty until the platform sent its list."""

    daemon_error: str = ""
    chrome: str = "attached"
    chrome_reason: str = ""
    assets: frozenset[str] = frozenset()
    focus_mode: str = "follow"
    focus: tuple[str, ...] = ()
    detected: str | None = None


class ViewDecision(msgspec.Struct, frozen=True):
    """A decision: the stream to show (or None), whether it is live, and if not, why. ``leases``: lock the asset."""

    asset: str | None = None
    state: LiveState = LiveState.OFF
    reason: str = ""
    leases: bool = False


def decide(request: ViewRequest, daemon: DaemonState) -> ViewDecision:
    """Live only with a valid connection and a valid asset."""
    if request.source is not ChartSource.PLATFORM:
        return ViewDecision()
    asset = daemon.detected if request.follows else request.asset
    reason = _obstacle(request, daemon, asset)
    if not request.is_on:
        return ViewDecision(asset, LiveState.OFF, STOPPED)
    if asset is None:
        return ViewDecision(None, LiveState.PAUSED if request.follows else LiveState.OFF, reason)
    if reason:
        return ViewDecision(asset, LiveState.PAUSED, reason)
    return ViewDecision(asset, LiveState.LIVE, "", leases=not request.follows)


def next_step_text(decision: ViewDecision) -> str:
    """Return the line below the reason while there is no asset to show."""
    if decision.reason == CHOOSE:
        return "Live candles start immediately."
    if decision.reason == STOPPED:
        return ""
    return "It continues by itself." if decision.state is LiveState.PAUSED else "This page reconnects by itself."


def _obstacle(request: ViewRequest, daemon: DaemonState, asset: str | None) -> str:
    if daemon.daemon_error:
        return daemon.daemon_error
    if daemon.chrome != "attached":
        return daemon.chrome_reason or f"Chrome is {daemon.chrome}."
    if asset is None:
        return "The trading page has not shown its asset yet; click on one there." if request.follows else CHOOSE
    if daemon.assets and asset not in daemon.assets:
        return f"The platform has no asset {asset}."
    if request.follows and daemon.focus_mode == "lock" and asset not in daemon.focus:
        return f"The daemon's focus is locked to {', '.join(daemon.focus)}; it makes no candles of {asset}."
    return ""


def keep_asset(asset: str | None, available: Iterable[str], where: str) -> tuple[str | None, str]:
    """The asset after a change of source: kept when the new one has it, else None with a sentence that says so."""
    if asset is None or asset in set(available):
        return asset, ""
    return None, f"{asset} is not {where}; choose another asset."
