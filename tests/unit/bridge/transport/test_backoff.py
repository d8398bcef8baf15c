"""fluxcap.bridge.transport.backoff: waits double, with jitter, up to a cap."""

from __future__ import annotations

from fluxcap.bridge.transport.backoff import Backoff


def test_waits_double_up_to_the_cap() -> None:
    backoff = Backoff(lambda: 1.0, base_ns=100, cap_ns=1_000)

    assert [backoff.wait_ns(attempt) for attempt in (1, 2, 3, 4, 5, 500)] == [100, 200, 400, 800, 1_000, 1_000]


def test_jitter_takes_off_at_most_half() -> None:
    backoff = Backoff(lambda: 0.0, base_ns=100, cap_ns=1_000)

    assert [backoff.wait_ns(attempt) for attempt in (1, 2, 9)] == [50, 100, 500]
