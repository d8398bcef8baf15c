"""Messages between a daemon and the worker that collects for it. Pure."""

from __future__ import annotations

from typing import Any

import msgspec


class FailedFile(msgspec.Struct, frozen=True):
    """A history that is missing, and why. ``asset``: the label on the page."""

    asset: str
    timeframe: str
    reason: str


class WorkOrder(msgspec.Struct, frozen=True):
    """A collection as ``fluxcap collect`` takes it, and the settings of the daemon that asks."""

    assets: str
    timeframes: str
    restart: bool
    settings: dict[str, Any]


class WorkerNote(msgspec.Struct, frozen=True, omit_defaults=True):
    """Progress. ``total``: histories to await; ``told``: what is to be clicked; ``is_last``: it is the last."""

    done: int = 0
    total: int = 0
    told: str = ""
    error: str = ""
    failed: tuple[FailedFile, ...] = ()
    is_last: bool = False
