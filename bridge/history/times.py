"""Times as people and their libraries write them, to UTC epoch milliseconds. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TypeAlias

import numpy as np

from fluxcap.bridge.store.as_of import NEVER_MS
from fluxcap.schemas.errors import ConfigError

TimeLike: TypeAlias = int | str | date | np.datetime64 | np.integer
"""Milliseconds since 1970, ISO 8601, ``datetime`` (pandas' too) or NumPy's; UTC where nothing else is said."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def to_ms(when: TimeLike, name: str) -> int:
    """A time in UTC epoch milliseconds; smaller parts are cut off. ``name``: of the argument. Raises ConfigError."""
    try:
        ms = _to_ms(when)
    except (ValueError, OverflowError, TypeError):
        ms = None
    if ms is None or not -NEVER_MS < ms < NEVER_MS:
        raise ConfigError(
            f"{name} cannot be {when!r}: write 2026-11-21, 2026-11-21T10:30, a datetime, or milliseconds since 1970 "
            "(UTC)."
        )
    return ms


def _to_ms(when: TimeLike) -> int | None:
    if isinstance(when, bool):
        return None
    if isinstance(when, int | np.integer):
        return int(when)
    if isinstance(when, np.datetime64):
        return None if np.isnat(when) else int(when.astype("datetime64[ms]").astype(np.int64))
    if isinstance(when, str):
        when = datetime.fromisoformat(when.strip())
    elif isinstance(when, date) and not isinstance(when, datetime):
        when = datetime(when.year, when.month, when.day, tzinfo=UTC)
    if not isinstance(when, datetime):
        return None
    aware = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MILLISECOND
