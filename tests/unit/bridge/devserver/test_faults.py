"""fluxcap.bridge.devserver.faults: what leaves in place of a message, decided by a seed."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxcap.bridge.devserver.faults import Departure, FaultInjector, Faults, damaged
from fluxcap.schemas.codec import decode, encode
from fluxcap.schemas.errors import CodecError, ConfigError
from fluxcap.schemas.types import HealthResponse, StreamKey, StreamStatus

MS_NS = 1_000_000
GOOD = encode(StreamStatus(StreamKey("SIM", "EURUSD", "1s"), 5, 5_000))


def gate(**faults: float) -> FaultInjector:
    it = FaultInjector(1)
    it.faults = Faults(**faults).check()  # type: ignore[arg-type]
    return it


def publish(it: FaultInjector, count: int, kind: str = "candles") -> list[list[Departure]]:
    return [it.publish(kind, b"%d" % n, n * MS_NS) for n in range(count)]


def test_without_faults_everything_leaves_at_once() -> None:
    assert publish(gate(), 3) == [[Departure(n * MS_NS, b"%d" % n)] for n in range(3)]


def test_about_as_many_are_dropped_as_asked() -> None:
    left = sum(bool(departures) for departures in publish(gate(drop_percent=30), 2_000))

    assert 1_300 < left < 1_500


def test_every_nth_batch_is_skipped_and_nothing_else() -> None:
    it = gate(skip_every=3)

    assert [bool(departures) for departures in publish(it, 6)] == [True, True, False, True, True, False]
    assert all(publish(it, 6, "status"))


def test_jitter_delays_but_keeps_the_order() -> None:
    departures = [d for ds in publish(gate(jitter_ms=50), 200) for d in ds]

    assert [d.due_ns for d in departures] == sorted(d.due_ns for d in departures)
    assert any(d.due_ns > n * MS_NS for n, d in enumerate(departures))


def test_reordering_lets_later_ones_overtake() -> None:
    departures = [d for ds in publish(gate(reorder_percent=30), 200) for d in ds]

    assert [d.due_ns for d in departures] != sorted(d.due_ns for d in departures)


def test_duplicates_leave_twice() -> None:
    assert [len(ds) for ds in publish(gate(duplicate_percent=100), 3)] == [2, 2, 2]


def test_silence_stops_everything() -> None:
    it = gate(stall=True)

    assert publish(it, 3) == [[], [], []]
    assert publish(it, 3, "status") == [[], [], []]


def test_the_same_seed_decides_the_same() -> None:
    faults = {"drop_percent": 20, "jitter_ms": 9, "reorder_percent": 20, "duplicate_percent": 20, "garbage_percent": 20}

    assert publish(gate(**faults), 100) == publish(gate(**faults), 100)


def test_only_backfill_fails_or_is_empty() -> None:
    assert gate(answer_fail_percent=100).answer(True) == "fail"
    assert gate(answer_fail_percent=100).answer(False) == "good"
    assert gate(answer_empty_percent=100).answer(True) == "empty"
    assert gate(garbage_percent=100).answer(False) == "garbage"


@given(st.integers(0, 10_000), st.sampled_from([GOOD, encode(HealthResponse()), b"", b"x"]))
def test_damaged_bytes_are_never_a_message(seed: int, payload: bytes) -> None:
    with pytest.raises(CodecError):
        decode(damaged(payload, Random(seed)))


@pytest.mark.parametrize("wrong", [{"drop_percent": 101}, {"jitter_ms": -1}, {"feed_state": -1}])
def test_impossible_faults_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Faults(**wrong).check()  # type: ignore[arg-type]


def test_a_misspelt_fault_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="drop"):
        msgspec.json.decode(b'{"drop": 3}', type=Faults)
