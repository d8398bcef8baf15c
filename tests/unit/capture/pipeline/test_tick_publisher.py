"""capture/pipeline/tick_publisher.py: every published tick on its stream's topic, numbered."""

from __future__ import annotations

from collections.abc import Sequence

from fluxcap.capture.pipeline.listeners import ChromeState, PublishedUpdate
from fluxcap.capture.pipeline.tick_publisher import TickPublisher
from fluxcap.schemas.types import Candle, StreamKey, Tick, TickBatch


class Outlet:
    def __init__(self) -> None:
        self.sent: list[TickBatch] = []

    def ticks(self, ticks: TickBatch) -> None:
        self.sent.append(ticks)


def key_of(symbol: str) -> StreamKey:
    return StreamKey("TEST", symbol, "1m")


def update_of(*ticks: tuple[str, int, float]) -> PublishedUpdate:
    return PublishedUpdate(
        (), (), (), tuple(Tick(symbol, ts_ms, ts_ms + 7_200_000, price) for symbol, ts_ms, price in ticks)
    )


def plainly(batches: Sequence[TickBatch]) -> list[tuple[str, int, list[int], list[float]]]:
    return [(b.key.symbol, b.start_sequence, b.ts_ms.tolist(), b.price.tolist()) for b in batches]


def test_one_batch_an_asset_in_the_order_of_its_ticks_and_in_true_utc():
    outlet = Outlet()

    TickPublisher(outlet, key_of).published(update_of(("A", 1, 1.5), ("B", 2, 9.0), ("A", 3, 1.25)))

    assert plainly(outlet.sent) == [("A", 1, [1, 3], [1.5, 1.25]), ("B", 1, [2], [9.0])]


def test_sequences_go_on_densely_each_stream_for_itself():
    outlet = Outlet()
    ticks = TickPublisher(outlet, key_of)

    ticks.published(update_of(("A", 1, 1.0), ("A", 2, 1.0)))
    ticks.published(update_of(("B", 3, 1.0)))
    ticks.published(update_of(("A", 4, 1.0)))

    assert [(symbol, start) for symbol, start, _, _ in plainly(outlet.sent)] == [("A", 1), ("B", 1), ("A", 3)]


def test_without_ticks_nothing_is_sent():
    outlet = Outlet()
    ticks = TickPublisher(outlet, key_of)

    ticks.published(update_of())
    ticks.forming(key_of("A"), Candle(0, 1, 1, 1, 1))
    ticks.chrome_changed(ChromeState.ATTACHED, "")

    assert outlet.sent == []
