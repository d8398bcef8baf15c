"""History may come when and how often it likes: what is whole stays whole."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from fluxcap.schemas.types import CandleFlags
from tests.support.examples import examples
from tests.support.market.simulated_market import START_MS, Stage

MINUTES = 3


@settings(max_examples=examples(60), deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, MINUTES * 60 - 1), st.integers(1, 150), st.integers(0, 30)), min_size=1, max_size=5
    ),
    st.integers(0, 59),
)
def test_merging_history_in_any_order_never_changes_a_whole_candle(
    payloads: list[tuple[int, int, int]], joined_s: int
) -> None:
    stage = Stage()
    stage.ticks_of(START_MS - 200_000, START_MS + joined_s * 1_000, socket=None)
    by_second: dict[int, list[tuple[int, int]]] = {}
    for at_s, depth_s, age_s in payloads:
        by_second.setdefault(at_s, []).append((depth_s, age_s))

    for second in range(joined_s, MINUTES * 60 + 2):
        now_ms = START_MS + second * 1_000
        for depth_s, age_s in by_second.get(second, ()):
            stage.history(now_ms - (depth_s + age_s) * 1_000, now_ms - age_s * 1_000, socket="s1")
        stage.ticks_of(now_ms, now_ms + 1_000)
    stage.pass_time(stage.now_ms + 80_000)

    stage.assert_truthful()
    whole = {number for number, flags in stage.flags().items() if flags == CandleFlags.NONE}
    assert whole >= set(range(1 if joined_s else 0, MINUTES))
    changed = {(r.candle.ts_ms - START_MS) // 60_000 for r in stage.revised["EURUSD_otc"]}
    assert not changed & whole
