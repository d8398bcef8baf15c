"""What a fault of the storm is, and who may tell of it.

A fault is a context manager: it is there within, and mended when it is left. ``PAGE`` faults are of site and browser,
``HOUSE`` faults of daemon, clients, wire and disk; one of each kind may happen at the same time.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from random import Random
from typing import TypeAlias

import msgspec

from tests.soak.storm.rig import StormRig, Told

SILENT = "socket silent"
PAGE, HOUSE = "page", "house"
Make: TypeAlias = Callable[[StormRig, Random], AbstractContextManager[object]]
Teller: TypeAlias = Callable[[StormRig], Told]


class StormFault(msgspec.Struct, frozen=True):
    """``reasons``: what a gap may be told for it. ``told``: where the first word of it is looked for. ``hold_s``: how
    long it lasts. ``alone``: never together with another."""

    name: str
    side: str
    make: Make
    reasons: tuple[str, ...] = ()
    told: Teller | None = None
    hold_s: tuple[float, float] = (0.5, 2.0)
    alone: bool = False


def logged(event: str, *reasons: str) -> Teller:
    return lambda rig: rig.log_tells(event, *reasons)


def feed(state: str) -> Teller:
    return lambda rig: rig.feed_tells(state)


def client(name: str, *states: str) -> Teller:
    return lambda rig: rig.clients[name].tells(rig.lanes[0], *states)
