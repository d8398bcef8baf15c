"""bridge/transport/base.py: how long to wait, and whose time is over."""

from __future__ import annotations

import pytest

from fluxcap.bridge.transport.base import pop_expired, time_to_deadline_ms

MS = 1_000_000


@pytest.mark.parametrize(
    ("deadlines", "wait_ms"),
    [({}, 200), ({1: 1_000 * MS}, 200), ({1: 1_000 * MS, 2: 50 * MS}, 41), ({1: 5 * MS}, 0)],
    ids=["nothing under way", "later than asked", "the first counts", "over already"],
)
def test_waiting_ends_with_the_first_deadline_or_as_asked(deadlines: dict[int, int], wait_ms: int) -> None:
    assert time_to_deadline_ms(deadlines, 200, 10 * MS) == wait_ms


def test_what_is_over_is_taken_out_once() -> None:
    deadlines = {1: 10 * MS, 2: 11 * MS, 3: 9 * MS}

    assert pop_expired(deadlines, 10 * MS) == [1, 3]
    assert deadlines == {2: 11 * MS}
    assert pop_expired(deadlines, 10 * MS) == []
