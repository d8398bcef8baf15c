"""capture/simulator/market/exchange.py: ticks come out in order, each a lag after it happened, troubles included."""

from __future__ import annotations

from typing import Any

from fluxcap.capture.simulator.config import SiteConfig
from fluxcap.capture.simulator.market.exchange import Exchange, MarketTick

START_MS = 1_795_303_500_000
ASSETS = ("EURUSD_otc", "USDJPY_otc", "EURUSD")


def exchange(**settings: Any) -> Exchange:
    return Exchange(SiteConfig(assets=ASSETS, **settings), START_MS)


def run(market: Exchange, from_s: float, to_s: float) -> list[tuple[float, MarketTick]]:
    """(time of hand-out, tick) over a stretch, asked for every 10 ms."""
    out = []
    for now_ms in range(START_MS + round(from_s * 1000), START_MS + round(to_s * 1000), 10):
        out.extend((now_ms, tick) for tick in market.due(now_ms))
    return out


def test_every_tick_comes_once_in_order_and_a_lag_after_it_happened() -> None:
    market = exchange()

    out = run(market, 0, 60)

    ticks = [tick for _, tick in out]
    assert [tick.ts_ms for tick in ticks] == sorted(tick.ts_ms for tick in ticks)
    assert all(700 <= now_ms - tick.ts_ms <= 811 for now_ms, tick in out)
    expected = exchange().past(START_MS, START_MS + 59_100)
    assert ticks[: len(expected)] == expected


def test_stamps_are_ahead_by_the_offset() -> None:
    assert {tick.raw_ts_ms - tick.ts_ms for _, tick in run(exchange(offset_s=3_600), 0, 3)} == {3_600_000}


def test_a_clock_step_changes_the_stamps_of_what_happens_after_it() -> None:
    market = exchange()
    market.step_clock(START_MS + 5_000, 3_600)

    offsets = {(tick.ts_ms >= START_MS + 5_000, tick.raw_ts_ms - tick.ts_ms) for _, tick in run(market, 0, 10)}

    assert offsets == {(False, 7_200_000), (True, 3_600_000)}


def test_ticks_of_a_quiet_market_never_happen() -> None:
    market = exchange()
    market.markets["EURUSD_otc"].pause(START_MS + 2_000)

    ticks = [tick for _, tick in run(market, 0, 10)]

    assert max(tick.ts_ms for tick in ticks if tick.symbol == "EURUSD_otc") < START_MS + 2_000
    assert max(tick.ts_ms for tick in ticks if tick.symbol == "USDJPY_otc") > START_MS + 8_000


def test_after_a_quiet_the_ticks_are_those_of_the_history() -> None:
    market = exchange()
    euro = market.markets["EURUSD_otc"]
    run(market, 0, 1)
    euro.pause(START_MS + 1_000)
    run(market, 1, 6)  # ticks are made ahead of time, in the quiet too
    euro.resume(START_MS + 6_000)

    ticks = {tick.ts_ms for _, tick in run(market, 6, 12) if tick.symbol == "EURUSD_otc"}

    happened = euro.ticks(START_MS + 1_000, START_MS + 10_000)[0].tolist()
    assert happened[0] < START_MS + 7_000
    assert {at for at in ticks if START_MS + 1_000 <= at < START_MS + 10_000} == set(happened)


def test_the_ticks_of_a_bunched_market_are_those_of_the_history() -> None:
    market = exchange(rate_hz=20)
    euro = market.markets["EURUSD_otc"]
    before = run(market, 0, 2)
    euro.bunch(START_MS + 2_000)
    within = run(market, 2, 6)
    euro.unbunch(START_MS + 6_000)

    sent = [tick for _, tick in [*before, *within, *run(market, 6, 12)] if tick.symbol == "EURUSD_otc"]

    happened, points = euro.ticks(START_MS, START_MS + 10_000)
    until = [tick for tick in sent if tick.ts_ms < START_MS + 10_000]
    assert [tick.ts_ms for tick in until] == happened.tolist()
    assert [tick.price for tick in until] == [euro.price(level) for level in points.tolist()]


def test_the_rest_of_a_bunched_market_is_told_when_the_site_ends() -> None:
    market = exchange(rate_hz=20)
    euro = market.markets["EURUSD_otc"]
    euro.bunch(START_MS + 1_000)
    sent = run(market, 0, 5)
    euro.unbunch(START_MS + 5_000)

    rest = market.undelivered(START_MS + 5_000)

    told = [tick.ts_ms for tick in [*(tick for _, tick in sent), *rest] if tick.symbol == "EURUSD_otc"]
    assert told == euro.ticks(START_MS, START_MS + 5_001)[0].tolist()


def test_jitter_adds_to_the_lag_and_keeps_the_order() -> None:
    market = exchange()
    market.delivery.jitter_ms = 2_000

    out = run(market, 0, 30)

    ticks = [tick.ts_ms for _, tick in out]
    assert ticks == sorted(ticks)
    assert max(now_ms - tick.ts_ms for now_ms, tick in out) > 1_500


def test_late_ticks_are_overtaken_but_not_lost() -> None:
    market = exchange()
    market.delivery.late_share, market.delivery.late_ms = 0.2, 1_500

    ticks = [tick for _, tick in run(market, 0, 60)]

    times = [tick.ts_ms for tick in ticks]
    assert times != sorted(times)
    assert (
        sorted(ticks, key=lambda t: (t.ts_ms, ASSETS.index(t.symbol)))[:300]
        == exchange().past(START_MS, START_MS + 60_000)[:300]
    )


def test_history_ends_with_the_last_tick_handed_out() -> None:
    market = exchange()
    last = [tick for _, tick in run(market, 0, 20) if tick.symbol == "EURUSD_otc"][-1]

    payload = market.recent_history("EURUSD_otc", 60)

    history = payload["history"]
    assert isinstance(history, list)
    assert history[-1] == [last.raw_ts_ms / 1000, last.price]


def test_what_has_happened_but_was_not_sent_is_told_at_the_end() -> None:
    market = exchange()
    sent = [tick for _, tick in run(market, 0, 10)]

    rest = market.undelivered(START_MS + 10_000)

    assert sent + rest == exchange().past(START_MS, START_MS + 10_001)


def test_decimals_can_be_set() -> None:
    ticks = run(exchange(decimals={"EURUSD_otc": 2}), 0, 30)

    assert all(tick.price == round(tick.price, 2) for _, tick in ticks if tick.symbol == "EURUSD_otc")


def test_a_restarted_site_goes_on_with_the_same_market() -> None:
    market = exchange()
    run(market, 0, 10)

    market.restart(START_MS + 30_000)

    again = [tick for _, tick in run(market, 30, 40)]
    assert again == exchange().past(START_MS + 30_000, START_MS + 40_000)[: len(again)]
    assert len(again) > 30
