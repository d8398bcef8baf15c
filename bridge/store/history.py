"""Candles and gaps of a store by time, as they stand or as they had been told by some time: the queries.

The reader of a running server and that of a stopped store ask here, so that both answer alike.
"""

from __future__ import annotations

import msgspec
import numpy as np

from fluxcap.bridge.store.as_of import NEVER_MS, Sequences, candles_as_of, gaps_as_of, require_known, with_passed_over
from fluxcap.bridge.store.connection import StoreCursor
from fluxcap.bridge.store.schema import CANDLE_COLUMNS, NOT_KNOWN_MS
from fluxcap.schemas.types import CANDLE_DTYPE, CandleArray, Gap, GapChange


class HistoryPage(msgspec.Struct, frozen=True, eq=False):
    """Candles in the order of their times, with their sequences; 0 for a minute the main stream never had.

    ``next_ms``: where to go on (UTC ms); 0: there are no more.
    """

    candles: CandleArray
    sequences: Sequences
    next_ms: int = 0


NO_HISTORY = HistoryPage(np.empty(0, CANDLE_DTYPE), np.empty(0, np.uint64))

_BETWEEN = "WHERE stream_id = ? AND ts_ms >= ? AND ts_ms < ?"
_MAIN = f"SELECT sequence, {CANDLE_COLUMNS} FROM candles {_BETWEEN}"  # noqa: S608
_FIRST_VERSIONS = f"SELECT sequence, {CANDLE_COLUMNS} FROM first_versions {_BETWEEN}"  # noqa: S608
_REVISIONS = f"SELECT revision, sequence, {CANDLE_COLUMNS} FROM revisions {_BETWEEN}"  # noqa: S608
_NEXT = (
    "SELECT min(ts_ms) FROM (SELECT ts_ms FROM candles WHERE stream_id = $1 AND ts_ms >= $2 UNION ALL "
    "SELECT ts_ms FROM revisions WHERE stream_id = $1 AND sequence = 0 AND ts_ms >= $2)"
)
_TOUCHING = (
    "WHERE g.source_id = $1 AND ($2 = '' OR g.symbol IN ('', $2)) AND (g.to_ms = 0 OR g.to_ms > $3) AND g.from_ms < $4"
)
_GAPS = f"SELECT g.source_id, g.symbol, g.from_ms, g.to_ms, g.reason, 0 FROM gaps AS g {_TOUCHING}"  # noqa: S608
_GAPS_TOLD = (
    "SELECT g.source_id, g.symbol, g.from_ms, g.to_ms, g.reason, coalesce(max(s.at_ms), 0) FROM gaps AS g "  # noqa: S608
    "LEFT JOIN gap_states AS s ON s.source_id = g.source_id AND s.symbol = g.symbol AND s.from_ms = g.from_ms "
    f"{_TOUCHING} GROUP BY ALL"
)
_GAP_STATES = (
    "SELECT source_id, symbol, from_ms, to_ms, reason, at_ms FROM gap_states "
    "WHERE source_id = $1 AND ($2 = '' OR symbol IN ('', $2)) AND from_ms < $3 ORDER BY rowid"
)


def read_candles(
    cursor: StoreCursor,
    stream_id: int,
    from_ms: int,
    to_ms: int,
    as_of_ms: int | None = None,
    *,
    has_revisions: bool = True,
) -> tuple[CandleArray, Sequences]:
    """The candles that begin in ``[from_ms, to_ms)``, and their sequences.

    ``has_revisions``: False for a stream that is known to have none. Raises StoreError.
    """
    bounds = (stream_id, from_ms, to_ms)
    with cursor.transaction():  # one state of the store, however many queries
        if as_of_ms is None:
            main, sequences = _in_order(cursor, _MAIN, "sequence", bounds)
            if not has_revisions:
                return main, sequences
            passed_over, _ = _in_order(cursor, f"{_REVISIONS} AND sequence = 0", "revision", bounds)
            return with_passed_over(main, sequences, passed_over)
        # In the order of their numbers, so that a clock that was turned back makes no holes.
        told = "SELECT coalesce(max({}), 0) FROM {} WHERE stream_id = ? AND {} <= ?"
        newest = cursor.rows(told.format("sequence", "candles", "sealed_ms"), (stream_id, as_of_ms))[0][0]
        revised = cursor.rows(told.format("revision", "revisions", "made_ms"), (stream_id, as_of_ms))[0][0]
        main, sequences = _in_order(cursor, f"{_MAIN} AND sequence <= ?", "sequence", (*bounds, newest))
        versions, numbers = _in_order(cursor, _FIRST_VERSIONS, "sequence", bounds)
        better, revisions = _in_order(cursor, f"{_REVISIONS} AND revision <= ?", "revision", (*bounds, revised))
        return candles_as_of(main, sequences, (numbers, versions), (revisions, better))


def read_page(
    cursor: StoreCursor,
    stream_id: int,
    step_ms: int,
    from_ms: int,
    to_ms: int,
    as_of_ms: int | None,
    limit: int,
    *,
    has_revisions: bool = True,
) -> HistoryPage:
    """As many of the candles of ``[from_ms, to_ms)`` as begin within ``limit`` intervals of ``step_ms``.

    Where nothing begins so soon, those that follow. ``has_revisions``: see ``read_candles``. Raises StoreError.
    """
    for attempt in range(2):
        end_ms = min(to_ms, from_ms + limit * step_ms)
        candles, sequences = read_candles(cursor, stream_id, from_ms, end_ms, as_of_ms, has_revisions=has_revisions)
        if len(candles) or end_ms >= to_ms or attempt:
            break
        following = cursor.rows(_NEXT, (stream_id, end_ms))[0][0]
        if following is None or following >= to_ms:
            return NO_HISTORY
        from_ms = int(following)
    return HistoryPage(candles, sequences, end_ms if end_ms < to_ms else 0)


def read_gaps(
    cursor: StoreCursor,
    source_id: str,
    symbol: str,
    from_ms: int,
    to_ms: int,
    as_of_ms: int | None = None,
    *,
    has_states: bool = True,
) -> list[GapChange]:
    """The gaps that touch ``[from_ms, to_ms)``, by their begin, without those that were taken back.

    ``symbol`` "": of every symbol; those of the whole source count for each. ``has_states``: False for a store of
    version 1. Raises StoreError.
    """
    if as_of_ms is None:
        rows = cursor.rows(_GAPS_TOLD if has_states else _GAPS, (source_id, symbol, from_ms, to_ms))
        return gaps_as_of([GapChange(Gap(*row[:5]), row[5]) for row in rows], NEVER_MS)
    rows = cursor.rows(_GAP_STATES, (source_id, symbol, to_ms))
    told = gaps_as_of([GapChange(Gap(*row[:5]), row[5]) for row in rows], as_of_ms)
    return [change for change in told if not change.gap.to_ms or change.gap.to_ms > from_ms]


class KnownFrom:
    """Since when a store keeps when its candles and gaps were told; looked up once, where that is possible."""

    def __init__(self) -> None:
        self._known_ms: int | None = None

    def require(self, cursor: StoreCursor, as_of_ms: int) -> None:
        """Raise NotKnown for an earlier time, StoreError."""
        if self._known_ms is None:
            known_ms = _known_from_ms(cursor)
            if known_ms == NEVER_MS:
                require_known(as_of_ms, known_ms)
            self._known_ms = known_ms
        require_known(as_of_ms, self._known_ms)


def _known_from_ms(cursor: StoreCursor) -> int:
    """The first time (UTC ms) that was kept, 0 where all are, ``NEVER_MS`` where none is.

    What version 1 had stored was there when the first was kept. So was what a repair put into a new store.
    """
    (oldest,) = cursor.rows(
        "SELECT min(at_ms) FROM (SELECT min(sealed_ms) AS at_ms FROM candles UNION ALL "
        "SELECT min(at_ms) FROM gap_states UNION ALL SELECT 1)"
    )
    if oldest[0] != NOT_KNOWN_MS:
        return 0
    first = cursor.rows(
        "SELECT min(at_ms) FROM (SELECT min(sealed_ms) AS at_ms FROM candles WHERE sealed_ms > 0 UNION ALL "
        "SELECT min(at_ms) FROM gap_states WHERE at_ms > 0)"
    )[0][0]
    created = cursor.rows("SELECT value FROM meta WHERE name = 'created_ms'")
    return NEVER_MS if first is None else max(int(first), int(created[0][0]) if created else 0)


def _in_order(cursor: StoreCursor, sql: str, number: str, parameters: tuple[int, ...]) -> tuple[CandleArray, Sequences]:
    """Candles and their sequences, in the order of the column ``number``."""
    candles, columns = cursor.candles(sql, parameters)
    numbers, sequences = columns[number], columns["sequence"]
    if len(numbers) > 1 and not (numbers[1:] > numbers[:-1]).all():
        order = np.argsort(numbers, kind="stable")
        return candles[order], sequences[order]
    return candles, sequences
