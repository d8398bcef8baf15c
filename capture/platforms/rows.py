"""Rows of ticks and candles as option brokers write them in JSON, checked one by one. Pure.

A row that is not sound is left out, and costs no other one; where it lay between ticks, their history has a break.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any, TypeAlias, TypeGuard

import msgspec

from fluxcap.capture.platforms.stamps import SECONDS, as_written, floor_ms
from fluxcap.schemas.types import Candle

MAX_PRICE = 1e12
MAX_TS_S = 32_503_680_000.0
"""The year 3000: a time stamp beyond it is not seconds."""
MAX_PERIOD_S = 86_400 * 31
_HUGE = 1e300
_SYMBOL = re.compile(r"[#A-Za-z0-9][A-Za-z0-9_#&-]{0,31}")
"""All 183 symbols of the recorded table, and nothing that could do harm in a topic or a file name."""
_SYMBOLS_MAX = 4_096
_OFF_GRID_SHARE = 0.1
"""So many of the steps between rows may be no multiple of the usual one: their times are wrong."""

Ticks: TypeAlias = tuple[tuple[int, float], ...]
exact_json = msgspec.json.Decoder(float_hook=as_written)
"""Numbers stay as they are written: a double cannot hold every stamp."""


sound_symbols: set[str] = set()


def is_symbol(text: str) -> bool:
    """Return whether a text can be an asset's symbol. Results are cached: ticks are many, symbols few."""
    if text in sound_symbols:
        return True
    if _SYMBOL.fullmatch(text) is None:
        return False
    if len(sound_symbols) < _SYMBOLS_MAX:
        sound_symbols.add(text)
    return True


def is_number(value: Any) -> TypeGuard[int | Decimal]:
    """Return whether it is a JSON number that a double holds: an integer may have any number of digits."""
    return isinstance(value, int | Decimal) and not isinstance(value, bool) and -_HUGE < value < _HUGE


def is_tick(ts_s: Any, price: Any) -> bool:
    return is_number(ts_s) and 0 < ts_s < MAX_TS_S and is_number(price) and 0.0 < float(price) < MAX_PRICE


def _time_of(tick: tuple[int, float]) -> int:
    return tick[0]


def rows_of(value: Any) -> list[Any]:
    """The rows of a list; anything else has none."""
    return value if isinstance(value, list) else []


def period_ms_of(period_s: Any) -> int:
    """A period in milliseconds; 0 where it is none that can be."""
    return int(period_s) * 1_000 if is_number(period_s) and 1 <= period_s <= MAX_PERIOD_S and period_s % 1 == 0 else 0


def spacing_ms(candles: Sequence[Candle]) -> int:
    """The period of candles, ascending, that nobody tells: the usual step from one to the next; 0 where none is.

    Minutes without a trade make multiples of it. Where steps are no multiples, one row more would tell another period.
    """
    steps = Counter(after.ts_ms - before.ts_ms for before, after in pairwise(candles))
    if not steps:
        return 0
    usual_ms, count = steps.most_common(1)[0]
    off_grid = sum(n for step_ms, n in steps.items() if step_ms % usual_ms)
    return usual_ms if count >= 2 and off_grid <= _OFF_GRID_SHARE * steps.total() and usual_ms % 1_000 == 0 else 0


def history_ticks(rows: Iterable[tuple[Any, Any]]) -> tuple[Ticks, tuple[int, ...]]:
    """Rows ``(ts_s, price)`` → sound ticks, ascending, and the breaks that the other rows leave.

    Ticks of one millisecond stay in their order. A row that is not sound lies between those beside it, whichever way
    the rows run.
    """
    stamps = [(floor_ms(ts_s, SECONDS), price) if is_tick(ts_s, price) else None for ts_s, price in rows]
    ticks = sorted(((found[0], float(found[1])) for found in stamps if found is not None), key=_time_of)
    breaks: set[int] = set()
    before: int | None = None
    is_lost = False
    for found in stamps:
        if found is not None:
            if is_lost:
                breaks.add(max(before, found[0]) if before is not None else _beyond(found[0], ticks))
            before = found[0]
        is_lost = found is None
    if before is not None and stamps[-1] is None:
        breaks.add(_beyond(before, ticks))
    return tuple(ticks), tuple(sorted(breaks))


def _beyond(ts_ms: int, ticks: Sequence[tuple[int, float]]) -> int:
    """The break of a row outside all ticks, beside the one at ``ts_ms``: before the first, or after the last."""
    return ts_ms + 1 if ts_ms == ticks[-1][0] else ticks[0][0]


def candles_of(rows: Iterable[tuple[Any, Any, Any, Any, Any]]) -> tuple[Candle, ...]:
    """Rows ``(ts_s, open, high, low, close)`` in any order → sound candles, ascending, each start once."""
    found: dict[int, Candle] = {}
    for ts_s, *prices in rows:
        if not is_number(ts_s) or not 0 < ts_s < MAX_TS_S or not all(map(is_number, prices)):
            continue
        open_, high, low, close = map(float, prices)
        if 0.0 < low <= min(open_, close) and max(open_, close) <= high < MAX_PRICE:
            ts_ms = floor_ms(ts_s, SECONDS)
            found[ts_ms] = Candle(ts_ms, open_, high, low, close)
    return tuple(found[ts_ms] for ts_ms in sorted(found))
