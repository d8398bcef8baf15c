"""The candles and gaps that clients had been told by some time, out of what a store keeps of them. Pure.

A candle is told when it is committed, and once more with each revision; a gap with each of its states. What was told
in the same millisecond counts as told by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from fluxcap.schemas.candles import joined_rows
from fluxcap.schemas.errors import NotKnown
from fluxcap.schemas.types import CandleArray, GapChange, GapState

Sequences = npt.NDArray[np.uint64]

NEVER_MS = 2**62
"""Later than any time."""


def candles_as_of(
    candles: CandleArray,
    sequences: Sequences,
    first_versions: tuple[Sequences, CandleArray],
    revisions: tuple[Sequences, CandleArray],
) -> tuple[CandleArray, Sequences]:
    """Candles as they had been told, and their sequences, in the order of their times.

    Parameters
    ----------
    candles, sequences
        Those of the main stream that had been told, as they stand now; sequences ascend. Shape ``(n,)``.
    first_versions
        Sequences and first versions of those that were revised since they were told. Others may be among them.
    revisions
        Sequences (0: a minute that the main stream never had) and candles of the revisions that had been told, in the
        order in which they were.
    """
    view = candles.copy()
    for numbers, versions in (first_versions, _last_of_each(*revisions)):
        places = np.searchsorted(sequences, numbers)
        known = places < len(sequences)
        known[known] = sequences[places[known]] == numbers[known]
        view[places[known]] = versions[known]
    numbers, versions = revisions
    return with_passed_over(view, sequences, versions[numbers == 0])


def _last_of_each(sequences: Sequences, candles: CandleArray) -> tuple[Sequences, CandleArray]:
    numbers, from_the_end = np.unique(sequences[::-1], return_index=True)
    keep = (len(sequences) - 1 - from_the_end)[numbers > 0]
    return sequences[keep], candles[keep]


def with_passed_over(
    candles: CandleArray, sequences: Sequences, passed_over: CandleArray
) -> tuple[CandleArray, Sequences]:
    """Candles of a main stream with the minutes that it passed over, sequence 0, in the order of their times.

    ``passed_over``: in the order in which they were told. Of several of a minute the last counts, and a candle of the
    main stream before all.
    """
    if not len(passed_over):
        return candles, sequences
    both = joined_rows([candles, passed_over[::-1]])
    numbers = np.concatenate([sequences, np.zeros(len(passed_over), dtype=np.uint64)])
    places = np.unique(both["ts_ms"], return_index=True)[1]
    return both[places], numbers[places]


def gaps_as_of(changes: Sequence[GapChange], as_of_ms: int) -> list[GapChange]:
    """Gaps as they had been told by ``as_of_ms`` (UTC ms), by their begin; without those that were taken back.

    ``changes``: the states that gaps went through, in the order in which they were told.
    """
    told = max((number for number, change in enumerate(changes, 1) if change.at_ms <= as_of_ms), default=0)
    newest = {(change.gap.source_id, change.gap.symbol, change.gap.from_ms): change for change in changes[:told]}
    gaps = [change for change in newest.values() if change.gap.state is not GapState.WITHDRAWN]
    return sorted(gaps, key=lambda change: (change.gap.from_ms, change.gap.symbol))


def require_known(as_of_ms: int, known_from_ms: int) -> None:
    """Raise NotKnown for a time before ``known_from_ms``, from which on it was kept what was told (both UTC ms)."""
    if as_of_ms >= known_from_ms:
        return
    if known_from_ms == NEVER_MS:
        raise NotKnown("Not known: this store has not kept yet when its candles were told; leave out as_of.")
    raise NotKnown(
        f"Not known: this store keeps what was told from {utc_text(known_from_ms)} on; ask for a time after it."
    )


def utc_text(ts_ms: int) -> str:
    """A time as text: ``2026-11-21T10:30:00.250Z``."""
    when = datetime.fromtimestamp(ts_ms / 1_000, UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
