"""Whatever comes over a socket: nothing raises, nothing grows, time stamps strictly increase."""

from __future__ import annotations

import base64
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from fluxcap.capture.market.feeds import GapReason
from fluxcap.capture.platforms.pocketoption import PocketOptionDecoder
from fluxcap.capture.platforms.socketio import SocketIoDecoder
from tests.support.examples import examples
from tests.support.market.simulated_market import ALL, EUR, START_MS, Stage, announcement

EVENTS = [
    "updateStream",
    "updateHistoryNewFast",
    "loadHistoryPeriodFast",
    "updateCharts",
    "updateAssets",
    "successfavorite/change",
    "successupdateBalance",
    "changeSymbol",
]
numbers = st.one_of(st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False), st.booleans())
anything = st.recursive(
    st.one_of(st.none(), numbers, st.text(max_size=12), st.sampled_from([EUR, "time", 1_760_007_240.5])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=6),
        st.dictionaries(
            st.sampled_from(
                ["asset", "period", "history", "candles", "data", "time", "open", "settings", "symbol", "x"]
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=20,
)
near_s = st.floats(1_760_000_000, 1_760_020_000, allow_nan=False)
nearly_ticks = st.lists(
    st.tuples(st.sampled_from([EUR, "#X", ""]), near_s, st.floats(-1, 2, allow_nan=False)), max_size=4
)
nearly_history = st.fixed_dictionaries(
    {
        "asset": st.sampled_from([EUR, "X"]),
        "period": st.sampled_from([60, 5, 300, 0, -1]),
        "history": st.lists(st.tuples(near_s, st.floats(0.1, 2)), max_size=5),
        "candles": st.lists(st.tuples(near_s, *[st.floats(0.1, 2)] * 4), max_size=5),
    }
)


def b64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()


payloads = st.one_of(anything, nearly_ticks, nearly_history).map(lambda value: json.dumps(value))
frames = st.one_of(
    st.tuples(st.integers(0, 10), st.text(max_size=60)),
    st.builds(lambda event: (1, announcement(event)), st.sampled_from(EVENTS)),
    st.builds(lambda payload: (2, b64(payload)), st.one_of(payloads, st.text(max_size=30))),
    st.builds(lambda event, payload: (1, f'42["{event}",{payload}]'), st.sampled_from(EVENTS), payloads),
)


@given(st.lists(frames, max_size=40))
def test_the_framing_never_raises_and_stays_bounded(story: list[tuple[int, str]]) -> None:
    decoder = SocketIoDecoder(EVENTS[:4])
    for opcode, payload in story:
        decoder.frame(opcode, payload)

    assert len(decoder._attachments) <= 1
    assert len(decoder._announced) <= 256
    assert len(decoder.dropped) <= 202


@given(st.lists(st.tuples(st.booleans(), frames), max_size=40))
def test_the_platform_never_raises(story: list[tuple[bool, tuple[int, str]]]) -> None:
    decoder = PocketOptionDecoder()
    for outward, (opcode, payload) in story:
        for _ in decoder.sent(opcode, payload) if outward else decoder.received(opcode, payload):
            pass


acts = st.one_of(
    st.tuples(st.just("frame"), st.sampled_from(["s1", "s2"]), frames),
    st.tuples(st.just("sent"), st.sampled_from(["s1", "s2"]), frames),
    st.tuples(st.just("lost"), st.sampled_from(["s1", "s2"]), st.sampled_from(list(GapReason))),
    st.tuples(st.just("ticks"), st.sampled_from(["s1", "s2"]), st.integers(1, 20)),
    st.tuples(st.just("time"), st.just(""), st.integers(0, 30_000)),
)


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(acts, max_size=30), st.sampled_from([1_000, 60_000]), st.booleans())
def test_the_market_never_raises_and_its_time_stamps_strictly_increase(
    story: list[tuple[str, str, object]], interval_ms: int, settled: bool
) -> None:
    stage = Stage(interval_ms, ALL)
    if settled:
        stage.ticks_of(START_MS, START_MS + 5_000)
    for act, socket, what in story:
        match act, what:
            case "frame", (int(opcode), str(payload)):
                stage.market.received(socket, opcode, payload, stage.at())
                stage.market.advance_time(stage.at())
                stage._take()
            case "sent", (int(opcode), str(payload)):
                stage.market.sent(socket, opcode, payload, stage.at())
            case "lost", GapReason() as reason:
                stage.lose(socket, reason)
            case "ticks", int(count):
                first_ms = max(stage.now_ms, START_MS)
                stage.ticks_of(first_ms, first_ms + count * 500, socket=socket)
            case "time", int(ms):
                stage.pass_time(stage.now_ms + ms)
    stage.pass_time(stage.now_ms + 2 * interval_ms + 20_000)
    stage.market.view(stage.at())
    stage.market.forming()

    for candles in stage.sealed.values():
        starts = [candle.ts_ms for candle in candles]
        assert starts == sorted(set(starts))
        assert all(start % interval_ms == 0 for start in starts)
        assert all(0 < c.low <= min(c.open, c.close) <= max(c.open, c.close) <= c.high for c in candles)
