"""The past of derived streams: the same candles as those that are folded while they come, made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxcap.bridge.server import derivation
from fluxcap.bridge.server.derivation import derive_past
from fluxcap.bridge.server.sequencer import Sequencer
from fluxcap.bridge.server.timeframes import Timeframes, fold_array, fold_buckets
from fluxcap.bridge.store.store import Store
from fluxcap.schemas.types import Candle, CandleFlags, Gap, StreamKey, candle_array, candles_from
from tests.support.examples import examples
from tests.support.wire.samples import EURUSD, MINUTE, candle

FIVE, QUARTER = (StreamKey(EURUSD.source_id, EURUSD.symbol, interval) for interval in ("5m", "15m"))
DERIVED = Timeframes(EURUSD.source_id, EURUSD.interval, ("5m", "15m"))
NOW = 100_000 * MINUTE


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "s.duckdb", lambda: NOW) as store:
        yield store


def publish(store: Store, key: StreamKey, candles: list[Candle]) -> None:
    store.commit([Sequencer(store.watermarks()).number(key, candles)])


def starts(store: Store, key: StreamKey) -> list[int]:
    return [one.ts_ms // MINUTE for one in candles_from(store.reader().page(key).candles)]


def test_the_past_is_made_once_as_far_as_its_buckets_are_over(store: Store) -> None:
    publish(store, EURUSD, [candle(minute) for minute in range(57, 93)])

    assert derive_past(store, DERIVED, NOW) == 8

    assert starts(store, FIVE) == [60, 65, 70, 75, 80, 85]
    assert starts(store, QUARTER) == [60, 75]
    assert derive_past(store, DERIVED, NOW) == 0


@pytest.mark.costly
def test_it_goes_on_after_collected_candles(store: Store) -> None:
    publish(store, EURUSD, [candle(minute) for minute in range(60, 90)])
    publish(store, FIVE, [candle(65, flags=CandleFlags.FILLED)])

    derive_past(store, DERIVED, NOW)

    assert starts(store, FIVE) == [65, 70, 75, 80, 85]


@pytest.mark.costly
def test_a_minute_that_stands_in_a_gap_makes_it_blind(store: Store) -> None:
    store.commit(gaps=[Gap(EURUSD.source_id, EURUSD.symbol, 62 * MINUTE + 1, 63 * MINUTE)])
    publish(store, EURUSD, [candle(minute) for minute in (60, 61, 63, 64, 65, 69, 70)])

    derive_past(store, DERIVED, NOW)

    assert [one.flags for one in candles_from(store.reader().page(FIVE).candles)] == [CandleFlags.BLIND, 0]


@pytest.mark.costly
def test_killed_on_the_way_the_next_start_finishes_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(store, EURUSD, [candle(minute) for minute in range(60, 120)])
    monkeypatch.setattr(derivation, "ROWS_AT_ONCE", 10)

    class Killed(Exception):
        pass

    def killed(done: int, total: int) -> None:
        if done >= 20:
            raise Killed

    with pytest.raises(Killed):
        derive_past(store, DERIVED, NOW, killed)
    assert starts(store, FIVE) == [60, 65, 70, 75]
    derive_past(store, DERIVED, NOW)

    assert starts(store, FIVE) == list(range(60, 120, 5))
    assert starts(store, QUARTER) == list(range(60, 120, 15))


@pytest.mark.costly
def test_how_far_it_is_is_told(store: Store) -> None:
    publish(store, EURUSD, [candle(minute) for minute in range(60, 120)])
    told: list[tuple[int, int]] = []

    derive_past(store, DERIVED, NOW, lambda done, total: told.append((done, total)))

    assert told == [(60, 120), (120, 120)]


@settings(max_examples=examples(60), deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.floats(0.5, 2), st.sampled_from([0, 0, 2, 4, 6, 5]), st.integers(0, 3)),
        min_size=1,
        max_size=40,
    )
)
def test_in_bulk_it_is_the_same_fold(steps: list[tuple[int, float, int, int]]) -> None:
    minute, candles = 1_000, []
    for step, price, flags, ticks in steps:
        minute += step
        candles.append(Candle(minute * MINUTE, price, price + 0.1, price - 0.1, price, 1.0, ticks, flags))

    bulk = fold_array(candle_array(candles), 5 * MINUTE, MINUTE, ())

    one_by_one = [bucket.candle() for bucket in fold_buckets(candles, 5 * MINUTE, MINUTE).values()]
    assert list(candles_from(bulk)) == one_by_one
