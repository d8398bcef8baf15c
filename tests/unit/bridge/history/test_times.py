"""bridge/history/times.py: one time, however it is written."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from fluxcap.bridge.history.times import to_ms
from fluxcap.schemas.errors import ConfigError

NOON_MS = 1_795_262_400_000
"""2026-11-21T12:00:00Z."""


@pytest.mark.parametrize(
    "when",
    [
        NOON_MS,
        np.int64(NOON_MS),
        "2026-11-21T12:00",
        " 2026-11-21T12:00:00.000999Z ",
        "2026-11-21T14:00+02:00",
        datetime(2026, 11, 21, 12),  # noqa: DTZ001
        datetime(2026, 11, 21, 12, tzinfo=UTC),
        datetime(2026, 11, 21, 7, tzinfo=timezone(timedelta(hours=-5))),
        np.datetime64("2026-11-21T12:00:00"),
        np.datetime64("2026-11-21T12:00:00.000000999", "ns"),
        pd.Timestamp("2026-11-21T12:00"),
        pd.Timestamp("2026-11-21T13:00", tz="Europe/Berlin"),
    ],
    ids=repr,
)
def test_the_same_time_is_the_same_number(when: object) -> None:
    assert to_ms(when, "start") == NOON_MS  # type: ignore[arg-type]


def test_a_day_begins_at_midnight_in_utc() -> None:
    assert to_ms(date(2026, 11, 21), "start") == to_ms("2026-11-21", "start") == NOON_MS - 12 * 3_600_000


@pytest.mark.parametrize(
    "when", [True, 1.5, "yesterday", "", None, [], np.datetime64("NaT"), pd.NaT, 2**62, 10**30], ids=repr
)
def test_what_is_no_time_is_refused_in_a_sentence(when: object) -> None:
    with pytest.raises(ConfigError, match=r"^end cannot be .*: write 2026-11-21, .*\(UTC\)\.$"):
        to_ms(when, "end")  # type: ignore[arg-type]
