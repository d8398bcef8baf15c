"""The store against a model of plain lists, over commits, failures, revisions, settling, pruning and reopening."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fluxcap.bridge.server.page_cache import CachedReader, RecentCandles
from fluxcap.bridge.server.sequencer import Sequencer
from fluxcap.bridge.store.reader import StoreReader
from fluxcap.bridge.store.store import Store
from fluxcap.bridge.store.verify import verify
from fluxcap.schemas.errors import SequenceError
from fluxcap.schemas.types import Candle, CandleBatch, CandleFlags, StreamKey, candles_from
from tests.support.examples import examples
from tests.support.wire.samples import EURUSD, GBPUSD, MINUTE, candle, candle_rows

KEYS = st.sampled_from([EURUSD, GBPUSD])


def as_of(reader: StoreReader, key: StreamKey, at_ms: int, pruned_ms: int) -> dict[int, Candle]:
    """The candles of a stream, by sequence, as they stood at a time, from what the store keeps."""
    page = reader.page(key)
    found = {}
    for number, (candle_now, sealed_ms) in enumerate(
        zip(candles_from(page.candles), reader.sealed_ms(key).tolist(), strict=True), page.start_sequence
    ):
        if sealed_ms <= at_ms and candle_now.ts_ms >= pruned_ms:
            found[number] = candle_now
    sequences, first = reader.first_versions(key)
    found.update((n, c) for n, c in zip(sequences.tolist(), candles_from(first), strict=True) if n in found)
    revised = reader.revisions(key)
    for number, better, made_ms in zip(
        revised.sequences.tolist(), candles_from(revised.candles), reader.revised_ms(key).tolist(), strict=True
    ):
        if made_ms <= at_ms and number in found:
            found[number] = better
    return found


class StoreAgainstModel(RuleBasedStateMachine):
    """``held[key]`` are the candles by sequence; ``revised[key]`` every revision from the first.

    ``seen`` are the candles of each stream as they stood at times gone by: what a client had seen by then.
    """

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="store-model-"))
        self.held: dict[StreamKey, dict[int, Candle]] = {EURUSD: {}, GBPUSD: {}}
        self.revised: dict[StreamKey, list[tuple[int, Candle]]] = {EURUSD: [], GBPUSD: []}
        self.now_ms = 1_000
        self.pruned_ms = 0
        self.seen: list[tuple[int, dict[StreamKey, dict[int, Candle]]]] = []
        self.open()

    def open(self) -> None:
        self.store = Store.open(self.folder / "store.duckdb", self.clock_ms)
        self.sequencer = Sequencer(self.store.watermarks())
        self.recent = RecentCandles(depth=8)
        self.pages = CachedReader(self.recent, self.store.reader(), depth=8)
        self.reader = self.store.reader()

    def clock_ms(self) -> int:
        self.now_ms += 1
        return self.now_ms

    @rule(key=KEYS, steps=st.lists(st.integers(1, 3), min_size=1, max_size=12), close=st.floats(0.6, 1.9))
    def publish(self, key: StreamKey, steps: list[int], close: float) -> None:
        minutes = self.newest_minute(key) + np.cumsum(steps)
        batch = self.sequencer.number(key, [candle(int(minute), close) for minute in minutes])
        self.store.commit([batch])
        self.sequencer.confirm(batch)
        self.recent.append(batch)
        self.held[key].update(enumerate(candles_from(batch.candles), batch.start_sequence))

    @rule(key=KEYS)
    def publish_what_does_not_follow(self, key: StreamKey) -> None:
        minute = self.newest_minute(key) + 1
        batch = self.sequencer.number(key, [candle(minute)])
        skipping = CandleBatch(key, batch.start_sequence + 2, candle_rows(minute + 1, 1))
        with pytest.raises(SequenceError):
            self.store.commit([batch, skipping])

    @precondition(lambda self: any(self.held.values()))
    @rule(key=KEYS, at=st.floats(0, 1, exclude_max=True), close=st.floats(0.6, 1.9))
    def revise(self, key: StreamKey, at: float, close: float) -> None:
        if not self.held[key]:
            return
        sequence = sorted(self.held[key])[int(at * len(self.held[key]))]
        better = candle(self.held[key][sequence].ts_ms // MINUTE, close, CandleFlags.REVISED)
        revision = self.sequencer.revise(key, [sequence], [better])
        self.store.commit(revisions=[revision])
        self.sequencer.confirm_revision(revision)
        self.recent.revise(revision)
        self.held[key][sequence] = better
        self.revised[key].append((sequence, better))

    @rule()
    def settle(self) -> None:
        self.store._fresh_rows += 1_000_000  # as if it had grown that far
        assert self.store.checkpoint()

    @rule(minute=st.integers(0, 60))
    def prune(self, minute: int) -> None:
        self.store.prune(minute * MINUTE)
        self.pruned_ms = max(self.pruned_ms, minute * MINUTE)
        for key, held in self.held.items():
            for sequence in sorted(held)[:-1]:
                if held[sequence].ts_ms < minute * MINUTE:
                    del self.held[key][sequence]
        self.sequencer = Sequencer(self.store.watermarks())

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.open()

    def newest_minute(self, key: StreamKey) -> int:
        return max((held.ts_ms // MINUTE for held in self.held[key].values()), default=0)

    @invariant()
    def time_goes_by(self) -> None:
        self.seen.append((self.now_ms, {key: dict(held) for key, held in self.held.items()}))
        self.now_ms += 1

    @rule()
    def any_time_gone_by_can_be_told(self) -> None:
        for at_ms, held in self.seen[:: max(1, len(self.seen) // 4)]:
            for key in held:
                kept = {number: c for number, c in held[key].items() if c.ts_ms >= self.pruned_ms}
                assert as_of(self.reader, key, at_ms, self.pruned_ms) == kept

    @invariant()
    def pages_are_the_models(self) -> None:
        for key, held in self.held.items():
            for source in (self.reader, self.pages):
                page = source.page(key)
                assert dict(enumerate(candles_from(page.candles), page.start_sequence)) == held
                assert not page.has_more

    @invariant()
    def revisions_are_the_models(self) -> None:
        for key, revised in self.revised.items():
            page = self.reader.revisions(key)
            kept = list(zip(page.sequences.tolist(), candles_from(page.candles), strict=True))
            assert kept == revised[page.start_revision - 1 :]
            assert page.next_revision == len(revised) + 1

    def teardown(self) -> None:
        self.any_time_gone_by_can_be_told()
        self.store.close()
        findings = verify(self.folder / "store.duckdb")
        shutil.rmtree(self.folder)
        assert findings == []


TestStoreAgainstModel = StoreAgainstModel.TestCase
TestStoreAgainstModel.settings = settings(
    max_examples=examples(8, least=4),
    stateful_step_count=max(8, examples(20)),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
