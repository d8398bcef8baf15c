"""Whatever is numbered, confirmed or given up, and however often the store is reopened: dense and increasing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fluxcap.bridge.server.sequencer import Sequencer
from fluxcap.schemas.errors import SequenceError
from fluxcap.schemas.types import StreamKey
from tests.support.wire.samples import EURUSD, GBPUSD, MINUTE, candle

STEPS = st.lists(
    st.tuples(
        st.sampled_from([EURUSD, GBPUSD]),
        st.lists(st.integers(1, 60), min_size=1, max_size=5),
        st.sampled_from(["commit", "fail", "restart"]),
    ),
    max_size=40,
)


@given(STEPS)
def test_sequences_stay_dense_and_times_increase(steps: list[tuple[StreamKey, list[int], str]]) -> None:
    sequencer = Sequencer({})
    given_out: dict[StreamKey, list[tuple[int, int]]] = {EURUSD: [], GBPUSD: []}

    for key, minutes, fate in steps:
        newest = given_out[key][-1][1] if given_out[key] else 0
        allowed = minutes == sorted(set(minutes)) and minutes[0] * MINUTE > newest
        try:
            batch = sequencer.number(key, [candle(minute) for minute in minutes])
        except SequenceError:
            assert not allowed
            continue
        assert allowed
        if fate != "fail":
            sequencer.confirm(batch)
            given_out[key] += zip(
                range(batch.start_sequence, batch.next_sequence), batch.candles["ts_ms"].tolist(), strict=True
            )
        if fate == "restart":
            sequencer = Sequencer({key: sequencer.watermark(key) for key in given_out})

    for numbers in given_out.values():
        assert [sequence for sequence, _ in numbers] == list(range(1, len(numbers) + 1))
        times = [ts_ms for _, ts_ms in numbers]
        assert times == sorted(set(times))
