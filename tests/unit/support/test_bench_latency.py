"""tests/bench/bench_latency.py: what counts as a clean run, and as a tick's latency."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.bench.bench_latency import is_clean, latencies_ms

SENT_S = np.arange(2_000) / 1_000
"""Number n left at (n - 1) ms."""


def taken(numbers: Any, late_s: float = 0.002) -> np.ndarray[Any, Any]:
    """Those numbers, each in hand so long after it was sent."""
    return np.column_stack([numbers, SENT_S[np.asarray(numbers) - 1] + late_s])


def test_a_latency_is_from_the_sending_of_that_number_to_having_it():
    assert latencies_ms(taken(range(1, 2_001)), SENT_S) == pytest.approx(np.full(1_499, 2.0))


def test_every_number_once_and_soon_is_clean():
    assert is_clean(taken(range(500, 2_001)), SENT_S)


@pytest.mark.parametrize(
    "numbers",
    [[*range(1, 1_000), *range(1_001, 2_001)], [*range(1, 1_000), 999, *range(1_000, 2_001)], [5]],
    ids=["one lost", "one twice", "hardly any"],
)
def test_a_number_lost_or_repeated_is_not_clean(numbers: list[int]):
    assert not is_clean(taken(numbers), SENT_S)


def test_a_reader_that_falls_behind_is_not_clean():
    assert not is_clean(taken(range(1, 2_001), late_s=0.3), SENT_S)
