"""fluxcap.bridge.jetstream.subjects: few filters that let all wanted streams through."""

from __future__ import annotations

import pytest

from fluxcap.bridge.jetstream.subjects import STATUS_ROOT, covering, keys_of_topic
from fluxcap.schemas.types import StreamKey


def keys(sources: int, symbols: int, intervals: tuple[str, ...] = ("1m",)) -> list[StreamKey]:
    return [StreamKey(f"D{a}", f"S{b}", i) for a in range(sources) for b in range(symbols) for i in intervals]


@pytest.mark.parametrize(
    ("wanted", "filters"),
    [
        (keys(1, 2), {"flux.candles.D0.S0.1m", "flux.candles.D0.S1.1m"}),
        (keys(2, 5), {"flux.candles.D0.*.1m", "flux.candles.D1.*.1m"}),
        (keys(9, 1, ("1m", "5m")), {"flux.candles.*.*.1m", "flux.candles.*.*.5m"}),
        (keys(9, 1, ("1m", "5m", "1h", "4h", "1d")), {"flux.candles.*.*.*"}),
    ],
)
def test_streams_are_heard_singly_while_few_and_by_what_they_share_when_many(
    wanted: list[StreamKey], filters: set[str]
) -> None:
    assert covering(wanted, most=4) == filters


def test_heartbeats_have_a_root_of_their_own() -> None:
    assert covering([StreamKey("A", "B.C", "1m")], root=STATUS_ROOT) == {"flux.status.A.B%2EC.1m"}


def test_a_topic_names_every_stream_that_it_may_be_of() -> None:
    assert keys_of_topic(b"candles.SIM.EURUSD.1m") == ("candles", [StreamKey("SIM", "EURUSD", "1m")])
    kind, found = keys_of_topic(b"status.SIM.BRK.B.1m")
    assert (kind, found) == ("status", [StreamKey("SIM", "BRK.B", "1m"), StreamKey("SIM.BRK", "B", "1m")])
    assert all(key.topic("status") == b"status.SIM.BRK.B.1m" for key in found)
