"""The comparison of our candles with the platform's own rows. Pure.

Ours are made of the ticks that the page received, the platform's of those that it keeps: where both have the same open,
high, low and close, ours are right. It is the proof that a trader can see, and the alarm when the platform changes.
Ours stands in any case: a row that differs is told, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from fluxcap.schemas.types import Candle


class Comparison(msgspec.Struct, frozen=True):
    """One sealed candle beside the platform's row for the same time."""

    sequence: int
    ours: Candle
    row: Candle

    @property
    def is_equal(self) -> bool:
        """Return whether both have the same prices; the platform tells no number of ticks."""
        ours, row = self.ours, self.row
        return (ours.open, ours.high, ours.low, ours.close) == (row.open, row.high, row.low, row.close)


def compare(sealed: Mapping[int, tuple[int, Candle]], rows: Iterable[Candle]) -> list[Comparison]:
    """Compare each sealed candle without a flag with the platform's row for its time, in order of time.

    Parameters
    ----------
    sealed
        ``{ts_ms: (sequence, candle)}``. One with a flag is left out: it does not claim to be whole, or is the
        platform's own already.
    rows
        The platform's rows of the same interval in UTC, whole ones only. Of two for one time the last counts.

    Returns
    -------
    list of Comparison
        For each time that has both.
    """
    by_start = {row.ts_ms: row for row in rows}
    return [
        Comparison(*sealed[ts_ms], by_start[ts_ms])
        for ts_ms in sorted(by_start.keys() & sealed.keys())
        if not sealed[ts_ms][1].flags
    ]
