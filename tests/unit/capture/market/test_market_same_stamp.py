"""Ticks of one stamp, from frames to candles: what the platform means is counted, what it sends again is not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.capture.market.market import Market
from fluxcap.capture.platforms.generic import GenericPlatform
from fluxcap.schemas.types import Candle
from tests.support.market.simulated_market import ALL, EUR, LAG_MS, MONO_ZERO_MS, START_MS, Stage

MINUTE = 60_000


class Described:
    """A market of a described platform. A trade: ``(ms since START_MS, price)`` or with its id at the end."""

    def __init__(
        self, restored: Sequence[tuple[int, float]] = (), *, is_there_before: bool = True, **table: Any
    ) -> None:
        described = {"pages": ["https://x.test/*"], "symbol": "s", "time": "t", "price": "p", "messages": "d[]"} | table
        self.market = Market(GenericPlatform((), **described), MINUTE, ALL)
        if restored:
            ticks = [(START_MS + at_ms, price) for at_ms, price in restored]
            self.market.restore("A", ticks, START_MS, ticks[-1][0])
        self.sealed: list[Candle] = []
        self.told: list[tuple[int, float]] = []
        for at_ms in range(-60_000, 0, 500) if is_there_before else ():
            self.frame("s", (at_ms, 1.0, f"before {at_ms}"))

    def frame(self, socket: str, *trades: tuple[Any, ...], symbol: str = "A", at_ms: int = -60_000) -> None:
        rows = [
            {"s": symbol, "t": START_MS + ms, "p": price, **({"i": number[0]} if number else {})}
            for ms, price, *number in trades
        ]
        now_ms = START_MS + max(at_ms, *(trade[0] for trade in trades)) + LAG_MS
        at = ArrivalTime.from_ms(now_ms, now_ms - MONO_ZERO_MS, True)
        self.market.received(socket, 1, json.dumps({"d": rows}), at)
        self.market.advance_time(at)
        update = self.market.drain()
        self.sealed += update.sealed.get("A", [])
        self.told += [
            (tick.ts_ms - START_MS, tick.price)
            for tick in update.ticks
            if tick.symbol == "A" and tick.ts_ms >= START_MS
        ]

    def candle(self) -> tuple[float, int]:
        """Close and number of ticks of the minute at START_MS; the last tick, of 9.0, ends it."""
        for at_ms in range(500, 61_000, 500):
            self.frame("s", (at_ms, 9.0, f"after {at_ms}"), symbol="B")
        self.frame("s", (61_000, 9.0, "end"))
        return next((candle.close, candle.tick_count) for candle in self.sealed if candle.ts_ms == START_MS)


def test_several_trades_of_one_millisecond_all_count_and_the_last_is_the_close() -> None:
    described = Described()

    described.frame("s", (100, 1.5), (100, 2.0), (100, 1.5))

    assert described.candle() == (1.5, 3)
    assert described.told == [(100, 1.5), (100, 2.0), (100, 1.5), (61_000, 9.0)]


@pytest.mark.parametrize(("table", "count"), [({}, 5), ({"repeats": False}, 1)])
def test_equal_trades_of_one_stamp_count_unless_the_settings_say_that_repeats_do_not(
    table: dict[str, Any], count: int
) -> None:
    described = Described(**table)

    for _ in range(5):
        described.frame("s", (1_000, 1.5))

    assert described.candle() == (1.5, count)


def whole(described: Described) -> list[int]:
    """Starts of the candles that claim to hold every trade, ms since START_MS."""
    return [candle.ts_ms - START_MS for candle in described.sealed if not candle.flags]


def test_who_joins_within_a_stamp_may_have_missed_trades_of_it() -> None:
    described = Described(is_there_before=False)

    for at_ms in range(0, 185_000, 1_000):  # perhaps not the first trade of the minute's first second
        described.frame("s", (at_ms, 1.5), (at_ms, 2.0))

    assert whole(described) == [60_000, 120_000]


def test_who_comes_back_after_a_silence_within_a_stamp_may_have_missed_trades_of_it() -> None:
    described = Described()

    for at_ms in [*range(0, 30_000, 1_000), *range(120_000, 245_000, 1_000)]:
        described.frame("s", (at_ms, 1.5), (at_ms, 2.0))

    assert whole(described) == [180_000]


def test_a_second_tab_adds_nothing_and_takes_nothing() -> None:
    described = Described()

    for socket in ("s", "t"):
        described.frame(socket, (100, 1.5), (100, 1.5), (100, 2.0))

    assert described.candle() == (2.0, 3)


def test_a_whole_frame_that_is_sent_again_later_is_dropped() -> None:
    described = Described()
    described.frame("s", (100, 1.5), (100, 1.5))
    described.frame("s", (200, 2.0))

    described.frame("s", (100, 1.5), (100, 1.5))
    described.frame("s", (100, 1.5))

    assert described.candle() == (2.0, 3)
    assert described.market.counters["duplicate"] == 3


def test_a_late_frame_that_the_socket_never_told_counts() -> None:
    described = Described()
    described.frame("s", (200, 2.0))

    described.frame("s", (100, 1.5), (100, 1.5))

    assert described.candle() == (2.0, 3)


def test_a_socket_that_tells_old_ticks_on_connecting_and_tells_them_again_adds_nothing() -> None:
    described = Described()
    described.frame("s", (100, 1.5))
    described.frame("s", (200, 2.0))

    for _ in range(3):
        described.frame("new", (100, 1.5), at_ms=5_000)
        described.frame("new", (200, 2.0), at_ms=5_000)
        described.frame("new", (100, 1.5), at_ms=5_000)

    assert described.candle()[1] == 4  # the newest of a socket, told again, is a trade where repeats count


def test_a_trade_counts_once_by_its_id_whoever_tells_it_and_however_often() -> None:
    described = Described(id="i")

    described.frame("s", (100, 1.5, 1), (100, 1.5, 2), (100, 1.5, 1))
    described.frame("t", (100, 1.5, 2), (100, 1.5, 3))
    described.frame("s", (100, 1.5, 3), (100, 1.5, 3))

    assert described.candle() == (1.5, 3)


def test_after_a_restart_trades_with_ids_are_counted_against_what_the_journal_kept() -> None:
    described = Described(restored=[(100, 1.5), (100, 1.5)], id="i")

    described.frame("s", (100, 1.5, 1), (100, 1.5, 2), (100, 1.5, 3))

    assert described.told == [(100, 1.5)]


def test_what_an_earlier_run_received_keeps_its_repeats() -> None:
    described = Described(restored=[(100, 1.5), (100, 2.0), (100, 1.5), (100, 1.5)])

    described.frame("s", (100, 1.5), (100, 2.0), (100, 1.5), (100, 1.5))

    assert described.told == []


def test_pocketoption_counts_a_price_that_comes_back_and_drops_exact_repeats() -> None:
    stage = Stage()
    stage.ticks_of(START_MS, stage.minute(1))
    told = stage.ticks

    for price in (1.5, 1.5, 2.0, 1.5, 1.5):
        row = [EUR, (stage.minute(1) + stage.offset_ms) / 1_000, price]
        stage.event("s1", "updateStream", [row], stage.minute(1) + LAG_MS)

    assert stage.ticks - told == 3
    forming = stage.market.forming()[EUR]
    assert (forming.close, forming.tick_count) == (1.5, 3)
