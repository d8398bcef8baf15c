"""Decides what one page shows and whether it may be live. Pure: the known state goes in, the decision comes out.

``judge`` is the one place that decides; the page only carries out what changed since the last verdict.
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


class Wish(msgspec.Struct, frozen=True):
    """The user's choices. ``is_on``: start was pressed, and stop was not."""

    source: ChartSource | None = None
    asset: str | None = None
    follows: bool = False
    is_on: bool = True


class Known(msgspec.Struct, frozen=True):
    """The state of the daemon. ``assets``: symbols that may be chosen; empty until the platform sent its list."""

    daemon_error: str = ""
    chrome: str = "attached"
    chrome_reason: str = ""
    assets: frozenset[str] = frozenset()
    focus_mode: str = "follow"
    focus: tuple[str, ...] = ()
    detected: str | None = None


class Verdict(msgspec.Struct, frozen=True):
    """A decision: the stream to show (or None), whether it is live, and if not, why. ``leases``: lock the asset."""

    asset: str | None = None
    state: LiveState = LiveState.OFF
    reason: str = ""
    leases: bool = False


def judge(wish: Wish, known: Known) -> Verdict:
    """Live only with a valid connection and a valid asset."""
    if wish.source is not ChartSource.PLATFORM:
        return Verdict()
    asset = known.detected if wish.follows else wish.asset
    reason = _obstacle(wish, known, asset)
    if not wish.is_on:
        return Verdict(asset, LiveState.OFF, STOPPED)
    if asset is None:
        return Verdict(None, LiveState.PAUSED if wish.follows else LiveState.OFF, reason)
    if reason:
        return Verdict(asset, LiveState.PAUSED, reason)
    return Verdict(asset, LiveState.LIVE, "", leases=not wish.follows)


def outlook(verdict: Verdict) -> str:
    """Return the line below the reason while there is no asset to show."""
    if verdict.reason == CHOOSE:
        return "Live candles start immediately."
    if verdict.reason == STOPPED:
        return ""
    return "It continues by itself." if verdict.state is LiveState.PAUSED else "This page reconnects by itself."


def _obstacle(wish: Wish, known: Known, asset: str | None) -> str:
    if known.daemon_error:
        return known.daemon_error
    if known.chrome != "attached":
        return known.chrome_reason or f"Chrome is {known.chrome}."
    if asset is None:
        return "The trading page has not shown its asset yet; click on one there." if wish.follows else CHOOSE
    if known.assets and asset not in known.assets:
        return f"The platform has no asset {asset}."
    if wish.follows and known.focus_mode == "lock" and asset not in known.focus:
        return f"The daemon's focus is locked to {', '.join(known.focus)}; it makes no candles of {asset}."
    return ""


def carried_over(asset: str | None, available: Iterable[str], where: str) -> tuple[str | None, str]:
    """The asset after a change of source: kept when the new one has it, else None with a sentence that says so."""
    if asset is None or asset in set(available):
        return asset, ""
    return None, f"{asset} is not {where}; choose another asset."
