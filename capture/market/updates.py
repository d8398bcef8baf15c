"""What the market decided, on its way to the store and the wire. Pure."""

from __future__ import annotations

import msgspec

from capture.candles import Revision
from capture.feeds import GapNews
from schemas.types import Candle, Tick


class Outcome(msgspec.Struct):
    """What was decided since the last ``take``; lists by time of decision."""

    sealed: dict[str, list[Candle]] = msgspec.field(default_factory=dict)
    revised: dict[str, list[Revision]] = msgspec.field(default_factory=dict)
    gaps: list[GapNews] = msgspec.field(default_factory=list)
    ticks: list[Tick] = msgspec.field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.sealed or self.revised or self.gaps or self.ticks)

    def append(self, newer: Outcome) -> None:
        """Add what was decided after this. Ticks are not kept twice: what could not be stored waits without them."""
        for symbol, candles in newer.sealed.items():
            self.sealed.setdefault(symbol, []).extend(candles)
        for symbol, revisions in newer.revised.items():
            self.revised.setdefault(symbol, []).extend(revisions)
        self.gaps += newer.gaps
        self.ticks = newer.ticks
