"""tests/support/daemon/fault_rig.py: the judge of the fault tests and of the soak finds every kind of lie, and nothing
else."""

from __future__ import annotations

import msgspec
import pytest

from fluxcap.schemas.types import Candle, CandleFlags, Gap
from tests.support.daemon.fault_rig import MACHINE_STOOD, Trouble, judge

TRUE = {
    ts_ms: Candle(ts_ms, 1.0, 3.0, 0.5, 2.0, volume=10.0, tick_count=10) for ts_ms in (60_000, 61_000, 62_000, 63_000)
}
OUTAGE = Gap("E2E", "A", 61_200, 62_900, "socket closed")
CAUSE = Trouble(61_300, 63_500, ("socket closed",))


def but(ts_ms: int, **changes: object) -> list[Candle]:
    """The true candles, one of them changed; dropped if there is nothing to change."""
    changed = [msgspec.structs.replace(TRUE[ts_ms], **changes)] if changes else []
    return [candle for candle in TRUE.values() if candle.ts_ms != ts_ms] + changed


def verdict(candles: list[Candle], gaps: list[Gap], troubles: list[Trouble]) -> list[str]:
    return [problem.partition(":")[0] for problem in judge(TRUE, candles, gaps, troubles)]


@pytest.mark.parametrize(
    "candles",
    [
        list(TRUE.values()),
        but(62_000),
        but(61_000, flags=int(CandleFlags.BLIND), high=2.5, tick_count=4, volume=4.0),
        but(62_000, flags=int(CandleFlags.FILLED)),
        but(62_000, flags=int(CandleFlags.FILLED), tick_count=0, volume=0.0),
        but(62_000, flags=int(CandleFlags.REVISED)),
    ],
)
def test_what_is_true_or_says_what_it_lacks_is_no_problem(candles: list[Candle]):
    assert verdict(candles, [OUTAGE], [CAUSE]) == []


@pytest.mark.parametrize(
    ("candles", "told"),
    [
        (but(62_000, close=2.5), "wrong"),
        (but(62_000, tick_count=9, volume=9.0), "wrong"),
        (but(62_000, flags=int(CandleFlags.FILLED), high=3.5), "wrong"),
        (but(60_000), "missing without a gap"),
        (but(63_000, flags=int(CandleFlags.BLIND)), "partial without a gap"),
        (but(61_000, flags=int(CandleFlags.BLIND), open=1.1), "not within the truth"),
        (but(61_000, flags=int(CandleFlags.JOINED_LATE)), "may not be published"),
        ([*TRUE.values(), Candle(64_000, 1, 1, 1, 1)], "invented"),
    ],
)
def test_every_lie_is_found(candles: list[Candle], told: str):
    assert verdict(candles, [OUTAGE], [CAUSE]) == [told]


@pytest.mark.parametrize(
    "gap",
    [
        Gap("E2E", "A", 61_200, 62_900, "tab closed"),
        Gap("E2E", "A", 64_000, 65_000, "socket closed"),
        Gap("E2E", "A", 50_000, 51_000, "socket closed"),
    ],
)
def test_a_gap_that_no_fault_explains_is_found(gap: Gap):
    assert verdict(list(TRUE.values()), [gap], [CAUSE]) == ["a gap without a cause"]


SILENT = Gap("E2E", "A", 61_200, 62_900, MACHINE_STOOD)


@pytest.mark.parametrize(
    ("candles", "gap"),
    [
        (list(TRUE.values()), SILENT),
        (but(63_000), msgspec.structs.replace(SILENT, from_ms=63_000, to_ms=0)),
    ],
)
def test_a_machine_that_stood_explains_a_silent_socket_that_cost_nothing(candles: list[Candle], gap: Gap):
    assert verdict(candles, [gap], []) == []


@pytest.mark.parametrize("candles", [but(62_000), but(62_000, flags=int(CandleFlags.BLIND))])
def test_a_machine_that_stood_explains_no_candle_that_is_lost(candles: list[Candle]):
    assert verdict(candles, [SILENT], []) == ["a gap without a cause"]
