"""Candles as other tools fold them, run by the Python that has them: ``.venv-bench/bin/python rival_folding.py``.

Stands alone: their environment has nothing of fluxcap's. On standard input a line ``nautilus``, ``nautilus making``,
``cryptofeed`` or ``cryptofeed making`` is one round; the answer is a line with ticks a second of this process's own
time, or ``none`` where the tool is not installed. ``making``: the tool's own tick objects are made in the round from
symbol, time and price, as its feeds do; otherwise they are ready-made.

Both get the ticks minute by minute and nothing else to do: nautilus_trader's clock is advanced once a minute, which
fires its timer, and cryptofeed's OHLCV is told that its window is over.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

MINUTE_MS = 60_000
Minutes = list[list[tuple[int, float]]]


def nautilus(minutes: Minutes) -> dict[str, Callable[[], float]]:
    """TimeBarAggregator with one-minute bars of trades."""
    from nautilus_trader.common.component import TestClock
    from nautilus_trader.data.aggregation import TimeBarAggregator
    from nautilus_trader.model.data import BarType, TradeTick
    from nautilus_trader.model.enums import AggressorSide
    from nautilus_trader.model.identifiers import TradeId
    from nautilus_trader.model.objects import Quantity
    from nautilus_trader.test_kit.providers import TestInstrumentProvider

    instrument = TestInstrumentProvider.default_fx_ccy("EUR/USD")
    bar_type = BarType.from_str(f"{instrument.id}-1-MINUTE-LAST-INTERNAL")
    one, trade_id, side = Quantity.from_int(1), TradeId("1"), AggressorSide.NO_AGGRESSOR
    make_price, instrument_id = instrument.make_price, instrument.id

    def made(ts_ms: int, price: float) -> TradeTick:
        ts_ns = ts_ms * 1_000_000
        return TradeTick(instrument_id, make_price(price), one, side, trade_id, ts_ns, ts_ns)

    ready = [[made(*tick) for tick in ticks] for ticks in minutes]

    def round_of(making: bool) -> float:
        bars: list[Any] = []
        clock = TestClock()
        clock.set_time(minutes[0][0][0] // MINUTE_MS * MINUTE_MS * 1_000_000)
        aggregator = TimeBarAggregator(instrument, bar_type, bars.append, clock)
        handle = aggregator.handle_trade_tick
        begun_s = time.process_time()
        for ticks, objects in zip(minutes, ready, strict=True):
            if making:
                for ts_ms, price in ticks:
                    handle(made(ts_ms, price))
            else:
                for tick in objects:
                    handle(tick)
            end_ns = (ticks[0][0] // MINUTE_MS + 1) * MINUTE_MS * 1_000_000
            for event in clock.advance_time(end_ns):
                event.handle()
        took_s = time.process_time() - begun_s
        assert len(bars) >= len(minutes), (len(bars), len(minutes))
        return took_s

    return {"nautilus": lambda: round_of(False), "nautilus making": lambda: round_of(True)}


def cryptofeed(minutes: Minutes) -> dict[str, Callable[[], float]]:
    """OHLCV, its candle aggregation over trades."""
    from cryptofeed.backends.aggregate import OHLCV
    from cryptofeed.types import Trade

    one = Decimal(1)

    def made(ts_ms: int, price: float) -> Trade:
        return Trade("BENCH", "EUR-USD", "buy", one, Decimal(repr(price)), ts_ms / 1_000)

    ready = [[made(*tick) for tick in ticks] for ticks in minutes]

    async def work(making: bool) -> float:
        bars: list[Any] = []

        async def told(data: Any) -> None:
            bars.append(data)

        ohlcv = OHLCV(told, window=3_600)
        begun_s = time.process_time()
        for ticks, objects in zip(minutes, ready, strict=True):
            if making:
                for ts_ms, price in ticks:
                    await ohlcv(made(ts_ms, price), 0.0)
            else:
                for trade in objects:
                    await ohlcv(trade, 0.0)
            ohlcv.last_update = 0.0
        took_s = time.process_time() - begun_s
        assert len(bars) >= len(minutes) - 1, (len(bars), len(minutes))
        return took_s

    return {
        "cryptofeed": lambda: asyncio.run(work(False)),
        "cryptofeed making": lambda: asyncio.run(work(True)),
    }


def main() -> None:
    minutes: Minutes = json.loads(sys.stdin.readline())
    count = sum(map(len, minutes))
    rounds: dict[str, Callable[[], float]] = {}
    for tool in (nautilus, cryptofeed):
        try:
            rounds |= tool(minutes)
        except ImportError as error:
            print(f"{tool.__name__}: {error}", file=sys.stderr)
    for line in sys.stdin:
        work = rounds.get(line.strip())
        print("none" if work is None else count / work(), flush=True)


if __name__ == "__main__":
    main()
